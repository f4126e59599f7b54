//! What is true of a hash while others use it: each bucket as it is at one moment, and every node in
//! a chain, in the hands of a writer, or free.

use super::bucket::{FREE, LINK, LINKED, OCCUPIED, STATE, bit_of, tag_in_node};
use super::{Hash, PLACES, Slot};
use crate::check::{Finding, Inspection, confirmed};
use crate::error::Reason;
use crate::header;
use crate::kind::redo::{TARGET, seen};
use crate::mem::buckets::TAGS;
use crate::mem::bytes;
use crate::mem::owner::{CREATED, REMOVED, Writer};
use crate::mem::sync::{Ordering::*, acquire, fence};

/// How often a bucket is looked at that others change all the time.
const TRIES: u32 = 1000;

/// A bucket as it was at one moment.
#[derive(Default)]
struct Seen {
    entries: u64,
    /// The chain's nodes, as links have them.
    nodes: Vec<u32>,
    findings: Vec<Finding>,
}

/// A bit a node.
pub(super) struct Nodes(Vec<u64>);

impl Nodes {
    pub(super) fn new(hash: &Hash<'_>) -> Nodes {
        Nodes(vec![0; hash.geometry.nodes as usize / 64 + 1])
    }

    pub(super) fn add(&mut self, link: u32) {
        self.0[link as usize / 64] |= 1 << (link % 64);
    }

    pub(super) fn has(&self, link: u32) -> bool {
        self.0[link as usize / 64] >> (link % 64) & 1 == 1
    }
}

impl Hash<'_> {
    pub(crate) fn check(&self, found: &mut Inspection<'_>) {
        let before = self.moment(found);
        let mut linked = Nodes::new(self);
        for bucket in 0..self.geometry.buckets {
            found.lock("bucket", bucket, &self.head(bucket)[0], self.geometry.per_cpu);
            if !self.is_empty_bucket(bucket) {
                self.check_bucket(bucket, &mut linked, found);
            }
        }
        self.check_nodes(&linked, found);
        found.lock_of_all("room", self.count().lock());
        // Before the second look at the writers, which says that nobody counted since the first.
        let sum = self.count().at_one_moment();
        let (counted, room) = match sum {
            Ok(sum) => (sum.entries, sum.room),
            Err(_) => (self.count().get(), 0),
        };
        let after = self.moment(found);
        let check = &mut found.check;
        check.counted = counted.into();
        check.still = before.is_some() && before == after && check.unseen == 0;
        let entries = check.entries;
        let limit = u64::from(self.geometry.max_entries);
        if sum.is_ok() && u64::from(counted) > limit {
            found.found("count", 0, counted.into(), "more than max_entries");
        } else if found.check.still && u64::from(counted) != entries {
            found.found("count", 0, counted.into(), "not the number of entries");
        } else if found.check.still && u64::from(counted) + room > limit {
            found.found("count", 0, room, "more room is reserved than there is");
        }
    }

    /// What every insertion and deletion changes; nothing while one is going on.
    fn moment(&self, found: &Inspection<'_>) -> Option<u64> {
        let before = self.count().sum().counts;
        let idle = found.owners.taken().all(|writer| writer.doing().is_none());
        (idle && self.count().sum().counts == before).then_some(before)
    }

    fn check_bucket(&self, bucket: u32, linked: &mut Nodes, found: &mut Inspection<'_>) {
        let Some(mut now) = self.see(bucket) else {
            found.check.unseen += 1;
            return;
        };
        if !now.findings.is_empty() {
            let look = || {
                let again = self.see(bucket)?;
                (!again.findings.is_empty()).then_some(again.findings)
            };
            now.findings = confirmed(look).unwrap_or_default();
        }
        now.findings.into_iter().for_each(|finding| found.add(finding));
        let check = &mut found.check;
        check.entries += now.entries + now.nodes.len() as u64;
        check.chains += u64::from(!now.nodes.is_empty());
        check.chained += now.nodes.len() as u64;
        check.longest_chain = check.longest_chain.max(now.nodes.len() as u64);
        now.nodes.into_iter().for_each(|link| linked.add(link));
    }

    /// Looks into a bucket until nobody changed it meanwhile; nothing if that never comes.
    fn see(&self, bucket: u32) -> Option<Seen> {
        let lock = &self.head(bucket)[0];
        (0..TRIES).find_map(|_| {
            let word = acquire(lock);
            let now = self.look_into(bucket, word);
            fence(Acquire);
            let same = seen(lock.load(Relaxed)) == seen(word);
            if !same {
                std::thread::yield_now();
            }
            same.then_some(now)
        })
    }

    fn look_into(&self, bucket: u32, word: u64) -> Seen {
        let head = self.head(bucket);
        let mut now = Seen::default();
        let mut keys = Vec::new();
        for place in (0..PLACES as u32).filter(|place| word & OCCUPIED & 1 << place != 0) {
            let slot = self.slot_of_place(bucket, place);
            let tag = tag_of_place(head[TAGS + place as usize / 8].load(Relaxed), place);
            let rule = self.broken_entry(bucket, slot, tag, &mut keys);
            let finding = |rule| Finding { part: "place", index: slot, value: tag.into(), rule };
            now.findings.extend(rule.map(finding));
            now.entries += 1;
        }
        let mut finding = |part, index, value, rule| {
            now.findings.push(Finding { part, index, value, rule });
        };
        if word & OCCUPIED == OCCUPIED {
            finding("bucket", bucket.into(), word, "no place is free for a replacement");
        }
        let (mut nodes, mut filter) = (Vec::new(), 0);
        let links = acquire(&head[LINK]);
        let end = self.chain_from(&head[LINK], links, |_, link, node| {
            let number = u64::from(link) - 1;
            if node & STATE != LINKED {
                finding("node", number, node, "in a chain, but its state is another");
            }
            let tag = tag_in_node(node);
            filter |= bit_of(tag);
            if let Some(rule) = self.broken_entry(bucket, self.slot_of_node(link), tag, &mut keys) {
                finding("node", number, node, rule);
            }
            nodes.push(link);
            None::<()>
        });
        if links & filter != filter {
            finding("bucket", bucket.into(), links, "the filter of a chain lacks a node's tag");
        }
        if let Err(Reason::Corrupt(rule)) = end {
            // In a circle everything is met again.
            now.findings.retain(|finding| finding.rule != DUPLICATE);
            now.findings.push(Finding { part: "bucket", index: bucket.into(), value: links, rule });
            nodes.sort_unstable();
            nodes.dedup();
        }
        now.nodes = nodes;
        now
    }

    /// The rule that an entry breaks. `keys` are those of the bucket so far: hash and slot.
    fn broken_entry(
        &self,
        bucket: u32,
        slot: Slot,
        tag: u8,
        keys: &mut Vec<(u64, Slot)>,
    ) -> Option<&'static str> {
        let key = self.copy_key(slot);
        let hash = self.geometry.hash(&key);
        if hash.bucket != bucket {
            return Some("an entry is in a bucket that is not its key's");
        }
        if hash.tag != tag {
            return Some("the tag is not its key's");
        }
        let same =
            |(whole, other): &(u64, Slot)| *whole == hash.whole && self.has_key(*other, &key);
        if keys.iter().any(same) {
            return Some(DUPLICATE);
        }
        keys.push((hash.whole, slot));
        let late = self
            .stamp(slot)
            .is_some_and(|stamp| stamp.load(Relaxed) >= acquire(&self.words[header::STAMP]));
        late.then_some("an entry came later than the last one")
    }

    pub(super) fn copy_key(&self, slot: Slot) -> Vec<u8> {
        let mut key = vec![0; self.geometry.key_size];
        bytes::load(self.key(slot), &mut key);
        key
    }

    fn check_nodes(&self, linked: &Nodes, found: &mut Inspection<'_>) {
        for link in (1..=self.geometry.nodes).filter(|link| !linked.has(*link)) {
            match self.node(link).map(acquire) {
                Ok(FREE) => found.check.free_nodes += 1,
                _ => {
                    if let Some(node) = confirmed(|| self.leaked(link)) {
                        found.check.leaked_nodes += 1;
                        let rule = "a node is in no chain, and nobody's";
                        found.found("node", u64::from(link) - 1, node, rule);
                    }
                }
            }
        }
    }

    /// A node's word, if it is not free, no operation is about it and no chain leads to it.
    fn leaked(&self, link: u32) -> Option<u64> {
        let node = self.node(link).ok()?;
        let word = acquire(node);
        let named = |writer: Writer<'_>| {
            let names = [CREATED, REMOVED].map(|word| acquire(writer.word(word)));
            writer.doing().is_some() && names.contains(&u64::from(link))
        };
        if word == FREE || self.owners().taken().any(named) {
            return None;
        }
        if word & STATE == LINKED {
            let bucket = self.geometry.hash(&self.copy_key(self.slot_of_node(link))).bucket;
            if let Ok(Some(_)) = self.link_to(bucket, link) {
                return None;
            }
        }
        (acquire(node) == word).then_some(word)
    }

    /// The rule that breaks what a writer's record says of nodes and places.
    pub(crate) fn broken_record(&self, writer: Writer<'_>) -> Option<&'static str> {
        let [created, removed] = [CREATED, REMOVED].map(|word| acquire(writer.word(word)));
        let nodes = u64::from(self.geometry.nodes);
        if created & TARGET != 0 {
            let bad = !self.geometry.per_cpu || self.geometry.redo.is_bad_target(created);
            return bad.then_some("a redo of an entry that does not exist");
        }
        (created > nodes || removed > nodes).then_some("an operation on a node that does not exist")
    }
}

const DUPLICATE: &str = "a key is there twice";

/// The tag of a place in the word of the head that it is in.
fn tag_of_place(word: u64, place: u32) -> u8 {
    (word >> (place % 8 * 8)) as u8
}

#[cfg(all(test, not(loom)))]
impl<'r> Hash<'r> {
    pub(crate) fn lock_word(&self, bucket: u32) -> &'r crate::mem::sync::AtomicU64 {
        &self.head(bucket)[0]
    }

    pub(crate) fn key_of_place(
        &self,
        bucket: u32,
        place: u32,
    ) -> &'r [crate::mem::sync::AtomicU64] {
        self.key(self.slot_of_place(bucket, place))
    }

    /// When the entries in the places of all buckets came.
    pub(crate) fn stamps_of_places(&self) -> &'r [crate::mem::sync::AtomicU64] {
        &self.words[self.geometry.stamps..][..self.geometry.buckets as usize * PLACES]
    }

    pub(crate) fn bucket_of_key(&self, key: &[u8]) -> u32 {
        self.geometry.hash(key).bucket
    }
}
