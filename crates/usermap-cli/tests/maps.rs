//! Maps as wholes: create, show, pin, freeze, count, clear, range.

mod common;

use common::Maps;
use serde_json::json;

#[test]
fn create_takes_bpftools_words() {
    let maps = Maps::new();
    assert_eq!(
        maps.json("map create a type hash key 4 value 8 entries 4 name a flags no_prealloc"),
        (json!(null), 0)
    );
    assert_eq!(maps.json("map show a").0["flags"], json!(1));
    let rest = maps.fails(
        "map create a type hash key 4 value 8 entries 4 name a",
        239,
        "can't pin the object (",
    );
    assert!(rest.contains("File exists"), "{rest}");
    let few = "'create' needs at least 7 arguments, 3 found";
    maps.fails("map create a type hash", 255, few);
    maps.fails("map create x type hash key 4 value 8 entries 4", 255, "map name not specified");
    maps.fails("map create x type bog key 4 value 8 entries 4", 255, "unrecognized map type: bog");
    maps.fails("map create x type hash key q value 8 entries 4", 255, "can't parse q as key size");
    let failed = "map create failed: Invalid argument";
    let rest = maps.fails("map create x type hash key 4 value 8 entries 0 name x", 255, failed);
    assert!(rest.contains("max_entries is 0"), "{rest}");
    let rest = maps.fails("map create x type hash key 4 value 8 entries 1 name a-b", 255, failed);
    assert!(rest.contains("a-b"), "{rest}");
    let ran = maps.run("map create x type hash key 4 value 8 entries 1 name abcdefghijklmnopq");
    assert_eq!((ran.code, ran.err.starts_with("Warning: ")), (0, true));
    assert_eq!(maps.json("map show x").0["name"], json!("abcdefghijklmno"));
}

#[test]
fn show_says_what_is_in_large_pages() {
    let maps = Maps::new();
    maps.ok("map create small type hash key 4 value 8 entries 4 name s pages 2M");
    let (small, _) = maps.json("map show small");
    let why = "the map is smaller than one";
    assert_eq!((&small["bytes_huge"], &small["not_more_huge"]), (&json!(0), &json!(why)));
    let text = maps.ok("map show small");
    assert!(text.contains("\n\tin pages of 2M 0B  of 0B: the map is smaller than one\n"), "{text}");
    maps.ok("map create large type array key 4 value 8 entries 400000 name l pages 2M");
    let (large, _) = maps.json("map show large");
    // All that is possible of it, or the system's reason.
    let all = large["bytes_huge"] == json!(2 << 20);
    assert_eq!(all, large.get("not_more_huge").is_none(), "{large}");
    maps.ok("map create usual type array key 4 value 8 entries 400000 name u pages 4K");
    assert!(maps.json("map show usual").0.get("bytes_huge").is_none());
}

#[test]
fn show_says_what_maps_are() {
    let maps = Maps::new();
    assert_eq!(maps.ok("map show"), "");
    assert_eq!(maps.ok("--table map"), "No maps\n");
    maps.ok("map create flows type hash key 4 value 8 entries 16 name f1");
    maps.ok("map create work type percpu_queue value 4 entries 8 name w cpus 2");
    maps.ok("map push work cpu 1 value 1 2 3 4");
    let (all, _) = maps.json("map list");
    assert_eq!(all.as_array().unwrap().len(), 2);
    let (flows, _) = maps.json("map show name f1");
    assert_eq!(flows, all[0]);
    for (name, value) in [
        ("type", json!("hash")),
        ("name", json!("f1")),
        ("flags", json!(0)),
        ("bytes_key", json!(4)),
        ("bytes_value", json!(8)),
        ("max_entries", json!(16)),
        ("frozen", json!(0)),
        ("entries", json!(0)),
        ("pinned", json!([maps.folder().join("flows")])),
    ] {
        assert_eq!(flows[name], value, "{name}");
    }
    assert_eq!((&all[1]["cpus"], &all[1]["entries"]), (&json!(2), &json!(1)));
    let id = &flows["id"];
    let text = maps.ok(&format!("map show id {id}"));
    let begin = format!("{id}: hash  name f1  flags 0x0\n\tkey 4B  value 8B  max_entries 16  ");
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(maps.ok(&format!("map show {}", maps.folder().display())), maps.ok("map"));
    let table = maps.ok("map show --table");
    assert_eq!(table.lines().count(), 3, "{table}");
    maps.fails("map show id", 255, "what is 'id'?");
    maps.fails("map show name none", 255, "get map by name (none): No such file or directory");
    maps.fails("map show bogus x", 255, "bpf obj get (");
}

#[test]
fn files_that_are_no_maps() {
    let maps = Maps::new();
    std::fs::write(maps.folder().join("junk"), vec![0xab; 8192]).unwrap();
    let rest = maps.fails("map dump junk", 255, "bpf obj get (");
    assert!(rest.contains("not a map"), "{rest}");
    let ran = maps.run("map show");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.starts_with("Warning: ") && ran.err.contains("junk"), "{ran:?}");
}

#[test]
fn pin_and_freeze() {
    let maps = Maps::new();
    maps.ok("map create a type array key 4 value 1 entries 1 name a");
    maps.ok("map pin a b");
    maps.ok("map update a key u32:0 value 9");
    assert!(maps.ok("map lookup name b key u32:0").ends_with("value: 09\n"));
    let rest = maps.fails("map pin a b", 239, "can't pin the object (");
    assert!(rest.contains("File exists"), "{rest}");
    maps.fails("map pin a", 234, "'pin' needs at least 2 arguments, 1 found");
    assert_eq!(maps.json("map freeze b"), (json!(null), 0));
    assert_eq!(maps.json("map show a").0["frozen"], json!(1));
    assert!(maps.ok("map show a").ends_with("\tfrozen\n"));
    maps.fails("map update a key u32:0 value 1", 255, "update failed: Operation not permitted");
    std::fs::remove_file(maps.folder().join("a")).unwrap();
    assert!(maps.ok("map dump b").starts_with("key: 00 00 00 00  value: 09\n"));
}

#[test]
fn count_clear_and_ranges() {
    let maps = Maps::new();
    maps.ok("map create h type hash key 4 value 1 entries 64 name h");
    for n in 0..10 {
        maps.ok(&format!("map update h key be32:{n} value {n}"));
    }
    assert_eq!(maps.ok("map count h"), "10\n");
    assert_eq!(maps.ok("map count h --table"), "10 of 64\n");
    assert_eq!(maps.json("map count h").0, json!({"entries": 10, "max_entries": 64}));
    assert_eq!(
        maps.ok("map range lookup h first be32:3 last be32:4"),
        "key: 00 00 00 03  value: 03\nkey: 00 00 00 04  value: 04\nFound 2 elements\n"
    );
    assert!(maps.ok("map dump h range be32:8 be32:99").ends_with("Found 2 elements\n"));
    assert_eq!(maps.ok("map range update h be32:0 be32:1 value 77"), "Updated 2 elements\n");
    assert!(maps.ok("map lookup h key be32:1").ends_with("value: 4d\n"));
    assert_eq!(maps.json("map range delete h be32:2 be32:6").0, json!({"deleted": 5}));
    assert_eq!(maps.ok("map clear h"), "Cleared 5 elements\n");
    assert_eq!(maps.ok("map count h"), "0\n");
    maps.fails("map range h 1 2", 255, "expected 'lookup', 'update' or 'delete', got: 'h'");
    maps.fails("map range lookup h be32:1", 255, "last key expected 4 bytes got 0");
    maps.fails("map range update h be32:1 be32:2", 255, "did not find value");
}
