//! `usermap wrap`: runs a command with libusermap preloaded, so that its bpf(2) calls are answered
//! by usermap.

use crate::failure::{Failure, Result, without_number};
use crate::session::Session;
use crate::words::Words;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rest of the help.
pub const HELP: &str = "\
COMMAND is any program that is linked with the C library as a shared one: bpftool, what uses libbpf,
aya or libbpf-rs. Its maps, programs and BTF are usermap's, and it needs no rights for them. Paths
below a bpf file system (/sys/fs/bpf) stand for names in the folder of maps ($USERMAP_DIR).
--passthrough hands to the kernel what usermap refuses, and what concerns the kernel's objects.
USERMAP_LOG=1 in the environment prints each call and its answer on standard error; USERMAP_LIB says
where libusermap.so is, if it is not found.";

/// What the library is called where it is installed, and where cargo builds it.
const NAMES: [&str; 2] = ["libusermap.so", "libusermap_c.so"];

/// Takes a wrapped command's words out of the command line: its options are none of ours.
pub fn split(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let mut own = arguments;
    let is_wrap = own.get(1).is_some_and(|word| !word.is_empty() && is_start_of_wrap(word));
    if !is_wrap {
        return (own, Vec::new());
    }
    let mut end = 2;
    while own.get(end).is_some_and(|word| word.as_bytes().starts_with(b"-") && word != "--") {
        end += 1;
    }
    let mut command = own.split_off(end);
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    (own, command)
}

fn is_start_of_wrap(word: &OsStr) -> bool {
    "wrap".as_bytes().starts_with(word.as_bytes())
}

/// `wrap [--passthrough] [--] COMMAND [ARGUMENT...]`
pub fn run(session: &mut Session, _: &mut Words<'_>) -> Result {
    let Some((program, arguments)) = session.wrapped.split_first() else {
        return Err(Failure::Usage("wrap needs a command to run".to_owned(), "wrap"));
    };
    let library = library()?;
    check(program)?;
    let mut preload = library.into_os_string();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    let mode = if session.passthrough { "passthrough" } else { "1" };
    let error = Command::new(program)
        .args(arguments)
        .env("LD_PRELOAD", preload)
        .env("USERMAP_WRAP", mode)
        .exec();
    // As shells and env(1) say it.
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    let text = format!("{}: {}", Path::new(program).display(), without_number(&error));
    Err(Failure::Message { text, code, aside: false })
}

/// Where libusermap.so is: `$USERMAP_LIB`, beside this program, in the folder of libraries beside its
/// folder, or where the loader is told to look first.
fn library() -> Result<PathBuf> {
    let given = std::env::var_os("USERMAP_LIB").filter(|path| !path.is_empty()).map(PathBuf::from);
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().unwrap_or(Path::new("."));
    let mut folders = vec![folder.to_owned(), folder.join("../lib"), folder.join("../lib64")];
    let told = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&told).filter(|folder| !folder.as_os_str().is_empty()));
    let mut places: Vec<PathBuf> = match &given {
        Some(path) => vec![path.clone()],
        None => folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name))).collect(),
    };
    let Some(found) = places.iter().position(|place| place.is_file()) else {
        let text = match given {
            Some(path) => format!("USERMAP_LIB is {}, which is no file", path.display()),
            None => format!(
                "libusermap.so is not in {}, nor in {}, nor in a folder of LD_LIBRARY_PATH; \
                 USERMAP_LIB can say where it is",
                folders[0].display(),
                folders[1].display()
            ),
        };
        return Err(Failure::new(text));
    };
    let found = places.swap_remove(found);
    let found = found.canonicalize().unwrap_or(found);
    // The loader takes both as separators, and has no way to quote them.
    match found.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b':' | b' ')) {
        false => Ok(found),
        true => Err(Failure::new(format!(
            "the loader takes no library whose path has a space or a colon: {}",
            found.display()
        ))),
    }
}

/// Refuses programs whose calls would go to the kernel all the same. What is not found, or no
/// program at all, is left to exec to say.
fn check(program: &OsStr) -> Result {
    let Some(path) = find(program) else { return Ok(()) };
    let refuse = |why: &str| Err(Failure::new(format!("{}: {why}", path.display())));
    let Ok(file) = File::open(&path) else { return Ok(()) };
    let set_id = file.metadata().is_ok_and(|about| about.mode() & 0o6000 != 0);
    if set_id && !rustix::process::getuid().is_root() {
        return refuse("the loader preloads nothing into a program that runs as another user");
    }
    if has_loader(&file) == Some(false) {
        return refuse("it is linked statically, so nothing can be preloaded into it");
    }
    Ok(())
}

/// The file that exec will run.
fn find(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(program));
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether a 64-bit ELF file names a loader; `None` for other files.
fn has_loader(file: &File) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let start = u64::from_le_bytes(*header[32..].first_chunk()?);
    let (size, count) = (u64::from(half(54)), u64::from(half(56)));
    for index in 0..count {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, start.checked_add(index * size)?).ok()?;
        if u32::from_le_bytes(kind) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (String, String) {
        let words = line.split(' ').map(OsString::from).collect();
        let (own, command) = split(words);
        let join = |words: Vec<OsString>| words.join(OsStr::new(" ")).into_string().unwrap();
        (join(own), join(command))
    }

    #[test]
    fn a_wrapped_commands_options_are_its_own() {
        let parts = |line: &str| parts(line);
        let two = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(parts("usermap map -j show"), two("usermap map -j show", ""));
        assert_eq!(parts("usermap wrap ls -l"), two("usermap wrap", "ls -l"));
        assert_eq!(parts("usermap wrap -- -x"), two("usermap wrap", "-x"));
        assert_eq!(
            parts("usermap wrap --passthrough bpftool -j map -- x"),
            two("usermap wrap --passthrough", "bpftool -j map -- x")
        );
        assert_eq!(parts("usermap wrap"), two("usermap wrap", ""));
    }

    #[test]
    fn programs_that_have_a_loader() {
        assert_eq!(has_loader(&File::open("/bin/sh").unwrap()), Some(true));
        assert_eq!(has_loader(&File::open("/proc/self/status").unwrap()), None);
    }
}
