//! What is done after the death of a writer: its operation is completed if it was committed, else
//! undone, and its lock is released. Each step can be done again, if whoever does it dies, too.

use super::Hash;
use super::bucket::{FREE, REMOVED, STATE, next_in};
use crate::error::Reason;
use crate::kind::redo::{REDO, TARGET, changed};
use crate::mem::owner::{self, Intent, Operation, PAYLOAD, Repair, Writer, holder};
use crate::mem::sync::Ordering::*;

impl Repair for Hash<'_> {
    fn repair(&self, dead: Writer<'_>) -> Result<(), Reason> {
        let intent = dead.intent();
        if intent.operation() == Operation::None {
            return Ok(());
        }
        if intent.lock() >= self.geometry.buckets {
            dead.end(intent);
            return Err(Reason::Corrupt("an intent for an impossible bucket"));
        }
        // What is read again may be another one by then.
        let bucket = intent.lock();
        let lock = &self.head(bucket)[0];
        let word = lock.load(Acquire);
        let [created, removed] = self.nodes_of(dead);
        if holder(word) != dead.number {
            // Released: so it was committed, but perhaps not counted.
            if matches!(intent.operation(), Operation::Delete | Operation::Undo) {
                self.count().complete(dead, intent);
            }
        } else if word & REDO != 0 {
            self.geometry.redo.copy_to_place(self.words, dead);
            lock.store(changed(word), Release);
        } else {
            // Readers may be on a node that was unlinked: a new version before it is marked.
            lock.store(word & !PAYLOAD | changed(word), Release);
            self.settle_count(dead, intent, created, removed)?;
            self.mark_unlinked(dead, bucket, created, false)?;
            self.mark_unlinked(dead, bucket, removed, true)?;
            dead.intend(dead.intent().becoming(Operation::Locked));
            lock.store(changed(changed(word)), Release);
        }
        for number in [created, removed] {
            self.free_marked(dead, number)?;
        }
        let taking = self.count().lock();
        if holder(taking.load(Acquire)) == dead.number {
            taking.store(0, Release);
        }
        dead.word(owner::CREATED).store(0, Release);
        dead.word(owner::REMOVED).store(0, Release);
        dead.end(dead.intent());
        Ok(())
    }

    fn is_held(&self, lock: u32, owner: u32) -> bool {
        lock < self.geometry.buckets && holder(self.head(lock)[0].load(Acquire)) == owner
    }
}

impl Hash<'_> {
    /// The nodes that a writer's operation took and gave up (+ 1; 0 for none).
    fn nodes_of(&self, dead: Writer<'_>) -> [u32; 2] {
        let node = |word| match dead.word(word).load(Acquire) {
            target if target & TARGET != 0 => 0,
            node => node as u32,
        };
        [node(owner::CREATED), node(owner::REMOVED)]
    }

    /// Brings the count in line with what the dead owner of a lock committed.
    fn settle_count(
        &self,
        dead: Writer<'_>,
        intent: Intent,
        created: u32,
        removed: u32,
    ) -> Result<(), Reason> {
        let count = self.count();
        match intent.operation() {
            // A place is committed by the store that releases the lock, so it was not.
            Operation::Insert if !self.is_linked(intent.lock(), created)? => {
                count.undo(dead, intent);
            }
            Operation::Delete if removed != 0 && !self.is_linked(intent.lock(), removed)? => {
                count.complete(dead, intent);
            }
            Operation::Undo => count.complete(dead, intent),
            _ => {}
        }
        Ok(())
    }

    fn is_linked(&self, bucket: u32, node: u32) -> Result<bool, Reason> {
        Ok(node != 0 && self.link_to(bucket, node)?.is_some())
    }

    /// Marks a node that the dead owner took or gave up as its to free, if no chain leads to it.
    /// A node that it gave up is its own whoever made it; one that it had found free and named,
    /// but not taken, may be another's by now.
    fn mark_unlinked(
        &self,
        dead: Writer<'_>,
        bucket: u32,
        node: u32,
        given_up: bool,
    ) -> Result<(), Reason> {
        if node == 0 || self.is_linked(bucket, node)? {
            return Ok(());
        }
        let word = self.node(node)?;
        let now = word.load(Acquire);
        if now & STATE != FREE && (given_up || holder(now) == dead.number) {
            let marked = REMOVED | u64::from(dead.number) << 52 | u64::from(next_in(now));
            word.store(marked, Release);
        }
        Ok(())
    }

    fn free_marked(&self, dead: Writer<'_>, node: u32) -> Result<(), Reason> {
        if node == 0 {
            return Ok(());
        }
        let word = self.node(node)?;
        let now = word.load(Acquire);
        if now & STATE == REMOVED && holder(now) == dead.number {
            let _ = word.compare_exchange(now, FREE, AcqRel, Relaxed);
        }
        Ok(())
    }
}
