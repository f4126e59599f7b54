//! Programs on a map: machine code finds entries by itself, in control memory that anybody may have
//! written to.

use usermap::{Map, Spec};
use usermap_tests::rng::Rng;
use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Options, Program, ProgramType, Raw};

/// Where key and value are on the stack.
const KEY: i16 = -16;
const VALUE: i16 = -80;

fn instruction(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Instruction {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = imm.to_le_bytes();
    Instruction::from_bytes([opcode, dst | src << 4, low, high, a, b, c, d])
}

/// Calls a helper with the map, and places on the stack.
fn call(helper: i32, places: &[i16]) -> Vec<Instruction> {
    let mut code = vec![instruction(0x18, 1, 1, 0, 0), instruction(0, 0, 0, 0, 0)];
    for (register, place) in (2..).zip(places) {
        code.push(instruction(0xbf, register, 10, 0, 0));
        code.push(instruction(0x07, register, 0, 0, i32::from(*place)));
    }
    // Flags, where the helper has some.
    code.push(instruction(0xb7, 2 + places.len() as u8, 0, 0, 0));
    code.push(instruction(0x85, 0, 0, 0, helper));
    code
}

/// Looks a key up and adds to what is there, replaces it, and deletes one key of four; or pushes,
/// peeks and pops. The key is the context's number.
fn code(spec: &Spec) -> Vec<Instruction> {
    let mut code = vec![instruction(0x79, 6, 1, 0, 0)];
    code.extend((0..10).map(|word| instruction(0x7b, 10, 6, VALUE + 8 * word, 0)));
    if spec.map_type.is_ring() {
        for helper in [87, 89, 88] {
            code.extend(call(helper, &[VALUE]));
        }
    } else {
        code.extend(call(1, &[KEY]));
        code.push(instruction(0x15, 0, 0, 3, 0));
        code.push(instruction(0x79, 7, 0, 0, 0));
        code.push(instruction(0xb7, 7, 0, 0, 1));
        code.push(instruction(0xdb, 0, 7, 0, 0));
        code.extend(call(2, &[KEY, VALUE]));
        let delete = call(3, &[KEY]);
        code.push(instruction(0x57, 6, 0, 0, 3));
        code.push(instruction(0x55, 6, 0, delete.len() as i16, 0));
        code.extend(delete);
    }
    code.extend([instruction(0xb7, 0, 0, 0, 0), instruction(0x95, 0, 0, 0, 0)]);
    code
}

/// The program for a map, in each engine.
pub fn programs(map: &Map) -> [Program; 2] {
    [false, true].map(|interpret| {
        let mut raw = Raw::new(ProgramType::Syscall, "hostile", code(map.spec()));
        raw.resolve(|_| Ok(map.clone())).expect("one map");
        raw.load(&Options::new().interpret(interpret)).expect("a sound program")
    })
}

/// Runs them; they may end in any way.
pub fn run(programs: &[Program], rng: &mut Rng, times: u32) {
    for program in programs {
        for _ in 0..times {
            let key = rng.below(150).to_ne_bytes();
            let _ = program.run(&mut Context::from(&key[..]));
        }
    }
}

#[test]
fn sound_maps_are_changed() {
    for spec in crate::exercise::specs() {
        let map = Map::create(&spec).expect("a map");
        let programs = programs(&map);
        for program in &programs {
            for key in 1_u64..4 {
                let outcome = program.run(&mut Context::from(&key.to_ne_bytes()[..]));
                assert_eq!(outcome.expect("no fault").value, 0, "{spec:?}");
            }
        }
        let entries = if spec.map_type.is_ring() { 0 } else { 3 };
        assert!(map.len() >= entries, "{spec:?}");
        assert_eq!(map.check().expect("a check").findings, []);
    }
}
