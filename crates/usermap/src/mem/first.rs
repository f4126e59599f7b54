//! What is found or made once, by the first thread that needs it, without a lock: another thread's fork in
//! the middle of it would leave a `OnceLock` locked in the child, which would wait for ever for a thread
//! that it does not have. Where several threads are at it, the first one's is kept.

use std::ptr;
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire},
};

/// A number.
pub(crate) struct Found(AtomicU64);

/// Set with it.
const KNOWN: u64 = 1 << 32;

impl Found {
    pub(crate) const fn new() -> Found {
        Found(AtomicU64::new(0))
    }

    #[inline(always)]
    pub(crate) fn get(&self, find: impl FnOnce() -> u32) -> u32 {
        match self.0.load(Acquire) {
            0 => self.find(find),
            found => found as u32,
        }
    }

    #[cold]
    fn find(&self, find: impl FnOnce() -> u32) -> u32 {
        let found = KNOWN | u64::from(find());
        self.0.compare_exchange(0, found, AcqRel, Acquire).err().unwrap_or(found) as u32
    }
}

/// A piece of memory.
#[derive(Debug)]
pub(crate) struct First<T>(AtomicPtr<T>);

impl<T> Default for First<T> {
    fn default() -> First<T> {
        First(AtomicPtr::new(ptr::null_mut()))
    }
}

impl<T: Send + Sync> First<T> {
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: null, or from `Box::into_raw` and neither changed nor freed before `self` is.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if let Some(made) = self.get() {
            return made;
        }
        let made = Box::into_raw(make());
        let kept = match self.0.compare_exchange(ptr::null_mut(), made, AcqRel, Acquire) {
            Ok(_) => made,
            Err(earlier) => {
                // SAFETY: of the `Box` above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
                earlier
            }
        };
        // SAFETY: as in `get`, and not null.
        unsafe { &*kept }
    }
}

impl<T> Drop for First<T> {
    fn drop(&mut self) {
        let made = *self.0.get_mut();
        if !made.is_null() {
            // SAFETY: from `Box::into_raw`, and nobody refers to it any more: `self` is going.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    /// Both are had while another thread is in the middle of finding them, as it seems for ever in a
    /// child of a fork.
    #[test]
    fn nobody_waits_for_another_thread() {
        let (found, first) = (Found::new(), First::default());
        let ((started, begun), (go, on)) = (channel(), channel());
        thread::scope(|scope| {
            let slow = scope.spawn(|| {
                let wait = move || {
                    started.send(()).expect("somebody waits for it");
                    on.recv().expect("a word to go on");
                };
                let number = found.get(|| {
                    wait();
                    1
                });
                (number, *first.get_or_make(|| Box::new(3)))
            });
            begun.recv().expect("the other thread's word");
            assert_eq!((found.get(|| 2), *first.get_or_make(|| Box::new(4))), (2, 4));
            go.send(()).expect("the other thread");
            assert_eq!(slow.join().expect("its end"), (2, 4));
        });
        assert_eq!((found.get(|| 5), first.get()), (2, Some(&4)));
    }

    #[test]
    fn what_comes_second_is_freed() {
        let first = First::default();
        let kept: &String = first.get_or_make(|| {
            // Another thread was faster.
            first.get_or_make(|| Box::new("the first".to_owned()));
            Box::new("the second".to_owned())
        });
        assert_eq!(kept, "the first");
    }
}
