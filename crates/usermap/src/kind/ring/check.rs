//! What is true of a ring, and how it becomes true again: its state is in range, and it is locked by
//! writers in an operation only. Values can be anything.

use super::{Rings, STATE};
use crate::check::{Inspection, Repaired};
use crate::kind::redo::{REDO, changed};
use crate::mem::owner::holder;
use crate::mem::sync::{Ordering::*, acquire};

impl Rings<'_> {
    pub(crate) fn check(&self, found: &mut Inspection<'_>) {
        for ring in 0..self.count() {
            let control = self.control(ring);
            found.lock("ring", ring, &control[0], false);
            match self.len(ring) {
                Ok(len) => found.check.entries += u64::from(len),
                Err(_) => {
                    let rule =
                        "the place of the oldest value, or how many there are, is out of range";
                    found.found("ring", ring.into(), acquire(&control[STATE]), rule);
                }
            }
        }
        (found.check.counted, found.check.still) = (found.check.entries, true);
    }

    /// Frees all locks, and empties rings that do not say where their values are: nobody else uses
    /// the map.
    pub(crate) fn mend(&self, done: &mut Repaired) {
        for ring in 0..self.count() {
            let [lock, state] = [0, STATE].map(|word| &self.control(ring)[word]);
            match self.len(ring) {
                Ok(len) => done.entries += u64::from(len),
                Err(_) => {
                    let lost = (state.load(Acquire) as u32).min(self.geometry.max_entries);
                    done.dropped += u64::from(lost);
                    state.store(0, Release);
                }
            }
            let word = lock.load(Acquire);
            if holder(word) != 0 || word & REDO != 0 {
                lock.store(changed(word), Release);
                done.released += 1;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
impl<'r> Rings<'r> {
    pub(crate) fn lock_of(&self, ring: u32) -> &'r crate::mem::sync::AtomicU64 {
        &self.control(ring)[0]
    }
}
