//! The committed examples: objects, and the capture.

use super::Maps;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A file of the examples.
pub fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    path.canonicalize().unwrap_or(path).display().to_string()
}

/// An example's object.
pub fn object(name: &str) -> String {
    match name.contains('/') {
        true => example(&format!("{name}.bpf.o")),
        false => example(&format!("{name}/{name}.bpf.o")),
    }
}

/// The capture.
pub fn capture() -> String {
    example("captures/loopback.pcap.gz")
}

/// The capture, unpacked.
pub fn unpacked() -> Vec<u8> {
    use std::io::Read;
    let file = std::fs::File::open(capture()).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A file in the folder of a test.
pub fn file(maps: &Maps, name: &str, bytes: &[u8]) -> PathBuf {
    let path = maps.folder().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What a run over the capture says, in JSON.
#[track_caller]
pub fn run(maps: &Maps, object: &str, options: &str) -> Value {
    let line = format!("prog run {} --pcap {} {options}", self::object(object), capture());
    let (value, code) = maps.json(&line);
    assert_eq!(code, 0, "{line}: {value}");
    value
}

/// A map of a run.
#[track_caller]
pub fn map<'v>(run: &'v Value, name: &str) -> &'v Value {
    let maps = run["maps"].as_array().unwrap();
    let found = maps.iter().find(|map| map["name"] == name);
    found.unwrap_or_else(|| panic!("no map {name}: {maps:?}"))
}

/// The entries of a map, decoded.
#[track_caller]
pub fn formatted<'v>(run: &'v Value, name: &str) -> Vec<&'v Value> {
    let elements = map(run, name)["elements"].as_array().unwrap();
    elements.iter().map(|element| &element["formatted"]).collect()
}

/// What a program of the exercises left in `results`, by index.
#[track_caller]
pub fn results(run: &Value) -> Vec<i64> {
    formatted(run, "results").iter().map(|entry| entry["value"].as_i64().unwrap()).collect()
}

/// A packet of 66 bytes: Ethernet, IPv4 and text.
pub fn packet() -> Vec<u8> {
    let mut packet = vec![0; 12];
    packet.extend_from_slice(&[8, 0, 0x45, 0, 0, 52, 0, 0, 0x40, 0, 0x40, 6, 0xb6, 0xaf]);
    packet.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 11]);
    packet.extend_from_slice(b"hello world, these are bytes!!!!");
    packet
}

/// The same without the CPU slots' numbers: a program runs on that of the CPU it happens to be on.
pub fn without_cpus(value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(without_cpus).collect();
            if value[0]["cpu"].is_u64() {
                values.sort_by_key(Value::to_string);
            }
            Value::Array(values)
        }
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "cpu");
            members.map(|(name, value)| (name.clone(), without_cpus(value))).collect()
        }
        other => other.clone(),
    }
}
