//! Replays what a real kernel answered, through the functions that C calls: real descriptors, real
//! addresses (each operand ends where a page without access begins), and errno.
//!
//! The cases are those of usermap's own test of this name. A case whose attribute no function of
//! libbpf would make goes through the bpf(2) seam with this process as its host. Then all of them again,
//! through syscall(2) as a program calls it that has the library preloaded.
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
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    if std::env::var_os("USERMAP_WRAP").is_none() {
        let mut wrapped = Command::new(std::env::current_exe().expect("a path"));
        wrapped.args(std::env::args_os().skip(1)).env("USERMAP_WRAP", "1");
        if !wrapped.status().expect("this program again").success() {
            return ExitCode::FAILURE;
        }
    }
    // Ids are found in a folder of this test's own.
    let folder = std::env::temp_dir().join(format!("usermap-oracle-{}", std::process::id()));
    // SAFETY: there are no other threads yet.
    unsafe { std::env::set_var("USERMAP_DIR", &folder) };
    let code = report::run(|_| true, replay);
    let _ = std::fs::remove_dir_all(folder);
    code
}

fn replay(case: &Value) -> Verdict {
    let per_cpu = case.to_string().contains("\"PERCPU_");
    if per_cpu && usermap::possible_cpus() != syscall::CPUS {
        return Verdict::Skipped("recorded on a machine with two CPUs".to_owned());
    }
    case::replay(case, &program::run)
}
