//! How many arguments a function of a program has: as many of r1 to r5 as it may read. Who calls it
//! then need not keep the others, and put them on the host's stack.

use crate::blocks::{Steps, relative};
use crate::code::Code;
use crate::instruction::{Instruction, opcode};

/// Of each function, by its number.
pub(super) fn arguments(code: &Code) -> Vec<usize> {
    let functions = 0..code.functions.len().max(1);
    let mut counts = vec![0; functions.len()];
    // Who calls others and gives them what it got has as many; each turn finds at least one more.
    loop {
        let next: Vec<usize> =
            functions.clone().map(|function| read_in(code, function, &counts)).collect();
        if next == counts {
            return counts;
        }
        counts = next;
    }
}

/// The highest of r1 to r5 that a function may read, if those that it calls have so many arguments.
fn read_in(code: &Code, function: usize, counts: &[usize]) -> usize {
    let range = code.range(function);
    let read = Steps::between(code, range.start, range.end).map(|(at, instruction)| {
        if instruction.is_local_call() {
            let callee = relative(at, instruction.imm.into());
            let callee = callee.and_then(|callee| code.function_at(callee as i64));
            return callee.and_then(|callee| counts.get(callee).copied()).unwrap_or(5);
        }
        reads(*instruction).into_iter().filter(|register| *register <= 5).max().unwrap_or(0).into()
    });
    read.max().unwrap_or(0)
}

/// The registers that an instruction reads, and perhaps others.
fn reads(instruction: Instruction) -> [u8; 2] {
    let source = if instruction.opcode & opcode::X == 0 { 0 } else { instruction.src };
    match (instruction.class(), instruction.opcode & opcode::OPERATION) {
        (opcode::LD, _) if instruction.is_wide() => [0; 2],
        (opcode::LD | opcode::LDX, _) => [instruction.src, 0],
        (opcode::ST, _) => [instruction.dst, 0],
        (opcode::STX, _) => [instruction.dst, instruction.src],
        (opcode::ALU | opcode::ALU64, opcode::MOV) => [source, 0],
        (opcode::JMP, opcode::CALL) => [5, 0],
        _ => [instruction.dst, source],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Function;

    #[test]
    fn what_is_read_is_an_argument() {
        let bytes: [[u8; 8]; 9] = [
            [0xb7, 1, 0, 0, 7, 0, 0, 0],    // r1 = 7
            [0x85, 0x10, 0, 0, 1, 0, 0, 0], // call 3
            [0x95, 0, 0, 0, 0, 0, 0, 0],
            [0xbf, 0x31, 0, 0, 0, 0, 0, 0], // r1 = r3
            [0x85, 0x10, 0, 0, 1, 0, 0, 0], // call 6
            [0x95, 0, 0, 0, 0, 0, 0, 0],
            [0x7b, 0x4a, 0xf8, 0xff, 0, 0, 0, 0], // *(u64 *)(r10 - 8) = r4
            [0x85, 0x10, 0, 0, 0xfb, 0xff, 0xff, 0xff], // call 3
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        let function = |start| Function { name: String::new(), start };
        let mut code = Code {
            instructions: bytes.map(Instruction::from_bytes).to_vec(),
            functions: [0, 3, 6].map(function).to_vec(),
            ..Code::default()
        };
        assert_eq!(arguments(&code), [4, 4, 4]);
        code.instructions[6] = Instruction::from_bytes([0xb7, 4, 0, 0, 0, 0, 0, 0]); // r4 = 0
        assert_eq!(arguments(&code), [3, 3, 3]);
        code.instructions[4] = Instruction::from_bytes([0x85, 0, 0, 0, 5, 0, 0, 0]); // a helper
        assert_eq!(arguments(&code), [5, 5, 5]);
    }
}
