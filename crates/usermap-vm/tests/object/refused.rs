//! What cannot be had is refused by name and line; the rest of the object stays usable.

use crate::{bytes, object, program};
use usermap_vm::{Error, Object};

fn refusal(object: &Object, program: &str) -> String {
    object.check(program).unwrap_err().to_string()
}

#[test]
fn each_program_is_refused_for_what_it_asks() {
    let mut object = object("refused.bpf.o");
    let expected = "extern CONFIG_MISSING: has no value; give one, or declare it __weak";
    assert!(refusal(&object, "well").contains(expected), "{}", refusal(&object, "well"));
    object.set_kconfig("CONFIG_MISSING", "3").unwrap();
    object.check("well").unwrap();
    object.check("asks_for_configuration").unwrap();
    for (program, what) in [
        ("asks_for_kernel_variable", "kernel symbol kernel_variable is not supported"),
        ("calls_kernel_function", "kernel function kernel_function is not supported"),
        ("calls_nothing", "symbol nowhere: is not in the object"),
        (
            "needs_addresses_in_data",
            "names in section .rodata, which holds the address of .rodata.str1.1 (libbpf does not \
             fill it in), is not",
        ),
        ("of_another_kind", "section lsm/file_open: a program of this kind is not supported"),
    ] {
        let refusal = refusal(&object, program);
        assert!(refusal.contains(what), "{refusal}");
        assert!(refusal.starts_with(&format!("refused.bpf.o: program {program}: ")), "{refusal}");
    }
    let refusal = refusal(&object, "calls_kernel_function");
    assert!(refusal.contains("refused.bpf.c:28: return kernel_function(1);"), "{refusal}");
    assert!(matches!(object.check("calls_kernel_function"), Err(Error::Unsupported { .. })));
    // All can be looked at.
    assert_eq!(object.programs().len(), 7);
    assert!(!program(&object, "of_another_kind").instructions.is_empty());
}

#[test]
fn a_map_of_maps_with_an_initialiser_is_refused_by_name() {
    let object = object("nested.bpf.o");
    let refusal = refusal(&object, "program");
    let expected = "map outer: a map of maps, and its initialiser (field values), is not supported";
    assert!(refusal.contains(expected), "{refusal}");
}

#[test]
fn other_files_are_told_from_objects() {
    let problem = |bytes: &[u8]| Object::from_bytes(bytes, "x").unwrap_err().to_string();
    assert_eq!(problem(b""), "x: no ELF file");
    let mut elf = bytes("same_place.bpf.o");
    elf[18] = 62;
    assert!(problem(&elf).contains("machine 62, not eBPF"), "{}", problem(&elf));
    elf[18] = 247;
    elf[16] = 2;
    assert!(problem(&elf).contains("not a relocatable object"), "{}", problem(&elf));
    elf[16] = 1;
    elf[5] = 2;
    assert!(problem(&elf).contains("big endian"), "{}", problem(&elf));
    let error = Object::open("does/not/exist.o").unwrap_err();
    assert!(error.to_string().starts_with("reading the object does/not/exist.o: "), "{error}");
}
