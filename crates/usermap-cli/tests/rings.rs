//! Queues and stacks, and those of each CPU slot.

mod common;

use common::Maps;
use serde_json::json;

#[test]
fn queues_and_stacks() {
    let maps = Maps::new();
    for (kind, first, second) in [("queue", "01", "02"), ("stack", "02", "01")] {
        maps.ok(&format!("map create {kind} type {kind} key 0 value 1 entries 2 name {kind}"));
        maps.ok(&format!("map push {kind} value 1"));
        assert_eq!(maps.run(&format!("-j map enqueue {kind} value 2")).out, "null\n");
        let rest = maps.fails(&format!("map push {kind} value 3"), 249, "update failed: Argument");
        assert!(rest.contains("max_entries is 2") && rest.contains("value 03"), "{rest}");
        assert_eq!(maps.ok(&format!("map peek {kind}")), format!("value: {first}\n"));
        assert_eq!(maps.ok(&format!("map pop {kind}")), format!("value: {first}\n"));
        let (value, _) = maps.json(&format!("map dequeue {kind}"));
        assert_eq!(value, json!({"key": [], "value": [format!("0x{second}")]}));
        let ran = maps.run(&format!("map pop {kind}"));
        assert_eq!((ran.code, ran.out.as_str()), (254, "Error: empty map\n"));
        let ran = maps.run(&format!("map peek {kind}"));
        assert_eq!((ran.code, ran.out.as_str()), (254, "key:\n\n\nNot found\n"));
        assert_eq!(maps.json(&format!("map pop {kind}")), (json!(null), 254));
    }
}

#[test]
fn exist_drops_the_oldest() {
    let maps = Maps::new();
    maps.ok("map create q type queue value 1 entries 2 name q");
    for n in 1..=3 {
        maps.ok(&format!("map push q value {n} exist"));
    }
    assert_eq!(maps.ok("map drain q"), "value: 02\nvalue: 03\nDrained 2 elements\n");
    assert_eq!(maps.ok("map count q"), "0\n");
}

#[test]
fn dump_of_a_queue_is_refused_as_by_bpftool() {
    let maps = Maps::new();
    maps.ok("map create q type queue value 1 entries 2 name q");
    let ran = maps.run("map dump q");
    assert_eq!((ran.code, ran.out.as_str()), (234, "Found 0 elements\n"));
    assert!(ran.err.starts_with("Error: can't dump"), "{ran:?}");
    assert_eq!(maps.json("map dump q"), (json!([]), 234));
    maps.fails("map push q key 1 value 1", 255, "unnecessary key");
}

#[test]
fn each_slot_has_its_ring() {
    let maps = Maps::new();
    maps.ok("map create w type percpu_queue value 1 entries 2 name w cpus 2");
    maps.ok("map push w cpu 1 value 11");
    maps.ok("map push w value 12 cpu 1");
    maps.fails("map push w cpu 1 value 13", 249, "update failed: Argument list too long");
    maps.ok("map push w cpu 0 value 1");
    maps.fails("map push w cpu 2 value 1", 222, "update failed: Numerical result out of range");
    assert_eq!(maps.ok("map count w"), "3\n");
    assert_eq!(maps.ok("map count w cpu 1"), "2\n");
    assert_eq!(maps.json("map count w").0["values"][1], json!({"cpu": 1, "entries": 2}));
    assert_eq!(maps.ok("map peek w cpu 1"), "value (CPU 01): 0b\n");
    assert_eq!(
        maps.json("map pop w cpu 1").0,
        json!({"key": [], "values": [{"cpu": 1, "value": ["0x0b"]}]})
    );
    assert_eq!(
        maps.ok("map drain w"),
        "value (CPU 00): 01\nvalue (CPU 01): 0c\nDrained 2 elements\n"
    );
    assert_eq!(maps.json("map drain w").0, json!([]));
    maps.ok("map create h type hash key 1 value 1 entries 1 name h");
    maps.fails("map drain h", 255, "a hash map is not drained but cleared");
    maps.fails("map count h cpu 0", 255, "a hash map has no CPU slots");
}
