//! Helpers that Linux lacks: increments, look up and delete, batches. `include/usermap_helpers.h`
//! declares them.

use super::arguments::{Called, errno, outcome, spend, spend_on_value, with_bytes};
use super::map::{Opened, number, open, take, update_one};
use crate::run::{Run, Stop, wrong};

/// `bpf_map_inc(map, key, delta, flags)`
pub(super) fn inc(run: &mut Run<'_>, [map, key, delta, flags, _]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_inc", map)?;
    with_bytes(run.memory, key, map.key_size(), |key| outcome(map.program.inc(key, delta, flags)))
}

/// `bpf_map_inc_and_return(map, key, delta, value, flags)`: writes the sum to the 8 bytes at
/// `value`, which an error leaves as they are.
pub(super) fn inc_and_return(
    run: &mut Run<'_>,
    [map, key, delta, value, flags]: [u64; 5],
) -> Called {
    let map = open(run, "bpf_map_inc_and_return", map)?;
    run.memory.check(value, 8, true)?;
    let add = |key: &[u8]| map.program.inc_and_return(key, delta, flags);
    match with_bytes(run.memory, key, map.key_size(), add)? {
        Ok(sum) => {
            run.memory.store(value, 8, sum)?;
            Ok(0)
        }
        Err(error) => Ok(errno(error.errno())),
    }
}

/// `bpf_map_lookup_and_delete_elem(map, key, value)`; a missing key zeroes the value.
pub(super) fn lookup_and_delete(run: &mut Run<'_>, [map, key, value, ..]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_lookup_and_delete_elem", map)?;
    spend_on_value(run, map.value_size())?;
    lookup_and_delete_one(run, &map, key, value)
}

fn lookup_and_delete_one(run: &Run<'_>, map: &Opened<'_>, key: u64, value: u64) -> Called {
    with_bytes(run.memory, key, map.key_size(), |key| {
        take(run, map, value, |bytes| number(map.program.lookup_and_delete(key, bytes)))
    })?
}

/// `bpf_map_lookup_batch(map, keys, values, count, flags)`: the values of the keys given.
pub(super) fn lookup_batch(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    const NAME: &str = "bpf_map_lookup_batch";
    let [map, keys, values, count, flags] = arguments;
    let map = keyed(run, NAME, map)?;
    if flags != 0 {
        return refuse(run, count, libc::EINVAL);
    }
    let (key_size, value_size) = (map.key_size() as u64, map.value_size() as u64);
    let cost = map.value_size();
    each(run, count, cost, |run, at| {
        let key = keys.wrapping_add(at * key_size);
        with_bytes(run.memory, key, map.key_size(), |key| {
            take(run, &map, values.wrapping_add(at * value_size), |bytes| {
                match map.program.lookup(key) {
                    Ok(Some(value)) => number(map.program.load(value, 0, bytes)),
                    Ok(None) => Err(libc::ENOENT),
                    Err(error) => Err(error.errno()),
                }
            })
        })?
    })
}

/// `bpf_map_update_batch(map, keys, values, count, flags)`
pub(super) fn update_batch(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    let [map, keys, values, count, flags] = arguments;
    let map = keyed(run, "bpf_map_update_batch", map)?;
    let (key_size, value_size) = (map.key_size() as u64, map.value_size() as u64);
    let cost = map.value_size();
    each(run, count, cost, |run, at| {
        let (key, value) = (at * key_size, at * value_size);
        update_one(run, &map, keys.wrapping_add(key), values.wrapping_add(value), flags)
    })
}

/// `bpf_map_delete_batch(map, keys, count, flags)`
pub(super) fn delete_batch(run: &mut Run<'_>, [map, keys, count, flags, _]: [u64; 5]) -> Called {
    let map = keyed(run, "bpf_map_delete_batch", map)?;
    if flags != 0 {
        return refuse(run, count, libc::EINVAL);
    }
    let key_size = map.key_size();
    each(run, count, 0, |run, at| {
        let key = keys.wrapping_add(at * key_size as u64);
        with_bytes(run.memory, key, key_size, |key| outcome(map.program.delete(key)))
    })
}

/// A map with keys.
fn keyed<'r>(run: &Run<'r>, name: &'static str, argument: u64) -> Result<Opened<'r>, Stop> {
    let map = open(run, name, argument)?;
    match map.spec.map_type.is_ring() {
        true => Err(wrong(name, format!("map {} has no keys", map.loaded.name)).into()),
        false => Ok(map),
    }
}

/// Gives an error, and a count of 0.
fn refuse(run: &Run<'_>, count: u64, number: i32) -> Called {
    run.memory.store(count, 4, 0)?;
    Ok(errno(number))
}

/// Does `one` for each of `*count` entries until it fails, and sets `*count` to how many it was
/// done for. Nothing is taken for them but from the budget, with each value's bytes: arrays too
/// long end in a fault.
fn each(
    run: &mut Run<'_>,
    count: u64,
    bytes: usize,
    mut one: impl FnMut(&Run<'_>, u64) -> Called,
) -> Called {
    run.memory.check(count, 4, true)?;
    let entries = run.memory.load(count, 4)?;
    let (mut done, mut given) = (0, 0);
    while done < entries && given == 0 {
        spend(run, 1)?;
        spend_on_value(run, bytes)?;
        given = one(run, done)?;
        done += u64::from(given == 0);
    }
    run.memory.store(count, 4, done)?;
    Ok(given)
}
