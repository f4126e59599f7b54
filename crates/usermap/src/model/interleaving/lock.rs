//! The owners' lock: one at a time, and what the dead leave is repaired once.

use super::explore;
use crate::error::Reason;
use crate::mem::bias::Bias;
use crate::mem::mortal::live;
use crate::mem::owner::{LIMIT, Operation, Owners, Repair, TABLE, Writer, holder};
use crate::mem::sync::{AtomicU64, Ordering::*};
use loom::thread;
use std::sync::Arc;

/// A lock and what it protects: a number that is even unless somebody is changing it.
pub(super) struct Locked {
    words: Box<[AtomicU64]>,
}

const LOCK: u32 = 7;

impl Locked {
    /// All writers take it by exchanges.
    fn new() -> Arc<Locked> {
        let locked = Locked::fresh();
        locked.owners().share();
        locked
    }

    /// Nobody has taken it yet.
    pub(super) fn fresh() -> Arc<Locked> {
        Arc::new(Locked { words: (0..TABLE + 5).map(|_| AtomicU64::new(0)).collect() })
    }

    pub(super) fn owners(&self) -> Owners<'_> {
        Owners::new(&self.words[..TABLE], &self.words[TABLE], Bias::new(&self.words[TABLE + 4]))
    }

    pub(super) fn lock(&self) -> &AtomicU64 {
        &self.words[TABLE + 1]
    }

    pub(super) fn number(&self) -> &AtomicU64 {
        &self.words[TABLE + 2]
    }

    pub(super) fn repairs(&self) -> &AtomicU64 {
        &self.words[TABLE + 3]
    }

    /// Relaxed loads and stores, so that only the lock's order makes it right.
    pub(super) fn change(&self, writer: u32) -> Result<(), Reason> {
        let writer = self.owners().writer(writer).unwrap();
        let intent = writer.begin(LOCK)?;
        let outcome = self.owners().lock(self.lock(), writer, self).map(|word| {
            let number = self.number().load(Relaxed);
            assert_eq!(number % 2, 0, "somebody else is changing it");
            self.number().store(number + 1, Relaxed);
            self.number().store(number + 2, Relaxed);
            self.lock().store(word, Release);
        });
        writer.end(intent);
        outcome
    }

    /// Enlists a writer and lets it die in its change after so many stores; says whether it did.
    pub(super) fn die(&self, stores: u64) -> bool {
        let writer = self.owners().enlist(1);
        let died = live(stores, || self.change(1)).is_none();
        writer.bury();
        died
    }
}

impl Repair for Locked {
    fn repair(&self, dead: Writer<'_>) -> Result<(), Reason> {
        let intent = dead.intent();
        if intent.operation() == Operation::None {
            return Ok(());
        }
        if self.is_held(intent.lock(), dead.number) {
            let number = self.number().load(Relaxed);
            if number % 2 == 1 {
                self.number().store(number + 1, Relaxed);
                self.repairs().store(self.repairs().load(Relaxed) + 1, Relaxed);
            }
            self.lock().store(0, Release);
        }
        dead.end(intent);
        Ok(())
    }

    fn is_held(&self, _: u32, owner: u32) -> bool {
        holder(self.lock().load(Acquire)) == owner
    }
}

/// Lets several writers change the number at once, then checks that it counts all of them.
pub(super) fn compete(locked: &Arc<Locked>, writers: core::ops::Range<u32>, times: u64) {
    let before = locked.number().load(Relaxed).next_multiple_of(2);
    let all = u64::from(writers.end - writers.start) * times;
    let threads: Vec<_> = writers
        .map(|number| {
            locked.owners().enlist(number);
            let locked = locked.clone();
            thread::spawn(move || (0..times).for_each(|_| locked.change(number).unwrap()))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(locked.number().load(Relaxed), before + 2 * all);
    assert_eq!(locked.lock().load(Relaxed), 0);
}

#[test]
fn two_writers() {
    explore(3, || compete(&Locked::new(), 1..3, 2));
}

#[test]
fn three_writers() {
    explore(2, || compete(&Locked::new(), 1..4, 1));
}

#[test]
fn two_find_a_dead_holder() {
    // Its stores: the intent, the lock, twice the number, the release, the intent.
    for stores in 1..6 {
        explore(3, move || {
            let locked = Locked::new();
            assert!(locked.die(stores));
            let half = locked.number().load(Relaxed) % 2;
            compete(&locked, 2..4, 1);
            assert_eq!(locked.repairs().load(Relaxed), half, "repaired exactly once");
            let held = (2..5).contains(&stores);
            assert_eq!(locked.owners().writer(1).unwrap().is_free(), held, "the record");
        });
    }
}

#[test]
fn two_find_a_dead_repairer() {
    // A death in the middle of the change, then one in the middle of the repair.
    for stores in 0..6 {
        explore(3, move || {
            let locked = Locked::new();
            assert!(locked.die(3));
            let dead = locked.owners().writer(1).unwrap();
            let lived = live(stores, || locked.owners().recover(dead, &*locked));
            assert_eq!(lived, None);
            locked.owners().bury();
            compete(&locked, 2..4, 1);
            assert_eq!(locked.number().load(Relaxed), 6, "its change was completed");
        });
    }
}

#[test]
fn a_holder_leaves_and_its_record_is_taken_again() {
    explore(4, || {
        let locked = Locked::new();
        locked.owners().enlist(1);
        locked.owners().enlist(2);
        let other = locked.clone();
        let thread = thread::spawn(move || {
            other.change(2).unwrap();
            other.owners().release(2);
            assert_eq!(other.owners().claim(&*other), Ok(2));
            other.change(2).unwrap();
        });
        locked.change(1).unwrap();
        thread.join().unwrap();
        assert_eq!(locked.number().load(Relaxed), 6);
    });
}

/// Claims two records at once; gives their numbers.
fn claim_two(locked: &Arc<Locked>) -> [u32; 2] {
    let other = locked.clone();
    let thread = thread::spawn(move || other.owners().claim(&*other).unwrap());
    let own = locked.owners().claim(&**locked).unwrap();
    let mut numbers = [own, thread.join().unwrap()];
    numbers.sort_unstable();
    numbers
}

#[test]
fn two_claim_records() {
    explore(3, || assert_eq!(claim_two(&Locked::new()), [1, 2]));
}

#[test]
fn two_claim_the_records_of_the_dead() {
    explore(3, || {
        let locked = Locked::new();
        assert!(locked.die(3));
        locked.owners().enlist(2);
        locked.owners().enlist(LIMIT).bury();
        assert_eq!(claim_two(&locked), [1, LIMIT]);
        assert_eq!(locked.lock().load(Relaxed), 0);
        assert_eq!(locked.number().load(Relaxed), 2, "the change was completed");
    });
}
