//! Helpers that call functions of the program: loops and walks, in the interpreter.

use super::*;
use crate::code::{Code, Function};
use crate::instruction::Instruction;
use crate::interpret::Decoded;
use crate::run::{LoadedProgram, function_handle};
use usermap::MapType;

/// A program; a callback of loops, which adds the round to the number at its context and stops
/// at the round 3; and one of walks, which adds key and value to it.
fn program() -> LoadedProgram {
    let instructions = [
        (0xb7, 0, 0, 0, 0),
        (0x95, 0, 0, 0, 0),
        (0x79, 3, 2, 0, 0),
        (0x0f, 3, 1, 0, 0),
        (0x7b, 2, 3, 0, 0),
        (0xb7, 0, 0, 0, 0),
        (0x55, 1, 0, 1, 3),
        (0xb7, 0, 0, 0, 1),
        (0x95, 0, 0, 0, 0),
        (0x61, 5, 2, 0, 0),
        (0x79, 0, 3, 0, 0),
        (0x0f, 0, 5, 0, 0),
        (0x79, 5, 4, 0, 0),
        (0x0f, 5, 0, 0, 0),
        (0x7b, 4, 5, 0, 0),
        (0xb7, 0, 0, 0, 0),
        (0x95, 0, 0, 0, 0),
    ];
    let instruction =
        |(opcode, dst, src, offset, imm)| Instruction { opcode, dst, src, offset, imm };
    let function = |start| Function { name: format!("f{start}"), start };
    let code = Code {
        name: "test".to_owned(),
        instructions: instructions.map(instruction).to_vec(),
        functions: [0, 2, 9].map(function).to_vec(),
        ..Code::default()
    };
    let decoded = Decoded::new(&code);
    LoadedProgram {
        code: Arc::new(code),
        program_type: ProgramType::Syscall,
        decoded,
        native: None,
    }
}

#[test]
fn loops() {
    let mut bench = Bench::new(&[]);
    bench.vm.programs.push(program());
    let mut run = bench.run(ProgramType::Syscall, vec![]);
    let callback = function_handle(1);
    bench.cage.store(STACK, 8, 0).unwrap();
    assert_eq!(give(&mut run, 181, &[3, callback, STACK, 0]), 3);
    assert_eq!(bench.cage.load(STACK, 8), Ok(3));
    assert_eq!(give(&mut run, 181, &[100, callback, STACK, 0]), 4);
    assert_eq!(bench.cage.load(STACK, 8), Ok(9));
    assert_eq!(give(&mut run, 181, &[0, callback, STACK, 0]), 0);
    assert_eq!(give(&mut run, 181, &[(1 << 23) + 1, callback, STACK, 0]), -7 & 0xffff_ffff);
    assert_eq!(give(&mut run, 181, &[1, callback, STACK, 1]), -22);
    assert!(is_wrong(call(&mut run, 181, &[1, function_handle(3), STACK, 0])));
    assert!(matches!(call(&mut run, 181, &[1, callback, NOWHERE, 0]), Err(Stop::Trap(_))));
    run.state.budget = 1;
    let spent = call(&mut run, 181, &[100, callback, STACK, 0]).unwrap_err();
    assert_eq!(spent.at(0, 0).kind, FaultKind::Budget { limit: bench.vm.budget });
}

#[test]
fn walks() {
    let mut bench = Bench::new(&[
        Spec::new(MapType::Hash, 4, 8, 8),
        Spec::new(MapType::Array, 4, 8, 3),
        Spec::new(MapType::Queue, 0, 8, 3),
    ]);
    bench.vm.programs.push(program());
    let mut run = bench.run(ProgramType::Syscall, vec![]);
    let callback = function_handle(2);
    for key in [1_u64, 2, 5] {
        bench.cage.store(STACK, 8, key).unwrap();
        bench.cage.store(STACK + 8, 8, key * 10).unwrap();
        assert_eq!(give(&mut run, 2, &[map_handle(0), STACK, STACK + 8, 0]), 0);
    }
    bench.cage.store(STACK, 8, 0).unwrap();
    assert_eq!(give(&mut run, 164, &[map_handle(0), callback, STACK, 0]), 3);
    assert_eq!(bench.cage.load(STACK, 8), Ok(88));
    assert_eq!(give(&mut run, 164, &[map_handle(1), callback, STACK, 0]), 3);
    assert_eq!((bench.cage.load(STACK, 8), run.scratch), (Ok(91), 0));
    assert_eq!(give(&mut run, 164, &[map_handle(1), callback, STACK, 1]), -22);
    assert_eq!(give(&mut run, 164, &[map_handle(2), callback, STACK, 0]), -524);
    run.state.budget = 1;
    let spent = call(&mut run, 164, &[map_handle(0), callback, STACK, 0]).unwrap_err();
    assert_eq!(spent.at(0, 0).kind, FaultKind::Budget { limit: bench.vm.budget });
    assert_eq!(run.scratch, 0);
}
