//! Maps in pages of 2 MiB: a program's view of them has such pages, too.

use usermap::{Map, MapType, Spec};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Options, ProgramType, Raw};

/// How many of this process's mappings of shared memory have large pages.
fn mappings_in_large_pages() -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
    let of_shared = smaps.lines().filter_map(|line| line.strip_prefix("ShmemPmdMapped:"));
    of_shared.filter(|size| size.trim() != "0 kB").count()
}

#[test]
fn programs_see_large_pages() {
    let spec = Spec::new(MapType::Array, 4, 64, 100_000).huge_pages(true);
    let map = Map::create(&spec).expect("an array");
    if let Some(why_not) = map.huge_pages().why_not() {
        return eprintln!("no pages of 2 MiB here: {why_not}");
    }
    // Adds up all values' first words.
    let code = [
        [0xb7, 6, 0, 0, 0, 0, 0, 0],             // r6 = 0
        [0xb7, 7, 0, 0, 0, 0, 0, 0],             // r7 = 0
        [0x63, 0x6a, 0xfc, 0xff, 0, 0, 0, 0],    // *(u32 *)(r10 - 4) = r6
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],          // r2 = r10
        [0x07, 2, 0, 0, 0xfc, 0xff, 0xff, 0xff], // r2 -= 4
        [0x18, 0x11, 0, 0, 0, 0, 0, 0],          // r1 = map
        [0; 8],
        [0x85, 0, 0, 0, 1, 0, 0, 0], // r0 = bpf_map_lookup_elem(r1, r2)
        [0x15, 0, 4, 0, 0, 0, 0, 0], // if r0 == 0 goto the end
        [0x79, 0, 0, 0, 0, 0, 0, 0], // r0 = *r0
        [0x0f, 0x07, 0, 0, 0, 0, 0, 0], // r7 += r0
        [0x07, 6, 0, 0, 1, 0, 0, 0], // r6 += 1
        [0x05, 0, 0xf5, 0xff, 0, 0, 0, 0], // goto the store
        [0xbf, 0x70, 0, 0, 0, 0, 0, 0], // return r7
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    map.update(&99_999_u32.to_le_bytes(), &7_u64.to_le_bytes().repeat(8), 0).expect("an element");
    let mut raw = Raw::new(ProgramType::Syscall, "sum", code.map(Instruction::from_bytes).to_vec());
    raw.resolve(|_| Ok(map.clone())).expect("one map");
    let program = raw.load(&Options::new()).expect("a good program");
    let mut runner = program.runner().expect("a slot");
    assert_eq!(runner.run(&mut Context::from(vec![0; 8])).expect("to run").value, 7);
    // The map's own view, and the program's.
    assert_eq!(mappings_in_large_pages(), 2);
}
