//! Per-CPU hashes and arrays: values of all slots, of one, and their sums.

mod common;

use common::Maps;
use serde_json::json;

fn hits() -> Maps {
    let maps = Maps::new();
    maps.ok("map create hits type percpu_array key 4 value 4 entries 2 name hits cpus 3");
    maps.ok("map update hits key u32:1 value cpu 0 u32:5 cpu 2 u32:70 cpu 1 u32:6");
    maps
}

#[test]
fn every_slot_is_shown() {
    let maps = hits();
    assert_eq!(
        maps.ok("map lookup hits key u32:1"),
        "key:\n01 00 00 00\nvalue (CPU 00): 05 00 00 00\nvalue (CPU 01): 06 00 00 00\n\
         value (CPU 02): 46 00 00 00\n"
    );
    assert_eq!(
        maps.json("map lookup hits key u32:1").0["values"],
        json!([
            {"cpu": 0, "value": ["0x05", "0x00", "0x00", "0x00"]},
            {"cpu": 1, "value": ["0x06", "0x00", "0x00", "0x00"]},
            {"cpu": 2, "value": ["0x46", "0x00", "0x00", "0x00"]},
        ])
    );
    assert_eq!(
        maps.ok("map lookup hits key u32:1 cpu 2"),
        "key:\n01 00 00 00\nvalue (CPU 02): 46 00 00 00\n"
    );
    maps.fails("map lookup hits key u32:1 cpu 3", 255, "there is no cpu 3, only 3 slots");
    assert_eq!(
        maps.ok("--table map dump hits"),
        "KEY (u32)  CPU 0  CPU 1  CPU 2  SUM (u32)\n\
         \x20       0      0      0      0          0\n\
         \x20       1      5      6     70         81\n\
         Found 2 elements\n"
    );
}

#[test]
fn one_value_goes_to_every_slot() {
    let maps = Maps::new();
    maps.ok("map create h type percpu_hash key 1 value 20 entries 2 name h cpus 2");
    maps.ok("map update h key 7 value hex1:ff str:abc");
    let value = "ff 61 62 63 00 00 00 00  00 00 00 00 00 00 00 00\n00 00 00 00\n";
    assert_eq!(
        maps.ok("map dump h"),
        format!("key:\n07\nvalue (CPU 00):\n{value}value (CPU 01):\n{value}Found 1 element\n")
    );
    maps.fails("map update h key 7 value cpu 0 str:a", 255, "did not find value of cpu 1");
}

#[test]
fn sums() {
    let maps = hits();
    assert_eq!(
        maps.ok("map sum hits"),
        "key: 00 00 00 00  sum: 0  min: 0  max: 0\nkey: 01 00 00 00  sum: 81  min: 5  max: 70\n\
         Found 2 elements, sum 81\n"
    );
    let (sum, _) = maps.json("map sum hits");
    assert_eq!((&sum["sum"], &sum["elements"][1]["max"]), (&json!(81), &json!(70)));
    assert_eq!(sum["elements"][1]["values"][2], json!({"cpu": 2, "value": 70}));
    assert_eq!(maps.json("map sum hits key u32:1").0["min"], json!(5));
    maps.ok("map create pairs type percpu_hash key 1 value 16 entries 1 name pairs cpus 2");
    maps.ok("map update pairs key 1 value cpu 0 u64:1 u64:2 cpu 1 u64:3 u64:4");
    assert_eq!(maps.json("map sum pairs").0["sum"], json!([4, 6]));
    maps.ok("map create odd type percpu_hash key 1 value 3 entries 1 name odd");
    maps.fails("map sum odd", 255, "values of 3 bytes are no numbers");
    maps.fails("map sum odd --value-type mac", 255, "--value-type mac is longer");
}
