//! Processes that create the same name at once: one creates and the others open, whole, the map
//! that it made; a spec that differs is an error that says how.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use usermap::abi::{BPF_ANY, errno::*};
use usermap::{Access, Error, Map, MapType, Spec};
use usermap_tests::child::{End, Folder, command, wait};

const ROUNDS: u32 = 60;

fn spec(kind: MapType) -> Spec {
    let key_size = if kind.is_ring() { 0 } else { 4 };
    Spec::new(kind, key_size, 8, 64).name("race").expect("a name")
}

/// Creates or opens one name after another. The map itself is where the processes wait for one
/// another, so that they are at the next name at the same time.
pub fn child(arguments: &[String]) {
    let [folder, processes] = arguments else { panic!("{arguments:?}") };
    let processes: u64 = processes.parse().expect("a number");
    let deadline = Instant::now() + Duration::from_secs(30);
    for round in 0..ROUNDS {
        let path = Path::new(folder).join(format!("map{round}"));
        let map = Map::open_or_create(&path, &spec(MapType::Hash)).expect("created or opened");
        map.inc(&[0; 4], 1, BPF_ANY).expect("room");
        let mut value = [0; 8];
        while u64::from_le_bytes(value) < processes {
            map.lookup(&[0; 4], &mut value, 0).expect("what was just counted");
            assert!(Instant::now() < deadline, "the others are in another map: {value:?}");
            std::hint::spin_loop();
        }
        assert_eq!(map.len(), 1);
    }
}

fn spawn(folder: &Folder, processes: usize) -> Vec<Child> {
    let path = folder.path("");
    let arguments = [path.to_str().expect("UTF-8"), &processes.to_string()];
    let spawn = |_| command("create", &arguments).stdout(Stdio::null()).spawn().expect("a child");
    (0..processes).map(spawn).collect()
}

#[test]
fn one_creates_the_others_open() {
    for processes in [2, 3] {
        let folder = Folder::new();
        for mut child in spawn(&folder, processes) {
            let end = wait(&mut child, Duration::from_secs(40));
            assert!(end.success(), "{end:?}");
        }
        // Nothing but the maps is left behind.
        let left = std::fs::read_dir(folder.path("")).expect("the folder").count();
        assert_eq!(left, ROUNDS as usize, "files in the folder");
    }
}

/// The same with threads, which meet more closely.
#[test]
fn threads_that_create_at_once() {
    let folder = Folder::new();
    let barrier = std::sync::Barrier::new(4);
    for round in 0..100 {
        let path = folder.path(&format!("map{round}"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (path, barrier) = (&path, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let map = if thread == 0 {
                        Map::create_pinned(path, &spec(MapType::Hash))
                    } else {
                        Map::open_or_create(path, &spec(MapType::Hash))
                    };
                    match map {
                        Ok(map) => map.inc(&[0; 4], 1, BPF_ANY).expect("room"),
                        Err(error) => assert_eq!((thread, error.errno()), (0, EEXIST), "{error}"),
                    }
                });
            }
        });
        let map = Map::open(&path, Access::ReadOnly).expect("it is there");
        let mut value = [0; 8];
        map.lookup(&[0; 4], &mut value, 0).expect("what was counted");
        assert!(matches!(u64::from_le_bytes(value), 3 | 4), "{value:?}");
    }
}

/// While one creates, others that only open see nothing or a whole map.
#[test]
fn nobody_sees_half_a_map() {
    let folder = Folder::new();
    let large = Spec::new(MapType::Hash, 16, 64, 5000);
    for round in 0..100 {
        let path = folder.path(&format!("map{round}"));
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| {
                let deadline = Instant::now() + Duration::from_secs(20);
                while Instant::now() < deadline {
                    match Map::open(&path, Access::ReadWrite) {
                        Ok(map) => return map.spec().clone(),
                        Err(error) => assert_eq!(error.errno(), ENOENT, "{error}"),
                    }
                }
                panic!("it never appeared");
            });
            let map = Map::create_pinned(&path, &large).expect("a map");
            assert_eq!(&opener.join().expect("no panic"), map.spec());
        });
    }
}

#[test]
fn specs_that_differ() {
    let folder = Folder::new();
    let path = folder.path("map");
    let first = spec(MapType::Hash);
    let map = Map::create_pinned(&path, &first).expect("a map");
    map.update(&[1; 4], &[2; 8], BPF_ANY).expect("room");
    let mut others = vec![spec(MapType::Array), spec(MapType::PerCpuHash)];
    for change in [
        (|spec: &mut Spec| spec.key_size = 8) as fn(&mut Spec),
        |spec| spec.value_size = 16,
        |spec| spec.max_entries = 65,
        |spec| spec.flags = 1,
    ] {
        others.push(first.clone());
        change(others.last_mut().expect("just pushed"));
    }
    for other in others {
        let error = Map::open_or_create(&path, &other).expect_err("it differs");
        let Error::Differs { field, found, asked, .. } = error else {
            panic!("{error}: not that it differs");
        };
        assert_ne!(found, asked);
        let text = error.to_string();
        for part in [path.to_str().expect("UTF-8"), field, &found.to_string(), &asked.to_string()] {
            assert!(text.contains(part), "{text:?} does not name {part}");
        }
        let error = Map::create_pinned(&path, &other).expect_err("the name is taken");
        assert_eq!(error.errno(), EEXIST, "{error}");
    }
    let mut value = [0; 8];
    map.lookup(&[1; 4], &mut value, 0).expect("nothing was lost");
    let again = Map::open_or_create(&path, &first).expect("the same spec");
    again.lookup(&[1; 4], &mut value, 0).expect("the same map");
}

/// A creator that is killed leaves a whole map or none, and nothing in the way of the next one.
#[test]
fn creators_that_are_killed() {
    let folder = Folder::new();
    for round in 0..20_u64 {
        for mut child in spawn(&folder, 1) {
            std::thread::sleep(Duration::from_micros(1000 + 300 * round));
            let _ = child.kill();
            assert!(!matches!(wait(&mut child, Duration::from_secs(5)), End::Hang));
        }
        for name in 0..ROUNDS {
            let path = folder.path(&format!("map{name}"));
            let map = Map::open_or_create(&path, &spec(MapType::Hash)).expect("whole or absent");
            map.inc(&[0; 4], 1, BPF_ANY).expect("room");
            drop(map);
            std::fs::remove_file(&path).expect("unpinned");
        }
    }
}
