//! A process that is killed at any instruction of any operation, on every kind: what it had
//! committed is there, what it was at is there as a whole or not at all, others carry on at once,
//! and the map takes as many entries as ever.

use crate::script::{Player, STRIDE, followed, script};
use std::time::{Duration, Instant};
use usermap::abi::map_flags;
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget, costs};
use usermap_tests::child::Folder;
use usermap_tests::rng::{Rng, seed};
use usermap_tests::script::{Model, capacity_is_whole};

/// One child at a time on one map, killed again and again.
fn run(spec: &Spec, on_disk: bool) {
    let _watchdog = Watchdog::new("after a child was killed", Duration::from_secs(60));
    let folder = if on_disk { Folder::on_disk() } else { Folder::new() };
    let (path, journal) = (folder.path("map"), folder.path("journal"));
    let map = Map::create_pinned(&path, spec).expect("a map");
    let spec = map.spec().clone();
    let max = spec.max_entries as usize;
    let mut model = Model::new(&map, 0, max);
    let mut rng = Rng::new(seed());
    let started = Instant::now();
    let mut kills = 0;
    while kills < 3 || started.elapsed() < budget(400) {
        let script_seed = rng.draw();
        let mut player = Player::start(&path, &journal, "script", 0, script_seed);
        std::thread::sleep(Duration::from_micros(rng.below(1500)));
        player.kill();
        let (now, took) = costs(|| Model::read(&map, 0, max));
        assert!(took < Duration::from_millis(100), "the first reader waited: {took:?}");
        let mut script = script(&spec, 0, script_seed);
        let done = followed(&spec, player.done());
        if let Err(why) = model.catch_up(&mut script, done, STRIDE, &now) {
            panic!("kill {kills}, USERMAP_SEED={}, {spec:?}: {why}", seed());
        }
        if spec.map_type.is_ring() {
            model.rings.iter_mut().for_each(std::collections::VecDeque::clear);
            assert_eq!(map.len(), 0);
        } else {
            assert_eq!(map.len(), model.entries.len() as u64, "len after kill {kills}");
            let mut visited = 0;
            map.for_each(|key, value| {
                let key = u32::from_le_bytes(key.try_into().expect("four bytes"));
                assert_eq!(model.entries.get(&key).map(Vec::as_slice), Some(value));
                visited += 1;
                true
            })
            .expect("for_each");
            assert_eq!(visited, model.entries.len());
        }
        let ((), took) = costs(|| capacity_is_whole(&map));
        assert!(took < Duration::from_millis(100), "the first writer waited: {took:?}");
        kills += 1;
    }
}

#[test]
fn hash() {
    run(&Spec::new(MapType::Hash, 4, 8, 24), false);
}

#[test]
fn hash_with_large_values() {
    run(&Spec::new(MapType::Hash, 4, 256, 24), false);
}

#[test]
fn hash_without_preallocation() {
    run(&Spec::new(MapType::Hash, 4, 64, 24).flags(map_flags::NO_PREALLOC), false);
}

#[test]
fn hash_in_the_kernels_order() {
    run(&Spec::new(MapType::Hash, 4, 8, 24).flags(map_flags::ZERO_SEED), false);
}

#[test]
fn hash_on_disk() {
    run(&Spec::new(MapType::Hash, 4, 8, 24), true);
}

#[test]
fn percpu_hash() {
    run(&Spec::new(MapType::PerCpuHash, 4, 8, 24).cpus(2), false);
}

#[test]
fn array() {
    run(&Spec::new(MapType::Array, 4, 8, 32), false);
}

#[test]
fn array_with_large_values() {
    run(&Spec::new(MapType::Array, 4, 256, 32), false);
}

#[test]
fn percpu_array() {
    run(&Spec::new(MapType::PerCpuArray, 4, 8, 32).cpus(2), false);
}

#[test]
fn queue() {
    run(&Spec::new(MapType::Queue, 0, 24, 5), false);
}

#[test]
fn stack() {
    run(&Spec::new(MapType::Stack, 0, 24, 5), false);
}

#[test]
fn percpu_queue() {
    run(&Spec::new(MapType::PerCpuQueue, 0, 24, 5).cpus(2), false);
}

#[test]
fn percpu_stack() {
    run(&Spec::new(MapType::PerCpuStack, 0, 24, 5).cpus(2), false);
}
