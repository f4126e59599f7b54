//! Deaths in rings.

use super::{Act, Deaths, Subject};
use crate::error::Reason;
use crate::kind::ring::Rings;
use crate::map::{Map, View};
use crate::mem::owner::Writer;
use crate::{MapType, Spec};
use Act::{CleanUp, Operation};
use Do::*;
use std::collections::VecDeque;

const MAX_ENTRIES: u32 = 3;
const VALUE_SIZE: usize = 20;

/// An operation on the ring with this number.
#[derive(Clone, Copy, Debug)]
enum Do {
    Push(u32, u8),
    /// Onto a full one, too.
    Replace(u32, u8),
    Pop(u32),
}

struct Ring {
    map: Map,
    lifo: bool,
}

type Seen = Vec<VecDeque<Vec<u8>>>;

impl Ring {
    /// Rings of a kind, the first with this many values.
    fn new(map_type: MapType, len: u8) -> Ring {
        let spec = Spec::new(map_type, 0, VALUE_SIZE as u32, MAX_ENTRIES);
        let spec = if map_type.is_per_cpu() { spec.cpus(2) } else { spec };
        let map = Map::create_anonymous(&spec).unwrap();
        let ring = Ring { map, lifo: map_type.is_lifo() };
        let (owners, inner) = (ring.map.inner.owners(), &*ring.map.inner);
        let number = owners.claim(inner).unwrap();
        for salt in 0..len + 3 {
            // Past the end of the places, so that the oldest is not in the first.
            ring.perform(owners.writer(number).unwrap(), Replace(0, salt)).unwrap();
        }
        for _ in len..MAX_ENTRIES as u8 {
            ring.perform(owners.writer(number).unwrap(), Pop(0)).unwrap();
        }
        owners.release(number);
        ring
    }

    fn rings(&self) -> Rings<'_> {
        match self.map.inner.view() {
            View::Rings(rings) => rings,
            _ => unreachable!("it is a ring"),
        }
    }

    /// Every word tells which value it is of, and where.
    fn value(salt: u8) -> Vec<u8> {
        (0..VALUE_SIZE).map(|byte| salt ^ (byte / 8 * 64) as u8).collect()
    }

    fn next(&self, values: &mut VecDeque<Vec<u8>>) -> Option<Vec<u8>> {
        if self.lifo { values.pop_back() } else { values.pop_front() }
    }
}

impl Subject for Ring {
    type Operation = Do;
    type Seen = Seen;

    fn map(&self) -> &Map {
        &self.map
    }

    fn perform(&self, writer: Writer<'_>, operation: Do) -> Result<(), Reason> {
        match operation {
            Push(ring, salt) => self.rings().push(writer, ring, &Ring::value(salt), false),
            Replace(ring, salt) => self.rings().push(writer, ring, &Ring::value(salt), true),
            Pop(ring) => {
                let next = self.next(&mut self.seen()[ring as usize]);
                let mut value = vec![0; VALUE_SIZE];
                self.rings().pop(|| Ok(writer), ring, &mut value)?;
                assert_eq!(Some(value), next, "what the pop gives");
                Ok(())
            }
        }
    }

    fn expected(&self, seen: &Seen, operation: Do) -> (Seen, Result<(), Reason>) {
        let mut after = seen.clone();
        let (Push(ring, _) | Replace(ring, _) | Pop(ring)) = operation;
        let values = &mut after[ring as usize];
        match operation {
            Push(..) if values.len() == MAX_ENTRIES as usize => {
                return (after, Err(Reason::Full { max_entries: MAX_ENTRIES }));
            }
            Push(_, salt) | Replace(_, salt) => {
                if values.len() == MAX_ENTRIES as usize {
                    values.pop_front();
                }
                values.push_back(Ring::value(salt));
            }
            Pop(_) => {
                if self.next(values).is_none() {
                    return (after, Err(Reason::NotFound));
                }
            }
        }
        (after, Ok(()))
    }

    fn seen(&self) -> Seen {
        let rings = self.rings();
        let values = |ring| {
            let values: VecDeque<_> = rings.values(ring, VALUE_SIZE).into();
            let mut peeked = vec![0; VALUE_SIZE];
            let peeked = rings.peek(ring, &mut peeked).map(|()| peeked);
            assert_eq!(peeked.ok(), self.next(&mut values.clone()), "what a peek gives");
            values
        };
        (0..rings.count()).map(values).collect()
    }

    fn check_order(&self) {
        self.rings().check_order();
    }

    fn check_use(&self, writer: Writer<'_>, mut seen: Seen) {
        let mut done = |operation| {
            let (after, outcome) = self.expected(&seen, operation);
            assert_eq!(self.perform(writer, operation), outcome, "{operation:?}");
            seen = after;
        };
        for ring in 0..self.rings().count() {
            (0..=MAX_ENTRIES).for_each(|_| done(Push(ring, 0xa1)));
            done(Replace(ring, 0xa2));
            (0..=MAX_ENTRIES).for_each(|_| done(Pop(ring)));
            (0..MAX_ENTRIES).for_each(|_| done(Push(ring, 0xa3)));
        }
        assert_eq!(self.seen(), seen);
    }
}

fn explore(name: &str, ring: &Ring, operations: &[Do]) {
    let acts: Vec<_> = operations.iter().copied().map(Operation).collect();
    let mut deaths = Deaths::new(ring);
    deaths.explore(&[&acts, &[CleanUp], &[CleanUp], &[CleanUp]]);
    deaths.explore(&[&acts, &acts, &[CleanUp]]);
    deaths.report(name);
}

#[test]
fn queues() {
    for len in 0..=3 {
        let ring = Ring::new(MapType::Queue, len);
        explore(&format!("queue of {len}"), &ring, &[Push(0, 31), Replace(0, 32), Pop(0)]);
    }
}

#[test]
fn stacks() {
    for len in 0..=3 {
        let ring = Ring::new(MapType::Stack, len);
        explore(&format!("stack of {len}"), &ring, &[Push(0, 31), Replace(0, 32), Pop(0)]);
    }
}

#[test]
fn per_cpu() {
    for kind in [MapType::PerCpuQueue, MapType::PerCpuStack] {
        let ring = Ring::new(kind, 2);
        explore(&format!("{kind:?}"), &ring, &[Push(0, 31), Replace(1, 32), Pop(0)]);
    }
}
