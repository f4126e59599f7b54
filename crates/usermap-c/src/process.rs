//! What /proc says of descriptors: of the kernel's objects it names the kind, and tells what a
//! program cannot ask for otherwise, such as whether a map is frozen. bpftool reads both.

use crate::descriptor::{self, Object};
use crate::foreign::number;
use rustix::fs::{MemfdFlags, SeekFrom};
use std::fmt::Write;
use usermap::Map;

/// The descriptor that a path of /proc means: `/proc/self/fd/7`, with `fd/` given.
pub(crate) fn named_fd(path: &[u8], folder: &[u8]) -> Option<i32> {
    let rest = path.strip_prefix(b"/proc/")?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (process, rest) = (&rest[..slash], &rest[slash + 1..]);
    let is_self = || {
        let number = str::from_utf8(process).ok().and_then(|process| process.parse::<i32>().ok());
        number == Some(rustix::process::getpid().as_raw_nonzero().get())
    };
    let number = rest.strip_prefix(folder)?;
    let fd = str::from_utf8(number).ok()?.parse::<i32>().ok()?;
    (process == b"self" || process == b"thread-self" || is_self()).then_some(fd)
}

/// What the link of a descriptor is.
pub(crate) fn link(fd: i32) -> Option<&'static str> {
    match descriptor::get(fd).ok()? {
        Object::Map(_) | Object::Array(_) => Some("anon_inode:bpf-map"),
        Object::Btf(_) => Some("anon_inode:btf"),
        Object::Program(_) => Some("anon_inode:bpf-prog"),
    }
}

/// A new descriptor to read what fdinfo says of an object of usermap's.
pub(crate) fn description(fd: i32) -> Option<i32> {
    let text = text(descriptor::get(fd).ok()?)?;
    let file = rustix::fs::memfd_create("usermap-fdinfo", MemfdFlags::CLOEXEC).ok()?;
    rustix::io::write(&file, text.as_bytes()).ok()?;
    rustix::fs::seek(&file, SeekFrom::Start(0)).ok()?;
    Some(number::give(file))
}

/// `bpf_map_show_fdinfo`, `bpf_btf_show_fdinfo` and `bpf_prog_show_fdinfo`, after the lines that every file has.
fn text(object: Object) -> Option<String> {
    let mut text = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1\n".to_owned();
    let written = match object {
        Object::Map(map) => describe(&mut text, &map, map.spec().map_type as u32),
        Object::Array(array) => describe(&mut text, array.map(), array.map_type()),
        Object::Btf(object) => writeln!(text, "btf_id:\t{}", object.id()),
        Object::Program(program) => program.describe(&mut text),
    };
    written.ok().map(|()| text)
}

fn describe(text: &mut String, map: &Map, map_type: u32) -> std::fmt::Result {
    let (info, spec) = (map.info(), map.spec());
    write!(
        text,
        "map_type:\t{}\nkey_size:\t{}\nvalue_size:\t{}\nmax_entries:\t{}\n\
                 map_flags:\t{:#x}\nmap_extra:\t{:#x}\nmemlock:\t{}\nmap_id:\t{}\nfrozen:\t{}\n",
        map_type,
        spec.key_size,
        spec.value_size,
        spec.max_entries,
        spec.flags,
        spec.map_extra,
        info.bytes,
        info.id,
        u8::from(info.frozen),
    )
}
