//! Chains and their filters: buckets that overflow all the time, against a map that cannot.

use super::bucket::{LINK, bit_of};
use super::{Hash, Presence, Value};
use crate::map::{Map, View};
use crate::mem::owner::Writer;
use crate::mem::sync::Ordering::Relaxed;
use crate::typed;
use crate::{MapType, Spec, abi::map_flags};
use std::collections::BTreeMap;

/// Entries of the maps here: three times as many as a bucket has places for.
const MAX: u32 = 48;

type Key = [u8; 4];

fn hash(map: &Map) -> Hash<'_> {
    match map.inner.view() {
        View::Hash(hash) => hash,
        _ => unreachable!("it is a hash"),
    }
}

/// So many keys of one bucket.
fn keys(map: &Map, bucket: u32, count: usize) -> Vec<Key> {
    let inside = |key: &Key| hash(map).geometry.hash(key).bucket == bucket;
    (0_u32..).map(u32::to_ne_bytes).filter(inside).take(count).collect()
}

fn specs() -> [Spec; 5] {
    let hash = |value| Spec::new(MapType::Hash, 4, value, MAX);
    let per_cpu = Spec::new(MapType::PerCpuHash, 4, 8, MAX).cpus(2);
    let zero_seed = hash(8).flags(map_flags::ZERO_SEED);
    [hash(8), hash(20), zero_seed, hash(8).flags(map_flags::NO_PREALLOC), per_cpu]
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((self.0 >> 33) as usize) % limit
    }
}

/// A value whose words are all the same number.
fn value(map: &Map, number: u64) -> Vec<u8> {
    number.to_ne_bytes().into_iter().cycle().take(map.value_bytes()).collect()
}

/// The word with the link of a bucket.
fn link(map: &Map, bucket: u32) -> u64 {
    hash(map).head(bucket)[LINK].load(Relaxed)
}

#[test]
fn keys_come_and_go() {
    for (number, spec) in specs().into_iter().enumerate() {
        let map = Map::create_anonymous(&spec).unwrap();
        // Of two buckets, more of each than it has places for, and more than the map takes.
        let keys = [keys(&map, 0, 30), keys(&map, 1, 30)].concat();
        let mut random = Random(number as u64);
        let mut model = BTreeMap::new();
        let mut chained = 0;
        for step in 0..20_000_u64 {
            let key = keys[random.below(keys.len())];
            let (new, full) = (!model.contains_key(&key), model.len() >= MAX as usize);
            // By turns rather growing and rather shrinking.
            let done = match random.below(10) as u64 + step / 500 % 2 * 3 {
                0..6 => map.update(&key, &value(&map, step), 0).is_ok(),
                6 => map.update(&key, &value(&map, step), crate::abi::BPF_NOEXIST).is_ok() || !new,
                _ => {
                    assert_eq!(map.delete(&key).is_ok(), model.remove(&key).is_some());
                    continue;
                }
            };
            assert_eq!(done, !(new && full), "{step}");
            let mut now = vec![0; map.value_bytes()];
            if map.lookup(&key, &mut now, 0).is_ok() {
                model.insert(key, now);
            }
            chained += u32::from(link(&map, 0) != 0);
            if step % 16 == 0 {
                is_as(&map, &keys, &model);
            }
        }
        assert!(chained > 5000, "{chained}");
        assert!(map.clear().is_ok() && (link(&map, 0), link(&map, 1)) == (0, 0));
    }
}

/// That every way of looking finds the same, and the filters have what they must.
fn is_as(map: &Map, keys: &[Key], model: &BTreeMap<Key, Vec<u8>>) {
    hash(map).check_order();
    assert!(map.check().unwrap().is_clean());
    let mut value = vec![0; map.value_bytes()];
    for key in keys {
        let found = map.lookup(key, &mut value, 0).is_ok().then_some(&value);
        assert_eq!(found, model.get(key));
        let slowly =
            hash(map).lookup(key, |hash, slot, word| hash.load_value(word, slot, &mut value));
        assert_eq!(slowly.unwrap().map(|()| &value), model.get(key));
    }
}

#[test]
fn typed_maps_too() {
    let map = typed::HashMap::<u32, u64>::create(MAX).unwrap();
    let keys: Vec<u32> = keys(map.map(), 2, 60).into_iter().map(u32::from_ne_bytes).collect();
    let mut random = Random(7);
    let mut model = BTreeMap::new();
    for step in 0..20_000 {
        let key = keys[random.below(keys.len())];
        if random.below(2) == 0 {
            assert_eq!(map.delete(&key).unwrap(), model.remove(&key).is_some());
        } else if map.inc(&key, step).is_ok() {
            *model.entry(key).or_insert(0) += step;
        }
        assert_eq!(map.get(&key).unwrap(), model.get(&key).copied());
        if step % 64 == 0 {
            let mut values = vec![None; keys.len()];
            map.get_many(&keys, &mut values).unwrap();
            assert!(keys.iter().zip(values).all(|(key, value)| value == model.get(key).copied()));
            hash(map.map()).check_order();
        }
    }
}

/// A map with a chain in a bucket, what is in it, and keys of that bucket that are not.
fn chained(spec: &Spec) -> (Map, Vec<Key>, Vec<Key>) {
    let map = Map::create_anonymous(spec).unwrap();
    let mut keys = keys(&map, 1, 120);
    let others = keys.split_off(18);
    keys.iter().for_each(|key| map.update(key, &value(&map, 7), 0).unwrap());
    (map, keys, others)
}

#[test]
fn what_is_certainly_not_in_a_chain_takes_the_short_way() {
    let (map, there, others) = chained(&specs()[0]);
    let (hash, filter) = (hash(&map), link(&map, 1));
    assert_eq!((filter as u32).count_ones(), tags(hash, &there[15..]).count_ones());
    let mut value = [0; 8];
    for key in &others {
        let may_be = filter & bit_of(hash.geometry.hash(key).tag) != 0;
        assert_eq!(hash.get_quickly(key, &mut value), (!may_be).then_some(false));
        assert_eq!(hash.locate_quickly(key), (!may_be).then_some(None));
    }
    // And into a place that is free, though there is a chain.
    let owners = map.inner.owners();
    let writer: Writer<'_> = owners.writer(owners.claim(&*map.inner).unwrap()).unwrap();
    hash.remove(writer, &there[3], None).unwrap();
    let is_new = |key: &&Key| filter & bit_of(hash.geometry.hash(*key).tag) == 0;
    let new = others.iter().find(is_new).unwrap();
    assert_eq!(hash.remove_quickly(writer, new, 8, None), Some(false));
    assert_eq!(hash.put_quickly(writer, new, &[1; 8], Presence::Any, true), Some(()));
    assert_eq!(link(&map, 1), filter);
    hash.update(writer, &there[3], Value::Whole(&[2; 8]), Presence::Any).unwrap();
    hash.check_order();
}

/// The bits of these keys' tags.
fn tags(hash: Hash<'_>, keys: &[Key]) -> u64 {
    keys.iter().fold(0, |bits, key| bits | bit_of(hash.geometry.hash(key).tag))
}

#[test]
fn a_filter_is_exact_again_whatever_node_goes() {
    for spec in specs() {
        for gone in 15..18 {
            let (map, mut there, _) = chained(&spec);
            map.delete(&there.remove(gone)).unwrap();
            assert_eq!(u64::from(link(&map, 1) as u32), tags(hash(&map), &there[15..]));
            for key in &there[15..] {
                map.update(key, &value(&map, 8), 0).unwrap();
            }
            assert_eq!(u64::from(link(&map, 1) as u32), tags(hash(&map), &there[15..]));
        }
    }
}

#[test]
fn a_filter_without_a_tag_is_damage() {
    for spec in specs() {
        let (map, there, _) = chained(&spec);
        let (word, whole) = (&hash(&map).head(1)[LINK], link(&map, 1));
        for bit in (0..32).filter(|bit| whole >> bit & 1 == 1) {
            word.store(whole & !(1 << bit), Relaxed);
            let [finding] = &map.check().unwrap().findings[..] else { panic!() };
            assert_eq!(finding.rule, "the filter of a chain lacks a node's tag");
            assert_eq!((finding.part, finding.index), ("bucket", 1));
            let done = map.repair().unwrap();
            assert_eq!((done.entries, done.dropped, done.rejoined), (18, 0, 0));
            assert_eq!(word.load(Relaxed), whole, "repaired");
        }
        // Nodes that are out of their chain come back with their tags.
        word.store(whole & 0xffff_ffff, Relaxed);
        assert_eq!(map.repair().unwrap().rejoined, 3);
        assert_eq!(u64::from(word.load(Relaxed) as u32), tags(hash(&map), &there[15..]));
        hash(&map).check_order();
    }
}

#[test]
fn a_filter_with_more_is_none() {
    for spec in specs() {
        let (map, there, others) = chained(&spec);
        for bucket in 0..hash(&map).geometry.buckets {
            hash(&map).head(bucket)[LINK].store(link(&map, bucket) | 0xffff_ffff, Relaxed);
        }
        assert!(map.check().unwrap().is_clean());
        let mut now = value(&map, 0);
        assert!(others.iter().all(|key| map.lookup(key, &mut now, 0).is_err()));
        assert!(there.iter().all(|key| map.lookup(key, &mut now, 0).is_ok()));
        others[..30].iter().for_each(|key| map.update(key, &now, 0).unwrap());
        assert!(map.check().unwrap().is_clean());
        [&there, &others[..30]].iter().for_each(|keys| {
            keys.iter().for_each(|key| map.delete(key).unwrap());
        });
        assert_eq!(link(&map, 1), 0);
    }
}
