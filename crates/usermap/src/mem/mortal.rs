//! Atomics for tests of death: a thread can be told to end its operation just before its N-th
//! store, as if its process were killed there. What it has stored stays, all else is gone.
//!
//! Between two stores nothing that others can see happens, so one death before each store, and
//! one after the last, are all the deaths that there are.

#[cfg(not(loom))]
use core::sync::atomic;
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    /// Stores that this thread has yet to live.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// What the operation unwinds with.
struct Death;

/// Runs `operation`; if it would store more than `stores` times it dies before, and gives nothing.
pub(crate) fn live<T>(stores: u64, operation: impl FnOnce() -> T) -> Option<T> {
    let before = LEFT.replace(stores);
    let outcome = catch_unwind(AssertUnwindSafe(operation));
    LEFT.set(before);
    match outcome {
        Ok(value) => Some(value),
        Err(cause) if cause.is::<Death>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

#[cfg(loom)]
thread_local! {
    static SWAPPING: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread's models store with swaps. For those where plain stores and
/// read-modify-writes of one word race: loom would let a store come between the two halves of the
/// latter. It makes releases stronger than they are, so it is not for others.
#[cfg(loom)]
pub(crate) fn store_by_swapping() {
    SWAPPING.set(true);
}

/// Before each store that has an effect.
#[inline(always)]
fn step() {
    let left = LEFT.get();
    if left == u64::MAX {
        return;
    }
    if left == 0 {
        // Nothing runs while it unwinds that could store: the dead do no more.
        resume_unwind(Box::new(Death));
    }
    LEFT.set(left - 1);
}

/// `core`'s or loom's, but mortal.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(transparent))]
pub(crate) struct AtomicU64 {
    word: atomic::AtomicU64,
    /// Stored to, and never read, with every access. Loom tries two accesses in both orders only
    /// if they conflict, and finds a conflict only with the last access to a word: where a thread
    /// loads and then stores, its own load hides the loads of others before. Two stores always
    /// conflict; and one that nobody reads orders nothing.
    #[cfg(loom)]
    accessed: atomic::AtomicU64,
}

impl AtomicU64 {
    #[inline(always)]
    pub(crate) fn new(value: u64) -> AtomicU64 {
        AtomicU64 {
            word: atomic::AtomicU64::new(value),
            #[cfg(loom)]
            accessed: atomic::AtomicU64::new(0),
        }
    }

    #[inline(always)]
    fn access(&self) -> &atomic::AtomicU64 {
        #[cfg(loom)]
        self.accessed.store(0, Ordering::Relaxed);
        &self.word
    }

    #[inline(always)]
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.access().load(order)
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: u64, order: Ordering) {
        step();
        #[cfg(loom)]
        if SWAPPING.get() {
            self.access().swap(value, order);
            return;
        }
        self.access().store(value, order);
    }

    #[inline(always)]
    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        // One that fails stores nothing. Only for the mortal: in a model a load is an event.
        if LEFT.get() != u64::MAX && self.word.load(failure) == current {
            step();
        }
        self.access().compare_exchange(current, new, success, failure)
    }

    #[inline(always)]
    pub(crate) fn compare_exchange_weak(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }

    #[inline(always)]
    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.access().fetch_add(value, order)
    }

    #[inline(always)]
    pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.access().fetch_max(value, order)
    }
}

#[cfg(not(loom))]
mod tests {
    use super::*;
    use Ordering::Relaxed;

    #[test]
    fn dies_before_the_store() {
        let word = AtomicU64::new(0);
        let twice = || {
            word.store(1, Relaxed);
            assert!(word.compare_exchange(0, 9, Relaxed, Relaxed).is_err(), "counts for nothing");
            word.fetch_add(1, Relaxed)
        };
        assert_eq!(live(0, twice), None);
        assert_eq!(word.load(Relaxed), 0);
        assert_eq!(live(1, twice), None);
        assert_eq!(word.load(Relaxed), 1);
        assert_eq!(live(2, twice), Some(1));
        assert_eq!(word.load(Relaxed), 2);
    }
}
