//! What the table of descriptors is made of. The model checker's crate has its own of this
//! (`tests/table`).

pub(super) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, fence};
pub(super) use std::thread_local;
