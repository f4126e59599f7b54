//! Entries of hashes and arrays: update, lookup, getnext, delete, dump, inc, and pop by key.

mod common;

use common::Maps;
use serde_json::json;

fn flows() -> Maps {
    let maps = Maps::new();
    assert_eq!(maps.ok("map create flows type hash key 4 value 8 entries 2 name flows"), "");
    maps
}

#[test]
fn an_entry_from_update_to_delete() {
    let maps = flows();
    assert_eq!(maps.ok("map update flows key ip:10.0.0.1 value u64:7"), "");
    let entry = "key: 0a 00 00 01  value: 07 00 00 00 00 00 00 00\n";
    assert_eq!(maps.ok("map lookup name flows key 0x0a 0 0 01"), entry);
    let file = maps.folder().join("flows");
    let file = file.display();
    assert_eq!(maps.ok(&format!("map lookup pinned {file} key hex 0a 0 0 1")), entry);
    assert_eq!(maps.ok(&format!("map dump {file}")), format!("{entry}Found 1 element\n"));
    assert_eq!(maps.ok("map getnext flows"), "key: None\nnext key:\n0a 00 00 01\n");
    assert_eq!(maps.ok("map delete flows key 10 0 0 1"), "");
    assert_eq!(maps.ok("map dump flows"), "Found 0 elements\n");
}

#[test]
fn json_is_bpftools() {
    let maps = flows();
    assert_eq!(maps.run("-j map update flows key 1 2 3 4 value u64:258").out, "null\n");
    let entry = "{\"key\":[\"0x01\",\"0x02\",\"0x03\",\"0x04\"],\"value\":\
                 [\"0x02\",\"0x01\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\"]}";
    assert_eq!(maps.ok("-j map dump flows"), format!("[{entry}]\n"));
    assert_eq!(maps.ok("map lookup flows key 1 2 3 4 -j"), format!("{entry}\n"));
    assert_eq!(
        maps.ok("-j map getnext flows"),
        "{\"key\":null,\"next_key\":[\"0x01\",\"0x02\",\"0x03\",\"0x04\"]}\n"
    );
    assert_eq!(
        maps.ok("-p map dump flows"),
        "[{\n        \"key\": [\"0x01\",\"0x02\",\"0x03\",\"0x04\"\n        ],\n        \"value\": \
         [\"0x02\",\"0x01\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\"\n        ]\n    \
         }\n]\n"
    );
    assert_eq!(maps.json("map lookup flows key 9 9 9 9"), (json!(null), 254));
    assert_eq!(maps.json("map delete flows key 1 2 3 4"), (json!(null), 0));
    assert_eq!(maps.json("map dump flows"), (json!([]), 0));
    let (error, code) = maps.json("map delete flows key 1 2 3 4");
    assert!(error["error"].as_str().unwrap().starts_with("delete failed: No such file"));
    assert_eq!(code, 254);
}

#[test]
fn failures_have_bpftools_codes_and_name_the_map() {
    let maps = flows();
    maps.ok("map update flows key 1 0 0 0 value u64:1");
    let rest = maps.fails(
        "map update flows key 1 0 0 0 value u64:1 noexist",
        239,
        "update failed: File exists",
    );
    assert!(rest.contains("flows") && rest.contains("key 01 00 00 00"), "{rest}");
    maps.fails("map update flows key 2 0 0 0 value u64:1 exist", 254, "update failed: No such");
    maps.ok("map update flows key 2 0 0 0 value u64:1");
    let rest = maps.fails(
        "map update flows key 3 0 0 0 value u64:1",
        249,
        "update failed: Argument list too long",
    );
    assert!(rest.contains("max_entries is 2"), "{rest}");
    let ran = maps.run("map lookup flows key 9 0 0 0");
    assert_eq!((ran.code, ran.out.as_str()), (254, "key:\n09 00 00 00\n\nNot found\n"));
    maps.fails("map getnext nosuch", 255, "bpf obj get (");
    maps.fails("map update flows key 1 0 0 value 1", 255, "error parsing byte: value");
    maps.fails("map update flows key 1 0 0 0", 255, "did not find value (map flows)");
    maps.fails("map update flows", 255, "did not find key");
    maps.fails("map update", 255, "'update' needs at least 1 arguments, 0 found");
    maps.fails("map lookup id x key 1", 255, "can't parse x as ID");
    maps.fails("map lookup id 0 key 1", 255, "get map by id (0): No such file or directory");
    maps.fails("map frobnicate", 255, "unknown map command 'frobnicate'");
    maps.fails("-x", 255, "unrecognized option '-x'");
}

#[test]
fn arrays_have_indices() {
    let maps = Maps::new();
    maps.ok("map create a type array key 4 value 32 entries 1 name a");
    let zeros = "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00\n";
    assert_eq!(
        maps.ok("map dump a"),
        format!("key:\n00 00 00 00\nvalue:\n{zeros}{zeros}Found 1 element\n")
    );
    maps.ok("map update a key u32:0 value str:hello");
    assert_eq!(
        maps.ok("--table map dump a"),
        "KEY (u32)  VALUE\n        0  \"hello\"\nFound 1 element\n"
    );
    maps.fails("map delete a key u32:0", 234, "delete failed: Invalid argument");
    maps.fails("map update a key u32:1 value str:x", 249, "update failed");
    assert_eq!(maps.run("map lookup a key u32:1").code, 254);
}

#[test]
fn tables_read_types() {
    let maps = Maps::new();
    maps.ok("map create f type hash key 8 value 16 entries 4 name f");
    maps.ok("map update f key ip:10.0.0.1 be16:443 be16:6 value u64:3 u64:180");
    assert_eq!(
        maps.ok("map dump f --table --key-type ip,be16 --value-type u64,u64"),
        "KEY (ip,be16,hex2)  VALUE (u64,u64)\n10.0.0.1 443 0006   3 180\nFound 1 element\n"
    );
    maps.fails("map dump f --table --key-type ip,ip6", 255, "--key-type ip,ip6 is longer");
    maps.fails("map dump f --table --key-type i7", 255, "no such type: 'i7'");
}

#[test]
fn inc_creates_and_adds() {
    let maps = flows();
    assert_eq!(
        maps.ok("map inc flows key 1 0 0 0"),
        "key: 01 00 00 00  value: 01 00 00 00 00 00 00 00\n"
    );
    maps.ok("map inc flows key 1 0 0 0 by 0x10");
    let (entry, _) = maps.json("map inc flows key 1 0 0 0 by -2");
    assert_eq!(entry["value"][0], "0x0f");
    maps.fails("map inc flows key 2 0 0 0 exist", 254, "inc failed: No such file or directory");
    maps.fails("map inc flows key 1 0 0 0 by x", 255, "can't parse x as increment");
}

#[test]
fn pop_takes_a_hashs_entry() {
    let maps = flows();
    maps.ok("map update flows key 1 0 0 0 value u64:5");
    assert!(maps.ok("map pop flows key 1 0 0 0").contains("value: 05"));
    assert_eq!(maps.run("map pop flows key 1 0 0 0").code, 254);
    maps.fails("map pop flows", 255, "did not find key");
}
