//! Atomic operations, on the stack, where the kernel allows them too.

use crate::assembler::*;
use crate::case::Case;
use usermap_vm::instruction::Instruction;

const FETCH: i32 = 1;
const XCHG: i32 = 0xe1;
const CMPXCHG: i32 = 0xf1;
const LOAD_ACQUIRE: i32 = 0x100;
const STORE_RELEASE: i32 = 0x110;

/// What is in memory before; 8 bytes of which a narrow operation changes the lower 4.
const BEFORE: u64 = 0x8899_aabb_ccdd_eef0;
const VALUES: [u64; 4] = [1, 0xffff_ffff, 0x1234_5678_9abc_def0, u64::MAX];

type Formula = fn(u64, u64) -> u64;

const OPERATIONS: [(&str, u8, Formula); 4] = [
    ("add", ADD, |a, b| a.wrapping_add(b)),
    ("or", OR, |a, b| a | b),
    ("and", AND, |a, b| a & b),
    ("xor", XOR, |a, b| a ^ b),
];

/// A number's part of a width.
fn part(width: u8, number: u64) -> u64 {
    if width == W { number & 0xffff_ffff } else { number }
}

/// Memory after a part of it was changed.
fn changed(width: u8, number: u64) -> u64 {
    if width == W { BEFORE >> 32 << 32 | part(W, number) } else { number }
}

/// Puts `BEFORE` on the stack and a value in r2, does it, and gives a register and the memory: as
/// two cases.
fn pair(
    cases: &mut Vec<Case>,
    name: &str,
    value: u64,
    instruction: &[Instruction],
    (register, in_register, in_memory): (u8, u64, u64),
) {
    let mut program = wide(3, BEFORE).to_vec();
    program.push(store(DW, 10, -8, 3));
    program.extend(wide(2, value));
    program.extend(instruction);
    let mut other = program.clone();
    program.extend([mov(0, register), exit()]);
    other.extend([load(DW, 0, 10, -8), exit()]);
    cases.push(Case::new(format!("{name} {value:#x}: r{register}"), program, in_register));
    cases.push(Case::new(format!("{name} {value:#x}: memory"), other, in_memory));
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (width, bits) in [(W, 32), (DW, 64)] {
        let old = part(width, BEFORE);
        for value in VALUES {
            for (name, operation, formula) in OPERATIONS {
                let operation = i32::from(operation);
                let after = changed(width, formula(old, value));
                let name = format!("{name}{bits}");
                let plain = [atomic(width, operation, 10, -8, 2)];
                pair(&mut cases, &name, value, &plain, (2, value, after));
                let fetch = [atomic(width, operation | FETCH, 10, -8, 2)];
                pair(&mut cases, &format!("fetch_{name}"), value, &fetch, (2, old, after));
            }
            let exchange = [atomic(width, XCHG, 10, -8, 2)];
            let after = changed(width, value);
            pair(&mut cases, &format!("xchg{bits}"), value, &exchange, (2, old, after));
            compare(&mut cases, width, bits, value);
        }
    }
    for width in [B, H, W, DW] {
        ordered(&mut cases, width);
    }
    cases
}

fn compare(cases: &mut Vec<Case>, width: u8, bits: u32, value: u64) {
    let old = part(width, BEFORE);
    let with = |expected: u64| {
        let mut program = wide(0, expected).to_vec();
        program.push(atomic(width, CMPXCHG, 10, -8, 2));
        program
    };
    let name = format!("cmpxchg{bits}");
    let after = changed(width, value);
    // Only the lower half of r0 counts for a narrow one, and is extended with zeros after it.
    let equal = if width == W { BEFORE ^ 0xf0f0_0000_0000 } else { BEFORE };
    pair(cases, &format!("{name} equal"), value, &with(equal), (0, old, after));
    pair(cases, &format!("{name} other"), value, &with(BEFORE + 1), (0, old, BEFORE));
    pair(cases, &format!("{name} equal"), value, &with(equal), (2, value, after));
}

/// Loads that acquire and stores that release.
fn ordered(cases: &mut Vec<Case>, width: u8) {
    let bits = 8 * bytes(width);
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let value = 0x0102_0304_0506_0708;
    let acquire = [mov_imm(4, -1), raw(0xc3 | width, 4, 10, -8, LOAD_ACQUIRE)];
    let after = (4, BEFORE & mask, BEFORE);
    pair(cases, &format!("load_acquire{bits}"), value, &acquire, after);
    let release = [atomic(width, STORE_RELEASE, 10, -8, 2)];
    let after = (2, value, BEFORE & !mask | value & mask);
    pair(cases, &format!("store_release{bits}"), value, &release, after);
}
