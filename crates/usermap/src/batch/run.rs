//! How a batch runs, whoever the caller is: access rights and flags, the walk by buckets or by
//! keys, what is told at the end. The order of checks is that of `bpf_map_do_batch` and of what
//! it calls.

use super::buckets::Buckets;
use crate::abi::errno;
use crate::error::{Reason, Result};
use crate::map::Map;

pub(super) type Fallible<T> = Result<T, Reason>;

/// What a caller asks for.
pub(crate) struct Request {
    /// The most entries.
    pub count: u32,
    /// Flags for each entry: `BPF_F_LOCK` or none.
    pub elem_flags: u64,
    /// Flags of the batch; only reading a hash looks at them, and wants none.
    pub flags: u64,
}

/// The caller's count, which the kernel zeroes at the start and sets at the end.
pub(crate) trait Count {
    fn set_count(&mut self, count: u32) -> Fallible<()>;
}

/// Where entries that are read go.
pub(crate) trait Sink: Count {
    /// The token to start from.
    fn token(&mut self) -> Fallible<Option<u32>>;
    fn set_token(&mut self, token: u32) -> Fallible<()>;
    /// Takes entries, of which `at` came before.
    fn put(&mut self, at: u32, keys: &[u8], values: &[u8]) -> Fallible<()>;
}

/// Where entries to be written, or keys to be removed, come from.
pub(crate) trait Source: Count {
    /// Entry number `at`; the value is empty where only keys are meant.
    fn get(&mut self, at: u32, key: &mut [u8], value: &mut [u8]) -> Fallible<()>;
}

fn unsupported(map: &Map) -> Reason {
    map.unsupported(errno::ENOTSUPP)
}

fn check_elem_flags(map: &Map, flags: u64) -> Fallible<()> {
    map.check_lock_flag(flags, flags)
}

pub(super) fn read_name(remove: bool) -> &'static str {
    if remove { "lookup_and_delete_batch" } else { "lookup_batch" }
}

/// Reads entries, and with `remove` takes them out.
pub(crate) fn read(map: &Map, remove: bool, request: &Request, sink: &mut impl Sink) -> Result<()> {
    let kind = map.spec().map_type;
    map.may(true, remove)
        .and_then(|()| match kind {
            kind if kind.is_hash() => read_hash(map, remove, request, sink),
            kind if kind.is_array() && !remove => read_array(map, request, sink),
            _ => Err(unsupported(map)),
        })
        .map_err(|reason| map.error(read_name(remove), reason))
}

fn read_hash(map: &Map, remove: bool, request: &Request, sink: &mut impl Sink) -> Fallible<()> {
    check_elem_flags(map, request.elem_flags)?;
    if request.flags != 0 {
        return Err(Reason::Flags { flags: request.flags });
    }
    if request.count == 0 {
        return Ok(());
    }
    sink.set_count(0)?;
    let start = u64::from(sink.token()?.unwrap_or(0));
    let mut buckets = map.buckets().ok_or_else(|| unsupported(map))?;
    if start >= buckets.count() {
        return Err(Reason::NotFound);
    }
    let mut walk = Walk { bucket: start, total: 0 };
    match walk.buckets(&mut buckets, remove, request.count, sink) {
        // The caller's memory is not good: neither count nor token is tried again.
        Err(Reason::Fault) => Err(Reason::Fault),
        result => {
            sink.set_token(walk.bucket as u32)?;
            sink.set_count(walk.total)?;
            result
        }
    }
}

/// How far a batch over a hash has come.
struct Walk {
    bucket: u64,
    total: u32,
}

impl Walk {
    /// Goes on until the room or the map ends; an end of the map is `NotFound`.
    fn buckets(
        &mut self,
        buckets: &mut Buckets<'_>,
        remove: bool,
        room: u32,
        sink: &mut impl Sink,
    ) -> Fallible<()> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        loop {
            let Some(entries) = buckets.next(self.bucket)? else {
                self.bucket = buckets.count();
                return Err(Reason::NotFound);
            };
            self.bucket = entries.kernel_bucket;
            if entries.len() > room - self.total {
                // What was read before it is a success; the token is this bucket.
                let needed = entries.len();
                return if self.total > 0 { Ok(()) } else { Err(Reason::NoSpace { needed }) };
            }
            keys.clear();
            values.clear();
            let count = buckets.read(&entries, remove, &mut keys, &mut values)?;
            sink.put(self.total, &keys, &values)?;
            self.total += count;
            // With fewer than there were, once more: what is gone is gone, what failed fails again.
            if count == 0 || count == entries.len() {
                self.bucket += 1;
            }
        }
    }
}

fn read_array(map: &Map, request: &Request, sink: &mut impl Sink) -> Fallible<()> {
    check_elem_flags(map, request.elem_flags)?;
    if request.count == 0 {
        return Ok(());
    }
    sink.set_count(0)?;
    let mut last = sink.token()?.map(u32::to_ne_bytes);
    let mut value = vec![0; map.value_bytes()];
    let (mut key, mut total) = ([0; 4], 0);
    let mut end = Ok(());
    while total < request.count {
        let next = map.try_get_next_key(last.as_ref().map(|key| &key[..]), &mut key);
        if next.is_err() {
            end = next;
            break;
        }
        map.try_lookup(&key, &mut value, request.elem_flags)?;
        sink.put(total, &key, &value)?;
        last = Some(key);
        total += 1;
    }
    sink.set_count(total)?;
    if let (Some(last), true) = (last, total > 0) {
        sink.set_token(u32::from_ne_bytes(last))?;
    }
    end
}

/// Writes entries.
pub(crate) fn update(map: &Map, request: &Request, source: &mut impl Source) -> Result<()> {
    let value_bytes = map.value_bytes();
    let supported = !map.spec().map_type.is_ring();
    one_by_one(map, supported, value_bytes, request, source, |key, value| {
        map.try_update(key, value, request.elem_flags)
    })
    .map_err(|reason| map.error("update_batch", reason))
}

/// Removes entries by their keys.
pub(crate) fn delete(map: &Map, request: &Request, source: &mut impl Source) -> Result<()> {
    let supported = map.spec().map_type.is_hash();
    one_by_one(map, supported, 0, request, source, |key, _| map.try_delete(key))
        .map_err(|reason| map.error("delete_batch", reason))
}

fn one_by_one(
    map: &Map,
    supported: bool,
    value_bytes: usize,
    request: &Request,
    source: &mut impl Source,
    mut operation: impl FnMut(&[u8], &[u8]) -> Fallible<()>,
) -> Fallible<()> {
    map.may(false, true)?;
    if !supported {
        return Err(unsupported(map));
    }
    check_elem_flags(map, request.elem_flags)?;
    if request.count == 0 {
        return Ok(());
    }
    source.set_count(0)?;
    let (mut key, mut value) = (vec![0; map.spec().key_size as usize], vec![0; value_bytes]);
    let mut done = 0;
    let mut result = Ok(());
    while done < request.count && result.is_ok() {
        result = source.get(done, &mut key, &mut value).and_then(|()| operation(&key, &value));
        done += u32::from(result.is_ok());
    }
    source.set_count(done)?;
    result
}
