//! The number of entries of a map: exact, in one word, whoever dies when.
//!
//! ```text
//! 63..32 entries    31..20 owner who counted last    19..0 the sequence of its intent
//! ```
//!
//! A dead owner's intent says that it wanted to count; whether it did can be told, because the
//! word names the last who did, and whoever counts next first notes in that owner's record
//! (`COUNTED`) that its count was seen. So every count can be completed by anyone, exactly once
//! (detectable updates: Attiya, Ben-Baruch, Hendler, PODC 2018).

use super::owner::{COUNTED, Intent, Operation, Owners, Patience, Repair, SEQUENCES, Writer};
use super::sync::{AtomicU64, Ordering::*, acquire};
use crate::error::Reason;

/// In `COUNTED`: no sequence.
const NEVER: u64 = u64::MAX;

/// The counter of a region.
#[derive(Clone, Copy)]
pub(crate) struct Count<'r> {
    word: &'r AtomicU64,
    owners: Owners<'r>,
    limit: u32,
}

fn pack(entries: u32, owner: u32, sequence: u32) -> u64 {
    u64::from(entries) << 32 | u64::from(owner) << 20 | u64::from(sequence)
}

fn entries(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The bits of the sequence.
const SEQUENCE: u64 = (SEQUENCES - 1) as u64;

/// A count that was announced, and the word before and after it.
pub(crate) struct Announced {
    pub(crate) intent: Intent,
    before: u64,
    after: u64,
}

fn tag(word: u64) -> (u32, u32) {
    ((word >> 20) as u32 & 0xfff, word as u32 % SEQUENCES)
}

impl<'r> Count<'r> {
    pub(crate) fn new(word: &'r AtomicU64, owners: Owners<'r>, limit: u32) -> Count<'r> {
        Count { word, owners, limit }
    }

    /// Entries now.
    pub(crate) fn get(self) -> u32 {
        entries(acquire(self.word))
    }

    /// Entries now, who counted last, and the whole word, which every count changes: for checks.
    pub(crate) fn look(self) -> (u32, u32, u64) {
        let word = acquire(self.word);
        (entries(word), tag(word).0, word)
    }

    /// Sets it while nobody else uses the map and nobody is in an operation.
    pub(crate) fn set(self, entries: u32) {
        self.word.store(pack(entries, 0, 0), Release);
    }

    /// Announces an intent with a sequence of its own, and makes sure that this sequence does
    /// not look counted already from a million operations ago.
    #[inline(always)]
    pub(crate) fn announce(self, writer: Writer<'_>, intent: Intent, next: Operation) -> Intent {
        let mut intent = intent.next(next);
        // Only this writer's own announcements bring its number into the word.
        if tag(self.word.load(Relaxed)) == (writer.number, intent.sequence()) {
            intent = intent.next(next);
        }
        let counted = writer.word(COUNTED);
        if counted.load(Relaxed) == u64::from(intent.sequence()) {
            counted.store(NEVER, Release);
        }
        writer.intend(intent);
        intent
    }

    /// Announces one entry more or less, if this writer was the last to count and the map is
    /// neither full nor empty: then this is a few instructions. Nothing is done otherwise.
    #[inline(always)]
    pub(crate) fn announce_quickly(
        self,
        writer: Writer<'_>,
        intent: Intent,
        next: Operation,
    ) -> Option<Announced> {
        let (up, before) = (next == Operation::Insert, self.word.load(Relaxed));
        let (number, counted) = tag(before);
        let intent = intent.next(next);
        let sequence = intent.sequence();
        let possible = if up { entries(before) < self.limit } else { entries(before) > 0 };
        if number != writer.number
            || counted == sequence
            || writer.word(COUNTED).load(Relaxed) == u64::from(sequence)
            || !possible
        {
            return None;
        }
        let one = if up { 1 << 32 } else { u64::MAX << 32 };
        let after = (before.wrapping_add(one) & !SEQUENCE) | u64::from(sequence);
        writer.intend(intent);
        Some(Announced { intent, before, after })
    }

    /// Counts it, if nobody counted since: nobody but those who complete this very count can have
    /// brought the word back to this writer's number. Else [`apply`](Count::apply) has to.
    #[inline(always)]
    pub(crate) fn apply_quickly(self, announced: &Announced) -> bool {
        let (before, after) = (announced.before, announced.after);
        self.word.compare_exchange(before, after, AcqRel, Relaxed).is_ok()
    }

    /// The word after a count; nothing if the map is full.
    #[inline(always)]
    fn counted(self, now: u64, writer: Writer<'_>, intent: Intent) -> Option<u64> {
        let entries = entries(now);
        let next = match intent.operation() == Operation::Insert {
            true if entries >= self.limit => return None,
            true => entries + 1,
            // A count of 0 here is damage from outside.
            false => entries.saturating_sub(1),
        };
        Some(pack(next, writer.number, intent.sequence()))
    }

    /// Counts what a writer announced, once, whoever calls it and how often. Gives false if the
    /// map is full.
    #[inline(never)]
    pub(crate) fn apply(self, writer: Writer<'_>, intent: Intent) -> bool {
        let sequence = intent.sequence();
        loop {
            let now = self.word.load(Acquire);
            if tag(now) == (writer.number, sequence)
                || writer.word(COUNTED).load(Acquire) == u64::from(sequence)
                || writer.intent() != intent
            {
                return true;
            }
            if !self.acknowledge(now, writer.number) {
                continue;
            }
            let Some(next) = self.counted(now, writer, intent) else { return false };
            if self.word.compare_exchange(now, next, AcqRel, Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Notes for whoever counted last that it was seen; false if that is no longer the last.
    #[inline(always)]
    fn acknowledge(self, now: u64, own: u32) -> bool {
        let (owner, sequence) = tag(now);
        if owner == own || owner == 0 {
            return true;
        }
        let Some(writer) = self.owners.writer(owner) else { return true };
        let counted = writer.word(COUNTED);
        let seen = counted.load(Acquire);
        if seen == u64::from(sequence) {
            return true;
        }
        self.word.load(Acquire) == now
            && counted.compare_exchange(seen, u64::from(sequence), AcqRel, Relaxed).is_ok()
    }

    /// Whether a writer's announced count was made.
    pub(crate) fn was_applied(self, writer: Writer<'_>, intent: Intent) -> bool {
        let sequence = intent.sequence();
        tag(self.word.load(Acquire)) == (writer.number, sequence)
            || writer.word(COUNTED).load(Acquire) == u64::from(sequence)
    }

    /// Makes sure that a map which looks full is: counts the removals that are committed and not
    /// yet counted, waits for insertions that are counted and not yet committed, and cleans up
    /// after the dead. True if at one moment meanwhile every place was taken by an entry.
    #[cold]
    pub(crate) fn is_full(self, own: Writer<'_>, repair: &impl Repair) -> Result<bool, Reason> {
        let mut patience = Patience::new();
        let mut before: Option<(u64, Vec<u32>)> = None;
        loop {
            let now = self.word.load(Acquire);
            if entries(now) < self.limit {
                return Ok(false);
            }
            let sequences = self.settled(own, repair)?;
            // Nobody did anything between the two looks, so at that moment all was settled.
            let same = matches!((&sequences, &before), (Some(sequences), Some((then, earlier)))
                if *then == now && earlier == sequences);
            // Others that never rest: after a second, the answer of a moment ago must do.
            if same || (before.is_some() && patience.wait().is_err()) {
                return Ok(true);
            }
            before = Some((now, sequences.unwrap_or_default()));
        }
    }

    /// The sequences of all other writers, if none of them is between a count and its commit.
    fn settled(self, own: Writer<'_>, repair: &impl Repair) -> Result<Option<Vec<u32>>, Reason> {
        let mut sequences = Vec::new();
        let mut settled = true;
        for other in self.owners.taken().filter(|other| other.number != own.number) {
            let intent = other.intent();
            match intent.operation() {
                Operation::None | Operation::Locked => {}
                Operation::Delete if !repair.is_held(intent.lock(), other.number) => {
                    self.apply(other, intent);
                }
                _ => {
                    settled = false;
                    self.owners.recover(other, repair)?;
                }
            }
            sequences.push(intent.sequence());
        }
        Ok(settled.then_some(sequences))
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::header;

    /// A million refusals after its last count, a writer's sequence is that count's again, which
    /// must not pass for the next one's.
    #[test]
    fn a_sequence_that_comes_again_is_not_counted() {
        let words: Vec<AtomicU64> = (0..header::KIND).map(|_| AtomicU64::new(0)).collect();
        let (count, writer) = (header::count(&words, 1), header::owners(&words).writer(1).unwrap());
        let mut intent = count.announce(writer, writer.begin(0).unwrap(), Operation::Insert);
        assert!(count.apply(writer, intent));
        for _ in 0..=SEQUENCES {
            intent = count.announce(writer, intent.becoming(Operation::Locked), Operation::Insert);
            assert!(!count.apply(writer, intent));
        }
        assert_eq!(count.get(), 1);
    }
}
