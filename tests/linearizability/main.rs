//! Threads at full speed on one map of every kind: recorded histories must be linearizable, values
//! whole, and nothing counted, given or taken twice or not at all.

mod keyed;
mod rings;
mod sums;
mod torn;
mod toy;

/// The numbers of threads that are tried.
const THREADS: [usize; 3] = [2, 3, 4];

/// Operations in a history, over all threads; the checker's time grows with them.
const OPERATIONS: usize = 48;

/// Whether a timed loop goes on.
fn until(limit: std::time::Duration) -> impl Fn(u64) -> bool + Sync {
    let started = std::time::Instant::now();
    move |round| round == 0 || started.elapsed() < limit
}
