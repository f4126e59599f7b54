//! Queues and stacks, plain and per-CPU, against a `VecDeque` for each slot.

use proptest::prelude::*;
use std::collections::VecDeque;
use usermap::abi::{BPF_EXIST, cpu_flags, errno::*};
use usermap::{Map, MapType, Reason, Result, Spec};
use usermap_tests::check::{self, Verdict, equal};
use usermap_tests::rng;

const SLOTS: u32 = 3;

/// How the functions are called: by their names, by those of bpf(2), or by a program on a CPU.
#[derive(Clone, Copy, Debug)]
enum Way {
    Named,
    Syscall,
    Program,
}

/// `cpu` is the slot that is named in the flags; `None` leaves it to where the thread runs.
#[derive(Clone, Debug)]
enum Operation {
    Push { way: Way, cpu: Option<u32>, flags: u64 },
    Pop { way: Way, cpu: Option<u32> },
    Peek { way: Way, cpu: Option<u32> },
    Drain,
    Clear,
    NoSuchSlot { cpu: u32 },
    Unsupported,
}

struct Pair {
    map: Map,
    model: Vec<VecDeque<Vec<u8>>>,
    pushes: u64,
}

fn code<T>(result: &Result<T>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.errno())
}

impl Pair {
    fn kind(&self) -> MapType {
        self.map.spec().map_type
    }

    fn max(&self) -> usize {
        self.map.spec().max_entries as usize
    }

    fn flags(&self, cpu: Option<u32>) -> u64 {
        cpu.filter(|_| self.kind().is_per_cpu()).map_or(0, cpu_flags)
    }

    /// The slots that an operation may have used.
    fn slots(&self, cpu: Option<u32>) -> Vec<usize> {
        match cpu {
            _ if !self.kind().is_per_cpu() => vec![0],
            Some(cpu) => vec![cpu as usize],
            None => (0..SLOTS as usize).collect(),
        }
    }

    fn lengths(&self) -> std::result::Result<Vec<u64>, String> {
        let length = |cpu| self.map.len_on(cpu).map_err(|error| error.to_string());
        (0..self.map.cpus()).map(length).collect()
    }

    fn first(&self, slot: usize) -> Option<&Vec<u8>> {
        let ring = &self.model[slot];
        if self.kind().is_lifo() { ring.back() } else { ring.front() }
    }

    /// The order in which a slot would be emptied.
    fn in_order(&self, slot: usize) -> Vec<Vec<u8>> {
        let mut values: Vec<_> = self.model[slot].iter().cloned().collect();
        if self.kind().is_lifo() {
            values.reverse();
        }
        values
    }

    /// Slot, values and lengths are known only afterwards: one of the possible slots must explain
    /// all that was seen.
    fn explained(&mut self, what: &str, outcomes: Vec<(usize, VecDeque<Vec<u8>>)>) -> Verdict {
        let lengths = self.lengths()?;
        for (slot, ring) in outcomes {
            let mut expected: Vec<u64> = self.model.iter().map(|ring| ring.len() as u64).collect();
            expected[slot] = ring.len() as u64;
            if expected == lengths {
                self.model[slot] = ring;
                return Ok(());
            }
        }
        Err(format!("{what}: no slot explains the lengths {lengths:?} after {:?}", self.model))
    }

    fn apply(&mut self, operation: &Operation) -> Verdict {
        match *operation {
            Operation::Push { way, cpu, flags } => {
                // All different (where they have room to be), so that a value tells its slot.
                self.pushes += 1;
                let value = rng::bytes(self.pushes, self.map.value_bytes());
                let got = match (way, cpu) {
                    (Way::Program, Some(cpu)) => {
                        self.map.on_cpu(cpu).and_then(|program| program.push(&value, flags))
                    }
                    (Way::Syscall, _) => self.map.update(&[], &value, flags | self.flags(cpu)),
                    _ => self.map.push(&value, flags | self.flags(cpu)),
                };
                let mut outcomes = Vec::new();
                for slot in self.slots(cpu) {
                    let mut ring = self.model[slot].clone();
                    let expected = match flags {
                        0 if ring.len() == self.max() => E2BIG,
                        0 | BPF_EXIST => 0,
                        _ => EINVAL,
                    };
                    if expected == 0 {
                        if ring.len() == self.max() {
                            ring.pop_front();
                        }
                        ring.push_back(value.clone());
                    }
                    if code(&got) == expected {
                        outcomes.push((slot, ring));
                    }
                }
                if cpu.is_none() && self.kind().is_per_cpu() && got.is_ok() {
                    // A full slot's length does not say whether it was this one; its first value
                    // does.
                    let is_lifo = self.kind().is_lifo();
                    let next = |ring: &VecDeque<Vec<u8>>| {
                        if is_lifo { ring.back().cloned() } else { ring.front().cloned() }
                    };
                    let full = self.max() as u64;
                    outcomes.retain(|(slot, ring)| {
                        self.model[*slot].len() as u64 != full || self.peeked(*slot) == next(ring)
                    });
                }
                self.explained(&format!("errno {}", code(&got)), outcomes)
            }
            Operation::Pop { way, cpu } => {
                let mut value = vec![0xAA; self.map.value_bytes()];
                let got = match (way, cpu) {
                    (Way::Program, Some(cpu)) => {
                        self.map.on_cpu(cpu).and_then(|program| program.pop(&mut value))
                    }
                    (Way::Syscall, _) => {
                        self.map.lookup_and_delete(&[], &mut value, self.flags(cpu))
                    }
                    _ => self.map.pop(&mut value, self.flags(cpu)),
                };
                let mut outcomes = Vec::new();
                for slot in self.slots(cpu) {
                    let first = self.first(slot).cloned();
                    if self.seen(way, cpu, &got, &value, first.as_ref()) {
                        let mut ring = self.model[slot].clone();
                        if self.kind().is_lifo() {
                            ring.pop_back()
                        } else {
                            ring.pop_front()
                        };
                        outcomes.push((slot, ring));
                    }
                }
                self.explained(&format!("errno {} {value:02x?}", code(&got)), outcomes)
            }
            Operation::Peek { way, cpu } => {
                let mut value = vec![0xAA; self.map.value_bytes()];
                let got = match (way, cpu) {
                    (Way::Program, Some(cpu)) => {
                        self.map.on_cpu(cpu).and_then(|program| program.peek(&mut value))
                    }
                    (Way::Syscall, _) => self.map.lookup(&[], &mut value, self.flags(cpu)),
                    _ => self.map.peek(&mut value, self.flags(cpu)),
                };
                let mut slots = self.slots(cpu);
                slots.retain(|slot| self.seen(way, cpu, &got, &value, self.first(*slot)));
                let outcomes = slots.iter().map(|slot| (*slot, self.model[*slot].clone()));
                self.explained(&format!("errno {} {value:02x?}", code(&got)), outcomes.collect())
            }
            Operation::Drain => {
                let mut seen = vec![Vec::new(); self.model.len()];
                let count = self.map.drain(|cpu, value| seen[cpu as usize].push(value.to_vec()));
                let expected: Vec<_> =
                    (0..self.model.len()).map(|slot| self.in_order(slot)).collect();
                let sum: usize = expected.iter().map(Vec::len).sum();
                self.model.iter_mut().for_each(VecDeque::clear);
                equal("count", count.map_err(|error| error.to_string())?, sum as u64)?;
                equal("the values", seen, expected)
            }
            Operation::Clear => {
                let sum: usize = self.model.iter().map(VecDeque::len).sum();
                self.model.iter_mut().for_each(VecDeque::clear);
                equal("count", self.map.clear().map_err(|error| error.to_string())?, sum as u64)
            }
            Operation::NoSuchSlot { cpu } => {
                let mut value = vec![0; self.map.value_bytes()];
                // A plain queue or stack takes no CPU at all.
                let expected = if self.kind().is_per_cpu() { ERANGE } else { EINVAL };
                let flags = cpu_flags(SLOTS.saturating_add(cpu));
                equal("push", code(&self.map.push(&value, flags)), expected)?;
                equal("pop", code(&self.map.pop(&mut value, flags)), expected)?;
                equal("peek", code(&self.map.peek(&mut value, flags)), expected)?;
                let length = code(&self.map.len_on(SLOTS.saturating_add(cpu)));
                equal("len_on", length, ERANGE)
            }
            Operation::Unsupported => {
                let unsupported = |what, result: Result<u64>| match result {
                    Err(error) if matches!(error.reason(), Some(Reason::Unsupported { .. })) => {
                        Ok(())
                    }
                    other => Err(format!("{what} gives {other:?}")),
                };
                unsupported("inc", self.map.inc(&[], 1, 0).map(|()| 0))?;
                unsupported("delete", self.map.delete(&[]).map(|()| 0))?;
                unsupported("get_next_key", self.map.get_next_key(None, &mut []).map(|()| 0))?;
                unsupported("lookup_range", self.map.lookup_range(&[], &[], |_, _| true))
            }
        }
    }

    fn peeked(&self, slot: usize) -> Option<Vec<u8>> {
        let mut value = vec![0; self.map.value_bytes()];
        self.map.peek(&mut value, self.flags(Some(slot as u32))).ok().map(|()| value)
    }

    /// Whether this is what a pop or peek gives where `first` comes first.
    fn seen(
        &self,
        way: Way,
        cpu: Option<u32>,
        got: &Result<()>,
        value: &Vec<u8>,
        first: Option<&Vec<u8>>,
    ) -> bool {
        // On an empty one a program's buffer is zeroed, anybody else's left alone.
        let zeroed = matches!((way, cpu), (Way::Program, Some(_)));
        let untouched = vec![if zeroed { 0 } else { 0xAA }; value.len()];
        code(got) == if first.is_some() { 0 } else { ENOENT }
            && value == first.unwrap_or(&untouched)
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let way = || prop::sample::select(&[Way::Named, Way::Syscall, Way::Program][..]);
    let cpu = || prop_oneof![4 => (0..SLOTS).prop_map(Some), 1 => Just(None)];
    let flags =
        prop_oneof![6 => Just(0_u64), 4 => Just(BPF_EXIST), 1 => Just(1_u64), 1 => Just(4_u64)];
    prop_oneof![
        20 => (way(), cpu(), flags).prop_map(
            |(way, cpu, flags)| Operation::Push { way, cpu, flags }
        ),
        10 => (way(), cpu()).prop_map(|(way, cpu)| Operation::Pop { way, cpu }),
        5 => (way(), cpu()).prop_map(|(way, cpu)| Operation::Peek { way, cpu }),
        1 => Just(Operation::Drain),
        1 => Just(Operation::Clear),
        1 => prop_oneof![0_u32..3, Just(u32::MAX)].prop_map(|cpu| Operation::NoSuchSlot { cpu }),
        1 => Just(Operation::Unsupported),
    ]
}

fn run(kind: MapType) {
    let values = prop::sample::select(&[1_u32, 2, 3, 4, 8, 9, 64, 100][..]);
    let case = (values, 1_u32..8, prop::collection::vec(operation(), 1..120));
    check::random(1000, case, |(value_size, max, operations)| {
        // Values of few bytes repeat, which would leave the slot in doubt.
        let value_size = if kind.is_per_cpu() { value_size.max(8) } else { value_size };
        let spec = Spec::new(kind, 0, value_size, max);
        let spec = if kind.is_per_cpu() { spec.cpus(SLOTS) } else { spec };
        let map = Map::create_anonymous(&spec).map_err(|error| error.to_string())?;
        let model = vec![VecDeque::new(); map.cpus() as usize];
        let mut pair = Pair { map, model, pushes: 0 };
        for (i, operation) in operations.iter().enumerate() {
            let context = |why| format!("step {i}, {operation:?}: {why}");
            pair.apply(operation).map_err(context)?;
            let sum: usize = pair.model.iter().map(VecDeque::len).sum();
            equal("len", pair.map.len(), sum as u64).map_err(context)?;
        }
        pair.apply(&Operation::Drain)
    });
}

#[test]
fn queue() {
    run(MapType::Queue);
}

#[test]
fn stack() {
    run(MapType::Stack);
}

#[test]
fn percpu_queue() {
    run(MapType::PerCpuQueue);
}

#[test]
fn percpu_stack() {
    run(MapType::PerCpuStack);
}
