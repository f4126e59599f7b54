//! Basic blocks: runs of instructions that are entered at their first one only. Both engines take a
//! block's instructions off the budget when they enter it, and look at the budget where a program
//! could otherwise go on for ever: at jumps backwards, and at the start of functions. So both must
//! know the same blocks.

use crate::code::Code;
use crate::instruction::{Instruction, opcode};

/// A basic block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first instruction.
    pub(crate) start: usize,
    /// Behind its last.
    pub(crate) end: usize,
    /// How many instructions it has; a 64-bit load counts once.
    pub(crate) count: u32,
}

/// Where a jump leads to, if the instruction is a jump.
pub(crate) fn target(number: usize, instruction: &Instruction) -> Option<usize> {
    relative(number, instruction.jump()?)
}

/// The instruction that many after the next one.
pub(crate) fn relative(number: usize, distance: i64) -> Option<usize> {
    let next = i64::try_from(number).ok()?.checked_add(1)?;
    usize::try_from(next.checked_add(distance)?).ok()
}

/// Whether a block ends after the instruction: it jumps, calls a function, or exits. A call of a
/// helper ends no block.
fn ends(instruction: &Instruction) -> bool {
    let exit = instruction.opcode == opcode::JMP | opcode::EXIT;
    exit || instruction.jump().is_some() || instruction.is_local_call()
}

/// The blocks of a program, in order; together they are all of it.
///
/// A block starts where a function does, where a jump leads to, and after an instruction that ends
/// one.
pub(crate) fn blocks(code: &Code) -> Vec<Block> {
    let instructions = &code.instructions;
    let mut leads = vec![false; instructions.len()];
    let starts = code.functions.iter().map(|function| function.start).chain([0]);
    let steps = || Steps { instructions, at: 0 };
    let jumps = steps().filter_map(|(number, instruction)| target(number, instruction));
    let after = steps().filter(|(_, instruction)| ends(instruction)).map(|(number, _)| number + 1);
    for leader in starts.chain(jumps).chain(after) {
        if let Some(leads) = leads.get_mut(leader) {
            *leads = true;
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (number, instruction) in steps() {
        let end = (number + length(instruction)).min(instructions.len());
        match blocks.last_mut() {
            Some(block) if !leads[number] => {
                block.end = end;
                block.count += 1;
            }
            _ => blocks.push(Block { start: number, end, count: 1 }),
        }
    }
    blocks
}

/// How many places an instruction takes.
pub(crate) fn length(instruction: &Instruction) -> usize {
    if instruction.is_wide() { 2 } else { 1 }
}

/// Instructions with their numbers, without the second halves of 64-bit loads.
pub(crate) struct Steps<'c> {
    instructions: &'c [Instruction],
    at: usize,
}

impl<'c> Steps<'c> {
    /// All instructions of a program.
    pub(crate) fn of(code: &'c Code) -> Steps<'c> {
        Steps { instructions: &code.instructions, at: 0 }
    }

    /// Those from one to before another.
    pub(crate) fn between(code: &'c Code, start: usize, end: usize) -> Steps<'c> {
        Steps { instructions: code.instructions.get(..end).unwrap_or_default(), at: start }
    }
}

impl<'c> Iterator for Steps<'c> {
    type Item = (usize, &'c Instruction);

    fn next(&mut self) -> Option<Self::Item> {
        let instruction = self.instructions.get(self.at)?;
        let number = self.at;
        self.at += length(instruction);
        Some((number, instruction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Function;

    fn code(bytes: &[[u8; 8]], functions: &[usize]) -> Code {
        let function = |start: &usize| Function { name: String::new(), start: *start };
        Code {
            instructions: bytes.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect(),
            functions: functions.iter().map(function).collect(),
            ..Code::default()
        }
    }

    #[test]
    fn blocks_end_at_jumps_and_local_calls_but_not_at_helpers() {
        let program = code(
            &[
                [0x18, 1, 0, 0, 1, 0, 0, 0], // r1 = 1, in two
                [0; 8],
                [0x85, 0, 0, 0, 5, 0, 0, 0],    // call a helper
                [0x55, 0, 1, 0, 0, 0, 0, 0],    // if r0 != 0 goto 5
                [0x85, 0x10, 0, 0, 1, 0, 0, 0], // call 6
                [0x95, 0, 0, 0, 0, 0, 0, 0],
                [0xb7, 0, 0, 0, 0, 0, 0, 0],
                [0x05, 0, 0xfe, 0xff, 0, 0, 0, 0], // goto 6
            ],
            &[0, 6],
        );
        let expected = [(0, 4, 3), (4, 5, 1), (5, 6, 1), (6, 8, 2)];
        let expected = expected.map(|(start, end, count)| Block { start, end, count });
        assert_eq!(blocks(&program), expected);
    }

    #[test]
    fn nonsense_has_blocks_too() {
        assert_eq!(blocks(&code(&[], &[7])), []);
        let cut = code(&[[0x18, 1, 0, 0, 1, 0, 0, 0]], &[0]);
        assert_eq!(blocks(&cut), [Block { start: 0, end: 1, count: 1 }]);
        let out = code(&[[0x05, 0, 0xff, 0x7f, 0, 0, 0, 0], [5, 0, 0, 0x80, 0, 0, 0, 0]], &[]);
        assert_eq!(blocks(&out).len(), 2);
    }
}
