//! Deaths in arrays.

use super::{Act, Deaths, Subject};
use crate::error::Reason;
use crate::kind::array::Array;
use crate::kind::redo::ALL_CPUS;
use crate::map::{Map, View};
use crate::mem::owner::Writer;
use crate::{MapType, Spec};
use Act::{CleanUp, Operation};
use Do::*;

const MAX_ENTRIES: u32 = 3;
const CPUS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Do {
    /// All slots' values.
    Set(u32, u8),
    /// One slot's.
    SetOne(u32, u32, u8),
    Inc(u32, u32, u64),
}

struct Arrays {
    map: Map,
    value_size: usize,
}

/// The values of all entries, a slot after the other.
type Seen = Vec<Vec<Vec<u8>>>;

impl Arrays {
    fn new(map_type: MapType, value_size: usize) -> Arrays {
        let spec = Spec::new(map_type, 4, value_size as u32, MAX_ENTRIES);
        let spec = if map_type.is_per_cpu() { spec.cpus(CPUS) } else { spec };
        Arrays { map: Map::create_anonymous(&spec).unwrap(), value_size }
    }

    fn array(&self) -> Array<'_> {
        match self.map.inner.view() {
            View::Array(array) => array,
            _ => unreachable!("it is an array"),
        }
    }

    /// One slot's value: every word tells which value it is of, and where.
    fn one(&self, cpu: u32, salt: u8) -> Vec<u8> {
        (0..self.value_size).map(|byte| salt ^ (byte / 8 * 16 + cpu as usize * 64) as u8).collect()
    }

    fn cpus(&self) -> u32 {
        self.map.cpus()
    }
}

impl Subject for Arrays {
    type Operation = Do;
    type Seen = Seen;

    fn map(&self) -> &Map {
        &self.map
    }

    fn perform(&self, writer: Writer<'_>, operation: Do) -> Result<(), Reason> {
        let array = self.array();
        match operation {
            Set(index, salt) if self.cpus() == 1 => {
                array.update(|| Ok(writer), index, 0, &self.one(0, salt))
            }
            Set(index, salt) => {
                let mut value = Vec::new();
                for cpu in 0..self.cpus() {
                    value.extend(self.one(cpu, salt));
                    value.resize(value.len().next_multiple_of(8), 0);
                }
                array.update(|| Ok(writer), index, ALL_CPUS, &value)
            }
            SetOne(index, cpu, salt) => {
                array.update(|| Ok(writer), index, cpu, &self.one(cpu, salt))
            }
            Inc(index, cpu, delta) => array.add(|| Ok(writer), index, cpu, 8, delta).map(|_| ()),
        }
    }

    fn expected(&self, seen: &Seen, operation: Do) -> (Seen, Result<(), Reason>) {
        let mut after = seen.clone();
        match operation {
            Set(index, salt) => {
                for cpu in 0..self.cpus() {
                    after[index as usize][cpu as usize] = self.one(cpu, salt);
                }
            }
            SetOne(index, cpu, salt) => after[index as usize][cpu as usize] = self.one(cpu, salt),
            Inc(index, cpu, delta) => {
                let value = &mut after[index as usize][cpu as usize];
                let sum = u64::from_ne_bytes(value[..].try_into().unwrap()).wrapping_add(delta);
                value.copy_from_slice(&sum.to_ne_bytes());
            }
        }
        (after, Ok(()))
    }

    fn seen(&self) -> Seen {
        let array = self.array();
        let load = |index, cpu| {
            let mut value = vec![0; self.value_size];
            array.lookup(index, cpu, &mut value).unwrap();
            value
        };
        let entry = |index| {
            let slots: Vec<_> = (0..self.cpus()).map(|cpu| load(index, cpu)).collect();
            let each = self.value_size.next_multiple_of(8);
            let mut all = vec![0; each * slots.len()];
            if slots.len() > 1 {
                array.lookup(index, ALL_CPUS, &mut all).unwrap();
                for (one, slot) in slots.iter().zip(all.chunks(each)) {
                    assert_eq!(*one, slot[..self.value_size], "alone and with all others");
                }
            }
            slots
        };
        (0..MAX_ENTRIES).map(entry).collect()
    }

    fn check_order(&self) {
        self.array().check_order();
    }

    fn check_use(&self, writer: Writer<'_>, mut seen: Seen) {
        let mut done = |operation| {
            let (after, outcome) = self.expected(&seen, operation);
            assert_eq!(self.perform(writer, operation), outcome, "{operation:?}");
            seen = after;
        };
        for index in 0..MAX_ENTRIES {
            done(Set(index, 0xa1));
            done(SetOne(index, self.cpus() - 1, 0xa2));
            if self.value_size == 8 {
                done(Inc(index, 0, 3));
            }
        }
        assert_eq!(self.seen(), seen);
    }
}

fn explore(name: &str, arrays: &Arrays, operations: &[Do]) {
    let acts: Vec<_> = operations.iter().copied().map(Operation).collect();
    let mut deaths = Deaths::new(arrays);
    deaths.explore(&[&acts, &[CleanUp], &[CleanUp], &[CleanUp]]);
    deaths.explore(&[&acts, &acts, &[CleanUp]]);
    deaths.report(name);
}

#[test]
fn words() {
    explore("words", &Arrays::new(MapType::Array, 8), &[Set(0, 1), Inc(0, 0, 5)]);
}

#[test]
fn values() {
    explore("values", &Arrays::new(MapType::Array, 20), &[Set(0, 1), Set(0, 2), Set(1, 3)]);
}

#[test]
fn per_cpu_words() {
    let arrays = Arrays::new(MapType::PerCpuArray, 8);
    explore("per-CPU words", &arrays, &[Set(0, 1), SetOne(0, 1, 2), Inc(0, 2, 5), Set(1, 3)]);
}

#[test]
fn per_cpu_values() {
    let arrays = Arrays::new(MapType::PerCpuArray, 12);
    explore("per-CPU values", &arrays, &[Set(0, 1), SetOne(0, 1, 2), SetOne(2, 0, 3)]);
}
