//! What a child does to a map until it is killed: a sequence of operations that a seed decides,
//! so that the parent knows what the map must hold after any number of them.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, cpu_flags};
use usermap::{Access, Map, MapType, Spec};
use usermap_tests::child::{command, has_parent, wait};
use usermap_tests::rng::{self, Rng};

/// Keys of one child.
pub const KEYS: u32 = 32;
/// A child says how far it is each time it has done so many operations.
pub const STRIDE: u64 = 16;

#[derive(Clone, Debug)]
pub enum Step {
    Put(u32, u64, u64),
    Delete(u32),
    Take(u32),
    /// Key, slot, delta.
    Inc(u32, u32, u64),
    /// Slot, value, flags.
    Push(u32, u64, u64),
    Pop(u32),
}

/// The sequence.
pub struct Script {
    kind: MapType,
    increments: bool,
    cpus: u32,
    id: u32,
    rng: Rng,
}

impl Script {
    pub fn new(spec: &Spec, id: u32, seed: u64) -> Script {
        let increments = spec.value_size == 8;
        Script { kind: spec.map_type, increments, cpus: spec.cpus, id, rng: Rng::new(seed) }
    }

    pub fn next(&mut self) -> Step {
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
    pub entries: BTreeMap<u32, Vec<u8>>,
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
    /// `at_least`; this model follows, to what the map holds now.
    pub fn catch_up(
        &mut self,
        script: &mut Script,
        at_least: u64,
        now: &Model,
    ) -> Result<(), String> {
        for _ in 0..at_least {
            self.apply(&script.next());
        }
        let said = self.clone();
        for _ in 0..=STRIDE {
            let mut after = self.clone();
            after.apply(&script.next());
            if now.is_between(self, &after) {
                self.clone_from(now);
                return Ok(());
            }
            *self = after;
        }
        let mut text = format!("the map holds what none of {STRIDE} operations explains\n");
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

/// Runs a script, pushes or pops until it is killed.
pub fn child(arguments: &[String]) {
    let [path, journal, mode, id, seed] = arguments else { panic!("{arguments:?}") };
    let map = Map::open(path, Access::ReadWrite).expect("the map");
    let journal = File::options().write(true).open(journal).expect("the journal");
    let (id, seed): (u32, u64) = (id.parse().expect("a number"), seed.parse().expect("a number"));
    let mut value = vec![0; map.value_bytes()];
    let mut script = Script::new(map.spec(), id, seed);
    let mut done = 0_u64;
    while has_parent() {
        for _ in 0..STRIDE {
            match mode.as_str() {
                "script" => apply(&map, &script.next(), &mut value),
                "push" => {
                    tagged(&mut value, id, seed + done);
                    while map.push(&value, flags_of(&map, id)).is_err() && has_parent() {
                        std::thread::yield_now();
                    }
                }
                _ => {
                    while map.pop(&mut value, flags_of(&map, id)).is_err() && has_parent() {
                        std::thread::yield_now();
                    }
                }
            }
            done += 1;
        }
        journal.write_all_at(&done.to_le_bytes(), 0).expect("written");
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

/// A child that runs a script, with its journal.
pub struct Player {
    process: Child,
    journal: File,
}

impl Player {
    /// Starts one and waits until it works.
    pub fn start(map: &Path, journal: &Path, mode: &str, id: u32, seed: u64) -> Player {
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(journal)
            .expect("a journal");
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (map, journal, id, seed) = (text(map), text(journal), id.to_string(), seed.to_string());
        let process = command("script", &[&map, &journal, mode, &id, &seed])
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        let mut player = Player { process, journal: file };
        // Producers and consumers wait for one another and for the parent.
        while mode == "script" && player.done() == 0 {
            let ended = player.process.try_wait().expect("waiting for a child");
            assert!(ended.is_none(), "the child ended by itself: {ended:?}");
            std::hint::spin_loop();
        }
        player
    }

    /// How many operations it says it has done.
    pub fn done(&self) -> u64 {
        let mut bytes = [0; 8];
        match self.journal.read_at(&mut bytes, 0) {
            Ok(8) => u64::from_le_bytes(bytes),
            _ => 0,
        }
    }

    /// Kills it wherever it is.
    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        wait(&mut self.process, Duration::from_secs(10));
    }

    /// Fails unless it goes on with its work.
    pub fn carries_on(&self) {
        let (before, started) = (self.done(), Instant::now());
        while self.done() < before + 2 * STRIDE {
            assert!(started.elapsed() < Duration::from_secs(5), "a survivor stands still");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
