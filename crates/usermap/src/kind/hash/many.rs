//! The short lookup (`quick.rs`) in steps, for many keys at once: each step is done for all of them
//! and asks for the memory that the next one needs.

use super::Hash;
use super::bucket::matching;
use super::quick::{find_among, read};
use crate::mem::buckets::Bucket;
use crate::mem::sync::acquire;
use crate::mem::{Region, bytes};

/// Words of a map that is near as a whole, and does not need the steps.
const NEAR: usize = 1 << 16;

/// What was seen of a key's bucket so far; nothing in a map that has no short ways.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'r> {
    bucket: Option<Bucket<'r>>,
    /// The hash; after the second step the lock word.
    word: u64,
    /// The places whose tag is the key's.
    places: u32,
}

impl<'r> Hash<'r> {
    /// Whether the steps are worth their while.
    #[inline(always)]
    pub(crate) fn is_far(&self) -> bool {
        self.words.len() > self.geometry.heads + NEAR
    }

    /// Finds a key's head.
    #[inline(always)]
    pub(crate) fn want(&self, key: &[u8], value_bytes: usize) -> Wanted<'r> {
        let (word, number) = self.geometry.finder.hash(key);
        let length = bytes::words(key.len()) + bytes::words(value_bytes);
        let bucket = self.buckets.get(number, length);
        if let Some(bucket) = &bucket {
            Region::prefetch(&bucket.head[0]);
        }
        Wanted { bucket, word, places: 0 }
    }

    /// Finds the entry that is probably the key's.
    #[inline(always)]
    pub(crate) fn approach(&self, wanted: &mut Wanted<'r>) {
        let Some(bucket) = wanted.bucket else { return };
        let word = acquire(&bucket.head[0]);
        wanted.places = matching(bucket.head, wanted.word, word);
        wanted.word = word;
        // If no tag is the key's, any.
        if let [first, rest @ ..] = bucket.entry(wanted.places.trailing_zeros()) {
            Region::prefetch(first);
            // Each line from there to the last word, of the first four.
            for line in rest.chunks(8).take(4) {
                Region::prefetch(&line[line.len() - 1]);
            }
        }
    }

    /// Copies the value out, as [`get_quickly`](Hash::get_quickly).
    #[inline(always)]
    pub(crate) fn get_wanted(
        &self,
        wanted: &Wanted<'r>,
        key: &[u8],
        value: &mut [u8],
    ) -> Option<bool> {
        let bucket = wanted.bucket?;
        let found = find_among(&bucket, wanted.places, key)?;
        read(bucket.head, wanted.word, found.map(|(_, entry)| entry), key, value)
    }
}
