//! The sole writer: it locks by plain stores, and who comes waits until it does not any more.

use super::lock::{Locked, compete};
use super::{Key, Plan, Scene, explore};
use crate::MapType;
use crate::error::Reason;
use crate::kind::hash::Presence;
use crate::mem::bytes;
use crate::mem::mortal::live;
use crate::mem::sync::Ordering::Relaxed;
use loom::thread;

#[test]
fn two_are_the_first() {
    explore(3, || compete(&Locked::fresh(), 1..3, 1));
}

#[test]
fn one_comes_while_the_sole_one_writes() {
    explore(2, || {
        let locked = Locked::fresh();
        locked.owners().enlist(1);
        locked.change(1).unwrap();
        compete(&locked, 1..3, 2);
    });
}

#[test]
fn two_come_while_the_sole_one_writes() {
    explore(2, || {
        let locked = Locked::fresh();
        locked.owners().enlist(1);
        locked.change(1).unwrap();
        compete(&locked, 1..4, 1);
    });
}

#[test]
fn two_find_a_dead_sole_writer() {
    // Its stores: the intent, the lock, twice the number, the release, the intent.
    for stores in 0..7 {
        explore(2, move || {
            let locked = Locked::fresh();
            locked.owners().enlist(1);
            locked.change(1).unwrap();
            assert_eq!(locked.die(stores), stores < 6);
            let half = locked.number().load(Relaxed) % 2;
            compete(&locked, 2..4, 1);
            assert_eq!(locked.repairs().load(Relaxed), half, "repaired exactly once");
        });
    }
}

#[test]
fn one_comes_who_dies_on_the_way() {
    for stores in 0..12 {
        explore(2, move || {
            let locked = Locked::fresh();
            locked.owners().enlist(1);
            locked.change(1).unwrap();
            let second = locked.owners().enlist(2);
            let _ = live(stores, || locked.change(2));
            second.bury();
            let other = locked.clone();
            locked.owners().enlist(3);
            let thread = thread::spawn(move || other.change(3).unwrap());
            locked.change(1).unwrap();
            thread.join().unwrap();
            let made = locked.number().load(Relaxed);
            assert!(made == 6 || made == 8, "{made}");
        });
    }
}

#[test]
fn the_sole_one_leaves_and_its_record_is_taken_again() {
    explore(3, || {
        let locked = Locked::fresh();
        locked.owners().enlist(1);
        locked.owners().enlist(2);
        locked.change(2).unwrap();
        let other = locked.clone();
        let thread = thread::spawn(move || {
            other.owners().release(2);
            assert_eq!(other.owners().claim(&*other), Ok(2));
            other.change(2).unwrap();
        });
        locked.change(1).unwrap();
        thread.join().unwrap();
        assert_eq!(locked.number().load(Relaxed), 6);
    });
}

/// Two that insert at once where there is room for one.
#[test]
fn one_inserts_beside_the_sole_one() {
    let map = Plan::new(MapType::Hash, 4, 16, 2);
    let [a, b]: [Key; 2] = map.keys(0);
    let [c]: [Key; 1] = map.keys(1);
    explore(2, move || {
        let scene = map.fresh_scene(&[a, b, c]);
        scene.enlist(1);
        scene.enlist(2);
        let insert = |scene: &Scene, writer, key: usize| match scene.put(
            writer,
            scene.keys[key],
            9,
            Presence::Absent,
        ) {
            Ok(()) => true,
            Err(Reason::Full { max_entries: 2 }) => false,
            Err(reason) => panic!("{reason:?}"),
        };
        assert!(insert(&scene, 1, 0));
        let other = scene.clone();
        let thread = thread::spawn(move || insert(&other, 1, 1));
        let own = insert(&scene, 2, 2);
        assert!(own ^ thread.join().unwrap(), "there was room for one");
        assert_eq!(scene.hash().count().get(), 2);
        scene.hash().check_order();
    });
}

/// A bucket is written to by the sole one, another one by who comes, and the first one by a third.
#[test]
fn two_come_to_two_buckets() {
    let map = Plan::new(MapType::Hash, 4, 8, 4);
    let keys = [map.keys::<1>(0)[0], map.keys::<1>(1)[0]];
    explore(2, move || {
        let scene = map.fresh_scene(&keys);
        let add = |scene: &Scene, writer, key: usize| {
            let (hash, key) = (scene.hash(), scene.keys[key]);
            hash.add(scene.writer(writer), &key, None, 8, 1, Presence::Any).unwrap();
        };
        (1..4).for_each(|writer| drop(scene.enlist(writer)));
        add(&scene, 1, 0);
        add(&scene, 1, 1);
        let threads = [(1, 0), (2, 1)].map(|(writer, key)| {
            let scene = scene.clone();
            thread::spawn(move || add(&scene, writer, key))
        });
        add(&scene, 3, 0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for (key, sum) in scene.keys.iter().zip([3_u64, 2]) {
            let mut value = [0; 8];
            assert!(scene.hash().get(key, &mut value).unwrap());
            assert_eq!(u64::from_ne_bytes(value), sum, "an increment was lost");
        }
    });
}

/// Others go on elsewhere while the sole one is stopped between its intent and its lock.
#[test]
fn the_sole_one_is_stopped() {
    let map = Plan::new(MapType::Hash, 4, 16, 4);
    let keys = [map.keys::<1>(0)[0], map.keys::<1>(1)[0]];
    explore(3, move || {
        let scene = map.fresh_scene(&keys);
        (1..4).for_each(|writer| drop(scene.enlist(writer)));
        scene.set(1, scene.keys[0], 1).unwrap();
        assert_eq!(live(1, || scene.set(1, scene.keys[0], 2)), None, "it stays there");
        let other = scene.clone();
        let thread = thread::spawn(move || other.set(2, other.keys[1], 3).unwrap());
        scene.set(3, scene.keys[1], 3).unwrap();
        thread.join().unwrap();
        assert_eq!(scene.get(scene.keys[1]), Some(3));
    });
}

#[test]
fn pointers_are_lent_while_the_sole_one_adds() {
    let map = Plan::new(MapType::Hash, 4, 8, 2);
    let keys: [Key; 1] = map.keys(0);
    explore(3, move || {
        let scene = map.fresh_scene(&keys);
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
