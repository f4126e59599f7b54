//! Reads the cases, replays them, and says what passed, failed and was skipped.

use crate::case::Verdict;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// The cases of usermap's kinds, as recorded from Linux 6.18.
const KEPT: &[u8] = include_bytes!("../data/kernel-6.18.json.gz");

/// Replays all cases that are of concern, and reports.
pub fn run(concerns: impl Fn(&Value) -> bool, replay: impl Fn(&Value) -> Verdict) -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("oracle: test");
        return ExitCode::SUCCESS;
    }
    let cases = match read_cases() {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("the oracle's cases cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A panic is a failure of its case, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed) = (0, 0);
    let mut skipped = BTreeMap::<String, usize>::new();
    for case in cases.iter().filter(|case| concerns(case)) {
        match catch_unwind(AssertUnwindSafe(|| replay(case))) {
            Ok(Verdict::Passed) => passed += 1,
            Ok(Verdict::Skipped(reason)) => *skipped.entry(reason).or_default() += 1,
            Ok(Verdict::Failed(why)) => {
                failed += 1;
                println!("FAILED {}: {why}", id(case));
            }
            Err(panic) => {
                failed += 1;
                println!("FAILED {}: panicked: {}", id(case), message(&*panic));
            }
        }
    }
    for (reason, count) in &skipped {
        println!("skipped {count}: {reason}");
    }
    let skipped: usize = skipped.values().sum();
    println!("oracle: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_cases() -> std::io::Result<Vec<Value>> {
    let mut text = String::new();
    match std::env::var_os("USERMAP_ORACLE") {
        Some(path) => text = std::fs::read_to_string(path)?,
        None => {
            flate2::read::GzDecoder::new(KEPT).read_to_string(&mut text)?;
        }
    }
    Ok(serde_json::from_str(&text)?)
}

fn id(case: &Value) -> &str {
    case["id"].as_str().unwrap_or("(a case without id)")
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
