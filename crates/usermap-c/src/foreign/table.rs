//! Values by number that are read without a lock and without a write to shared memory.
//!
//! A slot holds a pointer to a node. A reader says in a record of its thread which node it is about
//! to use (a hazard pointer), looks again whether the slot still holds it, and uses it. Whoever takes a
//! node out of its slot puts it on the list of retired ones; it is freed by whoever finds that no
//! record names it: the one who took it out, or the reader who was the last to use it.
//!
//! The store to the record must be seen by those who look at the records before the second look at
//! the slot happens. A fence there would cost more than the rest of a lookup. So the other side pays:
//! membarrier(2) makes every running thread of the process go through a fence. Where the kernel
//! does not have it, readers go through one of their own.
//!
//! There is no lock, so a fork at any moment leaves the child's copy usable. At worst the child never
//! frees what another thread had in its hands at that moment.

use rustix::thread::{MembarrierCommand, membarrier};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, compiler_fence, fence};

/// Slots of a chunk, which comes into being when the first of its numbers is set.
const CHUNK: usize = 1 << 16;

/// Chunks for all numbers that an `i32` can be. Most pages of this are never touched.
const CHUNKS: usize = 1 << 15;

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
    pub const fn new() -> Table<T> {
        Table {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            end: AtomicUsize::new(0),
            retired: AtomicPtr::new(ptr::null_mut()),
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
                drop(reading);
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
        drop(reading);
        if !self.retired.load(Relaxed).is_null() {
            self.free_retired();
        }
        Found::Value(result)
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
            let layout = std::alloc::Layout::new::<Chunk<T>>();
            // SAFETY: the layout is not empty, and zeros are a chunk of null pointers.
            let new = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<Chunk<T>>();
            if new.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            if chunk.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire).is_err() {
                // SAFETY: it was allocated above, and nobody else has seen it.
                unsafe { std::alloc::dealloc(new.cast(), layout) };
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

/// A thread's record: the node that it uses.
struct Record {
    node: AtomicPtr<()>,
    taken: AtomicBool,
    next: *const Record,
}

/// All records, of all tables. They are taken again, and never freed.
static RECORDS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

/// Whether readers go without a fence.
static ASYMMETRIC: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// This thread's record, for as long as it lives.
    static OWN: Cell<*const Record> = const { Cell::new(ptr::null()) };
    /// Gives it back.
    static AT_EXIT: GiveBack = const { GiveBack };
}

struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        let own = OWN.replace(ptr::null());
        // SAFETY: records are never freed.
        if let Some(record) = unsafe { own.as_ref() } {
            record.taken.store(false, Release);
        }
    }
}

/// A record in use: the thread's own, or where that is in use already (a signal handler reads, too)
/// another one.
struct Reading {
    record: NonNull<Record>,
    borrowed: bool,
}

impl Reading {
    #[inline(always)]
    fn begin() -> Reading {
        match NonNull::new(OWN.get().cast_mut()) {
            // SAFETY: records are never freed.
            Some(record) if unsafe { record.as_ref() }.node.load(Relaxed).is_null() => {
                Reading { record, borrowed: false }
            }
            own => Reading::begin_with_new(own.is_none()),
        }
    }

    #[cold]
    fn begin_with_new(keep: bool) -> Reading {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            ASYMMETRIC.store(register(), SeqCst);
            // SAFETY: the function does what may be done in a forked child: it writes to atomics.
            // Where it cannot be registered, a child may keep a little that it could free.
            unsafe { libc::pthread_atfork(None, None, Some(forget_other_threads)) };
        });
        let record = take_record();
        // Not kept by a thread that is about to end, which could not give it back.
        let kept = keep && AT_EXIT.try_with(|_| ()).is_ok();
        if kept {
            OWN.set(record.as_ptr());
        }
        Reading { record, borrowed: !kept }
    }

    fn record(&self) -> &Record {
        // SAFETY: records are never freed.
        unsafe { self.record.as_ref() }
    }

    /// Says that this node is used, to be seen before what the thread reads next.
    #[inline(always)]
    fn names(&self, node: *mut ()) {
        self.record().node.store(node, Release);
        fence_of_reader();
    }
}

/// Orders a store to a record before the load that follows.
#[inline(always)]
fn fence_of_reader() {
    if ASYMMETRIC.load(Relaxed) {
        compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

impl Drop for Reading {
    #[inline(always)]
    fn drop(&mut self) {
        self.record().node.store(ptr::null_mut(), Release);
        // What follows (whether there is something to free) is read after this.
        fence_of_reader();
        if self.borrowed {
            self.record().taken.store(false, Release);
        }
    }
}

fn records() -> impl Iterator<Item = &'static Record> {
    let mut next = RECORDS.load(Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: records are whole before they are published, and never freed.
        let record = unsafe { next.as_ref() }?;
        next = record.next;
        Some(record)
    })
}

fn take_record() -> NonNull<Record> {
    let free = records().find(|record| {
        !record.taken.load(Relaxed)
            && record.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok()
    });
    if let Some(record) = free {
        return NonNull::from(record);
    }
    let record = Box::into_raw(Box::new(Record {
        node: AtomicPtr::new(ptr::null_mut()),
        taken: AtomicBool::new(true),
        next: ptr::null(),
    }));
    let mut first = RECORDS.load(Relaxed);
    loop {
        // SAFETY: nobody else knows the record before it is published.
        unsafe { (*record).next = first };
        match RECORDS.compare_exchange_weak(first, record, AcqRel, Relaxed) {
            // SAFETY: a box's pointer is not null.
            Ok(_) => return unsafe { NonNull::new_unchecked(record) },
            Err(now) => first = now,
        }
    }
}

fn is_named(node: *mut ()) -> bool {
    records().any(|record| record.node.load(Acquire) == node)
}

/// Every running thread of this process goes through a fence. Gives false if that cannot be had.
fn barrier() -> bool {
    if !ASYMMETRIC.load(Relaxed) {
        fence(SeqCst);
        return true;
    }
    let barrier = || membarrier(MembarrierCommand::PrivateExpedited).is_ok();
    // The second try: a process that was made by some kinds of clone has to register again.
    barrier() || register() && barrier()
}

fn register() -> bool {
    membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
}

/// In a forked child: the other threads are not there, and use nothing.
extern "C" fn forget_other_threads() {
    let own = OWN.get();
    for record in records().filter(|record| !ptr::eq(*record, own)) {
        record.node.store(ptr::null_mut(), Release);
        record.taken.store(false, Release);
    }
}
