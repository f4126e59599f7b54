//! Lookups: no lock, no store to shared memory.

use super::bucket::{LINK, LINKED, OCCUPIED, STATE, first_in, matching, may_lead_to, tag_in_node};
use super::quick::is_still_so;
use super::{Hash, Presence, Slot, hashing};
use crate::error::Reason;
use crate::kind::redo::seen;
use crate::mem::buckets::Head;
use crate::mem::owner::{Operation, PAYLOAD, Writer, holder};
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};

impl<'r> Hash<'r> {
    /// Where a key is now, in a bucket whose lock word is `word`.
    #[inline(always)]
    pub(super) fn find(
        &self,
        head: &Head,
        hash: hashing::Hash,
        key: &[u8],
        word: u64,
    ) -> Result<Option<Slot>, Reason> {
        if let Some(place) = self.find_place(head, hash, key, word) {
            return Ok(Some(self.slot_of_place(hash.bucket, place)));
        }
        if !may_lead_to(acquire(&head[LINK]), hash.whole) {
            return Ok(None);
        }
        self.find_node(hash, key)
    }

    /// Which place of a bucket has a key.
    #[inline(always)]
    pub(super) fn find_place(
        &self,
        head: &Head,
        hash: hashing::Hash,
        key: &[u8],
        word: u64,
    ) -> Option<u32> {
        let mut places = matching(head, hash.whole, word);
        while let Some(place) = places.first() {
            if self.has_key(self.slot_of_place(hash.bucket, place), key) {
                return Some(place);
            }
            places = places.rest();
        }
        None
    }

    #[cold]
    pub(super) fn find_node(
        &self,
        hash: hashing::Hash,
        key: &[u8],
    ) -> Result<Option<Slot>, Reason> {
        self.chain(hash.bucket, |_, number, word| {
            let slot = self.slot_of_node(number);
            let here =
                word & STATE == LINKED && tag_in_node(word) == hash.tag && self.has_key(slot, key);
            here.then_some(slot)
        })
    }

    /// Finds a key and lets `read` copy from its slot, as it was at one moment: `read` runs again
    /// if the bucket changed meanwhile.
    #[inline(always)]
    pub(crate) fn lookup<T>(
        &self,
        key: &[u8],
        mut read: impl FnMut(&Hash<'r>, Slot, u64) -> Result<T, Reason>,
    ) -> Result<Option<T>, Reason> {
        let hash = self.geometry.hash(key);
        let head = self.head(hash.bucket);
        loop {
            let word = acquire(&head[0]);
            let found = match self.find(head, hash, key, word) {
                Ok(Some(slot)) => read(self, slot, word).map(Some),
                Ok(None) => Ok(None),
                Err(reason) => Err(reason),
            };
            fence(Acquire);
            // What was read is worth something only if nothing changed; even an impossible link.
            if seen(head[0].load(Relaxed)) == seen(word) {
                return found;
            }
        }
    }

    /// Full if a key is to be made, and at one moment meanwhile was not there and the map full: nobody
    /// need be kept from the bucket to find that out.
    pub(super) fn refuse_new(
        &self,
        writer: Writer<'_>,
        hash: hashing::Hash,
        key: &[u8],
        presence: Presence,
    ) -> Result<(), Reason> {
        let (count, head) = (self.count(), self.head(hash.bucket));
        // A signal handler in the middle of an operation of its thread is told so.
        let busy = writer.intent().operation() != Operation::None;
        if presence == Presence::Present || count.has_room(writer) || busy {
            return Ok(());
        }
        let word = acquire(&head[0]);
        let absent = holder(word) == 0 && self.find(head, hash, key, word) == Ok(None);
        match absent && count.is_full(writer, self) && is_still_so(head, word) {
            true => Err(Reason::Full { max_entries: self.geometry.max_entries }),
            false => Ok(()),
        }
    }

    /// Copies the value of a key out, in a map that is not per CPU; says whether there is one.
    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Reason> {
        match self.get_sized(key, value) {
            Some(found) => Ok(found),
            None => self.get_slowly(key, value),
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn get_slowly(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Reason> {
        let found = self.lookup(key, |hash, slot, word| hash.load_value(word, slot, value))?;
        Ok(found.is_some())
    }

    /// A slot's value on a CPU slot, where it is to be read under the lock word `word`.
    #[inline(always)]
    pub(crate) fn source(
        &self,
        word: u64,
        slot: Slot,
        cpu: u32,
    ) -> Result<&'r [AtomicU64], Reason> {
        if !self.geometry.per_cpu {
            return Ok(self.value(slot, cpu));
        }
        self.geometry.redo.source(self.words, self.owners(), word, slot as usize, cpu)
    }

    /// Whether a bucket has nothing in it.
    #[inline(always)]
    pub(super) fn is_empty_bucket(&self, bucket: u32) -> bool {
        let head = self.head(bucket);
        acquire(&head[0]) & PAYLOAD & OCCUPIED == 0 && first_in(acquire(&head[LINK])) == 0
    }
}
