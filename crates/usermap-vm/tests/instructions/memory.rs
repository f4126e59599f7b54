//! Loads and stores of all widths, in the memory that a program gets and on its stack.

use crate::assembler::*;
use crate::case::Case;
use usermap_vm::instruction::Instruction;

const MEMORY: [u8; 16] = [
    0x11, 0x82, 0x33, 0x84, 0x55, 0x86, 0x77, 0x88, 0x99, 0x0a, 0xbb, 0x0c, 0xdd, 0x0e, 0xff, 0x10,
];

const WIDTHS: [(u8, &str); 4] = [(B, "8"), (H, "16"), (W, "32"), (DW, "64")];

/// The number at a place.
fn number(width: u8, memory: &[u8], at: usize) -> u64 {
    let bytes = &memory[at..at + bytes(width)];
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same with its sign.
fn signed(width: u8, memory: &[u8], at: usize) -> u64 {
    let bits = 8 * bytes(width);
    let number = number(width, memory, at);
    let negative = number >> (bits - 1) & 1 == 1;
    if negative && bits < 64 { number | u64::MAX << bits } else { number }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (width, name) in WIDTHS {
        loads(&mut cases, width, name);
        stores(&mut cases, width, name);
        stack(&mut cases, width, name);
    }
    cases.extend(others());
    cases
}

fn loads(cases: &mut Vec<Case>, width: u8, name: &str) {
    let mut case = |name: String, program: Vec<Instruction>, expected| {
        let case = Case::new(name, program, expected).on(&MEMORY);
        cases.push(case.leaves(&MEMORY));
    };
    // Aligned or not.
    for at in 0..8_i16 {
        let place = at as usize;
        let program = vec![load(width, 0, 1, at), exit()];
        case(format!("load {name} at {at}"), program, number(width, &MEMORY, place));
        if width != DW {
            let program = vec![load_signed(width, 0, 1, at), exit()];
            case(format!("load signed {name} at {at}"), program, signed(width, &MEMORY, place));
        }
    }
    // Into the register of the address, before it, and over what was in the register.
    let expected = number(width, &MEMORY, 8);
    let same = vec![load(width, 1, 1, 8), mov(0, 1), exit()];
    case(format!("load {name} over the address"), same, expected);
    let before = vec![op_imm(Bits::All, ADD, 1, 16), load(width, 0, 1, -8), exit()];
    case(format!("load {name} before an address"), before, expected);
    let over = vec![mov_imm(0, -1), load(width, 0, 1, 8), exit()];
    case(format!("load {name} over ones"), over, expected);
}

fn stores(cases: &mut Vec<Case>, width: u8, name: &str) {
    let value: u64 = 0xf1e2_d3c4_b5a6_9788;
    for at in [0_i16, 3, 8] {
        let mut program = wide(2, value).to_vec();
        program.extend([store(width, 1, at, 2), mov(0, 2), exit()]);
        let mut after = MEMORY;
        let end = at as usize + bytes(width);
        after[at as usize..end].copy_from_slice(&value.to_le_bytes()[..bytes(width)]);
        let case = Case::new(format!("store {name} at {at}"), program, value);
        cases.push(case.on(&MEMORY).leaves(&after));

        for imm in [0x1234_5678_i32, -3] {
            let program = vec![store_imm(width, 1, at, imm), mov_imm(0, 1), exit()];
            let mut after = MEMORY;
            let extended = i64::from(imm).to_le_bytes();
            after[at as usize..end].copy_from_slice(&extended[..bytes(width)]);
            let case = Case::new(format!("store {name} imm {imm} at {at}"), program, 1);
            cases.push(case.on(&MEMORY).leaves(&after));
        }
    }
}

fn stack(cases: &mut Vec<Case>, width: u8, name: &str) {
    let value: u64 = 0x8182_8384_8586_8788;
    let bits = 8 * bytes(width);
    let expected = if bits == 64 { value } else { value & ((1 << bits) - 1) };
    for at in [-8_i16, -512, -256] {
        let mut program = wide(2, value).to_vec();
        program.extend([store_imm(DW, 10, at, -1), store(width, 10, at, 2)]);
        program.extend([load(width, 0, 10, at), exit()]);
        cases.push(Case::new(format!("the stack at {at}, {name}"), program, expected));
    }
    // What is stored in parts is loaded as a whole.
    let mut program = wide(2, value).to_vec();
    program.extend([store_imm(DW, 10, -8, 0), store(width, 10, -8, 2), load(DW, 0, 10, -8)]);
    program.push(exit());
    cases.push(Case::new(format!("a part of {name} of the stack"), program, expected));
}

fn others() -> Vec<Case> {
    let constants = [0, 1, u64::MAX, 0x8000_0000, 0xffff_ffff_8000_0000, 0x1122_3344_5566_7788];
    let mut cases: Vec<Case> = constants
        .into_iter()
        .map(|value| {
            let program = [wide(0, value).to_vec(), vec![exit()]].concat();
            Case::new(format!("lddw {value:#x}"), program, value)
        })
        .collect();
    cases.push(Case::new("the length of the memory", vec![mov(0, 2), exit()], 16).on(&MEMORY));
    let none = vec![mov(0, 1), op(Bits::All, OR, 0, 2), exit()];
    cases.push(Case::new("no memory", none, 0));
    // The upper half of an address that was in the stack comes back.
    let spilled = vec![store(DW, 10, -16, 1), load(DW, 3, 10, -16), load(B, 0, 3, 1), exit()];
    cases.push(Case::new("an address kept on the stack", spilled, 0x82).on(&MEMORY));
    cases
}
