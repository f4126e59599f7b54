//! Arrays: what one must be able to do to take part, and the workloads.
use crate::harness::Run;
use crate::keys::{Cells, NUMBER, Sequence, sum};

/// An array of values of `W` words.
pub trait Slots<const W: usize>: Sync + Sized {
    /// Its name in results.
    const NAME: &'static str;
    /// Whether it has [`Slots::add`].
    const ADDS: bool = true;
    /// Whether it has the rest.
    const COPIES: bool = true;
    /// An array of zeros; `None` if that cannot be had here.
    fn create(entries: usize) -> Option<Self>;
    /// A copy of a value.
    fn get(&self, index: u32) -> [u64; W];
    /// Replaces a value.
    fn set(&self, index: u32, value: &[u64; W]) -> bool;
    /// Atomic add of 1 to the first word.
    fn add(&self, index: u32) -> bool;
}

/// An array all of whose values have been written once, so that its memory is there.
pub fn filled<S: Slots<W>, const W: usize>(entries: usize) -> Option<S> {
    let slots = S::create(entries)?;
    (0..entries as u32).for_each(|index| {
        if S::COPIES {
            slots.set(index, &[1; W])
        } else {
            slots.add(index)
        };
    });
    Some(slots)
}

/// The operations.
pub const OPS: [&str; 3] = ["get", "set", "add"];

/// One operation at random indices; `None` if it takes no part.
pub fn run<'a, S: Slots<W>, const W: usize>(
    slots: &'a S,
    op: &str,
    sequences: &'a [Sequence],
) -> Option<Run<'a>> {
    match op {
        "get" if S::COPIES => Some(Box::new(move |thread, first, count| {
            let mut total = 0u64;
            sequences[thread].each(first, count, |element| {
                total = total.wrapping_add(sum(&slots.get(element & NUMBER)));
            });
            total
        })),
        "set" if S::COPIES => Some(Box::new(move |thread, first, count| {
            let mut good = 0;
            sequences[thread].each(first, count, |element| {
                good += u64::from(slots.set(element & NUMBER, &[u64::from(element); W]));
            });
            assert_eq!(good, count, "{}: set", S::NAME);
            good
        })),
        "add" if S::ADDS => Some(Box::new(move |thread, first, count| {
            let mut good = 0;
            sequences[thread].each(first, count, |element| {
                good += u64::from(slots.add(element & NUMBER));
            });
            assert_eq!(good, count, "{}: add", S::NAME);
            good
        })),
        _ => None,
    }
}

/// A `Vec` of atomic words: the bound for anything that is shared.
pub struct Atomics<const W: usize>(Vec<Cells<W>>);

impl<const W: usize> Slots<W> for Atomics<W> {
    const NAME: &'static str = "vec_of_atomics";

    fn create(entries: usize) -> Option<Self> {
        Some(Atomics((0..entries).map(|_| Cells::new(0)).collect()))
    }
    #[inline(always)]
    fn get(&self, index: u32) -> [u64; W] {
        self.0[index as usize].load()
    }
    #[inline(always)]
    fn set(&self, index: u32, value: &[u64; W]) -> bool {
        self.0[index as usize].store(value);
        true
    }
    #[inline(always)]
    fn add(&self, index: u32) -> bool {
        self.0[index as usize].add(1) != 0
    }
}
