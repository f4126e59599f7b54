//! Loops, tail calls and locks.

use super::arguments::{Called, fail, spend};
use crate::run::{NO_TAIL_CALL, Run, Stop, wrong};
use crate::sandbox::cage::{Atomic, MAPS};
use std::time::{Duration, Instant};

/// The most rounds of a loop (`BPF_MAX_LOOPS`).
const MAX_LOOPS: u32 = 1 << 23;
/// How long a program waits for a lock before it looks whether its holder still exists.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long it waits for a holder that exists.
const LONGEST: Duration = Duration::from_secs(2);

/// `bpf_loop(rounds, callback, context, flags)`
pub(super) fn repeat(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    let [rounds, callback, context, flags, _] = arguments;
    let rounds = rounds as u32;
    if flags != 0 {
        return fail(libc::EINVAL);
    }
    if rounds > MAX_LOOPS {
        // Of 32 bits: the kernel puts the loop into the program (`inline_bpf_loop`), with a move
        // of 32 bits for this.
        return fail(libc::E2BIG).map(|error| error & u64::from(u32::MAX));
    }
    for round in 0..u64::from(rounds) {
        spend(run, 1)?;
        if run.call_back("bpf_loop", callback, [round, context, 0, 0, 0])? != 0 {
            return Ok(round + 1);
        }
    }
    Ok(rounds.into())
}

/// `bpf_tail_call(context, map, index)`: engines make it, as it does not come back. One that
/// gets here cannot be made.
pub(super) fn tail_call(_run: &mut Run<'_>, _arguments: [u64; 5]) -> Called {
    Ok(NO_TAIL_CALL)
}

/// `bpf_spin_lock(lock)`: the word holds the number of the thread that has it, so that whoever
/// waits can tell that a holder has died.
pub(super) fn lock(run: &mut Run<'_>, [lock, ..]: [u64; 5]) -> Called {
    const NAME: &str = "bpf_spin_lock";
    if lock & run.memory.mask() < MAPS {
        return Err(wrong(NAME, format!("{lock:#x} is not in a map's value")).into());
    }
    if run.lock != 0 {
        return Err(wrong(NAME, "the program holds a lock already".to_owned()).into());
    }
    let own = rustix::thread::gettid().as_raw_pid() as u32;
    let begin = Instant::now();
    let mut rounds = 0_u32;
    loop {
        let holder = run.memory.atomic(lock, 4, Atomic::CompareExchange(0), own.into())?;
        if holder == 0 || given_up(run, lock, holder as u32, own, begin)? {
            run.lock = lock;
            return Ok(0);
        }
        if begin.elapsed() > LONGEST {
            let problem = format!("held for {} seconds by thread {holder}", LONGEST.as_secs());
            return Err(wrong(NAME, problem).into());
        }
        rounds += 1;
        match rounds % 64 {
            0 => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}

/// What it costs to take a lock over: a program must not wait so again and again.
const TAKEN_OVER: u64 = 1 << 20;

/// Whether the lock of a thread that no longer exists became this one's.
fn given_up(
    run: &mut Run<'_>,
    lock: u64,
    holder: u32,
    own: u32,
    begin: Instant,
) -> Result<bool, Stop> {
    if begin.elapsed() < PATIENCE {
        return Ok(false);
    }
    let thread = i32::try_from(holder).ok().and_then(rustix::process::Pid::from_raw);
    let exists = thread.is_some_and(|thread| {
        rustix::process::test_kill_process(thread) != Err(rustix::io::Errno::SRCH)
    });
    if exists {
        return Ok(false);
    }
    spend(run, TAKEN_OVER)?;
    let expected = Atomic::CompareExchange(holder.into());
    Ok(run.memory.atomic(lock, 4, expected, own.into())? == u64::from(holder))
}

/// `bpf_spin_unlock(lock)`
pub(super) fn unlock(run: &mut Run<'_>, [lock, ..]: [u64; 5]) -> Called {
    if run.lock == 0 || run.lock != lock {
        let problem = format!("the program does not hold the lock at {lock:#x}");
        return Err(wrong("bpf_spin_unlock", problem).into());
    }
    release(run);
    Ok(0)
}

/// Gives back the lock that a program holds, if any: when it asks for that, or has ended early.
#[inline]
pub(crate) fn release(run: &mut Run<'_>) {
    let lock = std::mem::take(&mut run.lock);
    if lock != 0 {
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        // It was written when the lock was taken, so it can be written.
        let stored = run.memory.store(lock, 4, 0);
        debug_assert!(stored.is_ok());
    }
}
