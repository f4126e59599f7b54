//! Who this process and this thread are, and whether another process is still alive.
//!
//! An identity is one word, so that a place can be claimed with one compare-and-exchange:
//!
//! ```text
//! bit 63        62..41  40..28              27..22         21..14         13..0
//! recovering    pid     start time (ticks)  program image  boot id, hash  namespaces, hash
//! ```
//!
//! Read wrongly as alive it only delays (EBUSY at last). It is read as dead only where that is
//! certain: another boot; a number that no process has; a start time, seen through a `/proc` that
//! is this process's own, that is another's; an earlier program image of this very process, whose
//! threads execve(2) ended.

use super::first::Found;
use std::cell::Cell;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Set while the place's dead owner is being cleaned up after, by the process of the identity.
pub(crate) const RECOVERING: u64 = 1 << 63;

const PID: u32 = 41;
const START: u32 = 28;
const IMAGE: u32 = 22;
const BOOT: u32 = 14;
const START_MASK: u64 = (1 << 13) - 1;
const IMAGE_MASK: u64 = (1 << 6) - 1;
const BOOT_MASK: u64 = (1 << 8) - 1;
const SPACE_MASK: u64 = (1 << 14) - 1;

/// Forks since the first process; a child's differs from its parent's.
static GENERATION: AtomicU64 = AtomicU64::new(1);
/// The identity of the process, and after it the generation that it was computed in.
static IDENTITY: AtomicU64 = AtomicU64::new(0);
static IDENTITY_OF: AtomicU64 = AtomicU64::new(0);

/// Changes with every fork, so that what belongs to the parent's threads isn't taken for one's
/// own.
#[inline(always)]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Relaxed)
}

#[cfg(not(any(miri, loom)))]
fn watch_forks() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    extern "C" fn child() {
        GENERATION.fetch_add(1, Relaxed);
        forget();
    }
    // No lock here either. Two threads may both see to it: then a fork counts twice, which is as good.
    if !WATCHED.load(Acquire) {
        // SAFETY: the handler only adds to an atomic, which is allowed between fork and exec.
        unsafe {
            libc::pthread_atfork(None, None, Some(child));
        }
        WATCHED.store(true, Release);
    }
}

#[cfg(any(miri, loom))]
fn watch_forks() {}

/// This process's identity.
pub(crate) fn identity() -> u64 {
    watch_forks();
    let now = generation();
    // No lock, which a fork could leave locked. All threads of a process compute the same.
    if IDENTITY_OF.load(Acquire) == now {
        return IDENTITY.load(Relaxed);
    }
    let identity = compute_identity();
    IDENTITY.store(identity, Relaxed);
    IDENTITY_OF.store(now, Release);
    identity
}

fn compute_identity() -> u64 {
    let pid = std::process::id();
    let start = stat(pid).map_or(0, |stat| stat.start);
    let spaces = hash_of_link("/proc/self/ns/pid") ^ hash_of_link("/proc/self/ns/time") << 1;
    u64::from(pid) << PID
        | (start & START_MASK) << START
        | (image() & IMAGE_MASK) << IMAGE
        | (hash_of_file("/proc/sys/kernel/random/boot_id") & BOOT_MASK) << BOOT
        | spaces & SPACE_MASK
}

/// A number that differs between the program images that a process runs one after the other, and is the same
/// for all copies of this library in one of them: of the bytes that execve(2) makes at random.
#[cfg(not(any(miri, loom)))]
fn image() -> u64 {
    // SAFETY: the call takes a number and reads what execve(2) left.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const u64;
    if random.is_null() {
        return 0;
    }
    // SAFETY: the kernel says that there are 16 bytes (getauxval(3)), which nobody writes to.
    let random = unsafe { random.read_unaligned() };
    random ^ random >> 32
}

#[cfg(any(miri, loom))]
fn image() -> u64 {
    0
}

/// Hashes of what identifies the machine's boot and the namespaces; 0 where it cannot be read.
fn hash_of_file(path: &str) -> u64 {
    if cfg!(any(miri, loom)) { 0 } else { std::fs::read(path).map_or(0, |text| fold(&text)) }
}

fn hash_of_link(path: &str) -> u64 {
    if cfg!(any(miri, loom)) {
        return 0;
    }
    std::fs::read_link(path).map_or(0, |link| fold(link.as_os_str().as_encoded_bytes()))
}

/// FNV-1a, folded to 16 bits; never 0 in the bits that are used.
fn fold(text: &[u8]) -> u64 {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) & 0xffff | 1
}

struct Stat {
    state: u8,
    start: u64,
}

/// State and start time out of `/proc/PID/stat` (proc_pid_stat(5), fields 3 and 22).
fn stat(pid: u32) -> Option<Stat> {
    if cfg!(any(miri, loom)) {
        return None;
    }
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in field 2 may hold anything, even ')'.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = text.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

/// Whether the process of an identity may still be running.
pub(crate) fn is_alive(other: u64) -> bool {
    let (other, own) = (other & !RECOVERING, identity());
    if other == own {
        return true;
    }
    let part = |of: u64, shift: u32, mask: u64| of >> shift & mask;
    let boots = (part(other, BOOT, BOOT_MASK), part(own, BOOT, BOOT_MASK));
    // 0 is unknown.
    if boots.0 != boots.1 && boots.0 != 0 && boots.1 != 0 {
        return false;
    }
    if (other ^ own) & SPACE_MASK != 0 {
        return true;
    }
    let same_process = (other ^ own) >> START == 0;
    if same_process {
        return part(other, IMAGE, IMAGE_MASK) == part(own, IMAGE, IMAGE_MASK);
    }
    !is_gone((other >> PID) as u32, part(other, START, START_MASK))
}

/// Whether it is certain that another process of this machine, whose namespaces are this one's, is
/// running: what looks alive only because nothing can be told is not.
pub(crate) fn is_another_alive(other: u64) -> bool {
    let (other, own) = (other & !RECOVERING, identity());
    let place = BOOT_MASK << BOOT | SPACE_MASK;
    (other ^ own) & place == 0 && (other ^ own) >> START != 0 && is_alive(other)
}

/// Whether a word can be an identity at all: processes have numbers.
pub(crate) fn is_possible(identity: u64) -> bool {
    (identity & !RECOVERING) >> PID != 0
}

/// Whether it is certain that no process of this number and start time is left.
fn is_gone(pid: u32, start: u64) -> bool {
    if cfg!(any(miri, loom)) {
        return false;
    }
    let Some(number) = rustix::process::Pid::from_raw(pid as i32) else { return true };
    if rustix::process::test_kill_process(number) == Err(rustix::io::Errno::SRCH) {
        return true;
    }
    // A /proc of another namespace would show other processes under these numbers.
    let own = std::fs::read_link("/proc/self").ok();
    if own.as_deref().and_then(|link| link.to_str()) != Some(&std::process::id().to_string()) {
        return false;
    }
    // It may be hidden from this user: then nothing more can be told.
    let Some(stat) = stat(pid) else { return false };
    if stat.start & START_MASK != start {
        return true;
    }
    // A zombie's other threads may still run: then its folder of tasks lists them.
    matches!(stat.state, b'Z' | b'X' | b'x')
        && std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() <= 1)
}

/// The identity of this process's program image before the last execve(2): certainly dead.
#[cfg(test)]
pub(crate) fn of_another_image(identity: u64) -> u64 {
    (identity & !RECOVERING) ^ 1 << IMAGE
}

/// The identity of another process of this machine.
#[cfg(all(test, not(any(miri, loom))))]
pub(crate) fn of(pid: u32) -> u64 {
    let start = stat(pid).map_or(0, |stat| stat.start);
    identity() & !(((1 << 22) - 1) << PID | START_MASK << START)
        | u64::from(pid) << PID
        | (start & START_MASK) << START
}

thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(u32::MAX) };
    static RETURNED: Returned = const { Returned };
}

/// A bit for each number that a live thread has. No lock, which a fork could leave locked.
static NUMBERS: [AtomicU64; THREADS / 64] = [const { AtomicU64::new(0) }; THREADS / 64];

/// Threads of a process that can have a number at the same time.
pub(crate) const THREADS: usize = 1024;

struct Returned;

impl Drop for Returned {
    fn drop(&mut self) {
        forget();
        let number = NUMBER.replace(u32::MAX) as usize;
        if let Some(bits) = NUMBERS.get(number / 64) {
            bits.fetch_and(!(1 << (number % 64)), AcqRel);
        }
    }
}

thread_local! {
    /// For the maps that this thread wrote to last, serial number and its record in one word each.
    /// Good as long as the thread's number is its own, and the process itself.
    static KEPT: [Cell<u64>; 4] = const { [const { Cell::new(u64::MAX) }; 4] };
}

/// Bits of a record's number.
const RECORD: u32 = 10;

/// The record that this thread has in the table of writers of the map with this serial number, if
/// it was [kept](keep) not long ago.
#[inline(always)]
pub(crate) fn kept(serial: u64) -> Option<u32> {
    let kept = KEPT.with(|kept| kept[serial as usize % 4].get()) ^ serial << RECORD;
    (kept < 1 << RECORD).then_some(kept as u32)
}

/// Keeps a record for [`kept`].
pub(crate) fn keep(serial: u64, record: u32) {
    KEPT.with(|kept| kept[serial as usize % 4].set(serial << RECORD | u64::from(record)));
}

fn forget() {
    KEPT.with(|kept| kept.iter().for_each(|kept| kept.set(u64::MAX)));
}

/// A small number that no other live thread of this process has; [`THREADS`] if all are taken.
#[inline(always)]
pub(crate) fn thread_number() -> u32 {
    match NUMBER.get() {
        u32::MAX => new_thread_number(),
        number => number,
    }
}

#[cold]
fn new_thread_number() -> u32 {
    for (index, bits) in NUMBERS.iter().enumerate() {
        let mut taken = bits.load(Relaxed);
        while taken != u64::MAX {
            let bit = taken.trailing_ones();
            match bits.compare_exchange(taken, taken | 1 << bit, AcqRel, Relaxed) {
                Err(now) => taken = now,
                Ok(_) => {
                    let number = index as u32 * 64 + bit;
                    NUMBER.set(number);
                    // In a thread whose thread-locals are being taken down already it is not
                    // given back.
                    let _ = RETURNED.try_with(|_| ());
                    return number;
                }
            }
        }
    }
    THREADS as u32
}

/// The CPU that this thread runs on; it may move at any time.
#[inline(always)]
pub(crate) fn current_cpu() -> u32 {
    #[cfg(any(miri, loom))]
    return thread_number();
    #[cfg(not(any(miri, loom)))]
    {
        if let Some(cpu) = registered_cpu() {
            return cpu;
        }
        // SAFETY: the call takes nothing and only reads.
        let cpu = unsafe { libc::sched_getcpu() };
        u32::try_from(cpu).unwrap_or(0)
    }
}

/// The CPU from where the kernel writes it for each thread that glibc has registered for restartable
/// sequences (rseq(2)); nothing elsewhere.
#[cfg(all(target_arch = "x86_64", target_env = "gnu", not(any(miri, loom))))]
#[inline(always)]
fn registered_cpu() -> Option<u32> {
    static OFFSET: Found = Found::new();
    /// No offset: no `struct rseq` is that far from its thread.
    const NONE: i32 = i32::MIN;
    #[cold]
    fn find() -> u32 {
        // SAFETY: the names are C strings; glibc's variables of these names have these types and
        // are never written after the program's start.
        let offset = unsafe {
            let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
            let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
            (!size.is_null() && *size > 0 && !offset.is_null()).then(|| *offset)
        };
        offset.and_then(|offset| i32::try_from(offset).ok()).unwrap_or(NONE).cast_unsigned()
    }
    let offset = OFFSET.get(find).cast_signed();
    if offset == NONE {
        return None;
    }
    let offset = offset as isize;
    let cpu: i32;
    // SAFETY: glibc says that a thread's `struct rseq` is that far from its thread pointer; its
    // field `cpu_id` is at byte 4, and negative unless the thread is registered.
    unsafe {
        core::arch::asm!(
            "mov {cpu:e}, dword ptr fs:[{offset} + 4]",
            cpu = out(reg) cpu,
            offset = in(reg) offset,
            options(nostack, preserves_flags, readonly),
        );
    }
    u32::try_from(cpu).ok()
}

#[cfg(not(any(all(target_arch = "x86_64", target_env = "gnu"), miri, loom)))]
fn registered_cpu() -> Option<u32> {
    None
}

/// CPUs that the machine can have, as the kernel counts them for per-CPU maps
/// (`/sys/devices/system/cpu/possible`).
pub(crate) fn possible_cpus() -> u32 {
    static COUNT: Found = Found::new();
    COUNT.get(|| {
        let list = if cfg!(any(miri, loom)) {
            None
        } else {
            std::fs::read_to_string("/sys/devices/system/cpu/possible").ok()
        };
        list.as_deref().and_then(count_list).unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
        })
    })
}

/// One more than the highest number of a list such as `0-3,8`.
fn count_list(list: &str) -> Option<u32> {
    let highest = |range: &str| range.rsplit('-').next()?.trim().parse::<u32>().ok();
    list.trim().split(',').filter_map(highest).max()?.checked_add(1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(count_list("0-3,8\n"), Some(9));
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list(""), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "starts a process")]
    fn alive_and_dead() {
        assert!(is_alive(identity()));
        assert!(is_alive(identity() | RECOVERING));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let of = |pid: u32, start: u64| {
            identity() & !(((1 << 22) - 1) << PID | START_MASK << START)
                | u64::from(pid) << PID
                | (start & START_MASK) << START
        };
        let other = of(pid, stat(pid).unwrap().start);
        assert!(is_alive(other));
        assert!(!is_alive(of(pid, stat(pid).unwrap().start + 1)), "the number was used again");
        assert!(!is_alive(other ^ 1 << (BOOT + 1)), "another boot");
        assert!(!is_alive(identity() ^ 1 << IMAGE), "this process before execve(2)");
        child.kill().unwrap();
        while stat(pid).is_some_and(|stat| stat.state != b'Z') {
            std::thread::yield_now();
        }
        assert!(!is_alive(other), "a zombie");
        child.wait().unwrap();
        assert!(!is_alive(other), "gone");
    }

    #[test]
    fn numbers_of_live_threads_differ() {
        let own = thread_number();
        let other = std::thread::spawn(thread_number).join().unwrap();
        assert_ne!(own, other);
        assert_eq!(own, thread_number());
    }
}
