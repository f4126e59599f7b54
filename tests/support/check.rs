//! How long a test runs, how a random one is seeded, and what stops one that hangs.

use crate::rng;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a random case says of itself: why it failed.
pub type Verdict = Result<(), String>;

/// `USERMAP_SOAK`, if it is set.
pub fn soak() -> Option<Duration> {
    let text = std::env::var("USERMAP_SOAK").ok()?;
    Some(Duration::from_secs(text.parse().expect("USERMAP_SOAK is a number of seconds")))
}

/// How long a timed test runs: `default` milliseconds, or as long as `USERMAP_SOAK` says.
pub fn budget(default: u64) -> Duration {
    soak().unwrap_or(Duration::from_millis(default))
}

/// Tries `cases` random cases (a quarter in debug builds) and fails with the smallest bad one.
///
/// The same cases every time, unless `USERMAP_SEED` or `USERMAP_SOAK` says otherwise.
pub fn random<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Verdict) {
    let cases = if cfg!(debug_assertions) { cases.div_ceil(4) } else { cases };
    let started = Instant::now();
    let mut seed = rng::seed();
    loop {
        let mut bytes = [0; 32];
        rng::Rng::new(seed).fill(&mut bytes);
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let result = TestRunner::new_with_rng(config, rng)
            .run(&strategy, |case| test(case).map_err(TestCaseError::fail));
        if let Err(error) = result {
            panic!("USERMAP_SEED={seed}\n{error}");
        }
        match soak() {
            Some(limit) if started.elapsed() < limit => seed = seed.wrapping_add(1),
            _ => break,
        }
    }
}

/// Fails a random case unless both are equal.
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Verdict {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what}: got {got:?}, expected {expected:?}"))
    }
}

/// Calls something, and says how long it takes where nothing else wants the CPU: the CPU time that it
/// needs, and a while for each time that it sleeps. That is the same on a machine that is busy.
pub fn costs<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let so_far = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("this thread's usage");
        let cpu = [usage.user_time(), usage.system_time()];
        let micros = cpu.iter().map(TimeValLike::num_microseconds).sum::<i64>();
        Duration::from_micros(micros as u64) + SLEEP * usage.voluntary_context_switches() as u32
    };
    let before = so_far();
    let result = call();
    (result, so_far().saturating_sub(before))
}

/// The 50 microseconds for which somebody who waits for a lock sleeps, and what Linux adds to them.
const SLEEP: Duration = Duration::from_micros(110);

/// Ends the process with a message if it is still alive after a time: a test that hangs fails.
pub struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    /// Waits for `limit` (and the time of a soak) at most, and on a loaded machine some times as long:
    /// what hangs does so for ever.
    pub fn new(what: impl Into<String>, limit: Duration) -> Watchdog {
        let done = Arc::new(AtomicBool::new(false));
        let (what, seen) = (what.into(), done.clone());
        let deadline = Instant::now() + 5 * limit + soak().unwrap_or_default();
        std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if Instant::now() > deadline {
                    // Past the test harness, which would keep it to itself.
                    let line = format!("{what}: hangs (USERMAP_SEED={})\n", rng::seed());
                    let _ = std::io::stderr().write_all(line.as_bytes());
                    std::process::abort();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Watchdog(done)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
