//! Hashes against a `BTreeMap`.

use crate::{Random, chained, create, errno, keys_of_one_bucket, rounds};
use std::collections::BTreeMap;
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, errno::*, map_flags};
use usermap::{Map, MapType, Spec, Token};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn collect(visit: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]))) -> Model {
    let mut model = Model::new();
    visit(&mut |key, value| {
        let before = model.insert(key.to_vec(), value.to_vec());
        assert_eq!(before, None, "a key was met twice");
    });
    model
}

/// All entries by batches, which start small and grow when a bucket has no room.
fn by_batches(map: &Map, remove: bool) -> Model {
    let (key_size, value_size) = (map.spec().key_size as usize, map.value_bytes());
    let mut room = 2;
    let mut from: Option<Token> = None;
    collect(|visit| {
        loop {
            let (mut keys, mut values) = (vec![0; key_size * room], vec![0; value_size * room]);
            let batch = match remove {
                false => map.lookup_batch(from, &mut keys, &mut values, 0),
                true => map.lookup_and_delete_batch(from, &mut keys, &mut values, 0),
            };
            let entries = keys.chunks(key_size).zip(values.chunks(value_size));
            for (key, value) in entries.take(batch.count as usize) {
                visit(key, value);
            }
            if batch.result.as_ref().is_err_and(|error| error.errno() == ENOSPC) {
                assert_eq!(batch.count, 0);
                room *= 2;
                continue;
            }
            from = batch.advance().unwrap();
            if from.is_none() {
                return;
            }
        }
    })
}

fn by_next_key(map: &Map) -> Model {
    let mut key: Option<Vec<u8>> = None;
    let mut next = vec![0; map.spec().key_size as usize];
    let mut value = vec![0; map.value_bytes()];
    collect(|visit| {
        while map.get_next_key(key.as_deref(), &mut next).is_ok() {
            map.lookup(&next, &mut value, 0).unwrap();
            visit(&next, &value);
            key = Some(next.clone());
        }
    })
}

fn check_whole(map: &Map, model: &Model) {
    assert_eq!(map.len(), model.len() as u64);
    assert_eq!(map.is_empty(), model.is_empty());
    let visited = collect(|visit| {
        map.for_each(|key, value| {
            visit(key, value);
            true
        })
        .unwrap();
    });
    assert_eq!(&visited, model);
    assert_eq!(&by_next_key(map), model);
    assert_eq!(&by_batches(map, false), model);
}

fn play(spec: &Spec, keys: &[Vec<u8>], seed: u64, steps: usize) {
    let map = create(spec);
    let (mut model, mut random) = (Model::new(), Random(seed));
    let room = spec.max_entries as usize;
    let size = spec.value_size as usize;
    let fresh = |random: &mut Random| {
        let mut value = random.bytes(map.value_bytes());
        if spec.map_type.is_per_cpu() {
            // What the padding of a slot holds is nobody's business.
            value.chunks_mut(size.next_multiple_of(8)).for_each(|slot| slot[size..].fill(0));
        }
        value
    };
    for step in 0..steps {
        let key = &keys[random.below(keys.len())];
        let there = model.contains_key(key);
        match random.below(9) {
            choice @ 0..=3 => {
                let flags = [BPF_ANY, BPF_ANY, BPF_NOEXIST, BPF_EXIST][choice];
                let value = fresh(&mut random);
                let expected = match there {
                    true if flags == BPF_NOEXIST => EEXIST,
                    false if flags == BPF_EXIST => ENOENT,
                    false if model.len() == room => E2BIG,
                    _ => 0,
                };
                assert_eq!(errno(map.update(key, &value, flags)), expected, "step {step}");
                if expected == 0 {
                    model.insert(key.clone(), value);
                }
            }
            4 => {
                let expected = if there { 0 } else { ENOENT };
                assert_eq!(errno(map.delete(key)), expected, "step {step}");
                model.remove(key);
            }
            5 => {
                let mut value = vec![0; map.value_bytes()];
                let found = map.lookup_and_delete(key, &mut value, 0).is_ok();
                assert_eq!(found.then_some(value), model.remove(key), "step {step}");
            }
            6 if matches!(size, 1 | 2 | 4 | 8) => {
                let cpu = random.below(map.cpus() as usize);
                let mut value = match model.get(key) {
                    Some(value) => value.clone(),
                    None => vec![0; map.value_bytes()],
                };
                let number = &mut value[cpu * 8..][..size];
                let mut wide = [0; 8];
                wide[..size].copy_from_slice(number);
                let sum = u64::from_le_bytes(wide).wrapping_add(0x0102_0304_0506_0708);
                number.copy_from_slice(&sum.to_le_bytes()[..size]);
                let flags = if random.below(2) == 0 { BPF_ANY } else { BPF_EXIST };
                let program = map.on_cpu(cpu as u32).unwrap();
                let done = program.inc_and_return(key, 0x0102_0304_0506_0708, flags);
                let expected = match there {
                    false if flags == BPF_EXIST => ENOENT,
                    false if model.len() == room => E2BIG,
                    _ => 0,
                };
                assert_eq!(errno(done), expected, "step {step}");
                if expected == 0 {
                    model.insert(key.clone(), value);
                }
            }
            _ => {
                let mut value = vec![0; map.value_bytes()];
                let found = map.lookup(key, &mut value, 0).is_ok();
                assert_eq!(found.then_some(&value), model.get(key), "step {step}");
            }
        }
        if step == steps / 2 {
            check_whole(&map, &model);
        }
    }
    check_whole(&map, &model);
    ranges(&map, &mut model, keys);
    assert_eq!(by_batches(&map, true), model);
    check_whole(&map, &Model::new());
}

/// Range functions, `retain` and batches by keys, on what the play left.
fn ranges(map: &Map, model: &mut Model, keys: &[Vec<u8>]) {
    let (first, last) = (keys.iter().min().unwrap(), keys.iter().max().unwrap());
    let middle = &keys[keys.len() / 2];
    let mut seen = Vec::new();
    let visits = map.lookup_range(first, middle, |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        true
    });
    assert_eq!(visits.unwrap(), seen.len() as u64);
    let pairs = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    assert_eq!(seen, model.range(first.clone()..=middle.clone()).map(pairs).collect::<Vec<_>>());

    let value = vec![0; map.value_bytes()];
    let inside: Vec<_> = model.range(middle.clone()..=last.clone()).map(|pair| pair.0).collect();
    assert_eq!(map.update_range(middle, last, &value).unwrap(), inside.len() as u64);
    model.range_mut(middle.clone()..=last.clone()).for_each(|pair| pair.1.clone_from(&value));
    check_whole(map, model);

    let before = model.len();
    model.retain(|key, _| key.iter().fold(0, |sum, byte| sum ^ byte) & 1 == 0);
    let kept = map.retain(|key, _| key.iter().fold(0, |sum, byte| sum ^ byte) & 1 == 0);
    assert_eq!(kept.unwrap(), (before - model.len()) as u64);

    let gone = map.delete_range(first, first).unwrap();
    assert_eq!(gone == 1, model.remove(first).is_some());
    let some: Vec<u8> = model.keys().take(3).flatten().copied().collect();
    let count = model.len().min(3);
    let batch = map.delete_batch(&some, 0);
    assert_eq!((batch.count as usize, errno(batch.result)), (count, 0));
    let batch = map.delete_batch(&some, 0);
    assert_eq!(errno(batch.result), if count == 0 { 0 } else { ENOENT });
    let batch = map.update_batch(&some, &value.repeat(count), BPF_ANY);
    assert_eq!((batch.count as usize, errno(batch.result)), (count, 0));
    for key in some.chunks(map.spec().key_size as usize) {
        model.insert(key.to_vec(), value.clone());
    }
    check_whole(map, model);
}

fn numbered(count: u32, size: usize) -> Vec<Vec<u8>> {
    let key = |number: u32| {
        let bytes: Vec<u8> = number.wrapping_mul(0x9e37_79b1).to_le_bytes().repeat(5);
        bytes[..size].to_vec()
    };
    (0..count).map(key).collect()
}

#[test]
fn sizes_and_flags() {
    for (number, (key, value, flags)) in [
        (4, 8, 0),
        (5, 20, map_flags::ZERO_SEED),
        (16, 16, 0),
        (8, 4, map_flags::NO_PREALLOC),
        (20, 1, 0),
        (3, 2, 0),
    ]
    .into_iter()
    .take(rounds(2, 6))
    .enumerate()
    {
        let spec = Spec::new(MapType::Hash, key, value, 10).flags(flags);
        let keys = numbered(14, key as usize);
        play(&spec, &keys, number as u64 + 1, rounds(20, 4000));
    }
}

#[test]
fn per_cpu() {
    for (number, (key, value, cpus)) in
        [(6, 16, 2), (8, 4, 3), (4, 8, 2), (4, 24, 1)].into_iter().take(rounds(1, 4)).enumerate()
    {
        let spec = Spec::new(MapType::PerCpuHash, key, value, 8).cpus(cpus);
        let keys = numbered(11, key as usize);
        play(&spec, &keys, number as u64 + 1, rounds(20, 4000));
    }
}

#[test]
fn chains_of_nodes() {
    let keys: Vec<_> = keys_of_one_bucket().iter().map(|key| key.to_ne_bytes().to_vec()).collect();
    for seed in 1..=rounds(1, 8) as u64 {
        play(&chained(12), &keys, seed, rounds(60, 4000));
    }
    let per_cpu = Spec::new(MapType::PerCpuHash, 4, 16, 26).cpus(2).flags(map_flags::ZERO_SEED);
    play(&per_cpu, &keys, 9, rounds(40, 4000));
}

#[test]
fn many_buckets() {
    let spec = Spec::new(MapType::Hash, 4, 8, rounds(60, 5000) as u32);
    let keys = numbered(spec.max_entries * 5 / 4, 4);
    play(&spec, &keys, 3, rounds(80, 30_000));
}

#[test]
fn spin_locks_stay_hidden() {
    let mut spec = Spec::new(MapType::Hash, 4, 16, 4);
    spec.spin_lock = Some(4);
    let map = create(&spec);
    map.update(&[1; 4], &[0xff; 16], usermap::abi::BPF_F_LOCK).unwrap();
    let mut value = [0; 16];
    map.lookup(&[1; 4], &mut value, usermap::abi::BPF_F_LOCK).unwrap();
    assert_eq!(value[..4], [0xff; 4]);
    assert_eq!(value[4..8], [0; 4]);
    assert_eq!(value[8..], [0xff; 8]);
    map.lookup_and_delete(&[1; 4], &mut value, 0).unwrap();
    assert_eq!(value[4..8], [0; 4]);
}

#[test]
fn refusals() {
    let map = create(&Spec::new(MapType::Hash, 4, 12, 4));
    assert_eq!(errno(map.update(&[0; 3], &[0; 12], 0)), EINVAL);
    assert_eq!(errno(map.update(&[0; 4], &[0; 11], 0)), EINVAL);
    assert_eq!(errno(map.update(&[0; 4], &[0; 12], 3)), EINVAL);
    assert_eq!(errno(map.inc(&[0; 4], 1, 0)), EINVAL, "no number has 12 bytes");
    assert_eq!(errno(map.push(&[0; 12], 0)), EINVAL);
    assert_eq!(errno(map.pop(&mut [0; 12], 0)), EINVAL);
    assert_eq!(errno(map.drain(|_, _| {})), EINVAL);
    assert_eq!(errno(map.get_next_key(None, &mut [0; 4])), ENOENT);
    let reader = map.reopen(map_flags::RDONLY).unwrap();
    assert_eq!(errno(reader.update(&[0; 4], &[0; 12], 0)), EPERM);
    let writer = map.reopen(map_flags::WRONLY).unwrap();
    assert_eq!(errno(writer.lookup(&[0; 4], &mut [0; 12], 0)), EPERM);
    map.freeze().unwrap();
    assert_eq!(errno(map.update(&[0; 4], &[0; 12], 0)), EPERM);
    assert!(map.is_frozen() && map.info().frozen);
}

/// Replacements move entries about in a bucket, so the place that insertions leave free may be any.
#[test]
fn buckets_keep_a_place_for_replacements() {
    // Miri takes a minute for the rounds that fill buckets up.
    let (max_entries, rounds): (u32, u32) = if cfg!(miri) { (60, 60) } else { (1_000, 40_000) };
    let map = Map::create_anonymous(&Spec::new(MapType::Hash, 4, 16, max_entries)).unwrap();
    let value = [7; 16];
    for key in 0..max_entries {
        map.update(&key.to_ne_bytes(), &value, 0).unwrap();
    }
    let (mut next, mut state) = (max_entries, 1_u32);
    for _ in 0..rounds {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = next - max_entries + (state >> 8) % max_entries;
        map.update(&key.to_ne_bytes(), &value, 0).unwrap();
        if state & 1 << 31 != 0 {
            map.delete(&(next - max_entries).to_ne_bytes()).unwrap();
            map.update(&next.to_ne_bytes(), &value, 0).unwrap();
            next += 1;
        }
    }
    assert_eq!(map.len(), max_entries.into());
    assert!(map.check().unwrap().findings.is_empty());
}
