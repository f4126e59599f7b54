//! Queues: values go in at the tail and out at the head.
//!
//! What pushers and poppers change is on a line each. Where the other end is they note for each other
//! (`room`, `filled`), so that while there are values and room they do not look at the other's line.
//!
//! A push onto a full queue drops the oldest value with the same commit, the store of the tail: that
//! is now further from the head than there may be values, which means that the oldest is not one any
//! more. Pops have to look for that. They are told before, by a bit in the head, which makes all that
//! are under way fail; it goes with the next one that succeeds.

use super::{OUT_OF_RANGE, Rings, give_way, lock_quickly};
use crate::error::Reason;
use crate::mem::bytes;
use crate::mem::lanes::{Control, Lane};
use crate::mem::owner::{PAYLOAD, Writer};
use crate::mem::sync::{Ordering::*, acquire, fence};

pub(super) const TAIL: usize = 0;
pub(super) const ROOM: usize = 1;
pub(super) const HEAD: usize = 8;
pub(super) const FILLED: usize = 9;

/// In the head: a push onto the full queue was begun.
const OVERWRITING: u64 = 1 << 63;

/// How often to try again before the lock is waited for.
const TRIES: u32 = if cfg!(loom) { 0 } else { 4 };

impl Rings<'_> {
    /// The position after one.
    #[inline(always)]
    fn after(&self, position: u64) -> u64 {
        let last = position & self.geometry.mask == self.geometry.max_entries;
        let next = if last { position | self.geometry.mask } else { position };
        next.wrapping_add(1) & PAYLOAD
    }

    /// The position `max_entries` after one: one place less than all, in the next lap unless in the
    /// first place.
    fn end_of_room(&self, position: u64) -> u64 {
        let place = position & self.geometry.mask;
        let end = match place {
            0 => position + self.geometry.max_entries,
            _ => (position | self.geometry.mask) + place,
        };
        end & PAYLOAD
    }

    /// Whether a position, of which nobody has the lock, is before what was noted for it. Positions begin
    /// anew some day; what was noted before that is too far then, as all is that is too low.
    #[inline(always)]
    pub(super) fn is_before(&self, position: u64, noted: u64) -> bool {
        let two_laps = self.geometry.mask * 2 + 2;
        position <= PAYLOAD && (noted.wrapping_sub(position).wrapping_sub(1) & PAYLOAD) < two_laps
    }

    /// How far the tail is from the head; nothing if it cannot be there.
    fn distance(&self, head: u64, tail: u64) -> Option<u64> {
        let (mask, places) = (self.geometry.mask, self.geometry.shape.places);
        if head & !OVERWRITING & !PAYLOAD != 0 || (head & mask).max(tail & mask) >= places {
            return None;
        }
        let laps = (tail & !mask).wrapping_sub(head & !mask) & PAYLOAD;
        let far = match laps {
            0 => (tail & mask).checked_sub(head & mask),
            laps if laps == mask + 1 => (places + (tail & mask)).checked_sub(head & mask),
            _ => None,
        };
        far.filter(|far| *far <= places)
    }

    /// Pushes if there is room and nobody else is at it.
    #[inline(always)]
    pub(super) fn enqueue_quickly(
        &self,
        writer: Writer<'_>,
        ring: u32,
        value: &[u8],
    ) -> Option<()> {
        let lane = self.lanes.get(ring, bytes::words(value.len()))?;
        let tail = &lane.control[TAIL];
        let (room, now) = (lane.control[ROOM].load(Acquire), tail.load(Relaxed));
        if !self.is_before(now, room) {
            return None;
        }
        let (place, next) = (lane.place(now & self.geometry.mask)?, self.after(now));
        let locked = lock_quickly(writer, ring, tail, now)?;
        // For those who see a store to the place: they see, too, that it was left.
        fence(Release);
        bytes::store(place, value);
        locked.release(next);
        Some(())
    }

    /// The same when others have gone on, a few times; not where room has to be looked for.
    pub(super) fn enqueue_after_others(
        &self,
        writer: Writer<'_>,
        ring: u32,
        lane: Lane<'_>,
        value: &[u8],
    ) -> Option<()> {
        for _ in 0..TRIES {
            give_way(&lane.control[TAIL]);
            let now = lane.control[TAIL].load(Relaxed) & PAYLOAD;
            if !self.is_before(now, lane.control[ROOM].load(Relaxed)) {
                return None;
            }
            let pushed = self.enqueue_quickly(writer, ring, value);
            if pushed.is_some() {
                return pushed;
            }
        }
        None
    }

    /// Pushes; gives what the tail is to become.
    pub(super) fn enqueue_locked(
        &self,
        lane: Lane<'_>,
        now: u64,
        value: &[u8],
        replace: bool,
    ) -> Result<u64, Reason> {
        if !self.is_before(now, lane.control[ROOM].load(Acquire)) {
            self.make_room(lane.control, now, replace)?;
        }
        let place = lane.place(now & self.geometry.mask).ok_or(OUT_OF_RANGE)?;
        fence(Release);
        bytes::store(place, value);
        Ok(self.after(now))
    }

    /// Sees to it that a push may follow; with `replace` even if it is one too many.
    fn make_room(&self, control: &Control, tail: u64, replace: bool) -> Result<(), Reason> {
        let (head, room, max) = (&control[HEAD], &control[ROOM], self.geometry.max_entries);
        // Whoever makes an exchange fail pops, so a few times are enough.
        for _ in 0..1000 {
            let now = head.load(Acquire);
            let far = self.distance(now, tail).ok_or(OUT_OF_RANGE)?;
            if far < max {
                room.store(self.end_of_room(now & PAYLOAD), Release);
                return Ok(());
            }
            if !replace {
                return Err(Reason::Full { max_entries: max as u32 });
            }
            if far == max && now & OVERWRITING != 0 {
                return Ok(());
            }
            // None, for the tail is further.
            room.store(now & PAYLOAD, Release);
            // Of one that was dropped already the place is needed now.
            let oldest = if far > max { self.after(now & PAYLOAD) } else { now };
            let _ = head.compare_exchange(now, oldest | OVERWRITING, AcqRel, Relaxed);
        }
        Err(Reason::Busy)
    }

    /// Whether it is full now.
    pub(super) fn is_full(&self, control: &Control) -> bool {
        // The tail first: if the head has gone on since, there is all the more room.
        let tail = acquire(&control[TAIL]) & PAYLOAD;
        let head = acquire(&control[HEAD]);
        self.distance(head, tail).is_some_and(|far| far >= self.geometry.max_entries)
    }

    /// Pops if a value is known to be there and nobody else pops at the same time.
    #[inline(always)]
    pub(super) fn dequeue_quickly(&self, ring: u32, value: &mut [u8]) -> Option<()> {
        let lane = self.lanes.get(ring, bytes::words(value.len()))?;
        let head = &lane.control[HEAD];
        let (filled, now) = (lane.control[FILLED].load(Acquire), head.load(Relaxed));
        // In a queue that is being overwritten it is more than any position.
        if !self.is_before(now, filled) {
            return None;
        }
        let place = lane.place(now & self.geometry.mask)?;
        bytes::load(place, value);
        // The place is not used again before the head has gone on.
        head.compare_exchange(now, self.after(now), AcqRel, Relaxed).ok().map(drop)
    }

    /// Whether there is certainly nothing in it now.
    #[inline(always)]
    pub(super) fn is_empty(&self, ring: u32) -> bool {
        let Ok(control) = self.control(ring) else { return false };
        // The head first: what the tail was then is between it and what the tail is now.
        acquire(&control[HEAD]) == acquire(&control[TAIL]) & PAYLOAD
    }

    /// Pops, or finds nothing, whatever others do.
    #[cold]
    #[inline(never)]
    pub(super) fn dequeue_slowly(self, ring: u32, value: &mut [u8]) -> Result<(), Reason> {
        let lane = self.lane(ring, bytes::words(value.len()))?;
        let head = &lane.control[HEAD];
        loop {
            let now = acquire(head);
            match self.oldest_of(lane.control, now) {
                Ok(Some((oldest, tail))) => {
                    lane.control[FILLED].store(tail, Release);
                    let place = lane.place(oldest & self.geometry.mask).ok_or(OUT_OF_RANGE)?;
                    bytes::load(place, value);
                    if head.compare_exchange(now, self.after(oldest), AcqRel, Relaxed).is_ok() {
                        return Ok(());
                    }
                    give_way(head);
                }
                // The tail was read after the head: there was nothing in between.
                Ok(None) => return Err(Reason::NotFound),
                Err(reason) if acquire(head) == now => return Err(reason),
                Err(_) => {}
            }
        }
    }

    /// The positions of the oldest value and of the tail, if there are values, while the head is
    /// `head`.
    #[inline(always)]
    fn oldest_of(&self, control: &Control, head: u64) -> Result<Option<(u64, u64)>, Reason> {
        let (tail, oldest) = (acquire(&control[TAIL]) & PAYLOAD, head & PAYLOAD);
        match self.distance(head, tail) {
            None => Err(OUT_OF_RANGE),
            Some(0) => Ok(None),
            Some(far) if far > self.geometry.max_entries => Ok(Some((self.after(oldest), tail))),
            Some(_) => Ok(Some((oldest, tail))),
        }
    }

    /// Copies the oldest value; nothing if it was popped meanwhile.
    #[inline(always)]
    pub(super) fn look_at_oldest(
        &self,
        lane: Lane<'_>,
        value: &mut [u8],
    ) -> Option<Result<(), Reason>> {
        let head = &lane.control[HEAD];
        let now = acquire(head);
        let copied = self.oldest_of(lane.control, now).and_then(|oldest| {
            let (oldest, _) = oldest.ok_or(Reason::NotFound)?;
            let place = lane.place(oldest & self.geometry.mask).ok_or(OUT_OF_RANGE)?;
            bytes::load(place, value);
            Ok(())
        });
        fence(Acquire);
        (head.load(Relaxed) == now).then_some(copied)
    }

    /// Values.
    pub(super) fn length(&self, control: &Control) -> Result<u64, Reason> {
        loop {
            let head = acquire(&control[HEAD]);
            let tail = acquire(&control[TAIL]) & PAYLOAD;
            let far = self.distance(head, tail);
            if acquire(&control[HEAD]) == head {
                // One too many says that the oldest was dropped.
                return far.map(|far| far.min(self.geometry.max_entries)).ok_or(OUT_OF_RANGE);
            }
        }
    }

    /// Whether what pushers and poppers noted goes too far.
    pub(super) fn notes_too_much(&self, control: &Control) -> bool {
        // The notes first: heads and tails only go on.
        let [room, filled] = [ROOM, FILLED].map(|word| acquire(&control[word]));
        let [head, tail] = [HEAD, TAIL].map(|word| acquire(&control[word]) & PAYLOAD);
        let ahead = |position: u64| position.wrapping_sub(head) & PAYLOAD;
        let too_much = |noted, end| ahead(noted) > ahead(end) && ahead(noted) <= PAYLOAD / 2;
        too_much(room, self.end_of_room(head)) || too_much(filled, tail)
    }
}

#[cfg(test)]
impl Rings<'_> {
    /// The place of the oldest value.
    pub(super) fn oldest(&self, control: &Control) -> u64 {
        let oldest = self.oldest_of(control, control[HEAD].load(Acquire)).unwrap();
        oldest.map_or(0, |(oldest, _)| oldest & self.geometry.mask)
    }
}
