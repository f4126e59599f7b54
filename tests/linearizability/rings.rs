//! Queues and stacks: each slot is one object, with what happens when it is full and when it is
//! empty.

use crate::{THREADS, until};
use std::collections::VecDeque;
use std::time::Duration;
use usermap::abi::{BPF_ANY, BPF_EXIST, cpu_flags, errno::*};
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::history::{Event, Play, rounds};
use usermap_tests::linear::{Object, check};
use usermap_tests::rng::{Rng, seed};

const SLOTS: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum What {
    Push(u64, u64),
    Pop,
    Peek,
}

type Operation = (u32, What);

/// The errno, or a value for pop and peek.
type Answer = Result<u64, i32>;

struct Ring {
    is_lifo: bool,
    max: usize,
}

impl Object for Ring {
    type State = VecDeque<u64>;
    type Operation = Operation;
    type Answer = Answer;

    fn step(
        &self,
        state: &VecDeque<u64>,
        (_, what): &Operation,
        answer: &Answer,
    ) -> Option<VecDeque<u64>> {
        let first = if self.is_lifo { state.back() } else { state.front() };
        let mut after = state.clone();
        let expected = match *what {
            What::Push(_, BPF_ANY) if state.len() == self.max => Err(E2BIG),
            What::Push(value, _) => {
                if state.len() == self.max {
                    after.pop_front();
                }
                after.push_back(value);
                Ok(0)
            }
            What::Peek => first.copied().ok_or(ENOENT),
            What::Pop => {
                if self.is_lifo {
                    after.pop_back()
                } else {
                    after.pop_front()
                };
                first.copied().ok_or(ENOENT)
            }
        };
        (*answer == expected).then_some(after)
    }
}

fn act(map: &Map, &(cpu, what): &Operation) -> Answer {
    // 24 bytes, so that a value is more than one word.
    let flags = if map.spec().map_type.is_per_cpu() { cpu_flags(cpu) } else { 0 };
    let mut bytes = [0; 24];
    let result = match what {
        What::Push(value, push) => {
            map.push(&value.to_le_bytes().repeat(3), push | flags).map(|()| false)
        }
        What::Pop => map.pop(&mut bytes, flags).map(|()| true),
        What::Peek => map.peek(&mut bytes, flags).map(|()| true),
    };
    match result {
        Ok(false) => Ok(0),
        Ok(true) => {
            let words: Vec<_> = bytes.chunks(8).collect();
            assert!(words.iter().all(|word| *word == words[0]), "torn: {bytes:02x?}");
            Ok(u64::from_le_bytes(words[0].try_into().expect("eight bytes")))
        }
        Err(error) => Err(error.errno()),
    }
}

/// Threads on a map of this kind.
struct Rings(MapType);

/// Small ones are full and empty often.
fn max(round: u64) -> u32 {
    [1, 2, 3, 8][round as usize % 4]
}

impl Play for Rings {
    type Shared = Map;
    type Operation = Operation;
    type Answer = Answer;

    fn make(&self, round: u64) -> Map {
        let spec = Spec::new(self.0, 0, 24, max(round));
        let spec = if self.0.is_per_cpu() { spec.cpus(SLOTS) } else { spec };
        Map::create_anonymous(&spec).expect("a map")
    }

    fn choose(&self, thread: usize, rng: &mut Rng) -> Operation {
        let cpu = if self.0.is_per_cpu() { rng.below(SLOTS.into()) as u32 } else { 0 };
        // No value is pushed twice.
        let value = (rng.draw() << 8) | thread as u64;
        let what = match rng.below(16) {
            0..6 => What::Push(value, BPF_ANY),
            6..8 => What::Push(value, BPF_EXIST),
            8..13 => What::Pop,
            _ => What::Peek,
        };
        (cpu, what)
    }

    fn act(&self, map: &Map, _: usize, operation: &Operation) -> Answer {
        act(map, operation)
    }

    fn judge(&self, round: u64, _: &Map, events: Vec<Event<Operation, Answer>>) {
        let (kind, max) = (self.0, max(round) as usize);
        for cpu in 0..if kind.is_per_cpu() { SLOTS } else { 1 } {
            let part = events.iter().filter(|event| event.operation.0 == cpu);
            let part: Vec<_> = part.cloned().collect();
            let ring = Ring { is_lifo: kind.is_lifo(), max };
            if let Err(why) = check(&ring, VecDeque::new(), &part) {
                let seed = seed();
                panic!("{kind} of {max}, round {round} of USERMAP_SEED={seed}, slot {cpu}: {why}");
            }
        }
    }
}

fn run(kind: MapType) {
    let _watchdog = Watchdog::new("linearizability of a queue or stack", Duration::from_secs(60));
    for threads in THREADS {
        rounds(&Rings(kind), threads, 36 / threads, seed(), until(budget(500)));
    }
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
