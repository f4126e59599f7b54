//! A bucket: its head, its places, its chain of nodes.

use super::{HEAD, Hash, PLACES, Slot};
use crate::error::Reason;
use crate::mem::buckets::{Head, TAGS};
use crate::mem::bytes;
use crate::mem::sync::{AtomicU64, Ordering::*, acquire};
use crate::mem::tags::{self, Places};

/// Words of a head: the lock, then the chain's filter below the link to its first node, then the tags.
pub(super) const LINK: usize = 1;

/// Bits of the places in the lock word.
pub(super) const OCCUPIED: u64 = (1 << PLACES) - 1;

/// States of a node.
pub(super) const FREE: u64 = 0;
/// Taken by the owner in it, not linked yet.
pub(super) const TAKEN: u64 = 1 << 40;
/// In a chain.
pub(super) const LINKED: u64 = 2 << 40;
/// Out of its chain, the owner in it has yet to free it.
pub(super) const REMOVED: u64 = 3 << 40;
pub(super) const STATE: u64 = 3 << 40;

/// The link of a head.
pub(super) fn first_in(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The link of a node.
pub(super) fn next_in(word: u64) -> u32 {
    word as u32
}

pub(super) fn tag_in_node(word: u64) -> u8 {
    (word >> 32) as u8
}

/// The bits of a filter.
const FILTER: u64 = 0xffff_ffff;

/// A tag's bit in the filter. Those of all tags in the chain are set; others can be, too, after a
/// death, but none in an empty chain.
#[inline(always)]
pub(super) fn bit_of(tag: u8) -> u64 {
    1 << (tag & 31)
}

/// Whether a key with this hash may be in the chain, by the head's word with the link.
#[inline(always)]
pub(super) fn may_lead_to(word: u64, hash: u64) -> bool {
    // Most buckets have no chain, and do without what the filter takes.
    if word & FILTER == 0 {
        return false;
    }
    core::hint::cold_path();
    // As a bit of 32: so one instruction takes it, by the lowest five bits of the tag.
    (word as u32).wrapping_shr((hash >> 56) as u32) & 1 != 0
}

/// Puts a node in front of a bucket's chain, and its tag into the filter: the commit of an insertion.
pub(super) fn lead_first_to(head: &Head, node: u32, tag: u8) {
    let filter = head[LINK].load(Relaxed) & FILTER | bit_of(tag);
    head[LINK].store(u64::from(node) << 32 | filter, Release);
}

/// A word that links: a bucket's head or a node.
#[derive(Clone, Copy)]
pub(super) enum Link<'r> {
    Head(&'r AtomicU64),
    Node(&'r AtomicU64),
}

impl Link<'_> {
    /// Makes it lead to another node (+ 1; 0 for the end), whose tag and those behind it the filter
    /// has: the commit of a change to the chain.
    pub(super) fn lead_to(self, next: u32) {
        match self {
            Link::Head(word) if next == 0 => word.store(0, Release),
            Link::Head(word) => {
                let filter = word.load(Relaxed) & FILTER;
                word.store(u64::from(next) << 32 | filter, Release);
            }
            Link::Node(word) => {
                let kept = word.load(Relaxed) & !0xffff_ffff;
                word.store(kept | u64::from(next), Release);
            }
        }
    }
}

/// Writes the tag of a place that is not occupied.
#[inline(always)]
pub(super) fn set_tag(head: &Head, place: u32, tag: u8) {
    let word = &head[TAGS + place as usize / 8 % 2];
    let shift = place % 8 * 8;
    let tags = word.load(Relaxed) & !(0xff << shift) | u64::from(tag) << shift;
    word.store(tags, Relaxed);
}

/// The places of those occupied in `word` whose tag is that of a hash.
#[inline(always)]
pub(super) fn matching(head: &Head, hash: u64, word: u64) -> Places {
    tags::matching(head, hash).among(word)
}

impl<'r> Hash<'r> {
    /// The four words of a bucket's head.
    #[inline(always)]
    pub(super) fn head(&self, bucket: u32) -> &'r Head {
        // The heads start at a multiple of a head: one comparison checks all of the range.
        &self.words.as_chunks().0[self.geometry.heads / HEAD + bucket as usize]
    }

    /// A node's word, by its number + 1 as links have it; damage gives numbers out of range.
    #[inline(always)]
    pub(super) fn node(&self, link: u32) -> Result<&'r AtomicU64, Reason> {
        if link == 0 || link > self.geometry.nodes {
            return Err(Reason::Corrupt("a link leads out of the nodes"));
        }
        Ok(&self.words[self.geometry.node_words + link as usize - 1])
    }

    /// The slot of a place in a bucket.
    #[inline(always)]
    pub(super) fn slot_of_place(&self, bucket: u32, place: u32) -> Slot {
        u64::from(bucket) * PLACES as u64 + u64::from(place)
    }

    /// The slot of a node, by its number + 1.
    #[inline(always)]
    pub(super) fn slot_of_node(&self, link: u32) -> Slot {
        u64::from(self.geometry.buckets) * PLACES as u64 + u64::from(link) - 1
    }

    /// A slot's key.
    #[inline(always)]
    pub(super) fn key(&self, slot: Slot) -> &'r [AtomicU64] {
        let start = self.geometry.keys + slot as usize * self.geometry.key_stride;
        &self.words[start..start + self.geometry.key_words]
    }

    /// A slot's value on a CPU slot.
    #[inline(always)]
    pub(crate) fn value(&self, slot: Slot, cpu: u32) -> &'r [AtomicU64] {
        self.geometry.redo.value(self.words, slot as usize, cpu)
    }

    /// A slot's key and value in a map that is not per CPU, where one follows the other. Of the
    /// lengths given, so that those that are known when compiling make straight code.
    #[inline(always)]
    pub(super) fn entry(
        &self,
        slot: Slot,
        key: usize,
        value: usize,
    ) -> (&'r [AtomicU64], &'r [AtomicU64]) {
        let (key, value) = (bytes::words(key), bytes::words(value));
        let start = self.geometry.keys + slot as usize * (key + value);
        self.words[start..start + key + value].split_at(key)
    }

    /// Where that starts, as a word of the region.
    pub(crate) fn value_word(&self, slot: Slot, cpu: u32) -> usize {
        self.geometry.redo.value_start(slot as usize, cpu)
    }

    /// The word that says when a slot's element came (`ZERO_SEED` only).
    pub(super) fn stamp(&self, slot: Slot) -> Option<&'r AtomicU64> {
        let zero_seed = self.geometry.seed.is_none();
        zero_seed.then(|| &self.words[self.geometry.stamps + slot as usize])
    }

    /// Whether a slot has this key. Of the key's length, not the map's, so that a length that is
    /// known when compiling makes straight code.
    #[inline(always)]
    pub(super) fn has_key(&self, slot: Slot, key: &[u8]) -> bool {
        let start = self.geometry.keys + slot as usize * self.geometry.key_stride;
        bytes::equal(&self.words[start..start + bytes::words(key.len())], key)
    }

    /// Follows a bucket's chain; `visit` gets the link to each node, its number + 1 and its word,
    /// and stops the walk by giving something.
    #[inline(always)]
    pub(super) fn chain<T>(
        &self,
        bucket: u32,
        visit: impl FnMut(Link<'r>, u32, u64) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        let head = &self.head(bucket)[LINK];
        self.chain_from(head, acquire(head), visit)
    }

    /// The same from the head's word with the link, as it was when it was read.
    #[inline(always)]
    pub(super) fn chain_from<T>(
        &self,
        head: &'r AtomicU64,
        word: u64,
        mut visit: impl FnMut(Link<'r>, u32, u64) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        let (mut link, mut next) = (Link::Head(head), first_in(word));
        // A circle, by Brent: remember a node, twice as far away each time.
        let (mut remembered, mut steps, mut lap) = (0, 0_u32, 1_u32);
        while next != 0 {
            let node = self.node(next)?;
            let word = acquire(node);
            if let Some(found) = visit(link, next, word) {
                return Ok(Some(found));
            }
            if next == remembered {
                return Err(Reason::Corrupt("a chain runs in a circle"));
            }
            steps += 1;
            if steps == lap {
                (remembered, steps, lap) = (next, 0, lap.saturating_mul(2));
            }
            link = Link::Node(node);
            next = next_in(word);
        }
        Ok(None)
    }

    /// Takes a tag out of the filter of a bucket that is locked, if no node has it any more.
    pub(super) fn forget(&self, bucket: u32, tag: u8) {
        let head = &self.head(bucket)[LINK];
        let same = |_, _, node| (bit_of(tag_in_node(node)) == bit_of(tag)).then_some(());
        let (word, bit) = (head.load(Relaxed), bit_of(tag));
        if word & bit != 0 && self.chain_from(head, word, same) == Ok(None) {
            head.store(word & !bit, Release);
        }
    }

    /// The link that leads to a node in a bucket's chain, if one does.
    pub(super) fn link_to(&self, bucket: u32, node: u32) -> Result<Option<Link<'r>>, Reason> {
        self.chain(bucket, |link, number, _| (number == node).then_some(link))
    }
}
