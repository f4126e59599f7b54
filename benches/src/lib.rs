//! usermap's benchmarks: README.md says how to run them and how to read them.
//!
//! `plan` decides what is measured; `table`, `array` and `ring` hold the workloads; `functions` the
//! untyped map's functions one by one; `adapter` usermap, `peers` and `kernel` the others; `harness`
//! the timing; `report`, `targets` and `plot` what is shown.
mod adapter;
mod args;
mod array;
mod functions;
mod harness;
mod kernel;
mod keys;
mod peers;
mod plan;
mod plot;
mod raw;
mod report;
mod ring;
mod table;
mod targets;

use std::process::ExitCode;

/// Where plots are written.
const PLOTS: &str = "results/plots";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything.
pub fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|arg| arg == harness::PAUSE_LOOP) {
        harness::pause_loop(args.nth(1).and_then(|cpu| cpu.parse().ok()).unwrap_or(0));
    }
    let args = match args::Args::parse(args) {
        Ok(args) => args,
        Err(error) if error.is_empty() => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    match perform(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(args: &args::Args) -> std::io::Result<()> {
    if let Some((what, files)) = &args.render {
        let (machine, rows) = report::read(files)?;
        match what.as_str() {
            "table" => print!("{}", report::markdown(&machine, &rows)),
            "plot" => {
                for file in plot::write(PLOTS.as_ref(), &rows)? {
                    println!("{PLOTS}/{file}");
                }
            }
            _ => print!("{}", targets::summary(&rows)),
        }
        return Ok(());
    }
    let path = args.save.as_deref().filter(|_| !args.list);
    let report = report::Report::new(path, args.json && !args.list)?;
    let rows = plan::perform(args, report)?;
    if !args.json && !args.list {
        let summary = targets::summary(&rows);
        print!("{}{summary}", if summary.is_empty() { "" } else { "\n" });
        if let Some(path) = path {
            println!("\nResults saved in {}", path.display());
        }
    }
    Ok(())
}
