//! Random programs: whatever they are, both engines do the same, and nothing else happens.

use crate::assembler::*;
use proptest::prelude::*;
use usermap_vm::bare::{Engine, Options};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Code, Error, disassemble};

const BUDGET: u64 = 2000;

/// What a program did: r0 and the memory, or what was said of it.
fn outcome(engine: Engine, instructions: &[Instruction]) -> Result<(u64, Vec<u8>), String> {
    let mut memory = (0..64).collect::<Vec<u8>>();
    let program = Options::new().engine(engine).budget(BUDGET).load(instructions.to_vec());
    let value = program.and_then(|program| program.run(&mut memory));
    value.map(|value| (value, memory)).map_err(|error| match error {
        // Machine code tells no address exactly, but where the fault is, and what it was.
        Error::Fault(fault) => format!("{} {:?}", fault.instruction, kind(&fault.kind)),
        other => other.to_string(),
    })
}

fn kind(kind: &usermap_vm::FaultKind) -> std::mem::Discriminant<usermap_vm::FaultKind> {
    std::mem::discriminant(kind)
}

fn same_in_all_engines(instructions: &[Instruction]) -> Result<(), TestCaseError> {
    let expected = outcome(Engine::Interpreter, instructions);
    for engine in Engine::all() {
        let found = outcome(*engine, instructions);
        prop_assert_eq!(&found, &expected, "{:?}: {}", engine, text(instructions));
    }
    Ok(())
}

fn text(instructions: &[Instruction]) -> String {
    let code = Code { instructions: instructions.to_vec(), ..Code::default() };
    disassemble::disassemble(&code, &[], |_| None)
}

/// Any bytes.
fn anything() -> impl Strategy<Value = Vec<Instruction>> {
    prop::collection::vec(any::<[u8; 8]>().prop_map(Instruction::from_bytes), 0..20)
}

/// An instruction that is valid but for where it leads to.
fn instruction() -> impl Strategy<Value = Vec<Instruction>> {
    let opcodes: Vec<u8> = opcodes().collect();
    let parts = (prop::sample::select(opcodes), 0..10_u8, 0..11_u8, offset(), imm());
    parts.prop_map(|(opcode, dst, src, offset, imm)| {
        let class = opcode & 7;
        let operation = opcode & 0xf0;
        let register = opcode & 8 != 0;
        match (class, operation) {
            (0, _) => [raw(opcode, dst, 0, 0, imm), raw(0, 0, 0, 0, offset.into())].to_vec(),
            (4 | 7, 0x80) => vec![raw(opcode, dst, 0, 0, 0)],
            (4 | 7, 0xd0) => vec![raw(opcode, dst, 0, 0, [16, 32, 64][usize::from(src % 3)])],
            (4 | 7, 0xb0) if register => {
                let width = [0, 8, 16, if class == 7 { 32 } else { 0 }][usize::from(dst % 4)];
                vec![raw(opcode, dst, src, width, 0)]
            }
            (4 | 7, 0x30 | 0x90) => vec![arithmetic(opcode, dst, src, offset & 1, imm)],
            (4 | 7, _) => vec![arithmetic(opcode, dst, src, 0, imm)],
            (5, 0x80) => vec![raw(opcode, 0, 1, 0, i32::from(offset % 24))],
            (5, 0x90) => vec![exit()],
            (5, 0x00) => vec![goto(offset % 12)],
            (6, 0x00) => vec![goto_long(i32::from(offset % 12))],
            (5 | 6, _) => vec![arithmetic(opcode, dst, src, offset % 12, imm)],
            (1, _) => vec![raw(opcode, dst, src, offset, 0)],
            (2, _) => vec![raw(opcode, [1, 10, dst][usize::from(src % 3)], 0, offset, imm)],
            _ if opcode & 0xe0 == 0xc0 => {
                let operations =
                    [0, 0x40, 0x50, 0xa0, 1, 0x41, 0x51, 0xa1, 0xe1, 0xf1, 0x100, 0x110];
                let narrow = opcode & 0x18 != 0 && opcode & 0x18 != 0x18;
                let operation = operations[(imm as u32 % 12) as usize];
                let operation = if narrow { 0x110 } else { operation };
                let (dst, src) = if operation == 0x100 { (dst, 10) } else { (10, dst) };
                vec![raw(opcode, dst, src, offset & !7, operation)]
            }
            _ => vec![raw(opcode, [1, 10, dst][usize::from(src % 3)], src, offset, 0)],
        }
    })
}

fn arithmetic(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Instruction {
    let register = opcode & 8 != 0;
    raw(opcode, dst, if register { src } else { 0 }, offset, if register { 0 } else { imm })
}

/// Mostly where something is, on the stack or in the memory.
fn offset() -> impl Strategy<Value = i16> {
    prop_oneof![6 => -32..0_i16, 3 => 0..40_i16, 1 => any::<i16>()]
}

fn imm() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(-1), Just(i32::MIN), 0..40_i32, any::<i32>()]
}

/// Such instructions one after another, and an exit.
fn plausible() -> impl Strategy<Value = Vec<Instruction>> {
    prop::collection::vec(instruction(), 1..30).prop_map(|parts| {
        let mut instructions = parts.concat();
        instructions.push(exit());
        instructions
    })
}

/// Removes what the program is refused for, until it is taken.
fn repaired(mut instructions: Vec<Instruction>) -> Option<Vec<Instruction>> {
    for _ in 0..instructions.len() * 2 {
        let problem = match Options::new().engine(Engine::Interpreter).load(instructions.clone()) {
            Ok(_) => return Some(instructions),
            Err(error) => error.to_string(),
        };
        let place =
            problem.split("instruction ").nth(1)?.split(':').next()?.parse::<usize>().ok()?;
        let ends = problem.contains("ends without");
        *instructions.get_mut(place)? = if ends { exit() } else { mov_imm(3, 1) };
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_do_no_harm(instructions in anything()) {
        same_in_all_engines(&instructions)?;
        let _ = text(&instructions);
    }

    #[test]
    fn plausible_programs_do_the_same_in_all_engines(instructions in plausible()) {
        if let Some(instructions) = repaired(instructions) {
            same_in_all_engines(&instructions)?;
        }
    }
}
