//! The command `usermap`: user-space eBPF maps from the shell, with bpftool's grammar and JSON.
//!
//! clap's definitions ([`args`]) hold the options, and the help, completions and man page that
//! come from them; the operands are bpftool's positional keywords, which [`words`] and
//! [`map::operands`] read.

mod args;
mod batch;
mod bench;
mod failure;
mod manual;
mod map;
mod output;
mod prog;
mod progress;
mod session;
mod target;
mod types;
mod value;
mod words;
mod wrap;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(session::run(std::env::args_os()))
}
