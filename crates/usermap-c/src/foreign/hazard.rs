//! Which node each thread uses (hazard pointers).
//!
//! A thread names the node that it is about to use in a record of its own, and then looks whether the
//! node is still where it found it. Who wants to free a node takes it away first, and then looks
//! whether a record names it.
//!
//! The store to the record must be seen by those who look at the records before the second look at
//! the slot happens. A fence there would cost more than the rest of a lookup. So the other side pays:
//! membarrier(2) makes every running thread of the process go through a fence. Where the kernel
//! does not have it, readers go through one of their own.

use super::sync::{AtomicBool, AtomicPtr, fence, thread_local};
use rustix::thread::{MembarrierCommand, membarrier};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::compiler_fence;

/// A thread's record: the node that it uses.
struct Record {
    node: AtomicPtr<()>,
    taken: AtomicBool,
    next: *const Record,
}

/// All records, of all tables. They are taken again, and never freed.
#[cfg(not(loom))]
static RECORDS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());
#[cfg(loom)]
loom::lazy_static! {
    static ref RECORDS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());
}

/// Whether readers go without a fence.
static ASYMMETRIC: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

thread_local! {
    /// Gives this thread's record back.
    static AT_EXIT: GiveBack = const { GiveBack(Cell::new(ptr::null())) };
}

/// This thread's record, for as long as it lives, or null.
///
/// In a shared library a thread-local of Rust's is found by a call into the loader. That takes
/// longer than all else that a read does, so this one is at a fixed distance from the thread's
/// pointer (the model "initial-exec").
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu", not(any(miri, loom))))]
mod own {
    use super::Record;

    std::arch::global_asm!(
        ".pushsection .tbss.usermap_c_record,\"awT\",@nobits",
        ".globl usermap_c_record",
        ".hidden usermap_c_record",
        ".type usermap_c_record,@object",
        ".size usermap_c_record, 8",
        ".balign 8",
        "usermap_c_record:",
        ".zero 8",
        ".popsection",
    );

    #[inline(always)]
    pub(super) fn get() -> *const Record {
        let record;
        // SAFETY: this reads the thread's own word, which nobody else has the address of.
        unsafe {
            std::arch::asm!(
                "mov {record}, qword ptr [rip + usermap_c_record@GOTTPOFF]",
                "mov {record}, qword ptr fs:[{record}]",
                record = out(reg) record,
                options(nostack, preserves_flags, readonly),
            );
        }
        record
    }

    pub(super) fn set(record: *const Record) {
        // SAFETY: as in `get`.
        unsafe {
            std::arch::asm!(
                "mov {place}, qword ptr [rip + usermap_c_record@GOTTPOFF]",
                "mov qword ptr fs:[{place}], {record}",
                place = out(reg) _,
                record = in(reg) record,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// This thread's record, for as long as it lives, or null.
#[cfg(not(all(
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu",
    not(any(miri, loom))
)))]
mod own {
    use super::{Cell, Record, ptr, thread_local};

    thread_local! {
        static OWN: Cell<*const Record> = const { Cell::new(ptr::null()) };
    }

    #[inline(always)]
    pub(super) fn get() -> *const Record {
        OWN.try_with(Cell::get).unwrap_or(ptr::null())
    }

    pub(super) fn set(record: *const Record) {
        // The model checker's are gone at the end of the thread.
        let _ = OWN.try_with(|own| own.set(record));
    }
}

struct GiveBack(Cell<*const Record>);

impl Drop for GiveBack {
    fn drop(&mut self) {
        own::set(ptr::null());
        // SAFETY: records are never freed.
        if let Some(record) = unsafe { self.0.get().as_ref() } {
            record.taken.store(false, Release);
        }
    }
}

/// A record in use, until this is dropped: the thread's own, or where that is in use already (a signal handler reads, too)
/// another one.
pub(super) struct Reading {
    record: NonNull<Record>,
    borrowed: bool,
}

impl Reading {
    #[inline(always)]
    pub(super) fn begin() -> Reading {
        Reading::begin_at_once().unwrap_or_else(|| Reading::begin_with_new(own::get().is_null()))
    }

    /// With the thread's own record, if it has one that is not in use.
    #[inline(always)]
    pub(super) fn begin_at_once() -> Option<Reading> {
        let record = NonNull::new(own::get().cast_mut())?;
        // SAFETY: records are never freed.
        let free = unsafe { record.as_ref() }.node.load(Relaxed).is_null();
        // One that is in use is not this reading's to end.
        free.then(|| Reading { record, borrowed: false })
    }

    #[cold]
    fn begin_with_new(keep: bool) -> Reading {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            ASYMMETRIC.store(register(), SeqCst);
            fence(SeqCst);
            // SAFETY: the function does what may be done in a forked child: it writes to atomics.
            // Where it cannot be registered, a child may keep a little that it could free.
            #[cfg(not(any(miri, loom)))]
            unsafe {
                libc::pthread_atfork(None, None, Some(forget_other_threads));
            }
        });
        let record = take_record();
        // Not kept by a thread that is about to end, which could not give it back.
        let kept = keep && AT_EXIT.try_with(|own| own.0.set(record.as_ptr())).is_ok();
        if kept {
            own::set(record.as_ptr());
        }
        Reading { record, borrowed: !kept }
    }

    fn record(&self) -> &Record {
        // SAFETY: records are never freed.
        unsafe { self.record.as_ref() }
    }

    /// Says that this node is used, to be seen before what the thread reads next.
    #[inline(always)]
    pub(super) fn names(&self, node: *mut ()) {
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

/// Whether a thread uses this node, of those that a [`barrier`] has made to be seen.
pub(super) fn is_named(node: *mut ()) -> bool {
    records().any(|record| record.node.load(Acquire) == node)
}

/// Every running thread of this process goes through a fence. Gives false if that cannot be had.
pub(super) fn barrier() -> bool {
    // If this does not see yet that readers go without, they will see all that was done before it.
    fence(SeqCst);
    if !ASYMMETRIC.load(Relaxed) {
        return true;
    }
    let barrier = || membarrier(MembarrierCommand::PrivateExpedited).is_ok();
    // The second try: a process that was made by some kinds of clone has to register again.
    barrier() || register() && barrier()
}

/// Miri and the model checker have no membarrier(2), and so look at readers with fences.
fn register() -> bool {
    !cfg!(any(miri, loom)) && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
}

/// In a forked child: the other threads are not there, and use nothing.
#[cfg_attr(any(miri, loom), allow(dead_code))]
extern "C" fn forget_other_threads() {
    let own = own::get();
    for record in records().filter(|record| !ptr::eq(*record, own)) {
        record.node.store(ptr::null_mut(), Release);
        record.taken.store(false, Release);
    }
}
