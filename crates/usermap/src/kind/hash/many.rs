//! The short lookup (`quick.rs`) in steps, for many keys at once: each step is done for all of them
//! and asks for the memory that the next one needs.

use super::Hash;
use super::bucket::{Head, matching};
use crate::mem::sync::acquire;
use crate::mem::{Region, bytes};

/// Keys to take each step with.
pub(crate) const AHEAD: usize = 32;

/// Words of a map that is near as a whole, and does not need the steps.
const NEAR: usize = 1 << 16;

/// What was seen of a key's bucket so far; nothing in a map that has no short ways.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'r> {
    head: Option<&'r Head>,
    /// The hash; after the second step the lock word.
    word: u64,
    bucket: u32,
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
    pub(crate) fn want(&self, key: &[u8]) -> Wanted<'r> {
        let Some((whole, bucket, head)) = self.bucket_of(&self.geometry.finder, key) else {
            return Wanted::default();
        };
        Region::prefetch(&head[0]);
        Wanted { head: Some(head), word: whole, bucket, places: 0 }
    }

    /// Finds the entry that is probably the key's.
    #[inline(always)]
    pub(crate) fn approach(&self, wanted: &mut Wanted<'r>, key_bytes: usize, value_bytes: usize) {
        let Some(head) = wanted.head else { return };
        let word = acquire(&head[0]);
        wanted.places = matching(head, wanted.word, word);
        wanted.word = word;
        // A place that exists even if no tag is the key's.
        let place = wanted.places.trailing_zeros() % 16;
        let length = bytes::words(key_bytes) + bytes::words(value_bytes);
        if let Some([first, rest @ ..]) =
            self.entry_at(&self.geometry.finder, wanted.bucket, place, length)
        {
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
        let &Wanted { head, word, bucket, places } = wanted;
        let length = bytes::words(key.len()) + bytes::words(value.len());
        let finder = &self.geometry.finder;
        let found = self.find_among(finder, head?, bucket, places, key, length)?;
        self.read(head?, word, found.map(|(_, entry)| entry), key, value)
    }
}
