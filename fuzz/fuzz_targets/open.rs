//! Regions from anybody: a map's file with anything in it is opened, used, checked and repaired.
//!
//! The input: 0 and a file's bytes; or which map, and what is written where into its file: a place
//! (16 bits, in units of 4 bytes) and 4 bytes, as often as there are some.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use usermap::abi::{BPF_EXIST, BPF_NOEXIST, errno::EBUSY, map_flags};
use usermap::{Map, MapType, MapTypes, Result, Spec};

/// Entries of the maps here.
const MAX: u32 = 40;

fn spec(which: u8) -> Spec {
    let which = usize::from(which) % (MapType::ALL.len() + 2);
    if let Some(kind) = MapType::ALL.get(which) {
        let key_size = if kind.is_ring() { 0 } else { 4 };
        return Spec::new(*kind, key_size, 12, MAX).cpus(2);
    }
    if which == MapType::ALL.len() {
        return Spec::new(MapType::Hash, 13, 8, MAX).flags(map_flags::ZERO_SEED);
    }
    let mut btf = vec![0; 60];
    btf[..2].copy_from_slice(&0xeb9f_u16.to_ne_bytes());
    Spec::new(MapType::Array, 4, 8, MAX).types(MapTypes::new(btf, 1, 2))
}

fn key(map: &Map, number: u32) -> Vec<u8> {
    let mut key = number.to_ne_bytes().to_vec();
    key.resize(map.spec().key_size as usize, 3);
    key
}

/// The file of a map of which half is full.
fn half_full(which: u8) -> File {
    let map = Map::create(&spec(which)).expect("a map");
    let value = vec![7; map.value_bytes()];
    for number in 0..MAX / 2 {
        match map.spec().map_type.is_ring() {
            true => map.push(&value, 0).expect("room"),
            false => map.update(&key(&map, number), &value, 0).expect("room"),
        }
    }
    let fd = map.as_fd().expect("a file").try_clone_to_owned();
    fd.expect("a descriptor").into()
}

/// Some of everything, until a lock that somebody seems to hold has cost a second.
fn exercise(map: &Map) -> Result<()> {
    let on = |outcome: Result<()>| match outcome {
        Err(error) if error.errno() == EBUSY => Err(error),
        _ => Ok(()),
    };
    let mut value = vec![0; map.value_bytes()];
    let _ = (map.info(), map.is_frozen(), map.types(), map.lease_any());
    for number in [0, 1, 19, 1000] {
        let key = key(map, number);
        let mut next = key.clone();
        on(map.lookup(&key, &mut value, 0))?;
        on(map.get_next_key(Some(&key), &mut next))?;
        on(map.update(&key, &value, 0))?;
        on(map.inc(&key, 1, 0))?;
        on(map.delete(&key))?;
        on(map.update(&key, &value, BPF_NOEXIST))?;
        on(map.lookup_and_delete(&key, &mut value, 0))?;
        on(map.push(&value, BPF_EXIST))?;
        on(map.peek(&mut value, 0))?;
        on(map.pop(&mut value, 0))?;
    }
    on(map.for_each(|_, _| true).map(drop))?;
    on(map.retain(|key, _| key[0] & 1 == 0).map(drop))?;
    on(map.drain(|_, _| ()).map(drop))
}

/// Repaired, it has no damage but that of its types, and takes as many entries as it should.
fn repair(map: &Map) {
    let done = map.repair().expect("nobody else has it open");
    let check = map.check().expect("a check");
    assert!(check.findings.iter().all(|finding| finding.part == "types"), "{check:?}");
    assert!(check.still && check.entries == check.counted, "{check:?}");
    assert_eq!(done.entries, check.entries);
    if map.is_frozen() || !map.spec().map_type.is_hash() {
        return;
    }
    let max_entries = map.spec().max_entries;
    if max_entries > 1000 {
        return;
    }
    let value = vec![1; map.value_bytes()];
    for number in 0x7000_0000..0x7000_0000 + 2 * max_entries {
        let full = map.len() == u64::from(max_entries);
        let key = key(map, number);
        if map.lookup(&key, &mut value.clone(), 0).is_err() {
            assert_eq!(map.update(&key, &value, BPF_NOEXIST).is_err(), full);
        }
    }
    assert!(map.len() == u64::from(max_entries) || map.spec().key_size < 4);
}

fuzz_target!(|bytes: &[u8]| {
    let [which, rest @ ..] = bytes else { return };
    let file = match which {
        0 => {
            let name = c"region";
            let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC);
            let file = File::from(fd.expect("a memfd"));
            file.write_all_at(rest, 0).expect("written");
            file
        }
        which => {
            let file = half_full(which - 1);
            let words = file.metadata().expect("its size").len() / 4;
            for write in rest.as_chunks::<6>().0 {
                let at = u64::from(u16::from_le_bytes([write[0], write[1]])) * 4 % (words * 4);
                file.write_all_at(&write[2..], at).expect("written");
            }
            file
        }
    };
    let Ok(map) = Map::from_fd(OwnedFd::from(file)) else { return };
    // What a header claims must not decide how much memory is taken.
    if map.value_bytes() > 1 << 20 || map.info().bytes > 1 << 26 {
        return;
    }
    let _ = exercise(&map);
    let _ = map.check();
    repair(&map);
});
