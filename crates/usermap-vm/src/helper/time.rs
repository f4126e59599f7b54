//! Clocks, and who and where the program runs.

use super::arguments::{Called, clear, size};
use crate::run::Run;
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Nanoseconds of a tick (`CONFIG_HZ` is 250, the kernel's default).
const TICK: u64 = 4_000_000;
/// The first tick's number (`INITIAL_JIFFIES`): so that 32 bits of it overflow after 5 minutes.
const FIRST_TICK: u64 = (-300 * 250_i32) as u32 as u64;

fn now(clock: ClockId) -> u64 {
    nanoseconds(clock_gettime(clock))
}

fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// `bpf_ktime_get_ns()`
pub(super) fn ktime(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(now(ClockId::Monotonic))
}

/// `bpf_ktime_get_boot_ns()`
pub(super) fn boot(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(now(ClockId::Boottime))
}

/// `bpf_ktime_get_coarse_ns()`
pub(super) fn coarse(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(now(ClockId::MonotonicCoarse))
}

/// `bpf_ktime_get_tai_ns()`
pub(super) fn tai(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    let tai = clock_gettime_dynamic(DynamicClockId::Tai);
    Ok(nanoseconds(tai.unwrap_or_else(|_| clock_gettime(ClockId::Realtime))))
}

/// `bpf_jiffies64()`
pub(super) fn jiffies(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(FIRST_TICK + now(ClockId::MonotonicCoarse) / TICK)
}

thread_local! {
    static RANDOM: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

/// `bpf_get_prandom_u32()`: xorshift64*, for each thread from another start.
pub(super) fn random(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    let next = RANDOM.with(|state| {
        let mut word = state.get();
        word ^= word >> 12;
        word ^= word << 25;
        word ^= word >> 27;
        state.set(word);
        word.wrapping_mul(0x2545_f491_4f6c_dd1d)
    });
    Ok(next >> 32)
}

/// `bpf_get_smp_processor_id()`: the CPU slot, which no other running program has.
pub(super) fn cpu(run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(run.cpu.into())
}

/// `bpf_get_numa_node_id()`: slots belong to no node but the first.
pub(super) fn node(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(0)
}

/// `bpf_get_current_pid_tgid()`
pub(super) fn process(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    let process = rustix::process::getpid().as_raw_pid() as u32;
    let thread = rustix::thread::gettid().as_raw_pid() as u32;
    Ok(u64::from(process) << 32 | u64::from(thread))
}

/// `bpf_get_current_uid_gid()`
pub(super) fn user(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Ok(u64::from(group) << 32 | u64::from(user))
}

/// `bpf_get_current_comm(buffer, size)`: the thread's name, filled up with zeros.
pub(super) fn comm(run: &mut Run<'_>, [buffer, bytes, ..]: [u64; 5]) -> Called {
    let bytes = size("bpf_get_current_comm", bytes)?;
    clear(run.memory, buffer, bytes as u64)?;
    let name = rustix::thread::name().unwrap_or_default();
    let name = name.as_bytes();
    // The last byte is the NUL.
    let shown = &name[..name.len().min(bytes.saturating_sub(1))];
    run.memory.write(buffer, shown)?;
    Ok(0)
}
