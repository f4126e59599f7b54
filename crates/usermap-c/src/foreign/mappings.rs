//! Maps' values, mapped where a program asked for them.
//!
//! The mapping itself is one of the region's file, at the place of the values, so the kernel does
//! all that mappings do: protection, forks, ends. What it does not know is counted here: while there
//! is a writable mapping, its map cannot be frozen. Such a mapping is remembered by its addresses,
//! with usermap's own record of it, until the last page is unmapped.
//!
//! The list is behind a lock that is tried only: a fork can leave it locked, and then no mapping is
//! remembered or forgotten any more in the child, where none counts anyway.

use super::system::call;
use crate::descriptor;
use libc::c_int;
use rustix::fd::AsRawFd;
use rustix::fs::{Mode, OFlags};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, TryLockError};
use usermap::abi::errno;
use usermap::{Map, Mapping};

/// The arguments of mmap(2).
pub(super) struct Request {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) protection: c_int,
    pub(super) flags: c_int,
    pub(super) fd: c_int,
    pub(super) offset: u64,
}

impl Request {
    /// # Safety
    ///
    /// That of mmap(2).
    unsafe fn ask(&self, fd: c_int, offset: u64) -> i64 {
        let (protection, flags) = (self.protection as u64, self.flags as u64);
        let arguments = [self.address, self.length, protection, flags, fd as u64, offset];
        // SAFETY: as the caller says.
        unsafe { call(libc::SYS_mmap, arguments) }
    }
}

struct Mapped {
    addresses: Range<u64>,
    /// Counts the mapping for as long as it exists.
    _counted: Mapping,
}

static MAPPED: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());
/// How many there are, so that most calls need not look.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// mmap(2): gives the address, or a negative error number.
///
/// # Safety
///
/// That of mmap(2).
pub(super) unsafe fn map(request: &Request) -> i64 {
    let anonymous = request.flags & libc::MAP_ANONYMOUS != 0;
    let map = if anonymous { None } else { descriptor::any_map(request.fd).ok() };
    let answer = match map {
        // SAFETY: as the caller says.
        None => unsafe { request.ask(request.fd, request.offset) },
        // SAFETY: as above.
        Some(map) => return unsafe { map_values(request, &map) },
    };
    if request.flags & libc::MAP_FIXED != 0 && answer >= 0 {
        unmapped(answer as u64, request.length);
    }
    answer
}

/// # Safety
///
/// That of mmap(2).
unsafe fn map_values(request: &Request, map: &Map) -> i64 {
    let shared =
        matches!(request.flags & libc::MAP_TYPE, libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE);
    let writable = request.protection & libc::PROT_WRITE != 0;
    // Checks what the kernel checks, and counts the mapping for as long as it is kept.
    let counted = match map.map_values(writable, request.length as usize, request.offset) {
        Ok(counted) if shared => counted,
        Ok(_) => return -i64::from(errno::EINVAL),
        Err(error) => return -i64::from(error.errno()),
    };
    let Ok(Some(memory)) = map.value_memory() else { return -i64::from(errno::EINVAL) };
    let offset = memory.start + request.offset;
    let answer = if writable {
        // SAFETY: as the caller says.
        unsafe { request.ask(memory.fd.as_raw_fd(), offset) }
    } else {
        // A descriptor that cannot write keeps mprotect(2) from making it writable.
        let own = format!("/proc/self/fd/{}", memory.fd.as_raw_fd());
        match rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // SAFETY: as above.
            Ok(fd) => unsafe { request.ask(fd.as_raw_fd(), offset) },
            Err(error) => return -i64::from(error.raw_os_error()),
        }
    };
    if (-4095..0).contains(&answer) {
        return answer;
    }
    let start = answer as u64;
    unmapped(start, request.length);
    if writable && let Some(mut mapped) = list() {
        let end = start + request.length.next_multiple_of(rustix::param::page_size() as u64);
        mapped.push(Mapped { addresses: start..end, _counted: counted });
        COUNT.store(mapped.len(), Relaxed);
    }
    answer
}

/// Forgets mappings of these addresses, whole or in part.
pub(super) fn unmapped(start: u64, length: u64) {
    if COUNT.load(Relaxed) == 0 {
        return;
    }
    let gone =
        start..start.saturating_add(length.next_multiple_of(rustix::param::page_size() as u64));
    let Some(mut mapped) = list() else { return };
    for one in mapped.iter_mut() {
        let had = &mut one.addresses;
        // A hole in the middle leaves it as it is: there is still something mapped at its end.
        if gone.start <= had.start && gone.end > had.start {
            had.start = gone.end.min(had.end);
        } else if gone.start < had.end && gone.end >= had.end {
            had.end = gone.start;
        }
    }
    let ended: Vec<Mapped> = mapped.extract_if(.., |one| one.addresses.is_empty()).collect();
    COUNT.store(mapped.len(), Relaxed);
    drop(mapped);
    drop(ended);
}

/// Follows a mapping that mremap(2) moved or resized.
pub(super) fn moved(start: u64, length: u64, to: u64, new_length: u64) {
    if COUNT.load(Relaxed) == 0 {
        return;
    }
    let Some(mut mapped) = list() else { return };
    if let Some(one) = mapped.iter_mut().find(|one| one.addresses == (start..start + length)) {
        one.addresses = to..to + new_length;
    }
}

fn list() -> Option<MutexGuard<'static, Vec<Mapped>>> {
    // Held for moments only; longer than that it is a fork's leftover.
    for _ in 0..10_000 {
        match MAPPED.try_lock() {
            Ok(list) => return Some(list),
            Err(TryLockError::Poisoned(list)) => return Some(list.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
