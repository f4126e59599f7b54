//! The runner of conformance suites, as they start it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Where the example is: Cargo builds it beside the tests.
fn runner() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.join("conformance")
}

fn run(arguments: &[&str], input: &str) -> Option<Output> {
    if !runner().exists() {
        // With `--test` alone, Cargo does not build examples.
        eprintln!("skipped: the example conformance is not built");
        return None;
    }
    let mut command = Command::new(runner());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended already, if an argument was wrong.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Some(child.wait_with_output().unwrap())
}

#[track_caller]
fn gives(arguments: &[&str], input: &str, expected: &str) {
    let Some(output) = run(arguments, input) else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.trim_end(), expected);
}

#[track_caller]
fn fails(arguments: &[&str], input: &str, expected: &str) {
    let Some(output) = run(arguments, input) else { return };
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{text}");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn results() {
    let load = "61 10 00 00 00 00 00 00  95 00 00 00 00 00 00 00";
    for engine in ["--jit", "--interpret", ""] {
        gives(&["01 02 03 84", engine], load, "84030201");
        gives(&["0102030405060708", "--interpret", engine], load, "4030201");
        gives(&["", engine], "b7000000ffffffff9500000000000000\n", "ffffffffffffffff");
        gives(&[engine], "b70000002a0000009500000000000000", "2a");
    }
}

#[test]
fn failures() {
    for engine in ["--jit", "--interpret"] {
        let null = "61 10 00 00 00 00 00 00  95 00 00 00 00 00 00 00";
        fails(&[engine], null, "load of 4 bytes at 0x0, NULL");
        fails(&[engine], "85 20 00 00 2a 00 00 00 95 00 00 00 00 00 00 00", "kfunc");
        fails(&[engine], "", "is empty");
    }
    fails(&[], "b7 0", "odd number");
    fails(&[], "b7 00", "no number of whole instructions");
    fails(&[], "zz", "no hex digit");
    fails(&["--fast"], "", "--fast: no such option");
    fails(&["--elf"], "7f454c46", "standard input");
}
