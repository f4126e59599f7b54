//! Eight processes work on one map, are killed at random and replaced. After each death what the
//! dead process did last is there as a whole or not at all, and the survivor's own operations work;
//! when all are dead, the map holds what they did together, and as much fits into it as ever.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};
use usermap::abi::BPF_ANY;
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::child::has_parent;
use usermap_tests::rng::{Rng, seed};
use usermap_tests::script::{KEYS, Model, Script, apply, capacity_is_whole, flags_of, tag, tagged};
use usermap_tests::trace::{Shared, fork};

const MEMBERS: u32 = 8;
const KINDS: u64 = 12;
/// Different operations of one process: following them takes the survivor as long.
const DIFFERENT: u64 = 5000;
/// Kills between two looks at the whole map.
const ROUND: u64 = 24;

/// Kills of one kind: as many as `USERMAP_KILLS` asks for, or more in a soak.
fn enough(kills: u64, started: Instant) -> bool {
    let wanted = std::env::var("USERMAP_KILLS").ok();
    let wanted = wanted.map_or(600, |n| n.parse().expect("USERMAP_KILLS is a number"));
    kills >= wanted / KINDS && started.elapsed() >= budget(0)
}

/// Processes that work until they are killed.
struct Crew {
    members: Vec<Pid>,
    kills: u64,
}

impl Crew {
    /// Kills one that has begun its work, at a random moment.
    fn kill(&mut self, id: u32, rng: &mut Rng) {
        std::thread::sleep(Duration::from_micros(rng.below(1500)));
        let pid = self.members[id as usize];
        kill(pid, Signal::SIGKILL).expect("killed");
        let end = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let end = end.expect("waiting for a child");
        assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{end:?}");
        self.kills += 1;
        // The others meet a zombie half of the time, at least for a while.
        if rng.one_in(2) {
            std::thread::yield_now();
        }
        waitpid(pid, None).expect("waiting for a killed child");
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for pid in &self.members {
            if kill(*pid, Signal::SIGKILL).is_ok() {
                let _ = waitpid(*pid, None);
            }
        }
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// Each process changes its own keys, which share buckets with the others', and counts in one key
/// of all.
fn keyed(kind: MapType, value_size: u32) {
    let _watchdog = Watchdog::new("random deaths", Duration::from_secs(600));
    let common = MEMBERS * KEYS;
    let max = if kind.is_array() { common + 1 } else { common + 20 };
    let spec = Spec::new(kind, 4, value_size, max);
    let map = Map::create(&if kind.is_per_cpu() { spec.cpus(2) } else { spec }).expect("a map");
    let counts = value_size == 8;
    let counted = common.to_le_bytes();
    let journal = Shared::new(MEMBERS as usize);
    let mut rng = Rng::new(seed());
    let mut models: Vec<_> = (0..MEMBERS).map(|id| Model::new(&map, id, usize::MAX)).collect();
    let mut scripts = vec![0; MEMBERS as usize];
    let (started, mut total, mut crew) =
        (Instant::now(), 0, Crew { members: Vec::new(), kills: 0 });
    let script = |id: u32, script_seed: u64| {
        Script::new(map.spec(), id, script_seed).repeating_after(DIFFERENT)
    };
    let work = |id: u32, script_seed: u64| {
        journal[id as usize].store(0, Release);
        fork(|| {
            let (mut script, mut done) = (script(id, script_seed), 0);
            let mut value = vec![0; map.value_bytes()];
            while has_parent() {
                apply(&map, &script.next(), &mut value);
                if counts {
                    map.inc(&counted, 1, BPF_ANY).expect("counted");
                }
                done += 1;
                journal[id as usize].store(done, Release);
            }
            0
        })
    };
    let mut rounds = 0;
    while rounds == 0 || !enough(crew.kills, started) {
        for id in 0..MEMBERS {
            scripts[id as usize] = rng.draw();
            crew.members.push(work(id, scripts[id as usize]));
        }
        let mut bury = |crew: &mut Crew, id: u32, rng: &mut Rng, seeds: &[u64]| {
            until("a process stands still", || journal[id as usize].load(Acquire) > 0);
            crew.kill(id, rng);
            let done = journal[id as usize].load(Acquire);
            let now = Model::read(&map, id, usize::MAX);
            let mut script = script(id, seeds[id as usize]);
            let followed = done.min(DIFFERENT + 1);
            if let Err(why) = models[id as usize].catch_up(&mut script, followed, 1, &now) {
                panic!("kill {}, USERMAP_SEED={}, {:?}: {why}", crew.kills, seed(), map.spec());
            }
            total += done;
            models[id as usize].entries.len() as u64
        };
        for _ in 0..ROUND {
            let id = rng.below(MEMBERS.into()) as u32;
            bury(&mut crew, id, &mut rng, &scripts);
            // In a bucket where the dead one may have been; EBUSY would come after a second.
            let (key, mut value) = ((id * KEYS).to_le_bytes(), vec![0; map.value_bytes()]);
            if map.lookup(&key, &mut value, 0).is_ok() {
                map.update(&key, &value, BPF_ANY).expect("an update by the survivor");
            }
            scripts[id as usize] = rng.draw();
            crew.members[id as usize] = work(id, scripts[id as usize]);
        }
        let entries: u64 = (0..MEMBERS).map(|id| bury(&mut crew, id, &mut rng, &scripts)).sum();
        crew.members.clear();
        if kind.is_hash() {
            let common = u64::from(counts);
            assert_eq!(map.len(), entries + common);
            capacity_is_whole(&map);
        }
        if counts {
            let mut value = vec![0; map.value_bytes()];
            map.lookup(&counted, &mut value, 0).expect("the common count");
            let words = value.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8")));
            let sum: u64 = words.sum();
            assert!(
                (total..=total + crew.kills).contains(&sum),
                "{sum} of {total}, {} kills",
                crew.kills
            );
        }
        assert!(map.check().expect("checked").is_clean());
        rounds += 1;
    }
    println!("death: {kind:?} {value_size}: {} kills at random, {total} operations", crew.kills);
}

/// What a member of a queue's or stack's crew says: pushes begun and done, pops begun and done.
const WORDS: usize = 4;

fn ring(kind: MapType) {
    let _watchdog = Watchdog::new("random deaths", Duration::from_secs(600));
    let spec = Spec::new(kind, 0, 24, 12);
    let map = Map::create(&if kind.is_per_cpu() { spec.cpus(2) } else { spec }).expect("a map");
    let journal = Shared::new(MEMBERS as usize * WORDS);
    let said = |id: u32, word: usize| journal[id as usize * WORDS + word].load(Acquire);
    let sum = |word: usize| (0..MEMBERS).map(|id| said(id, word)).sum::<u64>();
    let mut rng = Rng::new(seed());
    let (started, mut crew) = (Instant::now(), Crew { members: Vec::new(), kills: 0 });
    let work = |id: u32, script_seed: u64| {
        fork(|| {
            let words = &journal[id as usize * WORDS..][..WORDS];
            let (mut rng, mut value) = (Rng::new(script_seed), vec![0; map.value_bytes()]);
            let flags = flags_of(&map, id);
            while has_parent() {
                if rng.one_in(2) {
                    tagged(&mut value, id, words[0].fetch_add(1, AcqRel));
                    match map.push(&value, BPF_ANY | flags) {
                        Ok(()) => words[1].fetch_add(1, AcqRel),
                        // Full: nobody else uses this number.
                        Err(_) => words[0].fetch_sub(1, AcqRel),
                    };
                } else {
                    words[2].fetch_add(1, AcqRel);
                    match map.pop(&mut value, flags) {
                        Ok(()) => {
                            assert!(tag(&value).0 < MEMBERS);
                            words[3].fetch_add(1, AcqRel)
                        }
                        Err(_) => words[2].fetch_sub(1, AcqRel),
                    };
                }
            }
            0
        })
    };
    let (mut rounds, mut operations) = (0, 0);
    while rounds == 0 || !enough(crew.kills, started) {
        journal.iter().for_each(|word| word.store(0, Release));
        crew.members.extend((0..MEMBERS).map(|id| work(id, rng.draw())));
        for _ in 0..ROUND {
            let id = rng.below(MEMBERS.into()) as u32;
            let before = said(id, 1) + said(id, 3);
            until("a process stands still", || said(id, 1) + said(id, 3) > before);
            crew.kill(id, &mut rng);
            // Works at once, whatever the dead one held.
            let peeked = map.peek(&mut vec![0; map.value_bytes()], flags_of(&map, id));
            assert!(
                peeked.as_ref().map_or_else(|error| error.is_not_found(), |()| true),
                "{peeked:?}"
            );
            crew.members[id as usize] = work(id, rng.draw());
        }
        (0..MEMBERS).for_each(|id| crew.kill(id, &mut rng));
        crew.members.clear();
        let mut left = BTreeSet::new();
        let drained = map.drain(|_, value| {
            let (id, number) = tag(value);
            assert!(number < said(id, 0), "{number} of {id} was never pushed");
            assert!(left.insert((id, number)), "{number} of {id} is there twice");
        });
        let drained = drained.expect("drained");
        let (least, most) = (sum(1).saturating_sub(sum(2)), sum(0) - sum(3));
        assert!((least..=most).contains(&drained), "{drained} are left, not {least} to {most}");
        operations += sum(1) + sum(3);
        capacity_is_whole(&map);
        assert!(map.check().expect("checked").is_clean());
        rounds += 1;
    }
    println!("death: {kind:?}: {} kills at random, {operations} operations", crew.kills);
}

#[test]
fn hashes() {
    for (kind, size) in [
        (MapType::Hash, 8),
        (MapType::Hash, 40),
        (MapType::PerCpuHash, 8),
        (MapType::PerCpuHash, 24),
    ] {
        keyed(kind, size);
    }
}

#[test]
fn arrays() {
    for (kind, size) in [
        (MapType::Array, 8),
        (MapType::Array, 40),
        (MapType::PerCpuArray, 8),
        (MapType::PerCpuArray, 24),
    ] {
        keyed(kind, size);
    }
}

#[test]
fn rings() {
    for kind in [MapType::Queue, MapType::Stack, MapType::PerCpuQueue, MapType::PerCpuStack] {
        ring(kind);
    }
}
