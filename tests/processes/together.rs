//! Several processes at work on one map, one of which is killed: the others don't stand still, and
//! nothing of anybody's is lost.

use crate::script::{Player, STRIDE, followed, script};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::child::Folder;
use usermap_tests::rng::{Rng, seed};
use usermap_tests::script::{KEYS, Model, Script, capacity_is_whole, flags_of, tag, tagged};

const CHILDREN: u32 = 3;

/// Each child has its keys, in the same buckets as the others'.
fn keyed(kind: MapType) {
    let _watchdog = Watchdog::new("several processes", Duration::from_secs(60));
    let folder = Folder::new();
    let path = folder.path("map");
    let max = if kind.is_array() { CHILDREN * KEYS } else { CHILDREN * KEYS + 10 };
    let spec = Spec::new(kind, 4, 8, max);
    let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
    let map = Map::create_pinned(&path, &spec).expect("a map");
    let spec = map.spec().clone();
    let mut rng = Rng::new(seed());
    let journal = |id: u32| folder.path(&format!("journal{id}"));
    let start = |id: u32, seed: u64| {
        (Player::start(&path, &journal(id), "script", id, seed), script(&spec, id, seed))
    };
    let mut models: Vec<Model> = (0..CHILDREN).map(|id| Model::new(&map, id, usize::MAX)).collect();
    let mut players: Vec<_> = (0..CHILDREN).map(|id| start(id, rng.draw())).collect();
    let mut end = |id: u32, (mut player, mut script): (Player, Script)| {
        player.kill();
        let now = Model::read(&map, id, usize::MAX);
        let done = followed(&spec, player.done());
        if let Err(why) = models[id as usize].catch_up(&mut script, done, STRIDE, &now) {
            panic!("child {id}, USERMAP_SEED={}, {spec:?}: {why}", seed());
        }
        models[id as usize].entries.len() as u64
    };
    let (started, mut kills) = (Instant::now(), 0);
    while kills < 3 || started.elapsed() < budget(500) {
        std::thread::sleep(Duration::from_micros(rng.below(8000)));
        let victim = rng.below(players.len() as u64) as u32;
        let next = players.remove(victim as usize);
        end(victim, next);
        players.iter().for_each(|(player, _)| player.carries_on());
        players.insert(victim as usize, start(victim, rng.draw()));
        kills += 1;
    }
    let mut entries = 0;
    for (id, player) in players.into_iter().enumerate() {
        entries += end(id as u32, player);
    }
    assert_eq!(map.len(), entries);
    capacity_is_whole(&map);
}

#[test]
fn hash() {
    keyed(MapType::Hash);
}

#[test]
fn percpu_hash() {
    keyed(MapType::PerCpuHash);
}

#[test]
fn array() {
    keyed(MapType::Array);
}

#[test]
fn percpu_array() {
    keyed(MapType::PerCpuArray);
}

fn ring(kind: MapType, folder: &Folder) -> (Map, PathBuf) {
    let path = folder.path("map");
    let spec = Spec::new(kind, 0, 24, 50);
    let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
    (Map::create_pinned(&path, &spec).expect("a map"), path)
}

/// Children push numbers in order, and die; the parent takes them out.
fn producers(kind: MapType) {
    let _watchdog = Watchdog::new("producers", Duration::from_secs(60));
    let folder = Folder::new();
    let (map, path) = ring(kind, &folder);
    let mut rng = Rng::new(seed());
    let (started, mut round) = (Instant::now(), 0);
    while round < 3 || started.elapsed() < budget(300) {
        let journal = |id: u32| folder.path(&format!("journal{id}"));
        let mut players: Vec<_> =
            (0..2).map(|id| Player::start(&path, &journal(id), "push", id, 0)).collect();
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        let mut last = [None, None];
        let mut take = |value: &[u8], in_order: bool| {
            let (id, number) = tag(value);
            assert!(seen[id as usize].insert(number), "{number} of {id} came twice");
            if in_order && !kind.is_lifo() {
                assert!(last[id as usize] < Some(number), "{number} of {id} is out of order");
                last[id as usize] = Some(number);
            }
        };
        let mut value = vec![0; map.value_bytes()];
        let work = Instant::now();
        let limit = Duration::from_micros(500 + rng.below(4000));
        let first = rng.below(2) as usize;
        let mut survivor_had = None;
        loop {
            for id in 0..2 {
                if map.pop(&mut value, flags_of(&map, id)).is_ok() {
                    take(&value, true);
                }
            }
            let survivor = players[1 - first].done();
            match survivor_had {
                None if work.elapsed() > limit => {
                    players[first].kill();
                    survivor_had = Some(survivor);
                }
                Some(had) if survivor > had + 2 * STRIDE => break,
                _ => assert!(work.elapsed() < Duration::from_secs(60), "a survivor stands still"),
            }
        }
        players[1 - first].kill();
        map.drain(|_, value| take(value, true)).expect("drained");
        for (player, seen) in players.iter().zip(&seen) {
            let count = seen.len() as u64;
            assert!(seen.iter().copied().eq(0..count), "a number is missing before {count}");
            let said = player.done();
            assert!((said..=said + STRIDE + 1).contains(&count), "{count} of {said} pushes came");
        }
        capacity_is_whole(&map);
        round += 1;
    }
}

/// The parent pushes numbers, and children take them out, and die.
fn consumers(kind: MapType) {
    let _watchdog = Watchdog::new("consumers", Duration::from_secs(60));
    let folder = Folder::new();
    let (map, path) = ring(kind, &folder);
    let mut rng = Rng::new(seed());
    let (started, mut round) = (Instant::now(), 0);
    while round < 3 || started.elapsed() < budget(300) {
        let journal = |id: u32| folder.path(&format!("journal{id}"));
        let mut players: Vec<_> =
            (0..2).map(|id| Player::start(&path, &journal(id), "pop", id, 0)).collect();
        let mut pushed = [0_u64; 2];
        let mut value = vec![0; map.value_bytes()];
        let mut push = |pushed: &mut [u64; 2], id: u32| {
            tagged(&mut value, id, pushed[id as usize]);
            if map.push(&value, flags_of(&map, id)).is_ok() {
                pushed[id as usize] += 1;
            }
        };
        let begun = Instant::now();
        while players.iter().any(|player| player.done() < STRIDE) {
            (0..2).for_each(|id| push(&mut pushed, id));
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody takes anything");
        }
        let (first, limit) = (rng.below(2) as usize, Duration::from_micros(rng.below(3000)));
        let (work, mut survivor_had) = (Instant::now(), None);
        loop {
            (0..2).for_each(|id| push(&mut pushed, id));
            let survivor = players[1 - first].done();
            match survivor_had {
                None if work.elapsed() > limit => {
                    players[first].kill();
                    survivor_had = Some(survivor);
                }
                Some(had) if survivor > had + 2 * STRIDE => break,
                _ => assert!(work.elapsed() < Duration::from_secs(60), "a survivor stands still"),
            }
        }
        players[1 - first].kill();
        let mut left = BTreeSet::new();
        map.drain(|_, value| {
            let (id, number) = tag(value);
            assert!(number < pushed[id as usize], "{number} of {id} was never pushed");
            assert!(left.insert((id, number)), "{number} of {id} is there twice");
        })
        .expect("drained");
        let taken = pushed[0] + pushed[1] - left.len() as u64;
        let said = players[0].done() + players[1].done();
        let range = said..=said + 2 * (STRIDE + 1);
        assert!(range.contains(&taken), "{taken} are gone, of which {said} were taken");
        capacity_is_whole(&map);
        round += 1;
    }
}

#[test]
fn queue() {
    producers(MapType::Queue);
    consumers(MapType::Queue);
}

#[test]
fn stack() {
    producers(MapType::Stack);
    consumers(MapType::Stack);
}

#[test]
fn percpu_queue() {
    producers(MapType::PerCpuQueue);
    consumers(MapType::PerCpuQueue);
}

#[test]
fn percpu_stack() {
    producers(MapType::PerCpuStack);
    consumers(MapType::PerCpuStack);
}
