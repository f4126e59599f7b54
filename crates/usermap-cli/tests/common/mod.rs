//! Runs the built command in a folder of its own.

// Each test file is a crate, and none uses all of this.
#![allow(dead_code)]

pub mod kernel;

pub mod examples;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A default folder that goes when the test ends.
pub struct Maps(PathBuf);

/// What a command left.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

impl Maps {
    /// A new, empty folder.
    pub fn new() -> Maps {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("usermap-cli-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Maps(folder)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The command, with words that a blank parts.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usermap"));
        command.args(line.split_whitespace()).env("USERMAP_DIR", &self.0);
        command
    }

    /// Runs it.
    pub fn run(&self, line: &str) -> Ran {
        ran(self.command(line).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs it with this on its stdin.
    pub fn run_with(&self, line: &str, input: &str) -> Ran {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    /// Runs it; it must succeed. Gives its stdout.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "usermap {line}: {}", ran.out);
        ran.out
    }

    /// Runs it; it must fail with this code, and say `Error: ` and then this on stderr. Gives the
    /// rest of the line.
    #[track_caller]
    pub fn fails(&self, line: &str, code: i32, says: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "usermap {line}: {ran:?}");
        let says = format!("Error: {says}");
        let rest = ran.err.strip_prefix(&says);
        let rest = rest.unwrap_or_else(|| panic!("usermap {line}: {ran:?} does not say {says}"));
        rest.lines().next().unwrap_or_default().to_owned()
    }

    /// Runs it with `-j`; gives the JSON and the exit code.
    #[track_caller]
    pub fn json(&self, line: &str) -> (serde_json::Value, i32) {
        let ran = self.run(&format!("-j {line}"));
        let value = serde_json::from_str(&ran.out);
        (value.unwrap_or_else(|error| panic!("usermap -j {line}: {error}: {ran:?}")), ran.code)
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
