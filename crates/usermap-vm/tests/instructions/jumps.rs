//! Jumps: every condition in both widths, taken and not, forward and back.

use crate::assembler::*;
use crate::case::Case;
use usermap_vm::instruction::Instruction;

const NUMBERS: [u64; 7] =
    [0, 1, 0x7fff_ffff, 0x8000_0000, 0x1_0000_0001, 0x8000_0000_0000_0000, u64::MAX];
const IMMEDIATES: [i32; 5] = [0, 1, -1, i32::MAX, i32::MIN];

/// A name, a number, and what it says of 64 bits and of 32.
type Condition = (&'static str, u8, fn(u64, u64) -> bool, fn(u32, u32) -> bool);

const CONDITIONS: [Condition; 11] = [
    ("jeq", JEQ, |a, b| a == b, |a, b| a == b),
    ("jgt", JGT, |a, b| a > b, |a, b| a > b),
    ("jge", JGE, |a, b| a >= b, |a, b| a >= b),
    ("jset", JSET, |a, b| (a & b) != 0, |a, b| (a & b) != 0),
    ("jne", JNE, |a, b| a != b, |a, b| a != b),
    ("jsgt", JSGT, |a, b| (a as i64) > (b as i64), |a, b| (a as i32) > (b as i32)),
    ("jsge", JSGE, |a, b| (a as i64) >= (b as i64), |a, b| (a as i32) >= (b as i32)),
    ("jlt", JLT, |a, b| a < b, |a, b| a < b),
    ("jle", JLE, |a, b| a <= b, |a, b| a <= b),
    ("jslt", JSLT, |a, b| (a as i64) < (b as i64), |a, b| (a as i32) < (b as i32)),
    ("jsle", JSLE, |a, b| (a as i64) <= (b as i64), |a, b| (a as i32) <= (b as i32)),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, test, wide_condition, narrow_condition) in CONDITIONS {
        let holds = |bits, a: u64, b: u64| match bits {
            Bits::All => wide_condition(a, b),
            Bits::Lower => narrow_condition(a as u32, b as u32),
        };
        for bits in [Bits::All, Bits::Lower] {
            let mut case = |how: String, a: u64, b: u64, instruction| {
                let name = format!("{name} {bits:?} {how}");
                let expected = if holds(bits, a, b) { 2 } else { 1 };
                cases.push(Case::new(name, choice(a, b, instruction), expected));
            };
            for a in NUMBERS {
                for b in NUMBERS {
                    case(format!("{a:#x}, {b:#x}"), a, b, jump(bits, test, 1, 2, 2));
                }
                for imm in IMMEDIATES {
                    let b = i64::from(imm) as u64;
                    case(format!("{a:#x}, imm {imm}"), a, b, jump_imm(bits, test, 1, imm, 2));
                }
            }
        }
    }
    cases.extend(loops());
    cases.extend(unconditional());
    cases.extend(bounded());
    cases
}

/// Gives 2 if the instruction jumps by two, 1 if not; r1 and r2 have numbers.
fn choice(a: u64, b: u64, instruction: Instruction) -> Vec<Instruction> {
    let mut program = wide(1, a).to_vec();
    program.extend(wide(2, b));
    program.extend([instruction, mov_imm(0, 1), exit(), mov_imm(0, 2), exit()]);
    program
}

fn loops() -> Vec<Case> {
    // Sums up 10 + 9 + ... + 1.
    let sum = |back: Instruction| {
        let body = [op(Bits::All, ADD, 0, 1), op_imm(Bits::All, SUB, 1, 1), back, exit()];
        [vec![mov_imm(0, 0), mov_imm(1, 10)], body.to_vec()].concat()
    };
    let while_loop = vec![
        mov_imm(0, 0),
        mov_imm(1, 5),
        jump_imm(Bits::All, JEQ, 1, 0, 3),
        op(Bits::All, ADD, 0, 1),
        op_imm(Bits::All, SUB, 1, 1),
        goto(-4),
        exit(),
    ];
    let primes = vec![
        // Is 67 a prime? Divides it by all from 2 to 8.
        mov_imm(1, 67),
        mov_imm(0, 1),
        mov_imm(2, 2),
        mov(3, 1),
        op(Bits::All, MOD, 3, 2),
        jump_imm(Bits::All, JNE, 3, 0, 2),
        mov_imm(0, 0),
        exit(),
        op_imm(Bits::All, ADD, 2, 1),
        jump_imm(Bits::Lower, JLT, 2, 9, -7),
        exit(),
    ];
    vec![
        Case::new("a loop by jne", sum(jump_imm(Bits::All, JNE, 1, 0, -3)), 55),
        Case::new("a loop by jne32", sum(jump_imm(Bits::Lower, JNE, 1, 0, -3)), 55),
        Case::new("a loop by jsgt", sum(jump_imm(Bits::All, JSGT, 1, 0, -3)), 55),
        Case::new("a loop that tests first", while_loop, 15),
        Case::new("a prime", primes, 1),
    ]
}

/// Loops that end before `may_goto` ends them: how long it lets them run is not the same everywhere.
fn bounded() -> Vec<Case> {
    let more = op_imm(Bits::All, ADD, 0, 1);
    let again = jump_imm(Bits::All, JLT, 0, 100, -3);
    vec![
        Case::new("may_goto in a loop", vec![mov_imm(0, 0), may_goto(2), more, again, exit()], 100),
        Case::new("may_goto the next", vec![mov_imm(0, 5), may_goto(0), exit()], 5),
        Case::new("may_goto over it", vec![mov_imm(0, 5), may_goto(1), more, exit()], 6),
    ]
}

fn unconditional() -> Vec<Case> {
    let over_wide = |jump| {
        let mut program = vec![mov_imm(0, 1), jump];
        program.extend(wide(0, 7));
        program.push(exit());
        program
    };
    let back = |first: Instruction, second: Instruction| {
        vec![mov_imm(0, 1), first, mov_imm(0, 5), exit(), op_imm(Bits::All, ADD, 0, 1), second]
    };
    let mut far = vec![mov_imm(0, 3), goto_long(40_000)];
    far.extend(vec![mov_imm(0, 4); 40_000]);
    far.push(exit());
    vec![
        Case::new("goto over a 64-bit load", over_wide(goto(2)), 1),
        Case::new("gotol over a 64-bit load", over_wide(goto_long(2)), 1),
        Case::new("goto the next", over_wide(goto(0)), 7),
        Case::new("gotol the next", over_wide(goto_long(0)), 7),
        Case::new("there and back", back(goto(2), goto(-4)), 5),
        Case::new("there and back by gotol", back(goto_long(2), goto_long(-3)), 2),
        Case::new("gotol farther than goto can", far, 3),
    ]
}
