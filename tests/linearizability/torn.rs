//! Values of 64 bytes whose words must agree, written and read at full speed: a copy is never half
//! of one value and half of another, and never another key's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use usermap::abi::{BPF_ANY, BPF_EXIST, cpu_flags, map_flags};
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::rng::{Rng, seed};

const WORDS: usize = 8;
const KEYS: u64 = 6;

/// A value: eight times the key and a number that changes each time.
fn fill(value: &mut [u8], key: u64, number: u64) {
    for word in value.chunks_mut(8) {
        word.copy_from_slice(&(key << 48 | number & 0xffff_ffff_ffff).to_le_bytes());
    }
}

/// The key that a value of one slot names. All zero is an array's first value.
fn key_of(value: &[u8]) -> Option<u64> {
    let words: Vec<u64> = value
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    assert!(words.iter().all(|word| *word == words[0]), "a torn value: {words:x?}");
    (words[0] != 0).then_some(words[0] >> 48)
}

/// Two writers and two readers on one map.
fn run(
    spec: &Spec,
    write: impl Fn(&Map, &mut Rng) + Sync,
    read: impl Fn(&Map, &mut Rng) -> u64 + Sync,
) {
    let _watchdog = Watchdog::new("torn values", Duration::from_secs(60));
    let map = Map::create_anonymous(spec).expect("a map");
    let done = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    let (write, read) = (&write, &read);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for thread in 0..4 {
            let (map, done, seen) = (map.clone(), &done, &seen);
            workers.push(scope.spawn(move || {
                let mut rng = Rng::new(seed() ^ thread);
                while !done.load(Ordering::Relaxed) {
                    if thread < 2 {
                        write(&map, &mut rng);
                    } else {
                        seen.fetch_add(read(&map, &mut rng), Ordering::Relaxed);
                    }
                }
            }));
        }
        // On a loaded machine readers may not get far in that time; the watchdog bounds the wait.
        let started = Instant::now();
        let enough = || started.elapsed() >= budget(500) && seen.load(Ordering::Relaxed) > 100;
        while !enough() && workers.iter().all(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn write_keyed(map: &Map, rng: &mut Rng, with_deletes: bool) {
    let key = 1 + rng.below(KEYS);
    let mut value = vec![0; map.value_bytes()];
    for slot in value.chunks_mut(8 * WORDS) {
        fill(slot, key, rng.draw());
    }
    let bytes = (key as u32).to_le_bytes();
    if with_deletes && rng.one_in(3) {
        let _ = match rng.one_in(2) {
            true => map.delete(&bytes),
            false => {
                let result = map.lookup_and_delete(&bytes, &mut value, 0);
                if result.is_ok() {
                    value.chunks(8 * WORDS).for_each(|slot| {
                        assert_eq!(key_of(slot), Some(key), "what was deleted");
                    });
                }
                result
            }
        };
    } else {
        map.update(&bytes, &value, BPF_ANY).expect("room for all keys");
    }
}

fn read_keyed(map: &Map, rng: &mut Rng) -> u64 {
    let key = 1 + rng.below(KEYS);
    let mut value = vec![0; map.value_bytes()];
    let check = |value: &[u8], key: u64| {
        for slot in value.chunks(8 * WORDS) {
            assert!(key_of(slot).is_none_or(|named| named == key), "the value of another key");
        }
    };
    if rng.one_in(50) {
        map.for_each(|key, value| {
            check(value, u32::from_le_bytes(key.try_into().expect("four bytes")).into());
            true
        })
        .expect("for_each");
    }
    match map.lookup(&(key as u32).to_le_bytes(), &mut value, 0) {
        Ok(()) => check(&value, key),
        Err(error) => {
            assert!(error.is_not_found(), "{error}");
            return 0;
        }
    }
    1
}

fn keyed(kind: MapType, flags: u32, with_deletes: bool) {
    let spec = Spec::new(kind, 4, 8 * WORDS as u32, KEYS as u32 + 1).flags(flags);
    let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
    run(&spec, |map, rng| write_keyed(map, rng, with_deletes), read_keyed);
}

#[test]
fn hash_updates() {
    keyed(MapType::Hash, 0, false);
}

#[test]
fn hash_comes_and_goes() {
    keyed(MapType::Hash, 0, true);
}

#[test]
fn hash_without_preallocation() {
    keyed(MapType::Hash, map_flags::NO_PREALLOC, true);
}

#[test]
fn percpu_hash() {
    keyed(MapType::PerCpuHash, 0, true);
}

#[test]
fn array() {
    keyed(MapType::Array, 0, false);
}

#[test]
fn percpu_array() {
    keyed(MapType::PerCpuArray, 0, false);
}

fn rings(kind: MapType) {
    let spec = Spec::new(kind, 0, 8 * WORDS as u32, 4);
    let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
    let flags = |rng: &mut Rng| if kind.is_per_cpu() { cpu_flags(rng.below(2) as u32) } else { 0 };
    run(
        &spec,
        |map, rng| {
            let mut value = [0; 8 * WORDS];
            fill(&mut value, 1, rng.draw());
            if rng.one_in(3) {
                let _ = map.pop(&mut value, flags(rng));
                assert_eq!(key_of(&value), Some(1));
            } else {
                map.push(&value, BPF_EXIST | flags(rng)).expect("room is made");
            }
        },
        |map, rng| {
            let mut value = [0; 8 * WORDS];
            let peeked = match rng.one_in(8) {
                true => map.pop(&mut value, flags(rng)),
                false => map.peek(&mut value, flags(rng)),
            };
            if peeked.is_ok() {
                assert_eq!(key_of(&value), Some(1));
            }
            u64::from(peeked.is_ok())
        },
    );
}

#[test]
fn queue_and_stack() {
    rings(MapType::Queue);
    rings(MapType::Stack);
}

#[test]
fn percpu_queue_and_stack() {
    rings(MapType::PerCpuQueue);
    rings(MapType::PerCpuStack);
}
