//! A folder of maps, and programs that run wrapped in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What an ordinary user is, in every Debian.
const NOBODY: u32 = 65534;

/// A folder of maps that is removed in the end.
pub struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Folder {
    /// A new one, which belongs to the user whose programs run, with a copy of the library: others
    /// may not look at where it was built.
    pub fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("usermap-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("maps")).unwrap();
        let built = std::env::current_exe().unwrap();
        let built = built.parent().unwrap().join("libusermap_c.so");
        std::fs::copy(&built, folder.join("libusermap.so")).unwrap();
        if is_root() {
            for path in [folder.clone(), folder.join("maps")] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Folder(folder)
    }

    /// A file in it, beside the maps.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder of maps.
    pub fn maps(&self) -> PathBuf {
        self.0.join("maps")
    }

    /// Runs a program wrapped, without any rights.
    pub fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Output {
        self.command(program.as_ref(), arguments).output().unwrap()
    }

    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(if is_root() { "setpriv" } else { "env" });
        if is_root() {
            let id = NOBODY.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
            command.args(["--inh-caps=-all", "--bounding-set=-all", "env"]);
        }
        // Not into setpriv and env themselves.
        command
            .arg(format!("LD_PRELOAD={}", self.file("libusermap.so").display()))
            .arg("USERMAP_WRAP=1")
            .arg(format!("USERMAP_DIR={}", self.maps().display()))
            .arg(program)
            .args(arguments)
            .current_dir(&self.0);
        command
    }

    /// A program with this one's own rights, of which usermap hands on what it refuses.
    pub fn passed_through(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("LD_PRELOAD", self.file("libusermap.so"))
            .env("USERMAP_WRAP", "passthrough")
            .env("USERMAP_DIR", self.maps());
        command
    }

    /// Runs bpftool on a line's words; gives what it printed, and panics if it failed.
    pub fn bpftool(&self, line: &str) -> String {
        let (code, text) = self.try_bpftool(line);
        assert_eq!(code, 0, "bpftool {line}: {text}");
        text
    }

    /// The same, with the exit code, and what it said on standard error.
    pub fn try_bpftool(&self, line: &str) -> (i32, String) {
        let output = self.run("bpftool", &line.split(' ').collect::<Vec<_>>());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8(text).unwrap())
    }
}

/// Whether a command is there. Says that the test is skipped, or fails where it must not be.
pub fn has(command: &str) -> bool {
    let found = Command::new("which").arg(command).output();
    if found.is_ok_and(|found| found.status.success()) {
        return true;
    }
    println!("skipped: there is no {command} here");
    assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "{command} is needed");
    false
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
