//! Timing: short runs of all contenders in turn, so that whatever else the machine does meets all
//! of them; the median of each.

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Runs of each contender that count.
const TURNS: usize = 7;
/// How long a run takes, about.
const RUN: Duration = Duration::from_millis(8);
/// Operations of the first run, which finds out how many fit.
const FIRST: u64 = 256;

pub type Outcome = Result<(), String>;

/// Does an operation so many times, as the thread of this number.
pub type Work<'w> = Box<dyn Fn(u64, usize) -> Outcome + Sync + 'w>;

/// Nanoseconds that a thread spends on one operation of each contender, `None` for those that do
/// not take part.
pub fn measure(
    contenders: &[Option<Work<'_>>],
    threads: usize,
) -> Result<Vec<Option<f64>>, String> {
    let counts: Vec<u64> = contenders
        .iter()
        .map(|work| work.as_ref().map_or(Ok(0), |work| fitting(work, threads)))
        .collect::<Result<_, _>>()?;
    let mut times = vec![Vec::with_capacity(TURNS); contenders.len()];
    for _ in 0..TURNS {
        for ((work, count), times) in contenders.iter().zip(&counts).zip(&mut times) {
            if let Some(work) = work {
                times.push(run(work, *count, threads)?.as_nanos() as f64 / *count as f64);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// How many operations take about as long as a run shall.
fn fitting(work: &Work<'_>, threads: usize) -> Result<u64, String> {
    let mut count = FIRST;
    loop {
        let took = run(work, count, threads)?;
        if took >= RUN / 4 {
            let scale = RUN.as_secs_f64() / took.as_secs_f64();
            return Ok(((count as f64 * scale) as u64).max(1));
        }
        count *= 4;
    }
}

/// The time of the slowest thread, from the start of all.
fn run(work: &Work<'_>, count: u64, threads: usize) -> Result<Duration, String> {
    if threads == 1 {
        let start = Instant::now();
        work(count, 0)?;
        return Ok(start.elapsed());
    }
    let barrier = Barrier::new(threads);
    let timed = |number| {
        barrier.wait();
        let start = Instant::now();
        work(count, number)?;
        Ok(start.elapsed())
    };
    let timed = &timed;
    std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || timed(number))).collect();
        let mut longest = Duration::ZERO;
        for thread in running {
            let took: Result<Duration, String> =
                thread.join().unwrap_or_else(|_| Err("a thread ended early".to_owned()));
            longest = longest.max(took?);
        }
        Ok(longest)
    })
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn contenders_take_turns_and_may_be_missing() {
        let sum = AtomicU64::new(0);
        let add: Work<'_> = Box::new(|count, _| {
            (0..count).for_each(|_| _ = sum.fetch_add(1, Relaxed));
            Ok(())
        });
        let times = measure(&[Some(add), None], 2).unwrap();
        assert!(times[0].unwrap() > 0.0 && times[1].is_none());
        assert!(sum.load(Relaxed) > FIRST);
    }

    #[test]
    fn failures_are_told() {
        let fail: Work<'_> = Box::new(|_, _| Err("no room".to_owned()));
        assert_eq!(measure(&[Some(fail)], 1).unwrap_err(), "no room");
    }
}
