//! Lookups through a handle with types: the short way (`quick.rs`) with all that does not depend on
//! the key decided when the handle was made. One by one, and many at once in steps, each of which is
//! done for all of them and asks for the memory that the next one needs.

use super::Hash;
use super::bucket::matching;
use super::hashing::Seed;
use super::quick::{get, get_among};
use crate::mem::buckets::{BucketsOf, Entry};
use crate::mem::sync::{AtomicU64, acquire};
use crate::mem::tags::Places;
use crate::mem::{Region, bytes};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Words of a map that is near as a whole, and does not need the steps.
const NEAR: usize = 1 << 19;

/// What the lookups through one handle need, side by side.
pub(crate) struct Reader<T, K, V> {
    seed: Seed,
    buckets: BucketsOf<(K, V), T>,
    far: bool,
}

impl<K, V> Entry for (K, V) {
    const WORDS: usize = bytes::words(size_of::<K>()) + bytes::words(size_of::<V>());
}

/// What was seen of a key's bucket so far.
#[derive(Clone, Copy, Default)]
struct Wanted {
    hash: u64,
    /// The lock word.
    word: u64,
    /// The places whose tag is the key's.
    places: Places,
}

impl<T: AsRef<Region>, K, V> Reader<T, K, V> {
    /// Of a hash in the owner's region. One of a handle that may not read finds nothing.
    pub(crate) fn new(owner: &Arc<T>, hash: Hash<'_>, may_read: bool) -> Reader<T, K, V> {
        Reader {
            seed: hash.geometry.ready,
            buckets: BucketsOf::new(owner, may_read),
            far: hash.words.len() > hash.geometry.heads + NEAR,
        }
    }
}

impl<T, K: IntoBytes + Immutable, V: FromBytes + IntoBytes> Reader<T, K, V> {
    /// Copies the value of a key out, if there is one. Nothing where that takes the long way.
    #[inline(always)]
    pub(crate) fn get(&self, key: &K) -> Option<Option<V>> {
        let key = key.as_bytes();
        let hash = self.seed.hash(key);
        get(&self.buckets.of(hash)?, hash, key, Self::value)
    }

    /// Copies the values of many keys out. What takes the long way is left to `other`.
    #[inline(always)]
    pub(crate) fn get_many<E>(
        &self,
        keys: &[K],
        values: &mut [Option<V>],
        mut other: impl FnMut(&K) -> Result<Option<V>, E>,
    ) -> Result<(), E> {
        match keys.len() {
            _ if !self.far => {
                for (key, value) in keys.iter().zip(values) {
                    // Stored in each case: a result of all cases would go through memory first.
                    match self.get(key) {
                        Some(found) => *value = found,
                        None => *value = other(key)?,
                    }
                }
                Ok(())
            }
            // What is not used of a longer list is to be made, too.
            ..=16 => self.get_ahead::<16, E>(keys, values, other),
            17..=32 => self.get_ahead::<32, E>(keys, values, other),
            _ => self.get_ahead::<64, E>(keys, values, other),
        }
    }

    /// The same, each step for so many keys at once.
    #[inline(always)]
    fn get_ahead<const AHEAD: usize, E>(
        &self,
        keys: &[K],
        values: &mut [Option<V>],
        mut other: impl FnMut(&K) -> Result<Option<V>, E>,
    ) -> Result<(), E> {
        for (keys, values) in keys.chunks(AHEAD).zip(values.chunks_mut(AHEAD)) {
            let mut wanted = [Wanted::default(); AHEAD];
            let wanted = &mut wanted[..keys.len()];
            for (wanted, key) in wanted.iter_mut().zip(keys) {
                wanted.hash = self.seed.hash(key.as_bytes());
                if let Some(bucket) = self.buckets.of(wanted.hash) {
                    Region::prefetch(&bucket.head[0]);
                }
            }
            for wanted in wanted.iter_mut() {
                // Found again: that takes less than keeping it.
                let Some(bucket) = self.buckets.of(wanted.hash) else { continue };
                wanted.word = acquire(&bucket.head[0]);
                wanted.places = matching(bucket.head, wanted.hash, wanted.word);
                // If no tag is the key's, any.
                Self::fetch(bucket.entry(wanted.places.first().unwrap_or(0)));
            }
            for ((wanted, key), value) in wanted.iter().zip(keys).zip(values) {
                let found = self.buckets.of(wanted.hash).and_then(|bucket| {
                    let seen = (wanted.hash, wanted.word);
                    get_among(&bucket, wanted.places, seen, key.as_bytes(), Self::value)
                });
                match found {
                    Some(found) => *value = found,
                    None => *value = other(key)?,
                }
            }
        }
        Ok(())
    }

    /// Asks for the first lines of an entry.
    #[inline(always)]
    fn fetch(entry: &[AtomicU64]) {
        let words = <(K, V)>::WORDS.min(32);
        for word in (0..words).step_by(8) {
            Region::prefetch(&entry[word]);
        }
        // Entries start at multiples of this, so what lies between two multiples is in one line.
        let unit = (1 << words.trailing_zeros()).min(8);
        let last = (words - 1) / unit * unit;
        if last % 8 != 0 {
            Region::prefetch(&entry[last]);
        }
    }

    #[inline(always)]
    fn value(from: &[AtomicU64]) -> V {
        let mut value = V::new_zeroed();
        bytes::load(from, value.as_mut_bytes());
        value
    }
}

impl<T, K, V> Clone for Reader<T, K, V> {
    fn clone(&self) -> Self {
        Reader { seed: self.seed, buckets: self.buckets.clone(), far: self.far }
    }
}
