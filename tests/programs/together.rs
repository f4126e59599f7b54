//! Programs that run at the same time: on threads of one process, and in processes that share
//! pinned maps. Plain increments of per-CPU values lose nothing, because every run has its slot
//! alone.

use crate::input::Input;
use crate::side::context;
use std::path::Path;
use usermap::{Access, Map};
use usermap_tests::child::{self, Folder};
use usermap_vm::{Context, Loaded, Object, Options, ProgramType};

const RUNS: u64 = 20_000;

fn object() -> Object {
    Object::open(super::examples().join("exercise/percpu.bpf.o")).expect("the object")
}

fn packet() -> Context {
    context(ProgramType::SchedCls, &Input { packet: vec![0; 64], bytes: Vec::new() })
}

fn count(loaded: &Loaded, runs: u64) {
    let program = loaded.program("count").expect("a program");
    for run in 0..runs {
        // One by one and on a slot that is kept: both kinds of callers.
        if run % 64 == 0 {
            program.run(&mut packet()).expect("a run");
            continue;
        }
        let mut contexts = [packet(), packet(), packet()];
        for outcome in program.run_batch(&mut contexts).expect("a slot") {
            outcome.expect("a run");
        }
    }
}

/// How many packets all slots have counted.
fn counted(map: &Map) -> u64 {
    let mut values = vec![0; map.value_bytes()];
    map.lookup(&0_u32.to_ne_bytes(), &mut values, 0).expect("the counter");
    let slots = values.chunks(values.len() / map.spec().cpus as usize);
    slots.map(|slot| u64::from_ne_bytes(slot[..8].try_into().expect("8 bytes"))).sum()
}

/// What [`count`] counts.
fn expected(runs: u64) -> u64 {
    let alone = runs.div_ceil(64);
    alone + (runs - alone) * 3
}

#[test]
fn threads_lose_no_increment() {
    for interpret in [false, true] {
        let options = Options::new().interpret(interpret).slots(3);
        let loaded = object().load(&options).expect("it loads");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| count(&loaded, RUNS / 4));
            }
        });
        let map = loaded.map("counters").expect("the map");
        assert_eq!(counted(&map), 4 * expected(RUNS / 4));
    }
}

/// A child that counts in the pinned maps of this folder.
pub fn count_here(arguments: &[String]) {
    count(&pinned(Path::new(&arguments[0])), RUNS / 4);
}

fn pinned(folder: &Path) -> Loaded {
    let mut object = object();
    object.pin("counters", folder.join("counters")).expect("a map");
    object.pin("by_length", folder.join("by_length")).expect("a map");
    object.load(&Options::new()).expect("it loads")
}

#[test]
fn processes_lose_no_increment() {
    let folder = Folder::new();
    let place = folder.path("");
    let arguments = [place.to_str().expect("a name in UTF-8")];
    let children: Vec<_> =
        (0..3).map(|_| child::command("count", &arguments).spawn().expect("a child")).collect();
    count(&pinned(&place), RUNS / 4);
    for mut child in children {
        assert!(child.wait().expect("its end").success());
    }
    let map = Map::open(folder.path("counters"), Access::ReadOnly).expect("the map");
    assert_eq!(counted(&map), 4 * expected(RUNS / 4));
    // The types came along.
    assert!(map.types().expect("they are whole").is_some());
}

/// A child that takes a slot of the pinned maps, and is killed with it.
pub fn hold(arguments: &[String]) {
    let loaded = pinned(Path::new(&arguments[0]));
    let program = loaded.program("count").expect("a program");
    let mut runners = Vec::new();
    for _ in 0..usermap::possible_cpus() {
        let mut runner = program.runner().expect("a slot");
        runner.run(&mut packet()).expect("a run");
        runners.push(runner);
    }
    std::fs::write(Path::new(&arguments[0]).join("ready"), "").expect("a sign");
    while child::has_parent() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn slots_of_the_killed_are_leased_again() {
    let folder = Folder::new();
    let place = folder.path("");
    let arguments = [place.to_str().expect("a name in UTF-8")];
    let mut child = child::command("hold", &arguments).spawn().expect("a child");
    while !folder.path("ready").exists() {
        assert!(child.try_wait().expect("its state").is_none(), "the child failed");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let loaded = pinned(&place);
    child.kill().expect("a kill");
    child.wait().expect("its end");
    let mut packet = packet();
    loaded.program("count").expect("a program").run(&mut packet).expect("a slot again");
    let map = loaded.map("counters").expect("the map");
    assert_eq!(counted(&map), u64::from(usermap::possible_cpus()) + 1);
}
