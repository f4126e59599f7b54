//! bpftool on maps of the real kernel, side by side with usermap.

use std::path::Path;
use std::process::{Command, Stdio};

/// A mount namespace with a bpf file system, alive as long as the process that holds it.
pub struct Namespace(std::process::Child);

impl Namespace {
    /// With the file system mounted on this folder; nothing where there is no bpftool, or no
    /// right to mount one.
    pub fn new(folder: &Path) -> Option<Namespace> {
        use std::io::{BufRead, BufReader};
        // The holder waits for the end of its stdin: it goes when this test does.
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg("mount -t bpf none \"$0\" && bpftool version | head -n1 && exec cat >/dev/null")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut version = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut version).ok()?;
        let namespace = Namespace(holder);
        version.starts_with("bpftool v7.").then_some(namespace)
    }

    /// bpftool in it.
    pub fn bpftool(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.0.id())).args(["--mount", "bpftool"]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What a command said.
pub struct Answer {
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
    /// Its exit code.
    pub code: Option<i32>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "--- {:?}\n{}{}", self.code, self.out, self.err)
    }
}

/// Runs a line of words, in which `$B` is the folder of the maps.
pub fn answer(mut command: Command, line: &str, folder: &Path) -> Answer {
    let folder = folder.display().to_string();
    command.args(line.split_whitespace().map(|word| word.replace("$B", &folder)));
    let output = command.stdin(Stdio::null()).output().unwrap();
    Answer {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}
