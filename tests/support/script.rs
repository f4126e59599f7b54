//! What a process does to a map until it is killed: a sequence of operations that a seed decides,
//! so that another one knows what the map must hold after any number of them.

use crate::rng::{self, Rng};
use std::collections::{BTreeMap, VecDeque};
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, cpu_flags, errno::E2BIG};
use usermap::{Map, MapType, Spec};

/// Keys of one child.
pub const KEYS: u32 = 32;
/// An operation.
#[derive(Clone, Debug)]
pub enum Step {
    /// Key, seed of the value, flags.
    Put(u32, u64, u64),
    /// Key.
    Delete(u32),
    /// Key.
    Take(u32),
    /// Key, slot, delta.
    Inc(u32, u32, u64),
    /// Slot, seed of the value, flags.
    Push(u32, u64, u64),
    /// Slot.
    Pop(u32),
}

/// The sequence.
pub struct Script {
    kind: MapType,
    increments: bool,
    cpus: u32,
    id: u32,
    rng: Rng,
    /// How many operations are left before it only repeats one.
    left: u64,
}

impl Script {
    /// The one that this seed names, of one process's keys.
    pub fn new(spec: &Spec, id: u32, seed: u64) -> Script {
        let increments = spec.value_size == 8;
        Script {
            kind: spec.map_type,
            increments,
            cpus: spec.cpus,
            id,
            rng: Rng::new(seed),
            left: u64::MAX,
        }
    }

    /// After so many operations it writes the same value again and again, so that no more than one
    /// of those must be followed. Of maps with keys.
    pub fn repeating_after(mut self, operations: u64) -> Script {
        self.left = operations;
        self
    }

    /// The next operation.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> Step {
        if self.left == 0 {
            return Step::Put(self.id * KEYS, 1, BPF_ANY);
        }
        self.left -= 1;
        let rng = &mut self.rng;
        let key = self.id * KEYS + rng.below(KEYS.into()) as u32;
        let cpu = if self.kind.is_per_cpu() { rng.below(self.cpus.into()) as u32 } else { 0 };
        let value = rng.draw();
        if self.kind.is_ring() {
            return match rng.below(8) {
                0..3 => Step::Push(cpu, value, BPF_ANY),
                3..5 => Step::Push(cpu, value, BPF_EXIST),
                _ => Step::Pop(cpu),
            };
        }
        match rng.below(10) {
            0..2 if self.increments => Step::Inc(key, cpu, value),
            2..4 if self.kind.is_hash() => Step::Delete(key),
            4..6 if self.kind.is_hash() => Step::Take(key),
            _ => Step::Put(key, value, *rng.pick(&[BPF_ANY, BPF_ANY, BPF_NOEXIST, BPF_EXIST])),
        }
    }
}

/// Does one operation; refusals are part of the sequence.
pub fn apply(map: &Map, step: &Step, value: &mut [u8]) {
    let flags = |cpu| if map.spec().map_type.is_per_cpu() { cpu_flags(cpu) } else { 0 };
    let _ = match *step {
        Step::Put(key, seed, flags) => {
            Rng::new(seed).fill(value);
            map.update(&key.to_le_bytes(), value, flags)
        }
        Step::Delete(key) => map.delete(&key.to_le_bytes()),
        Step::Take(key) => map.lookup_and_delete(&key.to_le_bytes(), value, 0),
        Step::Inc(key, cpu, delta) => map
            .on_cpu(cpu)
            .and_then(|program| program.inc_and_return(&key.to_le_bytes(), delta, BPF_ANY))
            .map(drop),
        Step::Push(cpu, seed, push) => {
            Rng::new(seed).fill(value);
            map.push(value, push | flags(cpu))
        }
        Step::Pop(cpu) => map.pop(value, flags(cpu)),
    };
}

/// What a map must hold, of one child's part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    kind: MapType,
    value_bytes: usize,
    max: usize,
    /// Of maps with keys.
    pub entries: BTreeMap<u32, Vec<u8>>,
    /// The values of each slot, the oldest first.
    pub rings: Vec<VecDeque<Vec<u8>>>,
}

impl Model {
    /// Of a new map. `max` is how many entries this part can have.
    pub fn new(map: &Map, id: u32, max: usize) -> Model {
        let kind = map.spec().map_type;
        let mut entries = BTreeMap::new();
        if kind.is_array() {
            entries.extend((0..KEYS).map(|key| (id * KEYS + key, vec![0; map.value_bytes()])));
        }
        let rings = if kind.is_ring() { map.cpus() as usize } else { 0 };
        let rings = vec![VecDeque::new(); rings];
        Model { kind, value_bytes: map.value_bytes(), max, entries, rings }
    }

    /// What an operation does to it.
    pub fn apply(&mut self, step: &Step) {
        match *step {
            Step::Put(key, seed, flags) => {
                let there = self.entries.contains_key(&key);
                let refused = (there && flags == BPF_NOEXIST) || (!there && flags == BPF_EXIST);
                if !refused && (there || self.entries.len() < self.max) {
                    self.entries.insert(key, rng::bytes(seed, self.value_bytes));
                }
            }
            Step::Delete(key) | Step::Take(key) => drop(self.entries.remove(&key)),
            Step::Inc(key, cpu, delta) => {
                if !self.entries.contains_key(&key) && self.entries.len() == self.max {
                    return;
                }
                let zeros = vec![0; self.value_bytes];
                let at = if self.kind.is_per_cpu() { cpu as usize * 8 } else { 0 };
                let slot = &mut self.entries.entry(key).or_insert(zeros)[at..at + 8];
                let old = u64::from_le_bytes(slot.try_into().expect("eight bytes"));
                slot.copy_from_slice(&old.wrapping_add(delta).to_le_bytes());
            }
            Step::Push(cpu, seed, flags) => {
                let ring = &mut self.rings[cpu as usize];
                if ring.len() == self.max {
                    if flags == BPF_ANY {
                        return;
                    }
                    ring.pop_front();
                }
                ring.push_back(rng::bytes(seed, self.value_bytes));
            }
            Step::Pop(cpu) => {
                let ring = &mut self.rings[cpu as usize];
                if self.kind.is_lifo() {
                    ring.pop_back()
                } else {
                    ring.pop_front()
                };
            }
        }
    }

    /// Reads a child's part of the map; what is in queues and stacks is taken out.
    pub fn read(map: &Map, id: u32, max: usize) -> Model {
        let mut model = Model::new(map, id, max);
        model.entries.clear();
        if model.kind.is_ring() {
            let rings = &mut model.rings;
            let is_lifo = model.kind.is_lifo();
            map.drain(|cpu, value| {
                let ring = &mut rings[cpu as usize];
                let value = value.to_vec();
                if is_lifo { ring.push_front(value) } else { ring.push_back(value) }
            })
            .expect("drained");
            return model;
        }
        for key in id * KEYS..(id + 1) * KEYS {
            let mut value = vec![0; model.value_bytes];
            match map.lookup(&key.to_le_bytes(), &mut value, 0) {
                Ok(()) => drop(model.entries.insert(key, value)),
                Err(error) => assert!(error.is_not_found(), "{error}"),
            }
        }
        model
    }

    /// Whether this is `before`, or is on the way from it to `after`: an update of a per-CPU value
    /// writes one slot after another, as in the kernel, but each as a whole.
    fn is_between(&self, before: &Model, after: &Model) -> bool {
        if self == before {
            return true;
        }
        let same_keys = self.entries.keys().eq(before.entries.keys())
            && self.entries.keys().eq(after.entries.keys());
        let slots = |value: &'_ [u8]| value.chunks(8).map(<[u8]>::to_vec).collect::<Vec<_>>();
        self.kind.is_per_cpu()
            && !self.kind.is_ring()
            && same_keys
            && self.entries.iter().all(|(key, value)| {
                let (old, new) = (slots(&before.entries[key]), slots(&after.entries[key]));
                let mut now = slots(value).into_iter().zip(old.into_iter().zip(new));
                now.all(|(now, (old, new))| now == old || now == new)
            })
    }

    /// Finds the operation at which the child was killed, which had said that it had done
    /// `at_least` and had done `untold` more at most; this model follows, to what the map holds now.
    pub fn catch_up(
        &mut self,
        script: &mut Script,
        at_least: u64,
        untold: u64,
        now: &Model,
    ) -> Result<(), String> {
        for _ in 0..at_least {
            self.apply(&script.next());
        }
        let said = self.clone();
        for _ in 0..=untold {
            let mut after = self.clone();
            after.apply(&script.next());
            if now.is_between(self, &after) {
                self.clone_from(now);
                return Ok(());
            }
            *self = after;
        }
        let mut text = format!("the map holds what none of {} operations explains\n", untold + 1);
        for (key, value) in &said.entries {
            if now.entries.get(key) != Some(value) {
                let now = now.entries.get(key);
                text += &format!("key {key}: was {value:02x?}, is {now:02x?}\n");
            }
        }
        for key in now.entries.keys().filter(|key| !said.entries.contains_key(key)) {
            text += &format!("key {key}: was absent, is {:02x?}\n", now.entries[key]);
        }
        if said.rings != now.rings {
            text += &format!("was {:02x?}\n is {:02x?}\n", said.rings, now.rings);
        }
        Err(text)
    }
}

/// Each child of a per-CPU queue or stack has its slot.
pub fn flags_of(map: &Map, id: u32) -> u64 {
    if map.spec().map_type.is_per_cpu() { cpu_flags(id % map.cpus()) } else { 0 }
}

/// A value that says who pushed it and as the how manieth, in each of its words.
pub fn tagged(value: &mut [u8], id: u32, number: u64) {
    for word in value.chunks_mut(8) {
        word.copy_from_slice(&(u64::from(id) << 48 | number).to_le_bytes());
    }
}

/// Who pushed a value and as the how manieth.
pub fn tag(value: &[u8]) -> (u32, u64) {
    let words: Vec<u64> = value
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    assert!(words.iter().all(|word| *word == words[0]), "a torn value: {words:x?}");
    ((words[0] >> 48) as u32, words[0] & 0xffff_ffff_ffff)
}

/// Fills the map to its limit with keys that nobody else uses, and takes them out again; queues
/// and stacks are empty before and after.
pub fn capacity_is_whole(map: &Map) {
    let spec = map.spec();
    let value = vec![0x5a; map.value_bytes()];
    if spec.map_type.is_hash() {
        let expected = u64::from(spec.max_entries) - map.len();
        for i in 0..=expected {
            let key = (1 << 24 | i as u32).to_le_bytes();
            let errno = map.update(&key, &value, BPF_NOEXIST).err().map_or(0, |e| e.errno());
            let room = i < expected;
            assert_eq!(errno, if room { 0 } else { E2BIG }, "entry {i} of {expected} more");
        }
        for i in 0..expected {
            map.delete(&(1 << 24 | i as u32).to_le_bytes()).expect("it was just put there");
        }
    } else if spec.map_type.is_ring() {
        for cpu in 0..map.cpus() {
            let flags = if spec.map_type.is_per_cpu() { cpu_flags(cpu) } else { 0 };
            for i in 0..=spec.max_entries {
                let errno = map.push(&value, BPF_ANY | flags).err().map_or(0, |e| e.errno());
                let room = i < spec.max_entries;
                assert_eq!(errno, if room { 0 } else { E2BIG }, "value {i} in slot {cpu}");
            }
        }
        assert_eq!(map.clear().expect("cleared"), u64::from(spec.max_entries * map.cpus()));
    }
}
