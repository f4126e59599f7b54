//! Hash and array kinds. A map is many independent registers, one for each key and CPU slot; each
//! of them sees its part of every operation, and its history must be linearizable.

use crate::{OPERATIONS, THREADS, until};
use std::collections::BTreeMap;
use std::time::Duration;
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, errno::*, map_flags};
use usermap::{Map, MapType, Result, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::history::{Event, Play, rounds};
use usermap_tests::linear::{Object, check};
use usermap_tests::rng::{Rng, seed};

const SLOTS: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum What {
    Lookup,
    /// All slots get this value.
    Update(u64, u64),
    Delete,
    LookupAndDelete,
    /// On one slot, as a program does it: delta and flags.
    Inc(u32, u64, u64),
    /// By the host, where there is one slot only.
    HostInc(u64, u64),
    /// On one slot, as a program does it: value and flags.
    ProgramUpdate(u32, u64, u64),
    /// Through a pointer to an array's value, on one slot.
    FetchAdd(u32, u64),
}

type Operation = (u32, What);

/// The errno, and the value of every slot if any was given.
#[derive(Clone, Debug)]
struct Answer {
    errno: i32,
    values: Vec<u64>,
}

fn act(map: &Map, &(key, what): &Operation) -> Answer {
    let bytes = key.to_le_bytes();
    let mut value = vec![0; map.value_bytes()];
    let all = |value: u64| value.to_le_bytes().repeat(map.cpus() as usize);
    let one = |result: Result<u64>| match result {
        Ok(value) => Answer { errno: 0, values: vec![value; map.cpus() as usize] },
        Err(error) => Answer { errno: error.errno(), values: vec![] },
    };
    let none = |result: Result<()>| Answer {
        errno: result.err().map_or(0, |error| error.errno()),
        values: vec![],
    };
    let result = match what {
        What::Lookup => map.lookup(&bytes, &mut value, 0),
        What::LookupAndDelete => map.lookup_and_delete(&bytes, &mut value, 0),
        What::Update(value, flags) => return none(map.update(&bytes, &all(value), flags)),
        What::Delete => return none(map.delete(&bytes)),
        What::Inc(cpu, delta, flags) => {
            return one(map.on_cpu(cpu).and_then(|cpu| cpu.inc_and_return(&bytes, delta, flags)));
        }
        What::HostInc(delta, flags) if delta % 2 == 0 => {
            return none(map.inc(&bytes, delta, flags));
        }
        What::HostInc(delta, flags) => return one(map.inc_and_return(&bytes, delta, flags)),
        What::ProgramUpdate(cpu, value, flags) => {
            let program = map.on_cpu(cpu).expect("a slot");
            return none(program.update(&bytes, &value.to_le_bytes(), flags));
        }
        What::FetchAdd(cpu, delta) => {
            let program = map.on_cpu(cpu).expect("a slot");
            let pointer = program.lookup(&bytes).expect("a lookup").expect("an index");
            return one(program.fetch_add(pointer, 0, delta));
        }
    };
    match result {
        Ok(()) => {
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            Answer { errno: 0, values: value.chunks(8).map(word).collect() }
        }
        Err(error) => Answer { errno: error.errno(), values: vec![] },
    }
}

/// One slot of one key: absent, or a number.
struct Register {
    slot: u32,
    array: bool,
}

impl Object for Register {
    type State = Option<u64>;
    type Operation = Operation;
    type Answer = Answer;

    fn step(
        &self,
        state: &Option<u64>,
        operation: &Operation,
        answer: &Answer,
    ) -> Option<Option<u64>> {
        let refused = |flags| match (flags, state) {
            (BPF_NOEXIST, Some(_)) => EEXIST,
            (BPF_EXIST, None) => ENOENT,
            _ => 0,
        };
        let here = |cpu: u32| cpu == self.slot;
        let given =
            |value: u64| answer.values.is_empty() || answer.values[self.slot as usize] == value;
        let old = state.unwrap_or(0);
        // What the errno should be, whether the given value is right, and the state then.
        let (errno, right, after) = match operation.1 {
            What::Lookup => (if state.is_some() { 0 } else { ENOENT }, given(old), *state),
            What::Delete => (if state.is_some() { 0 } else { ENOENT }, true, None),
            What::LookupAndDelete => (if state.is_some() { 0 } else { ENOENT }, given(old), None),
            What::Update(value, flags) => (refused(flags), true, Some(value)),
            What::ProgramUpdate(cpu, value, flags) => {
                (refused(flags), true, Some(if here(cpu) { value } else { old }))
            }
            What::Inc(cpu, delta, flags) => {
                let new = if here(cpu) { old.wrapping_add(delta) } else { old };
                (refused(flags), !here(cpu) || given(new), Some(new))
            }
            What::HostInc(delta, flags) => {
                let new = old.wrapping_add(delta);
                (refused(flags), given(new), Some(new))
            }
            What::FetchAdd(cpu, delta) => {
                let new = if here(cpu) { old.wrapping_add(delta) } else { old };
                (0, !here(cpu) || given(old), Some(new))
            }
        };
        debug_assert!(!self.array || after.is_some());
        match answer.errno {
            0 if errno == 0 && right => Some(after),
            refusal if refusal != 0 && refusal == errno => Some(*state),
            _ => None,
        }
    }
}

/// Threads on a map of this kind.
struct Keyed(MapType);

impl Play for Keyed {
    type Shared = Map;
    type Operation = Operation;
    type Answer = Answer;

    fn make(&self, round: u64) -> Map {
        let kind = self.0;
        let flags = match round % 3 {
            0 if kind.is_hash() => map_flags::NO_PREALLOC,
            1 if kind.is_hash() => map_flags::ZERO_SEED,
            _ => 0,
        };
        let spec = Spec::new(kind, 4, 8, 32).flags(flags);
        let spec = if kind.is_per_cpu() { spec.cpus(SLOTS) } else { spec };
        Map::create_anonymous(&spec).expect("a map")
    }

    fn choose(&self, thread: usize, rng: &mut Rng) -> Operation {
        let kind = self.0;
        let key = rng.below(2) as u32;
        let cpu = if kind.is_per_cpu() { rng.below(SLOTS.into()) as u32 } else { 0 };
        // Values of different threads differ, so that a stale one is known for what it is.
        let value = (rng.below(1 << 20) << 8) | (thread as u64 + 1);
        let flags = *rng.pick(&[BPF_ANY, BPF_ANY, BPF_NOEXIST, BPF_EXIST]);
        let delta = 1 + rng.below(4);
        let what = match rng.below(if kind.is_array() { 12 } else { 16 }) {
            0..3 => What::Lookup,
            3..6 => What::Update(value, flags),
            6..8 => What::Inc(cpu, delta, flags),
            8..10 if !kind.is_per_cpu() => What::HostInc(delta, flags),
            8..10 => What::Lookup,
            10 => What::ProgramUpdate(cpu, value, flags),
            11 if kind.is_array() => What::FetchAdd(cpu, delta),
            11..14 => What::LookupAndDelete,
            _ => What::Delete,
        };
        (key, what)
    }

    fn act(&self, map: &Map, _: usize, operation: &Operation) -> Answer {
        act(map, operation)
    }

    fn judge(&self, round: u64, _: &Map, events: Vec<Event<Operation, Answer>>) {
        let kind = self.0;
        let slots = if kind.is_per_cpu() { SLOTS } else { 1 };
        let initial = kind.is_array().then_some(0);
        for key in 0..2 {
            let part = events.iter().filter(|event| event.operation.0 == key);
            let part: Vec<_> = part.cloned().collect();
            for slot in 0..slots {
                let register = Register { slot, array: kind.is_array() };
                if let Err(why) = check(&register, initial, &part) {
                    panic!("{kind}, round {round} of USERMAP_SEED={}, slot {slot}: {why}", seed());
                }
            }
        }
    }
}

fn run(kind: MapType) {
    let _watchdog = Watchdog::new("linearizability of a map with keys", Duration::from_secs(60));
    for threads in THREADS {
        rounds(&Keyed(kind), threads, OPERATIONS / threads, seed(), until(budget(500)));
    }
}

#[test]
fn hash() {
    run(MapType::Hash);
}

#[test]
fn percpu_hash() {
    run(MapType::PerCpuHash);
}

#[test]
fn array() {
    run(MapType::Array);
}

#[test]
fn percpu_array() {
    run(MapType::PerCpuArray);
}

/// A hash with two places for four keys: how full it is binds the keys together, so it is checked
/// as a whole.
struct Small;

impl Object for Small {
    type State = BTreeMap<u32, u64>;
    type Operation = Operation;
    type Answer = Answer;

    fn step(
        &self,
        state: &Self::State,
        (key, what): &Operation,
        answer: &Answer,
    ) -> Option<Self::State> {
        let register = Register { slot: 0, array: false };
        let there = state.get(key).copied();
        if answer.errno == E2BIG {
            let creates = matches!(what, What::Update(_, BPF_ANY | BPF_NOEXIST))
                || matches!(what, What::Inc(_, _, BPF_ANY | BPF_NOEXIST));
            return (creates && there.is_none() && state.len() == 2).then(|| state.clone());
        }
        let after = register.step(&there, &(*key, *what), answer)?;
        let mut state = state.clone();
        match after {
            Some(value) => state.insert(*key, value),
            None => state.remove(key),
        };
        (state.len() <= 2).then_some(state)
    }
}

impl Play for Small {
    type Shared = Map;
    type Operation = Operation;
    type Answer = Answer;

    fn make(&self, round: u64) -> Map {
        let flags = if round.is_multiple_of(2) { map_flags::NO_PREALLOC } else { 0 };
        Map::create_anonymous(&Spec::new(MapType::Hash, 4, 8, 2).flags(flags)).expect("a map")
    }

    fn choose(&self, thread: usize, rng: &mut Rng) -> Operation {
        let value = (rng.below(1 << 20) << 8) | (thread as u64 + 1);
        let what = match rng.below(10) {
            0..5 => What::Update(value, *rng.pick(&[BPF_ANY, BPF_NOEXIST, BPF_EXIST])),
            5 => What::Inc(0, 1, BPF_ANY),
            6..8 => What::Delete,
            8 => What::LookupAndDelete,
            _ => What::Lookup,
        };
        (rng.below(4) as u32, what)
    }

    fn act(&self, map: &Map, _: usize, operation: &Operation) -> Answer {
        act(map, operation)
    }

    fn judge(&self, round: u64, _: &Map, events: Vec<Event<Operation, Answer>>) {
        if let Err(why) = check(self, BTreeMap::new(), &events) {
            panic!("round {round} of USERMAP_SEED={}: {why}", seed());
        }
    }
}

#[test]
fn full_hash() {
    let _watchdog = Watchdog::new("linearizability of a full hash", Duration::from_secs(60));
    for threads in THREADS {
        rounds(&Small, threads, 24 / threads, seed(), until(budget(500)));
    }
}
