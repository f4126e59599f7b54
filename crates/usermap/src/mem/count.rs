//! The number of entries of a map: exact, whoever dies when, and without a word that all writers
//! change.
//!
//! Each writer counts in its own record, and has room reserved there for entries to come:
//!
//! ```text
//! share     63..32 entries it made, less those it deleted | 31..20 room | 19..0 sequence of its last count
//! ```
//!
//! The entries of the map are the sum of all shares, modulo 2³², those of free records among them, and
//! of a `base` that only repairs write. Entries and room together never exceed the limit: room is
//! reserved under a lock (`taking`), by who has none left; an insertion uses some, a deletion gives some.
//!
//! As long as nobody has that lock, a writer's share is its own: it changes it by plain stores. Who has
//! it may take room back from others, which do so by exchanges meanwhile. A writer looks at the lock
//! after it has locked a bucket; so who has taken `taking`, and then waits until each of the others is
//! out of the bucket that it had, knows that none of them is about to store (`Owners::is_busy`). A sole writer
//! (`bias`) locks without a fence; but whoever else wants `taking` has been admitted by then: either that lock
//! can be seen, or its writer's standing says that it may be on its way.
//!
//! An intent has the sequence that the share has once it is counted: so whether a dead writer counted
//! can be told, and whoever cleans up after it counts once.

use super::owner::{Intent, Operation, Owners, Patience, Repair, SEQUENCES, SHARE, Writer};
use super::sync::{AtomicU64, Ordering::*, acquire};
use crate::error::Reason;

/// The counter of a region.
#[derive(Clone, Copy)]
pub(crate) struct Count<'r> {
    base: &'r AtomicU64,
    taking: &'r AtomicU64,
    owners: Owners<'r>,
    limit: u32,
}

/// The bits of the sequence in a share.
const SEQUENCE: u64 = (SEQUENCES - 1) as u64;
/// One entry of room, and the bits of all that a share can have.
const ONE_ROOM: u64 = 1 << 20;
const ROOM: u64 = 0xfff * ONE_ROOM;
/// One entry.
const ONE: u64 = 1 << 32;
/// What is reserved at once at most.
const CHUNK: u32 = 1024;
/// How often the shares are added up until nobody counts meanwhile.
const LOOKS: u32 = 64;
/// How often room is looked for until it is found or nobody counts meanwhile.
const TRIES: u32 = if cfg!(loom) { 4 } else { 1000 };

fn room(share: u64) -> u32 {
    ((share & ROOM) / ONE_ROOM) as u32
}

/// A share with one entry more.
fn more(share: u64) -> u64 {
    next(share.wrapping_add(ONE).wrapping_sub(ONE_ROOM))
}

/// A share with one entry less. Room beyond what it can have is anybody's again.
fn less(share: u64) -> u64 {
    let full = share & ROOM == ROOM;
    next(share.wrapping_sub(ONE) + if full { 0 } else { ONE_ROOM })
}

fn next(share: u64) -> u64 {
    share & !SEQUENCE | share.wrapping_add(1) & SEQUENCE
}

/// All shares together.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    pub(crate) entries: u32,
    /// Room that writers have.
    pub(crate) room: u64,
    /// Another number after every count.
    pub(crate) counts: u64,
}

/// A deletion that is announced.
pub(crate) struct Announced {
    pub(crate) intent: Intent,
    /// The share after it; nothing if it is to be changed by an exchange.
    share: Option<u64>,
}

impl<'r> Count<'r> {
    #[inline(always)]
    pub(crate) fn new(
        [base, taking]: [&'r AtomicU64; 2],
        owners: Owners<'r>,
        limit: u32,
    ) -> Count<'r> {
        Count { base, taking, owners, limit }
    }

    /// Entries at one moment; about now, if others count without pause.
    pub(crate) fn get(self) -> u32 {
        let sum = self.at_one_moment().unwrap_or_else(|sum| sum);
        // Deletions seen, and insertions before them not, may be below 0.
        (sum.entries as i32).clamp(0, self.limit as i32) as u32
    }

    /// The shares as they were at one moment; else, as they are now and then.
    pub(crate) fn at_one_moment(self) -> Result<Sum, Sum> {
        let mut before = self.sum();
        for _ in 0..LOOKS {
            let now = self.sum();
            if now.counts == before.counts {
                return Ok(now);
            }
            before = now;
        }
        Err(before)
    }

    /// The shares, each as it is when it is looked at.
    pub(crate) fn sum(self) -> Sum {
        let mut sum = Sum { entries: acquire(self.base) as u32, room: 0, counts: 0 };
        for writer in self.owners.taken() {
            let share = acquire(writer.word(SHARE));
            sum.entries = sum.entries.wrapping_add((share >> 32) as u32);
            sum.room += u64::from(room(share));
            sum.counts = sum.counts.wrapping_add(share & !ROOM);
        }
        sum
    }

    /// The lock under which room is reserved: for checks.
    pub(crate) fn lock(self) -> &'r AtomicU64 {
        self.taking
    }

    /// Sets it while nobody else uses the map. The last store does it: whoever dies before leaves what
    /// was there.
    pub(crate) fn set(self, entries: u32) {
        self.taking.store(0, Relaxed);
        for writer in self.owners.taken() {
            let share = writer.word(SHARE).load(Relaxed);
            if share & ROOM != 0 {
                writer.word(SHARE).store(share & !ROOM, Relaxed);
            }
        }
        let base = self.base.load(Relaxed) as u32;
        let shares = self.sum().entries.wrapping_sub(base);
        self.base.store(entries.wrapping_sub(shares).into(), Release);
    }

    /// Whether a writer that has locked a bucket just now has its share for itself, while it has
    /// that lock and until its next intent.
    #[inline(always)]
    fn is_alone(self) -> bool {
        self.taking.load(Acquire) == 0
    }

    /// Whether a writer has room for an entry, as far as can be told now.
    #[inline(always)]
    pub(crate) fn has_room(self, writer: Writer<'_>) -> bool {
        writer.word(SHARE).load(Relaxed) & ROOM != 0
    }

    /// Counts an entry that a writer is about to make, which has a bucket's lock. Nothing unless it
    /// has room, and for itself.
    #[inline(always)]
    pub(crate) fn add_quickly(self, writer: Writer<'_>, intent: Intent) -> Option<Intent> {
        let alone = self.is_alone();
        let share = writer.word(SHARE).load(Relaxed);
        if !alone || share & ROOM == 0 {
            return None;
        }
        let intent = intent.counting(Operation::Insert, share);
        writer.intend(intent);
        writer.word(SHARE).store(more(share), Release);
        Some(intent)
    }

    /// The same, reserving room first, or taking it from others. Full if there is none; the intent is
    /// what it was then, as with all errors.
    #[cold]
    #[inline(never)]
    pub(crate) fn add(
        self,
        writer: Writer<'_>,
        intent: Intent,
        repair: &impl Repair,
    ) -> Result<Intent, Reason> {
        // From here on it stores to its share only if it has the lock: others need not wait for it.
        writer.intend(intent.becoming(Operation::Waiting));
        let share = writer.word(SHARE).load(Acquire);
        if share & ROOM != 0 {
            let counting = intent.counting(Operation::Insert, share);
            writer.intend(counting);
            if writer.word(SHARE).compare_exchange(share, more(share), AcqRel, Relaxed).is_ok() {
                return Ok(counting);
            }
            writer.intend(intent.becoming(Operation::Waiting));
        }
        // Not the lock that its intent names: the sole writer, too, is one of several here.
        let added = self.owners.lock_by_exchange(self.taking, writer, repair).and_then(|free| {
            let added = self.find_room(writer, repair).map(|()| {
                let share = writer.word(SHARE).load(Acquire);
                let counting = intent.counting(Operation::Insert, share);
                writer.intend(counting);
                writer.word(SHARE).store(more(share), Release);
                counting
            });
            self.taking.store(free, Release);
            added
        });
        if added.is_err() {
            writer.intend(intent);
        }
        added
    }

    /// Gives room to a writer which has the lock, and none left.
    fn find_room(self, writer: Writer<'_>, repair: &impl Repair) -> Result<(), Reason> {
        for _ in 0..TRIES {
            // Nobody else can reserve: what is free can only become more.
            let sum = self.sum();
            let used = sum.entries.wrapping_add(sum.room as u32);
            let free = self.limit.saturating_sub(used);
            if free > 0 {
                let reserved = u64::from(free.div_ceil(4).min(CHUNK)) * ONE_ROOM;
                let share = writer.word(SHARE).load(Acquire) & !ROOM;
                writer.word(SHARE).store(share | reserved, Release);
                return Ok(());
            }
            if self.take_back(writer, repair) {
                continue;
            }
            if self.is_full(writer, repair) {
                return Err(self.full());
            }
            if !self.settle(writer, repair)?
                && !self.take_back(writer, repair)
                && !self.is_full(writer, repair)
            {
                // Whoever has room, or is between a count and a commit, is stopped, it may be.
                return Err(Reason::Busy);
            }
        }
        // Others never rest: the answer of a moment ago must do.
        Err(self.full())
    }

    /// Waits for those who have room, or of whom it is not known whether they have; false if that took
    /// too long.
    fn settle(self, own: Writer<'_>, repair: &impl Repair) -> Result<bool, Reason> {
        let mut settled = true;
        for other in self.others(own) {
            if self.has_room(other) || other.is_counting(repair) {
                settled &= self.owners.leaves(other, repair, &mut Patience::new())?;
            }
        }
        Ok(settled)
    }

    fn full(self) -> Reason {
        Reason::Full { max_entries: self.limit }
    }

    fn others(self, own: Writer<'r>) -> impl Iterator<Item = Writer<'r>> {
        self.owners.taken().filter(move |other| other.number != own.number)
    }

    /// Whether every place was taken by an entry at one moment meanwhile, as far as that can be told
    /// without waiting.
    pub(crate) fn is_full(self, own: Writer<'_>, repair: &impl Repair) -> bool {
        // After the first time all that was counted before is committed, after the second time all
        // that was committed by then is counted. Who begins meanwhile changes the last sum.
        let settled = || self.others(own).all(|other| !other.is_counting(repair));
        let before = self.sum();
        let taken = before.entries >= self.limit && before.room == 0;
        taken && settled() && settled() && self.sum().counts == before.counts
    }

    /// Takes all room from all other writers that are not in the middle of a change; says whether
    /// they had any.
    fn take_back(self, own: Writer<'_>, repair: &impl Repair) -> bool {
        let mut taken = false;
        for other in self.others(own) {
            let word = other.word(SHARE);
            let mut share = word.load(Acquire);
            while share & ROOM != 0 && !other.is_busy(repair) {
                match word.compare_exchange(share, share & !ROOM, AcqRel, Acquire) {
                    Ok(_) => {
                        taken = true;
                        break;
                    }
                    Err(now) => share = now,
                }
            }
        }
        taken
    }

    /// Announces a deletion from a bucket that the writer has locked just now.
    #[inline(always)]
    pub(crate) fn announce(self, writer: Writer<'_>, intent: Intent) -> Announced {
        let alone = self.is_alone();
        let share = writer.word(SHARE).load(Relaxed);
        let intent = intent.counting(Operation::Delete, share);
        writer.intend(intent);
        Announced { intent, share: alone.then(|| less(share)) }
    }

    /// Counts it, after its commit.
    #[inline(always)]
    pub(crate) fn subtract(self, writer: Writer<'_>, announced: &Announced) {
        match announced.share {
            Some(share) => writer.word(SHARE).store(share, Release),
            None => self.complete(writer, announced.intent),
        }
    }

    /// Counts an entry less, unless that has been done: a deletion, or the undoing of an insertion.
    #[cold]
    #[inline(never)]
    pub(crate) fn complete(self, writer: Writer<'_>, intent: Intent) {
        let word = writer.word(SHARE);
        let mut share = word.load(Acquire);
        while share & SEQUENCE != u64::from(intent.sequence()) {
            match word.compare_exchange(share, less(share), AcqRel, Acquire) {
                Ok(_) => return,
                Err(now) => share = now,
            }
        }
    }

    /// Takes back an insertion that a dead writer announced and did not commit, if it counted it.
    pub(crate) fn undo(self, dead: Writer<'_>, intent: Intent) {
        let share = dead.word(SHARE).load(Acquire);
        if share & SEQUENCE == u64::from(intent.sequence()) {
            let undo = intent.counting(Operation::Undo, share);
            dead.intend(undo);
            self.complete(dead, undo);
        }
    }
}
