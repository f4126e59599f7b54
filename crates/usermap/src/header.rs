//! The first page of every region: what it is, and the words that all of a map shares.
//!
//! ```text
//! word  0       magic "usermap" and a NUL
//!       1       checksum of words 0 and 2..63 in 63..32 | layout version in 31..0
//!       2       map_flags | map type            (upper half | lower half)
//!       3       value_size | key_size
//!       4       CPU slots | max_entries
//!       5       map_extra
//!       6, 7    name
//!       8, 9    seed of the hash (0 for ZERO_SEED)
//!      10       words of the region
//!      11       offset of a spin lock in the value + 1, 0 for none | numa_node
//!      12       id
//!      13       word of the region where the types start, 0 if there are none
//!      14       checksum of the types | bytes of the types
//!      15       number of the value's type | number of the key's type
//!      16       1 if pages of 2 MiB were asked for
//!      17..63   0
//!      64       entries that no writer has in its share, 65 the lock for taking room (`mem::count`)
//!      66       whether programs have pointers to values (`mem::lent`)
//!      67       the sole writer (`mem::bias`)
//!      72       elements that came so far (ZERO_SEED)
//!      80       highest number in the table of writers
//!      88       where to look for a free node
//!      96       1 if frozen
//!     104       the errno with which pages of 2 MiB were refused, 0 if they were not
//!               (each of 64, 72, 80, ... starts a cache line)
//!     512...    the table of writers (`mem::owner`), then the kind's own parts, then leases and
//!               types where there are any (`layout`)
//! ```
//!
//! Words 0 to 63 are written once, before anybody else can see the region. Nothing else in a
//! region is needed to find its way in it: all places follow from the specification and from
//! how long the types are.

use crate::abi::{MapType, map_flags};
use crate::error::{Error, Name, Result};
use crate::layout::Layout;
use crate::mem::bias::Bias;
use crate::mem::bytes;
use crate::mem::count::Count;
use crate::mem::lent::Lent;
use crate::mem::owner::{self, Owners};
use crate::mem::sync::{AtomicU64, Ordering::Relaxed};
use crate::spec::Spec;
use crate::types::{self, MapTypes};
use std::path::Path;

const MAGIC: u64 = u64::from_le_bytes(*b"usermap\0");
/// Changes whenever a region of before could be misread.
pub(crate) const LAYOUT_VERSION: u32 = 5;

/// Words that never change.
pub(crate) const FIXED: usize = 64;
const BASE: usize = 64;
const TAKING: usize = 65;
const LENT: usize = 66;
pub(crate) const BIAS: usize = 67;
pub(crate) const STAMP: usize = 72;
const HIGHEST: usize = 80;
pub(crate) const HINT: usize = 88;
pub(crate) const FROZEN: usize = 96;
pub(crate) const REFUSED: usize = 104;
// Models are small: every word of theirs is made anew for every order of events.
const TABLE: usize = if cfg!(loom) { 112 } else { 512 };
/// Where a kind's own parts start.
pub(crate) const KIND: usize = TABLE + owner::TABLE;

/// The region's table of writers.
#[inline(always)]
pub(crate) fn owners(words: &[AtomicU64]) -> Owners<'_> {
    Owners::new(&words[TABLE..KIND], &words[HIGHEST], Bias::new(&words[BIAS]))
}

/// The region's counter of entries.
#[inline(always)]
pub(crate) fn count(words: &[AtomicU64], max_entries: u32) -> Count<'_> {
    Count::new([&words[BASE], &words[TAKING]], owners(words), max_entries)
}

/// Whether anybody has pointers to the region's values.
#[inline(always)]
pub(crate) fn lent(words: &[AtomicU64]) -> Lent<'_> {
    Lent::new(&words[LENT])
}

/// What a header says.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) spec: Spec,
    pub(crate) seed: [u64; 2],
    pub(crate) words: usize,
    pub(crate) id: u32,
    /// What the region has of types; the specification here never has any.
    pub(crate) types: Option<types::Summary>,
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn low(word: u64) -> u32 {
    word as u32
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Header {
    /// The seed as the hash takes it.
    pub(crate) fn hash_seed(&self) -> Option<[u64; 2]> {
        (!self.spec.has(map_flags::ZERO_SEED)).then_some(self.seed)
    }

    /// The words that never change.
    pub(crate) fn encode(&self) -> [u64; FIXED] {
        let spec = &self.spec;
        let (first, second) = spec.name.bytes().split_at(8);
        let mut words = [0; FIXED];
        words[0] = MAGIC;
        words[2] = pair(spec.map_type as u32, spec.flags);
        words[3] = pair(spec.key_size, spec.value_size);
        words[4] = pair(spec.max_entries, spec.cpus);
        words[5] = spec.map_extra;
        words[6] = bytes::word_of(first);
        words[7] = bytes::word_of(second);
        words[8] = self.seed[0];
        words[9] = self.seed[1];
        words[10] = self.words as u64;
        words[11] = pair(spec.numa_node, spec.spin_lock.map_or(0, |offset| offset + 1));
        words[12] = u64::from(self.id);
        words[16] = u64::from(spec.huge_pages);
        if let (Some(types), Some(layout)) = (self.types, Layout::of(self)) {
            words[13] = layout.types.start as u64;
            words[14] = pair(types.bytes, types.checksum);
            words[15] = pair(types.key, types.value);
        }
        words[1] = pair(LAYOUT_VERSION, checksum(&words));
        words
    }

    /// Writes it into a new region, and the types that it speaks of.
    pub(crate) fn write(&self, region: &[AtomicU64], types: Option<&MapTypes>) {
        self.rewrite(region);
        if let (Some(types), Some(layout)) = (types, Layout::of(self)) {
            bytes::store(&region[layout.types], types.btf());
        }
    }

    /// Writes it again into a damaged region. That a map is frozen is a 1 and nothing else.
    pub(crate) fn rewrite(&self, region: &[AtomicU64]) {
        for (to, from) in region.iter().zip(self.encode()) {
            to.store(from, Relaxed);
        }
        let frozen = &region[FROZEN];
        if frozen.load(Relaxed) > 1 {
            frozen.store(0, Relaxed);
        }
    }

    /// Reads it from the start of a file.
    pub(crate) fn read(words: &[u64; FIXED], path: &Path) -> Result<Header> {
        let bad = |why| Err(Error::not_a_map(path, why));
        if words[0] != MAGIC {
            return bad("it does not start as a map does");
        }
        if low(words[1]) != LAYOUT_VERSION {
            return bad("its layout is of another version of usermap");
        }
        if high(words[1]) != checksum(words) {
            return bad("its header is damaged: the checksum differs");
        }
        let Some(map_type) = MapType::from_id(low(words[2])) else {
            return bad("its kind is unknown");
        };
        let name: Vec<u8> =
            [words[6], words[7]].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let spec = Spec {
            flags: high(words[2]),
            numa_node: low(words[11]),
            map_extra: words[5],
            name: Name::from_bytes(&name)
                .map_err(|_| Error::not_a_map(path, "its name is impossible"))?,
            cpus: high(words[4]),
            spin_lock: high(words[11]).checked_sub(1),
            huge_pages: words[16] & 1 == 1,
            ..Spec::new(map_type, low(words[3]), high(words[3]), low(words[4]))
        };
        let Ok(size) = usize::try_from(words[10]) else { return bad("its size is impossible") };
        let (id, types) = (low(words[12]), read_types(words));
        let sizes = types::HEADER..=types::LIMIT;
        if types.is_some_and(|types| !sizes.contains(&(types.bytes as usize))) {
            return bad("the size of its types is impossible");
        }
        Ok(Header { spec, seed: [words[8], words[9]], words: size, id, types })
    }
}

/// Where they are is not read: it follows from the rest.
fn read_types(words: &[u64; FIXED]) -> Option<types::Summary> {
    let (place, [bytes, checksum]) = (words[13], [low(words[14]), high(words[14])]);
    let (key, value) = (low(words[15]), high(words[15]));
    (place != 0).then_some(types::Summary { bytes, checksum, key, value })
}

fn checksum(words: &[u64; FIXED]) -> u32 {
    fold(words.iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, word)| *word))
}

/// FNV-1a over words, folded to 32 bits.
pub(crate) fn fold(words: impl Iterator<Item = u64>) -> u32 {
    let sum = words.fold(0xcbf2_9ce4_8422_2325_u64, |sum, word| {
        let sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3);
        sum ^ sum >> 32
    });
    (sum ^ sum >> 32) as u32
}
