//! Updates of one key at once: one of them is first.

use super::{Act, Key, Plan, Scene, explore};
use crate::MapType;
use crate::error::Reason;
use crate::kind::hash::{Presence, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What two writers do at once on a key that is there (with 1) or not; then `check` gets what
/// they returned and the value that is left.
fn compete<T: Copy + Into<u64> + 'static>(
    value_size: u32,
    present: bool,
    act: [fn(&Scene, u32, Key) -> T; 2],
    check: fn([u64; 2], Option<u64>),
) {
    let map = Plan::new(MapType::Hash, 4, value_size, 2);
    let keys: [Key; 1] = map.keys(0);
    explore(3, move || {
        let scene = map.scene(&keys);
        let [key] = keys;
        scene.enlist(1);
        scene.enlist(2);
        if present {
            scene.add(1, key, 1);
        }
        let other = scene.clone();
        let given = Arc::new(AtomicU64::new(0));
        let told = given.clone();
        let thread = loom::thread::spawn(move || {
            told.store(act[0](&other, 1, key).into(), Relaxed);
        });
        let own = act[1](&scene, 2, key).into();
        thread.join().unwrap();
        let left = match value_size {
            8 => scene.number(key),
            _ => scene.get(key),
        };
        check([given.load(Relaxed), own], left);
        scene.hash().check_order();
    });
}

impl Scene {
    /// An increment; gives the sum.
    fn add(&self, writer: u32, key: Key, delta: u64) -> u64 {
        self.hash().add(self.writer(writer), &key, None, 8, delta, Presence::Any).unwrap()
    }

    /// A value of one word.
    fn number(&self, key: Key) -> Option<u64> {
        let mut value = [0; 8];
        self.hash().get(&key, &mut value).unwrap().then(|| u64::from_ne_bytes(value))
    }

    /// Takes the entry out; 0 if there is none.
    fn take(&self, writer: u32, key: Key) -> u64 {
        let mut value = [0; 8];
        let taken = self.hash().remove(self.writer(writer), &key, Some(&mut value));
        match taken {
            Ok(()) => u64::from_ne_bytes(value),
            Err(reason) => {
                assert_eq!(reason, Reason::NotFound);
                0
            }
        }
    }

    fn insert(&self, writer: u32, key: Key) -> bool {
        let done = self.put(writer, key, writer.into(), Presence::Absent);
        assert!(matches!(done, Ok(()) | Err(Reason::Exists)));
        done.is_ok()
    }
}

#[test]
fn one_of_two_insertions_wins() {
    let insert = |scene: &Scene, writer, key| scene.insert(writer, key);
    compete(16, false, [insert; 2], |done, left| match done {
        [1, 0] => assert_eq!(left, Some(1)),
        [0, 1] => assert_eq!(left, Some(2)),
        _ => panic!("{done:?}"),
    });
}

#[test]
fn two_increments_make_one_entry() {
    let add = |scene: &Scene, writer: u32, key| scene.add(writer, key, writer.into());
    compete(8, false, [add; 2], |sums, left| {
        assert!(matches!(sums, [1, 3] | [3, 2]), "{sums:?}");
        assert_eq!(left, Some(3));
    });
}

#[test]
fn one_of_two_takes_the_entry() {
    let take = |scene: &Scene, writer, key| scene.take(writer, key);
    compete(8, true, [take; 2], |taken, left| {
        assert!(matches!(taken, [0, 1] | [1, 0]), "{taken:?}");
        assert_eq!(left, None);
    });
}

#[test]
fn an_increment_is_taken_or_starts_anew() {
    let take = |scene: &Scene, writer, key| scene.take(writer, key);
    let add = |scene: &Scene, writer, key| scene.add(writer, key, 5);
    compete(8, true, [take, add], |given, left| match given {
        [1, 5] => assert_eq!(left, Some(5)),
        [6, 6] => assert_eq!(left, None),
        _ => panic!("{given:?}"),
    });
}

#[test]
fn a_lookup_never_gives_what_another_key_is_set_to_in_the_same_place() {
    let map = Plan::new(MapType::Hash, 4, 8, 2);
    let keys: [Key; 2] = map.keys(0);
    let writer: &[Act] = &[|scene, keys| {
        assert_eq!(scene.take(1, keys[0]), 1);
        for value in [2_u64, 3] {
            let value = value.to_ne_bytes();
            let value = Value::Whole(&value);
            scene.hash().update(scene.writer(1), &keys[1], value, Presence::Any).unwrap();
        }
    }];
    explore(3, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        scene.add(1, keys[0], 1);
        scene.while_others(writer, || {
            let seen = scene.number(keys[0]);
            assert!(matches!(seen, None | Some(1)), "{seen:?}");
        });
        scene.hash().check_order();
    });
}
