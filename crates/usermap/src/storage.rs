//! Where regions live: nameless files, memfds, files with names; the default folder.
//!
//! A map's file is written while it has no name and then linked to its path, so a path leads to
//! a whole map or to nothing, whoever dies when and whoever creates the same at once.

use crate::abi::{errno, map_flags};
use crate::error::{Error, Result};
use crate::header::{FIXED, Header};
use crate::spec::Spec;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FallocateFlags, FileType, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// The folder where maps with bare names are: `$USERMAP_DIR` if set, else `usermap` in
/// `$XDG_RUNTIME_DIR`, else `/dev/shm/usermap-UID`: a folder of the user's own (mode 0700) on a
/// tmpfs. It is made if it is not there.
///
/// # Errors
///
/// It cannot be made, or it belongs to somebody else.
///
/// ```
/// let folder = usermap::default_folder()?;
/// assert!(folder.is_dir());
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn default_folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("USERMAP_DIR") {
        let folder = PathBuf::from(folder);
        if !folder.is_dir() {
            make_folder(&folder)?;
        }
        return Ok(folder);
    }
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let folder = match runtime {
        Some(runtime) => runtime.join("usermap"),
        None => format!("/dev/shm/usermap-{}", rustix::process::getuid().as_raw()).into(),
    };
    make_folder(&folder)?;
    let status = fs::lstat(&folder).map_err(|error| Error::io("looking at it", &folder, error))?;
    let own = status.st_uid == rustix::process::getuid().as_raw();
    if FileType::from_raw_mode(status.st_mode) != FileType::Directory || !own {
        let foreign = std::io::Error::from_raw_os_error(errno::EPERM);
        return Err(Error::io("using it as one's own folder of maps", folder, foreign));
    }
    Ok(folder)
}

fn make_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Error::io("making the folder for maps", folder, error))
}

/// The file that a path means: a bare name is one in the default folder.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    match path.components().count() {
        1 if path.is_relative() && path.file_name().is_some() => Ok(default_folder()?.join(path)),
        _ => Ok(path.to_owned()),
    }
}

/// A nameless file of this size: in the default folder, so that it can be pinned there, or else
/// a memfd.
pub(crate) fn nameless(size: &Size<'_>) -> Result<OwnedFd> {
    // That there is no such folder, or no room in it, is no reason not to have maps.
    let in_folder = default_folder().and_then(|folder| nameless_in(&folder, &folder, size));
    in_folder.or_else(|_| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = fs::memfd_create(format!("usermap:{}", size.spec.name.as_str()), flags)
            .map_err(|error| Error::io("making a memfd", "", error))?;
        size.set(fd.as_fd(), Path::new("memfd"))?;
        let seals = fs::SealFlags::SHRINK | fs::SealFlags::GROW | fs::SealFlags::SEAL;
        fs::fcntl_add_seals(&fd, seals)
            .map_err(|error| Error::io("sealing the memfd's size", "", error))?;
        Ok(fd)
    })
}

/// A nameless file in a folder; errors name `path`.
fn nameless_in(folder: &Path, path: &Path, size: &Size<'_>) -> Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = fs::open(folder, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Error::io("making a file for the map", path, error))?;
    size.set(fd.as_fd(), path)?;
    Ok(fd)
}

/// A new file beside `path` that is to be [`link`]ed to it: nameless, or where the file system
/// has no such files one with a hidden name, which is given too.
pub(crate) fn beside(path: &Path, size: &Size<'_>) -> Result<(OwnedFd, Option<PathBuf>)> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match nameless_in(folder, path, size) {
        Err(error) if matches!(error.errno(), errno::EOPNOTSUPP | errno::EISDIR) => {}
        done => return done.map(|fd| (fd, None)),
    }
    let name = folder.join(format!(".usermap-{}-{:x}", std::process::id(), size.salt));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = fs::open(&name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Error::io("making a file for the map", path, error))?;
    size.set(fd.as_fd(), path)?;
    Ok((fd, Some(name)))
}

/// How large a new region's file is to be.
pub(crate) struct Size<'s> {
    pub(crate) spec: &'s Spec,
    pub(crate) bytes: u64,
    /// Bytes that are used by few writers only, and need no blocks reserved.
    pub(crate) sparse: core::ops::Range<u64>,
    /// For names that nobody else thinks of.
    pub(crate) salt: u64,
}

impl Size<'_> {
    /// Sets a new file's size, with a clear error now instead of a SIGBUS later where there is no
    /// room: a disk's blocks are reserved (unless NO_PREALLOC), a tmpfs must have as much free.
    fn set(&self, fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let failed = |error: Errno| Error::io("making room for the map", path, error);
        fs::ftruncate(fd, self.bytes).map_err(failed)?;
        if self.spec.has(map_flags::NO_PREALLOC) {
            return Ok(());
        }
        const TMPFS_MAGIC: i64 = 0x0102_1994;
        let system = fs::fstatfs(fd).map_err(failed)?;
        if system.f_type as i64 == TMPFS_MAGIC {
            let free = system.f_bavail as u64 * system.f_bsize as u64;
            // f_blocks is 0 for a tmpfs without a limit, such as a memfd's.
            let fits = system.f_blocks == 0 || needed_when_full(self.spec) <= free;
            return if fits { Ok(()) } else { Err(failed(Errno::NOSPC)) };
        }
        for part in [0..self.sparse.start, self.sparse.end..self.bytes] {
            if part.is_empty() {
                continue;
            }
            let length = part.end - part.start;
            match fs::fallocate(fd, FallocateFlags::empty(), part.start, length) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

/// Bytes that the entries take when the map is full; the least that it needs.
fn needed_when_full(spec: &Spec) -> u64 {
    let key = u64::from(spec.key_size).next_multiple_of(8);
    let value = u64::from(spec.value_size).next_multiple_of(8);
    let cpus = if spec.map_type.is_per_cpu() { u64::from(spec.cpus) } else { 1 };
    u64::from(spec.max_entries).saturating_mul(value.saturating_mul(cpus).saturating_add(key))
}

/// Refuses a map that cannot fit this machine's memory, as the kernel's allocation would fail.
pub(crate) fn check_memory(spec: &Spec) -> Result<()> {
    if cfg!(miri) {
        return Ok(());
    }
    let memory = rustix::system::sysinfo();
    let memory = (memory.totalram as u64).saturating_mul(u64::from(memory.mem_unit));
    if spec.has(map_flags::NO_PREALLOC) || needed_when_full(spec) <= memory {
        return Ok(());
    }
    Err(Error::Spec {
        map: spec.name,
        field: "max_entries",
        value: u64::from(spec.max_entries),
        rule: "the entries are larger than this machine's memory; NO_PREALLOC takes it as needed",
        errno: errno::ENOMEM,
    })
}

/// Gives a nameless file a name. Fails if there is something of that name.
pub(crate) fn link(fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
        .map_err(|error| Error::io("giving the map this name", path, error))
}

/// Opens a map's file and reads its header.
pub(crate) fn open(path: &Path, writable: bool) -> Result<(OwnedFd, Header)> {
    // NONBLOCK, so that a FIFO is refused instead of waited for.
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    let fd = fs::open(path, access | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|error| Error::io("opening the map", path, error))?;
    let header = read_header(fd.as_fd(), path)?;
    Ok((fd, header))
}

/// Reads and checks the header of what may be a map's file.
pub(crate) fn read_header(fd: BorrowedFd<'_>, path: &Path) -> Result<Header> {
    let status = fs::fstat(fd).map_err(|error| Error::io("looking at it", path, error))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Error::not_a_map(path, "it is no regular file"));
    }
    let mut bytes = [0; FIXED * 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[filled..], filled as u64) {
            Ok(0) => return Err(Error::not_a_map(path, "it is too short for a header")),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::io("reading the header", path, error)),
        }
    }
    let mut words = [0; FIXED];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = crate::mem::bytes::word_of(bytes);
    }
    let header = Header::read(&words, path)?;
    if (status.st_size as u64) / 8 < header.words as u64 {
        return Err(Error::not_a_map(path, "it is cut off: shorter than its header says"));
    }
    Ok(header)
}

/// Whether a descriptor may be written to.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> Result<bool> {
    let flags = fs::fcntl_getfl(fd).map_err(|error| Error::io("looking at it", "", error))?;
    Ok(flags.contains(OFlags::RDWR))
}
