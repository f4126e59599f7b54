//! What is true of a ring, and how it becomes true again: where its values are is in range, what its
//! ends noted of each other is no more than there is, and it is locked by writers in an operation only.
//! Values can be anything.

use super::{Rings, queue, stack};
use crate::check::{Inspection, Repaired, confirmed};
use crate::mem::owner::{PAYLOAD, holder};
use crate::mem::sync::{Ordering::*, acquire};

impl Rings<'_> {
    pub(crate) fn check(&self, found: &mut Inspection<'_>) {
        for ring in 0..self.count() {
            let Ok(control) = self.control(ring) else { continue };
            found.lock("ring", ring, &control[0], None);
            match self.len(ring) {
                Ok(len) => found.check.entries += u64::from(len),
                Err(_) => {
                    let rule =
                        "the place of the oldest value, or how many there are, is out of range";
                    let word = if self.lifo { stack::OLDEST } else { queue::HEAD };
                    found.found("ring", ring.into(), acquire(&control[word]), rule);
                }
            }
            if !self.lifo && confirmed(|| self.notes_too_much(control).then_some(())).is_some() {
                let rule = "there is said to be more room, or more values, than there is";
                found.found("ring", ring.into(), acquire(&control[queue::ROOM]), rule);
            }
        }
        (found.check.counted, found.check.still) = (found.check.entries, true);
    }

    /// Frees all locks, and empties rings that do not say where their values are: nobody else uses
    /// the map.
    pub(crate) fn mend(&self, done: &mut Repaired) {
        for ring in 0..self.count() {
            let Ok(control) = self.control(ring) else { continue };
            let word = control[0].load(Acquire);
            if holder(word) != 0 {
                let free = if self.lifo { self.changed(word) } else { word & PAYLOAD };
                control[0].store(free, Release);
                done.released += 1;
            }
            if !self.lifo {
                // Neither room nor values, until somebody looks.
                let head = control[queue::HEAD].load(Acquire) & PAYLOAD;
                for word in [queue::ROOM, queue::FILLED] {
                    control[word].store(head, Release);
                }
            }
            match self.len(ring) {
                Ok(len) => done.entries += u64::from(len),
                Err(_) => {
                    // As many as it says, if it can have so many.
                    let (max, mask) = (self.geometry.max_entries, self.geometry.mask);
                    let said = match self.lifo {
                        true => word & mask,
                        false => word.wrapping_sub(control[queue::HEAD].load(Acquire)) & mask,
                    };
                    done.dropped += said.clamp(1, max);
                    control.iter().for_each(|word| word.store(0, Release));
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
impl<'r> Rings<'r> {
    pub(crate) fn lock_of(&self, ring: u32) -> &'r crate::mem::sync::AtomicU64 {
        &self.control(ring).unwrap()[0]
    }
}
