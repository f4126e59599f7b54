//! Types from anybody: read, described, cut down and used to show bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usermap_vm::btf::Btf;

/// Types that are described, and of those how many show bytes: so many bytes, since a hostile type makes
/// dozens of values of each.
const TYPES: u32 = 64;
const SHOWN: u32 = 12;
const BYTES: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let value = &bytes[bytes.len().min(24)..];
    let value = &value[..value.len().min(BYTES)];
    for id in 0..TYPES {
        let _ = btf.describe(id);
        let _ = btf.size_of(id);
        if id < SHOWN {
            let _ = btf.format(id, value);
        }
    }
    let (small, ids) = btf.subset(&[1, 2]);
    let small = Btf::parse(&small).expect("what was cut out can be read");
    for id in ids {
        let _ = small.describe(id);
    }
});
