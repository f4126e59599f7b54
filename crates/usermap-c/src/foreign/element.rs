//! libbpf's functions on one element.
//!
//! Each goes straight to the map. Only where that shows something unusual (a bad address or
//! descriptor, rights, flags) nothing has been done, and the bpf(2) seam is asked, which checks in the
//! kernel's order and so gives the kernel's error.

use super::attr::{Attr, answer, fail};
use super::memory;
use crate::descriptor;
use libc::{c_int, c_void};
use usermap::abi::{command, errno};
use usermap::command::{BadFd, Fault};
use usermap::{Map, Reason};

/// How the straight way ended without success.
pub(super) enum Straight {
    /// The map's answer.
    Failed(i32),
    /// Nothing was done.
    Unusual,
}

impl From<Fault> for Straight {
    fn from(Fault: Fault) -> Straight {
        Straight::Unusual
    }
}

impl From<usermap::Error> for Straight {
    fn from(error: usermap::Error) -> Straight {
        use Reason::{Busy, Exists, Full, NotFound};
        match error.reason() {
            Some(NotFound | Exists | Full { .. } | Busy) => Straight::Failed(error.errno()),
            _ => Straight::Unusual,
        }
    }
}

/// Goes the straight way, or else the other one.
#[inline(always)]
fn either(
    straight: Result<Result<(), Straight>, BadFd>,
    otherwise: impl FnOnce() -> Result<i32, i32>,
) -> c_int {
    match straight {
        Ok(Ok(())) => 0,
        Ok(Err(Straight::Failed(errno))) => fail(errno),
        Ok(Err(Straight::Unusual)) | Err(_) => answer(otherwise()),
    }
}

/// Runs with a buffer of this size.
#[inline(always)]
pub(super) fn with_buffer<R>(bytes: usize, run: impl FnOnce(&mut [u8]) -> R) -> R {
    if let Some(buffer) = [0; 64].get_mut(..bytes) {
        return run(buffer);
    }
    with_large_buffer(bytes, run)
}

#[inline(never)]
fn with_large_buffer<R>(bytes: usize, run: impl FnOnce(&mut [u8]) -> R) -> R {
    match [0; 512].get_mut(..bytes) {
        Some(buffer) => run(buffer),
        None => run(&mut vec![0; bytes]),
    }
}

/// Runs with a copy of the caller's key and room for a value.
#[inline(always)]
fn with_entry(
    map: &Map,
    key: *const c_void,
    run: impl FnOnce(&[u8], &mut [u8]) -> Result<(), Straight>,
) -> Result<(), Straight> {
    let key_size = map.spec().key_size as usize;
    with_buffer(key_size + map.value_bytes(), |entry| {
        let (own, value) = entry.split_at_mut(key_size);
        read_key(key, own)?;
        run(own, value)
    })
}

#[inline(always)]
pub(super) fn read_key(key: *const c_void, own: &mut [u8]) -> Result<(), Straight> {
    match own.is_empty() {
        // That is for maps without keys, which want no pointer to one.
        true if !key.is_null() => Err(Straight::Unusual),
        true => Ok(()),
        false => Ok(memory::read(key as u64, own)?),
    }
}

/// An attribute of the commands on elements.
fn element(fd: c_int, key: *const c_void, value: *const c_void, flags: u64) -> Attr {
    Attr::new().u32(0, fd as u32).pointer(8, key).pointer(16, value).u64(24, flags)
}

#[inline(always)]
fn look_up(
    fd: c_int,
    key: *const c_void,
    value: *mut c_void,
    flags: u64,
) -> Result<Result<(), Straight>, BadFd> {
    descriptor::with_map(fd, |map| {
        with_entry(map, key, |key, own| {
            map.lookup(key, own, flags)?;
            Ok(memory::write(value as u64, own)?)
        })
    })
}

#[inline(always)]
fn set(
    fd: c_int,
    key: *const c_void,
    value: *const c_void,
    flags: u64,
) -> Result<Result<(), Straight>, BadFd> {
    descriptor::with_map(fd, |map| {
        with_entry(map, key, |key, own| {
            memory::read(value as u64, own)?;
            Ok(map.update(key, own, flags)?)
        })
    })
}

/// `bpf_map_lookup_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_elem(fd: c_int, key: *const c_void, value: *mut c_void) -> c_int {
    bpf_map_lookup_elem_flags(fd, key, value, 0)
}

/// `bpf_map_lookup_elem_flags` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_elem_flags(
    fd: c_int,
    key: *const c_void,
    value: *mut c_void,
    flags: u64,
) -> c_int {
    let straight = look_up(fd, key, value, flags);
    either(straight, || element(fd, key, value, flags).call(command::MAP_LOOKUP_ELEM))
}

/// `bpf_map_update_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_update_elem(
    fd: c_int,
    key: *const c_void,
    value: *const c_void,
    flags: u64,
) -> c_int {
    let straight = set(fd, key, value, flags);
    either(straight, || element(fd, key, value, flags).call(command::MAP_UPDATE_ELEM))
}

/// `bpf_map_delete_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_delete_elem(fd: c_int, key: *const c_void) -> c_int {
    bpf_map_delete_elem_flags(fd, key, 0)
}

/// `bpf_map_delete_elem_flags` of `bpf/bpf.h`. The command has no flags, so any are refused.
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_delete_elem_flags(fd: c_int, key: *const c_void, flags: u64) -> c_int {
    let straight = descriptor::with_map(fd, |map| {
        if flags != 0 {
            return Err(Straight::Unusual);
        }
        with_buffer(map.spec().key_size as usize, |own| {
            read_key(key, own)?;
            Ok(map.delete(own)?)
        })
    });
    let attr = || element(fd, key, std::ptr::null(), flags);
    either(straight, || attr().call(command::MAP_DELETE_ELEM))
}

/// `bpf_map_lookup_and_delete_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_and_delete_elem(
    fd: c_int,
    key: *const c_void,
    value: *mut c_void,
) -> c_int {
    bpf_map_lookup_and_delete_elem_flags(fd, key, value, 0)
}

/// `bpf_map_lookup_and_delete_elem_flags` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_and_delete_elem_flags(
    fd: c_int,
    key: *const c_void,
    value: *mut c_void,
    flags: u64,
) -> c_int {
    let straight = descriptor::with_map(fd, |map| {
        with_entry(map, key, |key, own| {
            map.lookup_and_delete(key, own, flags)?;
            // What the caller's memory refuses is gone all the same.
            memory::write(value as u64, own).map_err(|Fault| Straight::Failed(errno::EFAULT))
        })
    });
    let attr = || element(fd, key, value, flags);
    either(straight, || attr().call(command::MAP_LOOKUP_AND_DELETE_ELEM))
}

/// `bpf_map_get_next_key` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_get_next_key(
    fd: c_int,
    key: *const c_void,
    next_key: *mut c_void,
) -> c_int {
    let straight = descriptor::with_map(fd, |map| {
        let size = map.spec().key_size as usize;
        with_buffer(2 * size, |keys| {
            let (own, next) = keys.split_at_mut(size);
            let own = match key.is_null() {
                true => None,
                false => {
                    memory::read(key as u64, own)?;
                    Some(&*own)
                }
            };
            map.get_next_key(own, next)?;
            Ok(memory::write(next_key as u64, next)?)
        })
    });
    either(straight, || element(fd, key, next_key, 0).call(command::MAP_GET_NEXT_KEY))
}

/// bpf(2) on one element, straight to the map if the attribute has nothing unusual; or `None`, and
/// nothing was done.
pub(crate) fn by_attribute(number: u32, address: u64, size: u32) -> Option<Result<i32, i32>> {
    if !matches!(number, command::MAP_LOOKUP_ELEM | command::MAP_UPDATE_ELEM)
        || !(32..=168).contains(&size)
    {
        return None;
    }
    // struct { u32 map_fd; u64 key, value, flags; }, and zeros.
    let mut attr = [0; 4];
    memory::read_words(address, &mut attr).ok()?;
    let [fd, key, value, flags] = attr;
    if fd >> 32 != 0 || size > 32 && !is_zero(address + 32, size - 32) {
        return None;
    }
    let (key, value) = (key as *const c_void, value as *mut c_void);
    let straight = match number {
        command::MAP_LOOKUP_ELEM => look_up(fd as c_int, key, value, flags),
        _ => set(fd as c_int, key, value, flags),
    };
    match straight {
        Ok(Ok(())) => Some(Ok(0)),
        Ok(Err(Straight::Failed(errno))) => Some(Err(errno)),
        Ok(Err(Straight::Unusual)) | Err(_) => None,
    }
}

/// Whether these bytes of the caller's, 136 at most, are there and zero.
fn is_zero(address: u64, bytes: u32) -> bool {
    let mut rest = [0; 136];
    let rest = &mut rest[..bytes as usize];
    memory::read(address, rest).is_ok() && rest.iter().fold(0, |any, byte| any | byte) == 0
}
