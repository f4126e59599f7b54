//! Maps: look up, update, delete, push, pop, peek, walk.

use super::arguments::{Called, errno, fail, outcome, spend, spend_on_value, with_bytes};
use crate::run::{LoadedMap, Run, Stop, Storage, wrong};
use crate::sandbox::cage::{SCRATCH, SCRATCH_BYTES};
use usermap::{Program, Spec, ValuePointer};

/// A map that a helper works on.
pub(super) struct Opened<'r> {
    pub(super) loaded: &'r LoadedMap,
    pub(super) spec: &'r Spec,
    pub(super) program: Program<'r>,
}

impl Opened<'_> {
    pub(super) fn key_size(&self) -> usize {
        self.spec.key_size as usize
    }

    pub(super) fn value_size(&self) -> usize {
        self.spec.value_size as usize
    }
}

#[inline(always)]
pub(super) fn open<'r>(
    run: &Run<'r>,
    name: &'static str,
    argument: u64,
) -> Result<Opened<'r>, Stop> {
    let (loaded, program) = run.region_map(name, argument)?;
    match &loaded.storage {
        Storage::Map(map) => Ok(Opened { loaded, spec: map.spec(), program }),
        _ => Err(wrong(name, format!("map {} is of another kind", loaded.name)).into()),
    }
}

/// What a lookup gives: an address, or NULL. Anything else than a missing key ends the program,
/// as an error number in r0 would be taken for an address.
fn found(
    run: &Run<'_>,
    name: &'static str,
    map: &Opened<'_>,
    answer: usermap::Result<Option<ValuePointer>>,
) -> Called {
    match answer {
        Ok(Some(value)) => Ok(run.address(map.loaded, value)),
        Ok(None) => Ok(0),
        Err(error) => Err(wrong(name, error.to_string()).into()),
    }
}

/// `bpf_map_lookup_elem(map, key)`
pub(super) fn lookup(run: &mut Run<'_>, [map, key, ..]: [u64; 5]) -> Called {
    const NAME: &str = "bpf_map_lookup_elem";
    let map = open(run, NAME, map)?;
    let answer = with_bytes(run.memory, key, map.key_size(), |key| map.program.lookup(key))?;
    found(run, NAME, &map, answer)
}

/// `bpf_map_lookup_percpu_elem(map, key, cpu)`
pub(super) fn lookup_percpu(run: &mut Run<'_>, [map, key, cpu, ..]: [u64; 5]) -> Called {
    const NAME: &str = "bpf_map_lookup_percpu_elem";
    let map = open(run, NAME, map)?;
    let lookup = |key: &[u8]| map.program.lookup_percpu(key, cpu as u32);
    let answer = with_bytes(run.memory, key, map.key_size(), lookup)?;
    found(run, NAME, &map, answer)
}

/// `bpf_map_update_elem(map, key, value, flags)`
pub(super) fn update(run: &mut Run<'_>, [map, key, value, flags, _]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_update_elem", map)?;
    spend_on_value(run, map.value_size())?;
    update_one(run, &map, key, value, flags)
}

pub(super) fn update_one(
    run: &Run<'_>,
    map: &Opened<'_>,
    key: u64,
    value: u64,
    flags: u64,
) -> Called {
    let memory = run.memory;
    with_bytes(memory, key, map.key_size(), |key| {
        with_bytes(memory, value, map.value_size(), |value| {
            outcome(map.program.update(key, value, flags))
        })
    })?
}

/// `bpf_map_delete_elem(map, key)`
pub(super) fn delete(run: &mut Run<'_>, [map, key, ..]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_delete_elem", map)?;
    let size = map.key_size();
    with_bytes(run.memory, key, size, |key| outcome(map.program.delete(key)))
}

/// `bpf_map_push_elem(map, value, flags)`
pub(super) fn push(run: &mut Run<'_>, [map, value, flags, ..]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_push_elem", map)?;
    spend_on_value(run, map.value_size())?;
    let size = map.value_size();
    with_bytes(run.memory, value, size, |value| outcome(map.program.push(value, flags)))
}

/// `bpf_map_pop_elem(map, value)`: an empty one zeroes the value and gives ENOENT.
pub(super) fn pop(run: &mut Run<'_>, [map, value, ..]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_pop_elem", map)?;
    spend_on_value(run, map.value_size())?;
    take(run, &map, value, |bytes| number(map.program.pop(bytes)))
}

/// `bpf_map_peek_elem(map, value)`
pub(super) fn peek(run: &mut Run<'_>, [map, value, ..]: [u64; 5]) -> Called {
    let map = open(run, "bpf_map_peek_elem", map)?;
    spend_on_value(run, map.value_size())?;
    take(run, &map, value, |bytes| number(map.program.peek(bytes)))
}

/// Writes what `read` gives to the program's memory, which is known to be there before anything
/// is taken out of a map for it. What was not found is written as well, as zeros.
pub(super) fn take(
    run: &Run<'_>,
    map: &Opened<'_>,
    value: u64,
    read: impl FnOnce(&mut [u8]) -> Result<(), i32>,
) -> Called {
    run.memory.check(value, map.value_size() as u64, true)?;
    let mut small = [0; 64];
    let mut large;
    let bytes = match small.get_mut(..map.value_size()) {
        Some(bytes) => bytes,
        None => {
            large = vec![0; map.value_size()];
            &mut large[..]
        }
    };
    let answer = read(bytes);
    if matches!(answer, Ok(()) | Err(libc::ENOENT)) {
        run.memory.write(value, bytes)?;
    }
    Ok(answer.map_or_else(errno, |()| 0))
}

/// A map's answer with the error's number.
pub(super) fn number(answer: usermap::Result<()>) -> Result<(), i32> {
    answer.map_err(|error| error.errno())
}

/// `bpf_for_each_map_elem(map, callback, context, flags)`: the callback gets the map, a copy of
/// the key, the value's address and the context; it goes on as long as that gives 0.
pub(super) fn for_each(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    const NAME: &str = "bpf_for_each_map_elem";
    let [handle, callback, context, flags, _] = arguments;
    let map = open(run, NAME, handle)?;
    if flags != 0 {
        return fail(libc::EINVAL);
    }
    // Callbacks may walk maps as well: each walk has its key behind that of the one around it.
    let (before, bytes) = (run.scratch, map.key_size().next_multiple_of(8) as u64);
    if before + bytes > SCRATCH_BYTES {
        return Err(wrong(NAME, "too many walks in one another".to_owned()).into());
    }
    run.scratch += bytes;
    let key_address = SCRATCH + before;
    let mut stop = None;
    let walked = map.program.for_each(0, |key, value| {
        let value = run.address(map.loaded, value);
        let mut call = || {
            spend(run, 1)?;
            run.memory.write(key_address, key)?;
            run.call_back(NAME, callback, [handle, key_address, value, context, 0])
        };
        match call() {
            Ok(0) => true,
            Ok(_) => false,
            Err(reason) => {
                stop = Some(reason);
                false
            }
        }
    });
    run.scratch = before;
    match stop {
        Some(reason) => Err(reason),
        None => Ok(walked.unwrap_or_else(|error| errno(error.errno()))),
    }
}
