//! Two threads that change a map, and often a third that only reads.
//!
//! Values say which key they belong to and repeat themselves, so that a torn value or another
//! key's is known when it is seen. Under Miri these run with several seeds: its scheduler and its
//! weak memory then take other ways.

use crate::{Random, chained, create, errno, keys_of_one_bucket, rounds};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, errno::*};
use usermap::{Map, MapType, Spec};

/// 16 bytes that tell their key, and whether they are of one piece.
fn sealed(key: u32, count: u32) -> [u8; 16] {
    let (half, mut value) = (u64::from(key) << 32 | u64::from(count), [0; 16]);
    value[..8].copy_from_slice(&half.to_ne_bytes());
    value[8..].copy_from_slice(&(!half).to_ne_bytes());
    value
}

fn opened(value: &[u8]) -> (u32, u32) {
    let half = |from: usize| u64::from_ne_bytes(value[from..from + 8].try_into().unwrap());
    assert_eq!(half(0), !half(8), "a torn value");
    ((half(0) >> 32) as u32, half(0) as u32)
}

/// Runs the two writers, and meanwhile `read` again and again (a few times under Miri, which runs
/// one thread at a time); at least once after them.
fn race(write: impl Fn(u32) + Sync, mut read: impl FnMut() + Send) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers = [0, 1].map(|number| {
            let write = &write;
            scope.spawn(move || write(number))
        });
        let over = &over;
        let reader = scope.spawn(move || {
            for _ in 0..rounds(6, usize::MAX) {
                if over.load(Relaxed) {
                    break;
                }
                read();
                if cfg!(miri) {
                    thread::yield_now();
                }
            }
            while !over.load(Relaxed) {
                thread::park();
            }
            read();
        });
        for writer in writers {
            writer.join().unwrap();
        }
        over.store(true, Relaxed);
        reader.thread().unpark();
    });
}

/// Each writer changes the keys of its own parity and knows what they must hold; a reader looks
/// at all of them, by key and by walks.
fn own_keys(map: &Map, keys: &[u32], steps: usize) {
    let write = |number: u32| {
        let mut random = Random(u64::from(number) + 7);
        let mut held = vec![None; keys.len()];
        for step in 0..steps {
            let at = random.below(keys.len() / 2) * 2 + number as usize;
            let (key, name) = (keys[at], keys[at].to_ne_bytes());
            let mut value = [0; 16];
            match random.below(4) {
                0 if held[at].is_some() => {
                    map.lookup_and_delete(&name, &mut value, 0).unwrap();
                    assert_eq!(held[at].take(), Some(value));
                }
                1 => {
                    let deleted = errno(map.delete(&name));
                    assert_eq!(deleted, if held[at].take().is_some() { 0 } else { ENOENT });
                }
                _ => {
                    let flags = if held[at].is_some() { BPF_EXIST } else { BPF_NOEXIST };
                    let fresh = sealed(key, step as u32);
                    map.update(&name, &fresh, flags).unwrap();
                    held[at] = Some(fresh);
                }
            }
            let found = map.lookup(&name, &mut value, 0).is_ok();
            assert_eq!(found.then_some(value), held[at], "step {step}");
        }
        for (at, held) in held.into_iter().enumerate().skip(number as usize).step_by(2) {
            let deleted = errno(map.delete(&keys[at].to_ne_bytes()));
            assert_eq!(deleted, if held.is_some() { 0 } else { ENOENT });
        }
    };
    let mut random = Random(5);
    race(write, || {
        let key = keys[random.below(keys.len())];
        let mut value = [0; 16];
        if map.lookup(&key.to_ne_bytes(), &mut value, 0).is_ok() {
            assert_eq!(opened(&value).0, key);
        }
        let mut met = Vec::new();
        map.for_each(|key, value| {
            let key = u32::from_ne_bytes(key.try_into().unwrap());
            assert_eq!(opened(value).0, key);
            met.push(key);
            true
        })
        .unwrap();
        let count = met.len();
        met.sort_unstable();
        met.dedup();
        assert_eq!(met.len(), count, "a key was met twice");
    });
    assert!(map.is_empty());
    assert_eq!(map.for_each(|_, _| true).unwrap(), 0);
}

#[test]
fn hash() {
    let keys: Vec<u32> = (0..12).collect();
    own_keys(&create(&Spec::new(MapType::Hash, 4, 16, 12)), &keys, rounds(8, 20_000));
}

#[test]
fn hash_with_chains() {
    let keys = &keys_of_one_bucket()[..26];
    let map = create(&chained(16));
    // So full that whatever the writers do is done to nodes, too.
    let name = |key: &u32| key.to_ne_bytes();
    for key in keys.iter().rev() {
        map.update(&name(key), &sealed(*key, 0), BPF_ANY).unwrap();
    }
    let steps = rounds(12, 20_000);
    let write = |number: u32| {
        let mut random = Random(u64::from(number) + 11);
        for step in 0..steps as u32 {
            let at = random.below(13) * 2 + number as usize;
            let (key, value) = (keys[at], sealed(keys[at], step));
            match random.below(3) {
                0 => {
                    map.delete(&name(&key)).unwrap();
                    map.update(&name(&key), &value, BPF_NOEXIST).unwrap();
                }
                _ => map.update(&name(&key), &value, BPF_EXIST).unwrap(),
            }
        }
    };
    let mut random = Random(3);
    race(write, || {
        let key = keys[random.below(26)];
        let mut value = [0; 16];
        if map.lookup(&name(&key), &mut value, 0).is_ok() {
            assert_eq!(opened(&value).0, key);
        }
    });
    assert_eq!(map.len(), 26);
    assert_eq!(errno(map.update(&[0xee; 4], &[0; 16], BPF_ANY)), E2BIG);
    assert_eq!(map.clear().unwrap(), 26);
}

#[test]
fn hash_increments() {
    // The first two of a key may well meet: one creates, the other adds.
    let map = create(&Spec::new(MapType::Hash, 4, 8, 4));
    let each = rounds(16, 50_000) as u64;
    let write = |_| {
        for count in 0..each {
            map.inc(&[count as u8 & 3; 4], 1, BPF_ANY).unwrap();
        }
    };
    race(write, || assert!(map.len() <= 4));
    let mut sum = 0;
    map.for_each(|_, value| {
        sum += u64::from_ne_bytes(value.try_into().unwrap());
        true
    })
    .unwrap();
    assert_eq!((sum, map.len()), (2 * each, 4));
}

#[test]
fn hash_is_as_large_as_it_says() {
    let map = create(&Spec::new(MapType::Hash, 4, 8, 8));
    for _ in 0..rounds(1, 300) {
        let inserted = AtomicU64::new(0);
        let write = |number: u32| {
            for key in 0..8_u32 {
                match errno(map.update(&(key * 2 + number).to_ne_bytes(), &[1; 8], BPF_NOEXIST)) {
                    0 => inserted.fetch_add(1, Relaxed),
                    refused => u64::from(refused != E2BIG) * 1000,
                };
            }
        };
        race(write, || assert!(map.len() <= 8));
        assert_eq!((inserted.into_inner(), map.len()), (8, 8));
        assert_eq!(map.clear().unwrap(), 8);
    }
}

#[test]
fn one_taker_each() {
    let map = create(&Spec::new(MapType::Hash, 4, 8, 16));
    for _ in 0..rounds(1, 300) {
        for key in 0..16_u32 {
            map.update(&key.to_ne_bytes(), &u64::from(key).to_ne_bytes(), BPF_ANY).unwrap();
        }
        let taken = AtomicU64::new(0);
        let write = |number: u32| {
            for key in 0..8_u32 {
                let mut value = [0; 8];
                if map.lookup_and_delete(&key.to_ne_bytes(), &mut value, 0).is_ok() {
                    assert_eq!(u64::from_ne_bytes(value), u64::from(key));
                    taken.fetch_add(1, Relaxed);
                }
            }
            let (mut keys, mut values) = ([0; 64], [0; 128]);
            let batch = map.lookup_and_delete_batch(None, &mut keys, &mut values, 0);
            assert!(batch.is_end(), "writer {number}");
            taken.fetch_add(batch.count.into(), Relaxed);
        };
        race(write, || assert!(map.len() <= 16));
        assert_eq!((taken.into_inner(), map.len()), (16, 0));
    }
}

#[test]
fn walks_meet_what_stays() {
    let map = create(&Spec::new(MapType::Hash, 4, 16, 40));
    let stays = 10..20_u32;
    for key in stays.clone() {
        map.update(&key.to_ne_bytes(), &sealed(key, 0), BPF_ANY).unwrap();
    }
    let write = |number: u32| {
        for step in 0..rounds(12, 10_000) as u32 {
            let key = 100 + step % 10 * 2 + number;
            map.update(&key.to_ne_bytes(), &sealed(key, step), BPF_ANY).unwrap();
            if step % 3 != 0 {
                map.delete(&key.to_ne_bytes()).unwrap();
            }
        }
    };
    race(write, || {
        let mut met = Vec::new();
        map.for_each(|key, value| {
            let key = u32::from_ne_bytes(key.try_into().unwrap());
            assert_eq!(opened(value).0, key);
            if key < 100 {
                met.push(key);
            }
            true
        })
        .unwrap();
        met.sort_unstable();
        assert!(met.into_iter().eq(stays.clone()));
    });
}

/// Both write the same few places, all of a value at once; nobody sees half a value.
fn whole_values(map: &Map, slots: usize) {
    let steps = rounds(12, 50_000) as u32;
    let write = |number: u32| {
        for step in 0..steps {
            let index = step % 3;
            let value = sealed(index, step * 2 + number);
            map.update(&index.to_ne_bytes(), &value.repeat(slots), BPF_ANY).unwrap();
        }
    };
    for index in 0..3_u32 {
        map.update(&index.to_ne_bytes(), &sealed(index, 0).repeat(slots), BPF_ANY).unwrap();
    }
    let mut turn = 0_u32;
    race(write, || {
        turn = (turn + 1) % 3;
        let mut value = vec![0; 16 * slots];
        map.lookup(&turn.to_ne_bytes(), &mut value, 0).unwrap();
        for value in value.chunks(16) {
            assert_eq!(opened(value).0, turn);
        }
    });
    for index in 0..3_u32 {
        let mut value = vec![0; 16 * slots];
        map.lookup(&index.to_ne_bytes(), &mut value, 0).unwrap();
        let last = opened(&value).1 / 2;
        assert!(last + 3 >= steps, "the last update of one of them is lost");
        assert!(value.chunks(16).all(|slot| *slot == value[..16]), "slots of two updates");
    }
}

#[test]
fn array_of_long_values() {
    whole_values(&create(&Spec::new(MapType::Array, 4, 16, 3)), 1);
}

#[test]
fn hash_of_long_values() {
    // Of three keys and both writers, so that places are used again at once.
    whole_values(&create(&Spec::new(MapType::Hash, 4, 16, 3)), 1);
}

#[test]
fn per_cpu_array_of_long_values() {
    whole_values(&create(&Spec::new(MapType::PerCpuArray, 4, 16, 3).cpus(2)), 2);
}

#[test]
fn per_cpu_hash_of_long_values() {
    whole_values(&create(&Spec::new(MapType::PerCpuHash, 4, 16, 3).cpus(2)), 2);
}

#[test]
fn increments_among_writers_of_all_slots() {
    // One adds to both slots, the other sets them all to the same: whichever came last, the
    // difference of the slots is what was added to one and not yet to the other.
    for kind in [MapType::PerCpuArray, MapType::PerCpuHash, MapType::Array] {
        let map = create(&Spec::new(kind, 4, 8, 2).cpus(2));
        let slots = map.cpus();
        let each = rounds(8, 20_000) as u64;
        let write = |number: u32| {
            for _ in 0..each {
                for cpu in 0..slots {
                    let program = map.on_cpu(cpu).unwrap();
                    program.inc_and_return(&[0; 4], 1, BPF_ANY).unwrap();
                }
                if number == 0 {
                    map.update(&1_u32.to_ne_bytes(), &[7; 8].repeat(slots as usize), 0).unwrap();
                }
            }
        };
        race(write, || assert!(map.len() <= 2));
        let mut value = vec![0; map.value_bytes()];
        map.lookup(&[0; 4], &mut value, 0).unwrap();
        for slot in value.chunks(8) {
            assert_eq!(u64::from_ne_bytes(slot.try_into().unwrap()), 2 * each);
        }
    }
}

#[test]
fn queues_and_stacks() {
    for kind in [MapType::Queue, MapType::Stack] {
        // Two at most, so that places are used again at once.
        let map = create(&Spec::new(kind, 0, 16, 2));
        let each = rounds(8, 20_000) as u32;
        let taken = [AtomicU64::new(0), AtomicU64::new(0)];
        let write = |number: u32| {
            let mut last = [None; 2];
            let mut value = [0; 16];
            for count in 0..each {
                while map.push(&sealed(number, count), 0).is_err() {
                    thread::yield_now();
                }
                let Ok(()) = map.pop(&mut value, 0) else { continue };
                let (from, count) = opened(&value);
                taken[from as usize].fetch_add(1, Relaxed);
                // What one writer pushed comes in its order, to whoever pops of a queue.
                assert!(kind == MapType::Stack || last[from as usize] < Some(count));
                last[from as usize] = Some(count);
            }
        };
        race(write, || {
            let mut value = [0; 16];
            if map.peek(&mut value, 0).is_ok() {
                assert!(opened(&value).0 < 2);
            }
            assert!(map.len() <= 2);
        });
        let left = map.drain(|_, value| {
            taken[opened(value).0 as usize].fetch_add(1, Relaxed);
        });
        assert!(left.unwrap() <= 2);
        assert_eq!(taken.map(AtomicU64::into_inner), [each.into(), each.into()]);
    }
}

#[test]
fn queues_of_slots() {
    let map = create(&Spec::new(MapType::PerCpuQueue, 0, 16, 64).cpus(2));
    let each = rounds(8, 20_000) as u32;
    let taken = AtomicU64::new(0);
    let write = |number: u32| {
        for count in 0..each {
            let program = map.on_cpu(count % 2).unwrap();
            program.push(&sealed(number, count), BPF_EXIST).unwrap();
            if count % 6 == 5 {
                map.drain(|_, value| {
                    assert!(opened(value).0 < 2);
                    taken.fetch_add(1, Relaxed);
                })
                .unwrap();
            }
        }
    };
    race(write, || assert!(map.len() <= 128));
    let left = map.drain(|_, _| {}).unwrap();
    assert!(taken.into_inner() + left <= u64::from(2 * each));
    assert!(map.is_empty());
}

#[test]
fn records_of_threads_that_ended_are_used_again() {
    // More threads than a map has records under Miri.
    let map = create(&Spec::new(MapType::Hash, 4, 8, 4));
    for _ in 0..rounds(20, 3000) {
        thread::scope(|scope| {
            scope.spawn(|| map.inc(&[0; 4], 1, BPF_ANY).unwrap());
        });
    }
    let mut value = [0; 8];
    map.lookup(&[0; 4], &mut value, 0).unwrap();
    assert_eq!(u64::from_ne_bytes(value), rounds(20, 3000) as u64);
}
