//! Timing: pinned threads, short runs, medians; runs that something else disturbed are repeated.
//! One thread is timed by the CPU time that it had, so that on a loaded machine, too, nothing is
//! counted but what it did; two or more by the clock on the wall.
//!
//! All implementations of one workload are timed in turn, several times over, so that a noisy
//! stretch of a shared machine meets each of them and their ratios stay true.
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::hint::{black_box, spin_loop};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The argument with which the harness starts itself as a pause loop.
pub const PAUSE_LOOP: &str = "--pause-loop";

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Milliseconds that one timed run aims at.
    pub run_ms: f64,
    /// How often each implementation has its turn.
    pub visits: usize,
    /// Timed runs in one turn, after an untimed one.
    pub runs: usize,
    /// How many times as many runs a turn may take where runs are disturbed.
    pub patience: usize,
    /// Whether the other CPUs run a pause loop while one thread is timed.
    pub hush: bool,
}

/// What came of it: nanoseconds that one thread spends on one operation.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Median.
    pub ns: f64,
    /// Fastest run.
    pub min: f64,
    /// Slowest run.
    pub max: f64,
    /// Runs that counted.
    pub runs: usize,
}

/// `run(thread, first, count)` performs operations number `first` to `first + count` of that
/// thread's sequence and returns anything that depends on their results.
pub type Run<'a> = Box<dyn Fn(usize, u64, u64) -> u64 + Sync + 'a>;

/// The CPUs that this process may use.
pub fn cpus() -> &'static [usize] {
    static CPUS: OnceLock<Vec<usize>> = OnceLock::new();
    CPUS.get_or_init(|| match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        Err(_) => vec![0],
    })
}

/// Puts the calling thread on the CPU for thread number `thread`.
pub fn pin(thread: usize) {
    let mut set = CpuSet::new();
    set.set(cpus()[thread % cpus().len()]);
    let _ = sched_setaffinity(None, &set);
}

/// Nanoseconds for which this thread has waited for a CPU so far; 0 where the kernel does not say.
fn waited() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Pause loops on all CPUs but the first, as processes of their own (some peers interrupt every
/// running thread of their own process). They are stopped until [`PauseLoops::on`].
pub struct PauseLoops(Vec<Child>);

impl PauseLoops {
    /// Starts them, if wanted.
    pub fn start(wanted: bool) -> PauseLoops {
        let mut children = Vec::new();
        if let (true, Ok(exe)) = (wanted, std::env::current_exe()) {
            for cpu in &cpus()[1..] {
                let child = Command::new(&exe)
                    .args([PAUSE_LOOP, &cpu.to_string()])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .spawn();
                children.extend(child);
            }
        }
        let loops = PauseLoops(children);
        loops.send(Signal::STOP);
        loops
    }

    fn send(&self, signal: Signal) {
        for child in &self.0 {
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// Lets them run until the guard is dropped.
    fn on(&self) -> Hushed<'_> {
        self.send(Signal::CONT);
        Hushed(self)
    }
}

impl Drop for PauseLoops {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Hushed<'a>(&'a PauseLoops);

impl Drop for Hushed<'_> {
    fn drop(&mut self) {
        self.0.send(Signal::STOP);
    }
}

/// What a process started with [`PAUSE_LOOP`] does; it dies with its parent.
pub fn pause_loop(cpu: usize) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
    loop {
        spin_loop();
    }
}

/// A clock that goes while the thread that started it has a CPU.
pub struct Clock(Duration);

impl Clock {
    /// From now on, for this thread.
    pub fn start() -> Clock {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Clock(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// CPU time that the thread has had since.
    pub fn elapsed(&self) -> Duration {
        Clock::start().0 - self.0
    }
}

/// One run on `threads` threads that start together: how long it took, and whether one of them had
/// to wait for its CPU.
fn one_run(threads: usize, first: u64, count: u64, run: &Run<'_>) -> (Duration, bool) {
    let timed = |thread: usize| {
        let before = waited();
        let start = Instant::now();
        black_box(run(thread, first, count));
        let end = Instant::now();
        (start, end, waited() - before)
    };
    if threads == 1 {
        let (before, clock) = (waited(), Clock::start());
        black_box(run(0, first, count));
        let took = clock.elapsed();
        return (took, u128::from(waited() - before) * 50 > took.as_nanos());
    }
    let spans: Vec<(Instant, Instant, u64)> = {
        let ready = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let start = |thread: usize| {
                let (ready, timed) = (&ready, &timed);
                scope.spawn(move || {
                    pin(thread);
                    ready.fetch_add(1, SeqCst);
                    while ready.load(SeqCst) < threads {
                        spin_loop();
                    }
                    timed(thread)
                })
            };
            let handles: Vec<_> = (0..threads).map(start).collect();
            handles.into_iter().map(|handle| handle.join().expect("a timed thread")).collect()
        })
    };
    let start = spans.iter().map(|span| span.0).min().expect("a span");
    let end = spans.iter().map(|span| span.1).max().expect("a span");
    let wall = end - start;
    let waited: u64 = spans.iter().map(|span| span.2).sum();
    (wall, waited as u128 * 50 > wall.as_nanos())
}

/// How many operations fill one run, and where in its sequence an implementation is.
struct Turn {
    first: u64,
    count: u64,
    clean: Vec<f64>,
    dirty: Vec<f64>,
}

impl Turn {
    fn calibrated(settings: &Settings, threads: usize, run: &Run<'_>) -> Turn {
        let want = settings.run_ms * 1e6;
        let (mut first, mut count) = (0, 1024);
        for _ in 0..60 {
            let (wall, disturbed) = one_run(threads, first, count, run);
            first += count;
            let ns = wall.as_nanos() as f64;
            if ns > want / 8.0 && (threads == 1 || !disturbed) || count > 1 << 30 {
                count = (count as f64 * want / ns) as u64;
                break;
            }
            if ns > want / 8.0 {
                continue;
            }
            count *= 2;
        }
        Turn { first, count: count.max(1024) & !1023, clean: Vec::new(), dirty: Vec::new() }
    }

    fn visit(&mut self, settings: &Settings, threads: usize, run: &Run<'_>) {
        one_run(threads, self.first, self.count, run);
        self.first += self.count;
        let (wanted, mut left) =
            (self.clean.len() + settings.runs, settings.patience * settings.runs);
        while self.clean.len() < wanted && left > 0 {
            let (wall, disturbed) = one_run(threads, self.first, self.count, run);
            self.first += self.count;
            let ns = wall.as_nanos() as f64 / self.count as f64;
            if disturbed {
                self.dirty.push(ns)
            } else {
                self.clean.push(ns)
            }
            left -= 1;
        }
    }

    fn timing(mut self, settings: &Settings) -> Timing {
        self.dirty.sort_by(f64::total_cmp);
        // The least disturbed ones have to do where there are not enough others.
        let missing = (settings.visits * settings.runs).saturating_sub(self.clean.len());
        self.clean.extend(self.dirty.into_iter().take(missing));
        Timing::of(self.clean)
    }
}

impl Timing {
    /// Of some runs' nanoseconds an operation.
    pub fn of(mut runs: Vec<f64>) -> Timing {
        runs.sort_by(f64::total_cmp);
        let last = runs.len() - 1;
        Timing { ns: runs[runs.len() / 2], min: runs[0], max: runs[last], runs: runs.len() }
    }
}

/// Times every implementation of one workload, in turns.
pub fn contest(
    settings: &Settings,
    loops: &PauseLoops,
    threads: usize,
    runs: &[Run<'_>],
) -> Vec<Timing> {
    pin(0);
    let _hushed = (threads == 1).then(|| loops.on());
    let mut turns: Vec<Turn> =
        runs.iter().map(|run| Turn::calibrated(settings, threads, run)).collect();
    for _ in 0..settings.visits {
        for (turn, run) in turns.iter_mut().zip(runs) {
            turn.visit(settings, threads, run);
        }
    }
    turns.into_iter().map(|turn| turn.timing(settings)).collect()
}

/// Times something that keeps its own clock: `run(wanted)` performs about that many operations and
/// returns how many and how long they took without what had to be prepared. `None` if it cannot.
pub fn spans(
    settings: &Settings,
    loops: &PauseLoops,
    mut run: impl FnMut(u64) -> Option<(u64, Duration)>,
) -> Option<Timing> {
    pin(0);
    let _hushed = loops.on();
    let mut wanted = 64;
    let mut turn = Turn { first: 0, count: 0, clean: Vec::new(), dirty: Vec::new() };
    let limit = Instant::now() + Duration::from_secs_f64(settings.run_ms / 3.0);
    while turn.clean.len() < settings.visits * settings.runs {
        let before = waited();
        let (done, took) = run(wanted)?;
        let waited = Duration::from_nanos(waited() - before);
        if done == 0 {
            return None;
        }
        let short = took.as_secs_f64() * 1e3 < settings.run_ms / 2.0;
        if short && done >= wanted && wanted < 1 << 26 {
            wanted *= 2;
            continue;
        }
        let ns = took.as_nanos() as f64 / done as f64;
        if waited * 50 > took {
            turn.dirty.push(ns)
        } else {
            turn.clean.push(ns)
        }
        if Instant::now() > limit {
            break;
        }
    }
    Some(turn.timing(settings))
}
