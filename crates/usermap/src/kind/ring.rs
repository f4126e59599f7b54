//! Rings: `QUEUE` and `STACK`, and one for each CPU slot: `PERCPU_QUEUE`, `PERCPU_STACK`.
//!
//! # Layout
//!
//! ```text
//! control   16 words a ring, two cache lines:
//!   QUEUE     0   tail: holder 63..52 | position after the newest value
//!             1   room: the position that pushes may go up to; or too low, never too high
//!             8   head: overwriting 63 | position of the oldest value
//!             9   filled: the position that pops may go up to, likewise
//!   STACK     0   top: holder 63..52 | version | number of values
//!             1   place of the oldest value
//! values    (a new page each ring) max_entries + 1 places of a value rounded up to 8 bytes each
//! ```
//!
//! The number of a place takes as many bits as `max_entries` does. A position is that in its lowest
//! bits, and in the other ones of 52 how often all places were gone through: positions only ever grow,
//! by `after`. A stack's version is as wide as the number of values leaves it, and grows with every
//! change.
//!
//! # Locking
//!
//! Pushes take the lock; they fill a place that nobody reads, and the release of the lock is the
//! commit. So do pops of a stack. Those of a queue take none: they copy, and the exchange that moves the
//! head on, and fails if it has moved since, is the commit. Peeks, pops that find nothing and pushes
//! that find no room take no lock.
//!
//! What happens nearly always has code of its own (`…_quickly`), which gives nothing where others are
//! at the ring, where it looks empty or full, and where it is damaged.

mod check;
#[cfg(all(test, not(any(loom, miri))))]
mod positions;
mod queue;
mod sized;
mod stack;

use super::{Extent, PAGE_WORDS};
use crate::error::Reason;
use crate::header;
use crate::mem::Region;
use crate::mem::lanes::{CONTROL, Control, Lane, Lanes, Shape};
use crate::mem::owner::{Intent, Operation, Owners, PAYLOAD, Repair, Writer, holder};
use crate::mem::sync::{AtomicU64, Ordering::*, spin_loop};
use crate::spec::Spec;

/// Where the parts of the rings are.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    max_entries: u64,
    /// The bits of a place's number.
    mask: u64,
    lifo: bool,
    per_cpu: bool,
    shape: Shape,
}

impl Geometry {
    /// The geometry of a map of this specification, from word `start` on; and all words in all.
    pub(crate) fn new(spec: &Spec, start: u64) -> Option<(Geometry, usize)> {
        let value_words = u64::from(spec.value_size).div_ceil(8);
        let rings = if spec.map_type.is_per_cpu() { spec.cpus } else { 1 };
        let max_entries = u64::from(spec.max_entries);
        let places = max_entries + 1;
        let mut extent = Extent::from(start.next_multiple_of(CONTROL as u64));
        let controls = extent.take(u64::from(rings), CONTROL as u64);
        extent.page();
        let plane = places.checked_mul(value_words)?.next_multiple_of(PAGE_WORDS);
        let values = extent.take(u64::from(rings), plane);
        let all = extent.total()?;
        let (words, plane) = (value_words as usize, plane as usize);
        let shape = Shape { rings, controls, values, places, words, plane };
        let mask = places.next_power_of_two() - 1;
        let (lifo, per_cpu) = (spec.map_type.is_lifo(), spec.map_type.is_per_cpu());
        Some((Geometry { max_entries, mask, lifo, per_cpu, shape }, all))
    }

    /// Finds the rings in a region.
    pub(crate) fn find_lanes(&self, region: &mut Region) {
        region.find_lanes(self.shape);
    }
}

/// The rings of a map in a region.
#[derive(Clone, Copy)]
pub(crate) struct Rings<'r> {
    words: &'r [AtomicU64],
    geometry: &'r Geometry,
    lanes: &'r Lanes,
    lifo: bool,
}

const NO_RING: Reason = Reason::Corrupt("a ring is not where it should be");
const OUT_OF_RANGE: Reason = Reason::Corrupt("a ring's index is out of its range");

impl<'r> Rings<'r> {
    #[inline(always)]
    pub(crate) fn new(region: &'r Region, geometry: &'r Geometry) -> Rings<'r> {
        let (words, lanes, lifo) = (region.words(), region.lanes(), geometry.lifo);
        Rings { words, geometry, lanes, lifo }
    }

    /// The same, for callers who know which kind it is when compiling.
    #[inline(always)]
    pub(crate) fn of_kind(self, lifo: bool) -> Rings<'r> {
        debug_assert_eq!(self.lifo, lifo);
        Rings { lifo, ..self }
    }

    #[inline(always)]
    fn owners(&self) -> Owners<'r> {
        header::owners(self.words)
    }

    /// A ring with values of so many words.
    #[inline(always)]
    fn lane(&self, ring: u32, words: usize) -> Result<Lane<'r>, Reason> {
        self.lanes.get(ring, words).ok_or(NO_RING)
    }

    fn control(&self, ring: u32) -> Result<&'r Control, Reason> {
        Ok(self.lane(ring, self.geometry.shape.words)?.control)
    }

    /// Values in a ring.
    pub(crate) fn len(&self, ring: u32) -> Result<u32, Reason> {
        let control = self.control(ring)?;
        let len = if self.lifo { self.height(control)? } else { self.length(control)? };
        Ok(len as u32)
    }

    /// Whether there is one for each CPU slot.
    #[inline(always)]
    pub(crate) fn are_per_cpu(&self) -> bool {
        self.geometry.per_cpu
    }

    /// Rings: 1 unless per CPU.
    pub(crate) fn count(&self) -> u32 {
        self.geometry.shape.rings
    }

    /// Pushes a value; with `replace` onto a full ring, too, which then loses its oldest.
    ///
    /// Lengths of values that are known when compiling make straight code; here and in `pop` and
    /// `peek`.
    #[inline(always)]
    pub(crate) fn push(
        &self,
        writer: Writer<'_>,
        ring: u32,
        value: &[u8],
        replace: bool,
    ) -> Result<(), Reason> {
        let pushed = match self.lifo {
            true => self.stack_quickly(writer, ring, value),
            false => self.enqueue_quickly(writer, ring, value),
        };
        match pushed {
            Some(()) => Ok(()),
            None => self.push_slowly(writer, ring, value, replace),
        }
    }

    /// The same where others are at the ring, it looks full, or it is damaged. Functions that are seldom
    /// called take `self` as a copy: what they take as a reference is kept in memory for them always.
    #[cold]
    #[inline(never)]
    fn push_slowly(
        self,
        writer: Writer<'_>,
        ring: u32,
        value: &[u8],
        replace: bool,
    ) -> Result<(), Reason> {
        let lane = self.lane(ring, value.len().div_ceil(8))?;
        // One that is full now need not be locked to say so.
        let is_full = || match self.lifo {
            true => self.is_high(lane.control),
            false => self.is_full(lane.control),
        };
        if !replace && is_full() {
            return Err(Reason::Full { max_entries: self.geometry.max_entries as u32 });
        }
        if !self.lifo && self.enqueue_after_others(writer, ring, lane, value).is_some() {
            return Ok(());
        }
        let locked = self.lock(writer, ring, lane)?;
        let next = match self.lifo {
            true => self.stack_locked(lane, locked.word, value, replace),
            false => self.enqueue_locked(lane, locked.word, value, replace),
        };
        locked.release(next.unwrap_or(locked.word));
        next.map(drop)
    }

    /// Locks a ring, with a wait for others.
    fn lock<'w>(
        &self,
        writer: Writer<'w>,
        ring: u32,
        lane: Lane<'w>,
    ) -> Result<Locked<'w>, Reason> {
        let intent = writer.begin(ring)?;
        let lock = &lane.control[0];
        give_way(lock);
        match self.owners().lock(lock, writer, self) {
            Ok(word) => Ok(Locked { writer, intent, lock, word }),
            Err(reason) => {
                writer.end(intent);
                Err(reason)
            }
        }
    }

    /// Pops a value. A `writer` is asked for only where a lock is needed.
    #[inline(always)]
    pub(crate) fn pop<'w>(
        &self,
        writer: impl FnOnce() -> Result<Writer<'w>, Reason>,
        ring: u32,
        value: &mut [u8],
    ) -> Result<(), Reason> {
        if self.lifo {
            let writer = writer()?;
            return match self.unstack_quickly(writer, ring, value) {
                Some(()) => Ok(()),
                None => self.unstack_slowly(writer, ring, value),
            };
        }
        match self.dequeue_quickly(ring, value) {
            Some(()) => Ok(()),
            None if self.is_empty(ring) => Err(Reason::NotFound),
            None => self.dequeue_slowly(ring, value),
        }
    }

    /// Copies the value that a pop would give.
    #[inline(always)]
    pub(crate) fn peek(&self, ring: u32, value: &mut [u8]) -> Result<(), Reason> {
        let lane = self.lane(ring, value.len().div_ceil(8))?;
        loop {
            let peeked = match self.lifo {
                true => self.look_at_newest(lane, value),
                false => self.look_at_oldest(lane, value),
            };
            if let Some(peeked) = peeked {
                return peeked;
            }
        }
    }
}

/// A ring that a thread has locked.
struct Locked<'w> {
    writer: Writer<'w>,
    intent: Intent,
    lock: &'w AtomicU64,
    /// The lock word as it was when free.
    word: u64,
}

impl Locked<'_> {
    /// Releases the lock, which is what its word becomes.
    #[inline(always)]
    fn release(&self, word: u64) {
        self.lock.store(word, Release);
        self.writer.end(self.intent);
    }
}

/// Takes the lock of a ring whose word is `now`, free, unless that has changed since.
#[inline(always)]
fn lock_quickly<'w>(
    writer: Writer<'w>,
    ring: u32,
    lock: &'w AtomicU64,
    now: u64,
) -> Option<Locked<'w>> {
    let intent = writer.begin_quickly(ring)?;
    if !writer.lock_quickly(lock, now) {
        writer.end(intent);
        return None;
    }
    Some(Locked { writer, intent, lock, word: now })
}

/// Lets others go on who are changing a word, as long as they do, for some microseconds: they have
/// its line, and do many operations in the time that it takes to hand it over for each.
fn give_way(word: &AtomicU64) {
    if cfg!(loom) {
        #[cfg(loom)]
        loom::thread::yield_now();
        return;
    }
    let mut seen = word.load(Relaxed);
    for longer in 2..9 {
        for _ in 0..1 << longer {
            spin_loop();
        }
        let now = word.load(Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}

#[cfg(test)]
impl Rings<'_> {
    /// Panics unless all locks are free.
    pub(crate) fn check_order(&self) {
        for ring in 0..self.count() {
            let word = self.control(ring).unwrap()[0].load(Acquire);
            assert_eq!(holder(word), 0, "ring {ring} is locked");
        }
    }

    /// The values of a ring, oldest first, of `size` bytes each.
    pub(crate) fn values(&self, ring: u32, size: usize) -> Vec<Vec<u8>> {
        let lane = self.lane(ring, size.div_ceil(8)).unwrap();
        let oldest = if self.lifo { self.lowest(lane.control) } else { self.oldest(lane.control) };
        let load = |distance: u64| {
            let mut value = vec![0; size];
            let place = lane.place((oldest + distance) % self.geometry.shape.places).unwrap();
            crate::mem::bytes::load(place, &mut value);
            value
        };
        (0..self.len(ring).unwrap().into()).map(load).collect()
    }
}

impl Repair for Rings<'_> {
    fn repair(&self, dead: Writer<'_>) -> Result<(), Reason> {
        let intent = dead.intent();
        if intent.operation() == Operation::None {
            return Ok(());
        }
        if self.is_held(intent.lock(), dead.number) {
            let lock = &self.control(intent.lock())?[0];
            let word = lock.load(Acquire);
            // Of a stack that lost its oldest, it may not have said so yet.
            let word = if self.lifo { self.changed(word) } else { word & PAYLOAD };
            lock.store(word, Release);
        }
        dead.end(intent);
        Ok(())
    }

    fn is_held(&self, lock: u32, owner: u32) -> bool {
        self.control(lock).is_ok_and(|control| holder(control[0].load(Acquire)) == owner)
    }
}
