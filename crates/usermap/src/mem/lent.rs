//! Whether anybody has pointers to a hash's values: one word, 0 at first, 1 while whoever is about to get
//! some waits for those who do not know yet, 2 from then on.
//!
//! An increment that has a bucket's lock is the only one to change a value there, as long as there are no
//! pointers: it loads, adds and stores. Once there are, programs add to values without a lock, so it adds
//! by one locked instruction, too. It looks after it has locked the bucket; so whoever writes 1, and then
//! waits until every writer is out of the lock that it had, knows that all will add so from then on. The sole
//! writer (`bias`) has no fence between the two: before that wait, all threads make a barrier.

use super::owner::{Owners, Patience, Repair};
use super::sync::{AtomicU64, Ordering::*, fence};
use crate::error::Reason;

const NOBODY: u64 = 0;
const SOON: u64 = 1;
const LENT: u64 = 2;

/// The word of a region.
#[derive(Clone, Copy)]
pub(crate) struct Lent<'r> {
    word: &'r AtomicU64,
}

impl<'r> Lent<'r> {
    #[inline(always)]
    pub(crate) fn new(word: &'r AtomicU64) -> Lent<'r> {
        Lent { word }
    }

    /// Whether a writer that has locked a bucket just now is not the only one to change a value there.
    #[inline(always)]
    pub(crate) fn is_lent(self) -> bool {
        self.word.load(Acquire) != NOBODY
    }

    /// Before pointers are given out, to who has the record `own`, if any. Busy if somebody is stopped in the middle of a change.
    #[inline(always)]
    pub(crate) fn lend(
        self,
        owners: Owners<'_>,
        own: Option<u32>,
        repair: &impl Repair,
    ) -> Result<(), Reason> {
        if self.word.load(Acquire) == LENT {
            return Ok(());
        }
        self.lend_first(owners, own, repair)
    }

    #[cold]
    #[inline(never)]
    fn lend_first(
        self,
        owners: Owners<'_>,
        own: Option<u32>,
        repair: &impl Repair,
    ) -> Result<(), Reason> {
        self.word.store(SOON, Release);
        fence(SeqCst);
        owners.synchronize(own)?;
        let mut patience = Patience::new();
        for writer in owners.taken() {
            if !owners.leaves(writer, repair, &mut patience)? {
                return Err(Reason::Busy);
            }
        }
        self.word.store(LENT, Release);
        Ok(())
    }
}
