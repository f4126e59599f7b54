//! Queues and stacks, and those of each CPU slot, against a `VecDeque`.

use crate::{Random, create, errno, rounds};
use std::collections::VecDeque;
use usermap::abi::{BPF_EXIST, cpu_flags, errno::*};
use usermap::{MapType, Spec};

fn play(kind: MapType, size: u32, entries: u32, seed: u64, steps: usize) {
    let map = create(&Spec::new(kind, 0, size, entries).cpus(2));
    let rings = if kind.is_per_cpu() { 2 } else { 1 };
    let mut model = vec![VecDeque::<Vec<u8>>::new(); rings];
    let mut random = Random(seed);
    let mut value = vec![0; size as usize];
    for step in 0..steps {
        let ring = random.below(rings);
        let flags = if kind.is_per_cpu() { cpu_flags(ring as u32) } else { 0 };
        let held = &mut model[ring];
        match random.below(6) {
            choice @ 0..=2 => {
                let fresh = random.bytes(size as usize);
                let full = held.len() == entries as usize;
                let replace = choice == 0;
                let done = map.push(&fresh, flags | if replace { BPF_EXIST } else { 0 });
                assert_eq!(errno(done), if full && !replace { E2BIG } else { 0 }, "step {step}");
                if full && replace {
                    held.pop_front();
                }
                if !full || replace {
                    held.push_back(fresh);
                }
            }
            3 | 4 => {
                let expected = if kind.is_lifo() { held.pop_back() } else { held.pop_front() };
                let done = map.pop(&mut value, flags).is_ok();
                assert_eq!(done.then_some(&value), expected.as_ref(), "step {step}");
            }
            _ => {
                let expected = if kind.is_lifo() { held.back() } else { held.front() };
                let done = map.peek(&mut value, flags).is_ok();
                assert_eq!(done.then_some(&value), expected, "step {step}");
            }
        }
        assert_eq!(map.len(), model.iter().map(|held| held.len() as u64).sum());
        if kind.is_per_cpu() {
            assert_eq!(map.len_on(ring as u32).unwrap(), model[ring].len() as u64);
        }
    }
    let mut drained = vec![VecDeque::new(); rings];
    let count = map.drain(|ring, value| match kind.is_lifo() {
        true => drained[ring as usize].push_front(value.to_vec()),
        false => drained[ring as usize].push_back(value.to_vec()),
    });
    assert_eq!(count.unwrap(), model.iter().map(|held| held.len() as u64).sum());
    assert_eq!(drained, model);
    assert!(map.is_empty());
}

#[test]
fn all_kinds() {
    let kinds = MapType::ALL.into_iter().filter(|kind| kind.is_ring());
    for (number, kind) in kinds.enumerate() {
        for (size, entries) in [(20, 3), (5, 1), (8, 4)].into_iter().take(rounds(1, 3)) {
            play(kind, size, entries, number as u64 * 3 + u64::from(entries), rounds(16, 5000));
        }
    }
}

#[test]
fn as_map_functions() {
    let map = create(&Spec::new(MapType::Queue, 0, 4, 2));
    map.update(&[], &[1; 4], 0).unwrap();
    map.update(&[], &[2; 4], 0).unwrap();
    assert_eq!(errno(map.update(&[], &[3; 4], 0)), E2BIG);
    let mut value = [0; 4];
    map.lookup(&[], &mut value, 0).unwrap();
    assert_eq!((value, map.len()), ([1; 4], 2));
    map.lookup_and_delete(&[], &mut value, 0).unwrap();
    assert_eq!((value, map.clear().unwrap()), ([1; 4], 1));
    assert_eq!(errno(map.pop(&mut value, 0)), ENOENT);
    assert_eq!(errno(map.delete(&[])), EINVAL);
    assert_eq!(errno(map.get_next_key(None, &mut [])), EINVAL);
    assert_eq!(errno(map.for_each(|_, _| true)), EINVAL);
    assert_eq!(errno(map.lookup_batch(None, &mut [], &mut [], 0).result), ENOTSUPP);

    let map = create(&Spec::new(MapType::PerCpuStack, 0, 4, 2).cpus(2));
    assert_eq!(errno(map.push(&[0; 4], cpu_flags(2))), ERANGE);
    map.push(&[7; 4], 0).unwrap();
    let program = map.on_cpu(1).unwrap();
    program.push(&[8; 4], 0).unwrap();
    program.peek(&mut value).unwrap();
    assert_eq!(value, [8; 4]);
    program.pop(&mut value).unwrap();
    assert_eq!((value, map.clear().is_ok()), ([8; 4], true));
}
