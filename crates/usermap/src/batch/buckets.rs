//! What batches build on: a hash's entries by the kernel's buckets.

use crate::error::Reason;
use crate::kind::hash::{Hash, Snapshot, Want};
use crate::map::{Map, Tried, View};
use core::ops::Range;

/// A walk over the kernel's buckets of a hash. usermap's buckets each hold a run of them, and are
/// copied once for all of the run.
pub(crate) struct Buckets<'m> {
    map: &'m Map,
    hash: Hash<'m>,
    snapshot: Snapshot,
    /// Which of usermap's buckets was copied.
    copied: Option<u32>,
}

/// The entries of one kernel bucket.
pub(crate) struct Entries {
    pub(crate) kernel_bucket: u64,
    range: Range<usize>,
}

impl Entries {
    pub(crate) fn len(&self) -> u32 {
        self.range.len() as u32
    }
}

impl Map {
    /// A walk over the kernel's buckets; nothing for kinds that have none.
    pub(crate) fn buckets(&self) -> Option<Buckets<'_>> {
        let View::Hash(hash) = self.inner.view() else { return None };
        Some(Buckets { map: self, hash, snapshot: Snapshot::default(), copied: None })
    }
}

impl Buckets<'_> {
    /// How many there are: `roundup_pow_of_two(max_entries)`.
    pub(crate) fn count(&self) -> u64 {
        self.hash.geometry.kernel_buckets()
    }

    /// The first bucket from this one on that has entries.
    pub(crate) fn next(&mut self, from: u64) -> Tried<Option<Entries>> {
        if from >= self.count() {
            return Ok(None);
        }
        let mut bucket = self.hash.geometry.bucket_of(from as u32);
        while bucket < self.hash.buckets() {
            if self.copied != Some(bucket) {
                self.hash.snapshot(bucket, Want::KeysAndValues, &mut self.snapshot)?;
                self.copied = Some(bucket);
            }
            if let Some((kernel_bucket, range)) = self.snapshot.first_from(from as u32) {
                return Ok(Some(Entries { kernel_bucket: kernel_bucket.into(), range }));
            }
            bucket = self.hash.next_occupied(bucket + 1);
        }
        Ok(None)
    }

    /// Appends entries in the kernel's order, and with `delete` takes them out of the map; gives
    /// how many. Those that somebody else took meanwhile are left out. With fewer than there are
    /// the bucket is not done.
    pub(crate) fn read(
        &self,
        entries: &Entries,
        delete: bool,
        keys: &mut Vec<u8>,
        values: &mut Vec<u8>,
    ) -> Tried<u32> {
        let mut count = 0;
        for number in entries.range.clone() {
            let (key, start) = (self.snapshot.key(number), values.len());
            values.extend_from_slice(self.snapshot.value(number));
            if delete {
                // The value as it is when the entry goes, which is what is taken.
                let mut read = Ok(());
                let deleted = self.hash.delete(self.map.inner.writer()?, key, |hash, slot| {
                    read = hash.load_value(0, slot, &mut values[start..]);
                });
                if let Err(reason) = deleted.and(read) {
                    values.truncate(start);
                    match reason {
                        Reason::NotFound => continue,
                        // What was taken before must reach the caller; the next call tells why.
                        _ if count > 0 => return Ok(count),
                        _ => return Err(reason),
                    }
                }
            }
            self.map.hide_lock(&mut values[start..]);
            keys.extend_from_slice(key);
            count += 1;
        }
        Ok(count)
    }
}
