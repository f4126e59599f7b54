//! bpf(2) as programs call it: which command is whose, and what is said of it.
//!
//! Commands on maps are [`usermap::command`]'s; BTF has its own here; the rest answers as a kernel
//! that does not know it, EINVAL. With `USERMAP_LOG=1` every call is a line on standard error: what
//! was asked, what was answered, and why it was refused.

use crate::attr::{Attr, long, word};
use crate::btf;
use crate::descriptor::{self, Object};
use crate::fd_array;
use crate::host::Process;
use crate::program;
use crate::registry::{self, Kind};
use std::fmt::Write;
use std::sync::OnceLock;
use usermap::abi::{MapType, command, errno};
use usermap::command::{BadFd, Host, attribute, name};
use usermap::{Error, Result};

/// One bpf(2) command: `attr` is the address of a `bpf_attr` of `size` bytes.
///
/// # Errors
///
/// What the kernel would say of it, as [`Error::errno`].
///
/// ```
/// use usermap_c::seam;
/// // BPF_MAP_CREATE: a hash of 16 entries, 4 bytes to 8.
/// let attr = [1_u32, 4, 8, 16];
/// let fd = seam::bpf(0, attr.as_ptr() as u64, 16)?;
/// assert!(fd > 2);
/// assert_eq!(seam::bpf(28, attr.as_ptr() as u64, 16).unwrap_err().errno(), 22); // LINK_CREATE
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn bpf(number: u32, attr: u64, size: u32) -> Result<i32> {
    let answer = dispatch(number, attr, size);
    if is_logged() {
        log(number, attr, size, &answer);
    }
    answer
}

fn dispatch(number: u32, attr: u64, size: u32) -> Result<i32> {
    let read = |end| Attr::read(number, attr, size, end);
    if let Some(answer) = fd_array::bpf(number, attr, size) {
        return answer;
    }
    match number {
        command::OBJ_GET_INFO_BY_FD => match behind(number, attr, size) {
            Ok(Object::Btf(object)) => btf::info(&object, &read(16)?),
            Ok(Object::Program(_)) => program::bpf(number, attr, size),
            _ => usermap::command::bpf(&Process, number, attr, size),
        },
        command::BTF_LOAD => btf::load(&read(40)?),
        command::BTF_GET_FD_BY_ID => btf::get_fd_by_id(&read(16)?),
        command::BTF_GET_NEXT_ID => next_id(Kind::Btf, &read(8)?),
        command::PROG_GET_NEXT_ID => next_id(Kind::Program, &read(8)?),
        command::PROG_LOAD
        | command::PROG_TEST_RUN
        | command::PROG_GET_FD_BY_ID
        | command::PROG_BIND_MAP => program::bpf(number, attr, size),
        _ => usermap::command::bpf(&Process, number, attr, size),
    }
}

/// `BPF_*_GET_NEXT_ID`: struct { u32 start_id, next_id; }
fn next_id(kind: Kind, attr: &Attr) -> Result<i32> {
    let start = attr.u32(0);
    if start >= i32::MAX as u32 {
        return Err(attr.invalid("start_id is past the last id that there can be"));
    }
    let id = registry::next_id(kind, start)
        .ok_or_else(|| attr.error("none has a larger id", errno::ENOENT))?;
    attr.put(4, id)?;
    Ok(0)
}

/// The place of the descriptor in a command's attribute, if it works on one.
const fn fd_place(number: u32) -> Option<usize> {
    match number {
        command::MAP_LOOKUP_ELEM
        | command::MAP_UPDATE_ELEM
        | command::MAP_DELETE_ELEM
        | command::MAP_GET_NEXT_KEY
        | command::MAP_LOOKUP_AND_DELETE_ELEM
        | command::MAP_FREEZE
        | command::OBJ_GET_INFO_BY_FD
        | command::PROG_TEST_RUN => Some(0),
        command::OBJ_PIN => Some(8),
        command::MAP_LOOKUP_BATCH
        | command::MAP_LOOKUP_AND_DELETE_BATCH
        | command::MAP_UPDATE_BATCH
        | command::MAP_DELETE_BATCH => Some(36),
        _ => None,
    }
}

fn behind(number: u32, attr: u64, size: u32) -> Result<Object, BadFd> {
    let attr = attribute(&Process, number, attr, size).map_err(|_| BadFd::NotOpen)?;
    let place = fd_place(number).ok_or(BadFd::NotOpen)?;
    descriptor::get(word(&attr, place) as i32)
}

/// Whether a command is on an object of usermap's, so that nobody else can answer it.
pub(crate) fn is_ours(number: u32, attr: u64, size: u32) -> bool {
    behind(number, attr, size).is_ok()
}

/// Whether calls are to be told.
#[inline]
pub(crate) fn is_logged() -> bool {
    static LOGGED: OnceLock<bool> = OnceLock::new();
    *LOGGED.get_or_init(|| std::env::var_os("USERMAP_LOG").is_some_and(|set| set != "0"))
}

/// Tells something, if calls are told: each of its lines.
pub(crate) fn tell(text: &str) {
    if is_logged() {
        let lines: String = text.lines().map(|line| format!("usermap: {line}\n")).collect();
        write_out(&lines);
    }
}

fn write_out(lines: &str) {
    let _ = crate::foreign::number::with(2, |stderr| rustix::io::write(stderr, lines.as_bytes()));
}

/// One write, so that lines of several threads stay whole.
fn log(number: u32, attr: u64, size: u32, answer: &Result<i32>) {
    let mut line = format!("usermap: {}", name(number));
    if number as usize >= 1000 || name(number) == "bpf(2)" {
        let _ = write!(line, " command {number}");
    }
    if let Ok(attr) = attribute(&Process, number, attr, size) {
        let _ = operands(&mut line, number, &attr);
    }
    let _ = match answer {
        Ok(_)
            if matches!(
                number,
                command::MAP_GET_NEXT_ID | command::PROG_GET_NEXT_ID | command::BTF_GET_NEXT_ID
            ) =>
        {
            let next = attribute(&Process, number, attr, size);
            writeln!(line, " = 0, id {}", next.map_or(0, |attr| word(&attr, 4)))
        }
        Ok(value) => writeln!(line, " = {value}"),
        Err(error) => writeln!(line, " = -{}: {error}", error.errno()),
    };
    write_out(&line);
}

fn operands(line: &mut String, number: u32, attr: &[u8]) -> std::fmt::Result {
    let at = |place| word(attr, place);
    if let Some(place) = fd_place(number) {
        write!(line, " fd {}", at(place) as i32)?;
        if let Ok(map) = descriptor::any_map(at(place) as i32) {
            write!(line, " ({} {:?})", map.spec().map_type, map.spec().name.as_str())?;
        }
    }
    match number {
        command::MAP_CREATE => {
            match MapType::from_id(at(0)) {
                Some(kind) => write!(line, " {kind}")?,
                None => write!(line, " type {}", at(0))?,
            }
            write!(line, " key {} value {} entries {} flags {:#x}", at(4), at(8), at(12), at(16))?;
            let name: Vec<u8> =
                attr[28..44].iter().copied().take_while(|byte| *byte != 0).collect();
            write!(line, " name {:?}", String::from_utf8_lossy(&name))
        }
        command::BTF_LOAD => write!(line, " {} bytes", at(16)),
        command::PROG_LOAD => write!(line, " type {} instructions {}", at(0), at(4)),
        command::MAP_GET_FD_BY_ID
        | command::PROG_GET_FD_BY_ID
        | command::BTF_GET_FD_BY_ID
        | command::MAP_GET_NEXT_ID
        | command::PROG_GET_NEXT_ID
        | command::BTF_GET_NEXT_ID => write!(line, " id {}", at(0)),
        command::OBJ_PIN | command::OBJ_GET => {
            write!(line, " {:?}", String::from_utf8_lossy(&text(long(attr, 0))))
        }
        command::MAP_LOOKUP_BATCH
        | command::MAP_LOOKUP_AND_DELETE_BATCH
        | command::MAP_UPDATE_BATCH
        | command::MAP_DELETE_BATCH => write!(line, " count {}", at(32)),
        _ => Ok(()),
    }
}

/// A string of the caller's, or as much of it as can be read.
fn text(address: u64) -> Vec<u8> {
    let mut byte = [0];
    (address..address.saturating_add(4096))
        .map_while(|at| Process.read(at, &mut byte).ok().map(|()| byte[0]))
        .take_while(|byte| *byte != 0)
        .collect()
}

/// Enters a map in the registry, so that others find it by its id.
///
/// # Errors
///
/// EEXIST if another map has its id.
pub(crate) fn enter(map: &usermap::Map) -> Result<()> {
    let Some(fd) = map.as_fd() else { return Ok(()) };
    match registry::enter(Kind::Map, map.info().id, fd) {
        Err(rustix::io::Errno::EXIST) => Err(Error::Command {
            command: name(command::MAP_CREATE),
            rule: "another map has the id that was drawn",
            errno: errno::EEXIST,
        }),
        // It works all the same, without an id that others find.
        _ => Ok(()),
    }
}
