//! Checks and repairs: of a map that others use, die in, or have written anything into.

use crate::exercise::{MAX, everything, fill, specs};
use crate::scribbled::scribble;
use std::fs::File;
use std::time::{Duration, Instant};
use usermap::abi::{BPF_NOEXIST, cpu_flags};
use usermap::{Access, Check, Map};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::child::{Folder, command, has_parent};
use usermap_tests::rng::{Rng, seed};

/// Does everything until it is killed.
pub fn busy(arguments: &[String]) {
    let map = Map::open(&arguments[0], Access::ReadWrite).expect("the map");
    let mut rng = Rng::new(seed() ^ u64::from(std::process::id()));
    while has_parent() {
        everything(&map, &mut rng, 100);
    }
}

/// Two processes do everything and are killed and replaced all the time: nothing of that is damage.
#[test]
fn a_map_in_use_has_no_findings() {
    let _watchdog = Watchdog::new("checking a map in use", Duration::from_secs(60));
    let each = budget(2400) / specs().len() as u32;
    let mut rng = Rng::new(seed());
    for spec in specs() {
        let folder = Folder::new();
        let path = folder.path("map");
        let map = Map::create_pinned(&path, &spec).expect("a map");
        fill(&map);
        let reader = Map::open(&path, Access::ReadOnly).expect("the map");
        let start = || command("busy", &[path.to_str().expect("UTF-8")]).spawn().expect("a child");
        let mut children = [start(), start()];
        let (started, mut checks, mut dead) = (Instant::now(), 0, 0);
        while checks < 3 || started.elapsed() < each {
            let check = reader.check().expect("a handle that may read");
            assert_eq!(check.findings, [], "USERMAP_SEED={}, {spec:?}, {check:?}", seed());
            checks += 1;
            dead += check.dead_writers;
            if rng.one_in(20) {
                let child = &mut children[rng.below(2) as usize];
                child.kill().expect("killed");
                child.wait().expect("waited for");
                *child = start();
            }
        }
        for child in &mut children {
            child.kill().expect("killed");
            child.wait().expect("waited for");
        }
        println!("{}: {checks} checks, dead writers seen {dead} times", spec.map_type);
        // What the last ones left behind is no damage either, and a repair needs nobody's help.
        assert_eq!(map.check().expect("a check").findings, []);
        drop(map);
        is_usable(&Map::open(&path, Access::ReadWrite).expect("the map"));
    }
}

/// All works, and the capacity is whole.
fn is_usable(map: &Map) {
    if map.is_frozen() {
        return;
    }
    let value = vec![5; map.value_bytes()];
    let spec = map.spec();
    map.repair().expect("nobody else has it open");
    let check = map.check().expect("a check");
    // Nobody knows what types were.
    let fit = |check: &Check| check.findings.iter().all(|finding| finding.part == "types");
    assert!(fit(&check), "{check:?}");
    assert!(check.still && check.entries == check.counted && check.counted == map.len());
    if spec.map_type.is_ring() {
        map.drain(|_, _| ()).expect("drained");
        let flags = if spec.map_type.is_per_cpu() { cpu_flags(1) } else { 0 };
        (0..MAX).for_each(|_| map.push(&value, flags).expect("room"));
        map.push(&value, flags).expect_err("full");
    } else if spec.map_type.is_hash() {
        let walked = map.for_each(|_, _| true).expect("a walk");
        assert_eq!(walked, check.entries);
        for i in 0..2 * u64::from(MAX) {
            let mut key = (i | 1 << 31).to_le_bytes().to_vec();
            key.resize(spec.key_size as usize, 9);
            let full = map.len() == u64::from(MAX);
            let outcome = map.update(&key, &value, BPF_NOEXIST);
            assert_eq!(outcome.is_err(), full, "{outcome:?}, {} entries", map.len());
        }
        assert_eq!(map.clear().expect("cleared"), u64::from(MAX));
    } else {
        (0..MAX).for_each(|i| map.update(&i.to_ne_bytes(), &value, 0).expect("an index"));
    }
    let check = map.check().expect("a check");
    assert!(fit(&check), "{check:?}");
}

/// Whatever was written behind the header, a repair makes the map usable again.
#[test]
fn repaired_after_anything() {
    let _watchdog = Watchdog::new("repairing", Duration::from_secs(60));
    let mut rng = Rng::new(seed() ^ 0x5ca1ab1e);
    let (started, limit) = (Instant::now(), budget(1500));
    let (mut rounds, mut clean) = (0_u32, 0_u32);
    while rounds < 2 * specs().len() as u32 || started.elapsed() < limit {
        let folder = Folder::new();
        let path = folder.path("map");
        let spec = &specs()[rounds as usize % specs().len()];
        let map = Map::create_pinned(&path, spec).expect("a map");
        fill(&map);
        drop(map);
        let file = File::options().read(true).write(true).open(&path).expect("the map's file");
        // From a few words to all of the control part.
        for _ in 0..1 << rng.below(12) {
            scribble(&file, &mut rng, 512);
        }
        let map = Map::open(&path, Access::ReadWrite).expect("its header is whole");
        clean += u32::from(map.check().expect("a check").is_clean());
        is_usable(&map);
        rounds += 1;
    }
    println!("{rounds} maps, {clean} of them without a finding");
    assert!(clean < rounds, "nothing was found");
}
