//! Values of more than one word that are changed in place: written beside first, so that a death
//! in the middle loses nothing and readers never see half a value.
//!
//! Every writer has a buffer in the region. The new value goes there; then one store sets the
//! [`REDO`] bit in the lock word that the writer holds, which is the commit; then it is copied to
//! its place, and the lock is released with the next version. While the bit is set, readers take
//! the value from the buffer; whoever finds the writer dead copies once more.
//!
//! Values of one word are redone, too, when those of all CPU slots are set at once. They are never
//! torn, and others add to them in place meanwhile, which the buffer would not show. So readers
//! take them from their places while the writer lives, and see the slots change one by one, as
//! the kernel's.

use crate::error::Reason;
use crate::mem::bytes;
use crate::mem::owner::{CREATED, LIMIT, PAYLOAD, Writer, holder};
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};

/// In a lock word: the holder's buffer is the truth, its place may be half written.
pub(crate) const REDO: u64 = 1 << 20;
/// In a lock word: what every change adds to the version, which is above [`REDO`].
pub(crate) const VERSION: u64 = 1 << 21;

/// In the word of a writer's record that names the target: that it is one.
pub(crate) const TARGET: u64 = 1 << 63;

/// In a redo's target: every CPU slot.
pub(crate) const ALL_CPUS: u32 = 0xffff;

/// The free lock word after a change: the next version, without holder and redo.
#[inline(always)]
pub(crate) fn changed(word: u64) -> u64 {
    (word & PAYLOAD & !REDO).wrapping_add(VERSION) & PAYLOAD
}

/// What readers compare: the version, and if a redo is on, also whose.
#[inline(always)]
pub(crate) fn seen(word: u64) -> u64 {
    if word & REDO != 0 { word } else { word & PAYLOAD }
}

/// The writers' buffers, and where values are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redo {
    /// Word of the first buffer (writer 0's, which does not exist).
    pub(crate) buffers: usize,
    /// Words of a buffer: the values of all slots of an entry.
    pub(crate) buffer_words: usize,
    /// Word of slot 0's value on CPU 0.
    pub(crate) values: usize,
    /// Words from one entry's value to the next's.
    pub(crate) stride: usize,
    /// Words of a value.
    pub(crate) value_words: usize,
    /// Words from one CPU's values to the next's.
    pub(crate) plane: usize,
    /// CPU slots.
    pub(crate) cpus: u32,
    /// Entries.
    pub(crate) entries: u64,
    /// Byte in the value of a `bpf_spin_lock`, which is never copied.
    pub(crate) spin_lock: Option<u32>,
}

impl Redo {
    /// The first word of an entry's value on a CPU slot.
    #[inline(always)]
    pub(crate) fn value_start(&self, entry: usize, cpu: u32) -> usize {
        self.values + cpu as usize * self.plane + entry * self.stride
    }

    /// The words of an entry's value on a CPU slot.
    #[inline(always)]
    pub(crate) fn value<'r>(
        &self,
        words: &'r [AtomicU64],
        entry: usize,
        cpu: u32,
    ) -> &'r [AtomicU64] {
        let start = self.value_start(entry, cpu);
        &words[start..start + self.value_words]
    }

    /// The words of all buffers.
    pub(crate) fn all_buffers(&self) -> core::ops::Range<usize> {
        self.buffers..self.buffers + self.buffer_words * (LIMIT as usize + 1)
    }

    fn buffer<'r>(&self, words: &'r [AtomicU64], writer: u32) -> &'r [AtomicU64] {
        let start = self.buffers + writer as usize * self.buffer_words;
        &words[start..start + self.buffer_words]
    }

    /// CPUs and the part of a buffer that a target word means, if it is possible.
    fn target(&self, target: u64) -> Option<(usize, core::ops::Range<u32>)> {
        let (entry, cpu) = ((target & !TARGET) >> 16, target as u32 & 0xffff);
        let possible = cpu == ALL_CPUS || cpu < self.cpus;
        if target & TARGET == 0 || entry >= self.entries || !possible {
            return None;
        }
        let cpus = if cpu == ALL_CPUS { 0..self.cpus } else { cpu..cpu + 1 };
        Some((entry as usize, cpus))
    }

    /// Whether a word of a writer's record is a target and an impossible one.
    pub(crate) fn is_bad_target(&self, word: u64) -> bool {
        word & TARGET != 0 && self.target(word).is_none()
    }

    /// Replaces an entry's value on one CPU slot, or on all with [`ALL_CPUS`] (then `value` holds
    /// one after the other, each `value_words` long). The writer holds the lock in `lock`; the
    /// caller releases it with [`changed`].
    pub(crate) fn write(
        &self,
        words: &[AtomicU64],
        lock: &AtomicU64,
        writer: Writer<'_>,
        entry: usize,
        cpu: u32,
        value: &[u8],
    ) {
        let buffer = self.buffer(words, writer.number);
        // Orders the buffer's stores after the release of whoever was redone from it before.
        fence(Release);
        match value.len() <= self.value_words * 8 {
            true => bytes::store(buffer, value),
            false => {
                let each = self.value_words * 8;
                for (part, to) in value.chunks(each).zip(buffer.chunks(self.value_words)) {
                    bytes::store(to, part);
                }
            }
        }
        if !value.len().is_multiple_of(8) {
            // The padding stays what it is in place.
            let last = value.len() / 8;
            let kept =
                self.value(words, entry, if cpu == ALL_CPUS { 0 } else { cpu })[last].load(Relaxed);
            let mut kept = kept.to_ne_bytes();
            let fresh = buffer[last].load(Relaxed).to_ne_bytes();
            kept[..value.len() % 8].copy_from_slice(&fresh[..value.len() % 8]);
            buffer[last].store(u64::from_ne_bytes(kept), Relaxed);
        }
        writer.word(CREATED).store(TARGET | (entry as u64) << 16 | u64::from(cpu), Relaxed);
        // The commit. Nobody else stores to a lock that is held.
        lock.store(lock.load(Relaxed) | REDO, Release);
        self.copy_to_place(words, writer);
    }

    /// Copies a writer's buffer to its target: after the commit, or after the writer's death.
    pub(crate) fn copy_to_place(&self, words: &[AtomicU64], writer: Writer<'_>) {
        let Some((entry, cpus)) = self.target(writer.word(CREATED).load(Relaxed)) else { return };
        // Orders the place's stores after the commit, for readers that see one of them.
        fence(Release);
        let buffer = self.buffer(words, writer.number);
        for (cpu, from) in cpus.zip(buffer.chunks(self.value_words)) {
            let to = self.value(words, entry, cpu);
            match self.spin_lock {
                None => bytes::copy(from, to),
                Some(lock) => bytes::copy_around(from, to, lock as usize),
            }
        }
    }

    /// Where an entry's value on a CPU slot is to be read, under the lock word `seen`.
    #[inline(always)]
    pub(crate) fn source<'r>(
        &self,
        words: &'r [AtomicU64],
        owners: crate::mem::owner::Owners<'r>,
        seen: u64,
        entry: usize,
        cpu: u32,
    ) -> Result<&'r [AtomicU64], Reason> {
        if seen & REDO == 0 {
            return Ok(self.value(words, entry, cpu));
        }
        let writer = owners
            .writer(holder(seen))
            .filter(|writer| writer.number != 0)
            .ok_or(Reason::Corrupt("a redo of an impossible owner"))?;
        if self.value_words == 1 && writer.is_alive() {
            return Ok(self.value(words, entry, cpu));
        }
        let target = acquire(writer.word(CREATED));
        match self.target(target) {
            Some((of, cpus)) if of == entry && cpus.contains(&cpu) => {
                let part = (cpu - cpus.start) as usize * self.value_words;
                Ok(&self.buffer(words, writer.number)[part..part + self.value_words])
            }
            _ => Ok(self.value(words, entry, cpu)),
        }
    }
}
