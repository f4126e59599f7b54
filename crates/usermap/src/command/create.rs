//! `BPF_MAP_CREATE`: from the attribute's fields to a specification, in the order in which
//! `map_create` looks at them.

use super::attr::Attr;
use super::{Fault, Host, Types, copy_in};
use crate::abi::{MapType, errno, map_flags};
use crate::error::{Name, Result};
use crate::spec::Spec;

const MAP_TYPE: usize = 0;
const KEY_SIZE: usize = 4;
const VALUE_SIZE: usize = 8;
const MAX_ENTRIES: usize = 12;
const MAP_FLAGS: usize = 16;
const NUMA_NODE: usize = 24;
const MAP_NAME: usize = 28;
const MAP_IFINDEX: usize = 44;
const BTF_FD: usize = 48;
const BTF_KEY_TYPE_ID: usize = 52;
const BTF_VALUE_TYPE_ID: usize = 56;
const BTF_VMLINUX_VALUE_TYPE_ID: usize = 60;
const MAP_EXTRA: usize = 64;
const MAP_TOKEN_FD: usize = 76;
const EXCL_PROG_HASH: usize = 80;
const EXCL_PROG_HASH_SIZE: usize = 88;
const END: usize = 92;

/// Bytes of a program's SHA-256.
const HASH_BYTES: usize = 32;

/// The network interface that every machine has.
const LOOPBACK: u32 = 1;

pub(super) fn create<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    attr.ends_at(END)?;
    check_type_ids(attr)?;
    let mut spec = spec_of(host, attr)?;
    spec.check_fields()?;
    check_token(host, attr)?;
    check_offload(attr, spec.map_type)?;
    spec.check_size()?;
    spec.name = Name::from_bytes(&attr.array::<16>(MAP_NAME))?;
    let types = types_of(host, attr, &spec)?;
    spec.spin_lock = types.and_then(|types| types.spin_lock);
    spec.check_spin_lock()?;
    check_exclusive(host, attr)?;
    let map = host.create(&spec, types.as_ref())?;
    if let Some(types) = types {
        host.typed(&map, types);
    }
    host.install(map)
}

fn check_type_ids(attr: &Attr) -> Result<()> {
    if attr.u32(BTF_VMLINUX_VALUE_TYPE_ID) != 0 {
        return Err(attr.invalid("btf_vmlinux_value_type_id is for struct_ops"));
    }
    if attr.u32(BTF_KEY_TYPE_ID) != 0 && attr.u32(BTF_VALUE_TYPE_ID) == 0 {
        return Err(attr.invalid("btf_key_type_id without btf_value_type_id"));
    }
    Ok(())
}

/// All fields but the name, which the kernel looks at later.
fn spec_of<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<Spec> {
    let map_type = MapType::from_id(attr.u32(MAP_TYPE))
        .ok_or_else(|| attr.invalid("map_type is no kind of map that usermap has"))?;
    let field = |offset| attr.u32(offset);
    let mut spec = Spec::new(map_type, field(KEY_SIZE), field(VALUE_SIZE), field(MAX_ENTRIES));
    spec.flags = field(MAP_FLAGS) & !map_flags::TOKEN_FD;
    spec.numa_node = field(NUMA_NODE);
    spec.map_extra = attr.u64(MAP_EXTRA);
    spec.cpus = if map_type.is_per_cpu() { host.cpus() } else { 0 };
    Ok(spec)
}

/// There are no tokens here, so a descriptor of one is something else or nothing.
fn check_token<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<()> {
    if attr.u32(MAP_FLAGS) & map_flags::TOKEN_FD == 0 {
        return Ok(());
    }
    match host.map(attr.u32(MAP_TOKEN_FD) as i32) {
        Err(bad) => Err(attr.refuse("map_token_fd is no token", bad.errno())),
        Ok(_) => Err(attr.invalid("map_token_fd is a map")),
    }
}

/// No network card keeps usermap's maps; the kernel says EOPNOTSUPP of one that keeps none.
fn check_offload(attr: &Attr, map_type: MapType) -> Result<()> {
    match (attr.u32(MAP_IFINDEX), map_type) {
        (0, _) => Ok(()),
        (index, MapType::Hash | MapType::Array) if has_interface(index) => {
            Err(attr.refuse("the network interface keeps no maps", errno::EOPNOTSUPP))
        }
        _ => Err(attr.invalid("no network interface that keeps maps")),
    }
}

fn has_interface(index: u32) -> bool {
    let is_it = |folder: std::fs::DirEntry| {
        let found = std::fs::read_to_string(folder.path().join("ifindex"));
        found.is_ok_and(|found| found.trim().parse() == Ok(index))
    };
    index == LOOPBACK
        || std::fs::read_dir("/sys/class/net")
            .is_ok_and(|interfaces| interfaces.flatten().any(is_it))
}

/// `map_check_btf`: the types must have the sizes of key and value.
fn types_of<H: Host + ?Sized>(host: &H, attr: &Attr, spec: &Spec) -> Result<Option<Types>> {
    let (key, value) = (attr.u32(BTF_KEY_TYPE_ID), attr.u32(BTF_VALUE_TYPE_ID));
    if value == 0 {
        return Ok(None);
    }
    let types = host
        .types(attr.u32(BTF_FD) as i32, key, value)
        .map_err(|bad| attr.refuse("btf_fd is no BTF with these types", bad.errno()))?;
    match types.key {
        Some((_, size)) if size != spec.key_size => {
            return Err(attr.invalid("the key's type has another size than the key"));
        }
        // Only the types of per-CPU arrays are not looked at otherwise, and arrays of one section
        // of variables have no type of key.
        None if spec.map_type != MapType::PerCpuArray
            && !(spec.map_type == MapType::Array && spec.max_entries == 1 && types.section) =>
        {
            return Err(attr.invalid("the key has no type"));
        }
        _ => {}
    }
    if types.value.1 != spec.value_size {
        return Err(attr.invalid("the value's type has another size than the value"));
    }
    Ok(Some(types))
}

/// A map can be meant for one program, by its hash. usermap has no signed programs to hold
/// against it, so the field is checked and has no effect.
fn check_exclusive<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<()> {
    let (address, size) = (attr.u64(EXCL_PROG_HASH), attr.u32(EXCL_PROG_HASH_SIZE));
    let wanted = if address == 0 { 0 } else { HASH_BYTES };
    if size as usize != wanted {
        return Err(attr.invalid("excl_prog_hash is the address of 32 bytes, or nothing"));
    }
    let mut hash = [0; HASH_BYTES];
    copy_in(host, address, &mut hash[..wanted]).map_err(|Fault| attr.fault())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::{BASE, Mock};
    use super::super::{bpf, command};
    use super::*;

    /// The errno of creating a hash of 4 entries with these bytes changed.
    fn verdict(changes: &[(usize, u32)]) -> i32 {
        let host = Mock::new(4096);
        for (offset, field) in [(0, 1), (4, 4), (8, 8), (12, 0)].iter().chain(changes) {
            host.write(BASE + *offset as u64, &u32::to_ne_bytes(*field)).unwrap();
        }
        bpf(&host, command::MAP_CREATE, BASE, 168).unwrap_err().errno()
    }

    /// Everything is tried on a map that is wrong at the end (its BTF) or at once (no entries).
    #[test]
    fn order_of_checks() {
        const NAME: (usize, u32) = (MAP_NAME, u32::from_ne_bytes(*b"a b\0"));
        const BTF: [(usize, u32); 2] = [(BTF_FD, u32::MAX), (BTF_VALUE_TYPE_ID, 1)];
        const FOUR: (usize, u32) = (MAX_ENTRIES, 4);
        const HUGE: (usize, u32) = (MAX_ENTRIES, u32::MAX);
        for (changes, errno) in [
            (&[][..], errno::EINVAL),
            (&[FOUR, BTF[0], BTF[1]], errno::EBADF),
            (&[FOUR, BTF[0], BTF[1], NAME], errno::EINVAL),
            (&[HUGE, BTF[0], BTF[1], NAME], errno::E2BIG),
            (&[FOUR, BTF[0], BTF[1], (BTF_FD, 3)], errno::EINVAL),
            (&[FOUR, NAME, (MAP_IFINDEX, 1)], errno::EOPNOTSUPP),
            (&[HUGE, (MAP_IFINDEX, 9999)], errno::EINVAL),
            (&[(MAP_IFINDEX, 1)], errno::EINVAL),
            (&[FOUR, (MAP_FLAGS, 1 << 16), (MAP_TOKEN_FD, 9)], errno::EBADF),
            (&[(MAP_FLAGS, 1 << 16), (MAP_TOKEN_FD, 9)], errno::EINVAL),
            (&[FOUR, (EXCL_PROG_HASH, 8)], errno::EINVAL),
            (&[FOUR, (EXCL_PROG_HASH_SIZE, 32)], errno::EINVAL),
            (&[FOUR, (EXCL_PROG_HASH, 8), (EXCL_PROG_HASH_SIZE, 32)], errno::EFAULT),
            (&[FOUR, (BTF_KEY_TYPE_ID, 1)], errno::EINVAL),
            (&[FOUR, (BTF_VMLINUX_VALUE_TYPE_ID, 1)], errno::EINVAL),
            (&[FOUR, (MAP_EXTRA, 1)], errno::EINVAL),
            (&[FOUR, (MAP_TYPE, 0)], errno::EINVAL),
            (&[FOUR, (END, 1)], errno::EINVAL),
        ] {
            assert_eq!(verdict(changes), errno, "{changes:?}");
        }
    }
}
