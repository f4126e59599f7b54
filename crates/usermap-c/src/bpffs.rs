//! Where pins are: names below a bpf file system stand for names in the default folder.
//!
//! An unmodified program pins what it has to `/sys/fs/bpf/NAME`, which an ordinary user may not
//! even look at. For a wrapped program each bpf file system is the default folder, where maps are
//! pinned by usermap's other tools, too. Nothing else is moved.

use crate::foreign::interpose::{Mode, mode};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use usermap::abi::errno;
use usermap::command::name;
use usermap::{Error, Result};

/// `BPF_FS_MAGIC`
pub(crate) const MAGIC: i64 = 0xcafe_4a11;

/// Where it is mounted everywhere, if it is.
const USUAL: &[u8] = b"/sys/fs/bpf";

/// The file that a wrapped program means by a path, if it is below a bpf file system.
pub(crate) fn place(path: &[u8]) -> Option<PathBuf> {
    if mode() == Mode::Linked || path.first() != Some(&b'/') {
        return None;
    }
    let below = |mount: &[u8]| {
        let rest = path.strip_prefix(mount)?;
        matches!(rest.first(), None | Some(b'/')).then_some(rest)
    };
    let others = || mounts().iter().find_map(|mount| below(mount));
    let rest = Path::new(OsStr::from_bytes(below(USUAL).or_else(others)?));
    let mut place = usermap::default_folder().ok()?;
    for part in rest.components() {
        match part {
            std::path::Component::Normal(part) => place.push(part),
            // It may lead out of the file system again.
            std::path::Component::ParentDir => return None,
            _ => {}
        }
    }
    Some(place)
}

/// The file for a pin that a command names.
///
/// # Errors
///
/// For wrapped programs, as the kernel: `outside` for a path that is neither on a bpf file system nor
/// in the default folder.
pub(crate) fn pin(command: u32, path: &Path, outside: i32) -> Result<PathBuf> {
    if mode() == Mode::Linked {
        return Ok(path.to_owned());
    }
    if let Some(place) = place(path.as_os_str().as_bytes()) {
        return Ok(place);
    }
    let folder = usermap::default_folder()?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.canonicalize(),
        _ => Path::new(".").canonicalize(),
    };
    let refuse = |rule, errno| Err(Error::Command { command: name(command), rule, errno });
    match (parent, folder.canonicalize()) {
        (Ok(parent), Ok(folder)) if parent.starts_with(&folder) => Ok(path.to_owned()),
        (Err(_), _) => refuse("there is no such folder", errno::ENOENT),
        _ => refuse("the path is not on a bpf file system, nor in $USERMAP_DIR", outside),
    }
}

/// Whether a folder is the default one, or in it.
pub(crate) fn is_inside(path: &Path) -> bool {
    let folder = usermap::default_folder().and_then(|folder| {
        folder.canonicalize().map_err(|source| Error::Io { doing: "finding", path: folder, source })
    });
    folder.is_ok_and(|folder| path.starts_with(folder))
}

/// Other places where a bpf file system was mounted when this was first asked.
fn mounts() -> &'static [Vec<u8>] {
    static MOUNTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MOUNTS.get_or_init(|| {
        let mounts = mount_table().unwrap_or_default();
        let places = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut words = line.split(|byte| *byte == b' ').skip(1);
            let place = words.next()?;
            (words.next()? == b"bpf").then(|| place.to_owned())
        });
        places.collect()
    })
}

/// Past the C library, whose functions would ask [`mounts`] again.
fn mount_table() -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/proc/self/mounts", flags, rustix::fs::Mode::empty())?;
    let mut table = Vec::new();
    loop {
        table.reserve(4096);
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut table)) {
            Ok(0) => return Ok(table),
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}
