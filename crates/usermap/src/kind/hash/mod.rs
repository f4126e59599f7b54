//! Hash maps: `HASH` and `PERCPU_HASH`.
//!
//! # Layout
//!
//! ```text
//! control (programs cannot reach it)
//!   heads    4 words a bucket:
//!              0  lock: holder 63..52 | version 51..21 | redo 20 | occupied 15..0
//!              1  first overflow node + 1 in 63..32 | filter of the chain 31..0
//!              2  tags of places 0..7      3  tags of places 8..15
//!   nodes    1 word an overflow node: owner 63..52 | state 41..40 | tag 39..32 | next + 1 in 31..0
//!   stamps   ZERO_SEED only: 1 word a place, when the element came
//!   redo     PERCPU_HASH only: a buffer a writer (`kind::redo`)
//! entries (a new page)
//!   HASH          key, value; each rounded up to 8 bytes; 16 places a bucket, then the nodes'
//!   PERCPU_HASH   all keys, then CPU 0's values, then CPU 1's, ...
//! ```
//!
//! There is a bucket for every 9 entries, so few ever overflow; the rest goes to nodes, of which
//! there are as many as it takes for keys that all fall into one bucket. All zeros is an empty map.
//!
//! The filter has bit `tag % 32` for each node of the chain. So nearly every key that is not there is
//! known not to be in the chain, which is not followed then. It may have more bits: the store that
//! links a node sets its bit, too, but that of a node that was unlinked goes a store later.
//!
//! # States and locking
//!
//! A place of a bucket holds an entry if its bit in `occupied` is set, a node if it is linked. An
//! entry that is visible never changes, except for values that are changed in place: through
//! pointers, by increments and the host's updates (one word), and per CPU (one word, or by redo). A
//! writer locks the bucket, prepares a free place or node, and commits with one store:
//!
//! | change | commit |
//! |---|---|
//! | insert into a place, replace there, delete there | the lock word: occupied, next version, free |
//! | insert a node, replace it, delete it | the link to it |
//! | change in place | the word, or the redo bit |
//!
//! Inserts leave one place free, so that a replacement always has a place to go to. Every commit
//! but one-word changes in place is followed by a new version before anything can be used again,
//! so a reader that finds the version unchanged after it copied has read one entry, whole. Readers
//! never wait: they start again only when a change was committed meanwhile.
//!
//! Programs' machine code has lookups of its own, made from [`HashLayout`]: what is said here of
//! heads, tags, keys and the hash cannot change without them (`usermap-vm`, `jit/hash.rs`).

mod bucket;
#[cfg(all(test, not(any(loom, miri))))]
mod chains;
mod change;
mod check;
#[cfg(all(test, not(any(loom, miri))))]
mod counting;
mod hashing;
mod layout;
mod lock;
mod mend;
mod quick;
mod read;
mod reader;
mod repair;
mod sized;
#[cfg(test)]
mod soundness;
#[cfg(all(test, not(any(loom, miri))))]
mod spread;
#[cfg(all(test, not(any(loom, miri))))]
mod starvation;
mod walk;

pub use layout::HashLayout;
pub(crate) use reader::Reader;
pub(crate) use walk::{Snapshot, Want};

use super::{Extent, redo::Redo};
use crate::error::Reason;
use crate::header;
use crate::mem::Region;
use crate::mem::buckets::{Buckets, HEAD, PLACES};
use crate::mem::count::Count;
use crate::mem::owner::{self, Owners};
use crate::mem::sync::AtomicU64;
use crate::spec::Spec;

/// How many places of a bucket inserts use; in models one, so that the second entry comes into a node.
const USED_PLACES: u32 = if cfg!(loom) { 1 } else { 15 };
/// Entries of a full map, for each bucket.
const LOAD: u32 = if cfg!(loom) { 1 } else { 9 };

/// Where the parts of a hash map are, and how its keys are hashed.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    ready: hashing::Seed,
    /// Whether the short ways are for this map.
    short: bool,
    key_size: usize,
    key_words: usize,
    pub(crate) value_bytes: usize,
    max_entries: u32,
    kernel_buckets: u64,
    kernel_mask: u32,
    buckets: u32,
    /// usermap's buckets for every kernel bucket, times 2³².
    bucket_scale: u64,
    nodes: u32,
    /// `None` for `ZERO_SEED`.
    seed: Option<[u64; 2]>,
    per_cpu: bool,
    heads: usize,
    node_words: usize,
    stamps: usize,
    /// Word of the first key, and words from one to the next.
    keys: usize,
    key_stride: usize,
    /// Values, and redo buffers where there are any.
    pub(crate) redo: Redo,
}

impl Geometry {
    /// The geometry of a map of this specification, from word `start` on; and all words in all.
    /// Nothing if that is more than a file can have.
    pub(crate) fn new(
        spec: &Spec,
        seed: Option<[u64; 2]>,
        start: u64,
    ) -> Option<(Geometry, usize)> {
        let key_words = u64::from(spec.key_size).div_ceil(8);
        let value_words = u64::from(spec.value_size).div_ceil(8);
        let per_cpu = spec.map_type.is_per_cpu();
        let cpus = if per_cpu { spec.cpus } else { 1 };
        let kernel_buckets = u64::from(spec.max_entries).next_power_of_two();
        let buckets = u64::from(spec.max_entries.div_ceil(LOAD));
        // Replacing a node takes another one for a moment, for every writer at once.
        let spare = u64::from(owner::LIMIT).min(u64::from(spec.max_entries));
        let nodes = match u64::from(spec.max_entries).checked_sub(u64::from(USED_PLACES)) {
            // A bucket that inserts may not fill any more has all entries that there can be.
            None => 0,
            Some(nodes) => nodes + spare,
        };
        let places = buckets * PLACES as u64 + nodes;

        let mut extent = Extent::from(start);
        let heads = extent.take(buckets, HEAD as u64);
        let node_words = extent.take(nodes, 1);
        let stamps = extent.take(if seed.is_none() { places } else { 0 }, 1);
        let buffer_words = if per_cpu { value_words * u64::from(cpus) } else { 0 };
        let buffers = extent.take(u64::from(owner::LIMIT) + 1, buffer_words);
        extent.page();
        let key_stride = if per_cpu { key_words } else { key_words + value_words };
        let keys = extent.take(places, key_stride);
        let (values, stride, plane) = if per_cpu {
            extent.page();
            let plane = places.checked_mul(value_words)?.next_multiple_of(super::PAGE_WORDS);
            (extent.take(u64::from(cpus), plane), value_words, plane)
        } else {
            (keys + key_words as usize, key_stride, 0)
        };
        let words = extent.total()?;
        let redo = Redo {
            buffers,
            buffer_words: buffer_words as usize,
            values,
            stride: stride as usize,
            value_words: value_words as usize,
            plane: plane as usize,
            cpus,
            entries: places,
            spin_lock: None,
        };
        let bucket_scale = buckets << (32 - kernel_buckets.trailing_zeros().min(32));
        let geometry = Geometry {
            ready: hashing::Seed::new(seed),
            short: seed.is_some() && spec.spin_lock.is_none(),
            key_size: spec.key_size as usize,
            key_words: key_words as usize,
            value_bytes: spec.value_bytes(cpus) as usize,
            max_entries: spec.max_entries,
            kernel_buckets,
            kernel_mask: (kernel_buckets - 1) as u32,
            bucket_scale,
            buckets: u32::try_from(buckets).ok()?,
            nodes: u32::try_from(nodes).ok()?,
            seed,
            per_cpu,
            heads,
            node_words,
            stamps,
            keys,
            key_stride: key_stride as usize,
            redo,
        };
        Some((geometry, words))
    }

    /// Finds the buckets in a region for the short ways, if they are for this map.
    pub(crate) fn find_buckets(&self, region: &mut Region) {
        if self.short {
            let mask_and_scale = (self.kernel_mask.into(), self.bucket_scale);
            region.find_buckets(self.heads, self.keys, self.key_stride, mask_and_scale);
        }
    }

    /// The first word of the pages that values are in.
    #[inline(always)]
    pub(crate) fn value_pages(&self) -> usize {
        if self.per_cpu { self.redo.values } else { self.keys }
    }

    /// Buckets as the kernel has them: what batch tokens count.
    pub(crate) fn kernel_buckets(&self) -> u64 {
        self.kernel_buckets
    }
}

/// A hash map in a region.
#[derive(Clone, Copy)]
pub(crate) struct Hash<'r> {
    pub(crate) words: &'r [AtomicU64],
    pub(crate) geometry: &'r Geometry,
    /// For the short ways only; nothing in a map that they are not for.
    pub(crate) buckets: &'r Option<Buckets>,
}

impl<'r> Hash<'r> {
    /// The number of entries.
    #[inline(always)]
    pub(crate) fn count(&self) -> Count<'r> {
        header::count(self.words, self.geometry.max_entries)
    }

    /// Whether keys and values, as lookups and updates move them, have these lengths.
    #[inline(always)]
    pub(crate) fn has_sizes(&self, key: usize, value: usize) -> bool {
        key == self.geometry.key_size && value == self.geometry.value_bytes
    }

    /// Before pointers to values are given out.
    #[inline]
    pub(crate) fn lend(&self, own: Option<u32>) -> Result<(), Reason> {
        header::lent(self.words).lend(self.owners(), own, self)
    }

    #[inline(always)]
    fn owners(&self) -> Owners<'r> {
        header::owners(self.words)
    }
}

/// A place of a bucket, or a node, as one number: places of all buckets first.
pub(crate) type Slot = u64;

/// What an update writes, and to which CPU slots.
#[derive(Clone, Copy)]
pub(crate) enum Value<'v> {
    /// The value of a map that is not per CPU.
    Whole(&'v [u8]),
    /// The same from a program, whose pointers to the old value keep it (`htab_map_update_elem`).
    Beside(&'v [u8]),
    /// All slots' values, each rounded up to 8 bytes.
    AllCpus(&'v [u8]),
    /// One slot's; a new entry's other slots become 0.
    OneCpu(u32, &'v [u8]),
}

/// Whether a key must be there, must not, or may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// `BPF_ANY`
    Any,
    /// `BPF_NOEXIST`
    Absent,
    /// `BPF_EXIST`
    Present,
}

impl Presence {
    /// Of an update's flags, without `BPF_F_LOCK`.
    pub(crate) fn from_flags(flags: u64) -> Result<Presence, Reason> {
        match flags {
            crate::abi::BPF_ANY => Ok(Presence::Any),
            crate::abi::BPF_NOEXIST => Ok(Presence::Absent),
            crate::abi::BPF_EXIST => Ok(Presence::Present),
            flags => Err(Reason::Flags { flags }),
        }
    }
}
