//! What is true of an array's control part, and how it becomes true again: stripes are locked by
//! writers in an operation only. Values can be anything.

use super::Array;
use crate::check::{Inspection, Repaired};
use crate::kind::redo::{REDO, changed};
use crate::mem::owner::{CREATED, Writer, holder};
use crate::mem::sync::{Ordering::*, acquire};

impl Array<'_> {
    pub(crate) fn stripes(&self) -> u32 {
        self.geometry.stripe_count
    }

    pub(crate) fn check(&self, found: &mut Inspection<'_>) {
        for stripe in 0..self.stripes() {
            found.lock("stripe", stripe, self.lock_word(stripe), true);
        }
        let entries = self.geometry.max_entries.into();
        (found.check.entries, found.check.counted, found.check.still) = (entries, entries, true);
    }

    /// The rule that breaks what a writer's record says it writes.
    pub(crate) fn broken_record(&self, writer: Writer<'_>) -> Option<&'static str> {
        let target = acquire(writer.word(CREATED));
        self.geometry.redo.is_bad_target(target).then_some("a redo of an entry that does not exist")
    }

    /// Frees all locks: nobody else uses the map.
    pub(crate) fn mend(&self, done: &mut Repaired) {
        for lock in (0..self.stripes()).map(|stripe| self.lock_word(stripe)) {
            let word = lock.load(Acquire);
            if holder(word) != 0 || word & REDO != 0 {
                lock.store(changed(word), Release);
                done.released += 1;
            }
        }
        done.entries = self.geometry.max_entries.into();
    }
}

#[cfg(all(test, not(loom)))]
impl<'r> Array<'r> {
    pub(crate) fn lock_of(&self, ring: u32) -> &'r crate::mem::sync::AtomicU64 {
        self.lock_word(ring)
    }
}
