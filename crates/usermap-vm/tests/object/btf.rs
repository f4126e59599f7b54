//! Types of objects, and values shown by them.

use crate::{map, object};
use usermap_vm::btf::{Btf, BtfExt, Encoding, Kind, Value};

/// A key of `flows`: see the source.
fn key() -> Vec<u8> {
    let mut key = vec![0u8; 36];
    key[..4].copy_from_slice(&0x0100_007fu32.to_le_bytes());
    key[16..18].copy_from_slice(&53u16.to_le_bytes());
    key[18..22].copy_from_slice(b"dns\0");
    key[28..32].copy_from_slice(&(-1i32).to_le_bytes());
    key[32] = 5 | 0b11111 << 3;
    key
}

const KEY: &str = "{source: {v4: 16777343, v6: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}, \
     port: 53, name: \"dns\", color: BLUE, low: 5, high: -1}";

#[test]
fn values_are_shown_by_their_types() {
    let object = object("everything.bpf.o");
    let btf = object.btf().unwrap();
    let flows = &object.maps()[map(&object, "flows")];
    assert_eq!(btf.format(flows.key_type.unwrap(), &key()).to_string(), KEY);
    let mut value = vec![0u8; 48];
    value[8..16].copy_from_slice(&17u64.to_le_bytes());
    value[16] = 1;
    value[24..32].copy_from_slice(&0x0123_4567_89ab_cdefu64.to_le_bytes());
    value[32..40].copy_from_slice(&1.5f64.to_le_bytes());
    value[40] = 0x10;
    let shown = btf.format(flows.value_type.unwrap(), &value);
    let expected = "{lock: {val: 0}, packets: 17, open: true, wide: HUGE, unused: 1.5, next: 0x10}";
    assert_eq!(shown.to_string(), expected);
    let Value::Struct(members) = shown else { panic!("{shown}") };
    assert_eq!(members[1].1, Value::Int { value: 17, encoding: Encoding::Unsigned });
    // Too few bytes are shown as they are.
    assert_eq!(btf.format(flows.value_type.unwrap(), &[1, 2]), Value::Bytes(vec![1, 2]));
}

#[test]
fn text_is_only_what_ends_and_can_be_printed() {
    let object = object("everything.bpf.o");
    let btf = object.btf().unwrap();
    let (_, variables) = btf.section(".rodata").unwrap();
    let label = variables.iter().find(|one| btf.name(one.type_id) == "label").unwrap();
    assert_eq!(
        btf.format(label.type_id, b"twelve bytes").to_string(),
        "['t', 'w', 'e', 'l', 'v', 'e', ' ', 'b', 'y', 't', 'e', 's']"
    );
    assert_eq!(btf.format(label.type_id, b"a\0b         ").to_string(), "\"a\"");
    assert!(btf.format(label.type_id, b"\n\0b         ").to_string().starts_with("[10, 0, 'b'"));
}

#[test]
fn a_subset_has_only_what_is_needed() {
    let object = object("everything.bpf.o");
    let btf = object.btf().unwrap();
    let flows = &object.maps()[map(&object, "flows")];
    let wanted = [flows.key_type.unwrap(), flows.value_type.unwrap()];
    let (bytes, ids) = btf.subset(&wanted);
    let small = Btf::parse(&bytes).unwrap();
    assert!(bytes.len() * 3 < btf.bytes().len(), "{} of {}", bytes.len(), btf.bytes().len());
    assert_eq!(small.describe(ids[0]), "struct flow_key");
    assert_eq!(small.format(ids[0], &key()).to_string(), KEY);
    for (id, new) in wanted.iter().zip(&ids) {
        assert_eq!(btf.size_of(*id), small.size_of(*new));
        assert_eq!(btf.align_of(*id), small.align_of(*new));
    }
    // `next` points to what is only named.
    assert!(small.find("flow", |kind| matches!(kind, Kind::Forward { union: false })).is_some());
    assert!(small.find("xdp_md", |_| true).is_none());
    // A subset of itself is itself.
    assert_eq!(small.subset(&ids).0, bytes);
    // The types of data, whose variables are placed.
    let bss = object.maps()[map(&object, ".bss")].value_type.unwrap();
    let (bytes, ids) = btf.subset(&[bss, 0]);
    let small = Btf::parse(&bytes).unwrap();
    assert_eq!(small.size_of(ids[0]), btf.size_of(bss));
    assert_eq!(ids[1], 0);
    let zeros = vec![0; btf.size_of(bss).unwrap() as usize];
    assert_eq!(small.format(ids[0], &zeros).to_string(), btf.format(bss, &zeros).to_string());
}

#[test]
fn types_are_spelled_as_in_c() {
    let object = object("everything.bpf.o");
    let btf = object.btf().unwrap();
    let spelled: Vec<String> = btf.types().map(|(id, _)| btf.describe(id)).collect();
    for expected in ["const volatile int", "struct flow *", "int[3]", "enum wide", "union address"]
    {
        assert!(spelled.iter().any(|one| one == expected), "{expected}: {spelled:?}");
    }
}

#[test]
fn damaged_types_are_refused_with_the_place() {
    let object = object("everything.bpf.o");
    let bytes = object.btf().unwrap().bytes();
    let problem = |bytes: &[u8]| Btf::parse(bytes).unwrap_err().to_string();
    assert_eq!(problem(b""), "BTF: cut off in its header");
    assert_eq!(problem(&bytes[..bytes.len() - 1]), "BTF: a part of it is behind its end");
    let mut other = bytes.to_vec();
    other.swap(0, 1);
    assert!(problem(&other).contains("big endian"));
    let mut other = bytes.to_vec();
    other[24 + 7] = 31;
    assert_eq!(problem(&other), "BTF: unknown kind 31 of a type, type 1");
    assert!(BtfExt::parse(b"\x9f\xeb\x01\0").is_err());
}
