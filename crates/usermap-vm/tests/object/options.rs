//! What is set between reading an object and loading it.

use crate::{map, object};
use usermap_vm::Object;

fn value(object: &Object, name: &str) -> Vec<u8> {
    let global = object.globals().iter().find(|global| global.name == name).unwrap();
    let initial = object.maps()[global.map].initial.as_ref().unwrap();
    initial[global.offset as usize..][..global.size as usize].to_vec()
}

fn problem<T: std::fmt::Debug>(result: usermap_vm::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn globals_are_set_by_bytes_of_their_size() {
    let mut object = object("everything.bpf.o");
    object.set_global("limit", &9u32.to_le_bytes()).unwrap();
    assert_eq!(value(&object, "limit"), [9, 0, 0, 0]);
    let wrong = problem(object.set_global("limit", &[1]));
    assert_eq!(wrong, "global limit: has 4 bytes, and 1 were given");
    let unknown = problem(object.set_global("limits", &[1]));
    assert!(unknown.starts_with("there is no global limits; there is "), "{unknown}");
}

#[test]
fn globals_are_set_by_text_of_their_type() {
    let mut object = object("everything.bpf.o");
    for (name, text, bytes) in [
        ("limit", "-5", &(-5i32).to_le_bytes()[..]),
        ("limit", "0x10", &16i32.to_le_bytes()),
        ("verbose", "true", &[1]),
        ("verbose", "0", &[0]),
        ("paint", "BLUE", &(-1i32).to_le_bytes()),
        ("paint", "5", &5i32.to_le_bytes()),
        ("label", "new", b"new\0\0\0\0\0\0\0\0\0"),
        ("label", "\"quoted\"", b"quoted\0\0\0\0\0\0"),
        ("bytes", "18446744073709551615", &[255; 8]),
        ("one_byte", "255", &[255]),
    ] {
        object.set_global_text(name, text).unwrap();
        assert_eq!(value(&object, name), bytes, "{name} = {text}");
    }
    for (name, text, rule) in [
        ("limit", "2147483648", "does not fit into 32 bits with a sign"),
        ("bytes", "-1", "does not fit into 64 bits without a sign"),
        ("limit", "five", "is no number"),
        ("limit", "0x-5", "is no number"),
        ("limit", "", "is no number"),
        ("verbose", "2", "is neither true nor false"),
        ("paint", "PINK", "is no number, and none of RED, GREEN, BLUE"),
        ("label", "twelve bytes", "is longer than 11 bytes"),
        ("zeroed", "1", "int[3] cannot be set from text; give its bytes"),
    ] {
        let problem = problem(object.set_global_text(name, text));
        assert!(problem.ends_with(rule), "{problem}");
    }
    let mut plain = crate::object("plain.bpf.o");
    plain.set_global_text("LIMIT", "7").unwrap();
    assert_eq!(value(&plain, "LIMIT"), [7, 0, 0, 0]);
}

#[test]
fn the_kernels_configuration_is_given_or_absent() {
    let mut object = object("everything.bpf.o");
    let initial = |object: &Object, name: &str| {
        let one = object.externs().iter().find(|one| one.name == name).unwrap().clone();
        let data = object.maps()[map(object, ".kconfig")].initial.clone().unwrap();
        data[one.offset as usize..][..one.size as usize].to_vec()
    };
    assert_eq!(initial(&object, "LINUX_KERNEL_VERSION"), 0x061200u32.to_le_bytes());
    assert_eq!(initial(&object, "CONFIG_BPF_JIT"), [0]);
    object.set_kconfig("CONFIG_BPF_JIT", "y").unwrap();
    assert_eq!(initial(&object, "CONFIG_BPF_JIT"), [1]);
    assert!(problem(object.set_kconfig("CONFIG_BPF_JIT", "m")).ends_with("a bool is y or n"));
    object.set_kconfig("CONFIG_HZ", "1000").unwrap();
    assert_eq!(initial(&object, "CONFIG_HZ"), 1000u32.to_le_bytes());
    object.set_kconfig("CONFIG_DEFAULT_HOSTNAME", "\"(none)\"").unwrap();
    assert_eq!(&initial(&object, "CONFIG_DEFAULT_HOSTNAME")[..7], b"(none)\0");
    let unknown = problem(object.set_kconfig("CONFIG_NET", "y"));
    assert!(unknown.starts_with("there is no extern CONFIG_NET; there is "), "{unknown}");
    for program in ["first", "second", "classify"] {
        object.check(program).unwrap();
    }
    let kconfig = &object.maps()[map(&object, ".kconfig")];
    let shown = object.btf().unwrap();
    let shown = shown.format(kconfig.value_type.unwrap(), kconfig.initial.as_ref().unwrap());
    assert!(shown.to_string().contains("CONFIG_HZ: 1000"), "{shown}");
    assert!(shown.to_string().contains("CONFIG_BPF_JIT: true"), "{shown}");
    assert!(shown.to_string().contains("CONFIG_DEFAULT_HOSTNAME: \"(none)\""), "{shown}");
}

#[test]
fn maps_get_other_sizes_and_files() {
    let mut object = object("everything.bpf.o");
    object.max_entries("flows", 7).unwrap();
    assert_eq!(object.maps()[map(&object, "flows")].max_entries, 7);
    assert!(problem(object.max_entries(".bss", 7)).contains("the data of a section are one entry"));
    assert!(problem(object.max_entries("flow", 7)).starts_with("there is no map flow; there is "));
    object.pin("flows", "/a").unwrap();
    object.pin("flows", "/b").unwrap();
    let pins: Vec<_> = object.pins().iter().map(|(map, path)| (*map, path.to_str())).collect();
    assert_eq!(pins, [(map(&object, "flows"), Some("/b"))]);
}
