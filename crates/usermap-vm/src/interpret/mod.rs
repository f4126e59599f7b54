//! The interpreter: the reference for what instructions do, and the engine where there is no other.
//!
//! Instructions do what the kernel's interpreter and RFC 9669 say: 32-bit operations clear the
//! upper half, shifts take the lower bits of their amount, a division by zero gives zero, a
//! remainder by zero leaves the dividend, and the least number divided by -1 is itself. Registers
//! other than r1 to r5 and r10 are zero when a function is entered; calls change r0 only.
//!
//! Both engines count instructions by the same rule. A basic block ([`blocks`](crate::blocks)) takes
//! all its instructions from the budget when it is entered. Whether there was enough is asked where
//! a program could go on for ever: when a jump leads back, and when a function is entered; a fault is
//! of the instruction that is led to. Here the
//! blocks need no counting one by one: all instructions between where the last jump led and the
//! next jump taken are of blocks that were entered, and of all those are all instructions.

mod decoded;
mod op;

pub(crate) use decoded::Decoded;

use crate::error::{FaultKind, Trap};
use crate::helper;
use crate::instruction::{MAY_GOTO, opcode};
use crate::run::{self, Run};
use crate::sandbox::cage::Atomic;
use decoded::Op;

/// Runs a function of the current program in a frame; gives r0.
pub(crate) fn run(
    run: &mut Run<'_>,
    function: usize,
    frame: u64,
    arguments: [u64; 5],
) -> Result<u64, Trap> {
    let vm = run.vm;
    let program = &vm.programs[run.program].decoded;
    execute(run, program, function, frame, arguments)
}

/// The trap of an instruction.
#[cold]
fn trap(run: &Run<'_>, program: &Decoded, place: usize, kind: FaultKind) -> Trap {
    Trap { program: run.program, instruction: program.number(place), kind }
}

#[cold]
fn spent(run: &Run<'_>, program: &Decoded, place: usize) -> Trap {
    trap(run, program, place, FaultKind::Budget { limit: run.vm.budget })
}

#[cold]
fn no_instruction(run: &Run<'_>, program: &Decoded, place: usize) -> Trap {
    let problem = "there is no such instruction".to_owned();
    trap(run, program, place, run::wrong("the interpreter", problem))
}

/// Instructions from one to before another.
fn count(from: usize, to: usize) -> i64 {
    to as i64 - from as i64
}

/// The loop over instructions. Operations are listed by what they do to two numbers, which the
/// macro makes arms of: with an immediate and a register, of 64 and 32 bits.
macro_rules! step {
    (
        $op:ident, $dst:ident, $src:ident, $registers:ident, $jump:ident;
        arithmetic { $($name:ident: $wide:expr, $narrow:expr;)* }
        jumps { $($test:ident: $wide_test:expr, $narrow_test:expr;)* }
        others { $($others:tt)* }
    ) => {
        match $op.code {
            $(
                op::$name::K64 => $registers[$dst] = $wide($registers[$dst], $op.imm),
                op::$name::X64 => $registers[$dst] = $wide($registers[$dst], $registers[$src]),
                op::$name::K32 => {
                    $registers[$dst] = u64::from($narrow($registers[$dst] as u32, $op.imm as u32));
                }
                op::$name::X32 => {
                    let (a, b) = ($registers[$dst] as u32, $registers[$src] as u32);
                    $registers[$dst] = u64::from($narrow(a, b));
                }
            )*
            $(
                op::$test::K64 => if $wide_test($registers[$dst], $op.imm) { $jump!() },
                op::$test::X64 => if $wide_test($registers[$dst], $registers[$src]) { $jump!() },
                op::$test::K32 => {
                    if $narrow_test($registers[$dst] as u32, $op.imm as u32) { $jump!() }
                }
                op::$test::X32 => {
                    let (a, b) = ($registers[$dst] as u32, $registers[$src] as u32);
                    if $narrow_test(a, b) { $jump!() }
                }
            )*
            $($others)*
        }
    };
}

fn execute(
    run: &mut Run<'_>,
    program: &Decoded,
    function: usize,
    frame: u64,
    [r1, r2, r3, r4, r5]: [u64; 5],
) -> Result<u64, Trap> {
    let memory = run.memory;
    let ops = program.ops.as_slice();
    let Some(entry) = program.functions.get(function) else {
        return Err(no_instruction(run, program, 0));
    };
    // Of 16, 11 are used: so no number in an instruction is out of bounds.
    let mut registers = [0, r1, r2, r3, r4, r5, 0, 0, 0, 0, frame, 0, 0, 0, 0, 0];
    // The next instruction, and up to which all are taken from the budget.
    let mut next = entry.start;
    let mut counted = entry.first_block;
    let mut budget = run.state.budget - count(next, counted);
    let mut may_go = MAY_GOTO;
    if budget < 0 {
        return Err(spent(run, program, next));
    }
    macro_rules! check {
        ($outcome:expr) => {
            match $outcome {
                Ok(value) => value,
                Err(kind) => return Err(trap(run, program, next - 1, kind)),
            }
        };
    }
    loop {
        let Some(op) = ops.get(next) else { return Err(no_instruction(run, program, next)) };
        next += 1;
        macro_rules! jump {
            () => {{
                let target = op.offset as u32 as usize;
                budget -= count(counted, next);
                counted = target;
                if target < next && budget < 0 {
                    return Err(spent(run, program, target));
                }
                next = target;
            }};
        }
        macro_rules! address {
            ($register:expr) => {
                registers[$register].wrapping_add(op.offset as i64 as u64)
            };
        }
        let dst = usize::from(op.dst & 15);
        let src = usize::from(op.src & 15);
        step! {
            op, dst, src, registers, jump;
            arithmetic {
                add: u64::wrapping_add, u32::wrapping_add;
                sub: u64::wrapping_sub, u32::wrapping_sub;
                mul: u64::wrapping_mul, u32::wrapping_mul;
                div: |a: u64, b| a.checked_div(b).unwrap_or(0),
                    |a: u32, b| a.checked_div(b).unwrap_or(0);
                modulo: |a: u64, b| a.checked_rem(b).unwrap_or(a),
                    |a: u32, b| a.checked_rem(b).unwrap_or(a);
                signed_div: |a, b| signed_div(a as i64, b as i64) as u64,
                    |a, b| signed_div(i64::from(a as i32), i64::from(b as i32)) as u32;
                signed_modulo: |a, b| signed_modulo(a as i64, b as i64) as u64,
                    |a, b| signed_modulo(i64::from(a as i32), i64::from(b as i32)) as u32;
                or: |a: u64, b| a | b, |a: u32, b| a | b;
                and: |a: u64, b| a & b, |a: u32, b| a & b;
                xor: |a: u64, b| a ^ b, |a: u32, b| a ^ b;
                lsh: |a: u64, b| a.wrapping_shl(b as u32), |a: u32, b| a.wrapping_shl(b);
                rsh: |a: u64, b| a.wrapping_shr(b as u32), |a: u32, b| a.wrapping_shr(b);
                arsh: |a, b| (a as i64).wrapping_shr(b as u32) as u64,
                    |a, b| (a as i32).wrapping_shr(b) as u32;
                mov: |_, b| b, |_, b| b;
            }
            jumps {
                jeq: |a: u64, b| a == b, |a: u32, b| a == b;
                jne: |a: u64, b| a != b, |a: u32, b| a != b;
                jgt: |a: u64, b| a > b, |a: u32, b| a > b;
                jge: |a: u64, b| a >= b, |a: u32, b| a >= b;
                jlt: |a: u64, b| a < b, |a: u32, b| a < b;
                jle: |a: u64, b| a <= b, |a: u32, b| a <= b;
                jset: |a: u64, b| a & b != 0, |a: u32, b| a & b != 0;
                jsgt: |a, b| a as i64 > b as i64, |a, b| a as i32 > b as i32;
                jsge: |a, b| a as i64 >= b as i64, |a, b| a as i32 >= b as i32;
                jslt: |a, b| (a as i64) < b as i64, |a, b| (a as i32) < b as i32;
                jsle: |a, b| a as i64 <= b as i64, |a, b| a as i32 <= b as i32;
            }
            others {
                op::LOAD_8 => registers[dst] = check!(memory.load(address!(src), 1)),
                op::LOAD_16 => registers[dst] = check!(memory.load(address!(src), 2)),
                op::LOAD_32 => registers[dst] = check!(memory.load(address!(src), 4)),
                op::LOAD_64 => registers[dst] = check!(memory.load(address!(src), 8)),
                op::STORE_8 => check!(memory.store(address!(dst), 1, registers[src])),
                op::STORE_16 => check!(memory.store(address!(dst), 2, registers[src])),
                op::STORE_32 => check!(memory.store(address!(dst), 4, registers[src])),
                op::STORE_64 => check!(memory.store(address!(dst), 8, registers[src])),
                op::STORE_IMM_8 => check!(memory.store(address!(dst), 1, op.imm)),
                op::STORE_IMM_16 => check!(memory.store(address!(dst), 2, op.imm)),
                op::STORE_IMM_32 => check!(memory.store(address!(dst), 4, op.imm)),
                op::STORE_IMM_64 => check!(memory.store(address!(dst), 8, op.imm)),
                op::LOAD_SIGNED_8 => {
                    let value = check!(memory.load(address!(src), 1));
                    registers[dst] = value as i8 as u64;
                }
                op::LOAD_SIGNED_16 => {
                    let value = check!(memory.load(address!(src), 2));
                    registers[dst] = value as i16 as u64;
                }
                op::LOAD_SIGNED_32 => {
                    let value = check!(memory.load(address!(src), 4));
                    registers[dst] = value as i32 as u64;
                }
                op::CONSTANT => registers[dst] = op.imm,
                op::GOTO | op::GOTO_LONG => jump!(),
                op::MAY_GOTO => match may_go {
                    0 => jump!(),
                    _ => may_go -= 1,
                },
                op::PACKET | op::PACKET_FROM => {
                    budget -= count(counted, op.offset as usize);
                    counted = op.offset as usize;
                    let from = if op.code == op::PACKET { 0 } else { registers[src] };
                    let offset = from.wrapping_add(op.imm) as i32;
                    match check!(helper::load_packet(run, registers[6], offset, op.dst)) {
                        Some(value) => registers[0] = value,
                        None => {
                            run.state.budget = budget;
                            return Ok(0);
                        }
                    }
                }
                op::RETURN => {
                    run.state.budget = budget - count(counted, next);
                    return Ok(registers[0]);
                }
                op::HELPER | op::TAIL_CALL => {
                    // A helper may take from the budget too, after the block that calls it.
                    run.state.budget = budget - count(counted, op.offset as usize);
                    counted = op.offset as usize;
                    run.state.frame = frame;
                    if let Some(value) = check_call(run, program, next - 1, op, &mut registers)? {
                        return Ok(value);
                    }
                    budget = run.state.budget;
                }
                op::LOCAL_CALL => {
                    run.state.budget = budget - count(counted, next);
                    counted = next;
                    let below = check!(run.next_frame(frame));
                    let arguments = arguments(&registers);
                    let callee = op.offset as usize;
                    registers[0] = execute(run, program, callee, below, arguments)?;
                    budget = run.state.budget;
                }
                op::NEG_64 => registers[dst] = registers[dst].wrapping_neg(),
                op::NEG_32 => registers[dst] = u64::from((registers[dst] as u32).wrapping_neg()),
                op::SWAP_16 => registers[dst] = u64::from((registers[dst] as u16).swap_bytes()),
                op::SWAP_32 => registers[dst] = u64::from((registers[dst] as u32).swap_bytes()),
                op::SWAP_64 => registers[dst] = registers[dst].swap_bytes(),
                op::CUT_16 => registers[dst] = u64::from(registers[dst] as u16),
                op::CUT_32 => registers[dst] = u64::from(registers[dst] as u32),
                op::CUT_64 => {}
                op::EXTEND_8_32 => {
                    registers[dst] = u64::from(i32::from(registers[src] as i8) as u32);
                }
                op::EXTEND_16_32 => {
                    registers[dst] = u64::from(i32::from(registers[src] as i16) as u32);
                }
                op::EXTEND_8_64 => registers[dst] = registers[src] as i8 as u64,
                op::EXTEND_16_64 => registers[dst] = registers[src] as i16 as u64,
                op::EXTEND_32_64 => registers[dst] = registers[src] as i32 as u64,
                op::ATOMIC_32 => {
                    check!(atomic(run, op, 4, address!(dst), &mut registers));
                }
                op::ATOMIC_64 => {
                    check!(atomic(run, op, 8, address!(dst), &mut registers));
                }
                op::LOAD_ACQUIRE => {
                    registers[dst] = check!(memory.load_acquire(address!(src), op.imm as u8));
                }
                op::STORE_RELEASE => {
                    let (address, value) = (address!(dst), registers[src]);
                    check!(memory.store_release(address, op.imm as u8, value));
                }
                op::MAP_VALUE => match run.vm.maps.get(op.offset as u32 as usize) {
                    Some(map) => registers[dst] = map.start.wrapping_add(op.imm),
                    None => return Err(no_instruction(run, program, next - 1)),
                },
                _ => return Err(no_instruction(run, program, next - 1)),
            }
        }
    }
}

fn signed_div(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

fn signed_modulo(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}

fn arguments(registers: &[u64; 16]) -> [u64; 5] {
    let [_, r1, r2, r3, r4, r5, ..] = *registers;
    [r1, r2, r3, r4, r5]
}

/// Calls a helper; gives the function's result if it was a tail call.
fn check_call(
    run: &mut Run<'_>,
    program: &Decoded,
    place: usize,
    op: &Op,
    registers: &mut [u64; 16],
) -> Result<Option<u64>, Trap> {
    let arguments = arguments(registers);
    let called = match op.code {
        op::TAIL_CALL => match run.tail_call(arguments) {
            Ok(Some(value)) => return Ok(Some(value)),
            Ok(None) => Ok(run::NO_TAIL_CALL),
            Err(stop) => Err(stop),
        },
        _ => run.call_helper(op.imm as u32, arguments),
    };
    registers[0] = called.map_err(|stop| stop.at(run.program, program.number(place)))?;
    Ok(None)
}

/// An atomic operation; gives the old value in the register that fetches say.
fn atomic(
    run: &Run<'_>,
    op: &Op,
    width: u8,
    address: u64,
    registers: &mut [u64; 16],
) -> Result<(), FaultKind> {
    const OR: i32 = opcode::OR as i32;
    const AND: i32 = opcode::AND as i32;
    const XOR: i32 = opcode::XOR as i32;
    let imm = op.imm as i32;
    let operation = match imm {
        opcode::XCHG => Atomic::Exchange,
        opcode::CMPXCHG => Atomic::CompareExchange(registers[0]),
        _ => match imm & !opcode::FETCH {
            OR => Atomic::Or,
            AND => Atomic::And,
            XOR => Atomic::Xor,
            _ => Atomic::Add,
        },
    };
    let src = usize::from(op.src & 15);
    let old = run.memory.atomic(address, width, operation, registers[src])?;
    match imm {
        opcode::CMPXCHG => registers[0] = old,
        _ if imm & opcode::FETCH != 0 => registers[src] = old,
        _ => {}
    }
    Ok(())
}
