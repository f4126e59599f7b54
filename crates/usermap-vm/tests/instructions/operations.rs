//! Arithmetic: every operation in both widths, with an immediate and with a register, on numbers
//! where results change their ways.

use crate::assembler::*;
use crate::case::Case;

/// Numbers for the left side.
const LEFT: [u64; 9] = [
    0,
    1,
    0x7f,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0003,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX - 6,
];
/// Numbers for the right side.
const RIGHT: [u64; 8] = [0, 1, 3, 33, 0x8000_0000, 0xffff_ffff, 0x8000_0000_0000_0000, u64::MAX];
/// Immediates.
const IMMEDIATES: [i32; 6] = [1, 7, 31, -1, i32::MIN, i32::MAX];

type Wide = fn(u64, u64) -> u64;
type Narrow = fn(u32, u32) -> u32;
/// A name, a number, and what it gives on 64 bits and on 32.
type Operation = (&'static str, u8, Wide, Narrow);

const OPERATIONS: [Operation; 12] = [
    ("add", ADD, |a, b| a.wrapping_add(b), |a, b| a.wrapping_add(b)),
    ("sub", SUB, |a, b| a.wrapping_sub(b), |a, b| a.wrapping_sub(b)),
    (
        "mul",
        MUL,
        |a, b| (u128::from(a) * u128::from(b)) as u64,
        |a, b| (u64::from(a) * u64::from(b)) as u32,
    ),
    ("div", DIV, |a, b| a.checked_div(b).unwrap_or(0), |a, b| a.checked_div(b).unwrap_or(0)),
    ("or", OR, |a, b| a | b, |a, b| a | b),
    ("and", AND, |a, b| a & b, |a, b| a & b),
    ("lsh", LSH, |a, b| a << (b % 64), |a, b| a << (b % 32)),
    ("rsh", RSH, |a, b| a >> (b % 64), |a, b| a >> (b % 32)),
    ("mod", MOD, |a, b| a.checked_rem(b).unwrap_or(a), |a, b| a.checked_rem(b).unwrap_or(a)),
    ("xor", XOR, |a, b| a ^ b, |a, b| a ^ b),
    ("mov", MOV, |_, b| b, |_, b| b),
    ("arsh", ARSH, |a, b| (a as i64 >> (b % 64)) as u64, |a, b| (a as i32 >> (b % 32)) as u32),
];

/// Signed quotient and remainder in wider numbers, where nothing overflows.
fn quotient(a: i128, b: i128) -> i128 {
    if b != 0 { a / b } else { 0 }
}

fn remainder(a: i128, b: i128) -> i128 {
    if b != 0 { a % b } else { a }
}

fn signed_64(number: u64) -> i128 {
    i128::from(number as i64)
}

fn signed_32(number: u32) -> i128 {
    i128::from(number as i32)
}

const SIGNED: [Operation; 2] = [
    (
        "sdiv",
        DIV,
        |a, b| quotient(signed_64(a), signed_64(b)) as u64,
        |a, b| quotient(signed_32(a), signed_32(b)) as u32,
    ),
    (
        "smod",
        MOD,
        |a, b| remainder(signed_64(a), signed_64(b)) as u64,
        |a, b| remainder(signed_32(a), signed_32(b)) as u32,
    ),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, operation, wide_formula, narrow_formula) in OPERATIONS {
        let expected = (wide_formula, narrow_formula);
        binary(
            &mut cases,
            name,
            expected,
            |bits| op(bits, operation, 0, 1),
            |bits, imm| op_imm(bits, operation, 0, imm),
        );
    }
    for (name, operation, wide_formula, narrow_formula) in SIGNED {
        let expected = (wide_formula, narrow_formula);
        binary(
            &mut cases,
            name,
            expected,
            |bits| signed(bits, operation, 0, 1),
            |bits, imm| signed_imm(bits, operation, 0, imm),
        );
    }
    unary(&mut cases);
    beyond_the_kernel(&mut cases);
    same_register(&mut cases);
    cases
}

/// All pairs of an operation of two numbers.
fn binary(
    cases: &mut Vec<Case>,
    name: &str,
    (wide_formula, narrow_formula): (Wide, Narrow),
    by_register: impl Fn(Bits) -> usermap_vm::instruction::Instruction,
    by_immediate: impl Fn(Bits, i32) -> usermap_vm::instruction::Instruction,
) {
    let expect = |bits, a: u64, b: u64| match bits {
        Bits::All => wide_formula(a, b),
        Bits::Lower => u64::from(narrow_formula(a as u32, b as u32)),
    };
    let shift = matches!(name, "lsh" | "rsh" | "arsh");
    for (bits, width) in [(Bits::All, 64), (Bits::Lower, 32)] {
        for a in LEFT {
            for b in RIGHT {
                let mut program = wide(0, a).to_vec();
                program.extend(wide(1, b));
                program.extend([by_register(bits), exit()]);
                let name = format!("{name}{width} {a:#x}, {b:#x}");
                cases.push(Case::new(name, program, expect(bits, a, b)));
            }
            // The kernel takes shifts below the width only.
            for imm in IMMEDIATES.into_iter().filter(|imm| !shift || (0..width).contains(imm)) {
                let mut program = wide(0, a).to_vec();
                program.extend([by_immediate(bits, imm), exit()]);
                let name = format!("{name}{width} {a:#x}, imm {imm}");
                cases.push(Case::new(name, program, expect(bits, a, i64::from(imm) as u64)));
            }
        }
    }
}

/// Negation, byte order, sign extension.
fn unary(cases: &mut Vec<Case>) {
    let mut case = |name: &str, a: u64, instruction, expected| {
        let mut program = wide(0, a).to_vec();
        program.extend([instruction, exit()]);
        cases.push(Case::new(format!("{name} {a:#x}"), program, expected));
    };
    let numbers = LEFT.into_iter().chain([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x80]);
    for a in numbers {
        case("neg64", a, neg(Bits::All, 0), 0_u64.wrapping_sub(a));
        case("neg32", a, neg(Bits::Lower, 0), u64::from(0_u32.wrapping_sub(a as u32)));
        let [b0, b1, b2, b3, b4, b5, b6, b7] = a.to_le_bytes();
        let swapped_16 = u64::from(u16::from_be_bytes([b0, b1]));
        let swapped_32 = u64::from(u32::from_be_bytes([b0, b1, b2, b3]));
        let swapped_64 = u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        for (bits, swapped) in [(16, swapped_16), (32, swapped_32), (64, swapped_64)] {
            case(&format!("be{bits}"), a, to_be(0, bits), swapped);
            case(&format!("bswap{bits}"), a, swap(0, bits), swapped);
            let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            case(&format!("le{bits}"), a, to_le(0, bits), a & mask);
        }
        for from in [8, 16, 32] {
            let sign = a >> (from - 1) & 1;
            let upper = (u64::MAX << (from - 1)) << 1;
            let value = if sign == 1 { a | upper } else { a & !upper };
            case(&format!("movs{from}to64"), a, extend(Bits::All, 0, 0, from), value);
            if from < 32 {
                let value = value & 0xffff_ffff;
                case(&format!("movs{from}to32"), a, extend(Bits::Lower, 0, 0, from), value);
            }
        }
    }
}

/// Immediates that the kernel refuses and the standard does not.
fn beyond_the_kernel(cases: &mut Vec<Case>) {
    let mut case = |name: &str, instruction, expected| {
        let mut program = wide(0, 0x8000_0000_8000_0021).to_vec();
        program.extend([instruction, exit()]);
        cases.push(Case::new(name, program, expected));
    };
    case("div64 by imm 0", op_imm(Bits::All, DIV, 0, 0), 0);
    case("div32 by imm 0", op_imm(Bits::Lower, DIV, 0, 0), 0);
    case("mod64 by imm 0", op_imm(Bits::All, MOD, 0, 0), 0x8000_0000_8000_0021);
    case("mod32 by imm 0", op_imm(Bits::Lower, MOD, 0, 0), 0x8000_0021);
    case("sdiv64 by imm 0", signed_imm(Bits::All, DIV, 0, 0), 0);
    case("sdiv32 by imm 0", signed_imm(Bits::Lower, DIV, 0, 0), 0);
    case("smod64 by imm 0", signed_imm(Bits::All, MOD, 0, 0), 0x8000_0000_8000_0021);
    case("smod32 by imm 0", signed_imm(Bits::Lower, MOD, 0, 0), 0x8000_0021);
    case("lsh64 by imm 68", op_imm(Bits::All, LSH, 0, 68), 0x0000_0008_0000_0210);
    case("lsh32 by imm 36", op_imm(Bits::Lower, LSH, 0, 36), 0x210);
    case("rsh64 by imm -60", op_imm(Bits::All, RSH, 0, -60), 0x0800_0000_0800_0002);
    case("rsh32 by imm -28", op_imm(Bits::Lower, RSH, 0, -28), 0x0800_0002);
    case("arsh64 by imm 68", op_imm(Bits::All, ARSH, 0, 68), 0xf800_0000_0800_0002);
    case("arsh32 by imm 36", op_imm(Bits::Lower, ARSH, 0, 36), 0xf800_0002);
}

/// Both sides the same register, and each register as either side.
fn same_register(cases: &mut Vec<Case>) {
    let mut case = |name: &str, instruction, expected| {
        let mut program = wide(0, 0x1_8000_0005).to_vec();
        program.extend([instruction, exit()]);
        cases.push(Case::new(name, program, expected));
    };
    case("add64 r0, r0", op(Bits::All, ADD, 0, 0), 0x3_0000_000a);
    case("sub64 r0, r0", op(Bits::All, SUB, 0, 0), 0);
    case("xor32 r0, r0", op(Bits::Lower, XOR, 0, 0), 0);
    case("div32 r0, r0", op(Bits::Lower, DIV, 0, 0), 1);
    case("lsh64 r0, r0", op(Bits::All, LSH, 0, 0), 0x30_0000_00a0);
    case("mov32 r0, r0", op(Bits::Lower, MOV, 0, 0), 0x8000_0005);
    for register in 1..10 {
        let mut program = vec![mov_imm(register, 100 + i32::from(register)), mov_imm(0, 1)];
        program.push(op(Bits::All, SUB, register, 0));
        program.extend([op(Bits::All, ADD, 0, register), exit()]);
        let expected = 100 + u64::from(register);
        cases.push(Case::new(format!("r{register} on both sides"), program, expected));
    }
}
