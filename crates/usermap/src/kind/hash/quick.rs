//! The short ways: lookups and changes where all is as it is nearly always, so that they are a few
//! dozen instructions, most of which the processor has behind it when the memory arrives. For maps
//! with a seed and without a spin lock, keys that are in one of a bucket's places or certainly not in
//! its chain, buckets that nobody else is at. Whatever is different is left, as it was, to the long
//! ways (`read.rs`, `change.rs`): each function here gives nothing then.
//!
//! Layout, commits and orders of memory are the same on both ways. A writer finds first and locks
//! then, which fails if anything changed since; so nothing it does before needs to
//! be taken back.
//!
//! Lengths are those of the slices given, which must be the map's: where they are known when
//! compiling, copies and comparisons are single instructions.

use super::bucket::{LINK, OCCUPIED, matching, may_lead_to, set_tag};
use super::{Hash, PLACES, Presence, Slot, USED_PLACES};
use crate::kind::redo::changed;
use crate::mem::buckets::{Bucket, Head};
use crate::mem::bytes;
use crate::mem::owner::Writer;
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};
use crate::mem::tags::Places;

/// What a look at a key's bucket showed.
struct Seen<'r> {
    bucket: Bucket<'r>,
    /// The bucket's number.
    number: u32,
    /// The hash.
    whole: u64,
    /// The lock word.
    word: u64,
    /// The place that has the key, and its entry.
    found: Option<(u32, &'r [AtomicU64])>,
}

impl<'r> Hash<'r> {
    /// Copies the value of a key out; says whether there is one.
    #[inline(always)]
    pub(crate) fn get_quickly(&self, key: &[u8], value: &mut [u8]) -> Option<bool> {
        let hash = self.geometry.ready.hash(key);
        let length = bytes::words(key.len()) + bytes::words(value.len());
        let (bucket, _) = self.buckets.as_ref()?.of(hash, length)?;
        Some(get(&bucket, hash, key, |from| bytes::load(from, value))?.is_some())
    }

    /// Where the entry of a key is, if there is one.
    #[inline(always)]
    pub(crate) fn locate_quickly(&self, key: &[u8]) -> Option<Option<Slot>> {
        let seen = self.look(key, self.geometry.value_bytes)?;
        let slot = seen.found.map(|(place, _)| self.slot_of_place(seen.number, place));
        is_still_so(seen.bucket.head, seen.word).then_some(slot)
    }

    /// Sets the value, of up to a word, of a key that is there.
    #[inline(always)]
    pub(crate) fn set_quickly(&self, writer: Writer<'_>, key: &[u8], value: &[u8]) -> Option<()> {
        let seen = self.look(key, value.len())?;
        let word = &seen.found?.1[bytes::words(key.len())..];
        self.change_word(writer, &seen, || bytes::store(word, value))
    }

    /// Sets the value of a key. One of up to a word is stored where the old one is, unless
    /// pointers to that are to keep it; else the entry is replaced by another one.
    #[inline(always)]
    pub(crate) fn put_quickly(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value: &[u8],
        presence: Presence,
        in_place: bool,
    ) -> Option<()> {
        let seen = self.look(key, value.len())?;
        match seen.found {
            Some(_) if presence == Presence::Absent => None,
            Some((_, entry)) if in_place && value.len() <= 8 => {
                self.change_word(writer, &seen, || {
                    bytes::store(&entry[bytes::words(key.len())..], value);
                })
            }
            None if presence == Presence::Present => None,
            found => self.put_beside(writer, &seen, found.map(|(place, _)| place), key, value),
        }
    }

    /// Adds to the number that is a value of `width` bytes; gives the sum.
    #[inline(always)]
    pub(crate) fn add_quickly(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        width: usize,
        delta: u64,
    ) -> Option<u64> {
        let seen = self.look(key, width)?;
        let word = &seen.found?.1[bytes::words(key.len())];
        self.change_word(writer, &seen, || self.add_to(word, width, delta))
    }

    /// Changes the word that is a key's value on one CPU slot of a map per CPU.
    #[inline(always)]
    pub(crate) fn change_on<T>(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        cpu: u32,
        change: impl FnOnce(&AtomicU64) -> T,
    ) -> Option<T> {
        let seen = self.look_for(key, bytes::words(key.len()))?;
        let slot = self.slot_of_place(seen.number, seen.found?.0);
        let word = self.words.get(self.value_word(slot, cpu))?;
        self.change_word(writer, &seen, || change(word))
    }

    /// Deletes a key and copies its value out, as it was at the end; says whether it was there.
    #[inline(always)]
    pub(crate) fn remove_quickly(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value_bytes: usize,
        taken: Option<&mut [u8]>,
    ) -> Option<bool> {
        let seen = self.look(key, value_bytes)?;
        let Some((place, entry)) = seen.found else {
            return is_still_so(seen.bucket.head, seen.word).then_some(false);
        };
        let head = seen.bucket.head;
        let intent = self.lock_quickly(writer, head, seen.number, seen.word)?;
        if let Some(value) = taken {
            bytes::load(&entry[bytes::words(key.len())..], value);
        }
        let count = self.count();
        let announced = count.announce(writer, intent);
        head[0].store(changed(seen.word) & !(1 << place), Release);
        count.subtract(writer, &announced);
        writer.end(announced.intent);
        Some(true)
    }

    /// Finds a key as it is now. Nothing if that takes more than a look at the places.
    #[inline(always)]
    fn look(&self, key: &[u8], value_bytes: usize) -> Option<Seen<'r>> {
        self.look_for(key, bytes::words(key.len()) + bytes::words(value_bytes))
    }

    /// The same in places of `length` words: in a map per CPU they hold a key only.
    #[inline(always)]
    fn look_for(&self, key: &[u8], length: usize) -> Option<Seen<'r>> {
        let whole = self.geometry.ready.hash(key);
        let (bucket, number) = self.buckets.as_ref()?.of(whole, length)?;
        let word = acquire(&bucket.head[0]);
        let places = matching(bucket.head, whole, word);
        if places.first().is_some() {
            bucket.expect();
        }
        let found = find_among(&bucket, places, whole, key)?;
        Some(Seen { bucket, number, whole, word, found })
    }

    /// Changes one word, which is its own commit: the version can stay.
    #[inline(always)]
    fn change_word<T>(
        &self,
        writer: Writer<'_>,
        seen: &Seen<'_>,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let head = seen.bucket.head;
        let intent = self.lock_quickly(writer, head, seen.number, seen.word)?;
        let done = change();
        head[0].store(seen.word, Release);
        writer.end(intent);
        Some(done)
    }

    /// Makes an entry in a free place, and that in the place `old` disappear with the same commit.
    #[inline(always)]
    fn put_beside(
        &self,
        writer: Writer<'_>,
        seen: &Seen<'_>,
        old: Option<u32>,
        key: &[u8],
        value: &[u8],
    ) -> Option<()> {
        let &Seen { bucket: Bucket { head, .. }, number, whole, word, .. } = seen;
        let (occupied, count) = (word & OCCUPIED, self.count());
        let free = occupied.trailing_ones();
        // One place, which may be any, is kept for replacements.
        let full = match old {
            Some(_) => free >= PLACES as u32,
            None => occupied.count_ones() >= USED_PLACES || !count.has_room(writer),
        };
        if full {
            return None;
        }
        let mut intent = self.lock_quickly(writer, head, number, word)?;
        if old.is_none() {
            let Some(counted) = count.add_quickly(writer, intent) else {
                head[0].store(word, Release);
                writer.end(intent);
                return None;
            };
            intent = counted;
        }
        let entry = seen.bucket.entry(free);
        bytes::store(entry, key);
        bytes::store(&entry[bytes::words(key.len())..], value);
        set_tag(head, free, (whole >> 56) as u8);
        let gone = old.map_or(0, |old| 1 << old);
        head[0].store(changed(word) & !gone | 1 << free, Release);
        writer.end(intent);
        Some(())
    }
}

/// Which of these places of a bucket has the key with this hash, and the entry there. Nothing if the
/// key may be in a node.
#[inline(always)]
pub(super) fn find_among<'r>(
    bucket: &Bucket<'r>,
    mut places: Places,
    hash: u64,
    key: &[u8],
) -> Option<Option<(u32, &'r [AtomicU64])>> {
    while let Some(place) = places.first() {
        let entry = bucket.entry(place);
        if bytes::equal(entry, key) {
            return Some(Some((place, entry)));
        }
        places = places.rest();
    }
    let chained = may_lead_to(acquire(&bucket.head[LINK]), hash);
    (!chained).then_some(None)
}

/// Lets `read` copy the value of a key with this hash out, if the bucket has one.
#[inline(always)]
pub(super) fn get<T>(
    bucket: &Bucket<'_>,
    hash: u64,
    key: &[u8],
    read: impl FnOnce(&[AtomicU64]) -> T,
) -> Option<Option<T>> {
    let word = acquire(&bucket.head[0]);
    let places = matching(bucket.head, hash, word);
    if places.first().is_some() {
        bucket.expect();
    }
    get_among(bucket, places, (hash, word), key, read)
}

/// Lets `read` copy the value of a key with this hash out of the one of these places that has it, if
/// one has, as it was while the lock word was `word`. Nothing if that takes the long way.
#[inline(always)]
pub(super) fn get_among<T>(
    bucket: &Bucket<'_>,
    mut places: Places,
    (hash, word): (u64, u64),
    key: &[u8],
    read: impl FnOnce(&[AtomicU64]) -> T,
) -> Option<Option<T>> {
    // Hits and misses have their own ends: if they met before the word is compared, what was found
    // would be asked again after that.
    while let Some(place) = places.first() {
        let entry = bucket.entry(place);
        if bytes::equal(entry, key) {
            let value = read(&entry[bytes::words(key.len())..]);
            return is_still_so(bucket.head, word).then_some(Some(value));
        }
        places = places.rest();
    }
    let chained = may_lead_to(acquire(&bucket.head[LINK]), hash);
    (!chained && is_still_so(bucket.head, word)).then_some(None)
}

/// Whether a bucket's lock word is still `word`, after all reading. If others only took the lock,
/// the long way tells.
#[inline(always)]
pub(super) fn is_still_so(head: &Head, word: u64) -> bool {
    fence(Acquire);
    head[0].load(Relaxed) == word
}
