//! Leases of CPU slots: one has it at a time, whoever died with it.

use super::explore;
use crate::lease::{give_back, take};
use crate::mem::process;
use crate::mem::sync::{AtomicU64, Ordering::*};
use loom::thread;
use std::sync::Arc;

/// A lease, and what is in the slot.
struct Slot {
    lease: AtomicU64,
    value: AtomicU64,
}

impl Slot {
    fn new(holder: u64) -> Arc<Slot> {
        Arc::new(Slot { lease: AtomicU64::new(holder), value: AtomicU64::new(0) })
    }

    /// Adds to the value as a program does, with nothing atomic, if the slot can be leased.
    fn add(&self) -> u64 {
        if !take(&self.lease) {
            return 0;
        }
        self.value.store(self.value.load(Relaxed) + 1, Relaxed);
        give_back(&self.lease);
        1
    }
}

fn compete(slot: &Arc<Slot>, threads: u32, times: u32) -> u64 {
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let slot = slot.clone();
            thread::spawn(move || (0..times).map(|_| slot.add()).sum::<u64>())
        })
        .collect();
    let added = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(slot.value.load(Relaxed), added, "an increment was lost");
    assert_eq!(slot.lease.load(Relaxed), 0);
    added
}

#[test]
fn two_lease_a_free_slot() {
    explore(3, || assert!((1..=4).contains(&compete(&Slot::new(0), 2, 2))));
}

#[test]
fn three_lease_the_slot_of_the_dead() {
    let dead = process::of_another_image(process::identity());
    explore(3, move || assert!((1..=3).contains(&compete(&Slot::new(dead), 3, 1))));
}
