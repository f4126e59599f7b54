//! Deaths in hash maps.

use super::{Act, Deaths, Subject};
use crate::error::Reason;
use crate::header;
use crate::kind::hash::{Hash, Presence, Value, Want};
use crate::map::{Map, View};
use crate::mem::owner::Writer;
use crate::mem::sync::Ordering::Relaxed;
use crate::{MapType, Spec, abi::map_flags};
use Act::{CleanUp, Operation};
use Do::*;
use std::collections::BTreeMap;

/// Entries of a full map: more than two buckets have places for.
const MAX_ENTRIES: u32 = 42;
const CPUS: usize = 2;

/// An operation on the key with this number; those that write say which value.
#[derive(Clone, Copy, Debug)]
enum Do {
    Insert(usize, u8),
    Update(usize, u8),
    UpdateOne(usize, u32, u8),
    Delete(usize),
    Inc(usize, u64),
}

struct HashMaps {
    map: Map,
    value_size: usize,
    per_cpu: bool,
    /// Keys of the first bucket, as many as the map takes and one; then of the second.
    keys: Vec<u32>,
}

/// Number of the first key that is in the second bucket.
const OTHER: usize = MAX_ENTRIES as usize + 1;

type Seen = BTreeMap<u32, Vec<u8>>;

impl HashMaps {
    fn new(map_type: MapType, value_size: usize) -> HashMaps {
        HashMaps::with_flags(map_type, value_size, map_flags::ZERO_SEED)
    }

    fn with_flags(map_type: MapType, value_size: usize, flags: u32) -> HashMaps {
        let spec = Spec::new(map_type, 4, value_size as u32, MAX_ENTRIES);
        let spec = spec.flags(flags).cpus(CPUS as u32);
        let per_cpu = map_type.is_per_cpu();
        let spec = if per_cpu { spec } else { spec.cpus(0) };
        let map = Map::create_anonymous(&spec).unwrap();
        let mut maps = HashMaps { map, value_size, per_cpu, keys: Vec::new() };
        for bucket in 0..2 {
            let inside = |key: &u32| maps.hash().geometry.hash(&key.to_ne_bytes()).bucket == bucket;
            let keys: Vec<u32> = (0..).filter(inside).take(OTHER).collect();
            maps.keys.extend(keys);
        }
        maps
    }

    fn hash(&self) -> Hash<'_> {
        match self.map.inner.view() {
            View::Hash(hash) => hash,
            _ => unreachable!("it is a hash map"),
        }
    }

    /// A map with these operations done.
    fn with(self, operations: impl IntoIterator<Item = Do>) -> Self {
        let (owners, inner) = (self.map.inner.owners(), &*self.map.inner);
        let number = owners.claim(inner).unwrap();
        for operation in operations {
            self.perform(owners.writer(number).unwrap(), operation).unwrap();
        }
        owners.release(number);
        self
    }

    fn key(&self, number: usize) -> [u8; 4] {
        self.keys[number].to_ne_bytes()
    }

    fn words(&self) -> usize {
        self.value_size.div_ceil(8)
    }

    /// One slot's value: every word tells which value it is of, and where.
    fn one(&self, cpu: usize, salt: u8) -> Vec<u8> {
        (0..self.value_size).map(|byte| salt ^ (byte / 8 * 16 + cpu * 64) as u8).collect()
    }

    /// A value as updates take it.
    fn value(&self, salt: u8) -> Vec<u8> {
        let cpus = if self.per_cpu { CPUS } else { 1 };
        let mut value = Vec::new();
        for cpu in 0..cpus {
            value.extend(self.one(cpu, salt));
            if self.per_cpu {
                value.resize((cpu + 1) * self.words() * 8, 0);
            }
        }
        value
    }
}

impl Subject for HashMaps {
    type Operation = Do;
    type Seen = Seen;

    fn map(&self) -> &Map {
        &self.map
    }

    fn perform(&self, writer: Writer<'_>, operation: Do) -> Result<(), Reason> {
        let hash = self.hash();
        // So that nodes are taken again as soon as they are free.
        let hint = &hash.words[header::HINT];
        if hint.load(Relaxed) != 0 {
            hint.store(0, Relaxed);
        }
        let all = |key: usize, salt, presence| {
            let value = self.value(salt);
            let value = match self.per_cpu {
                true => Value::AllCpus(&value),
                false => Value::Whole(&value),
            };
            hash.update(writer, &self.key(key), value, presence)
        };
        match operation {
            Insert(key, salt) => all(key, salt, Presence::Absent),
            Update(key, salt) => all(key, salt, Presence::Any),
            UpdateOne(key, cpu, salt) => {
                let value = self.one(cpu as usize, salt);
                hash.update(writer, &self.key(key), Value::OneCpu(cpu, &value), Presence::Any)
            }
            Delete(key) => hash.remove(writer, &self.key(key), None),
            Inc(key, delta) => hash
                .add(writer, &self.key(key), self.per_cpu.then_some(0), 8, delta, Presence::Any)
                .map(|_| ()),
        }
    }

    fn expected(&self, seen: &Seen, operation: Do) -> (Seen, Result<(), Reason>) {
        let mut after = seen.clone();
        let (Insert(key, _) | Update(key, _) | UpdateOne(key, ..) | Delete(key) | Inc(key, _)) =
            operation;
        let number = self.keys[key];
        let old = seen.get(&number);
        let full = Err(Reason::Full { max_entries: MAX_ENTRIES });
        if old.is_none() && seen.len() >= MAX_ENTRIES as usize && !matches!(operation, Delete(_)) {
            return (after, full);
        }
        let each = self.words() * 8;
        let zeros = || vec![0; if self.per_cpu { each * CPUS } else { self.value_size }];
        match operation {
            Insert(..) if old.is_some() => return (after, Err(Reason::Exists)),
            Insert(_, salt) | Update(_, salt) => {
                after.insert(number, self.value(salt));
            }
            UpdateOne(_, cpu, salt) => {
                let value = after.entry(number).or_insert_with(zeros);
                let start = cpu as usize * each;
                value[start..start + self.value_size]
                    .copy_from_slice(&self.one(cpu as usize, salt));
            }
            Delete(_) if old.is_none() => return (after, Err(Reason::NotFound)),
            Delete(_) => {
                after.remove(&number);
            }
            Inc(_, delta) => {
                let value = after.entry(number).or_insert_with(zeros);
                let sum = u64::from_ne_bytes(value[..8].try_into().unwrap()).wrapping_add(delta);
                value[..8].copy_from_slice(&sum.to_ne_bytes());
            }
        }
        (after, Ok(()))
    }

    fn seen(&self) -> Seen {
        let hash = self.hash();
        let mut seen = Seen::new();
        let walked = hash.for_each(Want::KeysAndValues, |snapshot, number| {
            let key = u32::from_ne_bytes(snapshot.key(number).try_into().unwrap());
            let twice = seen.insert(key, snapshot.value(number).to_vec());
            assert_eq!(twice, None, "key {key} is there twice");
            true
        });
        assert_eq!(walked, Ok(()));
        for key in &self.keys {
            let mut value = vec![0; hash.geometry.value_bytes];
            let found = hash.lookup(&key.to_ne_bytes(), |hash, slot, word| {
                hash.load_value(word, slot, &mut value)
            });
            let found = found.unwrap().map(|()| value);
            assert_eq!(found.as_ref(), seen.get(key), "a lookup of {key} and the walk differ");
        }
        seen
    }

    fn check_order(&self) {
        self.hash().check_order();
    }

    fn check_use(&self, writer: Writer<'_>, mut seen: Seen) {
        let mut done = |operation| {
            let (after, outcome) = self.expected(&seen, operation);
            assert_eq!(self.perform(writer, operation), outcome, "{operation:?}");
            seen = after;
            outcome
        };
        // All into one bucket: as many nodes as the map ever needs.
        let filled = (0..OTHER).map(|key| done(Insert(key, 0xa1))).filter(Result::is_err).count();
        assert!(filled > 0, "one of them must have been too many");
        for key in [0, 3, OTHER - 2, OTHER, OTHER + 1] {
            let _ = done(Update(key, 0xa2));
        }
        assert_eq!(self.seen(), seen);
        let mut done = |operation| {
            let (after, outcome) = self.expected(&seen, operation);
            assert_eq!(self.perform(writer, operation), outcome, "{operation:?}");
            seen = after;
        };
        (0..self.keys.len()).for_each(|key| done(Delete(key)));
        assert_eq!(self.hash().count().get(), 0);
        (0..OTHER).for_each(|key| done(Insert(key + OTHER, 0xa3)));
        assert_eq!(self.hash().count().get(), MAX_ENTRIES);
        assert_eq!(self.seen(), seen);
    }
}

fn insertions(keys: impl IntoIterator<Item = usize>) -> impl Iterator<Item = Do> {
    keys.into_iter().map(|key| Insert(key, key as u8))
}

/// Deaths one after the other: an operation's, then those of three who clean up after it, or of
/// another operation on what is left and of one who cleans up after both.
fn explore(name: &str, maps: &HashMaps, operations: &[Do]) {
    let acts: Vec<_> = operations.iter().copied().map(Operation).collect();
    let mut deaths = Deaths::new(maps);
    deaths.explore(&[&acts, &[CleanUp], &[CleanUp], &[CleanUp]]);
    deaths.explore(&[&acts, &acts, &[CleanUp]]);
    if std::env::var_os("DEEP").is_some() {
        deaths.explore(&[&acts, &acts, &acts, &[CleanUp]]);
    }
    deaths.report(name);
}

/// Keys of the other bucket.
fn others(keys: core::ops::Range<usize>) -> core::ops::Range<usize> {
    OTHER + keys.start..OTHER + keys.end
}

#[test]
fn places() {
    let maps = HashMaps::new(MapType::Hash, 16).with(insertions([0, 1, OTHER]));
    let operations = [Insert(5, 1), Update(0, 2), Delete(1), Update(OTHER, 3), Delete(OTHER)];
    explore("places", &maps, &operations);
}

#[test]
fn nodes() {
    // Three in the chain, the last of which was inserted first.
    let maps = HashMaps::new(MapType::Hash, 16).with(insertions(0..22));
    let operations = [Insert(22, 1), Update(21, 2), Update(19, 3), Delete(20), Delete(21)];
    explore("nodes", &maps, &operations);
}

#[test]
fn nodes_of_two_buckets() {
    let maps = HashMaps::new(MapType::Hash, 16);
    let maps = maps.with(insertions((0..21).chain(others(0..20))));
    let operations = [
        Insert(21, 1),
        Update(20, 2),
        Delete(19),
        Insert(OTHER + 20, 4),
        Update(OTHER + 19, 5),
        Delete(OTHER + 19),
    ];
    explore("nodes of two buckets", &maps, &operations);
}

#[test]
fn full() {
    let maps = HashMaps::new(MapType::Hash, 16);
    let maps = maps.with(insertions((0..22).chain(others(0..20))));
    let operations =
        [Insert(22, 1), Insert(OTHER + 20, 1), Delete(3), Delete(21), Update(OTHER + 19, 2)];
    explore("full", &maps, &operations);
}

#[test]
fn increments() {
    let maps = HashMaps::new(MapType::Hash, 8).with(insertions(0..20));
    explore("increments", &maps, &[Inc(2, 5), Inc(19, 5), Inc(20, 5), Inc(OTHER, 5), Delete(19)]);
}

#[test]
fn words() {
    // With a random seed values of one word are changed where they are.
    for value_size in [8, 3] {
        let maps = HashMaps::with_flags(MapType::Hash, value_size, 0).with(insertions(0..20));
        let operations = [Update(2, 1), Update(19, 2), Update(20, 3), Delete(19), Insert(OTHER, 4)];
        explore("words", &maps, &operations);
    }
}

#[test]
fn per_cpu_places() {
    let maps = HashMaps::new(MapType::PerCpuHash, 16).with(insertions([0, 1, OTHER]));
    let operations =
        [Update(0, 1), UpdateOne(0, 1, 2), UpdateOne(5, 1, 3), Insert(6, 4), Delete(0)];
    explore("per-CPU places", &maps, &operations);
}

#[test]
fn per_cpu_nodes() {
    let maps = HashMaps::new(MapType::PerCpuHash, 12);
    let maps = maps.with(insertions((0..21).chain(others(0..20))));
    let operations = [
        Update(20, 1),
        UpdateOne(19, 0, 2),
        UpdateOne(21, 1, 3),
        Update(OTHER + 19, 4),
        Insert(OTHER + 20, 5),
        Delete(20),
    ];
    explore("per-CPU nodes", &maps, &operations);
}

#[test]
fn per_cpu_words() {
    let maps = HashMaps::new(MapType::PerCpuHash, 8).with(insertions(0..20));
    let operations = [Update(19, 1), UpdateOne(19, 1, 2), Inc(19, 3), Inc(20, 4), Delete(19)];
    explore("per-CPU words", &maps, &operations);
}
