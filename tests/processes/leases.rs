//! Leases of CPU slots between processes: a live one's is respected, a dead one's is taken, and
//! a forked child has none of its parent's. And the types, that another process reads.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;
use usermap::abi::BPF_ANY;
use usermap::{Access, Map, MapType, MapTypes, Spec};
use usermap_tests::check::Watchdog;
use usermap_tests::child::{Folder, command, has_parent};
use usermap_tests::sys;

fn spec() -> Spec {
    Spec::new(MapType::PerCpuArray, 4, 8, 4).cpus(3)
}

/// Leases slot 1, says so, and keeps it until it is killed.
pub fn child(arguments: &[String]) {
    let map = Map::open(&arguments[0], Access::ReadWrite).expect("the map");
    let lease = map.lease(1).expect("a slot").expect("nobody has it");
    println!("\nleased");
    while has_parent() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(lease);
}

fn start(path: &std::path::Path) -> Child {
    let mut child = command("lease", &[path.to_str().expect("UTF-8")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut lines = lines.map(|line| line.expect("a line"));
    assert!(lines.any(|line| line == "leased"), "the child leased nothing");
    child
}

#[test]
fn a_killed_processs_slot_is_leased_again() {
    let _watchdog = Watchdog::new("after a lease's holder was killed", Duration::from_secs(60));
    let folder = Folder::new();
    let path = folder.path("map");
    let map = Map::create_pinned(&path, &spec()).expect("a map");
    for _ in 0..3 {
        let mut child = start(&path);
        assert!(map.lease(1).expect("a slot").is_none(), "the child has it");
        let others = [map.lease_any(), map.lease_any()].map(|lease| lease.expect("a slot"));
        assert!(others.iter().flatten().map(|lease| lease.cpu()).all(|cpu| cpu != 1));
        assert!(others.iter().all(Option::is_some) && map.lease_any().expect("a slot").is_none());
        child.kill().expect("killed");
        // A zombie already: it need not be waited for.
        let taken = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(1));
            map.lease(1).expect("a slot")
        });
        let lease = taken.flatten().next().expect("it becomes free");
        assert!(map.lease(1).expect("a slot").is_none());
        child.wait().expect("it ended");
        drop(lease);
    }
}

#[test]
fn a_forked_child_has_no_lease_of_its_parent() {
    for map in [Map::create_anonymous(&spec()), Map::create(&spec())] {
        let map = map.expect("a map");
        let mut lease = map.lease(0).expect("a slot");
        let code = sys::fork(|| {
            drop(lease.take());
            let (taken, own) = (map.lease(0), map.lease(2));
            let refused = matches!(taken, Ok(None));
            // Ends without giving it back.
            std::mem::forget(own);
            u8::from(!refused)
        });
        assert_eq!(code, 0, "dropping the parent's lease in a child gives nothing back");
        assert!(map.lease(0).expect("a slot").is_none());
        assert!(map.lease(2).expect("a slot").is_some(), "the child's went with it");
        drop(lease);
        assert!(map.lease(0).expect("a slot").is_some());
    }
}

/// Threads of two processes add to the slots that they lease, with nothing atomic.
#[test]
fn plain_increments_on_leased_slots_lose_nothing() {
    const TIMES: u64 = 2000;
    let map = Map::create(&spec().cpus(2)).expect("a map");
    let work = || {
        for _ in 0..TIMES {
            let lease = loop {
                match map.lease_any().expect("a slot") {
                    Some(lease) => break lease,
                    None => std::thread::yield_now(),
                }
            };
            let program = map.on_cpu(lease.cpu()).expect("a slot");
            let value = program.lookup(&[0; 4]).expect("an array").expect("an index");
            let mut count = [0; 8];
            program.load(value, 0, &mut count).expect("read");
            let count = u64::from_ne_bytes(count) + 1;
            program.store(value, 0, &count.to_ne_bytes()).expect("written");
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let code = sys::fork(|| {
            work();
            0
        });
        assert_eq!(code, 0);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    let mut values = [0; 16];
    map.lookup(&[0; 4], &mut values, 0).expect("an index");
    let sum: u64 =
        values.chunks(8).map(|value| u64::from_ne_bytes(value.try_into().unwrap())).sum();
    assert_eq!(sum, 3 * TIMES);
}

fn types(salt: u8) -> MapTypes {
    let mut btf = vec![salt; 1001];
    btf[..2].copy_from_slice(&0xeb9f_u16.to_ne_bytes());
    MapTypes::new(btf, 1, 2)
}

#[test]
fn types_are_in_the_file() {
    let folder = Folder::new();
    let path = folder.path("map");
    let map = Map::create_pinned(&path, &spec().types(types(1))).expect("a map");
    map.update(&[0; 4], &[5; 24], BPF_ANY).expect("an index");
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let same = Map::open(&path, access).expect("the map");
        assert_eq!(same.types().expect("whole"), Some(types(1)));
        assert!(same.info().typed);
    }
    // Whoever comes with other types, or none, gets the map as it is.
    for spec in [spec(), spec().types(types(2))] {
        let same = Map::open_or_create(&path, &spec).expect("the map");
        assert_eq!(same.types().expect("whole"), Some(types(1)));
    }
    let untyped = folder.path("untyped");
    drop(Map::create_pinned(&untyped, &spec()).expect("a map"));
    let same = Map::open_or_create(&untyped, &spec().types(types(1))).expect("the map");
    assert_eq!(same.types().expect("none"), None);
    // Programs' memory ends before leases and types.
    let memory = [&map, &same].map(|map| {
        let memory = map.value_memory().expect("a file").expect("values");
        (memory.start, memory.length)
    });
    assert_eq!(memory[0], memory[1]);
    assert!(memory[0].0 + memory[0].1 < map.info().bytes - 1001);
    assert_eq!(map.info().bytes, same.info().bytes + 4096);
}
