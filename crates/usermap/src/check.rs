//! What is damaged in a map's region, and making it usable again.
//!
//! A check only reads, and others may use the map meanwhile: what looks wrong is looked at again and
//! again, and a bucket only counts as seen if its version stayed the same. So what somebody is in
//! the middle of is no finding, and neither is what a dead process left behind: whoever needs it
//! cleans that up. The rules of a kind's own parts are with the kind (`kind/*/check.rs`); here are
//! those of the header, the table of writers, locks, leases and types, which all kinds share.
//!
//! A repair writes without locks: it is for a map that nobody else has open.

use crate::error::{Reason, Result};
use crate::header;
use crate::kind::redo::REDO;
use crate::map::{Inner, Map, Tried, View};
use crate::mem::bias::Bias;
use crate::mem::owner::{Intent, Owners, holder};
use crate::mem::process;
use crate::mem::sync::{AtomicU64, Ordering::*, acquire};
use core::fmt;

/// Looks in a row that must find the same before it is damage.
const LOOKS: u32 = 8;

/// Something in a region that nobody who keeps to the rules can have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// Which part of the region: `header`, `writer`, `bucket`, `place`, `node`, `stripe`, `ring`, …
    pub part: &'static str,
    /// Which of these, from 0 on; for the header the number of the word.
    pub index: u64,
    /// What is there: the word.
    pub value: u64,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { part, index, value, rule } = self;
        write!(f, "{part} {index} ({value:#x}): {rule}")
    }
}

/// What [`Map::check`] saw.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Check {
    /// What is damaged: the first [`Check::LISTED`].
    pub findings: Vec<Finding>,
    /// How many findings there are in all.
    pub damages: u64,
    /// Entries that were met. Arrays always have all of theirs.
    pub entries: u64,
    /// Entries that the map says it has ([`Map::len`]).
    pub counted: u64,
    /// Whether nobody changed the map meanwhile, so that the two must agree.
    pub still: bool,
    /// Hashes: buckets that overflow into a chain of nodes.
    pub chains: u64,
    /// Hashes: entries in these chains, and in the longest of them.
    pub chained: u64,
    /// Hashes: entries in the longest chain.
    pub longest_chain: u64,
    /// Hashes: nodes that are free for chains.
    pub free_nodes: u64,
    /// Hashes: nodes that are in no chain and nobody's. Each is a finding, too.
    pub leaked_nodes: u64,
    /// Threads that have written to the map and whose processes live.
    pub writers: u32,
    /// Those whose processes are dead; their records will be used again.
    pub dead_writers: u32,
    /// Locks that dead processes hold; whoever needs one of them cleans up first.
    pub dead_locks: u64,
    /// CPU slots that are leased.
    pub leases: u32,
    /// CPU slots whose lessees are dead; whoever wants one gets it.
    pub dead_leases: u32,
    /// Buckets that others changed without pause, so that nothing is known of them.
    pub unseen: u64,
}

impl Check {
    /// Findings that are listed; the rest is only counted.
    pub const LISTED: usize = 1000;

    /// Whether nothing is damaged.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Queue, 0, 8, 16))?;
    /// assert!(map.check()?.is_clean());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn is_clean(&self) -> bool {
        self.damages == 0
    }
}

/// What [`Map::repair`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Entries that are there now.
    pub entries: u64,
    /// Entries that were visible and unsound, such as those in a bucket that is not their key's, or
    /// the values of a ring that no longer says where they are. They are gone.
    pub dropped: u64,
    /// Sound entries that nothing led to any more, and that are there again.
    pub rejoined: u64,
    /// Nodes that nobody could use any more, and that are free again.
    pub freed_nodes: u64,
    /// Records of writers, leases and locks that were taken from whoever had them.
    pub released: u64,
}

impl Map {
    /// Looks at every part of the map's region for what is damaged. Others may use the map
    /// meanwhile; nothing is written, not even for dead processes.
    ///
    /// All of the control part is read, whose pages a tmpfs then keeps in memory. If the map's file was
    /// cut short, that is the only finding: nothing can be read then.
    ///
    /// It sees what breaks the map's own rules. That a value is another one than was written, or that
    /// a deleted entry is back as it was, no rule forbids.
    ///
    /// # Errors
    ///
    /// The handle may not read (EPERM). Damage is no error but what is given.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 1024))?;
    /// map.update(&[1; 4], &[2; 8], 0)?;
    /// let check = map.check()?;
    /// assert!(check.is_clean(), "{:?}", check.findings);
    /// assert_eq!((check.entries, check.counted, check.still), (1, 1, true));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn check(&self) -> Result<Check> {
        self.may_read().map_err(|reason| self.error("check", reason))?;
        let inner = &self.inner;
        let mut inspection = Inspection { owners: inner.owners(), check: Check::default() };
        if let Some(bytes) = inner.region.missing() {
            // Whoever reads what is missing is killed by SIGBUS.
            inspection.found("file", 0, bytes, "so many bytes were cut off");
            return Ok(inspection.check);
        }
        inspection.header(inner);
        inspection.writers(inner);
        inspection.leases(inner);
        match inner.view() {
            View::Hash(hash) => hash.check(&mut inspection),
            View::Array(array) => array.check(&mut inspection),
            View::Rings(rings) => rings.check(&mut inspection),
        }
        if let (Err(_), Some(types)) = (self.types(), inner.header.types) {
            inspection.found("types", 0, types.checksum.into(), "their checksum differs");
        }
        Ok(inspection.check)
    }

    /// Makes a damaged map usable again: sound entries stay, what nothing leads to any more is
    /// brought back or freed, and the count is set right. A file that was cut short is lengthened with
    /// zeros first. Damaged types stay as they are, and
    /// [`check`](Map::check) goes on to say so: nothing tells what they were.
    ///
    /// **Nobody else may have the map open**, in this process or another: nothing is locked, and
    /// whoever has a record in the table of writers or a lease of a CPU slot loses it. A map that is
    /// sound stays what it is.
    ///
    /// # Errors
    ///
    /// The handle may not write (EPERM), or a live process of this machine has written to the map
    /// and has not closed it (EBUSY).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 1024))?;
    /// map.update(&[1; 4], &[2; 8], 0)?;
    /// let repaired = map.repair()?;
    /// assert_eq!((repaired.entries, repaired.dropped), (1, 0));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn repair(&self) -> Result<Repaired> {
        self.try_repair().map_err(|reason| self.error("repair", reason))
    }

    fn try_repair(&self) -> Tried<Repaired> {
        let inner = &self.inner;
        if !self.access.writes() || !inner.writable {
            return Err(Reason::ReadOnly);
        }
        if inner.region.missing().is_some() {
            inner.region.lengthen().map_err(|_| Reason::Corrupt("the file was cut short"))?;
        }
        let owners = inner.owners();
        if owners.all().0.any(|writer| process::is_another_alive(writer.identity())) {
            return Err(Reason::Busy);
        }
        let words = inner.region.words();
        inner.header.rewrite(words);
        // What can be completed or undone in an orderly way is.
        inner.settle();
        let mut done = Repaired { released: owners.reset().into(), ..Repaired::default() };
        // Of a region that was cleared, they are nobody's.
        inner.writers.records().for_each(|record| owners.retake(record));
        for lease in inner.lease_words() {
            let lessee = lease.load(Acquire);
            if lessee != 0 && lessee != process::identity() {
                lease.store(0, Release);
                done.released += 1;
            }
        }
        match inner.view() {
            View::Hash(hash) => hash.mend(&mut done),
            View::Array(array) => array.mend(&mut done),
            View::Rings(rings) => rings.mend(&mut done),
        }
        Ok(done)
    }
}

/// A check in the making.
pub(crate) struct Inspection<'r> {
    pub(crate) owners: Owners<'r>,
    pub(crate) check: Check,
}

impl Inspection<'_> {
    /// Notes a finding.
    pub(crate) fn found(&mut self, part: &'static str, index: u64, value: u64, rule: &'static str) {
        self.add(Finding { part, index, value, rule });
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.check.damages += 1;
        if self.check.findings.len() < Check::LISTED {
            self.check.findings.push(finding);
        }
    }

    /// Looks at a lock. `redoes` says whether what it protects is ever redone; nothing if its word has
    /// no place to say so.
    pub(crate) fn lock(
        &mut self,
        part: &'static str,
        number: u32,
        word: &AtomicU64,
        redoes: impl Into<Option<bool>>,
    ) {
        self.lock_of(part, number, word, redoes.into(), |intent| intent.lock() == number);
    }

    /// Looks at a lock that operations on any other lock take, too.
    pub(crate) fn lock_of_all(&mut self, part: &'static str, word: &AtomicU64) {
        self.lock_of(part, 0, word, Some(false), |_| true);
    }

    fn lock_of(
        &mut self,
        part: &'static str,
        number: u32,
        word: &AtomicU64,
        redoes: Option<bool>,
        takes: impl Fn(Intent) -> bool,
    ) {
        let now = acquire(word);
        if holder(now) == 0 && (now & REDO == 0 || redoes.is_none()) {
            return;
        }
        let owners = self.owners;
        let broken = || broken_lock(owners, &takes, acquire(word), redoes, word);
        match confirmed(broken) {
            Some((value, rule)) => self.found(part, number.into(), value, rule),
            None => {
                let holder = owners.writer(holder(now)).filter(|writer| writer.number != 0);
                let dead = holder.is_some_and(|writer| !process::is_alive(writer.identity()));
                self.check.dead_locks += u64::from(dead);
            }
        }
    }

    /// The words that are written once, and those that are not the kind's.
    fn header(&mut self, inner: &Inner) {
        let words = inner.region.words();
        for (index, written) in inner.header.encode().into_iter().enumerate() {
            let now = words[index].load(Relaxed);
            if now != written {
                self.found("header", index as u64, now, "it is not what it was at the opening");
            }
        }
        let frozen = acquire(&words[header::FROZEN]);
        if let Some(value) = confirmed(|| Bias::new(&words[header::BIAS]).broken()) {
            self.found(
                "header",
                header::BIAS as u64,
                value,
                "nobody can be the sole writer by this",
            );
        }
        if frozen > 1 {
            let rule = "frozen is neither 0 nor 1";
            self.found("header", header::FROZEN as u64, frozen, rule);
        }
    }

    fn writers(&mut self, inner: &Inner) {
        let (records, highest) = self.owners.all();
        for writer in records {
            let identity = writer.identity();
            if identity != 0 {
                match process::is_alive(identity) {
                    true => self.check.writers += 1,
                    false => self.check.dead_writers += 1,
                }
            }
            if identity == 0 && !writer.was_used() {
                continue;
            }
            let broken = || {
                let identity = writer.identity();
                let intent = writer.doing();
                let rule = match intent {
                    _ if identity != 0 && !process::is_possible(identity) => {
                        "no process can have this identity"
                    }
                    Some(_) if identity == 0 => "nobody's record has an operation",
                    _ if u64::from(writer.number) > highest.max(self.owners.all().1)
                        && writer.was_used() =>
                    {
                        "a record in use is beyond the highest"
                    }
                    Some(intent) if intent.lock() >= inner.locks() => {
                        "an operation's lock does not exist"
                    }
                    Some(_) => inner.broken_record(writer)?,
                    // Who is about to change who is the sole writer is in an operation.
                    None if identity != 0 && !self.owners.allows_standing(writer) => {
                        "it takes locks as only another writer may"
                    }
                    None => return None,
                };
                // Of the same operation: what it says is written after it begins.
                (writer.doing() == intent).then_some((identity, rule))
            };
            if let Some((value, rule)) = confirmed(broken) {
                self.found("writer", writer.number.into(), value, rule);
            }
        }
    }

    fn leases(&mut self, inner: &Inner) {
        for (slot, word) in inner.lease_words().enumerate() {
            match acquire(word) {
                0 => {}
                lessee if !process::is_possible(lessee) || lessee & process::RECOVERING != 0 => {
                    self.found("lease", slot as u64, lessee, "no process can have this identity");
                }
                lessee if process::is_alive(lessee) => self.check.leases += 1,
                _ => self.check.dead_leases += 1,
            }
        }
    }
}

/// The rule that a lock breaks, and the lock's word.
fn broken_lock(
    owners: Owners<'_>,
    takes: impl Fn(Intent) -> bool,
    now: u64,
    redoes: Option<bool>,
    word: &AtomicU64,
) -> Option<(u64, &'static str)> {
    let rule = if now & REDO != 0 && redoes == Some(false) {
        "a redo is on where nothing is redone"
    } else if holder(now) == 0 {
        let rule = "a redo is on and nobody holds the lock";
        (now & REDO != 0 && redoes.is_some()).then_some(rule)?
    } else {
        let Some(writer) = owners.writer(holder(now)) else {
            return Some((now, "a lock is held by an impossible writer"));
        };
        match writer.doing() {
            _ if writer.identity() == 0 => "a lock is held by nobody",
            Some(intent) if takes(intent) => return None,
            _ => "a lock is held by a writer that is in no operation on it",
        }
    };
    // It was held all the time.
    (acquire(word) == now).then_some((now, rule))
}

/// What several looks in a row find: what one finds may be gone in the next, if somebody is in the
/// middle of a change. One of the looks is after others had the CPU: what is wrong only because a
/// look was interrupted at the wrong moments is not wrong again then.
pub(crate) fn confirmed<T: PartialEq>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let mut last = look()?;
    let mut same = 0;
    for turn in 0..LOOKS * 4 {
        if turn == LOOKS / 2 {
            std::thread::yield_now();
        }
        let now = look()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == LOOKS {
            return Some(last);
        }
    }
    None
}

impl Inner {
    /// How many locks there are.
    fn locks(&self) -> u32 {
        match self.view() {
            View::Hash(hash) => hash.buckets(),
            View::Array(array) => array.stripes(),
            View::Rings(rings) => rings.count(),
        }
    }

    /// The rule that breaks what a writer says it took, gave up, or writes in place.
    fn broken_record(&self, writer: crate::mem::owner::Writer<'_>) -> Option<&'static str> {
        match self.view() {
            View::Hash(hash) => hash.broken_record(writer),
            View::Array(array) => array.broken_record(writer),
            View::Rings(_) => None,
        }
    }

    fn lease_words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.region.words()[self.leases.clone()].iter().step_by(crate::lease::WORDS)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests;
