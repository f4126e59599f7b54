//! Values by number that are read without a lock and without a write to shared memory.
//!
//! A slot holds a pointer to a node. A reader says in a record of its thread which node it is about
//! to use (the file `hazard`), looks again whether the slot still holds it, and uses it. Whoever
//! takes a node out of its slot puts it on the list of retired ones; it is freed by whoever finds that
//! no record names it: the one who took it out, or the reader who was the last to use it.
//!
//! There is no lock, so a fork at any moment leaves the child's copy usable. At worst the child never
//! frees what another thread had in its hands at that moment.

use super::hazard::{Reading, barrier, is_named};
use super::sync::{AtomicPtr, AtomicUsize};
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// Slots of a chunk, which comes into being when the first of its numbers is set.
const CHUNK: usize = if cfg!(any(miri, loom)) { 1 << 2 } else { 1 << 16 };

/// Chunks for all numbers that an `i32` can be. Most pages of this are never touched.
const CHUNKS: usize = if cfg!(any(miri, loom)) { 1 << 2 } else { 1 << 15 };

/// A value, and where it stands among the retired ones.
struct Node<T> {
    value: T,
    next_retired: *mut Node<T>,
}

type Chunk<T> = [AtomicPtr<Node<T>>; CHUNK];

/// Values by number. There should be one table of a type, and it lives for ever.
#[derive(Debug)]
pub struct Table<T> {
    chunks: [AtomicPtr<Chunk<T>>; CHUNKS],
    /// The end of the numbers that ever had a value.
    end: AtomicUsize,
    retired: AtomicPtr<Node<T>>,
}

// SAFETY: values are handed to any thread by reference, and dropped by any.
unsafe impl<T: Send + Sync> Sync for Table<T> {}

/// What a number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<R> {
    /// A value; what was made of it.
    Value(R),
    /// None.
    Nothing,
    /// None, and none may be added on the ground of what was so before ([`Table::block`]).
    Blocked,
}

/// What a blocked slot points at.
fn blocked<T>() -> *mut Node<T> {
    ptr::without_provenance_mut(1)
}

impl<T: Send + Sync + 'static> Default for Table<T> {
    fn default() -> Table<T> {
        Table::new()
    }
}

impl<T: Send + Sync + 'static> Table<T> {
    /// A table without values.
    ///
    /// ```
    /// use usermap_c::foreign::table::{Found, Table};
    /// static NAMES: Table<String> = Table::new();
    /// NAMES.set(3, "three".to_owned());
    /// assert_eq!(NAMES.read(3, |name| name.len()), Found::Value(5));
    /// assert_eq!(NAMES.read(4, |name| name.len()), Found::Nothing);
    /// ```
    #[cfg(not(loom))]
    pub const fn new() -> Table<T> {
        Table {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            end: AtomicUsize::new(0),
            retired: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// A table without values. The model checker's atomics are no constants.
    #[cfg(loom)]
    pub fn new() -> Table<T> {
        Table {
            chunks: std::array::from_fn(|_| AtomicPtr::default()),
            end: AtomicUsize::new(0),
            retired: AtomicPtr::default(),
        }
    }

    /// Uses the value of a number; it is not dropped before `using` ends.
    #[inline(always)]
    pub fn read<R>(&self, number: usize, using: impl FnOnce(&T) -> R) -> Found<R> {
        let Some(slot) = self.slot(number) else { return Found::Nothing };
        let mut node = slot.load(Acquire);
        if node.is_null() {
            return Found::Nothing;
        }
        let reading = Reading::begin();
        loop {
            if node.is_null() || node == blocked() {
                let empty = node.is_null();
                self.end_of(reading);
                return if empty { Found::Nothing } else { Found::Blocked };
            }
            reading.names(node.cast());
            let now = slot.load(Acquire);
            if now == node {
                break;
            }
            node = now;
        }
        // SAFETY: the node was in the slot after this thread's record named it, so nobody frees it
        // until the record names it no more.
        let result = using(unsafe { &(*node).value });
        self.end_of(reading);
        Found::Value(result)
    }

    /// Uses the value of a number as [`read`](Table::read) does, if that can be done at once: not
    /// for this thread's first value, nor in a signal handler that came upon a read, nor while
    /// another thread changes the number's value.
    #[inline(always)]
    pub fn read_at_once<R>(&self, number: usize, using: impl FnOnce(&T) -> R) -> Option<R> {
        let slot = self.slot(number)?;
        let node = slot.load(Acquire);
        if node.is_null() || node == blocked() {
            return None;
        }
        let reading = Reading::begin_at_once()?;
        reading.names(node.cast());
        if slot.load(Acquire) != node {
            self.end_of(reading);
            return None;
        }
        // SAFETY: as in `read`.
        let result = using(unsafe { &(*node).value });
        self.end_of(reading);
        Some(result)
    }

    /// Ends a read. Who took a node away that it named, if only in passing, has left it to this thread.
    #[inline(always)]
    fn end_of(&self, reading: Reading) {
        drop(reading);
        if !self.retired.load(Relaxed).is_null() {
            self.free_retired();
        }
    }

    /// Gives a number this value instead of what it had.
    pub fn set(&self, number: usize, value: T) {
        if let Some(slot) = self.make_slot(number) {
            let node = Box::into_raw(Box::new(Node { value, next_retired: ptr::null_mut() }));
            self.retire(slot.swap(node, AcqRel));
        }
    }

    /// Gives a number this value if it has none and is not [blocked](Table::block).
    pub fn set_if_empty(&self, number: usize, value: T) -> bool {
        let Some(slot) = self.make_slot(number) else { return false };
        let node = Box::into_raw(Box::new(Node { value, next_retired: ptr::null_mut() }));
        let set = slot.compare_exchange(ptr::null_mut(), node, AcqRel, Relaxed).is_ok();
        if !set {
            // SAFETY: the node came from a box, and nobody else has seen it.
            drop(unsafe { Box::from_raw(node) });
        }
        set
    }

    /// Takes a number's value away, and lets nobody add one by [`set_if_empty`](Table::set_if_empty)
    /// until [`unblock`](Table::unblock).
    ///
    /// ```
    /// use usermap_c::foreign::table::{Found, Table};
    /// static NAMES: Table<String> = Table::new();
    /// NAMES.set(3, "three".to_owned());
    /// NAMES.block(3);
    /// assert!(!NAMES.set_if_empty(3, "drei".to_owned()));
    /// NAMES.unblock(3);
    /// assert!(NAMES.set_if_empty(3, "drei".to_owned()));
    /// ```
    pub fn block(&self, number: usize) {
        if let Some(slot) = self.slot(number).filter(|slot| !slot.load(Relaxed).is_null()) {
            self.retire(slot.swap(blocked(), AcqRel));
        }
    }

    /// Ends [`block`](Table::block).
    pub fn unblock(&self, number: usize) {
        if let Some(slot) = self.slot(number) {
            let _ = slot.compare_exchange(blocked(), ptr::null_mut(), AcqRel, Relaxed);
        }
    }

    /// Takes a number's value away.
    pub fn clear(&self, number: usize) {
        if let Some(slot) = self.slot(number).filter(|slot| !slot.load(Relaxed).is_null()) {
            self.retire(slot.swap(ptr::null_mut(), AcqRel));
        }
    }

    /// The end of the numbers that may have a value.
    pub fn end(&self) -> usize {
        self.end.load(Acquire)
    }

    #[inline(always)]
    fn slot(&self, number: usize) -> Option<&AtomicPtr<Node<T>>> {
        let chunk = self.chunks.get(number / CHUNK)?.load(Acquire);
        // SAFETY: a chunk is whole before it is published here, and is never freed.
        let chunk = unsafe { chunk.as_ref() }?;
        Some(&chunk[number % CHUNK])
    }

    fn make_slot(&self, number: usize) -> Option<&AtomicPtr<Node<T>>> {
        let chunk = self.chunks.get(number / CHUNK)?;
        if chunk.load(Acquire).is_null() {
            let new = Box::into_raw(empty_chunk());
            if chunk.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire).is_err() {
                // SAFETY: it was a box above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
        self.end.fetch_max(number + 1, AcqRel);
        self.slot(number)
    }

    /// Takes care of a node that is in no slot any more.
    fn retire(&self, node: *mut Node<T>) {
        if node.is_null() || node == blocked() {
            return;
        }
        self.push_retired(node);
        self.free_retired();
    }

    fn push_retired(&self, node: *mut Node<T>) {
        let mut first = self.retired.load(Relaxed);
        loop {
            // SAFETY: a retired node is its holder's alone, but for readers of its value.
            unsafe { (&raw mut (*node).next_retired).write(first) };
            match self.retired.compare_exchange_weak(first, node, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Frees what no reader uses. Of several who do so at once, each has nodes of its own.
    #[cold]
    fn free_retired(&self) {
        loop {
            let mut node = self.retired.swap(ptr::null_mut(), AcqRel);
            if node.is_null() {
                return;
            }
            let all_seen = barrier();
            let mut kept = Vec::new();
            while !node.is_null() {
                // SAFETY: this thread alone has the nodes of the list that it took.
                let next = unsafe { (*node).next_retired };
                if all_seen && !is_named(node.cast()) {
                    // SAFETY: the node is in no slot and no record names it: a reader that was
                    // about to name it would have been seen, or will see that the slot has changed.
                    drop(unsafe { Box::from_raw(node) });
                } else {
                    kept.push(node.cast::<()>());
                    self.push_retired(node);
                }
                node = next;
            }
            // A reader that ended while its node was on no list has left it to this thread.
            if !(all_seen && barrier() && kept.iter().any(|node| !is_named(*node))) {
                return;
            }
        }
    }
}

#[cfg(not(loom))]
fn empty_chunk<T>() -> Box<Chunk<T>> {
    // SAFETY: zeros are a chunk of null pointers.
    unsafe { Box::new_zeroed().assume_init() }
}

#[cfg(loom)]
fn empty_chunk<T>() -> Box<Chunk<T>> {
    Box::new(std::array::from_fn(|_| AtomicPtr::default()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::{Arc, Barrier, Mutex};
    use std::thread;

    /// A value that counts how many of its like there are, and that knows if it was dropped.
    struct Counted {
        alive: Arc<AtomicUsize>,
        number: Box<usize>,
    }

    impl Counted {
        fn new(alive: &Arc<AtomicUsize>, number: usize) -> Counted {
            alive.fetch_add(1, Relaxed);
            Counted { alive: alive.clone(), number: Box::new(number) }
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.alive.fetch_sub(1, Relaxed);
        }
    }

    fn table() -> (&'static Table<Counted>, Arc<AtomicUsize>) {
        // On the heap from the start: it is too large for a thread's stack.
        // SAFETY: zeros are a table without values.
        let table: &_ = Box::leak(unsafe { Box::<Table<Counted>>::new_zeroed().assume_init() });
        // Checkers take what cannot be reached any more for lost.
        static TABLES: Mutex<Vec<&Table<Counted>>> = Mutex::new(Vec::new());
        TABLES.lock().expect("no panic").push(table);
        (table, Arc::new(AtomicUsize::new(0)))
    }

    #[test]
    fn a_value_in_use_is_not_dropped() {
        let (table, alive) = table();
        table.set(1, Counted::new(&alive, 1));
        let used = table.read(1, |value| {
            table.clear(1);
            assert_eq!(table.read(1, |_| ()), Found::Nothing);
            assert_eq!((alive.load(Relaxed), *value.number), (1, 1));
        });
        assert_eq!(used, Found::Value(()));
        assert_eq!(alive.load(Relaxed), 0, "the last reader frees it");
    }

    #[test]
    fn a_read_within_a_read_ends_neither() {
        let (table, alive) = table();
        table.set(1, Counted::new(&alive, 1));
        table.set(2, Counted::new(&alive, 2));
        let used = table.read(1, |outer| {
            // As a signal handler does it. The thread's own record is in use.
            assert_eq!(table.read_at_once(2, |_| ()), None);
            assert_eq!(table.read(2, |inner| *inner.number), Found::Value(2));
            table.clear(1);
            assert_eq!((alive.load(Relaxed), *outer.number), (2, 1));
        });
        assert_eq!(used, Found::Value(()));
        assert_eq!(table.read_at_once(2, |inner| *inner.number), Some(2));
        assert_eq!(alive.load(Relaxed), 1);
    }

    #[test]
    fn blocked_numbers_are_not_read() {
        let (table, alive) = table();
        table.set(1, Counted::new(&alive, 1));
        assert_eq!(table.read(1, |_| ()), Found::Value(()));
        table.block(1);
        assert_eq!(table.read_at_once(1, |_| ()), None);
        assert_eq!(table.read(1, |_| ()), Found::Blocked);
        assert!(!table.set_if_empty(1, Counted::new(&alive, 1)));
        table.unblock(1);
        assert_eq!((table.read(1, |_| ()), alive.load(Relaxed)), (Found::Nothing, 0));
    }

    #[test]
    fn threads_read_what_others_replace() {
        const NUMBERS: usize = 4;
        let rounds = if cfg!(miri) { 30 } else { 3_000 };
        let (table, alive) = table();
        let over = AtomicBool::new(false);
        let start = Barrier::new(4);
        thread::scope(|scope| {
            let (over, start) = (&over, &start);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(move || {
                        start.wait();
                        while !over.load(Relaxed) {
                            for number in 0..NUMBERS {
                                let check = |value: &Counted| {
                                    // Others replace it meanwhile.
                                    thread::yield_now();
                                    assert_eq!(*value.number, number);
                                };
                                if table.read_at_once(number, check).is_none() {
                                    table.read(number, check);
                                }
                            }
                        }
                    })
                })
                .collect();
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let alive = &alive;
                    scope.spawn(move || {
                        start.wait();
                        for round in 0..rounds {
                            let number = round % NUMBERS;
                            table.set(number, Counted::new(alive, number));
                            thread::yield_now();
                            match round % 3 {
                                0 => table.clear(number),
                                1 => table.block(number),
                                _ => {}
                            }
                            table.unblock(number);
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().expect("it does not panic");
            }
            over.store(true, Relaxed);
            for reader in readers {
                reader.join().expect("it does not panic");
            }
        });
        for number in 0..NUMBERS {
            table.clear(number);
        }
        // What a reader had in use when the last one was freed is freed with this one.
        assert_eq!(alive.load(Relaxed), 0);
    }
}
