//! check: what is damaged, and --repair.

mod common;

use common::Maps;
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Word 64: entries that no writer has counted.
const ENTRIES: u64 = 64 * 8;

fn damage(maps: &Maps, map: &str, at: u64, value: u32) {
    let file = File::options().write(true).open(maps.folder().join(map)).unwrap();
    file.write_all_at(&value.to_ne_bytes(), at).unwrap();
}

fn three_entries(maps: &Maps) {
    maps.ok("map create m type hash key 4 value 8 entries 9 name m");
    for key in 1..4 {
        maps.ok(&format!("map update m key u32:{key} value u64:{key}"));
    }
}

#[test]
fn clean_maps() {
    let maps = Maps::new();
    three_entries(&maps);
    let said = maps.ok("map check m");
    assert!(said.starts_with("clean: entries 3  counted 3"), "{said}");
    let (value, code) = maps.json("map check m");
    assert_eq!((code, &value["damages"], &value["findings"]), (0, &json!(0), &json!([])));
    assert_eq!((&value["entries"], &value["still"]), (&json!(3), &json!(true)));
    assert_eq!(value.get("repaired"), None);
    let said = maps.ok("--table map check m --repair");
    assert!(
        said.ends_with(
            "repaired, now clean: entries 3  dropped 0  rejoined 0  freed_nodes 0  released 0\n"
        ),
        "{said}"
    );
    for kind in ["array", "percpu_array", "queue", "percpu_stack"] {
        let key = if kind.ends_with("array") { 4 } else { 0 };
        maps.ok(&format!("map create {kind} type {kind} key {key} value 8 entries 9 name {kind}"));
        assert!(maps.ok(&format!("map check {kind}")).starts_with("clean: entries "));
    }
}

#[test]
fn damaged_maps() {
    let maps = Maps::new();
    three_entries(&maps);
    damage(&maps, "m", ENTRIES, 4);
    let ran = maps.run("map check m");
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines[0].starts_with("count 0 (0x7") && lines[0].ends_with("not the number of entries")
    );
    assert!(lines[1].starts_with("damaged in 1 places: entries 3  counted 7"), "{}", ran.out);
    let ran = maps.run("--table map check m");
    assert!(ran.code == 1 && ran.out.starts_with("PART "), "{}", ran.out);
    let (value, code) = maps.json("map check m");
    assert_eq!((code, &value["damages"]), (1, &json!(1)));
    let finding = &value["findings"][0];
    assert_eq!((&finding["part"], &finding["index"]), (&json!("count"), &json!(0)));
    // Repaired, it is clean.
    let (value, code) = maps.json("map check m --repair");
    assert_eq!((code, &value["damages"]), (0, &json!(1)));
    let done = json!({"entries": 3, "dropped": 0, "rejoined": 0, "freed_nodes": 0, "released": 0,
        "damages_left": 0});
    assert_eq!(value["repaired"], done);
    maps.ok("map check m");
    assert_eq!(maps.ok("map count m"), "3\n");
}

#[test]
fn in_batches_and_in_vain() {
    let maps = Maps::new();
    three_entries(&maps);
    damage(&maps, "m", ENTRIES, 2);
    let ran = maps.run_with("batch file -", "map check m --repair\nmap check m\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    maps.fails("map show m --repair", 255, "option '--repair' is one of 'usermap map check'");
    maps.fails("version --repair", 255, "option '--repair' is one of 'usermap map check'");
    maps.fails("map check", 255, "'check' needs at least 1 arguments, 0 found");
    maps.fails("map check m now", 255, "unexpected operand: 'now'");
    let rest = maps.fails("map check none", 255, "bpf obj get (");
    assert!(rest.contains("No such file"), "{rest}");
    // What is no map any more cannot be looked into.
    damage(&maps, "m", 16, 99);
    let rest = maps.fails("map check m --repair", 255, "bpf obj get (");
    assert!(rest.contains("checksum"), "{rest}");
    assert!(maps.ok("map help check").contains("--repair"));
    assert!(maps.ok("man").contains("check"));
}
