//! Locks that survive the death of their holder.
//!
//! A region has a table of writers. A thread that writes to the map takes a record in it, once,
//! and keeps it; its number (1 to [`LIMIT`]) is what it puts into a lock. A record is 8 words:
//!
//! ```text
//! 0 identity   who has the record (`process::identity`), 0 if nobody
//! 1 intent     operation in bits 63..60, sequence in 51..32, number of the lock in 31..0
//! 2 share      entries it made, room for more, sequence (`count`)
//! 3 created    a node taken by the operation, or the target of a redo
//! 4 removed    a node given up by the operation
//! 5 mappings   writable mappings of the values that the process holds
//! 6 standing   how it takes locks (`bias`)
//! 7            unused
//! ```
//!
//! A lock is the upper 12 bits of a word, 0 when free; the other 52 belong to whatever the lock
//! protects. The intent is written before the lock is taken and cleared after it is released, so
//! whoever waits for a lock of a dead process finds there what to complete or undo
//! ([`Repair`]). Cleaning up is idempotent: if whoever does it dies too, the next one carries on.

use super::barrier;
use super::bias::{Bias, SHARED, SOLE};
use super::process;
use super::sync::{AtomicU64, Ordering::*, acquire, fence_after_exchange, spin_loop};
use crate::error::Reason;

/// Threads that can write to one map at the same time.
pub(crate) const LIMIT: u32 = if cfg!(loom) {
    3
} else if cfg!(miri) {
    15
} else {
    1023
};
/// Words of a record.
pub(crate) const RECORD: usize = 8;
/// Words of the table; record 0 is not used.
pub(crate) const TABLE: usize = (LIMIT as usize + 1) * RECORD;

const OWNER_SHIFT: u32 = 52;
/// The bits of a lock word that belong to what the lock protects.
pub(crate) const PAYLOAD: u64 = (1 << OWNER_SHIFT) - 1;

const IDENTITY: usize = 0;
const INTENT: usize = 1;
pub(crate) const SHARE: usize = 2;
pub(crate) const CREATED: usize = 3;
pub(crate) const REMOVED: usize = 4;
const MAPPINGS: usize = 5;
pub(super) const STANDING: usize = 6;

/// Number of the lock's holder, 0 if it is free.
#[inline(always)]
pub(crate) fn holder(word: u64) -> u32 {
    (word >> OWNER_SHIFT) as u32
}

/// What an owner is doing, for whoever has to clean up after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Operation {
    /// Nothing.
    None = 0,
    /// Holds the lock, or is about to, and has changed nothing that outlives it.
    Locked = 1,
    /// Counts an entry, then commits it.
    Insert = 2,
    /// Commits the removal of an entry, then counts it.
    Delete = 3,
    /// Takes back the count of an insertion that never was committed.
    Undo = 4,
    /// Holds the lock, has changed nothing, and is waiting for room (see `count`).
    Waiting = 5,
}

/// [`Operation`], sequence and the number of the lock, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent(u64);

/// Sequences wrap at this many.
pub(crate) const SEQUENCES: u32 = 1 << 20;

impl Intent {
    /// The bits of the sequence.
    const SEQUENCE: u64 = ((SEQUENCES - 1) as u64) << 32;

    pub(crate) fn new(operation: Operation, sequence: u32, lock: u32) -> Intent {
        Intent((operation as u64) << 60 | u64::from(sequence % SEQUENCES) << 32 | u64::from(lock))
    }

    pub(crate) fn operation(self) -> Operation {
        match self.0 >> 60 {
            1 => Operation::Locked,
            2 => Operation::Insert,
            3 => Operation::Delete,
            4 => Operation::Undo,
            5 => Operation::Waiting,
            _ => Operation::None,
        }
    }

    pub(crate) fn sequence(self) -> u32 {
        (self.0 >> 32) as u32 % SEQUENCES
    }

    pub(crate) fn lock(self) -> u32 {
        self.0 as u32
    }

    /// The same with another operation.
    pub(crate) fn becoming(self, operation: Operation) -> Intent {
        Intent::new(operation, self.sequence(), self.lock())
    }

    /// The same with an operation that counts, and the sequence that follows a share's.
    #[inline(always)]
    pub(crate) fn counting(self, operation: Operation, share: u64) -> Intent {
        Intent::new(operation, (share as u32).wrapping_add(1), self.lock())
    }
}

/// What a kind of map knows about its locks.
pub(crate) trait Repair {
    /// Completes or undoes what a dead owner was doing, and releases its lock.
    fn repair(&self, dead: Writer<'_>) -> Result<(), Reason>;
    /// Whether this owner holds the lock with this number.
    fn is_held(&self, lock: u32, owner: u32) -> bool;
}

/// A record's words.
type Record = [AtomicU64; RECORD];

/// The table of writers.
#[derive(Clone, Copy)]
pub(crate) struct Owners<'r> {
    records: &'r [Record],
    highest: &'r AtomicU64,
    pub(super) bias: Bias<'r>,
}

/// A record in the table, and the right to write to the map with it.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'r> {
    record: &'r Record,
    /// What it puts into locks.
    pub(crate) number: u32,
}

impl<'r> Owners<'r> {
    /// The table in these words, the word that remembers the highest number ever taken, and that of the sole
    /// writer.
    #[inline(always)]
    pub(crate) fn new(
        records: &'r [AtomicU64],
        highest: &'r AtomicU64,
        bias: Bias<'r>,
    ) -> Owners<'r> {
        Owners { records: records.as_chunks().0, highest, bias }
    }

    /// The record with this number, if there is one.
    #[inline(always)]
    pub(crate) fn writer(self, number: u32) -> Option<Writer<'r>> {
        Some(Writer { record: self.records.get(number as usize)?, number })
    }

    /// Every record that has ever been taken.
    pub(crate) fn taken(self) -> impl Iterator<Item = Writer<'r>> {
        let highest = (acquire(self.highest) as u32).min(LIMIT);
        (1..=highest).filter_map(move |number| self.writer(number))
    }

    /// Every record, and the highest number that is said to have been taken: for checks, which
    /// may find more.
    pub(crate) fn all(self) -> (impl Iterator<Item = Writer<'r>>, u64) {
        ((1..=LIMIT).filter_map(move |number| self.writer(number)), acquire(self.highest))
    }

    /// Makes nobody's what is not this process's, and ends all operations; what was counted stays: only
    /// for repairs, when no other process has the map open. Gives how many records were somebody's.
    pub(crate) fn reset(self) -> u32 {
        let (mut highest, mut freed) = (0, 0);
        for writer in self.all().0 {
            let identity = writer.identity();
            if identity == process::identity() || writer.word(SHARE).load(Relaxed) != 0 {
                highest = writer.number;
            }
            if identity != process::identity() && identity != 0 {
                freed += 1;
                writer.record[IDENTITY].store(0, Release);
                writer.word(MAPPINGS).store(0, Relaxed);
            }
            writer.word(STANDING).store(0, Relaxed);
            writer.word(CREATED).store(0, Relaxed);
            writer.word(REMOVED).store(0, Relaxed);
            writer.end(writer.intent());
        }
        self.highest.store(highest.into(), Release);
        self.bias.reset();
        freed
    }

    /// Takes a record: a free one, else that of a dead process.
    pub(crate) fn claim(self, repair: &impl Repair) -> Result<u32, Reason> {
        let identity = process::identity();
        // Before any operation: it may take a while.
        barrier::takes_part();
        for attempt in 0..2 {
            for number in 1..=LIMIT {
                let Some(writer) = self.writer(number) else { continue };
                if attempt > 0 {
                    self.recover(writer, repair)?;
                }
                let word = &writer.record[IDENTITY];
                if word.load(Relaxed) == 0
                    && word.compare_exchange(0, identity, AcqRel, Relaxed).is_ok()
                {
                    writer.reset();
                    self.highest.fetch_max(u64::from(number), AcqRel);
                    return Ok(number);
                }
            }
        }
        Err(Reason::Writers { limit: LIMIT })
    }

    /// Makes a record this process's again.
    pub(crate) fn retake(self, number: u32) {
        if let Some(writer) = self.writer(number) {
            writer.record[IDENTITY].store(process::identity(), Release);
            self.highest.fetch_max(u64::from(number), AcqRel);
        }
    }

    /// Gives a record back that this process took.
    pub(crate) fn release(self, number: u32) {
        if let Some(writer) = self.writer(number) {
            self.bias.give_back(writer);
            writer.record[IDENTITY].store(0, Release);
        }
    }

    /// Whether live processes hold writable mappings of the values.
    pub(crate) fn has_mappings(self) -> bool {
        self.taken().any(|writer| {
            let identity = writer.record[IDENTITY].load(Acquire);
            let mappings = writer.word(MAPPINGS).load(SeqCst);
            identity != 0 && mappings > 0 && process::is_alive(identity)
        })
    }

    /// If the holder of a lock is dead, cleans up after it, without waiting for the living.
    #[cold]
    pub(crate) fn recover_holder(self, word: u64, repair: &impl Repair) -> Result<(), Reason> {
        match self.writer(holder(word)) {
            Some(writer) if holder(word) != 0 => self.recover(writer, repair).map(drop),
            _ => Ok(()),
        }
    }

    /// If the record's owner is dead, cleans up after it and frees the record; says whether it
    /// was. Only one process at a time does so.
    pub(crate) fn recover(self, writer: Writer<'_>, repair: &impl Repair) -> Result<bool, Reason> {
        let word = &writer.record[IDENTITY];
        let identity = word.load(Acquire);
        if identity == 0 || process::is_alive(identity) {
            return Ok(false);
        }
        let own = process::identity() | process::RECOVERING;
        if word.compare_exchange(identity, own, AcqRel, Relaxed).is_err() {
            return Ok(false);
        }
        // A record that is nobody's takes no locks.
        writer.word(STANDING).store(0, Release);
        let outcome = repair.repair(writer);
        word.store(0, Release);
        outcome.map(|()| true)
    }

    /// Before all writers are asked what they do: each of them has seen what was written before this, or
    /// does so after its next intent. `own` is the caller's number, if it knows it.
    pub(crate) fn synchronize(self, own: Option<u32>) -> Result<(), Reason> {
        self.bias.synchronize(own)
    }

    /// Whether a record's standing is possible.
    pub(crate) fn allows_standing(self, writer: Writer<'_>) -> bool {
        self.bias.allows(writer)
    }

    /// Waits until a writer is out of the lock that it has now, if it has one, and has counted what it
    /// did there; false if that takes too long.
    pub(crate) fn leaves(
        self,
        other: Writer<'_>,
        repair: &impl Repair,
        patience: &mut Patience,
    ) -> Result<bool, Reason> {
        let lock = other.intent().lock();
        // Another lock is another operation's.
        while other.is_busy(repair) && other.intent().lock() == lock {
            match patience.wait() {
                Ok(true) => drop(self.recover(other, repair)?),
                Ok(false) => {}
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes the lock in `word`; gives the word as it was, free.
    #[inline(always)]
    pub(crate) fn lock(
        self,
        word: &AtomicU64,
        writer: Writer<'_>,
        repair: &impl Repair,
    ) -> Result<u64, Reason> {
        let now = word.load(Acquire);
        match holder(now) == 0 && writer.lock_quickly(word, now) {
            true => Ok(now),
            false => self.lock_by_exchange(word, writer, repair),
        }
    }

    /// The same, whoever else may be taking it.
    #[cold]
    pub(crate) fn lock_by_exchange(
        self,
        word: &AtomicU64,
        writer: Writer<'_>,
        repair: &impl Repair,
    ) -> Result<u64, Reason> {
        self.admit(writer, repair)?;
        let mut patience = Patience::new();
        // How often in a row the lock looked as if nobody held it.
        let mut strange = 0;
        loop {
            let now = word.load(Acquire);
            if holder(now) == 0 {
                if writer.exchange(word, now) {
                    return Ok(now);
                }
                continue;
            }
            if holder(now) == writer.number {
                // This thread is in no operation: `begin` has made sure.
                return Err(Reason::Corrupt("a lock is held by a writer that is in no operation"));
            }
            if patience.wait()? {
                let Some(other) = self.writer(holder(now)) else {
                    return Err(Reason::Corrupt("a lock is held by an impossible owner"));
                };
                // Once proves nothing: its holder may have released it and given its record back,
                // and the record's next owner may have taken it since.
                strange = if other.is_free() { strange + 1 } else { 0 };
                if strange > STRANGE {
                    return Err(Reason::Corrupt("a lock is held by nobody"));
                }
                self.recover(other, repair)?;
            }
        }
    }
}

impl Writer<'_> {
    /// A word of the record.
    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        &self.record[index]
    }

    #[inline(always)]
    pub(crate) fn intent(&self) -> Intent {
        Intent(self.record[INTENT].load(Acquire))
    }

    #[inline(always)]
    pub(crate) fn intend(&self, intent: Intent) {
        self.record[INTENT].store(intent.0, Release);
    }

    /// Whether it has a lock, or has committed and not counted. Who wrote a word and then finds it not
    /// to be (with a fence between the two) knows that it will read that word once it has a lock: if
    /// it reads it after a fence, too.
    pub(crate) fn is_busy(&self, repair: &impl Repair) -> bool {
        loop {
            let intent = self.intent();
            match intent.operation() {
                Operation::None | Operation::Waiting => return false,
                Operation::Delete | Operation::Undo => return true,
                Operation::Locked | Operation::Insert => {}
            }
            // The sole writer's lock may be on its way. This is asked first: once it is one of several, its
            // lock can be seen.
            let is_shared = self.word(STANDING).load(Acquire) == SHARED;
            if !is_shared || repair.is_held(intent.lock(), self.number) {
                return true;
            }
            // It has not got the lock yet, or has released it: after a deletion, it says so now.
            if self.intent() == intent {
                return false;
            }
        }
    }

    /// Whether it has counted and not committed, or committed and not counted.
    pub(crate) fn is_counting(&self, repair: &impl Repair) -> bool {
        let intent = self.intent();
        match intent.operation() {
            Operation::None | Operation::Locked | Operation::Waiting => false,
            Operation::Delete | Operation::Undo => true,
            Operation::Insert => repair.is_held(intent.lock(), self.number),
        }
    }

    /// Says that the lock with this number is about to be taken. Fails if this very thread is in
    /// the middle of another operation, which a signal handler interrupted.
    #[inline(always)]
    pub(crate) fn begin(&self, lock: u32) -> Result<Intent, Reason> {
        let last = Intent(self.record[INTENT].load(Relaxed));
        if last.operation() != Operation::None {
            return Err(Reason::Busy);
        }
        let intent = Intent::new(Operation::Locked, last.sequence(), lock);
        self.intend(intent);
        Ok(intent)
    }

    /// The same, short: nothing unless the last operation ended as all but damaged ones do.
    #[inline(always)]
    pub(crate) fn begin_quickly(&self, lock: u32) -> Option<Intent> {
        let last = self.record[INTENT].load(Relaxed);
        if last & !Intent::SEQUENCE != 0 {
            return None;
        }
        let intent = Intent(last | (Operation::Locked as u64) << 60 | u64::from(lock));
        self.intend(intent);
        Some(intent)
    }

    /// Takes the lock that was free when its word was `now`, unless that has changed since, or this
    /// writer has yet to be admitted.
    #[inline(always)]
    pub(crate) fn lock_quickly(&self, word: &AtomicU64, now: u64) -> bool {
        barrier::light();
        match self.word(STANDING).load(Acquire) {
            SOLE => {
                let same = word.load(Acquire) == now;
                if same {
                    word.store(self.locked(now), Release);
                }
                same
            }
            SHARED => self.exchange(word, now),
            _ => false,
        }
    }

    /// Takes it, as one of several writers.
    #[inline(always)]
    fn exchange(&self, word: &AtomicU64, now: u64) -> bool {
        let taken = word.compare_exchange(now, self.locked(now), AcqRel, Relaxed).is_ok();
        fence_after_exchange();
        taken
    }

    /// The word of a lock that is free as `now`, with this writer as its holder.
    #[inline(always)]
    fn locked(&self, now: u64) -> u64 {
        now | u64::from(self.number) << OWNER_SHIFT
    }

    /// Says that the operation is over.
    #[inline(always)]
    pub(crate) fn end(&self, intent: Intent) {
        self.intend(Intent(intent.0 & Intent::SEQUENCE));
    }

    /// Makes nothing of what a former owner left, but keeps the sequence.
    fn reset(&self) {
        self.word(MAPPINGS).store(0, Relaxed);
        self.word(STANDING).store(0, Relaxed);
        self.word(CREATED).store(0, Relaxed);
        self.word(REMOVED).store(0, Relaxed);
        self.end(self.intent());
    }

    /// Notes one writable mapping of the values more, or one less.
    pub(crate) fn count_mapping(&self, more: bool) {
        let change = if more { 1 } else { u64::MAX };
        self.record[MAPPINGS].fetch_add(change, SeqCst);
    }

    /// Whether the process that has the record lives.
    #[cold]
    pub(crate) fn is_alive(&self) -> bool {
        process::is_alive(self.record[IDENTITY].load(Acquire))
    }

    /// Who has the record, 0 if nobody; of a map that is open for reading only, too.
    pub(crate) fn identity(&self) -> u64 {
        acquire(&self.record[IDENTITY])
    }

    /// What it is doing, if anything, likewise.
    pub(crate) fn doing(&self) -> Option<Intent> {
        Some(Intent(acquire(&self.record[INTENT])))
            .filter(|intent| intent.operation() != Operation::None)
    }

    /// Whether it is doing something or has counted entries, likewise.
    pub(crate) fn was_used(&self) -> bool {
        self.doing().is_some() || acquire(&self.record[SHARE]) != 0
    }

    /// Whether nobody has the record.
    pub(crate) fn is_free(&self) -> bool {
        self.record[IDENTITY].load(Acquire) == 0
    }
}

#[cfg(test)]
impl<'r> Owners<'r> {
    /// Gives this process a certain record.
    #[cfg(loom)]
    pub(crate) fn enlist(self, number: u32) -> Writer<'r> {
        let writer = self.writer(number).unwrap();
        writer.record[IDENTITY].store(process::identity(), Relaxed);
        self.bias.enlist(writer);
        self.highest.fetch_max(u64::from(number), Relaxed);
        writer
    }

    /// As if several had written.
    #[cfg(loom)]
    pub(crate) fn share(self) {
        self.bias.share();
    }

    /// Makes all records of this process those of a process that ended with its program image.
    pub(crate) fn bury(self) {
        let own = process::identity();
        for writer in (1..=LIMIT).filter_map(|number| self.writer(number)) {
            if writer.record[IDENTITY].load(Relaxed) & !process::RECOVERING == own {
                writer.bury();
            }
        }
    }
}

#[cfg(test)]
impl Writer<'_> {
    /// Makes it that of a process that died before the last boot.
    pub(crate) fn bury(&self) {
        let dead = process::of_another_image(process::identity());
        self.record[IDENTITY].store(dead, Relaxed);
    }

    /// Whether nothing is left of its operations.
    pub(crate) fn is_idle(&self) -> bool {
        self.intent().operation() == Operation::None
    }
}

/// How long to wait for others: a little while spinning, then giving the CPU away, with a look
/// from time to time whether they are dead, and an end.
pub(crate) struct Patience {
    turns: u32,
    since: Option<std::time::Instant>,
}

/// How often to spin before the CPU is given away.
const SPINS: u32 = 12;

/// After this many looks in a row a lock without a holder is damage.
const STRANGE: u32 = 16;

/// The longest wait for a lock that a live thread holds; EBUSY after it, and after so many turns: on a
/// machine that is so loaded that there are few in that time, the holder has hardly run either.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(1);
const TURNS: u32 = 1024;

impl Patience {
    pub(crate) fn new() -> Patience {
        Patience { turns: 0, since: None }
    }

    /// Waits a moment. `Ok(true)` says that it is time to see whether the other is dead.
    pub(crate) fn wait(&mut self) -> Result<bool, Reason> {
        if cfg!(loom) {
            #[cfg(loom)]
            loom::thread::yield_now();
            return Ok(true);
        }
        self.turns += 1;
        // Longer each time: those who wait shall not take the line from who has the lock.
        if self.turns < SPINS {
            for _ in 0..1 << (self.turns + 2).min(8) {
                spin_loop();
            }
            return Ok(false);
        }
        // The first look comes before the CPU is given away: on a loaded machine it may be long until
        // it is back, and the other may be dead.
        if self.turns > SPINS && !self.turns.is_multiple_of(16) {
            std::thread::yield_now();
            return Ok(false);
        }
        let since = *self.since.get_or_insert_with(std::time::Instant::now);
        if self.turns > TURNS && since.elapsed() > LONGEST {
            return Err(Reason::Busy);
        }
        if self.turns > TURNS {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        Ok(true)
    }
}
