//! Makes a damaged hash usable again, while nobody else uses it: every bucket keeps its sound entries,
//! entries that no chain leads to any more are brought back, all other nodes are free.
//!
//! Whoever dies in the middle leaves a map that can be repaired again: no sound entry is ever
//! without a link or a word that tells what it is.

use super::bucket::{
    FREE, LINK, LINKED, Link, OCCUPIED, STATE, bit_of, first_in, lead_first_to, next_in, set_tag,
    tag_in_node,
};
use super::check::Nodes;
use super::{Hash, PLACES, Slot, USED_PLACES, hashing};
use crate::check::Repaired;
use crate::header;
use crate::kind::redo::{REDO, changed};
use crate::mem::owner::holder;
use crate::mem::sync::Ordering::*;
use std::collections::BTreeSet;

/// What is kept so far.
struct Kept {
    nodes: Nodes,
    entries: u32,
    /// Of the bucket at hand: hash and slot.
    bucket: Vec<(u64, Slot)>,
}

impl Hash<'_> {
    pub(crate) fn mend(&self, done: &mut Repaired) {
        let mut kept = Kept { nodes: Nodes::new(self), entries: 0, bucket: Vec::new() };
        for bucket in 0..self.geometry.buckets {
            kept.bucket.clear();
            self.mend_places(bucket, &mut kept, done);
            self.mend_chain(bucket, &mut kept, done);
        }
        for link in 1..=self.geometry.nodes {
            let Ok(node) = self.node(link) else { continue };
            let word = node.load(Acquire);
            if word == FREE || kept.nodes.has(link) {
                continue;
            }
            if kept.entries < self.geometry.max_entries && self.rejoin(link, word) {
                kept.entries += 1;
                done.rejoined += 1;
            } else {
                node.store(FREE, Release);
                done.freed_nodes += 1;
            }
        }
        self.count().set(kept.entries);
        done.entries = kept.entries.into();
    }

    fn mend_places(&self, bucket: u32, kept: &mut Kept, done: &mut Repaired) {
        let head = self.head(bucket);
        let word = head[0].load(Acquire);
        let mut occupied = word & OCCUPIED;
        for place in (0..PLACES as u32).filter(|place| word & OCCUPIED & 1 << place != 0) {
            // One is left free for replacements.
            let room = kept.bucket.len() < USED_PLACES as usize;
            let slot = self.slot_of_place(bucket, place);
            match room.then(|| self.keep(bucket, slot, kept)).flatten() {
                Some(hash) => set_tag(head, place, hash.tag),
                None => occupied &= !(1 << place),
            }
        }
        let dropped = (word & OCCUPIED).count_ones() - occupied.count_ones();
        done.dropped += u64::from(dropped);
        done.released += u64::from(holder(word) != 0);
        if dropped > 0 || holder(word) != 0 || word & REDO != 0 {
            head[0].store(changed(word) & !OCCUPIED | occupied, Release);
        }
    }

    fn mend_chain(&self, bucket: u32, kept: &mut Kept, done: &mut Repaired) {
        let head = &self.head(bucket)[LINK];
        let mut link = Link::Head(head);
        let mut next = first_in(head.load(Acquire));
        let (mut passed, mut filter) = (BTreeSet::new(), 0);
        while next != 0 {
            // Out of the nodes, or where it was before.
            let Some(node) = self.node(next).ok().filter(|_| !kept.nodes.has(next)) else {
                link.lead_to(0);
                break;
            };
            let after = next_in(node.load(Acquire));
            match self.keep(bucket, self.slot_of_node(next), kept) {
                Some(hash) => {
                    node.store(linked(hash, after), Release);
                    kept.nodes.add(next);
                    filter |= bit_of(hash.tag);
                    link = Link::Node(node);
                }
                None => {
                    link.lead_to(after);
                    if !passed.insert(next) {
                        link.lead_to(0);
                        break;
                    }
                    done.dropped += 1;
                }
            }
            next = after;
        }
        let word = head.load(Acquire);
        let exact = u64::from(first_in(word)) << 32 | filter;
        // Pages that were never used stay so.
        if word != exact {
            head.store(exact, Release);
        }
    }

    /// Whether a slot has an entry of this bucket that is not there yet, which is kept then.
    fn keep(&self, bucket: u32, slot: Slot, kept: &mut Kept) -> Option<hashing::Hash> {
        let key = self.copy_key(slot);
        let hash = self.geometry.hash(&key);
        let same =
            |(whole, other): &(u64, Slot)| *whole == hash.whole && self.has_key(*other, &key);
        let full = kept.entries >= self.geometry.max_entries;
        if hash.bucket != bucket || full || kept.bucket.iter().any(same) {
            return None;
        }
        kept.entries += 1;
        kept.bucket.push((hash.whole, slot));
        self.correct_stamp(slot);
        Some(hash)
    }

    /// Puts a node that was an entry's at the head of its bucket's chain, unless the key is there.
    fn rejoin(&self, link: u32, word: u64) -> bool {
        let slot = self.slot_of_node(link);
        let key = self.copy_key(slot);
        let hash = self.geometry.hash(&key);
        let head = self.head(hash.bucket);
        let sound = word & STATE == LINKED && tag_in_node(word) == hash.tag;
        let found = self.find(head, hash, &key, head[0].load(Acquire));
        if !sound || found != Ok(None) {
            return false;
        }
        let Ok(node) = self.node(link) else { return false };
        self.correct_stamp(slot);
        node.store(linked(hash, first_in(head[LINK].load(Acquire))), Release);
        lead_first_to(head, link, hash.tag);
        true
    }

    /// An entry came before those that are yet to come; one that says what cannot be, first of all.
    fn correct_stamp(&self, slot: Slot) {
        let (Some(stamp), last) = (self.stamp(slot), &self.words[header::STAMP]) else { return };
        let mut came = stamp.load(Relaxed);
        if came >= u64::MAX / 2 {
            came = 0;
            stamp.store(came, Relaxed);
        }
        if came >= last.load(Relaxed) {
            last.store(came + 1, Relaxed);
        }
    }
}

/// A linked node's word; who linked it matters no more.
fn linked(hash: hashing::Hash, next: u32) -> u64 {
    LINKED | u64::from(hash.tag) << 32 | u64::from(next)
}
