//! Walks over the entries: a bucket at a time, each copied as it was at one moment.
//!
//! Entries never move from one bucket to another, so a walk meets every entry that is there all
//! the time exactly once. Within a bucket the order is the kernel's bucket number, and then for
//! `ZERO_SEED` maps the newest first, as the kernel's lists are; for others the hash and the key,
//! so that a key's place does not depend on whether it is there.

use super::bucket::{LINKED, OCCUPIED, STATE};
use super::{Hash, Slot, hashing};
use crate::error::Reason;
use crate::kind::redo::seen;
use crate::mem::bytes;
use crate::mem::sync::{Ordering::*, acquire, fence};
use core::cmp::Ordering;

/// What a walk copies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Keys,
    KeysAndValues,
}

/// A bucket's entries as they were at one moment, in order.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    keys: Vec<u8>,
    values: Vec<u8>,
    entries: Vec<Found>,
    key_size: usize,
    value_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    kernel_bucket: u32,
    rank: u64,
    /// Which of `keys` and `values`.
    index: usize,
    slot: Slot,
}

impl Snapshot {
    /// The key of the entry with this number, in order.
    pub(crate) fn key(&self, number: usize) -> &[u8] {
        let start = self.entries[number].index * self.key_size;
        &self.keys[start..start + self.key_size]
    }

    /// Its value: all slots' for per-CPU maps.
    pub(crate) fn value(&self, number: usize) -> &[u8] {
        let start = self.entries[number].index * self.value_bytes;
        &self.values[start..start + self.value_bytes]
    }

    /// The same, to be changed in the copy.
    pub(crate) fn value_mut(&mut self, number: usize) -> &mut [u8] {
        let start = self.entries[number].index * self.value_bytes;
        &mut self.values[start..start + self.value_bytes]
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The first kernel bucket from this one on that has entries, and their numbers.
    pub(crate) fn first_from(&self, bucket: u32) -> Option<(u32, core::ops::Range<usize>)> {
        let start = self.entries.partition_point(|entry| entry.kernel_bucket < bucket);
        let first = self.entries.get(start)?.kernel_bucket;
        let end = self.entries.partition_point(|entry| entry.kernel_bucket <= first);
        Some((first, start..end))
    }

    fn sort(&mut self) {
        let (keys, size) = (&self.keys, self.key_size);
        let key = |entry: &Found| &keys[entry.index * size..(entry.index + 1) * size];
        self.entries.sort_unstable_by(|a, b| {
            (a.kernel_bucket, a.rank)
                .cmp(&(b.kernel_bucket, b.rank))
                .then_with(|| key(a).cmp(key(b)))
        });
    }
}

impl<'r> Hash<'r> {
    /// usermap's buckets.
    pub(crate) fn buckets(&self) -> u32 {
        self.geometry.buckets
    }

    /// Copies a bucket's entries.
    pub(crate) fn snapshot(
        &self,
        bucket: u32,
        want: Want,
        snapshot: &mut Snapshot,
    ) -> Result<(), Reason> {
        snapshot.key_size = self.geometry.key_size;
        snapshot.value_bytes = self.geometry.value_bytes;
        let head = self.head(bucket);
        loop {
            let word = acquire(&head[0]);
            snapshot.keys.clear();
            snapshot.values.clear();
            snapshot.entries.clear();
            let copied = self.copy_bucket(bucket, word, want, snapshot);
            fence(Acquire);
            if seen(head[0].load(Relaxed)) == seen(word) {
                copied?;
                snapshot.sort();
                return Ok(());
            }
        }
    }

    fn copy_bucket(
        &self,
        bucket: u32,
        word: u64,
        want: Want,
        snapshot: &mut Snapshot,
    ) -> Result<(), Reason> {
        let mut places = word & OCCUPIED;
        while places != 0 {
            let place = places.trailing_zeros();
            places &= places - 1;
            self.copy_slot(bucket, self.slot_of_place(bucket, place), word, want, snapshot)?;
        }
        let failed = self.chain(bucket, |_, number, node| {
            if node & STATE != LINKED {
                return None;
            }
            self.copy_slot(bucket, self.slot_of_node(number), word, want, snapshot).err()
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn copy_slot(
        &self,
        bucket: u32,
        slot: Slot,
        word: u64,
        want: Want,
        snapshot: &mut Snapshot,
    ) -> Result<(), Reason> {
        let index = snapshot.entries.len();
        let start = snapshot.keys.len();
        snapshot.keys.resize(start + snapshot.key_size, 0);
        bytes::load(self.key(slot), &mut snapshot.keys[start..]);
        let hash = self.geometry.hash(&snapshot.keys[start..]);
        if hash.bucket != bucket {
            // A writer was here meanwhile; or else the chain leads into another bucket's.
            return Err(Reason::Corrupt("an entry is in a bucket that is not its key's"));
        }
        let rank = match self.stamp(slot) {
            Some(stamp) => u64::MAX - stamp.load(Relaxed),
            None => hash.whole,
        };
        if want == Want::KeysAndValues {
            let start = snapshot.values.len();
            snapshot.values.resize(start + snapshot.value_bytes, 0);
            self.load_value(word, slot, &mut snapshot.values[start..])?;
        }
        snapshot.entries.push(Found { kernel_bucket: hash.kernel_bucket, rank, index, slot });
        Ok(())
    }

    /// Copies a slot's value out, under the lock word `word`.
    #[inline(always)]
    pub(crate) fn load_value(&self, word: u64, slot: Slot, value: &mut [u8]) -> Result<(), Reason> {
        if !self.geometry.per_cpu {
            bytes::load(self.value(slot, 0), value);
            return Ok(());
        }
        let each = self.geometry.redo.value_words * 8;
        for (cpu, value) in value.chunks_mut(each).enumerate() {
            bytes::load(self.source(word, slot, cpu as u32)?, value);
        }
        Ok(())
    }

    /// Calls `visit` with each entry's key and slot until it gives false.
    pub(crate) fn for_each_slot(
        &self,
        mut visit: impl FnMut(&[u8], Slot) -> bool,
    ) -> Result<(), Reason> {
        self.for_each(Want::Keys, |snapshot, number| {
            visit(snapshot.key(number), snapshot.entries[number].slot)
        })
    }

    /// Calls `visit` with each entry's snapshot and its number there until it gives false.
    pub(crate) fn for_each(
        &self,
        want: Want,
        mut visit: impl FnMut(&mut Snapshot, usize) -> bool,
    ) -> Result<(), Reason> {
        let mut snapshot = Snapshot::default();
        let mut bucket = self.next_occupied(0);
        while bucket < self.geometry.buckets {
            self.snapshot(bucket, want, &mut snapshot)?;
            if !(0..snapshot.len()).all(|number| visit(&mut snapshot, number)) {
                return Ok(());
            }
            bucket = self.next_occupied(bucket + 1);
        }
        Ok(())
    }

    /// The first bucket from this one on that has entries, or the number of buckets.
    pub(crate) fn next_occupied(&self, from: u32) -> u32 {
        (from..self.geometry.buckets)
            .find(|bucket| !self.is_empty_bucket(*bucket))
            .unwrap_or(self.geometry.buckets)
    }

    /// `BPF_MAP_GET_NEXT_KEY`. For a key that is not there the first key, as in the kernel; or
    /// with `resume` the key that would come after it, where the order tells that.
    pub(crate) fn next_key(
        &self,
        key: Option<&[u8]>,
        resume: bool,
        next: &mut [u8],
    ) -> Result<(), Reason> {
        let mut snapshot = Snapshot::default();
        let mut bucket = 0;
        if let Some(key) = key {
            let hash = self.geometry.hash(key);
            self.snapshot(hash.bucket, Want::Keys, &mut snapshot)?;
            if let Some(after) = self.after(&snapshot, hash, key, resume) {
                if after < snapshot.len() {
                    next.copy_from_slice(snapshot.key(after));
                    return Ok(());
                }
                bucket = hash.bucket + 1;
            }
        }
        loop {
            bucket = self.next_occupied(bucket);
            if bucket >= self.geometry.buckets {
                return Err(Reason::NotFound);
            }
            self.snapshot(bucket, Want::Keys, &mut snapshot)?;
            if snapshot.len() > 0 {
                next.copy_from_slice(snapshot.key(0));
                return Ok(());
            }
            bucket += 1;
        }
    }

    /// The number of the entry after a key's in its bucket, if that can be told.
    fn after(
        &self,
        snapshot: &Snapshot,
        hash: hashing::Hash,
        key: &[u8],
        resume: bool,
    ) -> Option<usize> {
        let here = (0..snapshot.len()).find(|number| snapshot.key(*number) == key);
        if let Some(number) = here {
            return Some(number + 1);
        }
        if !resume || self.geometry.seed.is_none() {
            return None;
        }
        let at = (hash.kernel_bucket, hash.whole);
        Some(
            (0..snapshot.len())
                .take_while(|number| {
                    let entry = &snapshot.entries[*number];
                    let order = (entry.kernel_bucket, entry.rank).cmp(&at);
                    order.then_with(|| snapshot.key(*number).cmp(key)) == Ordering::Less
                })
                .count(),
        )
    }
}
