//! A process that SIGSTOP stops in the middle of an operation, lock in hand or not: readers don't
//! wait, writers of another bucket go on, writers of the same one do so or give up with EBUSY; and
//! when the process goes on, nothing is lost.

use crate::subject::{code, slot_flags, write_by_turns};
use std::time::Duration;
use usermap::abi::{BPF_ANY, errno::EBUSY, map_flags};
use usermap::{Map, MapType, Spec};
use usermap_tests::check::Watchdog;
use usermap_tests::keys::jhash;
use usermap_tests::trace::{Tracee, pin};

/// Where in an operation it is stopped: so many places, evenly spread, in no order;
const PLACES: u64 = 61;
/// but so many times with its lock, since the others then wait for a second.
const BUSY: u64 = 4;
const KINDS: [(MapType, u32); 10] = [
    (MapType::Hash, 8),
    (MapType::Hash, 40),
    (MapType::PerCpuHash, 8),
    (MapType::PerCpuHash, 24),
    (MapType::Array, 40),
    (MapType::PerCpuArray, 24),
    (MapType::Queue, 24),
    (MapType::Stack, 24),
    (MapType::PerCpuQueue, 24),
    (MapType::PerCpuStack, 24),
];

/// Who wrote to the map before the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    /// Several threads, by turns.
    Several,
    /// Only the one that is stopped.
    Sole,
}

struct Stage {
    before: Before,
    map: Map,
    /// The stopped process's key, and one of another bucket.
    keys: [Vec<u8>; 2],
    old: Vec<u8>,
    childs: Vec<u8>,
    others: Vec<u8>,
}

impl Stage {
    fn new(kind: MapType, value_size: u32, before: Before) -> Stage {
        let is_ring = kind.is_ring();
        let spec = Spec::new(kind, if is_ring { 0 } else { 4 }, value_size, 48);
        let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
        // Whose buckets are known: 64 of the kernel's.
        let spec = if kind.is_hash() { spec.flags(map_flags::ZERO_SEED) } else { spec };
        let map = Map::create(&spec).expect("a map");
        let key = |from: u32, wanted: &dyn Fn(&[u8]) -> bool| {
            let mut keys = (from..).map(|key| key.to_le_bytes().to_vec());
            keys.find(|key| wanted(key)).expect("a key")
        };
        let keys = match kind.is_hash() {
            true => [0, 63].map(|bucket| key(0, &|key| jhash(key) % 64 == bucket)),
            false => [key(0, &|_| true), key(1, &|_| true)],
        };
        let value = |byte| vec![byte; map.value_bytes()];
        let (old, childs, others) = (value(1), value(2), value(3));
        let stage = Stage { before, map, keys, old, childs, others };
        if before == Before::Several {
            write_by_turns(|| stage.reset());
        }
        stage
    }

    fn is_ring(&self) -> bool {
        self.map.spec().map_type.is_ring()
    }

    /// What the child and the others do to the same place.
    fn write(&self, value: &[u8]) -> u8 {
        match self.is_ring() {
            true => code(self.map.push(value, BPF_ANY | slot_flags(&self.map, 0))),
            false => code(self.map.update(&self.keys[0], value, BPF_ANY)),
        }
    }

    fn reset(&self) {
        self.map.clear().expect("cleared");
        assert_eq!(self.write(&self.old), 0);
    }

    /// What readers see of it, oldest value first.
    fn read(&self) -> Vec<u8> {
        let mut value = self.old.clone();
        match self.is_ring() {
            true => self.map.peek(&mut value, slot_flags(&self.map, 0)),
            false => self.map.lookup(&self.keys[0], &mut value, 0),
        }
        .expect("a value");
        value
    }

    fn start(&self) -> Result<Tracee, String> {
        let before = match self.before {
            Before::Several => &self.childs,
            Before::Sole => &self.old,
        };
        let child =
            Tracee::start(|| assert_eq!(self.write(before), 0), || self.write(&self.childs))?;
        if self.before == Before::Several {
            self.reset();
        }
        Ok(child)
    }

    /// Each slot's value must be one of these.
    fn check(&self, value: &[u8], allowed: &[&Vec<u8>], when: &str) {
        let size = self.map.spec().value_size as usize;
        for (slot, now) in value.chunks(size).enumerate() {
            let known = allowed.iter().any(|value| value.chunks(size).nth(slot) == Some(now));
            assert!(known, "{when}: {value:02x?}");
        }
    }

    /// Stops a child after so many instructions; says whether the others found the lock taken.
    fn play(&self, instructions: u64) -> Result<bool, String> {
        let mut child = self.start()?;
        child.step(instructions);
        assert_eq!(child.finished(), None, "stopped too late");
        child.stop();
        self.check(&self.read(), &[&self.old, &self.childs], "a reader");
        // Another bucket, stripe or slot. A queue that is not per CPU has one lock.
        let kind = self.map.spec().map_type;
        let elsewhere = if kind.is_ring() && kind.is_per_cpu() {
            code(self.map.push(&self.others, BPF_ANY | slot_flags(&self.map, 1)))
        } else if !kind.is_ring() {
            code(self.map.update(&self.keys[1], &self.others, BPF_ANY))
        } else {
            0
        };
        assert_eq!(elsewhere, 0, "another bucket or slot");
        let done = self.write(&self.others);
        let busy = done == EBUSY as u8;
        assert!(busy || done == 0, "errno {done}");
        self.check(&self.read(), &[&self.old, &self.childs, &self.others], "a reader afterwards");
        assert_eq!(child.go_on(), 0, "the stopped process's own operation");
        // Nothing is held any more, and all that was done is there.
        if self.is_ring() {
            let mut values = Vec::new();
            self.map
                .drain(|cpu, value| values.extend((cpu == 0).then(|| value.to_vec())))
                .expect("drained");
            values.sort();
            let mut expected = vec![self.old.clone(), self.childs.clone()];
            expected.extend((!busy).then(|| self.others.clone()));
            assert_eq!(values, expected);
        } else {
            let last: &[_] = if busy { &[&self.childs] } else { &[&self.childs, &self.others] };
            self.check(&self.read(), last, "after it went on");
        }
        assert_eq!(self.write(&self.others), 0, "a write when nobody is stopped");
        let check = self.map.check().expect("checked");
        assert!(check.is_clean(), "{check:?}");
        Ok(busy)
    }
}

fn run(kind: MapType, value_size: u32, before: Before) {
    pin();
    let mut stage = Stage::new(kind, value_size, before);
    let mut instructions = 0;
    let mut whole = match stage.start() {
        Ok(child) => child,
        Err(why) => return println!("skipped: {why}"),
    };
    while whole.finished().is_none() {
        whole.step(1);
        instructions += 1;
    }
    drop(whole);
    let (mut stops, mut busy) = (0, 0);
    while stops < PLACES && busy < BUSY {
        if before == Before::Sole {
            stage = Stage::new(kind, value_size, before);
        }
        let place = stops * 23 % PLACES;
        // Not at the very end, which may be a few instructions earlier next time.
        let found = stage.play(1 + instructions * place / (PLACES + 5)).expect("as before");
        busy += u64::from(found);
        stops += 1;
    }
    let of = format!("of {instructions} instructions");
    println!(
        "death: {kind:?} {value_size}, {before:?}: stopped at {stops} {of}, {busy} times with the lock"
    );
    assert!(busy > 0, "{kind:?}: it was never stopped with its lock");
}

#[test]
fn others_carry_on() {
    let _watchdog = Watchdog::new("a process that is stopped", Duration::from_secs(120));
    // Each kind in a thread: they wait most of the time.
    std::thread::scope(|scope| {
        for (kind, value_size) in KINDS {
            for before in [Before::Several, Before::Sole] {
                scope.spawn(move || run(kind, value_size, before));
            }
        }
    });
}
