//! Objects from anybody: read, disassembled and checked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usermap_vm::Object;

fuzz_target!(|bytes: &[u8]| {
    let Ok(object) = Object::from_bytes(bytes, "fuzz.bpf.o") else { return };
    let names: Vec<&str> = object.maps().iter().map(|map| map.name.as_str()).collect();
    for code in object.programs() {
        let _ = object.check(&code.name);
        let _ = usermap_vm::disassemble::disassemble(code, &names, |_| None);
    }
    let _ = object.obstacles();
});
