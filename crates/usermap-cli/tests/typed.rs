//! Maps that carry their types: shown as bpftool shows the kernel's maps that have BTF, and as
//! tables for people.
//!
//! `data/typed.bpf.o` is `clang -O2 -g -target bpf -c data/typed.bpf.c`. The comparison with
//! bpftool needs root; elsewhere it says that it was skipped and passes, unless
//! `USERMAP_REQUIRE_KERNEL` is set.

mod common;

use common::Maps;
use common::kernel::{Namespace, answer};
use std::path::Path;
use usermap::{Map, MapType, MapTypes, Spec, abi::BPF_ANY};
use usermap_vm::Object;
use usermap_vm::btf::{Kind, Value};

const OBJECT: &[u8] = include_bytes!("data/typed.bpf.o");

fn object() -> Object {
    Object::from_bytes(OBJECT, "typed.bpf.o").unwrap()
}

/// Makes the object's maps, as its loader would, with `cpus` slots (0: the machine's).
fn create(folder: &Path, cpus: u32) {
    let object = object();
    let btf = object.btf().unwrap();
    for map in object.maps() {
        let ids = [map.key_type.unwrap_or(0), map.value_type.unwrap_or(0)];
        let (blob, ids) = btf.subset(&ids);
        let kind = MapType::from_id(map.map_type).unwrap();
        let spec = Spec::new(kind, map.key_size, map.value_size, map.max_entries).cpus(cpus);
        let spec = spec.flags(map.map_flags).types(MapTypes::new(blob, ids[0], ids[1]));
        let name = map.name.replace('.', "typed_");
        let made = Map::create_pinned(folder.join(name), &spec).unwrap();
        if let Some(initial) = &map.initial {
            made.update(&[0; 4], initial, BPF_ANY).unwrap();
        }
    }
}

/// Patterns that values are filled with.
fn values(size: usize) -> Vec<String> {
    let patterns: [fn(usize) -> u8; 5] = [
        |_| 0,
        |_| 0xff,
        |at| (at * 37 + 1) as u8,
        |at| (at as u8).wrapping_mul(101) ^ 0x5a,
        |at| if at % 4 == 3 { 0 } else { b'a' + at as u8 % 20 },
    ];
    let bytes = |pattern: fn(usize) -> u8| {
        (0..size).map(|at| pattern(at).to_string()).collect::<Vec<_>>().join(" ")
    };
    patterns.map(bytes).into()
}

/// Lines that update a map, and lines that show it, of every map.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    for map in object().maps() {
        let file = format!("pinned $B/{}", map.name.replace('.', "typed_"));
        let key = if map.name == "flows" { "10 0 0 1 187 1 6 0" } else { "0 0 0 0" };
        let mut values = values(map.value_size as usize);
        if let Some(initial) = &map.initial {
            values = vec![initial.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")];
        }
        for value in values {
            lines.push(format!("map update {file} key {key} value {value}"));
            for option in ["", "-j ", "-p "] {
                lines.push(format!("{option}map dump {file}"));
                lines.push(format!("{option}map lookup {file} key {key}"));
            }
        }
        lines.push(format!("map lookup {file} key {}", key.replace('0', "9")));
        lines.push(format!("-j map getnext {file}"));
        lines.push(format!("map getnext {file}"));
    }
    lines
}

#[test]
fn usermap_shows_types_as_bpftool() {
    let kernel = Maps::new();
    let required = std::env::var_os("USERMAP_REQUIRE_KERNEL").is_some();
    let Some(holder) = Namespace::new(kernel.folder()) else {
        assert!(!required, "no bpftool here, or no right to mount a bpf file system");
        println!("skipped: no bpftool here, or no right to mount a bpf file system");
        return;
    };
    let object = kernel.folder().with_extension("o");
    std::fs::write(&object, OBJECT).unwrap();
    let load = format!("prog load {} $B/prog type xdp pinmaps $B", object.display());
    let loaded = answer(holder.bpftool(), &load, kernel.folder());
    std::fs::remove_file(&object).unwrap();
    if loaded.code != Some(0) {
        assert!(!required, "bpftool loads no program: {}", loaded.err);
        println!("skipped: bpftool loads no program here: {}", loaded.err);
        return;
    }
    // libbpf names the maps of sections after the object, with the file's name in front.
    let stem = object.file_stem().unwrap().to_string_lossy().replace(['.', '-'], "_");
    let prefix: String = stem.chars().take(8).collect();
    let maps = Maps::new();
    create(maps.folder(), 0);
    let mut failed = Vec::new();
    for line in lines() {
        let theirs = line.replace("typed_", &format!("{prefix}_"));
        let theirs = answer(holder.bpftool(), &theirs, kernel.folder());
        let ours = answer(maps.command(""), &line, maps.folder());
        if (theirs.code, &theirs.out) != (ours.code, &ours.out) {
            failed.push(format!("{line}\n{theirs}{ours}"));
        }
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
}

/// A part of what is compared with bpftool above, for where there is none; and what it lacks.
#[test]
fn plain_and_json() {
    let maps = Maps::new();
    create(maps.folder(), 2);
    maps.ok("map update slots key u32:1 value cpu 0 u32:5 str8:up cpu 1 i32:-7 str8:down");
    let plain = "{\n    \"key\": 1,\n    \"values\": [{\n            \"cpu\": 0,\n            \
                 \"value\": {\n                \"a\": 5,\n                \"tag\": \"up\"\n            \
                 }\n        },{\n            \"cpu\": 1,\n            \"value\": {\n                \
                 \"a\": -7,\n                \"tag\": \"down\"\n            }\n        }\n    ]\n}\n";
    assert_eq!(maps.ok("map lookup slots key u32:1"), plain);
    let (json, _) = maps.json("map dump slots");
    assert_eq!(json[1]["key"][0], "0x01");
    assert_eq!(json[1]["formatted"]["values"][1]["value"]["tag"], "down");
    let one = maps.json("map lookup slots key u32:1 cpu 1").0;
    assert_eq!(one["formatted"]["values"][0]["value"]["a"], -7);
    let data = maps.json("map dump typed_data").0;
    assert_eq!(data[0]["formatted"]["value"][".data"][0]["counter"], 7);
    assert!(data[0]["formatted"].get("key").is_none(), "an index without a type");
    // A list of several, and two documents of a batch.
    let list = maps.ok("map dump colors");
    assert!(list.starts_with("[{\n") && list.ends_with("}\n]\n"), "{list}");
    let twice = maps.run_with("batch file -", "map dump colors\nmap dump colors\n").out;
    assert!(twice.starts_with(&list), "{twice}");
    assert_eq!(twice.matches(&list).count(), 2, "{twice}");
}

#[test]
fn tables() {
    let maps = Maps::new();
    create(maps.folder(), 2);
    maps.ok("map update slots key u32:1 value cpu 0 u32:5 str8:up cpu 1 i32:-7 str8:down");
    maps.ok("map update totals key i32:-3 value cpu 0 u64:5 cpu 1 u64:6");
    maps.ok("map update colors key u32:1 value u32:5");
    assert_eq!(
        maps.ok("--table map lookup slots key u32:1"),
        "KEY (__u32)  CPU   a  tag\n          1    0   5  \"up\"\n          1    1  -7  \
         \"down\"\n          1  sum  -2\n"
    );
    assert_eq!(
        maps.ok("--table map dump totals"),
        "KEY (enum color)  CPU 0  CPU 1  SUM (__u64)\nDARK                  5      6           11\n\
         Found 1 element\n"
    );
    assert_eq!(
        maps.ok("--table map dump colors"),
        "KEY (int)  VALUE (enum color)\n        0  RED\n        1  GREEN\nFound 2 elements\n"
    );
    assert_eq!(
        maps.ok("--table map dump typed_data"),
        "KEY (u32)  counter  state\n        0        7  {a: 3, tag: \"hey\"}\nFound 1 element\n"
    );
    // An option is stronger.
    let line = "--table --value-type hex map lookup colors key u32:1";
    assert_eq!(maps.ok(line), "KEY (int)  VALUE (hex)\n        1  05000000\n");
}

/// What another process may have written there is told, and does not keep the map from being shown.
#[test]
fn types_that_cannot_be_used() {
    let maps = Maps::new();
    let make = |name: &str, types| {
        let spec = Spec::new(MapType::Array, 4, 8, 1).types(types);
        Map::create_pinned(maps.folder().join(name), &spec).unwrap();
    };
    let mut noise: Vec<u8> = (0..200).map(|byte| (byte * 7) as u8).collect();
    noise[..2].copy_from_slice(&0xeb9f_u16.to_ne_bytes());
    make("noise", MapTypes::new(noise, 1, 2));
    let object = object();
    let btf = object.btf().unwrap();
    let key = btf.find("key", |kind| matches!(kind, Kind::Struct(_))).unwrap();
    assert!(matches!(btf.format(key, &[0; 8]), Value::Struct(_)));
    make("longer", MapTypes::new(btf.bytes(), key, key));
    make("void", MapTypes::new(btf.bytes(), 0, u32::MAX));
    for name in ["noise", "longer", "void"] {
        let shown = maps.run(&format!("map dump {name}"));
        assert_eq!(
            shown.out,
            "key: 00 00 00 00  value: 00 00 00 00 00 00 00 00\nFound 1 element\n"
        );
        let warning = format!("Warning: the types of map {}", maps.folder().join(name).display());
        assert!(shown.err.starts_with(&warning), "{}", shown.err);
        assert_eq!(shown.code, 0);
    }
}

#[test]
fn rings_and_increments() {
    let maps = Maps::new();
    let object = object();
    let btf = object.btf().unwrap();
    let inner = btf.find("inner", |kind| matches!(kind, Kind::Struct(_))).unwrap();
    let spec = Spec::new(MapType::Queue, 0, 12, 4).types(MapTypes::new(btf.bytes(), 0, inner));
    Map::create_pinned(maps.folder().join("queue"), &spec).unwrap();
    maps.ok("map push queue value u32:1 str8:one");
    maps.ok("map push queue value u32:2 str8:two");
    assert_eq!(maps.ok("--table map peek queue"), "a  tag\n1  \"one\"\n");
    let one = "{\n    \"value\": {\n        \"a\": 1,\n        \"tag\": \"one\"\n    }\n}\n";
    assert_eq!(maps.ok("map pop queue"), one);
    let two = one.replace('1', "2").replace("one", "two");
    assert_eq!(maps.ok("map drain queue"), two + "Drained 1 element\n");
    create(maps.folder(), 2);
    let count = maps.ok("map inc totals key i32:5 by 4");
    assert_eq!(count, "{\n    \"key\": \"GREEN\",\n    \"value\": 4\n}\n");
}

#[test]
fn show_says_which_types() {
    let maps = Maps::new();
    create(maps.folder(), 2);
    assert!(maps.ok("map show flows").contains("\n\ttypes struct key, struct value\n"));
    let (json, _) = maps.json("map show typed_data");
    assert_eq!(json["types"]["value"], "section .data");
    assert!(json["types"]["key"].is_null());
    maps.ok("map create bare type hash key 4 value 4 entries 1 name bare");
    assert!(maps.json("map show bare").0.get("types").is_none());
}
