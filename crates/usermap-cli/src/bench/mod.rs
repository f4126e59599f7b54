//! `usermap bench`: what maps cost on this machine, beside the kernel's and the machine's limit.
//!
//! Three times a row, measured in alternation: usermap; the kernel's own map by one bpf(2) call an
//! operation, where this process may make one; and the limit, which is the least that any map of
//! that size could do: one random read, or atomic add, in an array of as many bytes of keys and
//! values.

mod measure;
mod plot;
mod report;
mod workloads;

use crate::failure::{Failure, Result};
use crate::progress;
use crate::session::Session;
use crate::words::{Words, text};
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the help says of it.
pub const HELP: &str = "\
Each operation is measured in turn with the kernel's own map (one bpf(2) call each, if this process
may make one) and with the limit: one random read, or atomic add, in an array of as many bytes. It
takes less than a minute; -j and -p print JSON.";

/// One operation on one map, in nanoseconds that a thread spends on it.
#[derive(Clone, Debug)]
struct Row {
    kind: &'static str,
    entries: u32,
    threads: usize,
    operation: &'static str,
    usermap: f64,
    kernel: Option<f64>,
    limit: f64,
}

impl Row {
    fn name(&self) -> String {
        let threads = if self.threads == 1 { "" } else { ", 2 threads" };
        format!("{} of {}: {}{threads}", self.kind, entries(self.entries), self.operation)
    }
}

/// `1k`, `1M`.
fn entries(count: u32) -> String {
    match count {
        1_000_000.. => format!("{}M", count / 1_000_000),
        1_000.. => format!("{}k", count / 1_000),
        _ => count.to_string(),
    }
}

/// `bench [--plot FILE]`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    if let Some(word) = words.take() {
        return Err(Failure::Usage(format!("unknown operand '{}'", text(word)), ""));
    }
    if let Some(file) = &session.plot {
        // Found out now, not after the measuring.
        std::fs::write(file, "").map_err(|error| cannot_plot(file, &error))?;
    }
    let done = AtomicU64::new(0);
    let total = workloads::COUNT * progress::MANY;
    let advance = || _ = done.fetch_add(progress::MANY, Relaxed);
    let measured = progress::during(
        "Measuring",
        total,
        false,
        || done.load(Relaxed),
        || workloads::all(&advance),
    );
    let (rows, refusal) =
        measured.map_err(|text| Failure::new(format!("measuring failed: {text}")))?;
    if let Some(file) = &session.plot {
        plot::write(file, &rows).map_err(|text| cannot_plot(file, &text))?;
    }
    report::write(&mut session.out, &rows, refusal.as_deref())
}

fn cannot_plot(file: &Path, text: &dyn Display) -> Failure {
    Failure::new(format!("writing the plot {} failed: {text}", file.display()))
}
