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
use usermap::command::Fault;
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
    #[cold]
    fn from(error: usermap::Error) -> Straight {
        use Reason::{Busy, Exists, Full, NotFound};
        match error.reason() {
            Some(NotFound | Exists | Full { .. } | Busy) => Straight::Failed(error.errno()),
            _ => Straight::Unusual,
        }
    }
}

/// A command on one element, as the attribute has it.
struct Element {
    command: u32,
    fd: c_int,
    key: *const c_void,
    value: *const c_void,
    flags: u64,
}

impl Element {
    /// Goes the straight way, or else asks the seam.
    #[inline(always)]
    fn run(self, straight: impl FnOnce(&Map) -> Result<(), Straight>) -> c_int {
        match at_once(self.fd, straight) {
            Ok(()) => 0,
            Err(Straight::Failed(errno)) => fail(errno),
            Err(Straight::Unusual) => ask(self.command, self.fd, self.key, self.value, self.flags),
        }
    }
}

/// Asks the seam. Has its arguments one by one, so that they can stay in registers until then.
#[cold]
#[inline(never)]
fn ask(command: u32, fd: c_int, key: *const c_void, value: *const c_void, flags: u64) -> c_int {
    let attr = Attr::new().u32(0, fd as u32).pointer(8, key).pointer(16, value);
    answer(attr.u64(24, flags).call(command))
}

/// Does something with a map whose descriptor is known.
#[inline(always)]
fn at_once(fd: c_int, straight: impl FnOnce(&Map) -> Result<(), Straight>) -> Result<(), Straight> {
    descriptor::with_known_map(fd, straight).unwrap_or(Err(Straight::Unusual))
}

/// Runs with a buffer of this size.
#[inline(always)]
pub(super) fn with_buffer<R>(bytes: usize, run: impl FnOnce(&mut [u8]) -> R) -> R {
    if let Some(buffer) = [0; 128].get_mut(..bytes) {
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

/// Runs with a copy of the caller's key.
#[inline(always)]
fn with_key(
    map: &Map,
    key: *const c_void,
    run: impl FnOnce(&[u8]) -> Result<(), Straight>,
) -> Result<(), Straight> {
    with_buffer(map.spec().key_size as usize, |own| {
        match own.is_empty() {
            // That is for maps without keys, which want no pointer to one.
            true if !key.is_null() => return Err(Straight::Unusual),
            true => {}
            false => memory::read(key as u64, own)?,
        }
        run(own)
    })
}

// Where keys have a common size, the compiler knows it, so that they stay in registers; and so do values
// of 8 bytes.

#[inline(always)]
fn look_up(map: &Map, key: *const c_void, value: *mut c_void, flags: u64) -> Result<(), Straight> {
    match map.spec().key_size {
        4 => look_up_sized::<4>(map, key, value, flags),
        8 => look_up_sized::<8>(map, key, value, flags),
        16 => look_up_sized::<16>(map, key, value, flags),
        _ => with_key(map, key, |own| look_up_any(map, own, value, flags)),
    }
}

#[inline(always)]
fn look_up_sized<const KEY: usize>(
    map: &Map,
    key: *const c_void,
    value: *mut c_void,
    flags: u64,
) -> Result<(), Straight> {
    let key = memory::load::<KEY>(key as u64)?;
    if map.value_bytes() != 8 {
        return look_up_any(map, &key, value, flags);
    }
    let mut own = [0; 8];
    map.lookup(&key, &mut own, flags)?;
    Ok(memory::store(value as u64, &own)?)
}

#[inline(never)]
fn look_up_any(map: &Map, key: &[u8], value: *mut c_void, flags: u64) -> Result<(), Straight> {
    with_buffer(map.value_bytes(), |own| {
        map.lookup(key, own, flags)?;
        Ok(memory::write(value as u64, own)?)
    })
}

#[inline(always)]
fn set(map: &Map, key: *const c_void, value: *const c_void, flags: u64) -> Result<(), Straight> {
    match map.spec().key_size {
        4 => set_sized::<4>(map, key, value, flags),
        8 => set_sized::<8>(map, key, value, flags),
        16 => set_sized::<16>(map, key, value, flags),
        _ => with_key(map, key, |own| set_any(map, own, value, flags)),
    }
}

#[inline(always)]
fn set_sized<const KEY: usize>(
    map: &Map,
    key: *const c_void,
    value: *const c_void,
    flags: u64,
) -> Result<(), Straight> {
    let key = memory::load::<KEY>(key as u64)?;
    if map.value_bytes() != 8 {
        return set_any(map, &key, value, flags);
    }
    let value = memory::load::<8>(value as u64)?;
    Ok(map.update(&key, &value, flags)?)
}

#[inline(never)]
fn set_any(map: &Map, key: &[u8], value: *const c_void, flags: u64) -> Result<(), Straight> {
    with_buffer(map.value_bytes(), |own| {
        memory::read(value as u64, own)?;
        Ok(map.update(key, own, flags)?)
    })
}

#[inline(always)]
fn remove(map: &Map, key: *const c_void) -> Result<(), Straight> {
    match map.spec().key_size {
        4 => Ok(map.delete(&memory::load::<4>(key as u64)?)?),
        8 => Ok(map.delete(&memory::load::<8>(key as u64)?)?),
        16 => Ok(map.delete(&memory::load::<16>(key as u64)?)?),
        _ => with_key(map, key, |own| Ok(map.delete(own)?)),
    }
}

fn next_key(map: &Map, key: *const c_void, next: *mut c_void) -> Result<(), Straight> {
    let size = map.spec().key_size as usize;
    with_buffer(2 * size, |keys| {
        let (own, found) = keys.split_at_mut(size);
        let own = match key.is_null() {
            true => None,
            false => {
                memory::read(key as u64, own)?;
                Some(&*own)
            }
        };
        map.get_next_key(own, found)?;
        Ok(memory::write(next as u64, found)?)
    })
}

/// `bpf_map_lookup_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_elem(fd: c_int, key: *const c_void, value: *mut c_void) -> c_int {
    Element { command: command::MAP_LOOKUP_ELEM, fd, key, value, flags: 0 }
        .run(|map| look_up(map, key, value, 0))
}

/// `bpf_map_lookup_elem_flags` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_elem_flags(
    fd: c_int,
    key: *const c_void,
    value: *mut c_void,
    flags: u64,
) -> c_int {
    Element { command: command::MAP_LOOKUP_ELEM, fd, key, value, flags }
        .run(|map| look_up(map, key, value, flags))
}

/// `bpf_map_update_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_update_elem(
    fd: c_int,
    key: *const c_void,
    value: *const c_void,
    flags: u64,
) -> c_int {
    Element { command: command::MAP_UPDATE_ELEM, fd, key, value, flags }
        .run(|map| set(map, key, value, flags))
}

/// `bpf_map_delete_elem` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_delete_elem(fd: c_int, key: *const c_void) -> c_int {
    bpf_map_delete_elem_flags(fd, key, 0)
}

/// `bpf_map_delete_elem_flags` of `bpf/bpf.h`. The command has no flags, so any are refused.
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_delete_elem_flags(fd: c_int, key: *const c_void, flags: u64) -> c_int {
    let value = std::ptr::null();
    Element { command: command::MAP_DELETE_ELEM, fd, key, value, flags }.run(|map| {
        if flags != 0 {
            return Err(Straight::Unusual);
        }
        remove(map, key)
    })
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
    Element { command: command::MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value, flags }
        .run(|map| with_key(map, key, |own| take_out(map, own, value, flags)))
}

fn take_out(map: &Map, key: &[u8], value: *mut c_void, flags: u64) -> Result<(), Straight> {
    with_buffer(map.value_bytes(), |own| {
        map.lookup_and_delete(key, own, flags)?;
        // What the caller's memory refuses is gone all the same.
        memory::write(value as u64, own).map_err(|Fault| Straight::Failed(errno::EFAULT))
    })
}

/// `bpf_map_get_next_key` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_get_next_key(
    fd: c_int,
    key: *const c_void,
    next_key: *mut c_void,
) -> c_int {
    let command = command::MAP_GET_NEXT_KEY;
    Element { command, fd, key, value: next_key, flags: 0 }
        .run(|map| self::next_key(map, key, next_key))
}

/// bpf(2) on one element, straight to the map if the attribute has nothing unusual; or `None`, and
/// nothing was done.
pub(crate) fn by_attribute(number: u32, address: u64, size: u32) -> Option<Result<i32, i32>> {
    if !(command::MAP_LOOKUP_ELEM..=command::MAP_GET_NEXT_KEY).contains(&number)
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
    let straight = at_once(fd as c_int, |map| match number {
        command::MAP_LOOKUP_ELEM => look_up(map, key, value, flags),
        command::MAP_UPDATE_ELEM => set(map, key, value, flags),
        // What these do not have must be zero.
        command::MAP_DELETE_ELEM if value.is_null() && flags == 0 => remove(map, key),
        command::MAP_GET_NEXT_KEY if flags == 0 => next_key(map, key, value),
        _ => Err(Straight::Unusual),
    });
    match straight {
        Ok(()) => Some(Ok(0)),
        Err(Straight::Failed(errno)) => Some(Err(errno)),
        Err(Straight::Unusual) => None,
    }
}

/// Whether these bytes of the caller's, 136 at most, are there and zero.
fn is_zero(address: u64, bytes: u32) -> bool {
    let mut rest = [0; 136];
    let rest = &mut rest[..bytes as usize];
    memory::read(address, rest).is_ok() && rest.iter().fold(0, |any, byte| any | byte) == 0
}
