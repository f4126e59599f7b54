//! What the table of descriptors is made of, as the model checker has it.

pub(super) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, fence};

/// The model checker's has no constants.
macro_rules! for_each_thread {
    ($(#[$meta:meta])* static $name:ident: $kind:ty = const $value:block;) => {
        loom::thread_local! {
            $(#[$meta])*
            static $name: $kind = $value;
        }
    };
}
pub(super) use for_each_thread as thread_local;
