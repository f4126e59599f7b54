//! The buckets of a hash: a head for each, and its places, where entries are. That both are within
//! the region is checked once, when the map is opened; from then on a bucket's number is enough.

use super::Region;
use super::sync::AtomicU64;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::sync::Arc;

/// Words of a bucket's head; from which one on there are the tags, a byte for each place.
pub(crate) const HEAD: usize = 4;
pub(crate) const TAGS: usize = 2;
/// Places of a bucket.
pub(crate) const PLACES: usize = 16;

/// A bucket's head.
pub(crate) type Head = [AtomicU64; HEAD];

/// Where the buckets of a region are, and which of them a hash leads to: `(hash & mask) * scale / 2³²`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets {
    mask: u64,
    scale: u64,
    heads: NonNull<Head>,
    entries: NonNull<AtomicU64>,
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
    /// The buckets whose heads start at one word and whose entries at another. Nothing if one that
    /// a hash can lead to is not in range.
    ///
    /// # Safety
    ///
    /// The words must be there, to read as atomics, as long as the result and its copies are.
    pub(super) unsafe fn new(
        words: NonNull<[AtomicU64]>,
        heads: usize,
        entries: usize,
        stride: usize,
        (mask, scale): (u64, u64),
    ) -> Option<Buckets> {
        let count = usize::try_from(mask.checked_mul(scale)? >> 32).ok()? + 1;
        let room = |start: usize, each: usize| {
            let end = each.checked_mul(count)?.checked_add(start)?;
            (end <= words.len()).then_some(())
        };
        room(heads, HEAD)?;
        room(entries, stride.checked_mul(PLACES)?)?;
        let start = words.cast::<AtomicU64>();
        // SAFETY: both are in range of the words, as was just checked.
        let (heads, entries) = unsafe { (start.add(heads).cast(), start.add(entries)) };
        Some(Buckets { mask, scale, heads, entries, stride })
    }

    /// The bucket that a hash leads to, and its number, if its entries have this length in words.
    #[inline(always)]
    pub(crate) fn of(&self, hash: u64, stride: usize) -> Option<(Bucket<'_>, u32)> {
        if stride != self.stride {
            return None;
        }
        let number = ((hash & self.mask) * self.scale) >> 32;
        // SAFETY: the product is at most that of `mask` and `scale`, so there are this head and
        // the `PLACES` entries of `stride` words in the region (`new`), as long as `self` is.
        let (head, entries) = unsafe {
            let entries = self.entries.add(number as usize * PLACES * stride);
            (self.heads.add(number as usize).as_ref(), entries)
        };
        Some((Bucket { head, entries, stride, region: PhantomData }, number as u32))
    }
}

/// Entries of a size that is known when compiling.
pub(crate) trait Entry {
    /// Words of one.
    const WORDS: usize;
}

/// The buckets of a region whose entries are of such a size, with what keeps the region: to find one
/// of them nothing needs to be compared.
pub(crate) struct BucketsOf<E, T> {
    /// Nothing if the region's are others.
    buckets: Option<Buckets>,
    entry: PhantomData<fn() -> E>,
    owner: Arc<T>,
}

impl<E: Entry, T: AsRef<Region>> BucketsOf<E, T> {
    /// Those of the owner's region, if they are `wanted`.
    pub(crate) fn new(owner: &Arc<T>, wanted: bool) -> BucketsOf<E, T> {
        let buckets = T::as_ref(owner).buckets();
        let buckets = buckets.filter(|buckets| wanted && buckets.stride == E::WORDS);
        BucketsOf { buckets, entry: PhantomData, owner: owner.clone() }
    }
}

impl<E: Entry, T> BucketsOf<E, T> {
    /// The bucket that a hash leads to, if there are any.
    #[inline(always)]
    pub(crate) fn of(&self, hash: u64) -> Option<Bucket<'_>> {
        const BYTES: usize = HEAD * 8;
        let Buckets { mask, scale, heads, entries, .. } = self.buckets.as_ref()?;
        // The number times `BYTES`, which is a power of two.
        let start = ((hash & mask) * scale) >> (32 - BYTES.trailing_zeros());
        let start = start as usize & !(BYTES - 1);
        // SAFETY: as in `Buckets::of`; the stride was compared in `new`. The region is there as
        // long as its owner is, which is shared with `self` and so stays as it is.
        let (head, entries) = unsafe {
            let entries = entries.byte_add(start * (PLACES * E::WORDS / HEAD));
            (heads.byte_add(start).as_ref(), entries)
        };
        Some(Bucket { head, entries, stride: E::WORDS, region: PhantomData })
    }
}

impl<E, T> Clone for BucketsOf<E, T> {
    fn clone(&self) -> Self {
        BucketsOf { buckets: self.buckets, entry: PhantomData, owner: self.owner.clone() }
    }
}

impl<'r> Bucket<'r> {
    /// The words of the entry in a place.
    #[inline(always)]
    pub(crate) fn entry(&self, place: u32) -> &'r [AtomicU64] {
        let start = place as usize % PLACES * self.stride;
        // SAFETY: the bucket has `PLACES` entries of `stride` words (`Buckets::of`).
        unsafe { core::slice::from_raw_parts(self.entries.add(start).as_ptr(), self.stride) }
    }

    /// Asks for what a key's entry is probably in, before the head tells where it is: for those who
    /// found that the bucket has the key's tag. A processor that takes the key to be there, because
    /// those before it were, gets here while it waits for the head, so it waits for both at once.
    /// Where it expects a miss, it does not get here, and fetches nothing in vain.
    #[inline(always)]
    pub(crate) fn expect(&self) {
        // The lower places are filled first: small entries are in the first two lines. Of large
        // ones the page is what can be had.
        Region::prefetch(self.entries.as_ptr());
        if self.stride <= 4 {
            Region::prefetch(self.entries.as_ptr().wrapping_add(8));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::sync::Ordering::Relaxed;
    use super::*;

    #[test]
    fn all_fit_or_there_are_none() {
        let words: Vec<AtomicU64> = (0..100).map(AtomicU64::new).collect();
        let all = NonNull::from(words.as_slice());
        // Three of four hashes lead to the first of `count` buckets.
        let buckets = |heads, entries, count: u64, stride| {
            let scale = ((count - 1) << 32).div_ceil(3);
            // SAFETY: the words outlive what is made of them here.
            unsafe { Buckets::new(all, heads, entries, stride, (3, scale)) }
        };
        let two = buckets(4, 12, 2, 2).unwrap();
        let head = |hash| two.of(hash, 2).unwrap().0.head[0].load(Relaxed);
        assert_eq!([0, 1, 2, 3, 4, u64::MAX].map(head), [4, 4, 4, 8, 4, 8]);
        let (second, number) = two.of(3, 2).unwrap();
        assert_eq!(number, 1);
        assert_eq!(second.entry(15).as_ptr(), &raw const words[12 + 31 * 2]);
        assert_eq!(second.entry(16).as_ptr(), second.entry(0).as_ptr(), "in range, whatever asked");
        assert!(two.of(3, 1).is_none() && two.of(3, 3).is_none());
        assert!(buckets(92, 0, 2, 1).is_some() && buckets(93, 0, 2, 1).is_none());
        assert!(buckets(0, 68, 2, 1).is_some() && buckets(0, 69, 2, 1).is_none());
        assert!(
            buckets(usize::MAX, 0, 1, 1).is_none() && buckets(0, 0, 2, usize::MAX / 8).is_none()
        );
        // SAFETY: as above.
        assert!(unsafe { Buckets::new(all, 0, 0, 1, (u64::MAX, 2)) }.is_none());
    }

    struct Two;

    impl Entry for Two {
        const WORDS: usize = 2;
    }

    struct Owner(Region);

    impl AsRef<Region> for Owner {
        fn as_ref(&self) -> &Region {
            &self.0
        }
    }

    #[test]
    fn those_of_a_known_size_are_the_same() {
        let mut region = Region::anonymous(1 << 16).unwrap();
        // 31 buckets for 128 hashes.
        region.find_buckets(64, 512, 2, (127, 31 << 25));
        let owner = Arc::new(Owner(region));
        let of = BucketsOf::<Two, Owner>::new(&owner, true);
        for hash in (0..=128).chain([u64::MAX]) {
            let (bucket, number) = owner.0.buckets().as_ref().unwrap().of(hash, 2).unwrap();
            let same = of.of(hash).unwrap();
            assert!(core::ptr::eq(bucket.head, &raw const *same.head));
            assert_eq!(bucket.entry(5).as_ptr_range(), same.entry(5).as_ptr_range());
            assert_eq!(u64::from(number), (hash & 127) * 31 / 128);
        }
        assert!(BucketsOf::<Two, Owner>::new(&owner, false).of(0).is_none());
        let mut region = Region::anonymous(1 << 16).unwrap();
        region.find_buckets(64, 512, 3, (127, 31 << 25));
        assert!(BucketsOf::<Two, Owner>::new(&Arc::new(Owner(region)), true).of(0).is_none());
    }
}
