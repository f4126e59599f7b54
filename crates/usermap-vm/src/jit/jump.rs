//! Jumps: conditions, what is known where they lead to, and the budget at those that go back.

use super::compile;
use super::facts::Element;
use super::translate::Translator;
use crate::blocks::target;
use crate::code::Code;
use crate::instruction::{Instruction, opcode, pseudo};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, SourceLoc, Value};

/// As many instructions are looked at for the one that asks for NULL.
const MOST_MOVES: usize = 4;
const MOVE: u8 = opcode::ALU64 | opcode::MOV | opcode::X;
const MOVE_NUMBER: u8 = opcode::ALU64 | opcode::MOV;
const MOVE_32: u8 = opcode::ALU | opcode::MOV | opcode::X;
const MOVE_NUMBER_32: u8 = opcode::ALU | opcode::MOV;

/// With more jumps back than this in a function, none of them is looked at closely.
const MOST_LOOPS: usize = 1000;

impl Translator<'_, '_> {
    /// A jump, a call or an exit; says whether it ended the block.
    pub(super) fn jump(&mut self, instruction: Instruction) -> bool {
        match instruction.opcode & opcode::OPERATION {
            opcode::CALL if instruction.src == pseudo::CALL => self.call_local(instruction),
            opcode::CALL => return self.call_helper(instruction.imm as u32),
            opcode::EXIT => {
                let value = self.get(0);
                self.leave(value);
            }
            operation => {
                let distance = instruction.jump().unwrap_or_default();
                let target = (self.at as i64 + 1 + distance) as usize;
                let found = self.facts.of(instruction.dst);
                let for_null = jumps_for_null(instruction).filter(|_| found.found);
                match (operation, for_null) {
                    (opcode::JA, _) => self.go_to(target),
                    (_, Some(for_null)) if found.there => {
                        self.go_to(if for_null { self.at + 1 } else { target });
                    }
                    _ => {
                        let condition = match operation {
                            opcode::JCOND => self.may_go(),
                            _ => self.condition(instruction),
                        };
                        let null = for_null.map(|for_null| (instruction.dst, for_null));
                        self.go_to_if(condition, target, null);
                    }
                }
            }
        }
        true
    }

    /// Goes on at an instruction.
    fn go_to(&mut self, target: usize) {
        let to = self.way_to(target, None);
        self.lead_to(target);
        self.builder.ins().jump(to, &[]);
    }

    /// The jump that asks whether the call that is being translated gave NULL, if nothing but moves
    /// is before it.
    pub(super) fn jump_for_null(&self) -> Option<usize> {
        // Registers that have what it gave, as bits.
        let mut given = 1_u16;
        for at in self.at + 1..self.function.end.min(self.at + 1 + MOST_MOVES) {
            let instruction = self.program.code.instructions[at];
            let (to, from) = (1 << instruction.dst, 1 << instruction.src);
            if self.program.costs[at] > 0 {
                return None;
            } else if jumps_for_null(instruction).is_some() {
                return (given & to != 0).then_some(at);
            }
            match instruction.opcode {
                MOVE if instruction.offset == 0 && given & from != 0 => given |= to,
                MOVE | MOVE_NUMBER | MOVE_32 | MOVE_NUMBER_32 => given &= !to,
                _ => return None,
            }
        }
        None
    }

    /// Translates what is up to that jump once more, in a block of its own, for when there is
    /// nothing: so who found something need not ask.
    pub(super) fn go_on_with_null(&mut self, block: Block, asks: usize) {
        let before = (self.at, self.facts.clone(), self.left);
        self.forget_stack();
        self.builder.set_cold_block(block);
        self.builder.switch_to_block(block);
        self.set_known(0, 0);
        while self.at + 1 < asks {
            self.at += 1;
            self.compute(self.program.code.instructions[self.at]);
        }
        self.at = asks;
        let jump = self.program.code.instructions[asks];
        let next = asks + 1;
        self.go_to(match jumps_for_null(jump) {
            Some(true) => target(asks, &jump).unwrap_or(next),
            _ => next,
        });
        (self.at, self.facts, self.left) = before;
        self.forget_stack();
    }

    /// Goes on at an instruction if a condition holds, else at the next one. `null` is of a jump
    /// that depends on whether a lookup gave NULL: the register, and whether it is taken for NULL.
    ///
    /// What is to be done on the way out of a loop, or where nothing was found, is kept out of the
    /// way that is taken more often.
    fn go_to_if(&mut self, condition: Value, target: usize, null: Option<(u8, bool)>) {
        let back = goes_back_else(self.program.code, &self.entries, self.function.start, self.at);
        if let Some(back) = back {
            return self.go_back_unless(condition, target, back);
        }
        let to = self.way_to(target, Some((condition, true)));
        let next = self.block(self.at + 1);
        let rarely = self.leaves_a_loop(target) || matches!(null, Some((_, true)));
        let aside = (rarely && !self.is_only_way_to(target)).then(|| self.builder.create_block());
        let both = aside.is_none() && !self.is_only_way_to(target);
        if both || !self.is_only_way_to(self.at + 1) {
            // Once for both ways, so that it is not kept as it was.
            self.take_off();
        }
        if aside.is_none() {
            self.lead_to(target);
        }
        self.lead_to(self.at + 1);
        self.builder.ins().brif(condition, aside.unwrap_or(to), &[], next, &[]);
        if let Some(aside) = aside {
            self.builder.set_cold_block(aside);
            self.builder.switch_to_block(aside);
            self.lead_to(target);
            self.builder.ins().jump(to, &[]);
        }
        if let Some((register, for_null)) = null {
            let there = if for_null { self.at + 1 } else { target };
            let known = self.facts_at.get_mut(there.wrapping_sub(self.function.start));
            if let Some((facts, _)) = known.and_then(Option::as_mut) {
                facts.note_there(register);
            }
        }
    }

    /// A jump out of a loop and the jump back that follows it, at once, so that the loop has one
    /// branch less.
    fn go_back_unless(&mut self, condition: Value, target: usize, back: usize) {
        // The second jump is taken off the budget, too, and put back on the way out.
        let second = i64::from(self.program.costs[self.at + 1]);
        self.left.1 += second;
        let left = self.take_off();
        let aside = (!self.is_only_way_to(target)).then(|| self.builder.create_block());
        if aside.is_none() {
            self.left = (left, -second);
            self.lead_to(target);
            self.left = (left, 0);
        }
        let behind = self.way_to(back, Some((condition, false)));
        self.lead_to(back);
        let to = self.block(target);
        self.builder.ins().brif(condition, aside.unwrap_or(to), &[], behind, &[]);
        if let Some(aside) = aside {
            self.builder.set_cold_block(aside);
            self.builder.switch_to_block(aside);
            self.left = (left, -second);
            self.lead_to(target);
            self.builder.ins().jump(to, &[]);
        }
        self.at += 1;
    }

    /// The block by which a jump gets to an instruction. If that is back, and nobody does it there,
    /// the budget is asked here: for a jump that depends on a condition, which holds or does not.
    fn way_to(&mut self, target: usize, condition: Option<(Value, bool)>) -> Block {
        if target > self.at {
            return self.block(target);
        }
        let landing = self.landings.get(target.wrapping_sub(self.function.start));
        landing.copied().flatten().unwrap_or_else(|| {
            self.check_budget(target, condition);
            self.block(target)
        })
    }

    /// Whether a jump from here leads forwards past a jump back over it.
    fn leaves_a_loop(&self, target: usize) -> bool {
        let few = self.loops.len() <= MOST_LOOPS;
        few && self.loops.iter().any(|(top, end)| (*top..*end).contains(&self.at) && target > *end)
    }

    /// Traps if the budget is spent and a jump back is taken. The budget is asked first, so that
    /// the jump itself is the loop's only other branch. The fault is of where the jump leads to.
    fn check_budget(&mut self, target: usize, condition: Option<(Value, bool)>) {
        let left = self.take_off();
        self.builder.set_srcloc(SourceLoc::new(target as u32));
        let spent = self.builder.ins().icmp_imm_s(IntCC::SignedLessThan, left, 0);
        if let Some((condition, holds)) = condition {
            let (poor, rich) = (self.builder.create_block(), self.builder.create_block());
            self.builder.set_cold_block(poor);
            self.builder.ins().brif(spent, poor, &[], rich, &[]);
            self.builder.switch_to_block(poor);
            match holds {
                true => self.builder.ins().trapnz(condition, compile::BUDGET),
                false => self.builder.ins().trapz(condition, compile::BUDGET),
            };
            self.builder.ins().jump(rich, &[]);
            self.builder.switch_to_block(rich);
        } else {
            self.builder.ins().trapnz(spent, compile::BUDGET);
        }
        self.builder.set_srcloc(SourceLoc::new(self.at as u32));
    }

    /// Where jumps back to an instruction land, if they do not ask themselves: traps if the budget
    /// is spent.
    pub(super) fn land(&mut self, block: Block) {
        let Some(landing) = self.landings[self.at - self.function.start] else { return };
        self.builder.switch_to_block(landing);
        self.left = (self.builder.use_var(self.budget), 0);
        self.check_budget_for(0);
        self.builder.ins().jump(block, &[]);
    }

    /// Whether a `may_goto` jumps: when the function has met enough of them. Else it is one more.
    fn may_go(&mut self) -> Value {
        let left = self.builder.use_var(self.may_go);
        let more = self.builder.ins().icmp_imm_s(IntCC::NotEqual, left, 0);
        let one = self.builder.ins().uextend(I64, more);
        let less = self.builder.ins().isub(left, one);
        self.builder.def_var(self.may_go, less);
        self.builder.ins().icmp_imm_s(IntCC::Equal, left, 0)
    }

    /// Whether the index of an element is one of the array's; or whether it is not.
    pub(super) fn is_inside(&mut self, element: Element, inside: bool) -> Value {
        let comparison = match inside {
            true => IntCC::UnsignedLessThan,
            false => IntCC::UnsignedGreaterThanOrEqual,
        };
        let entries = self.builder.ins().iconst(I64, i64::from(element.entries));
        self.builder.ins().icmp(comparison, element.index, entries)
    }

    /// Whether a conditional jump is taken.
    fn condition(&mut self, instruction: Instruction) -> Value {
        if let Some(for_null) = jumps_for_null(instruction)
            && let Some(element) = self.facts.of(instruction.dst).element
        {
            // The value itself need not be computed then.
            return self.is_inside(element, !for_null);
        }
        let narrow = instruction.class() == opcode::JMP32;
        let left = self.get(instruction.dst);
        let right = match instruction.opcode & opcode::X {
            // Cranelift's constants are zero-extended.
            0 if narrow => self.builder.ins().iconst(I32, i64::from(instruction.imm as u32)),
            0 => self.builder.ins().iconst(I64, i64::from(instruction.imm)),
            _ => {
                let right = self.get(instruction.src);
                if narrow { self.builder.ins().ireduce(I32, right) } else { right }
            }
        };
        let left = if narrow { self.builder.ins().ireduce(I32, left) } else { left };
        let comparison = match instruction.opcode & opcode::OPERATION {
            opcode::JEQ => IntCC::Equal,
            opcode::JGT => IntCC::UnsignedGreaterThan,
            opcode::JGE => IntCC::UnsignedGreaterThanOrEqual,
            opcode::JSGT => IntCC::SignedGreaterThan,
            opcode::JSGE => IntCC::SignedGreaterThanOrEqual,
            opcode::JLT => IntCC::UnsignedLessThan,
            opcode::JLE => IntCC::UnsignedLessThanOrEqual,
            opcode::JSLT => IntCC::SignedLessThan,
            opcode::JSLE => IntCC::SignedLessThanOrEqual,
            opcode::JSET => {
                let both = self.builder.ins().band(left, right);
                return self.builder.ins().icmp_imm_s(IntCC::NotEqual, both, 0);
            }
            _ => IntCC::NotEqual,
        };
        self.builder.ins().icmp(comparison, left, right)
    }
}

/// Where a loop goes on that ends with a jump out of it and one back, by the first of the two; a
/// function has its `entries` from `start` on.
pub(super) fn goes_back_else(
    code: &Code,
    entries: &[u32],
    start: usize,
    at: usize,
) -> Option<usize> {
    let [jump, goto] = [at, at + 1].map(|at| code.instructions.get(at));
    let leaves = target(at, jump?).is_some_and(|target| target > at + 1) && !jump?.is_goto();
    let alone = entries.get(at + 1 - start) == Some(&1);
    let back = target(at + 1, goto.filter(|goto| goto.is_goto() && leaves && alone)?);
    back.filter(|back| *back <= at)
}

/// Whether a jump that asks whether a register is 0 is taken if it is, if it is such a jump.
fn jumps_for_null(instruction: Instruction) -> Option<bool> {
    const IS_NULL: u8 = opcode::JMP | opcode::JEQ;
    const IS_NOT_NULL: u8 = opcode::JMP | opcode::JNE;
    match (instruction.opcode, instruction.imm) {
        (IS_NULL, 0) => Some(true),
        (IS_NOT_NULL, 0) => Some(false),
        _ => None,
    }
}
