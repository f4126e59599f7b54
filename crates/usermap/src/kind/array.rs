//! Array maps: `ARRAY` and `PERCPU_ARRAY`.
//!
//! # Layout
//!
//! ```text
//! control   stripes  8 words each, the first: lock: holder 63..52 | version 51..21 | redo 20
//!           redo     a buffer a writer (`kind::redo`)
//! values (a new page; what MMAPABLE maps)
//!           CPU 0's values, each rounded up to 8 bytes, then (a new page) CPU 1's, ...
//! ```
//!
//! # Locking
//!
//! Values of one word need none: a store is the commit, an increment an atomic add. Longer ones
//! are changed in place by redo, under the lock of the index's stripe; readers copy and compare
//! the stripe's version. Setting all CPUs' values at once is a redo, too; one-word changes that
//! see it wait for its end, so that little is overwritten once more if its writer dies.

mod check;

use super::redo::{ALL_CPUS, REDO, Redo, changed, seen};
use super::{Extent, PAGE_WORDS};
use crate::error::Reason;
use crate::header;
use crate::mem::bytes;
use crate::mem::owner::{self, Owners, Repair, Writer, holder};
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};
use crate::spec::Spec;

/// Most stripes of a map.
const STRIPES: u64 = 256;
/// Words of a stripe: a cache line, so that writers to neighbours don't disturb each other.
const STRIPE: usize = 8;

/// Where the parts of an array map are.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    max_entries: u32,
    stripes: usize,
    stripe_count: u32,
    /// Values, and redo buffers where there are any.
    pub(crate) redo: Redo,
}

impl Geometry {
    /// The geometry of a map of this specification, from word `start` on; and all words in all.
    pub(crate) fn new(spec: &Spec, start: u64) -> Option<(Geometry, usize)> {
        let value_words = u64::from(spec.value_size).div_ceil(8);
        let cpus = if spec.map_type.is_per_cpu() { spec.cpus } else { 1 };
        let entries = u64::from(spec.max_entries);
        // A spin lock in a value is left as it is, which a store of the whole word would not.
        let single_words = value_words == 1 && cpus == 1 && spec.spin_lock.is_none();
        let (stripe_count, buffer_words) = match single_words {
            true => (0, 0),
            false => (entries.next_power_of_two().min(STRIPES), value_words * u64::from(cpus)),
        };
        let mut extent = Extent::from(start);
        let stripes = extent.take(stripe_count, STRIPE as u64);
        let buffers = match buffer_words {
            0 => 0,
            words => extent.take(u64::from(owner::LIMIT) + 1, words),
        };
        extent.page();
        let plane = entries.checked_mul(value_words)?.next_multiple_of(PAGE_WORDS);
        let values = extent.take(u64::from(cpus), plane);
        let words = extent.total()?;
        let redo = Redo {
            buffers,
            buffer_words: buffer_words as usize,
            values,
            stride: value_words as usize,
            value_words: value_words as usize,
            plane: plane as usize,
            cpus,
            entries,
            spin_lock: spec.spin_lock,
        };
        let geometry = Geometry {
            max_entries: spec.max_entries,
            stripes,
            stripe_count: stripe_count as u32,
            redo,
        };
        Some((geometry, words))
    }

    /// Bytes that the kernel lets MMAPABLE values be mapped in: whole pages of them.
    pub(crate) fn mappable_bytes(&self) -> usize {
        self.redo.plane * 8
    }
}

/// An array map in a region.
#[derive(Clone, Copy)]
pub(crate) struct Array<'r> {
    pub(crate) words: &'r [AtomicU64],
    pub(crate) geometry: &'r Geometry,
}

impl<'r> Array<'r> {
    #[inline(always)]
    fn owners(&self) -> Owners<'r> {
        header::owners(self.words)
    }

    /// An index's value on a CPU slot, if there is such an index.
    #[inline(always)]
    pub(crate) fn value(&self, index: u32, cpu: u32) -> Option<&'r [AtomicU64]> {
        let inside = index < self.geometry.max_entries;
        inside.then(|| self.geometry.redo.value(self.words, index as usize, cpu))
    }

    /// Where that starts, as a word of the region.
    pub(crate) fn value_word(&self, index: u32, cpu: u32) -> usize {
        self.geometry.redo.value_start(index as usize, cpu)
    }

    /// The stripe of an index: its number and its lock; `None` for values that need none.
    #[inline(always)]
    fn stripe(&self, index: u32) -> Option<(u32, &'r AtomicU64)> {
        let count = self.geometry.stripe_count;
        if count == 0 {
            return None;
        }
        let number = index & (count - 1);
        Some((number, self.lock_word(number)))
    }

    fn lock_word(&self, stripe: u32) -> &'r AtomicU64 {
        &self.words[self.geometry.stripes + stripe as usize * STRIPE]
    }

    /// Copies values out: that of one CPU slot, or with [`ALL_CPUS`] all, each rounded up to 8
    /// bytes.
    #[inline(always)]
    pub(crate) fn lookup(&self, index: u32, cpu: u32, value: &mut [u8]) -> Result<(), Reason> {
        if index >= self.geometry.max_entries {
            return Err(Reason::NotFound);
        }
        let Some((_, lock)) = self.stripe(index) else {
            bytes::load(self.geometry.redo.value(self.words, index as usize, 0), value);
            return Ok(());
        };
        loop {
            let word = acquire(lock);
            let copied = self.copy(word, index, cpu, value);
            fence(Acquire);
            if seen(lock.load(Relaxed)) == seen(word) {
                return copied;
            }
        }
    }

    #[inline(always)]
    fn copy(&self, word: u64, index: u32, cpu: u32, value: &mut [u8]) -> Result<(), Reason> {
        let redo = &self.geometry.redo;
        let source = |cpu| redo.source(self.words, self.owners(), word, index as usize, cpu);
        if cpu != ALL_CPUS {
            bytes::load(source(cpu)?, value);
            return Ok(());
        }
        for (cpu, value) in value.chunks_mut(redo.value_words * 8).enumerate() {
            bytes::load(source(cpu as u32)?, value);
        }
        Ok(())
    }

    /// Changes values: that of one CPU slot, or all with [`ALL_CPUS`].
    #[inline(always)]
    pub(crate) fn update(
        &self,
        writer: impl FnOnce() -> Result<Writer<'r>, Reason>,
        index: u32,
        cpu: u32,
        value: &[u8],
    ) -> Result<(), Reason> {
        let one = if cpu == ALL_CPUS && self.geometry.redo.cpus == 1 { 0 } else { cpu };
        let Some(place) = self.value(index, if one == ALL_CPUS { 0 } else { one }) else {
            return Err(self.past_the_end(index));
        };
        let Some((number, lock)) = self.stripe(index) else {
            bytes::store(place, value);
            return Ok(());
        };
        let single_word = value.len() <= 8 && self.geometry.redo.spin_lock.is_none();
        if single_word && lock.load(Acquire) & REDO == 0 {
            bytes::store_at(place, 0, value);
            return Ok(());
        }
        let writer = writer()?;
        let intent = writer.begin(number)?;
        let outcome = self.owners().lock(lock, writer, self).map(|_| {
            self.geometry.redo.write(self.words, lock, writer, index as usize, one, value);
            lock.store(changed(lock.load(Relaxed)), Release);
        });
        writer.end(intent);
        outcome
    }

    /// Adds to the number of `width` bytes that a value is, and gives the sum.
    #[inline(always)]
    pub(crate) fn add(
        &self,
        writer: impl FnOnce() -> Result<Writer<'r>, Reason>,
        index: u32,
        cpu: u32,
        width: usize,
        delta: u64,
    ) -> Result<u64, Reason> {
        if index >= self.geometry.max_entries {
            return Err(self.past_the_end(index));
        }
        let place = &self.words[self.value_word(index, cpu)];
        let Some((number, lock)) = self.stripe(index) else {
            return Ok(bytes::add(place, 0, width, delta));
        };
        if lock.load(Acquire) & REDO == 0 {
            return Ok(bytes::add(place, 0, width, delta));
        }
        self.add_locked(writer()?, number, place, width, delta)
    }

    /// The same while all slots are being set: after that.
    #[cold]
    #[inline(never)]
    fn add_locked(
        &self,
        writer: Writer<'r>,
        number: u32,
        place: &AtomicU64,
        width: usize,
        delta: u64,
    ) -> Result<u64, Reason> {
        let lock = self.lock_word(number);
        let intent = writer.begin(number)?;
        let outcome = self.owners().lock(lock, writer, self).map(|word| {
            let sum = bytes::add(place, 0, width, delta);
            lock.store(word, Release);
            sum
        });
        writer.end(intent);
        outcome
    }

    /// If a dead process was setting all slots of this index, completes that.
    #[inline(always)]
    pub(crate) fn complete_redo(&self, index: u32) -> Result<(), Reason> {
        match self.stripe(index).map(|(_, lock)| lock.load(Acquire)) {
            Some(word) if word & REDO != 0 => self.owners().recover_holder(word, self),
            _ => Ok(()),
        }
    }

    fn past_the_end(&self, index: u32) -> Reason {
        Reason::Index { index, max_entries: self.geometry.max_entries }
    }
}

#[cfg(test)]
impl Array<'_> {
    /// Panics unless all locks are free.
    pub(crate) fn check_order(&self) {
        for stripe in 0..self.geometry.stripe_count {
            let word = self.lock_word(stripe).load(Acquire);
            assert_eq!(holder(word), 0, "stripe {stripe} is locked");
            assert_eq!(word & REDO, 0, "stripe {stripe} is being redone");
        }
    }
}

impl Repair for Array<'_> {
    fn repair(&self, dead: Writer<'_>) -> Result<(), Reason> {
        let intent = dead.intent();
        if intent.operation() == owner::Operation::None {
            return Ok(());
        }
        if self.is_held(intent.lock(), dead.number) {
            let lock = self.lock_word(intent.lock());
            let word = lock.load(Acquire);
            if word & REDO != 0 {
                self.geometry.redo.copy_to_place(self.words, dead);
            }
            lock.store(changed(word), Release);
        }
        dead.end(intent);
        Ok(())
    }

    fn is_held(&self, lock: u32, owner: u32) -> bool {
        lock < self.geometry.stripe_count && holder(self.lock_word(lock).load(Acquire)) == owner
    }
}
