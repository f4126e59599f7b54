//! Barriers that one thread has all others make, by membarrier(2): who asks seldom pays for those who
//! would have to make one with each operation.

use super::process;
use crate::error::Reason;
use std::sync::atomic::{AtomicU64, Ordering::*};

/// The generation of the process for which the kernel was asked, twice, and whether it agreed.
static KNOWN: AtomicU64 = AtomicU64::new(0);

/// Has this process's threads make the barriers that others ask for; false where the kernel does not.
/// The first time, a process of several threads waits for some milliseconds.
pub(crate) fn takes_part() -> bool {
    let generation = process::generation();
    let known = KNOWN.load(Acquire);
    if known >> 1 == generation {
        return known & 1 == 1;
    }
    let done = register();
    KNOWN.store(generation << 1 | u64::from(done), Release);
    done
}

#[cfg(not(any(miri, loom)))]
fn register() -> bool {
    use rustix::thread::{MembarrierCommand, membarrier};
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// Has every thread of those processes that take part make a full barrier at some moment of this call. An
/// error where the kernel does not.
#[cfg(not(any(miri, loom)))]
pub(crate) fn everywhere() -> Result<(), Reason> {
    use rustix::{io::Errno, thread};
    match thread::membarrier(thread::MembarrierCommand::GlobalExpedited) {
        Ok(()) => Ok(()),
        Err(Errno::NOMEM) => Err(Reason::Busy),
        Err(_) => Err(Reason::SoleWriter),
    }
}

/// No more than the compiler keeps the order here: the rest is for those to make who call [`everywhere`].
#[cfg(not(any(miri, loom)))]
#[inline(always)]
pub(crate) fn light() {
    core::sync::atomic::compiler_fence(SeqCst);
}

// Where there is no kernel, both sides make a full barrier: that orders the same.

#[cfg(any(miri, loom))]
fn register() -> bool {
    true
}

#[cfg(any(miri, loom))]
pub(crate) fn everywhere() -> Result<(), Reason> {
    super::sync::fence(super::sync::Ordering::SeqCst);
    Ok(())
}

#[cfg(any(miri, loom))]
pub(crate) fn light() {
    let _ = everywhere();
}
