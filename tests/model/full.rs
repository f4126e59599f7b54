//! A map with max_entries N takes N entries, whatever their keys are, and refuses the N+1st with
//! E2BIG; and so it stays however often entries come and go.

use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, cpu_flags, errno::*, map_flags};
use usermap::{Map, MapType, Spec};
use usermap_tests::{keys, rng::Rng};

fn errno(result: usermap::Result<()>) -> i32 {
    result.err().map_or(0, |error| error.errno())
}

/// Fills a hash with the first keys of `keys` and tries the rest of them.
fn fill(spec: &Spec, family: &str, keys: &[Vec<u8>]) {
    let max = spec.max_entries as usize;
    let map = Map::create_anonymous(spec).expect("a map");
    let value = |i: usize| {
        let mut value = vec![0; map.value_bytes()];
        value[..8].copy_from_slice(&(i as u64).to_le_bytes());
        value
    };
    let context = format!("{family}, {spec:?}");
    let (inside, outside) = keys.split_at(max);
    let mut rng = Rng::new(1);
    for (i, key) in inside.iter().enumerate() {
        let flags = *rng.pick(&[BPF_ANY, BPF_NOEXIST]);
        assert_eq!(errno(map.update(key, &value(i), flags)), 0, "entry {i} of {context}");
    }
    assert_eq!(map.len(), max as u64, "{context}");
    let no_room = |map: &Map| {
        for key in outside {
            assert_eq!(errno(map.update(key, &value(0), BPF_ANY)), E2BIG, "{context}");
            assert_eq!(errno(map.update(key, &value(0), BPF_NOEXIST)), E2BIG, "{context}");
            assert_eq!(errno(map.update(key, &value(0), BPF_EXIST)), ENOENT, "{context}");
        }
    };
    no_room(&map);
    let mut found = value(0);
    for (i, key) in inside.iter().enumerate() {
        map.lookup(key, &mut found, 0).unwrap_or_else(|error| panic!("{error}: {context}"));
        assert_eq!(found, value(i), "{context}");
        // A full map takes new values for the keys that it has.
        assert_eq!(errno(map.update(key, &value(i + 1), BPF_ANY)), 0, "{context}");
        assert_eq!(errno(map.update(key, &value(i), BPF_EXIST)), 0, "{context}");
    }
    // One out, another in, each time in another place.
    for _ in 0..2 * max.min(2000) {
        let (out, new) = (rng.pick(inside), rng.pick(outside));
        let taken = match rng.one_in(2) {
            true => map.delete(out),
            false => map.lookup_and_delete(out, &mut found, 0),
        };
        assert_eq!(errno(taken), 0, "{context}");
        assert_eq!(errno(map.update(new, &value(0), BPF_NOEXIST)), 0, "{context}");
        assert_eq!(errno(map.update(out, &value(0), BPF_ANY)), E2BIG, "{context}");
        assert_eq!(errno(map.delete(new)), 0, "{context}");
        assert_eq!(errno(map.update(out, &value(0), BPF_ANY)), 0, "{context}");
    }
    no_room(&map);
    assert_eq!(map.clear().expect("cleared"), max as u64, "{context}");
    for key in &keys[keys.len() - max..] {
        assert_eq!(errno(map.update(key, &value(0), BPF_NOEXIST)), 0, "{context}");
    }
    assert_eq!(errno(map.update(&keys[0], &value(0), BPF_ANY)), E2BIG, "{context}");
}

fn hashes(kind: MapType) {
    let flags = [0, map_flags::NO_PREALLOC, map_flags::ZERO_SEED];
    for max in [1, 2, 3, 7, 8, 9, 255, 256, 257, 1000] {
        for size in [1, 2, 4, 7, 16, 64] {
            let buckets = (max as u32).next_power_of_two();
            for (family, keys) in keys::adversarial(size, max + 3, buckets) {
                let flags = flags[(max + size) % flags.len()];
                let spec = Spec::new(kind, size as u32, 8, max as u32).flags(flags);
                let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
                fill(&spec, family, &keys);
            }
        }
    }
}

#[test]
fn hash() {
    hashes(MapType::Hash);
}

#[test]
fn percpu_hash() {
    hashes(MapType::PerCpuHash);
}

/// Everything in one bucket of the kernel's order, which the seed makes known.
#[test]
fn one_bucket() {
    let max = 500;
    let families = keys::adversarial(4, max + 3, 1024);
    let (family, keys) =
        families.iter().find(|(name, _)| name.contains("first bucket")).expect("there are such");
    fill(&Spec::new(MapType::Hash, 4, 8, max as u32).flags(map_flags::ZERO_SEED), family, keys);
}

/// A size that takes more than one page of everything.
#[test]
fn larger() {
    for max in [4095, 10_000] {
        for (family, keys) in keys::adversarial(8, max + 3, 1 << 14).into_iter().take(3) {
            fill(&Spec::new(MapType::Hash, 8, 8, max as u32), family, &keys);
        }
    }
}

/// Every increment that creates needs a place too.
#[test]
fn increments() {
    for kind in [MapType::Hash, MapType::PerCpuHash] {
        let map = Map::create_anonymous(&Spec::new(kind, 4, 8, 10)).expect("a map");
        for i in 0..10_u32 {
            assert_eq!(errno(map.inc(&i.to_le_bytes(), 1, BPF_NOEXIST)), 0);
        }
        assert_eq!(errno(map.inc(&10_u32.to_le_bytes(), 1, BPF_ANY)), E2BIG);
        assert_eq!(errno(map.inc(&9_u32.to_le_bytes(), 1, BPF_EXIST)), 0);
        assert_eq!(map.len(), 10);
    }
}

/// An array has all its entries from the beginning, and none after them.
#[test]
fn arrays() {
    for kind in [MapType::Array, MapType::PerCpuArray] {
        for max in [1_u32, 2, 3, 64, 1000] {
            let map = Map::create_anonymous(&Spec::new(kind, 4, 8, max)).expect("a map");
            let mut value = vec![1; map.value_bytes()];
            assert_eq!(map.len(), max.into());
            for i in 0..max {
                assert_eq!(errno(map.lookup(&i.to_le_bytes(), &mut value, 0)), 0);
                assert!(value.iter().all(|byte| *byte == 0));
                assert_eq!(errno(map.update(&i.to_le_bytes(), &value, BPF_NOEXIST)), EEXIST);
            }
            for i in [max, max + 1, u32::MAX] {
                assert_eq!(errno(map.lookup(&i.to_le_bytes(), &mut value, 0)), ENOENT);
                assert_eq!(errno(map.update(&i.to_le_bytes(), &value, BPF_ANY)), E2BIG);
            }
        }
    }
}

/// Queues and stacks hold max_entries (in each slot), also after going round many times.
#[test]
fn rings() {
    let kinds = [MapType::Queue, MapType::Stack, MapType::PerCpuQueue, MapType::PerCpuStack];
    for kind in kinds {
        for max in [1_u32, 2, 3, 7, 8, 9, 100] {
            let spec = Spec::new(kind, 0, 12, max);
            let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
            let map = Map::create_anonymous(&spec).expect("a map");
            for cpu in 0..map.cpus() {
                let flags = if kind.is_per_cpu() { cpu_flags(cpu) } else { 0 };
                let mut value = [0; 12];
                // Start in every place of the ring.
                for shift in 0..max.min(10) + 1 {
                    for i in 0..max {
                        assert_eq!(errno(map.push(&[i as u8; 12], flags)), 0, "{i} of {spec:?}");
                    }
                    assert_eq!(errno(map.push(&[0; 12], flags)), E2BIG, "{spec:?}");
                    assert_eq!(map.len_on(cpu).expect("a slot"), u64::from(max));
                    for i in 0..max {
                        let expected = if kind.is_lifo() { max - 1 - i } else { i };
                        assert_eq!(errno(map.pop(&mut value, flags)), 0, "{spec:?}");
                        assert_eq!(value, [expected as u8; 12], "{spec:?}");
                    }
                    assert_eq!(errno(map.pop(&mut value, flags)), ENOENT, "{spec:?}");
                    if shift > 0 {
                        assert_eq!(errno(map.push(&value, flags)), 0);
                        assert_eq!(errno(map.pop(&mut value, flags)), 0);
                    }
                }
            }
        }
    }
}
