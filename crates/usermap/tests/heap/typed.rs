//! The typed maps.

use crate::{create, errno, rounds};
use std::collections::BTreeMap;
use usermap::abi::{errno::*, map_flags};
use usermap::{Array, HashMap, PerCpuArray, PerCpuHashMap, PerCpuQueue, PerCpuStack, Queue, Stack};

#[test]
fn hash_map() {
    let map = HashMap::<u64, [u32; 3]>::create(12).unwrap();
    for key in 0..12 {
        map.insert_new(&key, &[key as u32; 3]).unwrap();
    }
    assert_eq!(errno(map.insert_new(&0, &[0; 3])), EEXIST);
    assert_eq!(errno(map.insert(&12, &[0; 3])), E2BIG);
    assert_eq!(errno(map.replace(&12, &[0; 3])), ENOENT);
    map.replace(&3, &[33; 3]).unwrap();
    assert_eq!((map.get(&3).unwrap(), map.get(&12).unwrap()), (Some([33; 3]), None));
    let mut values = [None; 4];
    map.get_many(&[1, 99, 3, 11], &mut values).unwrap();
    assert_eq!(values, [Some([1; 3]), None, Some([33; 3]), Some([11; 3])]);
    assert_eq!(errno(map.get_many(&[1], &mut values)), EINVAL);

    let all: BTreeMap<u64, [u32; 3]> = map.iter().map(Result::unwrap).collect();
    assert_eq!((all.len(), all[&3], all[&4]), (12, [33; 3], [4; 3]));
    assert_eq!(map.keys().map(Result::unwrap).sum::<u64>(), 66);
    assert_eq!(map.values().count(), 12);
    assert_eq!(map.retain(|key, _| key % 2 == 0).unwrap(), 6);
    assert_eq!(map.remove(&4).unwrap(), Some([4; 3]));
    assert_eq!(map.remove(&4).unwrap(), None);
    assert!(map.delete(&6).unwrap() && !map.delete(&6).unwrap());
    assert!(map.contains_key(&2).unwrap());

    let value = map.get_ref(2).unwrap().unwrap();
    value.store(&[1, 2, 3]).unwrap();
    assert_eq!(value.load().unwrap(), [1, 2, 3]);
    assert_eq!(map.clear().unwrap(), 4);
    assert_eq!(errno(value.load()), ENOENT);
}

/// Batches of every length take other steps in a large map, and fetch entries of each size otherwise.
#[test]
fn batches_of_a_large_map() {
    fn check<const K: usize, const V: usize>(flags: u32) {
        let max_entries = rounds(300, 200_000) as u32;
        let spec = HashMap::<[u8; K], [u8; V]>::spec(max_entries).flags(flags);
        let map = HashMap::<[u8; K], [u8; V]>::from_map(create(&spec)).unwrap();
        let key = |number: u8| {
            let mut key = [7; K];
            key[K - 1] = number;
            key
        };
        let present = rounds(12, 200) as u8;
        for number in (0..present).step_by(2) {
            map.insert(&key(number), &[number; V]).unwrap();
        }
        for count in [0, 1, 16, 17, 32, 33, 64, 65, 150, 250].into_iter().take(rounds(4, 10)) {
            let keys: Vec<_> = (0..count).map(key).collect();
            let mut values = vec![Some([99; V]); keys.len()];
            map.get_many(&keys, &mut values).unwrap();
            for (number, value) in (0..count).zip(values) {
                let there = number % 2 == 0 && number < present;
                assert_eq!(value, there.then_some([number; V]), "{number} of {count}");
                assert_eq!(map.get(&key(number)).unwrap(), value);
            }
        }
    }
    check::<4, 8>(0);
    check::<16, 64>(0);
    check::<1, 1>(0);
    check::<5, 27>(0);
    check::<9, 600>(0);
    check::<4, 8>(map_flags::ZERO_SEED);
}

#[test]
fn handles_with_one_right() {
    let map = HashMap::<u32, u64>::create(4).unwrap();
    map.insert(&1, &10).unwrap();
    let with = |flags| HashMap::<u32, u64>::from_map(map.map().reopen(flags).unwrap()).unwrap();
    let (reader, writer) = (with(map_flags::RDONLY), with(map_flags::WRONLY));
    assert_eq!(reader.get(&1).unwrap(), Some(10));
    assert_eq!(errno(reader.insert(&1, &11)), EPERM);
    writer.insert(&1, &11).unwrap();
    assert_eq!(errno(writer.get(&1)), EPERM);
    assert_eq!(errno(writer.clone().get(&2)), EPERM);
    assert_eq!(errno(writer.get_many(&[1], &mut [None])), EPERM);
    assert_eq!(reader.clone().get(&1).unwrap(), Some(11));
}

#[test]
fn increments() {
    let map = HashMap::<u16, i32>::create(4).unwrap();
    map.inc(&1, -5).unwrap();
    assert_eq!(map.inc_and_return(&1, 2).unwrap(), -3);
    assert_eq!(map.get_ref(1).unwrap().unwrap().fetch_add(10).unwrap(), -3);
    assert_eq!(map.get(&1).unwrap(), Some(7));

    let array = Array::<u8>::create(3).unwrap();
    array.set(2, &250).unwrap();
    assert_eq!(array.inc_and_return(2, 10).unwrap(), 4);
    assert_eq!(array.get_ref(2).unwrap().fetch_add(1).unwrap(), 4);
    assert_eq!(array.iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 0, 5]);
    assert_eq!(errno(array.inc(3, 1)), E2BIG);
    assert_eq!(errno(array.get(3)), ENOENT);
}

#[test]
fn per_cpu() {
    let spec = PerCpuHashMap::<u32, i64>::spec(4).cpus(3);
    let map = PerCpuHashMap::<u32, i64>::from_map(crate::create(&spec)).unwrap();
    map.insert(&1, &[5, -2, 9]).unwrap();
    let values = map.get(&1).unwrap().unwrap();
    assert_eq!((values.sum(), values.min(), values.max()), (12, Some(-2), Some(9)));
    map.inc(&1, 4).unwrap();
    assert_eq!(map.sum(&1).unwrap(), Some(16));
    assert_eq!(errno(map.insert(&1, &[5])), EINVAL);
    map.insert_own(&2, &7).unwrap();
    assert_eq!(map.sum(&2).unwrap(), Some(7));
    let entries: BTreeMap<_, _> =
        map.entries().unwrap().into_iter().map(|(key, values)| (key, values.sum())).collect();
    assert_eq!(entries, BTreeMap::from([(1, 16), (2, 7)]));
    assert_eq!(map.remove(&1).unwrap().unwrap().sum(), 16);
    assert_eq!((map.remove(&1).unwrap(), map.get(&1).unwrap()), (None, None));

    let spec = PerCpuArray::<[u8; 12]>::spec(2).cpus(2);
    let array = PerCpuArray::<[u8; 12]>::from_map(crate::create(&spec)).unwrap();
    array.set(1, &[[1; 12], [2; 12]]).unwrap();
    array.set_own(0, &[3; 12]).unwrap();
    let all: Vec<_> = array.iter().map(|values| values.unwrap().to_vec()).collect();
    assert!(all[0].contains(&[3; 12]) && all[0].contains(&[0; 12]));
    assert_eq!(all[1], [[1; 12], [2; 12]]);
    let counters = PerCpuArray::<u16>::create(2).unwrap();
    counters.inc(0, u16::MAX).unwrap();
    counters.inc(0, 2).unwrap();
    assert_eq!(counters.sum(0).unwrap(), 1);
}

#[test]
fn rings() {
    let queue = Queue::<[u8; 3]>::create(2).unwrap();
    queue.push(&[1; 3]).unwrap();
    queue.push(&[2; 3]).unwrap();
    assert_eq!(errno(queue.push(&[3; 3])), E2BIG);
    queue.push_replacing(&[3; 3]).unwrap();
    assert_eq!(queue.peek().unwrap(), Some([2; 3]));
    assert_eq!((queue.pop().unwrap(), queue.len()), (Some([2; 3]), 1));

    let stack = Stack::<u128>::create(2).unwrap();
    stack.push(&1).unwrap();
    stack.push(&u128::MAX).unwrap();
    assert_eq!(stack.pop().unwrap(), Some(u128::MAX));

    let spec = PerCpuQueue::<u32>::spec(2).cpus(2);
    let queue = PerCpuQueue::<u32>::from_map(crate::create(&spec)).unwrap();
    queue.push_on(1, &1).unwrap();
    queue.push_on(1, &2).unwrap();
    assert_eq!((queue.peek_on(1).unwrap(), queue.pop_on(0).unwrap()), (Some(1), None));
    assert_eq!(queue.len_on(1).unwrap(), 2);
    let mut all = Vec::new();
    queue.drain(|cpu, value| all.push((cpu, value))).unwrap();
    assert_eq!(all, [(1, 1), (1, 2)]);

    let spec = PerCpuStack::<u32>::spec(2).cpus(2);
    let stack = PerCpuStack::<u32>::from_map(crate::create(&spec)).unwrap();
    stack.push(&5).unwrap();
    assert_eq!((stack.len(), stack.clear().unwrap()), (1, 1));
    assert_eq!(stack.pop().unwrap(), None);
    let wrong = Queue::<u32>::from_map(stack.map().clone());
    assert!(matches!(wrong, Err(usermap::Error::Differs { field: "map_type", .. })));
}
