//! Types from anybody: read, described, cut down and used to show bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usermap_vm::btf::Btf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for id in 0..64 {
        let _ = btf.describe(id);
        let _ = btf.size_of(id);
        let _ = btf.format(id, &bytes[bytes.len().min(24)..]);
    }
    let (small, ids) = btf.subset(&[1, 2]);
    let small = Btf::parse(&small).expect("what was cut out can be read");
    for id in ids {
        let _ = small.describe(id);
    }
});
