//! The lanes of a queue or stack: control words for each ring, and its places, where values are. That
//! all are within the region is checked once, when the map is opened; from then on numbers are
//! compared, and no ends of ranges computed.

use super::sync::AtomicU64;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Words of a ring's control part: two cache lines.
pub(crate) const CONTROL: usize = 16;

/// A ring's control part.
pub(crate) type Control = [AtomicU64; CONTROL];

/// What a region's lanes are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Rings.
    pub(crate) rings: u32,
    /// The word where their control parts start.
    pub(crate) controls: usize,
    /// The word where the values start.
    pub(crate) values: usize,
    /// Places of a ring.
    pub(crate) places: u64,
    /// Words of a place.
    pub(crate) words: usize,
    /// Words from one ring's places to the next's.
    pub(crate) plane: usize,
}

/// Where the lanes of a region are.
#[derive(Debug)]
pub(crate) struct Lanes {
    controls: NonNull<Control>,
    values: NonNull<AtomicU64>,
    rings: u32,
    places: u64,
    words: usize,
    plane: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'r> {
    pub(crate) control: &'r Control,
    values: NonNull<AtomicU64>,
    places: u64,
    words: usize,
    region: PhantomData<&'r AtomicU64>,
}

// SAFETY: the pointers lead to atomics, which any thread may use, in memory that is there as long
// as the lanes are (`Lanes::new`).
unsafe impl Send for Lanes {}
// SAFETY: as above.
unsafe impl Sync for Lanes {}

impl Lanes {
    /// No lanes.
    pub(super) const NONE: Lanes = Lanes {
        controls: NonNull::dangling(),
        values: NonNull::dangling(),
        rings: 0,
        places: 0,
        words: 0,
        plane: 0,
    };

    /// Lanes of this shape. Nothing if they do not all fit.
    ///
    /// # Safety
    ///
    /// The words must be there, to read as atomics, as long as the result is.
    pub(super) unsafe fn new(region: NonNull<[AtomicU64]>, shape: Shape) -> Option<Lanes> {
        let Shape { rings, controls, values, places, words, plane } = shape;
        let room = |start: usize, each: usize| {
            let end = each.checked_mul(rings as usize)?.checked_add(start)?;
            (end <= region.len()).then_some(())
        };
        room(controls, CONTROL)?;
        room(values, plane)?;
        let all = usize::try_from(places).ok()?.checked_mul(words)?;
        if all > plane {
            return None;
        }
        let start = region.cast::<AtomicU64>();
        // SAFETY: both are in range of the words, as was just checked.
        let (controls, values) = unsafe { (start.add(controls).cast(), start.add(values)) };
        Some(Lanes { controls, values, rings, places, words, plane })
    }

    /// The lane of a ring, if there is one and its values have this length in words.
    #[inline(always)]
    pub(crate) fn get(&self, ring: u32, words: usize) -> Option<Lane<'_>> {
        if ring >= self.rings || words != self.words {
            return None;
        }
        // SAFETY: there are `rings` control parts and `rings` times `plane` words of values in the
        // region (`new`), which is there as long as `self` is.
        let (control, values) = unsafe {
            let values = self.values.add(ring as usize * self.plane);
            (self.controls.add(ring as usize).as_ref(), values)
        };
        Some(Lane { control, values, places: self.places, words, region: PhantomData })
    }
}

impl<'r> Lane<'r> {
    /// The words of a place, if there is one of this number.
    #[inline(always)]
    pub(crate) fn place(&self, number: u64) -> Option<&'r [AtomicU64]> {
        if number >= self.places {
            return None;
        }
        let start = number as usize * self.words;
        // SAFETY: the ring has `places` times `words` words (`Lanes::new`).
        Some(unsafe { core::slice::from_raw_parts(self.values.add(start).as_ptr(), self.words) })
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
        let lanes = |shape| unsafe { Lanes::new(all, shape) };
        let shape = Shape { rings: 2, controls: 4, values: 40, places: 3, words: 2, plane: 7 };
        let two = lanes(shape).unwrap();
        let second = two.get(1, 2).unwrap();
        assert_eq!(second.control.as_ptr(), &raw const words[20]);
        let last = second.place(2).unwrap();
        assert_eq!((last.as_ptr(), last.len()), (&raw const words[51], 2));
        assert!(second.place(3).is_none() && second.place(u64::MAX).is_none());
        assert!(two.get(2, 2).is_none() && two.get(0, 1).is_none() && two.get(0, 3).is_none());
        assert!(lanes(Shape { controls: 68, ..shape }).is_some());
        assert!(lanes(Shape { controls: 69, ..shape }).is_none());
        assert!(lanes(Shape { values: 86, ..shape }).is_some());
        assert!(lanes(Shape { values: 87, ..shape }).is_none());
        assert!(lanes(Shape { places: 4, ..shape }).is_none());
        assert!(lanes(Shape { places: u64::MAX, ..shape }).is_none());
        assert!(lanes(Shape { values: usize::MAX, ..shape }).is_none());
        assert!(Lanes::NONE.get(0, 0).is_none());
    }
}
