//! Stacks: values go in and out at the top.
//!
//! The top's version is another one after every change, so it is not locked if anything changed
//! since it was read. A push onto a full stack drops the oldest value: the place of the oldest moves
//! on, which is its commit, and then the version.

use super::{OUT_OF_RANGE, Rings, lock_quickly};
use crate::error::Reason;
use crate::mem::bytes;
use crate::mem::lanes::{Control, Lane};
use crate::mem::owner::{PAYLOAD, Writer, holder};
use crate::mem::sync::{Ordering::*, acquire, fence};

pub(super) const TOP: usize = 0;
pub(super) const OLDEST: usize = 1;

impl Rings<'_> {
    /// The free top with the next version.
    #[inline(always)]
    pub(super) fn changed(&self, top: u64) -> u64 {
        (top & PAYLOAD).wrapping_add(self.geometry.mask + 1) & PAYLOAD
    }

    /// The place so far above the oldest.
    #[inline(always)]
    fn above(&self, oldest: u64, distance: u64) -> u64 {
        let place = oldest.wrapping_add(distance);
        if place > self.geometry.max_entries { place - self.geometry.shape.places } else { place }
    }

    /// Pushes if there is room and nobody else is at it.
    #[inline(always)]
    pub(super) fn stack_quickly(&self, writer: Writer<'_>, ring: u32, value: &[u8]) -> Option<()> {
        let lane = self.lanes.get(ring, bytes::words(value.len()))?;
        let top = &lane.control[TOP];
        let now = top.load(Acquire);
        let height = now & self.geometry.mask;
        if holder(now) != 0 || height >= self.geometry.max_entries {
            return None;
        }
        let next = self.changed(now + 1);
        let locked = lock_quickly(writer, ring, top, now)?;
        let Some(place) = lane.place(self.above(lane.control[OLDEST].load(Relaxed), height)) else {
            locked.release(now);
            return None;
        };
        // For those who see a store to the place: they see, too, that it was left.
        fence(Release);
        bytes::store(place, value);
        locked.release(next);
        Some(())
    }

    /// Pushes; gives what the top is to become.
    pub(super) fn stack_locked(
        &self,
        lane: Lane<'_>,
        now: u64,
        value: &[u8],
        replace: bool,
    ) -> Result<u64, Reason> {
        let (height, max) = (self.height_of(now)?, self.geometry.max_entries);
        if height == max && !replace {
            return Err(Reason::Full { max_entries: max as u32 });
        }
        let oldest = lane.control[OLDEST].load(Relaxed);
        if oldest > max {
            return Err(OUT_OF_RANGE);
        }
        let place = lane.place(self.above(oldest, height)).ok_or(OUT_OF_RANGE)?;
        fence(Release);
        bytes::store(place, value);
        if height < max {
            return Ok(self.changed(now + 1));
        }
        lane.control[OLDEST].store(self.above(oldest, 1), Release);
        Ok(self.changed(now))
    }

    fn height_of(&self, top: u64) -> Result<u64, Reason> {
        let height = top & self.geometry.mask;
        if height <= self.geometry.max_entries { Ok(height) } else { Err(OUT_OF_RANGE) }
    }

    /// Whether it is full now.
    pub(super) fn is_high(&self, control: &Control) -> bool {
        acquire(&control[TOP]) & self.geometry.mask == self.geometry.max_entries
    }

    /// The words of the newest value while the top is `now`.
    #[inline(always)]
    fn newest<'r>(&self, lane: Lane<'r>, now: u64) -> Result<&'r [super::AtomicU64], Reason> {
        let height = now & self.geometry.mask;
        if height == 0 {
            return Err(Reason::NotFound);
        }
        if height > self.geometry.max_entries {
            return Err(OUT_OF_RANGE);
        }
        let place = self.above(acquire(&lane.control[OLDEST]), height - 1);
        lane.place(place).ok_or(OUT_OF_RANGE)
    }

    /// Pops if there is a value and nobody else is at it.
    #[inline(always)]
    pub(super) fn unstack_quickly(
        &self,
        writer: Writer<'_>,
        ring: u32,
        value: &mut [u8],
    ) -> Option<()> {
        let lane = self.lanes.get(ring, bytes::words(value.len()))?;
        let top = &lane.control[TOP];
        let now = top.load(Acquire);
        if holder(now) != 0 {
            return None;
        }
        if now & self.geometry.mask == 0 {
            return None;
        }
        let locked = lock_quickly(writer, ring, top, now)?;
        let newest = self.newest(lane, now);
        locked.release(match newest {
            Ok(newest) => {
                bytes::load(newest, value);
                self.changed(now - 1)
            }
            Err(_) => now,
        });
        newest.ok().map(drop)
    }

    /// Pops, or finds nothing, after a wait for others.
    #[cold]
    #[inline(never)]
    pub(super) fn unstack_slowly(
        self,
        writer: Writer<'_>,
        ring: u32,
        value: &mut [u8],
    ) -> Result<(), Reason> {
        let lane = self.lane(ring, bytes::words(value.len()))?;
        // One that is empty now need not be locked to say so.
        if acquire(&lane.control[TOP]) & self.geometry.mask == 0 {
            return Err(Reason::NotFound);
        }
        let locked = self.lock(writer, ring, lane)?;
        let popped = self.newest(lane, locked.word).map(|newest| bytes::load(newest, value));
        locked.release(match popped {
            Ok(()) => self.changed(locked.word - 1),
            Err(_) => locked.word,
        });
        popped
    }

    /// Copies the newest value; nothing if something changed meanwhile.
    #[inline(always)]
    pub(super) fn look_at_newest(
        &self,
        lane: Lane<'_>,
        value: &mut [u8],
    ) -> Option<Result<(), Reason>> {
        let top = &lane.control[TOP];
        let now = acquire(top) & PAYLOAD;
        let copied = self.newest(lane, now).map(|newest| bytes::load(newest, value));
        fence(Acquire);
        (top.load(Relaxed) & PAYLOAD == now).then_some(copied)
    }

    /// Values.
    pub(super) fn height(&self, control: &Control) -> Result<u64, Reason> {
        let height = self.height_of(acquire(&control[TOP]))?;
        let oldest = acquire(&control[OLDEST]);
        if oldest <= self.geometry.max_entries { Ok(height) } else { Err(OUT_OF_RANGE) }
    }
}

#[cfg(test)]
impl Rings<'_> {
    /// The place of the oldest value.
    pub(super) fn lowest(&self, control: &Control) -> u64 {
        control[OLDEST].load(Acquire)
    }
}
