//! Command lines from anybody: words, operands, values, batches. The command is no library, so its
//! source is taken in here, module by module.
//!
//! The input is a batch: lines of commands. They run in a folder of their own, with names that lead
//! nowhere else, and with small numbers, so that none of them takes long.
#![no_main]
#![allow(dead_code, unused_imports)]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

#[path = "../../crates/usermap-cli/src/args.rs"]
mod args;
#[path = "../../crates/usermap-cli/src/batch.rs"]
mod batch;
#[path = "../../crates/usermap-cli/src/bench/mod.rs"]
mod bench;
#[path = "../../crates/usermap-cli/src/failure.rs"]
mod failure;
#[path = "../../crates/usermap-cli/src/manual.rs"]
mod manual;
#[path = "../../crates/usermap-cli/src/map/mod.rs"]
mod map;
#[path = "../../crates/usermap-cli/src/output/mod.rs"]
mod output;
#[path = "../../crates/usermap-cli/src/prog/mod.rs"]
mod prog;
#[path = "../../crates/usermap-cli/src/progress.rs"]
mod progress;
#[path = "../../crates/usermap-cli/src/session.rs"]
mod session;
#[path = "../../crates/usermap-cli/src/target.rs"]
mod target;
#[path = "../../crates/usermap-cli/src/types.rs"]
mod types;
#[path = "../../crates/usermap-cli/src/value.rs"]
mod value;
#[path = "../../crates/usermap-cli/src/words.rs"]
mod words;
#[path = "../../crates/usermap-cli/src/wrap.rs"]
mod wrap;

/// The folder, which is the current one, too; the standard input is empty.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = PathBuf::from(format!("/dev/shm/usermap-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::env::set_current_dir(&folder).expect("a folder");
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("USERMAP_DIR", &folder) };
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        rustix::stdio::dup2_stdin(&null).expect("a descriptor");
        folder
    })
}

/// Whether lines stay in the folder, have small numbers, and none of the commands that take their
/// time or run others.
fn is_harmless(bytes: &[u8]) -> bool {
    let digits = bytes.split(|byte| !byte.is_ascii_hexdigit()).map(<[u8]>::len).max();
    let slow = [&b"be"[..], b"run", b"--out", b"--data-out", b"--ctx-out", b"--plot", b"batch"];
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    let mut words = bytes.split(|byte| !byte.is_ascii_alphabetic());
    let wraps = words.any(|word| !word.is_empty() && b"wrap".starts_with(word));
    !wraps && !bytes.contains(&b'/') && digits < Some(4) && !slow.into_iter().any(has)
}

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > 2000 || !is_harmless(bytes) {
        return;
    }
    let folder = folder();
    let _ = std::fs::write(folder.join("lines"), bytes);
    let options: &[&str] = match bytes.len() % 4 {
        0 => &["-j"],
        1 => &["--table"],
        2 => &["-p"],
        _ => &["--plain"],
    };
    let words = ["usermap"].iter().chain(options).chain(&["batch", "file", "./lines"]);
    session::run(words.map(OsString::from));
    // The first line as a command line.
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    use std::os::unix::ffi::OsStringExt;
    let words = words.map(|word| OsString::from_vec(word.to_vec()));
    session::run(std::iter::once(OsString::from("usermap")).chain(words));
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
});
