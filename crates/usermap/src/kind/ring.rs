//! Rings: `QUEUE` and `STACK`, and one for each CPU slot: `PERCPU_QUEUE`, `PERCPU_STACK`.
//!
//! # Layout
//!
//! ```text
//! control   16 words a ring:
//!             0   lock: holder 63..52 | version 51..21 | unused 20..0
//!             8   state: index of the oldest value in 63..32 | number of values in 31..0
//! values    (a new page each ring) max_entries + 1 values, each rounded up to 8 bytes
//! ```
//!
//! A queue pops the oldest value and a stack the newest; nothing else differs.
//!
//! # Locking
//!
//! Push and pop take the ring's lock. A push fills the place after the newest value, which nobody
//! reads; a pop copies; then one store to the state is the commit, and the release of the lock
//! brings the next version. With a place more than values a push that drops the oldest value is
//! one commit, too. Peeks take no lock: they copy and compare the version.

mod check;

use super::redo::changed;
use super::{Extent, PAGE_WORDS};
use crate::error::Reason;
use crate::header;
use crate::mem::bytes;
use crate::mem::owner::{Intent, Operation, Owners, PAYLOAD, Repair, Writer, holder};
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};
use crate::spec::Spec;

/// Words of a ring's control part: two cache lines.
const CONTROL: usize = 16;
const STATE: usize = 8;

/// Where the parts of the rings are.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    max_entries: u32,
    lifo: bool,
    rings: u32,
    control: usize,
    values: usize,
    plane: usize,
}

impl Geometry {
    /// The geometry of a map of this specification, from word `start` on; and all words in all.
    pub(crate) fn new(spec: &Spec, start: u64) -> Option<(Geometry, usize)> {
        let value_words = u64::from(spec.value_size).div_ceil(8);
        let rings = if spec.map_type.is_per_cpu() { spec.cpus } else { 1 };
        let mut extent = Extent::from(start);
        let control = extent.take(u64::from(rings), CONTROL as u64);
        extent.page();
        let places = u64::from(spec.max_entries) + 1;
        let plane = places.checked_mul(value_words)?.next_multiple_of(PAGE_WORDS);
        let values = extent.take(u64::from(rings), plane);
        let words = extent.total()?;
        let geometry = Geometry {
            max_entries: spec.max_entries,
            lifo: spec.map_type.is_lifo(),
            rings,
            control,
            values,
            plane: plane as usize,
        };
        Some((geometry, words))
    }
}

/// The rings of a map in a region.
#[derive(Clone, Copy)]
pub(crate) struct Rings<'r> {
    pub(crate) words: &'r [AtomicU64],
    pub(crate) geometry: &'r Geometry,
}

/// A ring that a thread has locked.
struct Locked<'w> {
    writer: Writer<'w>,
    intent: Intent,
    lock: &'w AtomicU64,
    /// The lock word as it was when free.
    word: u64,
}

impl<'w> Locked<'w> {
    #[inline(always)]
    fn new(writer: Writer<'w>, intent: Intent, lock: &'w AtomicU64, word: u64) -> Locked<'w> {
        // For peeks that see a store to a place: they see the pop that freed it, too.
        fence(Release);
        Locked { writer, intent, lock, word }
    }

    /// Releases the lock after a commit.
    #[inline(always)]
    fn changed(self) {
        self.lock.store(changed(self.word), Release);
        self.writer.end(self.intent);
    }

    /// Releases the lock of a ring that is as it was.
    #[cold]
    fn unchanged<T>(self, reason: Reason) -> Result<T, Reason> {
        self.lock.store(self.word, Release);
        self.writer.end(self.intent);
        Err(reason)
    }
}

/// What a ring holds: the state word, taken apart.
#[derive(Clone, Copy)]
struct State {
    oldest: u64,
    len: u32,
}

impl<'r> Rings<'r> {
    #[inline(always)]
    fn owners(&self) -> Owners<'r> {
        header::owners(self.words)
    }

    #[inline(always)]
    fn control(&self, ring: u32) -> &'r [AtomicU64; CONTROL] {
        // The control parts start at a multiple of one: one comparison checks all of the range.
        &self.words.as_chunks().0[self.geometry.control / CONTROL + ring as usize]
    }

    /// The value of `size` bytes at a distance from the oldest. Of the size given, so that one that
    /// is known when compiling makes straight code.
    #[inline(always)]
    fn value(&self, ring: u32, state: State, distance: u32, size: usize) -> &'r [AtomicU64] {
        let (geometry, value_words) = (self.geometry, bytes::words(size));
        let places = u64::from(geometry.max_entries) + 1;
        let mut index = state.oldest + u64::from(distance);
        if index >= places {
            index -= places;
        }
        let start = geometry.values + ring as usize * geometry.plane + index as usize * value_words;
        &self.words[start..start + value_words]
    }

    #[inline(always)]
    fn state(&self, ring: u32) -> Result<State, Reason> {
        let word = acquire(&self.control(ring)[STATE]);
        let state = State { oldest: word >> 32, len: word as u32 };
        let max_entries = self.geometry.max_entries;
        if state.oldest > u64::from(max_entries) || state.len > max_entries {
            return Err(Reason::Corrupt("a ring's index is out of its range"));
        }
        Ok(state)
    }

    #[inline(always)]
    fn commit(&self, ring: u32, state: State) {
        let word = state.oldest << 32 | u64::from(state.len);
        self.control(ring)[STATE].store(word, Release);
    }

    #[inline(always)]
    fn without_oldest(&self, state: State) -> State {
        let next = state.oldest + 1;
        let oldest = if next > u64::from(self.geometry.max_entries) { 0 } else { next };
        State { oldest, len: state.len - 1 }
    }

    /// Values in a ring.
    pub(crate) fn len(&self, ring: u32) -> Result<u32, Reason> {
        Ok(self.state(ring)?.len)
    }

    /// Rings: 1 unless per CPU.
    pub(crate) fn count(&self) -> u32 {
        self.geometry.rings
    }

    /// Locks a ring if nobody has it.
    #[inline(always)]
    fn try_lock<'w>(&self, writer: Writer<'w>, ring: u32) -> Option<Locked<'w>>
    where
        'r: 'w,
    {
        let intent = writer.begin(ring).ok()?;
        let lock = &self.control(ring)[0];
        match self.owners().try_lock(lock, writer) {
            Some(word) => Some(Locked::new(writer, intent, lock, word)),
            None => {
                writer.end(intent);
                None
            }
        }
    }

    /// Locks a ring, with a wait for others.
    #[cold]
    #[inline(never)]
    fn lock<'w>(&self, writer: Writer<'w>, ring: u32) -> Result<Locked<'w>, Reason>
    where
        'r: 'w,
    {
        let intent = writer.begin(ring)?;
        let lock = &self.control(ring)[0];
        match self.owners().lock(lock, writer, self) {
            Ok(word) => Ok(Locked::new(writer, intent, lock, word)),
            Err(reason) => {
                writer.end(intent);
                Err(reason)
            }
        }
    }

    /// Pushes a value; with `replace` onto a full ring, too, which then loses its oldest.
    #[inline(always)]
    pub(crate) fn push(
        &self,
        writer: Writer<'_>,
        ring: u32,
        value: &[u8],
        replace: bool,
    ) -> Result<(), Reason> {
        match self.try_lock(writer, ring) {
            Some(locked) => self.push_locked(locked, ring, value, replace),
            None => self.push_locked(self.lock(writer, ring)?, ring, value, replace),
        }
    }

    #[inline(always)]
    fn push_locked(
        &self,
        locked: Locked<'_>,
        ring: u32,
        value: &[u8],
        replace: bool,
    ) -> Result<(), Reason> {
        let max_entries = self.geometry.max_entries;
        let mut state = match self.state(ring) {
            Ok(state) if state.len < max_entries || replace => state,
            Ok(_) => return locked.unchanged(Reason::Full { max_entries }),
            Err(reason) => return locked.unchanged(reason),
        };
        bytes::store(self.value(ring, state, state.len, value.len()), value);
        if state.len >= max_entries {
            state = self.without_oldest(state);
        }
        self.commit(ring, State { len: state.len + 1, ..state });
        locked.changed();
        Ok(())
    }

    /// Which value, of `size` bytes, is next to be popped.
    #[inline(always)]
    fn next(&self, ring: u32, state: State, size: usize) -> Result<&'r [AtomicU64], Reason> {
        match state.len {
            0 => Err(Reason::NotFound),
            len if self.geometry.lifo => Ok(self.value(ring, state, len - 1, size)),
            _ => Ok(self.value(ring, state, 0, size)),
        }
    }

    /// Pops a value.
    #[inline(always)]
    pub(crate) fn pop(
        &self,
        writer: Writer<'_>,
        ring: u32,
        value: &mut [u8],
    ) -> Result<(), Reason> {
        // A ring that is empty now need not be locked to say so.
        if self.state(ring)?.len == 0 {
            return Err(Reason::NotFound);
        }
        match self.try_lock(writer, ring) {
            Some(locked) => self.pop_locked(locked, ring, value),
            None => self.pop_locked(self.lock(writer, ring)?, ring, value),
        }
    }

    #[inline(always)]
    fn pop_locked(&self, locked: Locked<'_>, ring: u32, value: &mut [u8]) -> Result<(), Reason> {
        let next = self.state(ring);
        let next = next.and_then(|state| Ok((state, self.next(ring, state, value.len())?)));
        let (state, next) = match next {
            Ok(next) => next,
            Err(reason) => return locked.unchanged(reason),
        };
        bytes::load(next, value);
        let left = match self.geometry.lifo {
            true => State { len: state.len - 1, ..state },
            false => self.without_oldest(state),
        };
        self.commit(ring, left);
        locked.changed();
        Ok(())
    }

    /// Copies the value that a pop would give.
    #[inline(always)]
    pub(crate) fn peek(&self, ring: u32, value: &mut [u8]) -> Result<(), Reason> {
        let lock = &self.control(ring)[0];
        loop {
            let word = acquire(lock);
            let copied = self
                .state(ring)
                .and_then(|state| self.next(ring, state, value.len()))
                .map(|words| bytes::load(words, value));
            fence(Acquire);
            if lock.load(Relaxed) & PAYLOAD == word & PAYLOAD {
                return copied;
            }
        }
    }
}

#[cfg(test)]
impl Rings<'_> {
    /// Panics unless all locks are free.
    pub(crate) fn check_order(&self) {
        for ring in 0..self.geometry.rings {
            assert_eq!(holder(self.control(ring)[0].load(Acquire)), 0, "ring {ring} is locked");
        }
    }

    /// The values of a ring, oldest first, of `size` bytes each.
    pub(crate) fn values(&self, ring: u32, size: usize) -> Vec<Vec<u8>> {
        let state = self.state(ring).unwrap();
        let load = |distance| {
            let mut value = vec![0; size];
            bytes::load(self.value(ring, state, distance, size), &mut value);
            value
        };
        (0..state.len).map(load).collect()
    }
}

impl Repair for Rings<'_> {
    fn repair(&self, dead: Writer<'_>) -> Result<(), Reason> {
        let intent = dead.intent();
        if intent.operation() == Operation::None {
            return Ok(());
        }
        if self.is_held(intent.lock(), dead.number) {
            let lock = &self.control(intent.lock())[0];
            lock.store(changed(lock.load(Acquire)), Release);
        }
        dead.end(intent);
        Ok(())
    }

    fn is_held(&self, lock: u32, owner: u32) -> bool {
        lock < self.geometry.rings && holder(self.control(lock)[0].load(Acquire)) == owner
    }
}
