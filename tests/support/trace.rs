//! A forked child under ptrace(2): stepped by single instructions, looked at while it stands, and
//! stopped or killed there. And memory that forked processes share.

#![allow(unsafe_code)]

use nix::sys::ptrace;
use nix::sys::signal::Signal::{self, SIGCONT, SIGKILL, SIGSTOP, SIGTRAP};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::collections::HashMap;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::*};

/// Words that this process and those that it forks after this see alike.
pub struct Shared {
    start: *mut AtomicU64,
    words: usize,
}

// SAFETY: atomics may be used from all threads; the memory stays until the owner is dropped.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// So many, all 0.
    pub fn new(words: usize) -> Shared {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory, wherever the system likes.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), words * 8, protection, MapFlags::SHARED)
        };
        Shared { start: start.expect("shared memory").cast(), words }
    }
}

impl Deref for Shared {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `new` mapped that many words, page-aligned; they are only used as atomics, and
        // stay mapped as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start, self.words) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the memory of `new`, which nobody can refer to any more.
        let _ = unsafe { munmap(self.start.cast(), self.words * 8) };
    }
}

/// Forks; the child does `work` and ends with its code, 101 if it panics.
///
/// Other threads don't exist in the child, so `work` must not wait for any of them.
pub fn fork(work: impl FnOnce() -> u8) -> Pid {
    // SAFETY: as in `sys::fork`: glibc makes its allocator usable in the child, which uses nothing
    // else that another thread could have locked, and ends by _exit.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(101);
            // SAFETY: _exit takes any number and does not come back.
            unsafe { libc::_exit(code.into()) }
        }
        pid => Pid::from_raw(pid),
    }
}

/// A child that stands still, under this thread's control. Killed when dropped.
pub struct Tracee {
    pid: Pid,
    /// 1 + what `act` returned.
    said: Shared,
    gone: bool,
}

/// Why no child can be traced here.
pub type Refused = String;

/// In the child, if it may not be traced.
const MAY_NOT: u8 = 111;

/// `int3`
const BREAKPOINT: i64 = 0xcc;

/// Stops a traced process, just before the operation that is looked at.
#[inline(always)]
fn halt() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a breakpoint; the tracer is waiting for it, and goes on behind it.
    unsafe {
        std::arch::asm!("int3")
    };
}

/// The instructions of a child, in the order in which it executed them.
#[derive(Default)]
pub struct Way(Vec<Instruction>);

#[derive(Clone, Copy)]
struct Instruction {
    place: u64,
    /// How often it was there before.
    times: u64,
    /// From which instruction's breakpoint this one is reached with the fewest stops, and how many.
    breakpoint: usize,
    stops: u64,
}

impl Way {
    fn push(&mut self, place: u64, times: u64) {
        let own = Instruction { place, times, breakpoint: self.0.len(), stops: 2 * times + 2 };
        self.0.push(match self.0.last() {
            None => Instruction { stops: 0, ..own },
            Some(last) if last.stops < own.stops => {
                Instruction { breakpoint: last.breakpoint, stops: last.stops + 1, ..own }
            }
            Some(_) => own,
        });
    }

    /// How many they are.
    pub fn instructions(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Tracee {
    /// Forks a child that does `prepare`, stops, and does `act` as it is told to go on.
    pub fn start(
        prepare: impl FnOnce(),
        act: impl FnOnce() -> u8,
    ) -> std::result::Result<Tracee, Refused> {
        if !cfg!(target_arch = "x86_64") {
            return Err("stepping is written for x86-64 only".to_owned());
        }
        let said = Shared::new(1);
        let pid = fork(|| {
            prepare();
            if ptrace::traceme().is_err() {
                return MAY_NOT;
            }
            halt();
            said[0].store(1 + u64::from(act()), Release);
            0
        });
        let mut tracee = Tracee { pid, said, gone: false };
        match waitpid(pid, None).expect("waiting for a child") {
            WaitStatus::Stopped(_, SIGTRAP) => {}
            WaitStatus::Exited(_, code) if code == i32::from(MAY_NOT) => {
                tracee.gone = true;
                return Err("ptrace(2) is not permitted here".to_owned());
            }
            other => {
                tracee.gone = !matches!(other, WaitStatus::Stopped(..));
                panic!("a child that was to stop: {other:?}");
            }
        }
        let options = ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD;
        match ptrace::setoptions(pid, options) {
            Ok(()) => Ok(tracee),
            Err(error) => Err(format!("ptrace(2): {error}")),
        }
    }

    /// The child's number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether `act` is over, and what it returned.
    pub fn finished(&self) -> Option<u8> {
        self.said[0].load(Acquire).checked_sub(1).map(|code| code as u8)
    }

    /// Whether `act` is over, or the child is.
    pub fn is_over(&self) -> bool {
        self.gone || self.finished().is_some()
    }

    /// Lets it execute so many instructions, or what is left of `act`.
    pub fn step(&mut self, instructions: u64) {
        for _ in 0..instructions {
            if self.finished().is_some() {
                return;
            }
            ptrace::step(self.pid, None).expect("a step");
            self.wait();
        }
    }

    /// Lets it go on until it enters or leaves a system call, or `act` is over.
    pub fn step_to_call(&mut self) {
        ptrace::syscall(self.pid, None).expect("a step");
        self.wait();
    }

    /// Steps through all of `act`; gives the way that it took.
    pub fn walk(&mut self) -> Way {
        let mut way = Way::default();
        let mut met = HashMap::new();
        while self.finished().is_none() {
            let times: &mut u64 = met.entry(self.place()).or_default();
            way.push(self.place(), *times);
            *times += 1;
            self.step(1);
        }
        way
    }

    /// Lets it execute so many instructions of a way that it is expected to take. That is as
    /// [`step`](Tracee::step) with fewer stops: at a breakpoint, and then at single instructions.
    /// False if it took another way, or none is left.
    pub fn follow(&mut self, way: &Way, instructions: u64) -> bool {
        let end = instructions as usize;
        let Some(target) = way.0.get(end) else { return false };
        let from = way.0[target.breakpoint];
        if target.breakpoint > 0 && !self.run_to(from.place, from.times) {
            return false;
        }
        self.step((end - target.breakpoint) as u64);
        self.finished().is_none() && self.place() == target.place
    }

    /// Lets it go on to a place where it will have been so many times before. False if it doesn't
    /// come there, or the code cannot be written to.
    fn run_to(&mut self, place: u64, times: u64) -> bool {
        let at = place as ptrace::AddressType;
        let Ok(code) = ptrace::read(self.pid, at) else { return false };
        let mut met = u64::from(self.place() == place);
        while met <= times {
            if self.place() == place {
                self.step(1);
                if self.place() == place {
                    met += 1;
                    continue;
                }
            }
            if ptrace::write(self.pid, at, code & !0xff | BREAKPOINT).is_err() {
                return false;
            }
            ptrace::cont(self.pid, None).expect("going on");
            let stop = waitpid(self.pid, None).expect("waiting for a traced child");
            if !matches!(stop, WaitStatus::Stopped(_, SIGTRAP)) {
                self.gone = !matches!(stop, WaitStatus::Stopped(..));
                return false;
            }
            // What it has executed is the breakpoint, of one byte.
            ptrace::write(self.pid, at, code).expect("the code as it was");
            self.set_place(place);
            met += 1;
        }
        true
    }

    #[cfg(target_arch = "x86_64")]
    fn place(&self) -> u64 {
        ptrace::getregs(self.pid).expect("registers").rip
    }

    #[cfg(target_arch = "x86_64")]
    fn set_place(&self, place: u64) {
        let mut registers = ptrace::getregs(self.pid).expect("registers");
        registers.rip = place;
        ptrace::setregs(self.pid, registers).expect("registers");
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn place(&self) -> u64 {
        unreachable!("`start` refuses")
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn set_place(&self, _: u64) {
        unreachable!("`start` refuses")
    }

    fn wait(&mut self) {
        match waitpid(self.pid, None).expect("waiting for a traced child") {
            WaitStatus::Stopped(_, SIGTRAP) | WaitStatus::PtraceSyscall(_) => {}
            other => {
                self.gone = !matches!(other, WaitStatus::Stopped(..));
                panic!("a traced child: {other:?}");
            }
        }
    }

    /// Kills it where it stands. If `leave`, it stays a zombie until this is dropped.
    pub fn kill(&mut self, leave: bool) {
        nix::sys::signal::kill(self.pid, SIGKILL).expect("killed");
        let zombie = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let state = waitid(Id::Pid(self.pid), zombie).expect("waiting for a killed child");
        assert!(matches!(state, WaitStatus::Signaled(_, SIGKILL, _)), "{state:?}");
        if !leave {
            self.reap();
        }
    }

    fn reap(&mut self) {
        while let WaitStatus::Stopped(..) | WaitStatus::PtraceSyscall(_) =
            waitpid(self.pid, None).expect("waiting for a killed child")
        {}
        self.gone = true;
    }

    /// Ends the tracing and stops it by SIGSTOP where it stands.
    pub fn stop(&mut self) {
        ptrace::detach(self.pid, SIGSTOP).expect("detached");
        let stopped = waitpid(self.pid, Some(WaitPidFlag::WUNTRACED)).expect("waiting for a child");
        assert!(matches!(stopped, WaitStatus::Stopped(_, SIGSTOP)), "{stopped:?}");
    }

    /// Lets it go on after [`stop`](Tracee::stop), to its end; gives what `act` returned.
    pub fn go_on(&mut self) -> u8 {
        nix::sys::signal::kill(self.pid, SIGCONT).expect("continued");
        let end = waitpid(self.pid, None).expect("waiting for a child");
        self.gone = true;
        assert_eq!(end, WaitStatus::Exited(self.pid, 0));
        self.finished().expect("it did all of it")
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.gone {
            let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
            self.reap();
        }
    }
}

/// Keeps this thread, and what it forks, on one CPU: the first thread that asks on the first, the
/// next on the next.
///
/// So "this CPU's slot" is the same for both, and a step needs no other CPU's help.
pub fn pin() {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(thread).expect("this thread's CPUs");
    let allowed: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true)).collect();
    let mut one = CpuSet::new();
    one.set(allowed[NEXT.fetch_add(1, Relaxed) as usize % allowed.len()]).expect("a CPU");
    sched_setaffinity(thread, &one).expect("a CPU of this thread's");
}
