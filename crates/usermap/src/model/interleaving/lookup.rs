//! Lookups in hash maps while others write: whole, of the right key, and never a miss of a key
//! that is there.

use super::{Act, Key, Plan, Scene, explore};
use crate::MapType;
use crate::header;
use crate::kind::hash::{Snapshot, Want};
use crate::mem::sync::Ordering::Relaxed;

/// A map with these entries, what one or two writers do, and what a reader checks.
fn model(
    preemptions: usize,
    entries: u32,
    keys: impl Fn(&Plan) -> Vec<Key>,
    setup: &'static (impl Fn(&Scene, &[Key]) + Sync),
    writers: &'static [Act],
    reader: &'static (impl Fn(&Scene, &[Key]) + Sync),
) {
    let map = Plan::new(MapType::Hash, 4, 16, entries);
    let keys = keys(&map);
    explore(preemptions, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        setup(&scene, &keys);
        scene.while_others(writers, || reader(&scene, &keys));
        scene.hash().check_order();
    });
}

/// Nodes are looked for from the first one on again.
fn rewind(scene: &Scene) {
    scene.region.words()[header::HINT].store(0, Relaxed);
}

#[test]
fn of_a_key_that_is_replaced_twice() {
    model(
        3,
        1,
        |map| map.keys::<1>(0).to_vec(),
        &|scene, keys| scene.set(1, keys[0], 1).unwrap(),
        &[|scene, keys| {
            scene.set(1, keys[0], 2).unwrap();
            scene.set(1, keys[0], 3).unwrap();
        }],
        &|scene, keys| {
            let (first, second) = (scene.get(keys[0]).unwrap(), scene.get(keys[0]).unwrap());
            assert!(first <= second, "{first}, then {second}");
        },
    );
}

#[test]
fn of_keys_that_take_turns_in_a_place() {
    model(
        3,
        2,
        |map| map.keys::<2>(0).to_vec(),
        &|scene, keys| scene.set(1, keys[0], 1).unwrap(),
        &[|scene, keys| {
            scene.delete(1, keys[0]).unwrap();
            scene.set(1, keys[1], 2).unwrap();
            scene.set(1, keys[1], 2).unwrap();
        }],
        &|scene, keys| {
            let second = scene.get(keys[1]);
            let first = scene.get(keys[0]);
            assert!(matches!(first, None | Some(1)) && matches!(second, None | Some(2)));
            assert!(second.is_none() || first.is_none(), "the first was gone before");
        },
    );
}

#[test]
fn of_a_node_that_is_replaced_twice() {
    // The second replacement takes the node that the first one gave up.
    model(
        3,
        2,
        |map| map.keys::<2>(0).to_vec(),
        &|scene, keys| {
            scene.set(1, keys[0], 1).unwrap();
            scene.set(1, keys[1], 2).unwrap();
        },
        &[|scene, keys| {
            scene.set(1, keys[1], 3).unwrap();
            rewind(scene);
            scene.set(1, keys[1], 4).unwrap();
        }],
        &|scene, keys| {
            assert!(scene.get(keys[1]).unwrap() >= 2);
        },
    );
}

#[test]
fn past_a_node_that_is_deleted() {
    model(
        3,
        3,
        |map| map.keys::<3>(0).to_vec(),
        &|scene, keys| {
            for (key, value) in keys.iter().zip(1..) {
                scene.set(1, *key, value).unwrap();
            }
        },
        &[|scene, keys| {
            scene.delete(1, keys[2]).unwrap();
            rewind(scene);
            scene.set(1, keys[0], 4).unwrap();
            scene.set(1, keys[2], 5).unwrap();
        }],
        &|scene, keys| {
            assert_eq!(scene.get(keys[1]), Some(2));
        },
    );
}

#[test]
fn by_a_filter_that_tags_leave_and_come_to() {
    model(
        2,
        4,
        |map| map.keys_apart::<4>(0).to_vec(),
        &|scene, keys| {
            // The last one is the first of the chain.
            for (key, value) in keys[..3].iter().zip(1..) {
                scene.set(1, *key, value).unwrap();
            }
        },
        &[|scene, keys| {
            scene.delete(1, keys[1]).unwrap();
            scene.set(1, keys[3], 4).unwrap();
        }],
        &|scene, keys| {
            let new = scene.get(keys[3]);
            assert!(matches!(new, None | Some(4)));
            assert_eq!(scene.get(keys[2]), Some(3));
        },
    );
}

#[test]
fn of_a_node_that_another_bucket_takes() {
    model(
        2,
        4,
        |map| [map.keys::<2>(0), map.keys::<2>(1)].concat(),
        &|scene, keys| {
            for (key, value) in [(0, 1), (1, 2), (2, 3)] {
                scene.set(1, keys[key], value).unwrap();
            }
            rewind(scene);
        },
        &[
            |scene, keys| scene.delete(1, keys[1]).unwrap(),
            |scene, keys| scene.set(2, keys[3], 4).unwrap(),
        ],
        &|scene, keys| {
            assert!(matches!(scene.get(keys[1]), None | Some(2)));
        },
    );
}

#[test]
fn of_a_whole_bucket() {
    model(
        2,
        2,
        |map| map.keys::<2>(0).to_vec(),
        &|scene, keys| {
            scene.set(1, keys[0], 1).unwrap();
            scene.set(1, keys[1], 2).unwrap();
        },
        &[|scene, keys| {
            scene.set(1, keys[1], 3).unwrap();
            scene.delete(1, keys[0]).unwrap();
        }],
        &|scene, keys| {
            let mut snapshot = Snapshot::default();
            scene.hash().snapshot(0, Want::KeysAndValues, &mut snapshot).unwrap();
            let value = |key: &Key| {
                let of = |number: &usize| snapshot.key(*number) == key;
                let numbers: Vec<_> = (0..snapshot.len()).filter(of).collect();
                assert!(numbers.len() <= 1, "twice");
                let number = numbers.first()?;
                Some(super::number(snapshot.value(*number).try_into().unwrap()))
            };
            let both = (value(&keys[0]), value(&keys[1]));
            assert!(matches!(both, (Some(1), Some(2 | 3)) | (None, Some(3))), "{both:?}");
        },
    );
}
