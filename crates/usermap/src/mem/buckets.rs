//! The buckets of a hash: a head for each, and its places, where entries are. That both are within
//! the region is checked once, when the map is opened; from then on a bucket's number is enough.

use super::sync::AtomicU64;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Words of a bucket's head; from which one on there are the tags, a byte for each place.
pub(crate) const HEAD: usize = 4;
pub(crate) const TAGS: usize = 2;
/// Places of a bucket.
pub(crate) const PLACES: usize = 16;

/// A bucket's head.
pub(crate) type Head = [AtomicU64; HEAD];

/// Where the buckets of a region are.
#[derive(Debug)]
pub(crate) struct Buckets {
    heads: NonNull<Head>,
    entries: NonNull<AtomicU64>,
    count: u32,
    /// Words from one entry to the next.
    stride: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Bucket<'r> {
    pub(crate) head: &'r Head,
    /// The entries of all its places, `stride` words each.
    entries: NonNull<AtomicU64>,
    stride: usize,
    region: PhantomData<&'r AtomicU64>,
}

// SAFETY: the pointers lead to atomics, which any thread may use, in memory that is there as long
// as the buckets are (`Buckets::new`).
unsafe impl Send for Buckets {}
// SAFETY: as above.
unsafe impl Sync for Buckets {}

impl Buckets {
    /// No buckets.
    pub(super) const NONE: Buckets =
        Buckets { heads: NonNull::dangling(), entries: NonNull::dangling(), count: 0, stride: 0 };

    /// So many buckets whose heads start at one word and whose entries at another. Nothing if they
    /// do not all fit.
    ///
    /// # Safety
    ///
    /// The words must be there, to read as atomics, as long as the result is.
    pub(super) unsafe fn new(
        words: NonNull<[AtomicU64]>,
        heads: usize,
        entries: usize,
        count: u32,
        stride: usize,
    ) -> Option<Buckets> {
        let room = |start: usize, each: usize| {
            let end = each.checked_mul(count as usize)?.checked_add(start)?;
            (end <= words.len()).then_some(())
        };
        room(heads, HEAD)?;
        room(entries, stride.checked_mul(PLACES)?)?;
        let start = words.cast::<AtomicU64>();
        // SAFETY: both are in range of the words, as was just checked.
        let (heads, entries) = unsafe { (start.add(heads).cast(), start.add(entries)) };
        Some(Buckets { heads, entries, count, stride })
    }

    /// The bucket with this number, if there is one and its entries have this length in words.
    #[inline(always)]
    pub(crate) fn get(&self, number: u32, stride: usize) -> Option<Bucket<'_>> {
        if number >= self.count || stride != self.stride {
            return None;
        }
        // SAFETY: there are `count` heads and `count` times `PLACES` entries of `stride` words in
        // the region (`new`), which is there as long as `self` is.
        let (head, entries) = unsafe {
            let entries = self.entries.add(number as usize * PLACES * stride);
            (self.heads.add(number as usize).as_ref(), entries)
        };
        Some(Bucket { head, entries, stride, region: PhantomData })
    }
}

impl<'r> Bucket<'r> {
    /// The words of the entry in a place.
    #[inline(always)]
    pub(crate) fn entry(&self, place: u32) -> &'r [AtomicU64] {
        let start = place as usize % PLACES * self.stride;
        // SAFETY: the bucket has `PLACES` entries of `stride` words (`Buckets::get`).
        unsafe { core::slice::from_raw_parts(self.entries.add(start).as_ptr(), self.stride) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn all_fit_or_there_are_none() {
        let words: Vec<AtomicU64> = (0..100).map(AtomicU64::new).collect();
        let all = NonNull::from(words.as_slice());
        // SAFETY: the words outlive what is made of them here.
        let buckets = |heads, entries, count, stride| unsafe {
            Buckets::new(all, heads, entries, count, stride)
        };
        let two = buckets(4, 12, 2, 2).unwrap();
        let second = two.get(1, 2).unwrap();
        assert_eq!(second.head[0].load(super::super::sync::Ordering::Relaxed), 8);
        assert_eq!(second.entry(15).as_ptr(), &raw const words[12 + 31 * 2]);
        assert_eq!(second.entry(16).as_ptr(), second.entry(0).as_ptr(), "in range, whatever asked");
        assert!(two.get(2, 2).is_none() && two.get(0, 1).is_none() && two.get(0, 3).is_none());
        assert!(buckets(92, 0, 2, 1).is_some() && buckets(93, 0, 2, 1).is_none());
        assert!(buckets(0, 68, 2, 1).is_some() && buckets(0, 69, 2, 1).is_none());
        assert!(
            buckets(usize::MAX, 0, 1, 1).is_none() && buckets(0, 0, 2, usize::MAX / 8).is_none()
        );
        assert!(Buckets::NONE.get(0, 0).is_none());
    }
}
