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
        match self.rings().pop(|| Ok(self.writer(writer)), 0, &mut value) {
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

/// A push drops the oldest value while others pop: what one got the others did not, and nothing that
/// was dropped is seen once something newer was.
#[test]
fn pops_while_the_oldest_are_pushed_out() {
    for kind in [MapType::Queue, MapType::Stack] {
        let map = Plan::new(kind, 0, 16, 1);
        explore(2, move || {
            let scene = map.scene(&[]);
            scene.enlist(3);
            scene.push(3, 1);
            let pushers: &[Act] = &[|scene, _| {
                scene.push(1, 2);
                scene.push(1, 3);
            }];
            let (peeked, popped) = scene.while_others(pushers, || (scene.peek(), scene.pop(3)));
            assert!(peeked.is_some_and(|peeked| popped.is_none_or(|popped| popped >= peeked)));
            let left = scene.values();
            let new = popped.map_or(0, |popped| popped + 1);
            assert!(left == [3] && new <= 3 || left.is_empty() && popped == Some(3), "{left:?}");
            scene.rings().check_order();
        });
    }
}

/// Values come out in the order they went in, each once, and what is counted is between all and none.
#[test]
fn one_pushes_and_two_pop() {
    let map = Plan::new(MapType::Queue, 0, 16, 2);
    explore(1, move || {
        let scene = map.scene(&[]);
        scene.enlist(3);
        scene.push(3, 1);
        let others: &[Act] = &[
            |scene, _| {
                scene.push(1, 2);
                scene.push(1, 3);
            },
            |scene, _| {
                assert!(scene.pop(2).is_none_or(|popped| popped < 4));
            },
        ];
        let (len, first, second) =
            scene.while_others(others, || (scene.rings().len(0), scene.pop(3), scene.pop(3)));
        assert!(len.is_ok_and(|len| len <= 2));
        assert!(second.is_none_or(|second| first.is_none_or(|first| first < second)));
        assert!(scene.values().is_sorted());
        scene.rings().check_order();
    });
}

/// An overwriting push that died at each of its stores: the full queue is as it was, or the oldest
/// value is gone and the new one there.
#[test]
fn after_a_dead_push_onto_a_full_queue() {
    // Its stores: intent, lock, no room noted, overwriting, two words, the commit, intent.
    for stores in 1..8 {
        let map = Plan::new(MapType::Queue, 0, 16, 2);
        explore(2, move || {
            let scene = map.scene(&[]);
            scene.enlist(1);
            scene.push(1, 1);
            scene.push(1, 2);
            assert!(scene.die(2, stores, |scene| scene.push(2, 3)));
            let oldest = if stores < 7 { 1 } else { 2 };
            let act: &[Act] = &[|scene, _| scene.push(1, 4)];
            let (peeked, popped) = scene.while_others(act, || (scene.peek(), scene.pop(3)));
            assert!(peeked.is_some_and(|peeked| (oldest..oldest + 2).contains(&peeked)));
            assert!(popped.is_some_and(|popped| popped >= peeked.unwrap_or(4)));
            let left = scene.values();
            assert!(left.is_sorted() && left.last() == Some(&4) && left.len() <= 2, "{left:?}");
            assert!(left.iter().all(|value| popped.is_some_and(|popped| popped < *value)));
            scene.rings().check_order();
        });
    }
}

#[test]
fn a_peek_and_a_pop_after_a_dead_push() {
    // Its stores: intent, lock, two words, the release that commits, intent.
    for stores in 1..6 {
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
