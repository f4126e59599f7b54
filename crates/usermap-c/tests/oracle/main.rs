//! Replays what a real kernel answered, through the functions that C calls: real descriptors, real
//! addresses (each operand ends where a page without access begins), and errno.
//!
//! The cases are those of usermap's own test of this name. A case whose attribute no function of
//! libbpf would make goes through the bpf(2) seam with this process as its host.
#![allow(unsafe_code)]

#[path = "../../../usermap/tests/oracle/case.rs"]
mod case;
#[path = "../../../usermap/tests/oracle/compare.rs"]
mod compare;
#[path = "../../../usermap/tests/oracle/mapping.rs"]
mod mapping;
#[path = "../../../usermap/tests/oracle/program.rs"]
mod program;
#[path = "../../../usermap/tests/oracle/report.rs"]
mod report;
#[path = "../../../usermap/tests/oracle/syscall.rs"]
mod syscall;
#[path = "../../../usermap/tests/oracle/verifier.rs"]
mod verifier;
#[path = "../../../usermap/tests/oracle/walk.rs"]
mod walk;

mod host;

use case::Verdict;
use serde_json::Value;

fn main() -> std::process::ExitCode {
    report::run(|_| true, replay)
}

fn replay(case: &Value) -> Verdict {
    match reason_to_skip(&case.to_string()) {
        Some(reason) => Verdict::Skipped(reason.to_owned()),
        None => case::replay(case, &program::run),
    }
}

/// Types are made up by the other tests, which have no BTF; and CPUs.
fn reason_to_skip(case: &str) -> Option<&'static str> {
    let per_cpu = case.contains("\"PERCPU_");
    if case.contains("\"value_lock_off\"") {
        return Some("needs the types of a spin lock");
    }
    if per_cpu && usermap::possible_cpus() != syscall::CPUS {
        return Some("recorded on a machine with two CPUs");
    }
    None
}
