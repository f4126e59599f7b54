//! A forked child under ptrace(2): stepped by single instructions, looked at while it stands, and
//! stopped or killed there. And memory that forked processes share.

#![allow(unsafe_code)]

use nix::sys::ptrace;
use nix::sys::signal::Signal::{self, SIGCONT, SIGKILL, SIGSTOP, SIGTRAP};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
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
    /// How often it was stopped.
    stops: u64,
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

/// The instructions of a child, in the order in which it executed them, and how to bring another child to
/// each of them by few stops.
#[derive(Default)]
pub struct Way {
    instructions: Vec<Instruction>,
    /// Where each place is among them.
    met: HashMap<u64, Vec<usize>>,
    /// Those that cost less to come to than all that follow them.
    cheap: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Instruction {
    place: u64,
    /// What it costs to come here from the way's start.
    cost: u64,
    /// From which instruction one comes here,
    from: usize,
    /// and how.
    by: Move,
}

#[derive(Clone, Copy)]
enum Move {
    /// By a single step.
    Step,
    /// By a breakpoint, which is met so many times.
    Breakpoint(u64),
}

/// What a single step costs, coming to a breakpoint, and each time that it is passed before that.
const STEP: u64 = 2;
const ARRIVE: u64 = 3;
const PASS: u64 = 5;
/// Passes that are worth a look.
const PASSES: u64 = 40;

impl Way {
    fn push(&mut self, place: u64) {
        let at = self.instructions.len();
        let met = self.met.entry(place).or_default();
        let step = match at.checked_sub(1) {
            Some(last) => self.instructions[last].cost + STEP,
            None => 0,
        };
        let mut best =
            Instruction { place, cost: step, from: at.saturating_sub(1), by: Move::Step };
        // From behind an earlier time here, or from before the first, to a breakpoint here.
        for times in (1..=PASSES.min(met.len() as u64 + 1)).filter(|_| at > 0) {
            let first = met.len().checked_sub(times as usize).map_or(0, |before| met[before] + 1);
            let cheap = self.cheap.partition_point(|known| *known < first);
            let Some(from) = self.cheap.get(cheap) else { continue };
            let cost = self.instructions[*from].cost + ARRIVE + (times - 1) * PASS;
            // Not from one of the times here, which one would have to step away from first.
            if cost < best.cost && self.instructions[*from].place != place {
                let between = met.partition_point(|known| known < from);
                let times = (met.len() - between) as u64 + 1;
                best = Instruction { place, cost, from: *from, by: Move::Breakpoint(times) };
            }
        }
        met.push(at);
        while self.cheap.last().is_some_and(|last| self.instructions[*last].cost >= best.cost) {
            self.cheap.pop();
        }
        self.cheap.push(at);
        self.instructions.push(best);
    }

    /// How many they are.
    pub fn instructions(&self) -> u64 {
        self.instructions.len() as u64
    }

    /// The moves that lead to an instruction.
    fn route(&self, to: usize) -> Vec<Instruction> {
        let mut route = Vec::new();
        let mut at = to;
        while at > 0 {
            route.push(self.instructions[at]);
            at = self.instructions[at].from;
        }
        route.reverse();
        route
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
        let mut tracee = Tracee { pid, said, gone: false, stops: 0 };
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

    /// How often it was stopped; each takes longer than thousands of its instructions.
    pub fn stops(&self) -> u64 {
        self.stops
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
        while self.finished().is_none() {
            way.push(self.place());
            self.step(1);
        }
        way
    }

    /// Lets it execute so many instructions of a way that it is expected to take. That is as
    /// [`step`](Tracee::step) with fewer stops: at breakpoints, and at single instructions between them.
    /// False if it took another way, or none is left.
    pub fn follow(&mut self, way: &Way, instructions: u64) -> bool {
        let Some(target) = way.instructions.get(instructions as usize) else { return false };
        for part in way.route(instructions as usize) {
            match part.by {
                Move::Step => self.step(1),
                Move::Breakpoint(times) => {
                    if !self.run_to(part.place, times) {
                        return false;
                    }
                }
            }
        }
        self.finished().is_none() && self.place() == target.place
    }

    /// Lets it go on until it comes to a place, where it is not now, for this time from now on. False
    /// if it doesn't, or the code cannot be written to.
    fn run_to(&mut self, place: u64, times: u64) -> bool {
        let at = place as ptrace::AddressType;
        let Ok(code) = ptrace::read(self.pid, at) else { return false };
        for time in 0..times {
            if time > 0 {
                self.step(1);
                // An instruction that repeats itself is met again.
                if self.place() == place {
                    continue;
                }
            }
            if ptrace::write(self.pid, at, code & !0xff | BREAKPOINT).is_err() {
                return false;
            }
            ptrace::cont(self.pid, None).expect("going on");
            let stop = waitpid(self.pid, None).expect("waiting for a traced child");
            self.stops += 1;
            if !matches!(stop, WaitStatus::Stopped(_, SIGTRAP)) {
                self.gone = !matches!(stop, WaitStatus::Stopped(..));
                return false;
            }
            // What it has executed is the breakpoint, of one byte.
            ptrace::write(self.pid, at, code).expect("the code as it was");
            self.set_place(place);
        }
        true
    }

    #[cfg(target_arch = "x86_64")]
    fn place(&self) -> u64 {
        let at = std::mem::offset_of!(libc::user_regs_struct, rip);
        ptrace::read_user(self.pid, at as ptrace::AddressType).expect("registers") as u64
    }

    #[cfg(target_arch = "x86_64")]
    fn set_place(&self, place: u64) {
        let at = std::mem::offset_of!(libc::user_regs_struct, rip);
        ptrace::write_user(self.pid, at as ptrace::AddressType, place as i64).expect("registers");
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
        self.stops += 1;
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

/// Keeps this thread, and what it forks, on one CPU: of those that are allowed the one on which this
/// process keeps the fewest threads.
///
/// So "this CPU's slot" is the same for both, and a step needs no other CPU's help.
pub fn pin() {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    if PINNED.with_borrow(Option::is_some) {
        return;
    }
    let thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(thread).expect("this thread's CPUs");
    let allowed = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut kept = KEPT.lock().expect("no panic with it");
    let cpu = allowed.min_by_key(|cpu| kept.get(cpu).copied().unwrap_or(0)).expect("a CPU");
    *kept.entry(cpu).or_default() += 1;
    PINNED.set(Some(Pinned(cpu)));
    let mut one = CpuSet::new();
    one.set(cpu).expect("a CPU");
    sched_setaffinity(thread, &one).expect("a CPU of this thread's");
}

/// How many threads are kept on each CPU.
static KEPT: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

thread_local! {
    static PINNED: RefCell<Option<Pinned>> = const { RefCell::new(None) };
}

/// A thread that is kept on a CPU, until it ends.
struct Pinned(usize);

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Ok(mut kept) = KEPT.lock() {
            *kept.entry(self.0).or_default() -= 1;
        }
    }
}
