//! Lookups: no lock, no store to shared memory.

use super::bucket::{Head, LINKED, OCCUPIED, STATE, matching, next_in_head, tag_in_node};
use super::{Hash, Slot, hashing};
use crate::error::Reason;
use crate::kind::redo::seen;
use crate::mem::owner::PAYLOAD;
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};
use crate::mem::{Region, bytes};

/// Keys whose memory is asked for at once.
const AHEAD: usize = 32;

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
        let mut places = matching(head, hash.tag) & word & OCCUPIED;
        while places != 0 {
            let slot = self.slot_of_place(hash.bucket, places.trailing_zeros());
            if self.has_key(slot, key) {
                return Ok(Some(slot));
            }
            places &= places - 1;
        }
        if next_in_head(acquire(&head[3])) == 0 {
            return Ok(None);
        }
        self.find_node(hash, key)
    }

    #[cold]
    fn find_node(&self, hash: hashing::Hash, key: &[u8]) -> Result<Option<Slot>, Reason> {
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
        read: impl FnMut(&Hash<'r>, Slot, u64) -> Result<T, Reason>,
    ) -> Result<Option<T>, Reason> {
        self.lookup_hashed(self.geometry.hash(key), key, read)
    }

    #[inline(always)]
    fn lookup_hashed<T>(
        &self,
        hash: hashing::Hash,
        key: &[u8],
        mut read: impl FnMut(&Hash<'r>, Slot, u64) -> Result<T, Reason>,
    ) -> Result<Option<T>, Reason> {
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

    /// Copies the value of a key out, in a map that is not per CPU; says whether there is one. Of
    /// the value's length, not the map's, so that one that is known when compiling makes straight
    /// code.
    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Reason> {
        self.get_hashed(self.geometry.hash(key), key, value)
    }

    /// The same as [`lookup_hashed`](Hash::lookup_hashed), written out for what is done most.
    #[inline(always)]
    fn get_hashed(
        &self,
        hash: hashing::Hash,
        key: &[u8],
        value: &mut [u8],
    ) -> Result<bool, Reason> {
        let head = self.head(hash.bucket);
        loop {
            let word = acquire(&head[0]);
            let mut places = matching(head, hash.tag) & word & OCCUPIED;
            let mut found = false;
            while places != 0 {
                let slot = self.slot_of_place(hash.bucket, places.trailing_zeros());
                let (key_words, value_words) = self.entry(slot, key.len(), value.len());
                if bytes::equal(key_words, key) {
                    bytes::load(value_words, value);
                    found = true;
                    break;
                }
                places &= places - 1;
            }
            if !found && next_in_head(acquire(&head[3])) != 0 {
                return self.get_slowly(hash, key, value);
            }
            fence(Acquire);
            if head[0].load(Relaxed) & PAYLOAD == word & PAYLOAD {
                return Ok(found);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn get_slowly(
        &self,
        hash: hashing::Hash,
        key: &[u8],
        value: &mut [u8],
    ) -> Result<bool, Reason> {
        let found =
            self.lookup_hashed(hash, key, |hash, slot, word| hash.load_value(word, slot, value))?;
        Ok(found.is_some())
    }

    /// Copies the values of many keys out; `put` gets each key's number, and where to put its
    /// value. The memory of up to [`AHEAD`] keys is asked for before the first is needed.
    #[inline(always)]
    pub(crate) fn get_many<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
        mut put: impl FnMut(
            usize,
            &mut dyn FnMut(&mut [u8]) -> Result<bool, Reason>,
        ) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let mut first = 0;
        let mut rest = keys;
        while rest.len() > 0 {
            let count = rest.len().min(AHEAD);
            let mut hashes = [None; AHEAD];
            for (hash, key) in hashes.iter_mut().zip(rest.clone()) {
                let found = self.geometry.hash(key);
                Region::prefetch(&self.head(found.bucket)[0]);
                *hash = Some(found);
            }
            for hash in hashes.iter().flatten() {
                self.prefetch_entry(*hash);
            }
            for (number, hash) in hashes.iter().flatten().take(count).enumerate() {
                let Some(key) = rest.next() else { return Ok(()) };
                put(first + number, &mut |value| self.get_hashed(*hash, key, value))?;
            }
            first += count;
        }
        Ok(())
    }

    /// Asks for the memory of the entry that looks like a key's.
    #[inline(always)]
    fn prefetch_entry(&self, hash: hashing::Hash) {
        let head = self.head(hash.bucket);
        let places = matching(head, hash.tag) & head[0].load(Relaxed) & OCCUPIED;
        if places != 0 {
            let slot = self.slot_of_place(hash.bucket, places.trailing_zeros());
            let (key, value) = (self.key(slot), self.value(slot, 0));
            Region::prefetch(&key[0]);
            for line in value.chunks(8).take(4) {
                Region::prefetch(&line[line.len() - 1]);
            }
        }
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
        acquire(&head[0]) & PAYLOAD & OCCUPIED == 0 && next_in_head(acquire(&head[3])) == 0
    }
}
