//! The count: never over the limit, exact in the end, and what the dead had announced is counted
//! once, whoever helps.

use super::{Act, Key, Plan, Scene, explore};
use crate::MapType;
use crate::error::Reason;
use crate::kind::hash::Presence;
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

/// Two insertions at once, with records 1 and 2, into both buckets; gives how many found room.
fn insert_two(scene: &Arc<Scene>) -> u32 {
    scene.enlist(1);
    scene.enlist(2);
    let other = scene.clone();
    let thread = thread::spawn(move || insert(&other, 1, NEW));
    let own = insert(scene, 2, NEW_ELSEWHERE);
    let sum = u32::from(own) + u32::from(thread.join().unwrap());
    // A node that a dead one had is cleaned up only when it is missed.
    for writer in scene.owners().taken() {
        scene.owners().recover(writer, &scene.hash()).unwrap();
    }
    scene.hash().check_order();
    sum
}

#[test]
fn two_insert_where_one_has_room() {
    let (map, keys) = plan();
    explore(3, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        assert!(insert(&scene, 1, OLD));
        assert_eq!(insert_two(&scene), 1);
        assert_eq!(scene.hash().count().get(), 2);
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

/// Two that insert after somebody died in the middle of `act` in a map with so many entries.
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
        assert_eq!(insert_two(&scene), 2 - left, "room for what is not there");
        assert_eq!(scene.hash().count().get(), 2);
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
