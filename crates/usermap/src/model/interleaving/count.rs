//! The count: never over the limit, exact in the end, and what the dead had announced is counted
//! once, whoever helps.

use super::{Act, Key, Plan, Scene, explore};
use crate::MapType;
use crate::error::Reason;
use crate::kind::hash::Presence;
use crate::mem::bytes;
use crate::mem::owner::SHARE;
use crate::mem::sync::Ordering::Relaxed;
use loom::thread;
use std::sync::Arc;

/// Keys by what they are in all of these models: two entries of the first bucket, and a new key of
/// each of the two buckets. The map takes two.
const OLD: usize = 0;
const OTHER_OLD: usize = 1;
const NEW: usize = 2;
const NEW_ELSEWHERE: usize = 3;

fn plan() -> (Plan, Vec<Key>) {
    let map = Plan::new(MapType::Hash, 4, 16, 2);
    let [a, b, c] = map.keys(0);
    let [d] = map.keys(1);
    (map, vec![a, b, c, d])
}

/// Whether there was room.
fn insert(scene: &Scene, writer: u32, key: usize) -> bool {
    match scene.put(writer, scene.keys[key], 9, Presence::Absent) {
        Ok(()) => true,
        Err(Reason::Full { max_entries: 2 }) => false,
        Err(reason) => panic!("{reason:?}"),
    }
}

/// Two that insert at once where there is room for one, in a map that is full then.
fn one_finds_room(scene: &Arc<Scene>, own: impl FnOnce() -> bool, other: fn(&Scene) -> bool) {
    let shared = scene.clone();
    let thread = thread::spawn(move || other(&shared));
    let own = own();
    assert!(own ^ thread.join().unwrap(), "there was room for one");
    assert_eq!(scene.hash().count().get(), 2);
    scene.hash().check_order();
}

#[test]
fn two_insert_where_one_has_room() {
    let (map, keys) = plan();
    explore(3, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        scene.enlist(2);
        assert!(insert(&scene, 1, OLD));
        one_finds_room(&scene, || insert(&scene, 2, NEW_ELSEWHERE), |scene| insert(scene, 1, NEW));
    });
}

#[test]
fn an_insertion_helps_a_deletion() {
    let (map, keys) = plan();
    explore(3, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        scene.enlist(2);
        assert!(insert(&scene, 1, OLD) && insert(&scene, 1, OTHER_OLD));
        let delete: &[Act] = &[|scene, keys| scene.delete(1, keys[OLD]).unwrap()];
        let (seen, inserted) = scene.while_others(delete, || {
            (scene.get(scene.keys[OLD]), insert(&scene, 2, NEW_ELSEWHERE))
        });
        assert!(inserted || seen.is_some(), "there was room: its deletion had been seen");
        scene.hash().check_order();
        assert_eq!(scene.hash().count().get(), 1 + u32::from(inserted));
    });
}

#[test]
fn deletions_and_an_insertion() {
    let (map, keys) = plan();
    explore(1, move || {
        let scene = map.scene(&keys);
        scene.enlist(3);
        assert!(insert(&scene, 3, OLD) && insert(&scene, 3, NEW_ELSEWHERE));
        let delete: &[Act] = &[
            |scene, keys| scene.delete(1, keys[OLD]).unwrap(),
            |scene, keys| scene.delete(2, keys[NEW_ELSEWHERE]).unwrap(),
        ];
        let inserted = scene.while_others(delete, || insert(&scene, 3, OTHER_OLD));
        scene.hash().check_order();
        assert_eq!(scene.hash().count().get(), u32::from(inserted));
    });
}

/// One inserts and one cleans up after somebody died in the middle of `act` in a map with so many entries.
fn after_a_death(stores: u64, entries: usize, act: fn(&Scene)) -> bool {
    let (map, keys) = plan();
    let died = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = died.clone();
    explore(1, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        assert!((0..entries).all(|key| insert(&scene, 1, key)));
        told.store(scene.die(3, stores, act), std::sync::atomic::Ordering::Relaxed);
        let left = scene.keys.iter().filter(|key| scene.get(**key).is_some()).count() as u32;
        let other = scene.clone();
        let thread = thread::spawn(move || insert(&other, 1, NEW));
        scene.owners().recover(scene.writer(3), &scene.hash()).unwrap();
        let first = thread.join().unwrap();
        scene.enlist(2);
        let second = insert(&scene, 2, NEW_ELSEWHERE);
        assert_eq!(u32::from(first) + u32::from(second), 2 - left, "room for what is not there");
        assert_eq!(scene.hash().count().get(), 2);
        scene.hash().check_order();
    });
    died.load(std::sync::atomic::Ordering::Relaxed)
}

/// At which steps a death leaves something to count: from the announcement on.
fn at_all_steps(entries: usize, act: fn(&Scene)) {
    let mut stores = 2;
    while after_a_death(stores, entries, act) {
        stores += 1;
    }
    assert!(stores > 5, "it never died");
}

#[test]
fn after_a_dead_deletion_of_a_place() {
    at_all_steps(2, |scene| scene.delete(3, scene.keys[OLD]).unwrap());
}

#[test]
fn after_a_dead_deletion_of_a_node() {
    at_all_steps(2, |scene| scene.delete(3, scene.keys[OTHER_OLD]).unwrap());
}

#[test]
fn after_a_dead_insertion() {
    at_all_steps(1, |scene| {
        insert(scene, 3, OTHER_OLD);
    });
}

#[test]
fn after_a_dead_undo() {
    // Somebody died after it had counted its insertion, and then who cleaned up after it.
    at_all_steps(1, |scene| {
        let _ = crate::mem::mortal::live(5, || insert(scene, 3, OTHER_OLD));
        scene.writer(3).bury();
        let _ = scene.owners().recover(scene.writer(3), &scene.hash());
    });
}

/// A scene of two entries, in which a writer has the room for one, and the other is an entry.
fn room_of_another(map: &Plan, keys: &[Key]) -> Arc<Scene> {
    let scene = map.scene(keys);
    for writer in 1..3 {
        scene.enlist(writer);
    }
    assert!(insert(&scene, 1, OLD));
    scene.delete(1, keys[OLD]).unwrap();
    assert!(insert(&scene, 2, OTHER_OLD));
    let room = |writer| scene.writer(writer).word(SHARE).load(Relaxed) >> 20 & 0xfff;
    assert_eq!([room(1), room(2)], [1, 0]);
    scene
}

#[test]
fn room_is_used_or_taken() {
    let (map, keys) = plan();
    explore(3, move || {
        let scene = room_of_another(&map, &keys);
        // Who is first to run is interrupted first: by who takes the room.
        one_finds_room(&scene, || insert(&scene, 1, NEW), |scene| insert(scene, 2, NEW_ELSEWHERE));
    });
}

#[test]
fn room_that_a_deletion_gives_is_taken() {
    let (map, keys) = plan();
    explore(3, move || {
        let scene = map.scene(&keys);
        for writer in 1..3 {
            scene.enlist(writer);
        }
        assert!(insert(&scene, 1, OLD) && insert(&scene, 1, OTHER_OLD));
        let other = |scene: &Scene| {
            scene.delete(1, scene.keys[OLD]).unwrap();
            insert(scene, 1, NEW)
        };
        one_finds_room(&scene, || insert(&scene, 2, NEW_ELSEWHERE), other);
    });
}

#[test]
fn the_number_of_entries_is_one_that_was() {
    let (map, keys) = plan();
    explore(2, move || {
        let scene = map.scene(&keys);
        scene.enlist(2);
        assert!(insert(&scene, 2, OLD));
        let act: &[Act] = &[|scene, keys| {
            assert!(insert(scene, 1, NEW_ELSEWHERE));
            scene.delete(2, keys[OLD]).unwrap();
        }];
        let seen = scene.while_others(act, || scene.hash().count().get());
        assert!((1..=2).contains(&seen), "{seen}");
    });
}

#[test]
fn pointers_are_lent_while_somebody_adds() {
    let map = Plan::new(MapType::Hash, 4, 8, 2);
    let keys: [Key; 1] = map.keys(0);
    explore(3, move || {
        let scene = map.scene(&keys);
        let [key] = keys;
        scene.enlist(1);
        let add = move |scene: &Scene, delta| {
            scene.hash().add(scene.writer(1), &key, None, 8, delta, Presence::Any).unwrap()
        };
        assert_eq!(add(&scene, 1), 1);
        let other = scene.clone();
        let thread = thread::spawn(move || {
            let hash = other.hash();
            hash.lend(None).unwrap();
            let slot = hash.lookup(&key, |_, slot, _| Ok(slot)).unwrap();
            bytes::add(&hash.value(slot.unwrap(), 0)[0], 0, 8, 8);
        });
        add(&scene, 2);
        add(&scene, 4);
        thread.join().unwrap();
        let mut value = [0; 8];
        assert!(scene.hash().get(&key, &mut value).unwrap());
        assert_eq!(u64::from_ne_bytes(value), 15, "an increment was lost");
    });
}
