//! The atomics: `core`'s; loom's when the model checker runs (`--cfg loom`); and in the crate's own
//! tests either of them in a wrapper that can end an operation at any of its stores (`mortal`).

#[cfg(not(loom))]
pub(crate) use core::{
    hint::spin_loop,
    sync::atomic::{Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{Ordering, fence},
};

#[cfg(not(any(loom, test)))]
pub(crate) use core::sync::atomic::AtomicU64;

#[cfg(all(loom, not(test)))]
pub(crate) use loom::sync::atomic::AtomicU64;

#[cfg(test)]
pub(crate) use super::mortal::AtomicU64;

/// An acquiring load of a word that may be mapped for reading only, where only relaxed loads are
/// defined (`core::sync::atomic`, "Atomic accesses to read-only memory").
#[inline(always)]
pub(crate) fn acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// A full fence behind an exchange that succeeded: on x86-64 the exchange is one already.
#[inline(always)]
pub(crate) fn fence_after_exchange() {
    if cfg!(all(target_arch = "x86_64", not(any(loom, miri)))) {
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}
