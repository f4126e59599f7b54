//! Arrays against a `Vec`.

use crate::{Random, create, errno, rounds};
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, errno::*};
use usermap::{Map, MapType, Spec};

fn key(index: usize) -> [u8; 4] {
    (index as u32).to_ne_bytes()
}

fn check_whole(map: &Map, model: &[Vec<u8>]) {
    assert_eq!(map.len(), model.len() as u64);
    let mut seen = Vec::new();
    map.for_each(|key, value| {
        assert_eq!(key, self::key(seen.len()));
        seen.push(value.to_vec());
        true
    })
    .unwrap();
    assert_eq!(seen, model);

    let size = map.value_bytes();
    let (mut keys, mut values) = ([0; 12], vec![0; 3 * size]);
    let (mut from, mut batched) = (None, Vec::new());
    loop {
        let batch = map.lookup_batch(from, &mut keys, &mut values, 0);
        batched.extend(values.chunks(size).take(batch.count as usize).map(<[u8]>::to_vec));
        from = batch.advance().unwrap();
        if from.is_none() {
            break;
        }
    }
    assert_eq!(batched, model);

    let mut walked = 0;
    let (mut current, mut next) = (None, [0; 4]);
    while map.get_next_key(current.as_ref().map(<[u8; 4]>::as_slice), &mut next).is_ok() {
        assert_eq!(next, key(walked));
        walked += 1;
        current = Some(next);
    }
    assert_eq!(walked, model.len());
}

fn play(spec: &Spec, seed: u64, steps: usize) {
    let map = create(spec);
    let (entries, size) = (spec.max_entries as usize, spec.value_size as usize);
    let per_cpu = spec.map_type.is_per_cpu();
    let mut random = Random(seed);
    let mut model = vec![vec![0; map.value_bytes()]; entries];
    let fresh = |random: &mut Random| {
        let mut value = random.bytes(map.value_bytes());
        if per_cpu {
            value.chunks_mut(size.next_multiple_of(8)).for_each(|slot| slot[size..].fill(0));
        }
        value
    };
    for step in 0..steps {
        let index = random.below(entries);
        match random.below(5) {
            0 => {
                let value = fresh(&mut random);
                let flags = [BPF_ANY, BPF_EXIST][random.below(2)];
                map.update(&key(index), &value, flags).unwrap();
                model[index] = value;
            }
            1 => {
                // One slot's value, as a program sets it.
                let cpu = random.below(map.cpus() as usize);
                let value = random.bytes(size);
                let program = map.on_cpu(cpu as u32).unwrap();
                program.update(&key(index), &value, BPF_ANY).unwrap();
                let start = cpu * size.next_multiple_of(8);
                model[index][start..start + size].copy_from_slice(&value);
            }
            2 if matches!(size, 1 | 2 | 4 | 8) => {
                let cpu = random.below(map.cpus() as usize);
                let number = &mut model[index][cpu * 8..][..size];
                let mut wide = [0; 8];
                wide[..size].copy_from_slice(number);
                let sum = u64::from_le_bytes(wide).wrapping_sub(3);
                number.copy_from_slice(&sum.to_le_bytes()[..size]);
                let program = map.on_cpu(cpu as u32).unwrap();
                let delta = 3_u64.wrapping_neg();
                let found = program.inc_and_return(&key(index), delta, BPF_ANY).unwrap();
                assert_eq!(found.to_le_bytes()[..size], sum.to_le_bytes()[..size], "step {step}");
            }
            _ => {
                let mut value = vec![0; map.value_bytes()];
                map.lookup(&key(index), &mut value, 0).unwrap();
                assert_eq!(value, model[index], "step {step}");
            }
        }
    }
    check_whole(&map, &model);

    let value = fresh(&mut random);
    assert_eq!(map.update_range(&key(1), &key(3), &value).unwrap(), 3);
    model[1..4].fill(value.clone());
    assert_eq!(map.delete_range(&key(2), &key(2)).unwrap(), 1);
    model[2] = vec![0; map.value_bytes()];
    let mut seen = Vec::new();
    let visits = map.lookup_range(&key(1), &key(3), |_, value| {
        seen.push(value.to_vec());
        true
    });
    assert_eq!((visits.unwrap(), seen.as_slice()), (3, &model[1..4]));
    let batch = map.update_batch(&[key(0), key(4)].concat(), &value.repeat(2), BPF_ANY);
    assert_eq!((batch.count, errno(batch.result)), (2, 0));
    (model[0], model[4]) = (value.clone(), value);
    check_whole(&map, &model);
    let zeroed = map.retain(|key, _| key == self::key(1)).unwrap();
    assert_eq!(zeroed, entries as u64 - 1);
    let kept = model[1].clone();
    model.fill(vec![0; map.value_bytes()]);
    model[1] = kept;
    check_whole(&map, &model);
    assert_eq!(map.clear().unwrap(), entries as u64);
    model.fill(vec![0; map.value_bytes()]);
    check_whole(&map, &model);
}

#[test]
fn plain() {
    for (seed, size) in [4, 20, 8, 16, 1, 40].into_iter().take(rounds(2, 6)).enumerate() {
        let spec = Spec::new(MapType::Array, 4, size, 7);
        play(&spec, seed as u64 + 1, rounds(12, 4000));
    }
}

#[test]
fn per_cpu() {
    let sizes = [(20, 2), (4, 3), (16, 2), (8, 2), (8, 1)].into_iter().take(rounds(2, 5));
    for (seed, (size, cpus)) in sizes.enumerate() {
        let spec = Spec::new(MapType::PerCpuArray, 4, size, 6).cpus(cpus);
        play(&spec, seed as u64 + 1, rounds(12, 4000));
    }
}

#[test]
fn spin_locks_stay_in_place() {
    let mut spec = Spec::new(MapType::Array, 4, 20, 2);
    spec.spin_lock = Some(4);
    let map = create(&spec);
    map.update(&key(1), &[0xff; 20], usermap::abi::BPF_F_LOCK).unwrap();
    let mut value = [1; 20];
    map.lookup(&key(1), &mut value, usermap::abi::BPF_F_LOCK).unwrap();
    assert_eq!((value[..4].to_vec(), value[4..8].to_vec()), (vec![0xff; 4], vec![0; 4]));
    assert_eq!(value[8..], [0xff; 12]);
}

#[test]
fn refusals() {
    let map = create(&Spec::new(MapType::Array, 4, 8, 4));
    assert_eq!(errno(map.update(&key(4), &[0; 8], 0)), E2BIG);
    assert_eq!(errno(map.update(&key(0), &[0; 8], BPF_NOEXIST)), EEXIST);
    assert_eq!(errno(map.lookup(&key(4), &mut [0; 8], 0)), ENOENT);
    assert_eq!(errno(map.delete(&key(0))), EINVAL);
    assert_eq!(errno(map.lookup_and_delete(&key(0), &mut [0; 8], 0)), ENOTSUPP);
    assert_eq!(errno(map.inc(&key(4), 1, 0)), E2BIG);
    assert_eq!(errno(map.inc(&key(0), 1, BPF_NOEXIST)), EEXIST);
    assert_eq!(map.lookup_range(&key(3), &key(9), |_, _| true).unwrap(), 1);
    assert_eq!(map.lookup_range(&key(4), &key(9), |_, _| true).unwrap(), 0);
    assert_eq!(errno(map.push(&[0; 8], 0)), EINVAL);
}
