//! Replays what a real kernel answered to thousands of map operations.
//!
//! The cases come from the file that `USERMAP_ORACLE` names, or else from the ones kept beside
//! this test, which concern usermap's kinds of map. System calls go through the bpf(2) seam, the
//! calls of programs through `Program`; another test, `prog_oracle`, runs them as programs. The
//! last line counts what passed, failed and was skipped; the lines before it say what failed, with
//! what was expected and what came, and why others were skipped.

mod case;
mod compare;
mod host;
mod mapping;
mod program;
mod report;
mod syscall;
mod verifier;
mod walk;

fn main() -> std::process::ExitCode {
    report::run(|_| true, |case| case::replay(case, &program::run))
}
