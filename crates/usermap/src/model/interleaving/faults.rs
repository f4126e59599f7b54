//! That exploring finds what it is there to find: how readers and writers get along, in the small,
//! right once and wrong in five ways.

use super::explore;
use crate::mem::sync::{AtomicU64, Ordering::*, fence};
use loom::thread;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The reader does not look at the version again.
    NoSecondLook,
    /// The reader's second look may come before it has copied.
    NoFenceOfReader,
    /// The writer's stores may be seen before its lock is.
    NoFenceOfWriter,
    /// The next version may be seen before what it stands for.
    RelaxedRelease,
    /// Two writers do not lock.
    NoLock,
}

/// A value of two halves under a version that is odd while it is being written.
fn halves(fault: Fault) {
    explore(3, move || {
        let words: Arc<[AtomicU64; 3]> = Arc::default();
        let shared = words.clone();
        let writer = thread::spawn(move || {
            let [version, first, second] = &*shared;
            version.store(1, Relaxed);
            if fault != Fault::NoFenceOfWriter {
                fence(Release);
            }
            first.store(7, Relaxed);
            second.store(7, Relaxed);
            version.store(2, if fault == Fault::RelaxedRelease { Relaxed } else { Release });
        });
        let [version, first, second] = &*words;
        let before = version.load(Acquire);
        let value = (first.load(Relaxed), second.load(Relaxed));
        if fault != Fault::NoFenceOfReader {
            fence(Acquire);
        }
        let same = before % 2 == 0 && version.load(Relaxed) == before;
        if same || fault == Fault::NoSecondLook {
            assert_eq!(value.0, value.1, "a torn value");
        }
        writer.join().unwrap();
    });
}

/// Two writers add to one number.
fn sums(fault: Fault) {
    explore(3, move || {
        let words: Arc<[AtomicU64; 2]> = Arc::default();
        let add = move |[lock, number]: &[AtomicU64; 2]| {
            while fault != Fault::NoLock && lock.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
                thread::yield_now();
            }
            number.store(number.load(Relaxed) + 1, Relaxed);
            lock.store(0, Release);
        };
        let shared = words.clone();
        let other = thread::spawn(move || add(&shared));
        add(&words);
        other.join().unwrap();
        assert_eq!(words[1].load(Relaxed), 2, "a lost update");
    });
}

#[test]
fn none() {
    halves(Fault::None);
    sums(Fault::None);
}

#[test]
#[should_panic(expected = "a torn value")]
fn a_reader_that_looks_once() {
    halves(Fault::NoSecondLook);
}

#[test]
#[should_panic(expected = "a torn value")]
fn a_reader_without_a_fence() {
    halves(Fault::NoFenceOfReader);
}

#[test]
#[should_panic(expected = "a torn value")]
fn a_writer_without_a_fence() {
    halves(Fault::NoFenceOfWriter);
}

#[test]
#[should_panic(expected = "a torn value")]
fn a_version_that_is_not_released() {
    halves(Fault::RelaxedRelease);
}

#[test]
#[should_panic(expected = "a lost update")]
fn writers_without_a_lock() {
    sums(Fault::NoLock);
}
