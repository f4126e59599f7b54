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

use crate::foreign::number;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use usermap::abi::map_flags;
use usermap::command::BadFd;
use usermap::{Access, Error, Map, Result};

/// What a descriptor can be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Object {
    /// A map.
    Map(Map),
}

static TABLE: RwLock<BTreeMap<i32, Object>> = RwLock::new(BTreeMap::new());

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
    let known = TABLE.read().unwrap_or_else(PoisonError::into_inner).get(&fd).cloned();
    match known {
        Some(object) => Ok(object),
        None => {
            let found = find(fd)?;
            remember(fd, found.clone());
            Ok(found)
        }
    }
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
        #[expect(unreachable_patterns, reason = "there will be others")]
        _ => Err(BadFd::NotAMap),
    }
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
    remember(fd.as_raw_fd(), object);
    number::give(fd)
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
    Ok(install(Object::Map(map), outer))
}

/// Forgets a number: its descriptor is closed, or becomes another file's.
///
/// ```
/// usermap_c::descriptor::forget(0); // it was not known
/// ```
pub fn forget(fd: i32) {
    let known = TABLE.write().unwrap_or_else(PoisonError::into_inner).remove(&fd);
    drop(known);
}

fn remember(fd: i32, object: Object) {
    let before = TABLE.write().unwrap_or_else(PoisonError::into_inner).insert(fd, object);
    drop(before);
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

/// Looks at a number that the table does not know.
fn find(fd: i32) -> Result<Object, BadFd> {
    let file = number::with(fd, |fd| rustix::fs::fstat(fd)).map_err(|_| BadFd::NotOpen)?;
    if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
        return Err(BadFd::NotAMap);
    }
    let own = number::with(fd, out_of_the_way).map_err(|_| BadFd::NotOpen)?;
    let access = access_of(own.as_fd()).map_err(|_| BadFd::NotOpen)?;
    let map = Map::from_fd(own).map_err(|_| BadFd::NotAMap)?;
    let rights = match access {
        Access::ReadWrite => 0,
        Access::ReadOnly => map_flags::RDONLY,
        Access::WriteOnly => map_flags::WRONLY,
    };
    map.reopen(rights).map(Object::Map).map_err(|_| BadFd::NotAMap)
}

fn io(doing: &'static str, error: Errno) -> Error {
    Error::Io { doing, path: Path::new("").to_owned(), source: error.into() }
}
