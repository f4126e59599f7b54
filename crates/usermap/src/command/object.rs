//! The commands on maps as objects: freezing, info, ids and names in the file system.

use super::attr::Attr;
use super::{BadFd, Fault, Host, copy_in, copy_out, map_of};
use crate::abi::{errno, map_flags};
use crate::error::Result;
use crate::map::{Access, Map};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// `sizeof(struct bpf_map_info)` in Linux 6.18, of which older programs know less.
const INFO_BYTES: usize = 104;
/// Where in it a program asks for the hash of the map's content, and with how many bytes.
const INFO_HASH: core::ops::Range<usize> = 88..100;

const HANDLE_FLAGS: u32 = map_flags::RDONLY | map_flags::WRONLY;

/// `BPF_MAP_FREEZE`
pub(super) fn freeze<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(4)?;
    map_of(host, attr, attr.u32(0))?.freeze()?;
    Ok(0)
}

/// `BPF_OBJ_GET_INFO_BY_FD`: struct { u32 bpf_fd, info_len; u64 info; }
pub(super) fn info<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(16)?;
    let map = host.map(attr.u32(0) as i32).map_err(|bad| match bad {
        BadFd::NotOpen => attr.refuse("the descriptor is not open", errno::EBADFD),
        BadFd::NotAMap => attr.invalid("the descriptor is no map"),
    })?;
    let (given, address) = (attr.u32(4), attr.u64(8));
    attr.check_tail(host, address, INFO_BYTES, given)?;
    let bytes = INFO_BYTES.min(given as usize);
    let mut info = [0; INFO_BYTES];
    copy_in(host, address, &mut info[..bytes]).map_err(|Fault| attr.fault())?;
    if info[INFO_HASH].iter().any(|byte| *byte != 0) {
        return Err(attr.invalid("usermap computes no hash of a map's content"));
    }
    let info = fill_info(host, &map);
    copy_out(host, address, &info[..bytes])
        .and_then(|()| attr.put(host, 4, bytes as u32))
        .map_err(|Fault| attr.fault())?;
    Ok(0)
}

/// `struct bpf_map_info`. Flags of the handle are none of the map's.
fn fill_info<H: Host + ?Sized>(host: &H, map: &Map) -> [u8; INFO_BYTES] {
    let (told, spec) = (map.info(), map.spec());
    let mut info = [0; INFO_BYTES];
    let mut put = |offset: usize, field: u32| {
        info[offset..offset + 4].copy_from_slice(&field.to_ne_bytes());
    };
    put(0, spec.map_type as u32);
    put(4, told.id);
    put(8, spec.key_size);
    put(12, spec.value_size);
    put(16, spec.max_entries);
    put(20, spec.flags & !HANDLE_FLAGS);
    if let Some(types) = host.types_of(map) {
        put(64, types.btf_id);
        put(68, types.key.map_or(0, |key| key.0));
        put(72, types.value.0);
    }
    info[24..40].copy_from_slice(spec.name.bytes());
    info[80..88].copy_from_slice(&spec.map_extra.to_ne_bytes());
    info
}

/// `BPF_MAP_GET_FD_BY_ID`: struct { u32 map_id, next_id, open_flags; }
pub(super) fn get_fd_by_id<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(12)?;
    let flags = attr.u32(8);
    access_of(attr, flags)?;
    let map = host
        .map_by_id(attr.u32(0))
        .ok_or_else(|| attr.refuse("no map has this id", errno::ENOENT))?;
    host.install(map.reopen(flags)?)
}

/// `BPF_MAP_GET_NEXT_ID`: struct { u32 start_id, next_id; }
pub(super) fn get_next_id<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(8)?;
    let start = attr.u32(0);
    if start >= i32::MAX as u32 {
        return Err(attr.invalid("start_id is past the last id that there can be"));
    }
    let id =
        host.next_id(start).ok_or_else(|| attr.refuse("no map has a larger id", errno::ENOENT))?;
    attr.put(host, 4, id).map_err(|Fault| attr.fault())?;
    Ok(0)
}

/// `BPF_OBJ_PIN`: struct { u64 pathname; u32 bpf_fd, file_flags; s32 path_fd; }
pub(super) fn pin<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(20)?;
    let flags = attr.u32(12);
    if flags & !map_flags::PATH_FD != 0 {
        return Err(attr.invalid("file_flags of pinning are PATH_FD or nothing"));
    }
    // The kernel tries the descriptor as a map, a program and a link, and ends with EINVAL.
    let fd = attr.u32(8) as i32;
    let map = match host.map(fd) {
        Err(BadFd::NotAMap) if host.is_program(fd) => None,
        map => Some(map.map_err(|bad| attr.invalid(bad.rule()))?),
    };
    let path = path_of(host, attr, flags)?;
    match map {
        Some(map) => host.pin(&map, &path)?,
        None => host.pin_program(fd, &path)?,
    }
    Ok(0)
}

/// `BPF_OBJ_GET`, with the same fields.
pub(super) fn get<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(20)?;
    let flags = attr.u32(12);
    if attr.u32(8) != 0 || flags & !(map_flags::PATH_FD | HANDLE_FLAGS) != 0 {
        return Err(attr.invalid("bpf_fd is set, or file_flags that opening does not take"));
    }
    let access = access_of(attr, flags & !map_flags::PATH_FD)?;
    let path = path_of(host, attr, flags)?;
    host.get(&path, access)
}

/// `bpf_get_file_flag`, of flags that are checked to be no others.
fn access_of(attr: &Attr, flags: u32) -> Result<Access> {
    match flags {
        0 => Ok(Access::ReadWrite),
        map_flags::RDONLY => Ok(Access::ReadOnly),
        map_flags::WRONLY => Ok(Access::WriteOnly),
        _ => Err(attr.invalid("open_flags are RDONLY, WRONLY or nothing")),
    }
}

/// The path of a pin, from the folder `path_fd` where that is meant. A bare name is one in the
/// current folder here, as for every system call.
fn path_of<H: Host + ?Sized>(host: &H, attr: &Attr, flags: u32) -> Result<PathBuf> {
    let folder = match (flags & map_flags::PATH_FD != 0, attr.u32(16) as i32) {
        (false, 0) => PathBuf::from("."),
        (false, _) => return Err(attr.invalid("path_fd without PATH_FD")),
        (true, fd) if fd < 0 => PathBuf::from("."),
        (true, fd) => Path::new("/proc/self/fd").join(fd.to_string()),
    };
    let path = read_path(host, attr, attr.u64(0))?;
    match path.as_os_str().is_empty() {
        true => Err(attr.refuse("the path is empty", errno::ENOENT)),
        false => Ok(folder.join(path)),
    }
}

/// A string that ends with a NUL, read page by page: the next may not be there.
fn read_path<H: Host + ?Sized>(host: &H, attr: &Attr, address: u64) -> Result<PathBuf> {
    const PATH_MAX: usize = 4096;
    let mut path = Vec::new();
    while path.len() < PATH_MAX {
        let at = address.wrapping_add(path.len() as u64);
        let mut chunk = [0; 256];
        let chunk = &mut chunk[..256 - (at % 256) as usize];
        host.read(at, chunk).map_err(|Fault| attr.fault())?;
        if let Some(end) = chunk.iter().position(|byte| *byte == 0) {
            path.extend_from_slice(&chunk[..end]);
            return Ok(PathBuf::from(OsString::from_vec(path)));
        }
        path.extend_from_slice(chunk);
    }
    Err(attr.refuse("the path has no end", errno::ENAMETOOLONG))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::{BASE, Mock};
    use super::super::{bpf, command};
    use super::*;

    /// The errno of a command without any map, with these fields set.
    fn verdict(command: u32, fields: &[(u64, u32)]) -> i32 {
        let host = Mock::new(4096);
        for (offset, field) in fields {
            host.write(BASE + offset, &field.to_ne_bytes()).unwrap();
        }
        bpf(&host, command, BASE, 168).unwrap_err().errno()
    }

    #[test]
    fn ids() {
        let by_id = |fields: &[(u64, u32)]| verdict(command::MAP_GET_FD_BY_ID, fields);
        assert_eq!(by_id(&[]), errno::ENOENT);
        assert_eq!(by_id(&[(4, 1)]), errno::ENOENT, "next_id is not looked at");
        assert_eq!(by_id(&[(8, 8)]), errno::ENOENT);
        assert_eq!(by_id(&[(8, 24)]), errno::EINVAL);
        assert_eq!(by_id(&[(8, 4)]), errno::EINVAL);
        assert_eq!(by_id(&[(12, 1)]), errno::EINVAL);
        let next = |fields: &[(u64, u32)]| verdict(command::MAP_GET_NEXT_ID, fields);
        assert_eq!(next(&[]), errno::ENOENT);
        assert_eq!(next(&[(0, i32::MAX as u32)]), errno::EINVAL);
        assert_eq!(next(&[(8, 1)]), errno::EINVAL);
    }

    #[test]
    fn pins() {
        let pin = |fields: &[(u64, u32)]| verdict(command::OBJ_PIN, fields);
        assert_eq!(pin(&[(8, u32::MAX)]), errno::EINVAL, "a bad descriptor, and no path");
        assert_eq!(pin(&[(12, 1)]), errno::EINVAL);
        assert_eq!(pin(&[(20, 1)]), errno::EINVAL);
        let get = |fields: &[(u64, u32)]| verdict(command::OBJ_GET, fields);
        assert_eq!(get(&[]), errno::EFAULT, "no path");
        assert_eq!(get(&[(12, 8)]), errno::EFAULT);
        assert_eq!(get(&[(8, 1)]), errno::EINVAL);
        assert_eq!(get(&[(12, 24)]), errno::EINVAL);
        assert_eq!(get(&[(12, 4)]), errno::EINVAL);
        assert_eq!(get(&[(16, 5)]), errno::EINVAL, "path_fd without its flag");
        assert_eq!(get(&[(0, BASE as u32 + 200)]), errno::ENOENT, "an empty path");
    }

    #[test]
    fn infos_of_nothing() {
        let info = |fields: &[(u64, u32)]| verdict(command::OBJ_GET_INFO_BY_FD, fields);
        assert_eq!(info(&[]), errno::EBADFD);
        assert_eq!(info(&[(16, 1)]), errno::EINVAL);
    }
}
