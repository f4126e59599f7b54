//! The commands on one entry.

use super::attr::Attr;
use super::{Fault, Host, fault, map_of};
use crate::abi::{BPF_F_CPU, BPF_F_LOCK, PRIVATE_BASE, errno};
use crate::error::{Error, Reason, Result};
use crate::map::Map;

// struct { u32 map_fd; u64 key; union { u64 value, next_key; }; u64 flags; }
const FD: usize = 0;
const KEY: usize = 8;
const VALUE: usize = 16;
const FLAGS: usize = 24;
const END: usize = 32;

/// `BPF_MAP_LOOKUP_ELEM`
pub(super) fn lookup<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(END)?;
    let (map, flags) = (map_for_reading(host, attr)?, attr.u64(FLAGS));
    let refuse = |reason| map.error("lookup", reason);
    map.may(true, false).map_err(refuse)?;
    map.check_lock_flag(flags, flags & BPF_F_LOCK).map_err(refuse)?;
    with_entry(&map, |key, value| {
        read_key(host, &map, "lookup", attr.u64(KEY), key)?;
        map.lookup(key, value, flags)?;
        host.write(attr.u64(VALUE), value).map_err(|Fault| refuse(Reason::Fault))
    })
}

/// `BPF_MAP_UPDATE_ELEM`
pub(super) fn update<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(END)?;
    let (map, flags) = (map_of(host, attr, attr.u32(FD))?, attr.u64(FLAGS));
    let refuse = |reason| map.error("update", reason);
    map.may(false, true).map_err(refuse)?;
    map.check_lock_flag(flags, flags & BPF_F_LOCK).map_err(refuse)?;
    with_entry(&map, |key, value| {
        read_key(host, &map, "update", attr.u64(KEY), key)?;
        host.read(attr.u64(VALUE), value).map_err(|Fault| refuse(Reason::Fault))?;
        map.update(key, value, flags)
    })
}

/// `BPF_MAP_DELETE_ELEM`, which has neither value nor flags.
pub(super) fn delete<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(VALUE)?;
    let map = map_of(host, attr, attr.u32(FD))?;
    map.may(false, true).map_err(|reason| map.error("delete", reason))?;
    with_buffer(map.spec().key_size as usize, |key| {
        read_key(host, &map, "delete", attr.u64(KEY), key)?;
        map.delete(key)
    })
}

/// `BPF_MAP_GET_NEXT_KEY`
pub(super) fn get_next_key<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(FLAGS)?;
    let map = map_of(host, attr, attr.u32(FD))?;
    map.may(true, false).map_err(|reason| map.error("get_next_key", reason))?;
    let size = map.spec().key_size as usize;
    with_buffer(2 * size, |keys| {
        let (key, next) = keys.split_at_mut(size);
        let key = match attr.u64(KEY) {
            0 => None,
            address => {
                read_key(host, &map, "get_next_key", address, key)?;
                Some(&*key)
            }
        };
        map.get_next_key(key, next)?;
        host.write(attr.u64(VALUE), next).map_err(|Fault| fault(&map, "get_next_key"))
    })
}

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: what the caller's memory refuses is gone all the same.
pub(super) fn lookup_and_delete<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(END)?;
    let (map, flags) = (map_for_reading(host, attr)?, attr.u64(FLAGS));
    let refuse = |reason| map.error("lookup_and_delete", reason);
    map.may(true, true).map_err(refuse)?;
    if flags & BPF_F_LOCK != 0 && map.spec().map_type.is_ring() {
        return Err(refuse(Reason::Flags { flags }));
    }
    map.check_lock_flag(flags, flags & BPF_F_LOCK).map_err(refuse)?;
    with_entry(&map, |key, value| {
        read_key(host, &map, "lookup_and_delete", attr.u64(KEY), key)?;
        map.lookup_and_delete(key, value, flags)?;
        host.write(attr.u64(VALUE), value).map_err(|Fault| refuse(Reason::Fault))
    })
}

/// The map, after a look at flags that no map takes. The kernel does that before it looks at
/// the descriptor; usermap's own kinds take the number of a CPU there.
fn map_for_reading<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<Map> {
    let (map, flags) = (map_of(host, attr, attr.u32(FD)), attr.u64(FLAGS));
    if flags & !BPF_F_LOCK == 0 {
        return map;
    }
    let names_cpu = |map: &Map| {
        let kind = map.spec().map_type;
        kind as u32 >= PRIVATE_BASE && kind.is_ring() && flags as u32 == BPF_F_CPU as u32
    };
    match map {
        Ok(map) if names_cpu(&map) => Ok(map),
        Ok(map) => Err(map.error("lookup", Reason::Flags { flags })),
        Err(_) => Err(attr.refuse("flags that no lookup takes", errno::EINVAL)),
    }
}

/// `__bpf_copy_key`: a map without keys wants no pointer to one.
fn read_key<H: Host + ?Sized>(
    host: &H,
    map: &Map,
    operation: &'static str,
    address: u64,
    key: &mut [u8],
) -> Result<()> {
    match (key.is_empty(), address) {
        (true, 0) => Ok(()),
        (true, _) => Err(map.error(operation, Reason::Invalid("the map has no keys"))),
        _ => host.read(address, key).map_err(|Fault| fault(map, operation)),
    }
}

/// Runs a command with room for a key and a value; it answers 0.
fn with_entry(map: &Map, command: impl FnOnce(&mut [u8], &mut [u8]) -> Result<()>) -> Result<i32> {
    let key_size = map.spec().key_size as usize;
    with_buffer(key_size + map.value_bytes(), |entry| {
        let (key, value) = entry.split_at_mut(key_size);
        command(key, value)
    })
}

/// Small entries are kept on the stack, since allocating costs more than a lookup.
fn with_buffer(bytes: usize, command: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<i32> {
    let mut small = [0; 256];
    let mut large = Vec::new();
    let buffer = match small.get_mut(..bytes) {
        Some(buffer) => buffer,
        None => {
            large.try_reserve_exact(bytes).map_err(|_| {
                let rule = "no memory for an entry's copy";
                Error::Command { command: "bpf(2)", rule, errno: errno::ENOMEM }
            })?;
            large.resize(bytes, 0);
            &mut large[..]
        }
    };
    command(buffer).map(|()| 0)
}
