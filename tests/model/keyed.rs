//! Hash and array kinds, plain and per-CPU, against a `BTreeMap`: every function of the untyped
//! map, and those that a program on one CPU slot has.

use proptest::prelude::*;
use std::collections::BTreeMap;
use usermap::abi::{BPF_EXIST, BPF_NOEXIST, errno::*, map_flags};
use usermap::{Map, MapType, Result, Spec};
use usermap_tests::check::{self, Verdict, equal};
use usermap_tests::rng;

const SLOTS: u32 = 3;

#[derive(Clone, Debug)]
enum Operation {
    Lookup { key: u8 },
    Update { key: u8, value: u64, flags: u64 },
    Delete { key: u8 },
    LookupAndDelete { key: u8 },
    Inc { key: u8, delta: u64, flags: u64, give: bool },
    LookupRange { first: u8, last: u8, stop: u64 },
    UpdateRange { first: u8, last: u8, value: u64 },
    DeleteRange { first: u8, last: u8 },
    Retain { modulus: u8 },
    Clear,
    ForEach { stop: u64 },
    Walk,
    ProgramLookup { cpu: u32, key: u8 },
    ProgramUpdate { cpu: u32, key: u8, value: u64, flags: u64 },
    ProgramDelete { cpu: u32, key: u8 },
    ProgramInc { cpu: u32, key: u8, delta: u64, flags: u64 },
    ProgramAdd { cpu: u32, key: u8, delta: u64 },
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The map and what it should hold. Padding between slots is outside of what is compared.
struct Pair {
    map: Map,
    model: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn code<T>(result: &Result<T>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.errno())
}

impl Pair {
    fn new(spec: &Spec) -> Pair {
        let map = Map::create_anonymous(spec).expect("a map");
        let mut model = BTreeMap::new();
        if spec.map_type.is_array() {
            // Keys in the model are in the order of the index.
            for i in 0..spec.max_entries {
                model.insert(i.to_be_bytes().to_vec(), vec![0; map.value_bytes()]);
            }
        }
        Pair { map, model }
    }

    fn kind(&self) -> MapType {
        self.map.spec().map_type
    }

    fn size(&self) -> usize {
        self.map.spec().value_size as usize
    }

    fn full(&self) -> bool {
        self.model.len() == self.map.spec().max_entries as usize
    }

    /// The key with this number as the map has it, and as the model has it.
    fn key(&self, number: u8) -> (Vec<u8>, Vec<u8>) {
        if self.kind().is_array() {
            let i = u32::from(number);
            return (i.to_le_bytes().to_vec(), i.to_be_bytes().to_vec());
        }
        let key = rng::bytes(number.into(), self.map.spec().key_size as usize);
        (key.clone(), key)
    }

    fn model_key(&self, key: &[u8]) -> Vec<u8> {
        let mut key = key.to_vec();
        if self.kind().is_array() {
            key.reverse();
        }
        key
    }

    fn slot(&self, cpu: u32) -> std::ops::Range<usize> {
        let cpu = if self.kind().is_per_cpu() { cpu as usize } else { 0 };
        let from = cpu * self.size().next_multiple_of(8);
        from..from + self.size()
    }

    /// The value without padding.
    fn bare(&self, value: &[u8]) -> Vec<u8> {
        (0..self.map.cpus()).flat_map(|cpu| value[self.slot(cpu)].to_vec()).collect()
    }

    fn pairs(&self, pairs: &Pairs) -> Pairs {
        pairs.iter().map(|(k, v)| (self.model_key(k), self.bare(v))).collect()
    }

    fn value(&self, seed: u64) -> Vec<u8> {
        rng::bytes(seed, self.map.value_bytes())
    }

    /// What an update, a push or an increment with these flags gives for this key.
    fn verdict(&self, key: &[u8], flags: u64) -> i32 {
        let there = self.model.contains_key(key);
        match flags {
            _ if flags > BPF_EXIST => EINVAL,
            _ if self.kind().is_array() && !there => E2BIG,
            BPF_NOEXIST if there => EEXIST,
            BPF_EXIST if !there => ENOENT,
            _ if !there && self.full() => E2BIG,
            _ => 0,
        }
    }

    fn range(&self, first: &[u8], last: &[u8]) -> Pairs {
        if first > last {
            return Pairs::new();
        }
        let range = self.model.range(first.to_vec()..=last.to_vec());
        range.map(|(k, v)| (k.clone(), self.bare(v))).collect()
    }

    /// Deletes, or zeroes in an array.
    fn remove(&mut self, key: &[u8]) {
        if self.kind().is_array() {
            self.model.get_mut(key).expect("an index").fill(0);
        } else {
            self.model.remove(key);
        }
    }

    fn add(&mut self, key: &[u8], slot: std::ops::Range<usize>, delta: u64) -> u64 {
        let zeros = vec![0; self.map.value_bytes()];
        let value = self.model.entry(key.to_vec()).or_insert(zeros);
        let mut wide = [0; 8];
        wide[..slot.len()].copy_from_slice(&value[slot.clone()]);
        let sum = u64::from_le_bytes(wide).wrapping_add(delta).to_le_bytes();
        value[slot.clone()].copy_from_slice(&sum[..slot.len()]);
        wide[..slot.len()].copy_from_slice(&sum[..slot.len()]);
        u64::from_le_bytes(wide)
    }

    fn read(&self, key: &[u8]) -> std::result::Result<Option<Vec<u8>>, String> {
        let mut value = vec![0; self.map.value_bytes()];
        match self.map.lookup(key, &mut value, 0) {
            Ok(()) => Ok(Some(self.bare(&value))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Verdict {
        match *operation {
            Operation::Lookup { key } => {
                let (key, model_key) = self.key(key);
                let expected = self.model.get(&model_key).map(|value| self.bare(value));
                equal("the value", self.read(&key)?, expected)
            }
            Operation::Update { key, value, flags } => {
                let ((key, model_key), value) = (self.key(key), self.value(value));
                let expected = self.verdict(&model_key, flags);
                equal("errno", code(&self.map.update(&key, &value, flags)), expected)?;
                if expected == 0 {
                    self.model.insert(model_key, value);
                }
                Ok(())
            }
            Operation::Delete { key } => {
                let (key, model_key) = self.key(key);
                let expected = match self.model.contains_key(&model_key) {
                    _ if self.kind().is_array() => EINVAL,
                    true => 0,
                    false => ENOENT,
                };
                if expected == 0 {
                    self.model.remove(&model_key);
                }
                equal("errno", code(&self.map.delete(&key)), expected)
            }
            Operation::LookupAndDelete { key } => {
                let (key, model_key) = self.key(key);
                let mut value = vec![0; self.map.value_bytes()];
                let got = code(&self.map.lookup_and_delete(&key, &mut value, 0));
                if self.kind().is_array() {
                    return equal("errno", got, ENOTSUPP);
                }
                let expected = self.model.remove(&model_key);
                equal("errno", got, if expected.is_some() { 0 } else { ENOENT })?;
                let expected = expected.unwrap_or_else(|| vec![0; value.len()]);
                equal("the value", self.bare(&value), self.bare(&expected))
            }
            Operation::Inc { key, delta, flags, give } => self.inc(key, delta, flags, give),
            Operation::LookupRange { first, last, stop } => {
                let ((first, model_first), (last, model_last)) = (self.key(first), self.key(last));
                let mut seen = Pairs::new();
                let count = self.map.lookup_range(&first, &last, |key, value| {
                    seen.push((key.to_vec(), value.to_vec()));
                    (seen.len() as u64) < stop
                });
                let mut expected = self.range(&model_first, &model_last);
                expected.truncate(stop.max(1) as usize);
                equal("count", count.map_err(|e| e.to_string())?, expected.len() as u64)?;
                equal("the range", self.pairs(&seen), expected)
            }
            Operation::UpdateRange { first, last, value } => {
                let ((first, model_first), (last, model_last)) = (self.key(first), self.key(last));
                let value = self.value(value);
                let count = self.map.update_range(&first, &last, &value);
                let range = self.range(&model_first, &model_last);
                equal("count", count.map_err(|e| e.to_string())?, range.len() as u64)?;
                for (key, _) in range {
                    self.model.insert(key, value.clone());
                }
                Ok(())
            }
            Operation::DeleteRange { first, last } => {
                let ((first, model_first), (last, model_last)) = (self.key(first), self.key(last));
                let count = self.map.delete_range(&first, &last);
                let range = self.range(&model_first, &model_last);
                equal("count", count.map_err(|e| e.to_string())?, range.len() as u64)?;
                range.iter().for_each(|(key, _)| self.remove(key));
                Ok(())
            }
            Operation::Retain { modulus } => {
                let keep = |value: &[u8]| !value[0].is_multiple_of(modulus);
                let mut seen = Pairs::new();
                let count = self.map.retain(|key, value| {
                    seen.push((key.to_vec(), value.to_vec()));
                    keep(value)
                });
                seen.sort_by_key(|(key, _)| self.model_key(key));
                equal("what it sees", self.pairs(&seen), self.range(&[], &[0xff; 200]))?;
                let mut gone: Vec<_> = self.model.keys().cloned().collect();
                gone.retain(|key| !keep(&self.model[key]));
                gone.iter().for_each(|key| self.remove(key));
                equal("count", count.map_err(|e| e.to_string())?, gone.len() as u64)
            }
            Operation::Clear => {
                let expected: Vec<_> = self.model.keys().cloned().collect();
                expected.iter().for_each(|key| self.remove(key));
                let count = self.map.clear().map_err(|e| e.to_string())?;
                equal("count", count, expected.len() as u64)
            }
            Operation::ForEach { stop } => {
                let mut seen = Pairs::new();
                let count = self.map.for_each(|key, value| {
                    seen.push((key.to_vec(), value.to_vec()));
                    (seen.len() as u64) < stop
                });
                let all = self.model.len() as u64;
                equal("calls", count.map_err(|e| e.to_string())?, stop.max(1).min(all))?;
                let mut seen = self.pairs(&seen);
                seen.sort();
                let mut expected = self.range(&[], &[0xff; 200]);
                // In a hash's order any of them may have come first.
                expected.retain(|pair| stop > all || seen.contains(pair));
                equal("the entries", seen, expected)
            }
            Operation::Walk => {
                let mut keys: Vec<Vec<u8>> = Vec::new();
                let mut next = vec![0; self.map.spec().key_size as usize];
                while self.map.get_next_key(keys.last().map(Vec::as_slice), &mut next).is_ok() {
                    keys.push(next.clone());
                    if keys.len() > self.model.len() {
                        break;
                    }
                }
                let mut keys: Vec<_> = keys.iter().map(|key| self.model_key(key)).collect();
                keys.sort();
                equal("the keys", keys, self.model.keys().cloned().collect())
            }
            Operation::ProgramLookup { cpu, key } => {
                let (key, model_key) = self.key(key);
                let program = self.map.on_cpu(cpu).map_err(|e| e.to_string())?;
                let pointer = program.lookup(&key).map_err(|e| e.to_string())?;
                let mut value = vec![0; self.size()];
                if let Some(pointer) = pointer {
                    program.load(pointer, 0, &mut value).map_err(|e| e.to_string())?;
                }
                let expected = self.model.get(&model_key).map(|v| v[self.slot(cpu)].to_vec());
                equal("the slot's value", pointer.map(|_| value), expected)
            }
            Operation::ProgramUpdate { cpu, key, value, flags } => {
                let (key, model_key) = self.key(key);
                let value = rng::bytes(value, self.size());
                let program = self.map.on_cpu(cpu).map_err(|e| e.to_string())?;
                let expected = self.verdict(&model_key, flags);
                equal("errno", code(&program.update(&key, &value, flags)), expected)?;
                if expected == 0 {
                    let (slot, zeros) = (self.slot(cpu), vec![0; self.map.value_bytes()]);
                    self.model.entry(model_key).or_insert(zeros)[slot].copy_from_slice(&value);
                }
                Ok(())
            }
            Operation::ProgramDelete { cpu, key } => {
                let (key, model_key) = self.key(key);
                let program = self.map.on_cpu(cpu).map_err(|e| e.to_string())?;
                let expected = match self.model.contains_key(&model_key) {
                    _ if self.kind().is_array() => EINVAL,
                    true => 0,
                    false => ENOENT,
                };
                equal("errno", code(&program.delete(&key)), expected)?;
                if expected == 0 {
                    self.model.remove(&model_key);
                }
                Ok(())
            }
            Operation::ProgramInc { cpu, key, delta, flags } => {
                let (key, model_key) = self.key(key);
                let program = self.map.on_cpu(cpu).map_err(|e| e.to_string())?;
                let got = program.inc_and_return(&key, delta, flags);
                let expected = self.inc_verdict(&model_key, flags);
                equal("errno", code(&got), expected)?;
                let Ok(got) = got else { return Ok(()) };
                let slot = self.slot(cpu);
                equal("the new value", got, self.add(&model_key, slot, delta))
            }
            Operation::ProgramAdd { cpu, key, delta } => {
                let (key, model_key) = self.key(key);
                let program = self.map.on_cpu(cpu).map_err(|e| e.to_string())?;
                let pointer = program.lookup(&key).map_err(|e| e.to_string())?;
                let Some(pointer) = pointer.filter(|_| self.size() == 8) else { return Ok(()) };
                let old = program.fetch_add(pointer, 0, delta).map_err(|e| e.to_string())?;
                let slot = self.slot(cpu);
                equal("the sum", old.wrapping_add(delta), self.add(&model_key, slot, delta))
            }
        }
    }

    fn inc_verdict(&self, key: &[u8], flags: u64) -> i32 {
        if matches!(self.size(), 1 | 2 | 4 | 8) { self.verdict(key, flags) } else { EINVAL }
    }

    /// An increment by the host goes to the slot of the CPU that it runs on; which one that is
    /// may change at any time, but it is one.
    fn inc(&mut self, key: u8, delta: u64, flags: u64, give: bool) -> Verdict {
        let (key, model_key) = self.key(key);
        let got = match give {
            true => self.map.inc_and_return(&key, delta, flags).map(Some),
            false => self.map.inc(&key, delta, flags).map(|()| None),
        };
        let expected = self.inc_verdict(&model_key, flags);
        equal("errno", code(&got), expected)?;
        let Ok(got) = got else { return Ok(()) };
        let after = self.read(&key)?;
        let before = self.model.get(&model_key).cloned();
        for cpu in 0..self.map.cpus() {
            let slot = self.slot(cpu);
            let sum = self.add(&model_key, slot, delta);
            let matches = Some(self.bare(&self.model[&model_key])) == after;
            if matches && got.is_none_or(|got| got == sum) {
                return Ok(());
            }
            match &before {
                Some(before) => self.model.insert(model_key.clone(), before.clone()),
                None => self.model.remove(&model_key),
            };
        }
        Err(format!(
            "{got:?} with {after:02x?} afterwards: no one slot of {before:02x?} grew by {delta}"
        ))
    }
}

fn flags() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0_u64), 4 => 1_u64..3, 1 => prop_oneof![Just(3_u64), Just(1 << 40)]]
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = || 0_u8..24;
    let cpu = || 0..SLOTS;
    let delta = || prop_oneof![Just(1_u64), 0_u64..1000, any::<u64>()];
    let stop = || prop_oneof![3 => Just(u64::MAX), 1 => 1_u64..6];
    prop_oneof![
        4 => key().prop_map(|key| Operation::Lookup { key }),
        12 => (key(), any::<u64>(), flags())
            .prop_map(|(key, value, flags)| Operation::Update { key, value, flags }),
        3 => key().prop_map(|key| Operation::Delete { key }),
        3 => key().prop_map(|key| Operation::LookupAndDelete { key }),
        4 => (key(), delta(), flags(), any::<bool>()).prop_map(
            |(key, delta, flags, give)| Operation::Inc { key, delta, flags, give }
        ),
        2 => (key(), key(), stop())
            .prop_map(|(first, last, stop)| Operation::LookupRange { first, last, stop }),
        1 => (key(), key(), any::<u64>())
            .prop_map(|(first, last, value)| Operation::UpdateRange { first, last, value }),
        1 => (key(), key()).prop_map(|(first, last)| Operation::DeleteRange { first, last }),
        1 => (1_u8..6).prop_map(|modulus| Operation::Retain { modulus }),
        1 => Just(Operation::Clear),
        1 => stop().prop_map(|stop| Operation::ForEach { stop }),
        1 => Just(Operation::Walk),
        2 => (cpu(), key()).prop_map(|(cpu, key)| Operation::ProgramLookup { cpu, key }),
        4 => (cpu(), key(), any::<u64>(), flags()).prop_map(
            |(cpu, key, value, flags)| Operation::ProgramUpdate { cpu, key, value, flags }
        ),
        1 => (cpu(), key()).prop_map(|(cpu, key)| Operation::ProgramDelete { cpu, key }),
        3 => (cpu(), key(), delta(), flags()).prop_map(
            |(cpu, key, delta, flags)| Operation::ProgramInc { cpu, key, delta, flags }
        ),
        1 => (cpu(), key(), delta())
            .prop_map(|(cpu, key, delta)| Operation::ProgramAdd { cpu, key, delta }),
    ]
}

fn run(kind: MapType, key_sizes: &'static [u32], flags: &'static [u32]) {
    let keys = prop::sample::select(key_sizes);
    let values = prop::sample::select(&[1_u32, 2, 3, 4, 8, 8, 9, 64][..]);
    let flags = prop::sample::select(flags);
    let case = (keys, values, 1_u32..24, flags, prop::collection::vec(operation(), 1..100));
    check::random(1000, case, |(key_size, value_size, max, flags, operations)| {
        let spec = Spec::new(kind, key_size, value_size, max).flags(flags);
        let spec = if kind.is_per_cpu() { spec.cpus(SLOTS) } else { spec };
        let mut pair = Pair::new(&spec);
        for (i, operation) in operations.iter().enumerate() {
            let context = |why| format!("step {i}, {operation:?}: {why}");
            pair.apply(operation).map_err(context)?;
            equal("len", pair.map.len(), pair.model.len() as u64).map_err(context)?;
        }
        let everything = pair.range(&[], &[0xff; 200]);
        for (key, value) in everything {
            // The model's keys are the map's, but for the order of an index's bytes.
            equal("in the end", pair.read(&pair.model_key(&key))?, Some(value))?;
        }
        Ok(())
    });
}

const KEYS: &[u32] = &[2, 3, 4, 8, 16, 37];
const HASH_FLAGS: &[u32] = &[
    0,
    map_flags::NO_PREALLOC,
    map_flags::ZERO_SEED,
    map_flags::NO_PREALLOC | map_flags::ZERO_SEED,
];

#[test]
fn hash() {
    run(MapType::Hash, KEYS, HASH_FLAGS);
}

#[test]
fn percpu_hash() {
    run(MapType::PerCpuHash, KEYS, HASH_FLAGS);
}

#[test]
fn array() {
    run(MapType::Array, &[4], &[0, map_flags::MMAPABLE]);
}

#[test]
fn percpu_array() {
    run(MapType::PerCpuArray, &[4], &[0]);
}
