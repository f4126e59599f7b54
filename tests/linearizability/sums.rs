//! What must add up: increments that create, counters that are emptied while they count, entries
//! that many want to take.

use crate::until;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};
use usermap::abi::{BPF_ANY, BPF_NOEXIST, cpu_flags, map_flags};
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::history::{Event, Play, rounds};
use usermap_tests::rng::{Rng, seed};

/// The sum over a value's slots.
fn sum(value: &[u8]) -> u64 {
    let words = value.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
    words.fold(0, u64::wrapping_add)
}

fn read(map: &Map, key: u32) -> u64 {
    let mut value = vec![0; map.value_bytes()];
    match map.lookup(&key.to_le_bytes(), &mut value, 0) {
        Ok(()) => sum(&value),
        Err(error) if error.is_not_found() => 0,
        Err(error) => panic!("{error}"),
    }
}

const KEYS: usize = 64;

/// Threads that increment the same keys in the same order, so that they meet at each first time.
struct FirstIncrements {
    kind: MapType,
    threads: usize,
}

impl Play for FirstIncrements {
    /// The map, and the next key of every thread.
    type Shared = (Map, Vec<AtomicU64>);
    type Operation = ();
    type Answer = ();

    fn make(&self, round: u64) -> Self::Shared {
        let flags = match round % 2 {
            0 if self.kind.is_hash() => map_flags::NO_PREALLOC,
            _ => 0,
        };
        let spec = Spec::new(self.kind, 4, 8, KEYS as u32).flags(flags);
        let next = (0..self.threads).map(|_| AtomicU64::new(0)).collect();
        (Map::create_anonymous(&spec).expect("a map"), next)
    }

    fn choose(&self, _: usize, _: &mut Rng) {}

    fn act(&self, (map, next): &Self::Shared, thread: usize, (): &()) {
        let key = (next[thread].fetch_add(1, Ordering::Relaxed) as u32).to_le_bytes();
        if thread.is_multiple_of(2) {
            map.inc(&key, 1, BPF_ANY).expect("inc");
        } else {
            let program = map.on_cpu(thread as u32 % map.cpus()).expect("a slot");
            program.inc_and_return(&key, 1, BPF_ANY).expect("inc");
        }
    }

    fn judge(&self, round: u64, (map, _): &Self::Shared, _: Vec<Event<(), ()>>) {
        for key in 0..KEYS as u32 {
            let sum = read(map, key);
            assert_eq!(sum, self.threads as u64, "{}, key {key}, round {round}", self.kind);
        }
    }
}

/// Two first increments give 2, four give 4; whether by the host or by programs.
#[test]
fn first_increments() {
    let _watchdog = Watchdog::new("first increments", Duration::from_secs(60));
    for kind in [MapType::Hash, MapType::PerCpuHash, MapType::Array, MapType::PerCpuArray] {
        for threads in [2, 4] {
            let play = FirstIncrements { kind, threads };
            rounds(&play, threads, KEYS, seed(), until(budget(200)));
        }
    }
}

/// Increments on few keys while others take the counters away: nothing counted is lost.
#[test]
fn counters_that_are_emptied() {
    let _watchdog = Watchdog::new("counters", Duration::from_secs(60));
    for kind in [MapType::Hash, MapType::PerCpuHash] {
        for flags in [0, map_flags::NO_PREALLOC] {
            let map = Map::create_anonymous(&Spec::new(kind, 4, 8, 8).flags(flags)).expect("a map");
            let (counted, taken) = (AtomicU64::new(0), AtomicU64::new(0));
            let (started, start) = (Instant::now(), Barrier::new(4));
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (map, counted, taken, start) = (map.clone(), &counted, &taken, &start);
                    scope.spawn(move || {
                        let mut rng = Rng::new(seed() ^ thread);
                        let mut value = vec![0; map.value_bytes()];
                        start.wait();
                        while started.elapsed() < budget(200) {
                            let key = (rng.below(3) as u32).to_le_bytes();
                            if thread < 3 {
                                let delta = rng.below(10);
                                map.inc(&key, delta, BPF_ANY).expect("inc");
                                counted.fetch_add(delta, Ordering::Relaxed);
                            } else if map.lookup_and_delete(&key, &mut value, 0).is_ok() {
                                taken.fetch_add(sum(&value), Ordering::Relaxed);
                            }
                        }
                    });
                }
            });
            let left: u64 = (0..3).map(|key| read(&map, key)).sum();
            assert_eq!(taken.into_inner() + left, counted.into_inner(), "{kind} {flags}");
        }
    }
}

/// Takes one entry, or some with a batch; gives their values.
fn take(map: &Map, rng: &mut Rng, limit: u32) -> Vec<u64> {
    if rng.one_in(16) {
        let batch = usermap_tests::adapter::batch::lookup(map, None, 4, 16, true, 0, 0);
        let values = batch.values.chunks(map.value_bytes()).take(batch.count as usize);
        return values.map(sum).collect();
    }
    let mut value = vec![0; map.value_bytes()];
    let key = (rng.below(limit.into()) as u32).to_le_bytes();
    match map.lookup_and_delete(&key, &mut value, 0) {
        Ok(()) => vec![sum(&value)],
        Err(error) => {
            assert!(error.is_not_found(), "{error}");
            vec![]
        }
    }
}

/// Entries with numbers that are given once: every number is taken by one, or is still there.
#[test]
fn no_two_get_the_same_entry() {
    let _watchdog = Watchdog::new("taking entries", Duration::from_secs(60));
    const LIMIT: u32 = 24;
    for flags in [0, map_flags::NO_PREALLOC] {
        let spec = Spec::new(MapType::Hash, 4, 8, LIMIT).flags(flags);
        let map = Map::create_anonymous(&spec).expect("a map");
        let (given, all) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let (started, start) = (Instant::now(), Barrier::new(4));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (map, given, all, start) = (map.clone(), &given, &all, &start);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed() ^ thread);
                    let mut own = Vec::new();
                    let mut number = None;
                    start.wait();
                    while started.elapsed() < budget(300) {
                        if thread < 2 {
                            let value = number
                                .take()
                                .unwrap_or_else(|| given.fetch_add(1, Ordering::Relaxed) + 1);
                            let key = (rng.below(LIMIT.into()) as u32).to_le_bytes();
                            if map.update(&key, &value.to_le_bytes(), BPF_NOEXIST).is_err() {
                                number = Some(value);
                            }
                        } else {
                            own.extend(take(&map, &mut rng, LIMIT));
                        }
                    }
                    own.extend(number);
                    all.lock().expect("no poison").extend(own);
                });
            }
        });
        let mut all = all.into_inner().expect("no poison");
        map.for_each(|_, value| {
            all.push(sum(value));
            true
        })
        .expect("for_each");
        once(&all, given.into_inner());
    }
}

/// That these are the numbers from 1 to `last`.
fn once(numbers: &[u64], last: u64) {
    let different: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(different.len(), numbers.len(), "a number was given twice");
    assert_eq!(different.into_iter().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
}

/// The same for queues and stacks, where the per-CPU kinds use the slot where the thread runs.
#[test]
fn no_two_pop_the_same_value() {
    let _watchdog = Watchdog::new("popping values", Duration::from_secs(60));
    let kinds = [MapType::Queue, MapType::Stack, MapType::PerCpuQueue, MapType::PerCpuStack];
    for kind in kinds {
        let map = Map::create_anonymous(&Spec::new(kind, 0, 16, 20)).expect("a map");
        let (given, all) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let (started, start) = (Instant::now(), Barrier::new(4));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (map, given, all, start) = (map.clone(), &given, &all, &start);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed() ^ thread);
                    let mut own = Vec::new();
                    let mut number = None;
                    let mut value = [0; 16];
                    start.wait();
                    while started.elapsed() < budget(200) {
                        let cpu = rng.below(map.cpus().into()) as u32;
                        let flags = match kind.is_per_cpu() && rng.one_in(2) {
                            true => cpu_flags(cpu),
                            false => 0,
                        };
                        if thread < 2 {
                            let next = number
                                .take()
                                .unwrap_or_else(|| given.fetch_add(1, Ordering::Relaxed) + 1);
                            if map.push(&next.to_le_bytes().repeat(2), flags).is_err() {
                                number = Some(next);
                            }
                        } else if rng.one_in(500) {
                            map.drain(|_, value| own.push(sum(&value[..8]))).expect("drain");
                        } else if map.pop(&mut value, flags).is_ok() {
                            own.push(sum(&value[..8]));
                        }
                    }
                    own.extend(number);
                    all.lock().expect("no poison").extend(own);
                });
            }
        });
        let mut all = all.into_inner().expect("no poison");
        map.drain(|_, value| all.push(sum(&value[..8]))).expect("drain");
        once(&all, given.into_inner());
    }
}
