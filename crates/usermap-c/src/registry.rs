//! Objects by id, for all processes that share the default folder: maps, programs, BTF.
//!
//! An object is a file, and its id the name of a hard link to it: `.objects/map/ID` in the
//! [default folder](usermap::default_folder), likewise `prog` and `btf`. There is no daemon and no
//! shared table, so nothing is left in disorder by whoever dies.
//!
//! An object lives while somebody has it open, or it is pinned. Whoever opens its file takes a
//! shared flock(2) on it before it is entered or used. The lock is the open file's: copies of the
//! descriptor and mappings of the file keep it, in all processes that they get to, and the kernel
//! ends it with the last of them. A pin is another hard link. So an entry is dead if it is the only
//! link and nobody has a lock. It is taken away by who holds the exclusive lock and sees that; who
//! opens an entry takes the shared lock first, and then looks whether it still has a name.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FlockOperation, MemfdFlags, Mode, OFlags};
use rustix::io::{Errno, Result};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What has ids, each kind its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Maps.
    Map,
    /// Programs.
    Program,
    /// BTF.
    Btf,
}

impl Kind {
    /// In the order in which their dead are taken away: programs have maps.
    const ALL: [Kind; 3] = [Kind::Program, Kind::Map, Kind::Btf];

    const fn name(self) -> &'static str {
        match self {
            Kind::Map => "map",
            Kind::Program => "prog",
            Kind::Btf => "btf",
        }
    }
}

/// What the folder is called, behind a program's id, that has links to its maps and its BTF.
const KEPT: &str = "kept";

/// Exclusive locks are held for moments, unless their holder is stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// A new file without a name, which can be entered and pinned; or a memfd, which works without an
/// id, where the default folder takes none.
///
/// # Errors
///
/// There is room for neither.
pub fn new_file() -> Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    usermap::default_folder()
        .map_err(|_| Errno::NOENT)
        .and_then(|folder| fs::open(folder, flags, Mode::RUSR | Mode::WUSR))
        .or_else(|_| fs::memfd_create("usermap", MemfdFlags::CLOEXEC))
}

/// Writes all of the bytes to an object's file.
pub(crate) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Err(Errno::INTR) => {}
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}

/// Fills the bytes from this place of an object's file on; nothing if they are not there.
pub(crate) fn read_exact(file: BorrowedFd<'_>, bytes: &mut [u8], from: usize) -> Option<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(file, &mut bytes[filled..], (from + filled) as u64) {
            Ok(0) => return None,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Says that somebody has the object open, for as long as this open file is.
///
/// # Errors
///
/// Somebody holds the exclusive lock and does not go on.
pub fn hold(fd: BorrowedFd<'_>) -> Result<()> {
    let start = Instant::now();
    loop {
        match fs::flock(fd, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_micros(50));
            }
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Enters an object's file under an id.
///
/// # Errors
///
/// EEXIST if another object has this id; anything else if the file cannot be linked there, such as
/// a memfd: then the object has an id that nobody finds.
///
/// ```
/// use std::os::fd::AsFd;
/// use usermap_c::registry::{self, Kind};
/// let file = registry::new_file().unwrap();
/// let id = std::process::id();
/// registry::enter(Kind::Btf, id, file.as_fd())?;
/// assert!(registry::open(Kind::Btf, id).is_ok());
/// assert_eq!(registry::next_id(Kind::Btf, id - 1), Some(id));
/// drop(file);
/// assert!(registry::open(Kind::Btf, id).is_err());
/// # Ok::<(), rustix::io::Errno>(())
/// ```
pub fn enter(kind: Kind, id: u32, fd: BorrowedFd<'_>) -> Result<()> {
    hold(fd)?;
    sweep_now_and_then();
    let entry = entry(kind, id)?;
    match link(fd, &entry) {
        Err(Errno::EXIST) if is_same(fd, &entry) => Ok(()),
        // Its object may be dead.
        Err(Errno::EXIST) if open(kind, id).is_err() => link(fd, &entry),
        done => done,
    }
}

/// Keeps a map or BTF for as long as the program of an id is there: by a link beside its entry.
///
/// # Errors
///
/// The file cannot be linked there, such as a memfd.
pub(crate) fn keep(program: u32, kind: Kind, id: u32, fd: BorrowedFd<'_>) -> Result<()> {
    let kept = entry(Kind::Program, program)?.with_extension(KEPT);
    match fs::mkdir(&kept, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => made?,
    }
    match link(fd, &kept.join(format!("{}-{id}", kind.name()))) {
        Err(Errno::EXIST) => Ok(()),
        done => done,
    }
}

/// Opens an object by its id.
///
/// # Errors
///
/// ENOENT if there is none, or none any more.
pub fn open(kind: Kind, id: u32) -> Result<OwnedFd> {
    let entry = entry(kind, id)?;
    let fd = fs::open(&entry, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    if remove_if_dead(kind, fd.as_fd(), &entry)? {
        return Err(Errno::NOENT);
    }
    hold(fd.as_fd())?;
    if fs::fstat(&fd)?.st_nlink == 0 { Err(Errno::NOENT) } else { Ok(fd) }
}

/// A walk over ids: what of the folder is left of it, as long as the folder stays as it is.
struct Walk {
    folder: PathBuf,
    changed: (i64, u64),
    last: u32,
    /// Larger ids, the smallest at the end.
    rest: Vec<u32>,
}

thread_local! {
    static WALK: RefCell<Option<Walk>> = const { RefCell::new(None) };
}

/// The smallest id of a living object that is larger than this.
///
/// Who goes on from the id that this thread was given last does not make it read the whole folder
/// again. What is entered in the middle of such a walk may be left out.
pub fn next_id(kind: Kind, after: u32) -> Option<u32> {
    let folder = folder(kind).ok()?;
    let status = fs::stat(&folder).ok()?;
    let changed = (status.st_mtime, status.st_mtime_nsec as u64);
    let known = WALK
        .try_with(RefCell::take)
        .ok()
        .flatten()
        .filter(|walk| walk.last == after && walk.changed == changed && walk.folder == folder);
    let mut rest = match known {
        Some(walk) => walk.rest,
        None => {
            let mut larger = ids(kind).ok()?;
            larger.retain(|id| *id > after);
            larger.sort_unstable_by(|one, other| other.cmp(one));
            larger
        }
    };
    while let Some(id) = rest.pop() {
        if is_alive(kind, id) {
            let _ = WALK.try_with(|walk| {
                *walk.borrow_mut() = Some(Walk { folder, changed, last: id, rest });
            });
            return Some(id);
        }
    }
    None
}

/// Takes away the entries of dead objects, and so gives their memory back. Says how many are left.
pub fn sweep() -> usize {
    let left = |kind| {
        let ids = ids(kind).unwrap_or_default().into_iter();
        ids.filter(|id| is_alive(kind, *id)).count()
    };
    Kind::ALL.into_iter().map(left).sum()
}

/// Takes away what processes left that ended without closing anything, and what was closed by a
/// descriptor that nobody knew to be an object's: at first, and then each time that as many objects have
/// been entered as there were. So each costs as much as a few looks at one, and no more is ever left than
/// there is.
fn sweep_now_and_then() {
    const AT_LEAST: usize = 64;
    static TO_ENTER: AtomicUsize = AtomicUsize::new(0);
    let less_by_one = |left: usize| left.checked_sub(1);
    if TO_ENTER.fetch_update(Relaxed, Relaxed, less_by_one).is_err() {
        // Others that come meanwhile need not sweep, too.
        TO_ENTER.store(AT_LEAST, Relaxed);
        TO_ENTER.store(sweep().max(AT_LEAST), Relaxed);
    }
}

/// Takes an entry away if nobody has its object any more.
pub fn is_alive(kind: Kind, id: u32) -> bool {
    let look = || {
        let entry = entry(kind, id)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = fs::open(&entry, flags, Mode::empty())?;
        remove_if_dead(kind, fd.as_fd(), &entry)
    };
    look().is_ok_and(|dead| !dead)
}

/// Whether nobody has an object any more; its entry is taken away then. A map or BTF may be left to
/// dead programs only, which are taken away first.
fn remove_if_dead(kind: Kind, fd: BorrowedFd<'_>, entry: &Path) -> Result<bool> {
    match look(fd, entry)? {
        Life::Linked if kind != Kind::Program && remove_dead_programs() => {
            Ok(look(fd, entry)? == Life::Dead)
        }
        life => Ok(life == Life::Dead),
    }
}

/// Whether any was.
fn remove_dead_programs() -> bool {
    let programs = ids(Kind::Program).unwrap_or_default().into_iter();
    programs.filter(|id| !is_alive(Kind::Program, *id)).count() > 0
}

#[derive(PartialEq)]
enum Life {
    Open,
    /// By a pin, or by a program that has it.
    Linked,
    Dead,
}

/// Takes the exclusive lock to look at an object, and leaves none behind.
fn look(fd: BorrowedFd<'_>, entry: &Path) -> Result<Life> {
    match fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(Life::Open),
        locked => locked?,
    }
    let links = fs::fstat(fd)?.st_nlink;
    if links == 1 {
        // What a program kept; before its entry, which whoever comes next would not find again.
        let _ = std::fs::remove_dir_all(entry.with_extension(KEPT));
        fs::unlink(entry)?;
    }
    fs::flock(fd, FlockOperation::Unlock)?;
    Ok(if links > 1 { Life::Linked } else { Life::Dead })
}

/// Whether the entry of this id is this file.
pub(crate) fn is_entry(kind: Kind, id: u32, fd: BorrowedFd<'_>) -> bool {
    entry(kind, id).is_ok_and(|entry| is_same(fd, &entry))
}

fn ids(kind: Kind) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = fs::open(folder(kind)?, flags, Mode::empty())?;
    for entry in fs::Dir::read_from(&folder)? {
        let entry = entry?;
        ids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(ids)
}

fn folder(kind: Kind) -> Result<PathBuf> {
    let folder = usermap::default_folder().map_err(|_| Errno::NOENT)?;
    Ok(folder.join(".objects").join(kind.name()))
}

fn entry(kind: Kind, id: u32) -> Result<PathBuf> {
    Ok(folder(kind)?.join(id.to_string()))
}

/// Links a file to an entry, whose folder may have to be made first.
fn link(fd: BorrowedFd<'_>, entry: &Path) -> Result<()> {
    let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let link = || fs::linkat(CWD, &own, CWD, entry, AtFlags::SYMLINK_FOLLOW);
    match (link(), entry.parent(), entry.parent().and_then(Path::parent)) {
        (Err(Errno::NOENT), Some(folder), Some(all)) => {
            for folder in [all, folder] {
                match fs::mkdir(folder, Mode::RWXU) {
                    Err(Errno::EXIST) => {}
                    made => made?,
                }
            }
            link()
        }
        (done, ..) => done,
    }
}

fn is_same(fd: BorrowedFd<'_>, path: &Path) -> bool {
    let (Ok(own), Ok(other)) = (fs::fstat(fd), fs::lstat(path)) else { return false };
    (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
}
