//! The way in and the way out: values, faults with their places, and what called it stays whole.

use crate::code::{Code, Function};
use crate::context::Packet;
use crate::error::{FaultKind, Trap};
use crate::instruction::Instruction;
use crate::program_type::ProgramType;
use crate::run::{LoadedProgram, Run, Vm};
use crate::sandbox::cage::{Cage, SMALLEST};
use crate::{interpret, jit};
use std::sync::Arc;

/// Instructions by opcode, destination, source, offset and immediate.
fn code(instructions: &[(u8, u8, u8, i16, i32)], functions: &[usize]) -> Code {
    let instruction =
        |&(opcode, dst, src, offset, imm): &_| Instruction { opcode, dst, src, offset, imm };
    let function = |start: &usize| Function { name: format!("f{start}"), start: *start };
    Code {
        name: "test".to_owned(),
        instructions: instructions.iter().map(instruction).collect(),
        functions: functions.iter().map(function).collect(),
        ..Code::default()
    }
}

fn run(code: Code) -> Result<u64, Trap> {
    let cage = Cage::new(SMALLEST).unwrap();
    let native = jit::compile(&code, &[], cage.mask(), &|_| false).unwrap();
    let program = LoadedProgram {
        decoded: interpret::Decoded::new(&code),
        code: Arc::new(code),
        program_type: ProgramType::Xdp,
        native,
    };
    let vm = Vm {
        programs: vec![program],
        maps: Vec::new(),
        helpers: [(
            77_777,
            Arc::new(|call: &mut crate::run::HelperCall<'_>| {
                call.read(call.arguments()[0], &mut [0; 8]);
                7_u64
            }) as crate::run::OwnHelper,
        )]
        .into(),
        budget: 10_000,
        trace: None,
    };
    Run::new(&vm, &cage, 0, Packet::default()).start(0, [5, 0, 0, 0, 0], 1)
}

fn fault(instruction: usize, kind: FaultKind) -> Result<u64, Trap> {
    Err(Trap { program: 0, instruction, kind })
}

const EXIT: (u8, u8, u8, i16, i32) = (0x95, 0, 0, 0, 0);

#[test]
fn values() {
    // r0 = r1 + 3
    assert_eq!(run(code(&[(0xbf, 0, 1, 0, 0), (0x07, 0, 0, 0, 3), EXIT], &[0])), Ok(8));
    // The stack: *(u32 *)(r10 - 4) = -1; r0 = *(u64 *)(r10 - 8)
    let stack = [(0x62, 10, 0, -4, -1), (0x79, 0, 10, -8, 0), EXIT];
    assert_eq!(run(code(&stack, &[0])), Ok(0xffff_ffff << 32));
}

#[test]
fn an_endless_loop_ends() {
    let endless = code(&[(0xb7, 0, 0, 0, 0), (0x05, 0, 0, -1, 0), EXIT], &[0]);
    assert_eq!(run(endless), fault(1, FaultKind::Budget { limit: 10_000 }));
}

#[test]
fn what_is_not_mapped_is_a_fault() {
    for _ in 0..100 {
        let load = code(&[(0xb7, 1, 0, 0, 16), (0x79, 0, 1, 0, 0), EXIT], &[0]);
        let region = "NULL".to_owned();
        let kind = FaultKind::Memory { address: 16, size: 8, write: false, region };
        assert_eq!(run(load), fault(1, kind));
        let store = code(&[(0xb7, 1, 0, 0, 0), (0x73, 1, 1, -16, 0), EXIT], &[0]);
        let Err(Trap { instruction: 1, kind: FaultKind::Memory { write: true, .. }, .. }) =
            run(store)
        else {
            panic!("a store before the cage");
        };
    }
}

#[test]
fn calls() {
    // r1 = 1; call f3; exit; f3: r0 = r1; r0 += 1; exit
    let call = [
        (0xb7, 1, 0, 0, 1),
        (0x85, 0, 1, 0, 1),
        EXIT,
        (0xbf, 0, 1, 0, 0),
        (0x07, 0, 0, 0, 1),
        EXIT,
    ];
    assert_eq!(run(code(&call, &[0, 3])), Ok(2));
    let endless = [(0x85, 0, 1, 0, -1), EXIT];
    assert_eq!(run(code(&endless, &[0])), fault(0, FaultKind::CallDepth { limit: 8 }));
}

#[test]
fn helpers_refuse() {
    let good = [(0xbf, 1, 10, 0, 0), (0x07, 1, 0, 0, -8), (0x85, 0, 0, 0, 77_777), EXIT];
    assert_eq!(run(code(&good, &[0])), Ok(7));
    let bad = [(0xb7, 1, 0, 0, 8), (0x85, 0, 0, 0, 77_777), EXIT];
    let Err(Trap { instruction: 1, kind: FaultKind::Memory { address: 8, .. }, .. }) =
        run(code(&bad, &[0]))
    else {
        panic!("a helper read what is not there");
    };
}

#[test]
fn atomics_are_aligned() {
    let add = |offset| {
        let add = [(0xb7, 1, 0, 0, 5), (0xdb, 10, 1, offset, 1), (0xbf, 0, 1, 0, 0), EXIT];
        run(code(&add, &[0]))
    };
    assert_eq!(add(-8), Ok(0));
    let Err(Trap { instruction: 1, kind: FaultKind::Misaligned { .. }, .. }) = add(-7) else {
        panic!("an atomic at an odd address");
    };
}
