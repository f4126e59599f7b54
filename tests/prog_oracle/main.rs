//! Replays what a real kernel answered to programs that work on maps: each is run as eBPF, by both
//! engines.
//!
//! The cases are those of the test `oracle` of usermap that run programs, and all their other
//! operations are done as there. A case passes if it does so with each engine. The last line counts
//! what passed, failed and was skipped; the lines before it say what failed, with what was expected
//! and what came, and why others were skipped.

#[path = "../../crates/usermap/tests/oracle/case.rs"]
mod case;
#[path = "../../crates/usermap/tests/oracle/compare.rs"]
mod compare;
#[path = "../../crates/usermap/tests/oracle/host.rs"]
mod host;
#[path = "../../crates/usermap/tests/oracle/mapping.rs"]
mod mapping;
#[path = "../../crates/usermap/tests/oracle/report.rs"]
mod report;
#[path = "../../crates/usermap/tests/oracle/syscall.rs"]
mod syscall;
#[path = "../../crates/usermap/tests/oracle/verifier.rs"]
mod verifier;
#[path = "../../crates/usermap/tests/oracle/walk.rs"]
mod walk;

mod assembler;
mod generate;
mod program;

use case::Verdict;
use serde_json::Value;
use usermap_vm::bare::Engine;

fn main() -> std::process::ExitCode {
    report::run(runs_programs, replay)
}

/// With each engine, up to the first with which it does not pass.
fn replay(case: &Value) -> Verdict {
    for engine in Engine::all() {
        match case::replay(case, &|replay, op| program::run(*engine, replay, op)) {
            Verdict::Passed => {}
            Verdict::Failed(why) => return Verdict::Failed(format!("{engine:?}: {why}")),
            skipped => return skipped,
        }
    }
    Verdict::Passed
}

fn runs_programs(case: &Value) -> bool {
    let others = ["setup", "after"].into_iter().filter_map(|part| case[part].as_array()).flatten();
    others.chain([&case["op"]]).any(|operation| operation["cmd"] == "PROG")
}
