//! Values of more than one word that are changed in place: arrays, and hashes per CPU.

use super::{Act, Plan, Scene, explore, number, whole};
use crate::MapType;
use crate::kind::hash::{Presence, Value};
use crate::kind::redo::ALL_CPUS;
use crate::mem::mortal::store_by_swapping;

impl Scene {
    fn store(&self, writer: u32, value: u64) {
        self.array().update(|| Ok(self.writer(writer)), 0, 0, &whole(value)).unwrap();
    }

    fn load(&self) -> u64 {
        let mut value = [0; 16];
        self.array().lookup(0, 0, &mut value).unwrap();
        number(value)
    }

    /// All slots' values of an entry of a hash, which are always set to the same.
    fn load_all(&self) -> [u64; 2] {
        let mut value = [0; 32];
        let found = self
            .hash()
            .lookup(&self.keys[0], |hash, slot, word| hash.load_value(word, slot, &mut value));
        assert_eq!(found, Ok(Some(())));
        [0, 16].map(|start| number(value[start..start + 16].try_into().unwrap()))
    }

    fn store_all(&self, writer: u32, value: u64) {
        let value = [whole(value), whole(value)].concat();
        let writer = self.writer(writer);
        self.hash().update(writer, &self.keys[0], Value::AllCpus(&value), Presence::Any).unwrap();
    }

    /// A word of each slot of an array.
    fn set_words(&self, writer: u32, value: u64) {
        let value = [value, value].map(u64::to_ne_bytes).concat();
        self.array().update(|| Ok(self.writer(writer)), 0, ALL_CPUS, &value).unwrap();
    }

    fn word(&self, cpu: u32) -> u64 {
        let mut value = [0; 8];
        self.array().lookup(0, cpu, &mut value).unwrap();
        u64::from_ne_bytes(value)
    }
}

#[test]
fn a_lookup_while_a_value_changes_twice() {
    let map = Plan::new(MapType::Array, 4, 16, 1);
    explore(2, move || {
        let scene = map.scene(&[]);
        scene.enlist(1);
        scene.store(1, 1);
        let seen = scene.while_others(
            &[|scene, _| {
                scene.store(1, 2);
                scene.store(1, 3);
            }],
            || scene.load(),
        );
        assert!((1..=3).contains(&seen), "{seen}");
        assert_eq!(scene.load(), 3);
        scene.array().check_order();
    });
}

#[test]
fn a_lookup_while_two_change_a_value() {
    let map = Plan::new(MapType::Array, 4, 16, 1);
    explore(1, move || {
        let scene = map.scene(&[]);
        scene.enlist(1);
        scene.store(1, 1);
        let writers: &[Act] = &[|scene, _| scene.store(1, 2), |scene, _| scene.store(2, 3)];
        scene.while_others(writers, || scene.load());
        assert!((2..=3).contains(&scene.load()));
        scene.array().check_order();
    });
}

#[test]
fn a_lookup_after_a_death() {
    // Its stores: intent, lock, two words beside, target, commit, two words, release, intent.
    for stores in 1..10 {
        let map = Plan::new(MapType::Array, 4, 16, 1);
        explore(2, move || {
            let scene = map.scene(&[]);
            scene.enlist(1);
            scene.store(1, 1);
            assert!(scene.die(2, stores, |scene| scene.store(2, 2)));
            let committed = scene.load();
            assert_eq!(committed, if stores < 6 { 1 } else { 2 });
            let seen = scene.while_others(&[|scene, _| scene.store(1, 3)], || scene.load());
            assert!(seen == committed || seen == 3, "{seen}");
            assert_eq!(scene.load(), 3);
            scene.array().check_order();
        });
    }
}

#[test]
fn a_lookup_while_all_slots_change() {
    let map = Plan::new(MapType::PerCpuHash, 4, 16, 1);
    let keys = map.keys::<1>(0);
    explore(2, move || {
        let scene = map.scene(&keys);
        scene.enlist(1);
        scene.store_all(1, 1);
        let seen = scene.while_others(&[|scene, _| scene.store_all(1, 2)], || scene.load_all());
        assert!(matches!(seen, [1, 1] | [2, 2]), "{seen:?}");
        assert_eq!(scene.load_all(), [2, 2]);
        scene.hash().check_order();
    });
}

#[test]
fn an_increment_while_all_slots_are_set() {
    let map = Plan::new(MapType::PerCpuArray, 4, 8, 1);
    store_by_swapping();
    explore(3, move || {
        let scene = map.scene(&[]);
        scene.enlist(2);
        let (sum, seen) = scene.while_others(&[|scene, _| scene.set_words(1, 10)], || {
            let writer = || Ok(scene.writer(2));
            (scene.array().add(writer, 0, 1, 8, 1).unwrap(), scene.word(1))
        });
        match sum {
            1 => assert!(seen == 1 || seen == 10, "{seen} after {sum}"),
            _ => assert_eq!((sum, seen), (11, 11), "what was seen of one's own increment"),
        }
        let last = [scene.word(0), scene.word(1)];
        assert!(last == [10, 10] || last == [10, 11], "{last:?} after {sum}, {seen}");
        scene.array().check_order();
    });
}

#[test]
fn a_store_while_all_slots_are_set() {
    let map = Plan::new(MapType::PerCpuArray, 4, 8, 1);
    store_by_swapping();
    explore(3, move || {
        let scene = map.scene(&[]);
        scene.enlist(2);
        let seen = scene.while_others(&[|scene, _| scene.set_words(1, 10)], || {
            let writer = || Ok(scene.writer(2));
            scene.array().update(writer, 0, 1, &20_u64.to_ne_bytes()).unwrap();
            scene.word(1)
        });
        let last = scene.word(1);
        assert!(matches!((seen, last), (20, 10 | 20) | (10, 10)), "{seen}, then {last}");
        scene.array().check_order();
    });
}
