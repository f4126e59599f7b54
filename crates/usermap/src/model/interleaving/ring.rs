//! Rings: peeks while others push and pop, and nothing lost or given twice.

use super::{Act, Plan, Scene, explore, number, whole};
use crate::MapType;
use crate::error::Reason;

impl Scene {
    fn push(&self, writer: u32, value: u64) {
        self.rings().push(self.writer(writer), 0, &whole(value), true).unwrap();
    }

    fn pop(&self, writer: u32) -> Option<u64> {
        let mut value = [0; 16];
        match self.rings().pop(self.writer(writer), 0, &mut value) {
            Ok(()) => Some(number(value)),
            Err(reason) => {
                assert_eq!(reason, Reason::NotFound);
                None
            }
        }
    }

    fn peek(&self) -> Option<u64> {
        let mut value = [0; 16];
        self.rings().peek(0, &mut value).ok().map(|()| number(value))
    }

    fn values(&self) -> Vec<u64> {
        let values = self.rings().values(0, 16);
        values.into_iter().map(|value| number(value.try_into().unwrap())).collect()
    }
}

#[test]
fn a_peek_while_the_oldest_are_pushed_out() {
    // Two places: the second push goes where the peeked value was.
    let map = Plan::new(MapType::Queue, 0, 16, 1);
    explore(2, move || {
        let scene = map.scene(&[]);
        scene.enlist(1);
        scene.push(1, 1);
        let seen = scene.while_others(
            &[|scene, _| {
                scene.push(1, 2);
                scene.push(1, 3);
            }],
            || scene.peek().unwrap(),
        );
        assert!((1..=3).contains(&seen));
        scene.rings().check_order();
    });
}

#[test]
fn a_peek_while_the_newest_is_popped_and_pushed() {
    let map = Plan::new(MapType::Stack, 0, 16, 2);
    explore(2, move || {
        let scene = map.scene(&[]);
        scene.enlist(1);
        scene.push(1, 1);
        scene.push(1, 2);
        let seen = scene.while_others(
            &[|scene, _| {
                assert_eq!(scene.pop(1), Some(2));
                scene.push(1, 3);
            }],
            || scene.peek(),
        );
        assert!(matches!(seen, Some(1..=3)));
        scene.rings().check_order();
    });
}

#[test]
fn two_push_and_one_pops() {
    for kind in [MapType::Queue, MapType::Stack] {
        let map = Plan::new(kind, 0, 16, 2);
        explore(1, move || {
            let scene = map.scene(&[]);
            scene.enlist(3);
            let pushers: &[Act] = &[|scene, _| scene.push(1, 1), |scene, _| scene.push(2, 2)];
            let popped = scene.while_others(pushers, || scene.pop(3));
            let mut all = scene.values();
            all.extend(popped);
            all.sort_unstable();
            assert_eq!(all, [1, 2]);
            scene.rings().check_order();
        });
    }
}

#[test]
fn a_peek_and_a_pop_after_a_dead_push() {
    // Its stores: intent, lock, two words, commit, release, intent.
    for stores in 1..7 {
        let map = Plan::new(MapType::Stack, 0, 16, 2);
        explore(2, move || {
            let scene = map.scene(&[]);
            scene.enlist(1);
            scene.push(1, 1);
            assert!(scene.die(2, stores, |scene| scene.push(2, 2)));
            let newest = if stores < 5 { 1 } else { 2 };
            let act: &[Act] = &[|scene, _| {
                scene.pop(1).unwrap();
                scene.push(1, 3);
            }];
            let seen = scene.while_others(act, || scene.peek());
            let between = (newest > 1).then_some(newest - 1);
            assert!([Some(newest), between, Some(3)].contains(&seen), "{seen:?}");
            assert_eq!(scene.values().len() as u64, newest);
            scene.rings().check_order();
        });
    }
}
