//! Calls of functions: arguments, kept registers, frames of their own; what ends a program early.

use crate::assembler::*;
use crate::case::Case;
use usermap_vm::Error;
use usermap_vm::FaultKind;
use usermap_vm::bare::{Engine, Options, Program};
use usermap_vm::instruction::Instruction;

pub fn cases() -> Vec<Case> {
    let all_arguments = [
        (1..6).map(|register| mov_imm(register, 1 << register)).collect(),
        vec![call_local(1), exit(), mov(0, 1)],
        (2..6).map(|register| op(Bits::All, ADD, 0, register)).collect(),
        vec![exit()],
    ];
    let kept = [
        (6..10).map(|register| mov_imm(register, i32::from(register))).collect(),
        vec![call_local(6), mov_imm(0, 0)],
        (6..10).map(|register| op(Bits::All, ADD, 0, register)).collect(),
        vec![exit()],
        (6..10).map(|register| mov_imm(register, 100)).collect::<Vec<_>>(),
        vec![mov_imm(0, 1), exit()],
    ];
    let frames = vec![
        store_imm(DW, 10, -8, 7),
        call_local(2),
        load(DW, 0, 10, -8),
        exit(),
        store_imm(DW, 10, -8, 9),
        mov_imm(0, 0),
        exit(),
    ];
    let by_address = vec![
        store_imm(DW, 10, -8, 5),
        mov(1, 10),
        op_imm(Bits::All, ADD, 1, -8),
        call_local(3),
        load(DW, 1, 10, -8),
        op(Bits::All, ADD, 0, 1),
        exit(),
        load(DW, 0, 1, 0),
        store_imm(DW, 1, 0, 30),
        exit(),
    ];
    vec![
        Case::new("all arguments", all_arguments.concat(), 62),
        Case::new("r6 to r9 are kept", kept.concat(), 30),
        Case::new("a frame of its own", frames, 7),
        Case::new("the caller's frame by its address", by_address, 35),
        Case::new("eight frames", chain(7), 8),
        Case::new("a function called twice", twice(), 12),
    ]
}

/// Functions that call the next, so many after the first; gives how many there are.
fn chain(calls: usize) -> Vec<Instruction> {
    let mut program = Vec::new();
    for _ in 0..calls {
        program.extend([call_local(2), op_imm(Bits::All, ADD, 0, 1), exit()]);
    }
    program.extend([mov_imm(0, 1), exit()]);
    program
}

fn twice() -> Vec<Instruction> {
    let main = vec![mov_imm(1, 3), call_local(3), mov(1, 0), call_local(1), exit()];
    let double = vec![mov(0, 1), op(Bits::All, ADD, 0, 1), exit()];
    [main, double].concat()
}

fn program(engine: Engine, budget: u64, instructions: Vec<Instruction>) -> Program {
    Options::new().engine(engine).budget(budget).load(instructions).unwrap()
}

/// Where it ended and why.
fn fault(program: &Program, memory: &mut [u8]) -> (usize, FaultKind) {
    match program.run(memory) {
        Err(Error::Fault(fault)) => (fault.instruction, fault.kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_have_a_limit() {
    for engine in Engine::all() {
        let deep = program(*engine, 1000, chain(8));
        assert_eq!(fault(&deep, &mut []), (21, FaultKind::CallDepth { limit: 8 }));
        let endless = program(*engine, 1000, vec![call_local(1), exit(), call_local(-1), exit()]);
        assert_eq!(fault(&endless, &mut []), (2, FaultKind::CallDepth { limit: 8 }));
    }
}

#[test]
fn the_budget_counts_blocks_and_is_asked_for_at_jumps_back_and_calls() {
    // Two, then three for each round, of which the last is not followed by a jump, then one.
    let rounds = |count| {
        let body = [op_imm(Bits::All, ADD, 0, 1), op_imm(Bits::All, SUB, 1, 1)];
        let end = [jump_imm(Bits::All, JNE, 1, 0, -3), exit()];
        [vec![mov_imm(0, 0), mov_imm(1, count)], body.to_vec(), end.to_vec()].concat()
    };
    for engine in Engine::all() {
        for (count, least) in [(1, 2), (2, 5), (10, 29)] {
            // Asked for before each jump back: what was entered until then must be paid for.
            assert_eq!(program(*engine, least, rounds(count)).run(&mut []).unwrap(), count as u64);
            let spent = program(*engine, least - 1, rounds(count));
            let limit = least - 1;
            let place = if count == 1 { 0 } else { 2 };
            assert_eq!(fault(&spent, &mut []), (place, FaultKind::Budget { limit }));
        }
        let endless = program(*engine, 1 << 20, vec![goto(-1)]);
        assert_eq!(fault(&endless, &mut []), (0, FaultKind::Budget { limit: 1 << 20 }));
        // A jump back to a function's start is asked for as every other; the fault is of where it
        // leads to.
        let body = vec![op_imm(Bits::All, ADD, 0, 1), jump_imm(Bits::All, JNE, 0, 0, -2), exit()];
        for limit in [9, 10] {
            let spent = program(*engine, limit, body.clone());
            assert_eq!(fault(&spent, &mut []), (0, FaultKind::Budget { limit }));
        }
        // Several jumps back to one instruction.
        let body = [op_imm(Bits::All, ADD, 0, 1), jump_imm(Bits::All, JEQ, 0, 1, -2)];
        let more = [jump_imm(Bits::All, JLT, 0, 50, -3), goto(-4)];
        let several = [vec![mov_imm(1, 7)], body.to_vec(), more.to_vec(), vec![exit()]].concat();
        for limit in [2, 3, 5, 90, 151] {
            let spent = program(*engine, limit, several.clone());
            assert_eq!(fault(&spent, &mut []), (1, FaultKind::Budget { limit }));
        }
        let long = program(*engine, 1 << 20, vec![goto_long(-1)]);
        assert_eq!(fault(&long, &mut []), (0, FaultKind::Budget { limit: 1 << 20 }));
        // A 64-bit load is one instruction; a function's first block is paid for at its start.
        let called = [wide(1, 9).to_vec(), vec![call_local(1), exit(), mov(0, 1), exit()]].concat();
        assert_eq!(program(*engine, 4, called.clone()).run(&mut []).unwrap(), 9);
        let place = (4, FaultKind::Budget { limit: 3 });
        assert_eq!(fault(&program(*engine, 3, called), &mut []), place);
    }
}

#[test]
fn may_goto_ends_loops_by_function() {
    // Counts in r0 until it jumps; once it does, it always does.
    let count = [may_goto(2), op_imm(Bits::All, ADD, 0, 1), goto(-3)];
    let once = [vec![mov_imm(0, 0)], count.to_vec(), count.to_vec(), vec![exit()]].concat();
    // A function that is called has its own number of them, each time.
    let called = [
        vec![mov_imm(0, 0), call_local(3), mov(6, 0), call_local(1), goto(0)],
        vec![op(Bits::All, ADD, 0, 6), exit()],
    ];
    let mut called = called.concat();
    called[1] = call_local(5);
    called[3] = call_local(3);
    called.extend([vec![mov_imm(0, 0)], count.to_vec(), vec![exit()]].concat());
    for engine in Engine::all() {
        let run = |code: &[Instruction]| program(*engine, 1 << 28, code.to_vec()).run(&mut []);
        assert_eq!(run(&once).unwrap(), 8 << 20);
        assert_eq!(run(&called).unwrap(), 16 << 20);
        let spent = program(*engine, 1000, once.clone());
        assert_eq!(fault(&spent, &mut []), (1, FaultKind::Budget { limit: 1000 }));
    }
}

#[test]
fn helpers_see_the_budget_of_their_whole_block_and_change_r0_only() {
    for engine in Engine::all() {
        let mut options = Options::new();
        options.engine(*engine).budget(8).helper(900, |call| {
            assert_eq!(call.arguments(), [1, 2, 3, 4, 5]);
            77
        });
        let mut instructions: Vec<_> =
            (1..6).map(|number| mov_imm(number, number.into())).collect();
        instructions.extend([raw(0x85, 0, 0, 0, 900), op(Bits::All, ADD, 0, 5), exit()]);
        assert_eq!(options.load(instructions.clone()).unwrap().run(&mut []).unwrap(), 82);
        options.budget(7);
        let spent = options.load(instructions).unwrap();
        assert_eq!(fault(&spent, &mut []), (0, FaultKind::Budget { limit: 7 }));
    }
}

#[test]
fn memory_that_is_not_the_programs() {
    let kind = |program: Vec<Instruction>, engine, memory: &mut [u8]| match fault(
        &self::program(engine, 1000, program),
        memory,
    ) {
        (place, FaultKind::Memory { write, region, .. }) => (place, write, region),
        other => panic!("{other:?}"),
    };
    for engine in Engine::all() {
        let null = vec![mov_imm(1, 0), load(W, 0, 1, 8), exit()];
        assert_eq!(kind(null, *engine, &mut []), (1, false, "NULL".to_owned()));
        let above = vec![mov_imm(0, 0), store(DW, 10, 0, 0), exit()];
        assert_eq!(kind(above, *engine, &mut []), (1, true, "behind the stack".to_owned()));
        let below = vec![store_imm(DW, 10, -4104, 0), mov_imm(0, 0), exit()];
        assert_eq!(kind(below, *engine, &mut []), (0, true, "before the stack".to_owned()));
        let wild = [wide(1, 0xdead_beef).to_vec(), vec![load(B, 0, 1, 0), exit()]].concat();
        assert_eq!(kind(wild, *engine, &mut []), (2, false, "outside of everything".to_owned()));
        let add = vec![atomic(DW, 0, 1, 1, 2), mov_imm(0, 0), exit()];
        let odd = program(*engine, 10, add);
        assert!(matches!(fault(&odd, &mut [0; 16]), (0, FaultKind::Misaligned { .. })));
    }
}
