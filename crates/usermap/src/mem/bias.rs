//! Who may take locks by plain stores: the only writer, until another one comes (biased locking).
//!
//! An exchange takes longer than all the rest of an update. A region has a word for its sole writer:
//!
//! ```text
//! 11..0   the sole writer's number, 0 if nobody has written yet
//! 13      passed: the sole one that is leaving can take by a plain store only the lock that its intent names
//! 14      shared: several write, all of them take locks by exchanges, for good
//! 15      leaving: another writer has come, and waits until the sole one is out of its operation
//! 23..16  how often a writer took over from another one that had the map, too
//! 63..24  another one whenever who writes changes, so that nobody takes a word of before for this one
//! ```
//!
//! and each writer's record has its standing: [`SOLE`], [`SHARED`], or 0 until it is
//! [admitted](Owners::admit).
//!
//! A writer writes its intent first and looks at its standing then. Who comes sets *leaving*, makes the
//! sole writer's standing 0, has all other threads make a barrier ([`barrier`]), and looks at the sole
//! writer's intent: if that had looked before, its intent is seen now; else it sees the 0. It is waited for
//! only between its intent and its lock, a few instructions, and only by who wants this very lock: from
//! then on the lock tells others what they have to know.
//!
//! A writer that was idle hands over; so a thread may fill a map and another one change it. After some of
//! that the word is *shared*.

use super::barrier;
use super::owner::{Operation, Owners, Patience, Repair, STANDING, Writer};
use super::sync::{AtomicU64, Ordering::*, acquire};
use crate::error::Reason;

/// In a record: it takes locks by plain stores.
pub(super) const SOLE: u64 = 1;
/// In a record: it takes them by exchanges.
pub(super) const SHARED: u64 = 2;
const OUTSIDE: u64 = 0;

// Of the region's word.
const NUMBER: u64 = (1 << 12) - 1;
const PASSED: u64 = 1 << 13;
const SEVERAL: u64 = 1 << 14;
const LEAVING: u64 = 1 << 15;
const LEAVING_PASSED: u64 = LEAVING | PASSED;
const STATE: u64 = NUMBER | PASSED | SEVERAL | LEAVING;
const TAKEOVER: u64 = 1 << 16;
const TAKEOVERS: u64 = 0xff * TAKEOVER;
const EPOCH: u64 = 1 << 24;

/// How often a writer may take over from another one.
const MOST_TAKEOVERS: u64 = if cfg!(loom) { 1 } else { 8 };
/// How often in a row the word may change before that is waited for, too.
const TURNS: u32 = 64;

/// The word of a region.
#[derive(Clone, Copy)]
pub(crate) struct Bias<'r> {
    word: &'r AtomicU64,
}

impl<'r> Bias<'r> {
    #[inline(always)]
    pub(crate) fn new(word: &'r AtomicU64) -> Bias<'r> {
        Bias { word }
    }

    /// Before all writers are asked what they do: each of them has seen what was written before this, or it
    /// can be seen what it does. The caller's own record, if it has one, it knows.
    pub(crate) fn synchronize(self, own: Option<u32>) -> Result<(), Reason> {
        match (self.word.load(Acquire) & NUMBER) as u32 {
            0 => Ok(()),
            sole if Some(sole) == own => Ok(()),
            _ => barrier::everywhere(),
        }
    }

    /// Whether a standing is possible while the word is as it is: one that says it is the sole writer is the
    /// word's.
    pub(crate) fn allows(self, writer: Writer<'_>) -> bool {
        match acquire(writer.word(STANDING)) {
            OUTSIDE | SHARED => true,
            SOLE => acquire(self.word) & NUMBER == u64::from(writer.number),
            _ => false,
        }
    }

    /// A record is given back by who has it, and is in no operation.
    pub(crate) fn give_back(self, writer: Writer<'_>) {
        writer.word(STANDING).store(OUTSIDE, Relaxed);
        let now = self.word.load(Relaxed);
        if now & STATE == u64::from(writer.number) {
            let nobody = (now & !(STATE | TAKEOVERS)).wrapping_add(EPOCH);
            let _ = self.word.compare_exchange(now, nobody, AcqRel, Relaxed);
        }
    }

    /// Makes nobody the sole writer: for repairs, while nobody else has the map.
    pub(crate) fn reset(self) {
        self.word.store(0, Relaxed);
    }

    /// The word, if it says what cannot be.
    pub(crate) fn broken(self) -> Option<u64> {
        let now = acquire(self.word);
        let (number, state) = (now & NUMBER, now & 0xffff & !NUMBER);
        let possible = match state {
            0 => number <= super::owner::LIMIT.into(),
            LEAVING | LEAVING_PASSED => (1..=super::owner::LIMIT.into()).contains(&number),
            SEVERAL => number == 0,
            _ => false,
        };
        (!possible).then_some(now)
    }
}

/// The word once several write.
fn several(now: u64) -> u64 {
    (now & !STATE | SEVERAL).wrapping_add(EPOCH)
}

/// The word once this writer is the sole one.
fn owned(now: u64, number: u32) -> u64 {
    (now & !STATE | u64::from(number)).wrapping_add(EPOCH)
}

impl Owners<'_> {
    /// Sees to it that a writer may take the lock that its intent names, by an exchange at least.
    #[cold]
    pub(crate) fn admit(self, writer: Writer<'_>, repair: &impl Repair) -> Result<(), Reason> {
        let (word, standing) = (self.bias.word, writer.word(STANDING));
        let mut patience = Patience::new();
        let mut turns = 0;
        barrier::light();
        while standing.load(Acquire) == OUTSIDE {
            let now = word.load(Acquire);
            let sole = self.writer((now & NUMBER) as u32).filter(|sole| sole.number != 0);
            let next = match sole {
                _ if now & SEVERAL != 0 => {
                    standing.store(SHARED, Release);
                    return Ok(());
                }
                None => owned(now, writer.number),
                Some(sole) if sole.number == writer.number => match now & LEAVING {
                    0 => owned(now, writer.number),
                    _ => several(now),
                },
                Some(_) if now & LEAVING == 0 => now | LEAVING,
                Some(sole) => match self.succeed(now, sole, writer, repair, &mut patience)? {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
            self.exchange_bias(now, next, writer);
            turns += 1;
            if turns > TURNS {
                patience.wait()?;
            }
        }
        Ok(())
    }

    /// Changes the word. A writer has its standing before it is the sole one, so that nobody takes it
    /// from it earlier.
    fn exchange_bias(self, now: u64, next: u64, writer: Writer<'_>) {
        let next = match next & STATE == u64::from(writer.number) && !barrier::takes_part() {
            true => several(now),
            false => next,
        };
        let is_sole = next & STATE == u64::from(writer.number);
        if is_sole {
            writer.word(STANDING).store(SOLE, Relaxed);
        }
        let done = self.bias.word.compare_exchange(now, next, AcqRel, Relaxed).is_ok();
        if is_sole && !done {
            writer.word(STANDING).store(OUTSIDE, Relaxed);
        }
    }

    /// What the word is to become when a writer has come and the sole one is leaving; nothing if the writer may
    /// go on before that is known, since it wants another lock than the sole one does. Waits otherwise.
    fn succeed(
        self,
        now: u64,
        sole: Writer<'_>,
        writer: Writer<'_>,
        repair: &impl Repair,
        patience: &mut Patience,
    ) -> Result<Option<u64>, Reason> {
        let passed = now & PASSED != 0;
        if !passed {
            // The dead do nothing any more.
            if sole.is_free() || self.recover(sole, repair)? {
                return Ok(Some(owned(now, writer.number)));
            }
            sole.word(STANDING).store(OUTSIDE, Release);
            barrier::everywhere()?;
        }
        while self.bias.word.load(Acquire) == now {
            let intent = sole.intent();
            match intent.operation() {
                // Others may be on their way since it was passed.
                Operation::None if !passed && now & TAKEOVERS < MOST_TAKEOVERS * TAKEOVER => {
                    return Ok(Some(owned(now + TAKEOVER, writer.number)));
                }
                Operation::Locked if !repair.is_held(intent.lock(), sole.number) => {
                    if !passed {
                        return Ok(Some(now | PASSED));
                    }
                    if intent.lock() != writer.intent().lock() {
                        return Ok(None);
                    }
                }
                _ => return Ok(Some(several(now))),
            }
            if patience.wait()? {
                self.recover(sole, repair)?;
            }
        }
        Ok(Some(now))
    }
}

#[cfg(all(test, loom))]
impl Bias<'_> {
    /// As if several had written.
    pub(super) fn share(self) {
        self.word.store(SEVERAL, Relaxed);
    }

    /// Gives a writer the standing that it has once several write.
    pub(super) fn enlist(self, writer: Writer<'_>) {
        if self.word.load(Relaxed) == SEVERAL {
            writer.word(STANDING).store(SHARED, Relaxed);
        }
    }
}
