//! Counts where somebody is stopped, interrupted or dead at the wrong moment.

use super::{Hash, Presence, Value};
use crate::error::Reason;
use crate::map::{Map, View};
use crate::mem::mortal::live;
use crate::mem::owner::{SHARE, Writer};
use crate::mem::sync::Ordering::Relaxed;
use crate::{Access, MapType, Spec};

const MAX: u32 = 20;

fn map() -> Map {
    Map::create_anonymous(&Spec::new(MapType::Hash, 4, 8, MAX)).unwrap()
}

fn hash(map: &Map) -> Hash<'_> {
    match map.inner.view() {
        View::Hash(hash) => hash,
        _ => unreachable!("it is a hash"),
    }
}

fn writer(map: &Map) -> Writer<'_> {
    let owners = map.inner.owners();
    owners.writer(owners.claim(&*map.inner).unwrap()).unwrap()
}

fn put(map: &Map, writer: Writer<'_>, key: u32) -> Result<(), Reason> {
    hash(map).update(writer, &key.to_ne_bytes(), Value::Whole(&[1; 8]), Presence::Any)
}

fn delete(map: &Map, writer: Writer<'_>, key: u32) -> Result<(), Reason> {
    hash(map).remove(writer, &key.to_ne_bytes(), None)
}

fn bucket(map: &Map, key: u32) -> u32 {
    hash(map).geometry.hash(&key.to_ne_bytes()).bucket
}

/// A key that is not among those of a full map, and in another bucket than key 0.
fn elsewhere(map: &Map) -> u32 {
    (MAX..).find(|key| bucket(map, *key) != bucket(map, 0)).unwrap()
}

#[test]
fn a_sequence_begins_anew_in_a_share_with_all_bits() {
    let map = map();
    let [one, other] = [writer(&map), writer(&map)];
    put(&map, one, 1).unwrap();
    // As after 2^20 - 1 insertions and deletions.
    other.word(SHARE).store(0xffff_ffff, Relaxed);
    delete(&map, other, 1).unwrap();
    assert_eq!(hash(&map).count().get(), 0);
}

/// Whoever saw that an entry is gone is not told that the map is full.
#[test]
fn a_deletion_that_is_not_counted_is_waited_for() {
    for stores in 1..8 {
        let map = map();
        let [one, stopped] = [writer(&map), writer(&map)];
        (0..MAX).for_each(|key| put(&map, one, key).unwrap());
        if live(stores, || delete(&map, stopped, 0)).is_some() {
            return assert!(stores > 4);
        }
        let gone = !hash(&map).get(&[0; 4], &mut [0; 8]).unwrap();
        let done = put(&map, one, elsewhere(&map));
        match gone {
            true => assert!(matches!(done, Err(Reason::Busy) | Ok(())), "{stores}: {done:?}"),
            false => assert!(matches!(done, Err(Reason::Busy | Reason::Full { .. })), "{done:?}"),
        }
    }
}

#[test]
fn a_signal_handler_is_told_that_its_thread_is_busy() {
    let map = map();
    let one = writer(&map);
    (0..MAX).for_each(|key| put(&map, one, key).unwrap());
    assert!(live(4, || delete(&map, one, 0)).is_none());
    assert_eq!(put(&map, one, elsewhere(&map)), Err(Reason::Busy));
}

#[test]
fn a_death_in_a_repair_loses_no_count() {
    for stores in 0.. {
        let map = map();
        (0..10_u32).for_each(|key| map.update(&key.to_ne_bytes(), &[1; 8], 0).unwrap());
        let done = live(stores, || map.repair().unwrap()).is_some();
        assert_eq!((map.len(), map.check().unwrap().findings), (10, vec![]), "{stores}");
        if done {
            return assert!(stores > 1000);
        }
    }
}

#[test]
fn whoever_writes_through_a_pointer_says_so_before() {
    let path = std::env::temp_dir().join(format!("usermap-lent-{}", std::process::id()));
    let map = Map::create_pinned(&path, &Spec::new(MapType::Hash, 4, 8, MAX)).unwrap();
    map.update(&[1; 4], &[0; 8], 0).unwrap();
    let reader = Map::open(&path, Access::ReadOnly).unwrap();
    std::fs::remove_file(path).unwrap();
    let pointer = reader.on_cpu(0).unwrap().lookup(&[1; 4]).unwrap().unwrap();
    let is_lent = || crate::header::lent(map.inner.region.words()).is_lent();
    assert!(!is_lent());
    map.on_cpu(0).unwrap().fetch_add(pointer, 0, 1).unwrap();
    assert!(is_lent());
}
