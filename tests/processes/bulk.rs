//! A process that is killed in the middle of something with many entries: each entry was done or
//! not, all are whole, and the map is as large as before.

use std::process::Stdio;
use std::time::{Duration, Instant};
use usermap::abi::{BPF_ANY, cpu_flags};
use usermap::{Access, Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::child::{Folder, command, has_parent, wait};
use usermap_tests::rng::{Rng, seed};
use usermap_tests::script::{capacity_is_whole, tag, tagged};

const MAX: u32 = 60;

/// All of it, again and again.
pub fn child(arguments: &[String]) {
    let [path, ready, seed] = arguments else { panic!("{arguments:?}") };
    let map = Map::open(path, Access::ReadWrite).expect("the map");
    let kind = map.spec().map_type;
    let mut rng = Rng::new(seed.parse().expect("a number"));
    let mut value = vec![0; map.value_bytes()];
    let (first, last) = (0_u32.to_be_bytes(), u32::MAX.to_be_bytes());
    std::fs::write(ready, "").expect("written");
    while has_parent() {
        for i in 0..MAX {
            tagged(&mut value, i, rng.draw() >> 16);
            if kind.is_ring() {
                let cpu = i % map.cpus();
                let flags = if kind.is_per_cpu() { cpu_flags(cpu) } else { 0 };
                let _ = map.push(&value, flags);
            } else {
                let _ = map.update(&i.to_le_bytes(), &value, BPF_ANY);
            }
        }
        let _ = match rng.below(5) {
            _ if kind.is_ring() && rng.one_in(2) => map.drain(|_, _| ()),
            0..2 => map.clear(),
            2 => map.delete_range(&first, &last),
            3 => map.retain(|_, value| tag(value).1.is_multiple_of(2)),
            _ => batch(&map),
        };
    }
}

fn batch(map: &Map) -> usermap::Result<u64> {
    use usermap_tests::adapter::batch;
    if map.spec().map_type.is_hash() {
        batch::lookup(map, None, 4, MAX, true, 0, 0);
        let keys: Vec<u8> = (0..MAX).flat_map(u32::to_le_bytes).collect();
        let mut values = vec![0; map.value_bytes() * MAX as usize];
        for (i, value) in values.chunks_mut(map.value_bytes()).enumerate() {
            tagged(value, i as u32, 7);
        }
        batch::write(map, &keys, Some(&values), MAX, 0, 0);
        batch::write(map, &keys, None, MAX, 0, 0);
    }
    Ok(0)
}

fn run(kind: MapType) {
    let _watchdog = Watchdog::new("after a child was killed in bulk work", Duration::from_secs(60));
    let folder = Folder::new();
    let (path, ready) = (folder.path("map"), folder.path("ready"));
    let key_size = if kind.is_ring() { 0 } else { 4 };
    let spec = Spec::new(kind, key_size, 64, MAX);
    let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
    let map = Map::create_pinned(&path, &spec).expect("a map");
    let mut rng = Rng::new(seed());
    let (started, mut kills) = (Instant::now(), 0);
    while kills < 3 || started.elapsed() < budget(250) {
        let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
        let arguments = [text(&path), text(&ready), rng.draw().to_string()];
        let mut child = command("bulk", &arguments.each_ref().map(String::as_str))
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        while !ready.exists() {
            assert!(child.try_wait().expect("waiting").is_none(), "the child ended by itself");
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(rng.below(1500)));
        child.kill().expect("killed");
        wait(&mut child, Duration::from_secs(10));
        std::fs::remove_file(&ready).expect("it was there");
        let slots = |value: &[u8]| value.chunks(64).map(tag).collect::<Vec<_>>();
        if kind.is_ring() {
            let length = map.len();
            let drained = map.drain(|_, value| assert!(slots(value)[0].0 < MAX)).expect("drained");
            assert_eq!(drained, length);
        } else {
            let visited = map.for_each(|key, value| {
                let key = u32::from_le_bytes(key.try_into().expect("four bytes"));
                for slot in slots(value) {
                    assert!(slot == (0, 0) || slot.0 == key, "{slot:?} at {key}");
                }
                true
            });
            assert_eq!(visited.expect("for_each"), map.len());
        }
        capacity_is_whole(&map);
        kills += 1;
    }
}

#[test]
fn hashes() {
    run(MapType::Hash);
    run(MapType::PerCpuHash);
}

#[test]
fn arrays() {
    run(MapType::Array);
    run(MapType::PerCpuArray);
}

#[test]
fn queues_and_stacks() {
    run(MapType::Queue);
    run(MapType::Stack);
    run(MapType::PerCpuQueue);
    run(MapType::PerCpuStack);
}
