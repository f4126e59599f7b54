//! Basic blocks: where they start, and what they cost. Both engines take a block's instructions
//! off the budget when they enter it, and look at the budget where a program could otherwise go on
//! for ever: at jumps backwards, and at the start of functions.

use crate::code::Code;
use crate::instruction::opcode;

/// For each instruction, the number of instructions in the block that starts with it; 0 where
/// none does.
pub(crate) fn costs(code: &Code) -> Vec<u32> {
    let count = code.instructions.len();
    let mut starts = vec![false; count + 1];
    let mut start = |index: i64| {
        if let Some(start) = usize::try_from(index).ok().and_then(|index| starts.get_mut(index)) {
            *start = true;
        }
    };
    for function in &code.functions {
        start(function.start as i64);
    }
    let mut second_half = false;
    for (index, instruction) in code.instructions.iter().enumerate() {
        if std::mem::take(&mut second_half) {
            continue;
        }
        second_half = instruction.is_wide();
        let next = index as i64 + 1;
        if let Some(distance) = instruction.jump() {
            start(next + distance);
            start(next);
        } else if instruction.is_local_call() || instruction.opcode == opcode::JMP | opcode::EXIT {
            start(next);
        }
    }
    let mut costs = vec![0; count];
    let mut cost = 0;
    for index in (0..count).rev() {
        let is_second_half = index > 0 && code.instructions[index - 1].is_wide();
        cost += u32::from(!is_second_half);
        if starts[index] {
            costs[index] = std::mem::take(&mut cost);
        }
    }
    costs
}
