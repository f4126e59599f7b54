//! Repeated runs: each is a run of its own, with the whole budget, however many there are and
//! whatever the one before did.

use usermap::{Map, MapType, Spec};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Options, ProgramType, Raw};

/// Counts its runs in the map's value, and calls a helper in every third.
const COUNT: [[u8; 8]; 11] = [
    [0x18, 0x21, 0, 0, 0, 0, 0, 0], // r1 = the value
    [0; 8],
    [0x79, 0x16, 0, 0, 0, 0, 0, 0], // r6 = *r1
    [0x07, 6, 0, 0, 1, 0, 0, 0],    // r6 += 1
    [0x7b, 0x61, 0, 0, 0, 0, 0, 0], // *r1 = r6
    [0xbf, 0x62, 0, 0, 0, 0, 0, 0], // r2 = r6
    [0x97, 2, 0, 0, 3, 0, 0, 0],    // r2 %= 3
    [0x55, 2, 1, 0, 0, 0, 0, 0],    // if r2 == 0
    [0x85, 0, 0, 0, 5, 0, 0, 0],    // call bpf_ktime_get_ns
    [0xbf, 0x60, 0, 0, 0, 0, 0, 0], // return r6
    [0x95, 0, 0, 0, 0, 0, 0, 0],
];

#[test]
fn each_is_a_run_of_its_own() {
    for interpret in [false, true] {
        let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1)).expect("an array");
        let mut raw =
            Raw::new(ProgramType::Syscall, "count", COUNT.map(Instruction::from_bytes).to_vec());
        raw.resolve(|_| Ok(map.clone())).expect("one map");
        // Enough for one run, not for two.
        let options = Options::new().interpret(interpret).budget(15);
        let program = raw.load(&options).expect("a good program");
        let mut runner = program.runner().expect("a slot");
        let mut runs = 0;
        for times in 1..40 {
            runs += times;
            let outcome = runner.repeat(&mut Context::from(vec![0; 8]), times).expect("to run");
            assert_eq!(outcome.value, runs, "interpreted: {interpret}");
            let expected = if runs % 3 == 0 { 10 } else { 9 };
            assert_eq!(outcome.instructions, expected, "of the last run");
        }
    }
}
