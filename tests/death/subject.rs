//! A map as what is killed: an operation, the contents that the map may have when it is cut off,
//! and what the survivor tries.

use crate::points::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, cpu_flags, errno::E2BIG};
use usermap::{Map, Result as Done, Spec};
use usermap_tests::check::{Verdict, costs, equal};
use usermap_tests::rng;

/// Key and value; of queues and stacks the slot and the position from the oldest, and the value.
pub type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a child does to a map.
pub type Act = Arc<dyn Fn(&Map) -> Done<()> + Send + Sync>;

/// See [`Scenario::parts`].
pub type Parts = Box<dyn Fn(&Map) -> Vec<Act>>;

/// An operation on a map of some kind.
pub struct Scenario {
    pub name: String,
    pub spec: Spec,
    /// All keys that the test uses.
    pub keys: Vec<Vec<u8>>,
    /// How many entries (for each slot: values) are there before the operation.
    pub start: usize,
    pub act: Act,
    /// The single changes that it consists of, in their order, in this map.
    pub parts: Parts,
    /// Whether the thread has written to the map before.
    pub used: bool,
    /// Whether nobody else has: each process has a new map then, which it fills itself.
    pub sole: bool,
}

impl Scenario {
    /// The same by a map's sole writer, whose locks are taken otherwise.
    pub fn by_the_sole_writer(self) -> Scenario {
        Scenario { name: format!("{}, by the sole writer", self.name), sole: true, ..self }
    }
}

/// A value that a number names, as long as `map` has them.
pub fn value(map: &Map, number: u64) -> Vec<u8> {
    rng::bytes(number, map.value_bytes())
}

/// The `errno` of a result, 255 for larger ones.
pub fn code(done: Done<()>) -> u8 {
    done.map_or_else(|error| error.errno().try_into().unwrap_or(255), |()| 0)
}

/// The flags that mean a slot of a per-CPU queue or stack.
pub fn slot_flags(map: &Map, cpu: u32) -> u64 {
    if map.spec().map_type.is_per_cpu() { cpu_flags(cpu) } else { 0 }
}

/// Lets two threads write by turns, so often that a map has no sole writer any more.
pub fn write_by_turns(write: impl Fn() + Sync) {
    for _ in 0..20 {
        std::thread::scope(|scope| scope.spawn(&write).join()).expect("written");
        write();
    }
}

/// Takes all values out of a queue or stack.
fn drain(map: &Map) -> Vec<Vec<Vec<u8>>> {
    let mut rings = vec![Vec::new(); map.cpus() as usize];
    map.drain(|cpu, value| rings[cpu as usize].push(value.to_vec())).expect("drained");
    if map.spec().map_type.is_lifo() {
        rings.iter_mut().for_each(|ring| ring.reverse());
    }
    rings
}

fn content_of(rings: &[Vec<Vec<u8>>]) -> Content {
    let mut content = Content::new();
    for (cpu, ring) in rings.iter().enumerate() {
        for (position, value) in ring.iter().enumerate() {
            content.insert(vec![cpu as u8, position as u8], value.clone());
        }
    }
    content
}

/// What changes say of themselves and what they leave.
struct Twin {
    code: u8,
    after: Content,
}

pub struct Killed {
    scenario: Scenario,
    map: Map,
    /// What the map may hold when the operation is cut off.
    states: Vec<Content>,
    /// What the operation does to a map that holds a certain content.
    again: BTreeMap<Content, Twin>,
    /// What is left of the longest wait of this kill.
    longest: Duration,
}

impl Killed {
    pub fn new(scenario: Scenario) -> Killed {
        let map = Map::create(&scenario.spec).expect("a map");
        if !scenario.sole {
            let (value, key) = (value(&map, 0), scenario.keys.first());
            write_by_turns(|| match key.filter(|_| !map.spec().map_type.is_ring()) {
                Some(key) => map.update(key, &value, BPF_ANY).expect("updated"),
                None => map.push(&value, BPF_EXIST).expect("pushed"),
            });
        }
        let mut killed = Killed {
            map,
            scenario,
            states: Vec::new(),
            again: BTreeMap::new(),
            longest: Duration::ZERO,
        };
        // What each prefix of the operation leaves, by doing it.
        killed.refill();
        let parts = (killed.scenario.parts)(&killed.map);
        for done in 0..=parts.len() {
            killed.refill();
            for part in &parts[..done] {
                let _ = part(&killed.map);
            }
            let content = killed.read_all();
            killed.states.push(content);
        }
        killed.refill();
        let _ = (killed.scenario.act)(&killed.map);
        let whole = killed.read_all();
        assert_eq!(Some(&whole), killed.states.last(), "the parts are not the operation");
        killed
    }

    /// Makes it what it is before the operation.
    fn refill(&self) {
        let (map, Scenario { keys, start, .. }) = (&self.map, &self.scenario);
        map.clear().expect("cleared");
        for (i, key) in keys.iter().enumerate().take(*start) {
            let value = value(map, i as u64);
            if self.is_ring() {
                for cpu in 0..map.cpus() {
                    map.push(&value, slot_flags(map, cpu)).expect("pushed");
                }
            } else {
                map.update(key, &value, BPF_ANY).expect("put there");
            }
        }
    }

    fn is_ring(&self) -> bool {
        self.map.spec().map_type.is_ring()
    }

    /// What the map holds; queues and stacks are emptied.
    fn read_all(&self) -> Content {
        if self.is_ring() { content_of(&drain(&self.map)) } else { self.read().expect("readable") }
    }

    /// What all lookups and walks of a map with keys say.
    fn read(&self) -> Result<Content, String> {
        let (map, mut content) = (&self.map, Content::new());
        let visit =
            |key: &[u8], value: &[u8]| content.insert(key.to_vec(), value.to_vec()).is_none();
        let visited = map.for_each(visit).map_err(|error| format!("for_each: {error}"))?;
        equal("keys that for_each met twice", visited - content.len() as u64, 0)?;
        let mut value = vec![0; map.value_bytes()];
        for key in &self.scenario.keys {
            let found = match map.lookup(key, &mut value, 0) {
                Ok(()) => Some(&value),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(format!("lookup: {error}")),
            };
            equal("lookup and for_each", found, content.get(key))?;
        }
        Ok(content)
    }

    /// What it holds now must be one of the states.
    fn is_a_state(&self, content: &Content) -> Verdict {
        if self.states.contains(content) {
            return Ok(());
        }
        Err(format!(
            "neither before nor after: {content:02x?}, which should be one of {:02x?}",
            self.states
        ))
    }

    /// While the writer lives, the slots of a per-CPU value may change one by one, as the kernel's.
    fn states_between(&self, content: &Content) -> Verdict {
        let slot = self.map.spec().value_size as usize;
        let between = |states: &[Content]| {
            content.len() == states[0].len()
                && content.iter().all(|(key, value)| {
                    let slots =
                        |state: usize| states[state].get(key).map(|value| value.chunks(slot));
                    let (Some(old), Some(new)) = (slots(0), slots(1)) else { return false };
                    value
                        .chunks(slot)
                        .zip(old.zip(new))
                        .all(|(now, (old, new))| now == old || now == new)
                })
        };
        match self.map.spec().map_type.is_per_cpu() && self.states.windows(2).any(between) {
            true => Ok(()),
            false => self.is_a_state(content),
        }
    }

    /// Calls the map, and remembers how long it took.
    fn timed<T>(&mut self, call: impl FnOnce(&Map) -> T) -> T {
        let (result, took) = costs(|| call(&self.map));
        self.longest = self.longest.max(took);
        result
    }

    /// What the operation would say and leave if the map held this.
    fn twin(&mut self, before: &Content) -> (u8, Content) {
        if !self.again.contains_key(before) {
            let map = Map::create(&self.scenario.spec).expect("a map");
            put_all(&map, before);
            let code = code((self.scenario.act)(&map));
            let original = std::mem::replace(&mut self.map, map);
            let after = self.read_all();
            self.map = original;
            self.again.insert(before.clone(), Twin { code, after });
        }
        let twin = &self.again[before];
        (twin.code, twin.after.clone())
    }

    /// Fills the map: it must take what is missing, and no entry more.
    fn fill(&mut self, there: u64) -> Verdict {
        let spec = self.map.spec().clone();
        let room = u64::from(spec.max_entries).saturating_sub(there);
        let keys: Vec<_> = self.scenario.keys.clone();
        let value = value(&self.map, 99);
        let absent = keys.iter().filter(|key| self.map.lookup(key, &mut value.clone(), 0).is_err());
        let absent: Vec<_> = absent.take(room as usize + 1).collect();
        assert_eq!(absent.len() as u64, room + 1, "the scenario has too few keys");
        for (i, key) in absent.iter().enumerate() {
            let done = self.timed(|map| code(map.update(key, &value, BPF_NOEXIST)));
            let expected = if (i as u64) < room { 0 } else { E2BIG as u8 };
            equal(
                &format!("inserting entry {} of {}", there + i as u64, spec.max_entries),
                done,
                expected,
            )?;
        }
        for key in &absent[..room as usize] {
            equal("deleting what filled the map", self.timed(|map| code(map.delete(key))), 0)?;
        }
        Ok(())
    }

    /// Each operation on one key, and back.
    fn works(&mut self, content: &Content) -> Verdict {
        let new = value(&self.map, 77);
        let mut out = vec![0; new.len()];
        let (kind, width) = (self.map.spec().map_type, self.map.spec().value_size);
        for (key, old) in content {
            let mut step = |what, call: &dyn Fn(&Map, &mut [u8]) -> Done<()>| {
                equal(what, self.timed(|map| code(call(map, &mut out))), 0)
            };
            step("update", &|map, _| map.update(key, &new, BPF_ANY))?;
            if width == 8 {
                step("inc", &|map, _| map.inc(key, 1, 0))?;
            }
            if kind.is_hash() {
                step("lookup_and_delete", &|map, out| map.lookup_and_delete(key, out, 0))?;
                step("insert", &|map, _| map.update(key, &new, BPF_NOEXIST))?;
                step("delete", &|map, _| map.delete(key))?;
            }
            step("update back", &|map, _| map.update(key, old, BPF_ANY))?;
        }
        Ok(())
    }

    fn keyed(&mut self, finished: Option<u8>, turn: u64) -> Verdict {
        let (content, took) = costs(|| self.read());
        let mut content = content?;
        self.longest = took;
        self.is_a_state(&content)?;
        if finished.is_some() {
            equal("what a finished operation left", Some(&content), self.states.last())?;
        }
        let is_hash = self.map.spec().map_type.is_hash();
        let len = |content: &Content| content.len() as u64;
        match turn {
            0 => equal("len", self.timed(Map::len), len(&content))?,
            1 if is_hash => self.fill(len(&content))?,
            2 => {
                let (expected, after) = self.twin(&content);
                let act = self.scenario.act.clone();
                let done = self.timed(|map| code(act(map)));
                equal("the same operation's errno", done, expected)?;
                content = after;
            }
            3 => drop(self.timed(reopen)),
            _ => self.works(&content)?,
        }
        equal("what it held before the survivor worked", self.read()?, content.clone())?;
        equal("len", self.timed(Map::len), len(&content))?;
        if is_hash {
            self.fill(len(&content))?;
        }
        self.works(&content)?;
        equal("what it holds at last", self.read()?, content.clone())?;
        equal("len at last", self.map.len(), len(&content))
    }

    fn ring(&mut self, finished: Option<u8>, turn: u64) -> Verdict {
        let max = self.map.spec().max_entries;
        let mut allowed = self.states.clone();
        if finished.is_some() {
            allowed.drain(..allowed.len() - 1);
        }
        let mut said = None;
        match turn {
            0 => said = Some(self.timed(Map::len)),
            2 => {
                let twins: Vec<_> = allowed.iter().map(|state| self.twin(state)).collect();
                let act = self.scenario.act.clone();
                let done = self.timed(|map| code(act(map)));
                allowed =
                    twins.into_iter().filter(|twin| twin.0 == done).map(|twin| twin.1).collect();
            }
            3 => drop(self.timed(reopen)),
            _ => {}
        }
        // Fills it up, then takes all out: what was there must have come before what was added.
        let filler = value(&self.map, 99);
        let mut added = vec![0; self.map.cpus() as usize];
        for cpu in 0..self.map.cpus() {
            let flags = slot_flags(&self.map, cpu);
            loop {
                let done = self.timed(|map| code(map.push(&filler, BPF_ANY | flags)));
                if done != 0 {
                    equal("the value after the last", done, E2BIG as u8)?;
                    break;
                }
                added[cpu as usize] += 1;
                equal("more values than max_entries", added[cpu as usize] > max as usize, false)?;
            }
        }
        equal("len of a full one", self.timed(Map::len), u64::from(max * self.map.cpus()))?;
        let mut rings = self.timed(drain);
        for (ring, added) in rings.iter_mut().zip(added) {
            equal("values in a full one", ring.len(), max as usize)?;
            let tail = ring.split_off(max as usize - added);
            equal("what was pushed", tail.iter().all(|value| *value == filler), true)?;
        }
        let content = content_of(&rings);
        if !allowed.contains(&content) {
            return Err(format!(
                "neither before nor after: {content:02x?}, which should be one of {allowed:02x?}"
            ));
        }
        equal("len", said.unwrap_or(content.len() as u64), content.len() as u64)?;
        equal("len of an empty one", self.map.len(), 0)
    }
}

/// Fills an empty map with these.
fn put_all(map: &Map, content: &Content) {
    for (key, value) in content {
        if map.spec().map_type.is_ring() {
            map.push(value, slot_flags(map, key[0].into())).expect("pushed");
        } else {
            map.update(key, value, BPF_ANY).expect("put there");
        }
    }
}

/// Opens the map once more, as another process would.
fn reopen(map: &Map) -> Map {
    let fd = map.as_fd().expect("a map with a file").try_clone_to_owned().expect("a descriptor");
    Map::from_fd(fd).expect("the same map")
}

impl Subject for Killed {
    fn renew(&mut self) {
        if self.scenario.sole {
            self.map = Map::create(&self.scenario.spec).expect("a map");
        }
    }

    fn prepare(&self) {
        if self.scenario.sole {
            self.refill();
        } else if self.scenario.used {
            let _ = (self.scenario.act)(&self.map);
            // So that what the process wrote last, and keeps beside the map, is not the new value.
            let other = value(&self.map, 55);
            let _ = match self.is_ring() {
                true => self.map.push(&other, BPF_EXIST),
                false => self.map.update(&self.scenario.keys[0], &other, BPF_ANY),
            };
        }
    }

    fn reset(&mut self) {
        if !self.scenario.sole {
            self.refill();
        }
    }

    fn act(&self) -> u8 {
        code((self.scenario.act)(&self.map))
    }

    fn stopped(&mut self) -> Verdict {
        if !self.is_ring() {
            let content = self.read()?;
            return self.states_between(&content);
        }
        let mut value = vec![0; self.map.value_bytes()];
        for cpu in 0..self.map.cpus() {
            let seen = match self.map.peek(&mut value, slot_flags(&self.map, cpu)) {
                Ok(()) => Some(&value),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(format!("peek: {error}")),
            };
            let is_lifo = self.map.spec().map_type.is_lifo();
            let next = |state: &Content| {
                let mut ring = state.range(vec![cpu as u8]..vec![cpu as u8 + 1]);
                let entry = if is_lifo { ring.next_back() } else { ring.next() };
                entry.map(|(_, value)| value.clone())
            };
            if !self.states.iter().any(|state| next(state).as_ref() == seen) {
                return Err(format!("peek: {seen:02x?}"));
            }
        }
        Ok(())
    }

    fn killed(&mut self, finished: Option<u8>, turn: u64) -> Result<Duration, String> {
        self.longest = Duration::ZERO;
        match self.is_ring() {
            true => self.ring(finished, turn)?,
            false => self.keyed(finished, turn)?,
        }
        let check = self.map.check().map_err(|error| error.to_string())?;
        match check.is_clean() {
            true => Ok(self.longest),
            false => Err(format!("{check:?}")),
        }
    }

    fn turns(&self) -> u64 {
        5
    }
}
