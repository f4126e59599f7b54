//! Timing: all that do the same have their turns in alternation, so that a noisy stretch of a
//! shared machine meets each of them. A ratio is the median of the turns' ratios.

use serde_json::{Value, json};

/// Something to time: runs itself so many times, gives nanoseconds a run.
pub type Entry<'e> = (&'static str, Box<dyn FnMut(u64) -> f64 + 'e>);

/// How long.
pub struct Settings {
    /// Nanoseconds of one turn.
    pub turn: f64,
    /// Turns of each.
    pub turns: usize,
    /// Only JSON lines.
    pub json: bool,
    /// Only contests with this in their name.
    pub only: Option<String>,
}

/// Nanoseconds for which this thread has had a CPU.
fn clock() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds a call of `run`, called so many times: of the CPU, as the kernel's test run does not
/// count for how long others had it either.
pub fn timed(times: u64, mut run: impl FnMut()) -> f64 {
    let start = clock();
    for _ in 0..times {
        run();
    }
    (clock() - start) / times as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times all, and prints what came of it: `operations` are done by one run. The first of `entries`
/// is usermap's; `target` is what its time may be of another's.
pub fn contest(
    settings: &Settings,
    name: &str,
    operations: u64,
    target: Option<(&str, f64)>,
    mut entries: Vec<Entry<'_>>,
) {
    if settings.only.as_ref().is_some_and(|only| !name.contains(only)) {
        return;
    }
    let mut times: Vec<(u64, Vec<f64>)> = Vec::new();
    for (_, run) in &mut entries {
        let mut count = 1;
        let mut took = run(count);
        while took * (count as f64) < settings.turn / 8.0 && took < settings.turn && count < 1 << 28
        {
            count *= 4;
            took = run(count);
        }
        times.push((((settings.turn / took.max(0.1)) as u64).max(1), Vec::new()));
    }
    for _ in 0..settings.turns {
        for ((_, run), (count, turns)) in entries.iter_mut().zip(&mut times) {
            turns.push(run(*count));
        }
    }
    let first = times[0].1.clone();
    let mut text = format!("{name:28}");
    for (place, ((who, _), (_, turns))) in entries.iter().zip(&mut times).enumerate() {
        let mut ratios: Vec<f64> = first.iter().zip(&*turns).map(|(a, b)| a / b).collect();
        let ratio = median(&mut ratios);
        let ns = median(turns) / operations as f64;
        let target = target.filter(|(other, _)| other == who).map(|(_, target)| target);
        let (min, max) = (turns[0] / operations as f64, turns[turns.len() - 1] / operations as f64);
        let mut line = json!({
            "bench": "programs", "name": name, "impl": who, "operations": operations,
            "ns": round(ns), "min": round(min), "max": round(max), "runs": turns.len(),
        });
        text += &format!("  {who} {}", shown(ns));
        if place > 0 {
            line["ratio"] = round(ratio);
            text += &format!(" ({ratio:.2}x)");
        }
        if let Some(target) = target {
            line["target"] = round(target);
            let verdict = if ratio <= target { "met" } else { "MISSED" };
            text += &format!(" [<= {target}: {verdict}]");
        }
        if settings.json {
            println!("{line}");
        }
    }
    if !settings.json {
        println!("{text}");
    }
}

fn shown(ns: f64) -> String {
    match ns {
        ..100.0 => format!("{ns:.2} ns"),
        ..100_000.0 => format!("{ns:.0} ns"),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

fn round(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}
