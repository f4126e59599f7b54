//! From a descriptor's number to the object behind it.
//!
//! A map's descriptor is its region's file. The table remembers what each number is; a number
//! that it does not know (inherited over exec, received over a socket, made by dup) is looked at
//! once: a map's file is opened as the map that it is. Each map keeps a second descriptor for
//! itself, at a high number, because the caller may close the one it was given at any time, while a
//! program still uses the map.
//!
//! What a handle may be used for travels with the descriptor: a read-only one is open for reading
//! only. A file that is open for writing only could not be mapped, so a write-only handle is one
//! with O_APPEND, a flag that is the open file's like its mode, and means nothing for a map.

use crate::btf;
use crate::fd_array::{self, FdArray};
use crate::foreign::table::{Found, Table};
use crate::foreign::{memory, number};
use crate::program::Program;
use crate::registry::{self, Kind};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use usermap::abi::map_flags;
use usermap::command::BadFd;
use usermap::{Access, Error, Map, Result};

/// What a descriptor can be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Object {
    /// A map of values.
    Map(Map),
    /// An array of programs or of events.
    Array(Arc<FdArray>),
    /// BTF.
    Btf(Arc<btf::Object>),
    /// A program.
    Program(Arc<Program>),
}

/// What the table holds: the object, and by what its file is known.
#[derive(Debug)]
struct Entry {
    object: Object,
    file: Identity,
}

/// The device and the number of a file.
type Identity = (u64, u64);

/// Who adds to it sees to it first that bad addresses are [faults](memory::install).
static TABLE: Table<Entry> = Table::new();

/// The object behind a descriptor.
///
/// # Errors
///
/// It is not open, or it is something else.
///
/// ```
/// use usermap::command::BadFd;
/// use usermap_c::descriptor;
/// assert_eq!(descriptor::get(-1).unwrap_err(), BadFd::NotOpen);
/// assert_eq!(descriptor::get(0).unwrap_err(), BadFd::NotAMap);
/// ```
pub fn get(fd: i32) -> Result<Object, BadFd> {
    read(fd, |object| object.clone())
}

/// Uses the object behind a descriptor where it is.
#[inline(always)]
fn read<R>(fd: i32, using: impl FnOnce(&Object) -> R) -> Result<R, BadFd> {
    let mut using = Some(using);
    let known = TABLE.read(fd as usize, |entry| using.take().map(|using| using(&entry.object)));
    match known {
        Found::Value(Some(result)) => Ok(result),
        other => {
            let object = find(fd, !matches!(other, Found::Blocked))?;
            using.map(|using| using(&object)).ok_or(BadFd::NotOpen)
        }
    }
}

/// Uses the map behind a descriptor where it is: for what takes no longer than an element does,
/// since a map that is closed meanwhile is kept for so long.
///
/// # Errors
///
/// As [`map`].
#[inline(always)]
pub fn with_map<R>(fd: i32, using: impl Fn(&Map) -> R) -> Result<R, BadFd> {
    with_known_map(fd, &using).map_or_else(|| with_found_map(fd, using), Ok)
}

#[cold]
#[inline(never)]
fn with_found_map<R>(fd: i32, using: impl Fn(&Map) -> R) -> Result<R, BadFd> {
    read(fd, |object| match object {
        Object::Map(map) => Ok(using(map)),
        _ => Err(BadFd::NotAMap),
    })?
}

/// Uses the map behind a descriptor as [`with_map`] does, if that can be done at once: the number is
/// known, and nobody is changing it.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_c::descriptor;
/// let fd = descriptor::install_map(Map::create(&Spec::new(MapType::Queue, 0, 8, 3))?)?;
/// assert_eq!(descriptor::with_map(fd, |map| map.len()).unwrap(), 0);
/// assert_eq!(descriptor::with_known_map(fd, |map| map.len()), Some(0));
/// # Ok::<(), usermap::Error>(())
/// ```
#[inline(always)]
pub fn with_known_map<R>(fd: i32, using: impl FnOnce(&Map) -> R) -> Option<R> {
    let used = TABLE.read_at_once(fd as usize, |entry| match &entry.object {
        Object::Map(map) => Some(using(map)),
        _ => None,
    });
    used.flatten()
}

/// The map behind a descriptor.
///
/// # Errors
///
/// As [`get`], and for what is no map.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_c::descriptor;
/// let fd = descriptor::install_map(Map::create(&Spec::new(MapType::Queue, 0, 8, 3))?)?;
/// assert_eq!(descriptor::map(fd).unwrap().len(), 0);
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn map(fd: i32) -> Result<Map, BadFd> {
    match get(fd)? {
        Object::Map(map) => Ok(map),
        _ => Err(BadFd::NotAMap),
    }
}

/// The map behind a descriptor, one of programs or events included.
pub(crate) fn any_map(fd: i32) -> Result<Map, BadFd> {
    match get(fd)? {
        Object::Map(map) => Ok(map),
        Object::Array(array) => Ok(array.map().clone()),
        _ => Err(BadFd::NotAMap),
    }
}

/// The array of programs or events behind a descriptor, if it is one.
pub(crate) fn array(fd: i32) -> Option<Arc<FdArray>> {
    let array = read(fd, |object| match object {
        Object::Array(array) => Some(array.clone()),
        _ => None,
    });
    array.ok().flatten()
}

/// The program of an id, if this process has it.
pub(crate) fn program(id: u32) -> Option<Arc<Program>> {
    let same = |entry: &Entry| match &entry.object {
        Object::Program(program) if program.id() == id => Some(program.clone()),
        Object::Array(array) => array.program(id),
        _ => None,
    };
    (0..TABLE.end()).find_map(|fd| match TABLE.read(fd, same) {
        Found::Value(program) => program,
        _ => None,
    })
}

/// Gives C a descriptor of an object. The number is the descriptor's; the object that the table
/// holds must have another of its own if it needs one.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_c::descriptor::{self, Object};
/// let map = Map::create(&Spec::new(MapType::Queue, 0, 8, 3))?;
/// let fd = map.as_fd().unwrap().try_clone_to_owned().unwrap();
/// let number = descriptor::install(Object::Map(map), fd);
/// assert!(descriptor::map(number).is_ok());
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn install(object: Object, fd: OwnedFd) -> i32 {
    let fd = number::give(fd);
    memory::install();
    match identity(fd) {
        Ok(file) => TABLE.set(fd as usize, Entry { object, file }),
        Err(_) => TABLE.clear(fd as usize),
    }
    fd
}

/// Gives C a descriptor of a map, with the handle's rights.
///
/// # Errors
///
/// The process has no descriptors left.
pub fn install_map(mut map: Map) -> Result<i32> {
    let no_more = |error: Errno| io("making a descriptor of the map", error);
    let own = map.as_fd().ok_or_else(|| no_more(Errno::BADF))?;
    let high = out_of_the_way(own).map_err(no_more)?;
    let outer = match map.replace_fd(high) {
        Some(outer) => outer,
        // Another handle uses the descriptor, too.
        None => {
            let own = map.as_fd().ok_or_else(|| no_more(Errno::BADF))?;
            rustix::io::fcntl_dupfd_cloexec(own, LEAST).map_err(no_more)?
        }
    };
    let outer = with_rights(outer, map.access()).map_err(no_more)?;
    Ok(install(fd_array::object(map), outer))
}

/// Runs what closes these numbers, or makes them other files'. From its start on they are not what
/// they were.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_c::descriptor;
/// let fd = descriptor::install_map(Map::create(&Spec::new(MapType::Queue, 0, 8, 3))?)?;
/// descriptor::while_closing(fd..=fd, || assert!(descriptor::map(fd).is_ok())); // not closed
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn while_closing<R>(numbers: RangeInclusive<i32>, close: impl FnOnce() -> R) -> R {
    let known = || {
        let first = (*numbers.start()).max(0) as usize;
        let last = usize::try_from(*numbers.end()).unwrap_or(0);
        first..TABLE.end().min(last.saturating_add(1))
    };
    let mut closed = Vec::new();
    for fd in known() {
        if let Found::Value(ids) = TABLE.read(fd, |entry| entry.object.ids()) {
            closed.extend(ids);
        }
        TABLE.block(fd);
    }
    let result = close();
    for fd in known() {
        TABLE.unblock(fd);
        verify(fd);
    }
    // Of what nobody has any more the memory is given back at once.
    closed.into_iter().for_each(|(kind, id)| _ = registry::is_alive(kind, id));
    result
}

impl Object {
    /// The ids of what may end with it, in the order in which it does.
    fn ids(&self) -> Vec<(Kind, u32)> {
        match self {
            Object::Map(map) => vec![(Kind::Map, map.info().id)],
            Object::Array(array) => array.ids(),
            Object::Btf(btf) => vec![(Kind::Btf, btf.id())],
            Object::Program(program) => program.ids(),
        }
    }
}

/// The descriptors that maps keep for themselves, in their order.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_c::descriptor;
/// let fd = descriptor::install_map(Map::create(&Spec::new(MapType::Queue, 0, 8, 3))?)?;
/// assert!(!descriptor::kept().is_empty() && !descriptor::kept().contains(&(fd as u32)));
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn kept() -> Vec<u32> {
    let number = |map: &Map| map.as_fd().map(|fd| fd.as_raw_fd() as u32);
    let own = |entry: &Entry| match &entry.object {
        Object::Map(map) => number(map),
        Object::Array(array) => number(array.map()),
        _ => None,
    };
    let mut kept: Vec<u32> = (0..TABLE.end())
        .filter_map(|fd| match TABLE.read(fd, own) {
            Found::Value(own) => own,
            _ => None,
        })
        .collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// Forgets a number that is another file than the one it is known as.
fn verify(fd: usize) {
    let Found::Value(known) = TABLE.read(fd, |entry| entry.file) else { return };
    if identity(fd as i32) != Ok(known) {
        TABLE.clear(fd);
    }
}

fn identity(fd: i32) -> rustix::io::Result<Identity> {
    let status = number::with(fd, |fd| rustix::fs::fstat(fd))?;
    Ok((status.st_dev, status.st_ino))
}

/// Descriptors that are given out are none of the standard ones, as libbpf sees to.
const LEAST: i32 = 3;

/// A copy at a number where it is in nobody's way: in the upper half of what the process may have.
fn out_of_the_way(fd: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.map_or(1 << 19, |limit| (limit / 2).min(1 << 19)) as i32;
    match rustix::io::fcntl_dupfd_cloexec(fd, half) {
        Err(Errno::MFILE | Errno::INVAL) => rustix::io::fcntl_dupfd_cloexec(fd, LEAST),
        done => done,
    }
}

/// A descriptor of the same file that is open for what the handle may do.
fn with_rights(fd: OwnedFd, access: Access) -> rustix::io::Result<OwnedFd> {
    if access_of(fd.as_fd())? == access {
        return match fd.as_raw_fd() {
            0..LEAST => rustix::io::fcntl_dupfd_cloexec(fd, LEAST),
            _ => Ok(fd),
        };
    }
    let mode = match access {
        Access::ReadOnly => OFlags::RDONLY,
        Access::WriteOnly => OFlags::RDWR | OFlags::APPEND,
        Access::ReadWrite => OFlags::RDWR,
    };
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let opened = rustix::fs::open(path, mode | OFlags::CLOEXEC, Mode::empty())?;
    // It may be all that is left of the map's descriptors, in another process.
    registry::hold(opened.as_fd())?;
    rustix::io::fcntl_dupfd_cloexec(opened, LEAST)
}

/// What a map's open file may be used for.
fn access_of(fd: BorrowedFd<'_>) -> rustix::io::Result<Access> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(match flags {
        _ if !flags.contains(OFlags::RDWR) => Access::ReadOnly,
        _ if flags.contains(OFlags::APPEND) => Access::WriteOnly,
        _ => Access::ReadWrite,
    })
}

/// Looks at a number that the table does not know, and remembers what it is if it may.
#[cold]
fn find(fd: i32, remember: bool) -> Result<Object, BadFd> {
    let status = number::with(fd, |fd| rustix::fs::fstat(fd)).map_err(|_| BadFd::NotOpen)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(BadFd::NotAMap);
    }
    let file = (status.st_dev, status.st_ino);
    let object = find_map(fd, file)?;
    let entry = Entry { object: object.clone(), file };
    memory::install();
    if remember && TABLE.set_if_empty(fd as usize, entry) {
        // It may have been closed since it was looked at.
        verify(fd as usize);
    }
    Ok(object)
}

/// The map that a file is: one that is open already, or another.
fn find_map(fd: i32, file: Identity) -> Result<Object, BadFd> {
    let own = number::with(fd, out_of_the_way).map_err(|_| BadFd::NotOpen)?;
    let access = access_of(own.as_fd()).map_err(|_| BadFd::NotOpen)?;
    if let Some(found) = number::with(fd, out_of_the_way).ok().and_then(btf::Object::from_file) {
        return Ok(Object::Btf(Arc::new(found)));
    }
    if let Some(found) = number::with(fd, out_of_the_way).ok().and_then(Program::from_file) {
        return Ok(Object::Program(Arc::new(found)));
    }
    let rights = match access {
        Access::ReadWrite => 0,
        Access::ReadOnly => map_flags::RDONLY,
        Access::WriteOnly => map_flags::WRONLY,
    };
    let reopened = |map: &Map| map.reopen(rights).ok();
    let same = |entry: &Entry| match &entry.object {
        Object::Map(map) if entry.file == file => reopened(map).map(Object::Map),
        Object::Array(array) if entry.file == file => match array.map().access() == access {
            true => Some(Object::Array(array.clone())),
            false => reopened(array.map()).map(fd_array::object),
        },
        _ => None,
    };
    let known = (0..TABLE.end()).find_map(|fd| match TABLE.read(fd, same) {
        Found::Value(object) => object,
        _ => None,
    });
    let new = || reopened(&Map::from_fd(own).ok()?).map(fd_array::object);
    known.or_else(new).ok_or(BadFd::NotAMap)
}

fn io(doing: &'static str, error: Errno) -> Error {
    Error::Io { doing, path: Path::new("").to_owned(), source: error.into() }
}
