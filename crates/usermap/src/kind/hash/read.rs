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

/// One of many keys that are looked up at once: what was seen of its bucket.
pub(crate) struct Wanted<'h, 'r> {
    hash: &'h Hash<'r>,
    key: &'h [u8],
    bucket: u32,
    /// The lock word.
    word: u64,
    /// The places whose tag is the key's.
    found: u32,
}

impl Wanted<'_, '_> {
    /// As [`Hash::get`].
    #[inline(always)]
    pub(crate) fn get(self, value: &mut [u8]) -> Result<bool, Reason> {
        let Wanted { hash, key, bucket, word, mut found } = self;
        let head = hash.head(bucket);
        while found != 0 {
            let slot = hash.slot_of_place(bucket, found.trailing_zeros());
            let (key_words, value_words) = hash.entry(slot, key.len(), value.len());
            if bytes::equal(key_words, key) {
                bytes::load(value_words, value);
                break;
            }
            found &= found - 1;
        }
        let chained = found == 0 && next_in_head(acquire(&head[3])) != 0;
        fence(Acquire);
        if chained || head[0].load(Relaxed) & PAYLOAD != word & PAYLOAD {
            return hash.get(key, value);
        }
        Ok(found != 0)
    }
}

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
        if let Some(place) = self.find_place(head, hash, key, self.geometry.key_stride, word) {
            return Ok(Some(self.slot_of_place(hash.bucket, place)));
        }
        if next_in_head(acquire(&head[3])) == 0 {
            return Ok(None);
        }
        self.find_node(hash, key)
    }

    /// Which place of a bucket has a key. The words from one key to the next are given, so that
    /// those that are known when compiling make straight code.
    #[inline(always)]
    pub(super) fn find_place(
        &self,
        head: &Head,
        hash: hashing::Hash,
        key: &[u8],
        stride: usize,
        word: u64,
    ) -> Option<u32> {
        let mut places = matching(head, hash.tag) & word & OCCUPIED;
        while places != 0 {
            let place = places.trailing_zeros();
            let start =
                self.geometry.keys + self.slot_of_place(hash.bucket, place) as usize * stride;
            if bytes::equal(&self.words[start..start + bytes::words(key.len())], key) {
                return Some(place);
            }
            places &= places - 1;
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
    ///
    /// The same as [`lookup_hashed`](Hash::lookup_hashed), written out for what is done most.
    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Reason> {
        let hash = self.geometry.hash(key);
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

    /// Looks many keys up, of a map that is not per CPU; `put` gets each key's number, and what
    /// copies its value out. The memory of up to [`AHEAD`] keys is asked for before the first is
    /// needed: first of the heads, then of the entries.
    #[inline(always)]
    pub(crate) fn get_many<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
        value_bytes: usize,
        mut put: impl FnMut(usize, Wanted<'_, 'r>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let (mut first, mut rest) = (0, keys);
        while rest.len() > 0 {
            let count = rest.len().min(AHEAD);
            let (mut buckets, mut tags) = ([0; AHEAD], [0; AHEAD]);
            for ((bucket, tag), key) in buckets.iter_mut().zip(&mut tags).zip(rest.clone()) {
                let hash = self.geometry.hash(key);
                (*bucket, *tag) = (hash.bucket, hash.tag);
                Region::prefetch(&self.head(hash.bucket)[0]);
            }
            let (mut words, mut found) = ([0; AHEAD], [0; AHEAD]);
            let matches = words.iter_mut().zip(&mut found);
            for ((word, found), (bucket, tag)) in matches.zip(buckets.iter().zip(&tags)).take(count)
            {
                let head = self.head(*bucket);
                *word = acquire(&head[0]);
                *found = (matching(head, *tag) & *word & OCCUPIED) as u32;
                self.prefetch_entry(*bucket, *found, value_bytes);
            }
            for number in 0..count {
                let Some(key) = rest.next() else { return Ok(()) };
                let (bucket, word, found) = (buckets[number], words[number], found[number]);
                put(first + number, Wanted { hash: self, key, bucket, word, found })?;
            }
            first += count;
        }
        Ok(())
    }

    /// Asks for the memory of the first entry that looks like a key's.
    #[inline(always)]
    fn prefetch_entry(&self, bucket: u32, places: u32, value_bytes: usize) {
        if places != 0 {
            let slot = self.slot_of_place(bucket, places.trailing_zeros());
            let (key, value) = self.entry(slot, self.geometry.key_size, value_bytes);
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
