//! Arithmetic, with the kernel's results where machines differ: division by zero gives 0, the
//! remainder of it what was divided; shifts count modulo the width.

use super::facts::Fact;
use super::translate::Translator;
use crate::instruction::{Instruction, opcode};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Type, Value};

impl Translator<'_, '_> {
    /// An instruction of the classes ALU and ALU64.
    pub(super) fn compute(&mut self, instruction: Instruction) {
        let wide = instruction.class() == opcode::ALU64;
        let operation = instruction.opcode & opcode::OPERATION;
        if operation == opcode::END {
            return self.swap(instruction, wide);
        }
        let immediate = instruction.opcode & opcode::X == 0;
        if operation == opcode::MOV && immediate {
            let value = i64::from(instruction.imm) as u64;
            return self.set_known(
                instruction.dst,
                if wide { value } else { value & u64::from(u32::MAX) },
            );
        }
        if operation == opcode::MOV && wide && instruction.offset == 0 {
            let value = self.get(instruction.src);
            let fact = self.facts.of(instruction.src);
            return self.set_with(instruction.dst, value, fact);
        }
        let kind = if wide { I64 } else { I32 };
        let fact = self.fact(instruction, operation);
        let left = self.operand(instruction.dst, kind);
        let right = match immediate {
            true if wide => self.builder.ins().iconst(I64, i64::from(instruction.imm)),
            // Cranelift's constants are zero-extended.
            true => self.builder.ins().iconst(I32, i64::from(instruction.imm as u32)),
            false => self.operand(instruction.src, kind),
        };
        let result = self.operate(instruction, operation, kind, left, right);
        let result = if wide { result } else { self.builder.ins().uextend(I64, result) };
        self.set_with(instruction.dst, result, fact);
    }

    /// What is known of the result of an operation.
    fn fact(&self, instruction: Instruction, operation: u8) -> Fact {
        let wide = instruction.class() == opcode::ALU64;
        let left = self.facts.of(instruction.dst);
        let all = if wide { u64::MAX } else { u32::MAX.into() };
        if instruction.opcode & opcode::X != 0 {
            let right = self.facts.of(instruction.src);
            return match operation {
                opcode::ADD if wide => sum_of(left, right),
                opcode::MOV if instruction.offset == 0 => {
                    Fact::at_most(Some(right.most.map_or(all, |most| most.min(all))))
                }
                _ => Fact::at_most((!wide).then_some(all)),
            };
        }
        let imm = instruction.imm;
        let number = if wide { i64::from(imm) as u64 } else { u64::from(imm as u32) };
        let most = left.most.map_or(all, |most| most.min(all));
        let most = match operation {
            opcode::ADD if wide => {
                let further = |from: i32| from.checked_add(imm);
                let frame = left.frame.and_then(further);
                let span = left.span.and_then(|(from, most)| Some((further(from)?, most)));
                let most = most.checked_add(number).filter(|_| imm >= 0);
                return Fact { frame, span, most, ..Fact::default() };
            }
            opcode::AND => Some(most.min(number)),
            opcode::RSH => Some(most >> (imm as u32 & if wide { 63 } else { 31 })),
            opcode::LSH => {
                let by = imm as u32 & if wide { 63 } else { 31 };
                most.checked_mul(1 << by).filter(|most| *most <= all).or(Some(all))
            }
            _ => Some(all),
        };
        Fact::at_most(most)
    }

    fn operand(&mut self, register: u8, kind: Type) -> Value {
        let value = self.get(register);
        if kind == I64 { value } else { self.builder.ins().ireduce(kind, value) }
    }

    fn operate(
        &mut self,
        instruction: Instruction,
        operation: u8,
        kind: Type,
        left: Value,
        right: Value,
    ) -> Value {
        let signed = instruction.offset == 1;
        match operation {
            opcode::ADD => self.builder.ins().iadd(left, right),
            opcode::SUB => self.builder.ins().isub(left, right),
            opcode::MUL => self.builder.ins().imul(left, right),
            opcode::OR => match self.rotated(left, right).or_else(|| self.rotated(right, left)) {
                Some((number, by)) => self.builder.ins().rotl_imm_u(number, by),
                None => self.builder.ins().bor(left, right),
            },
            opcode::AND => self.builder.ins().band(left, right),
            opcode::XOR => self.builder.ins().bxor(left, right),
            opcode::LSH => self.builder.ins().ishl(left, right),
            opcode::RSH => self.builder.ins().ushr(left, right),
            opcode::ARSH => self.builder.ins().sshr(left, right),
            opcode::NEG => self.builder.ins().ineg(left),
            opcode::DIV if signed => self.divide_signed(kind, left, right),
            opcode::MOD if signed => self.remainder_signed(kind, left, right),
            opcode::DIV => self.divide(kind, left, right),
            opcode::MOD => self.remainder(kind, left, right),
            _ => self.extend(instruction.offset, kind, right),
        }
    }

    /// What is rotated to the left, and how far, if these are the parts that make it up: Cranelift
    /// would shift both at once, which takes three times as long.
    fn rotated(&self, high: Value, low: Value) -> Option<(Value, i64)> {
        let shifted = |value: Value, by: Opcode| {
            let graph = &self.builder.func.dfg;
            let shift = graph.value_def(value).inst()?;
            let [number, amount] = *graph.inst_args(shift) else { return None };
            let amount = graph.value_def(amount).inst()?;
            match graph.insts[amount] {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }
                    if graph.insts[shift].opcode() == by =>
                {
                    Some((graph.resolve_aliases(number), imm.bits()))
                }
                _ => None,
            }
        };
        let ((number, left), (same, right)) =
            (shifted(high, Opcode::Ishl)?, shifted(low, Opcode::Ushr)?);
        let bits = i64::from(self.builder.func.dfg.value_type(number).bits());
        (number == same && left > 0 && right > 0 && left + right == bits).then_some((number, left))
    }

    /// A move that extends the sign of fewer bits.
    fn extend(&mut self, bits: i16, kind: Type, value: Value) -> Value {
        let from = match bits {
            8 => I8,
            16 => I16,
            32 => I32,
            _ => return value,
        };
        if from == kind {
            return value;
        }
        let narrow = self.builder.ins().ireduce(from, value);
        self.builder.ins().sextend(kind, narrow)
    }

    /// Whether a value is this number.
    fn is(&mut self, kind: Type, value: Value, number: i64) -> Value {
        let bits = if kind == I64 { number } else { i64::from(number as u32) };
        let number = self.builder.ins().iconst(kind, bits);
        self.builder.ins().icmp(IntCC::Equal, value, number)
    }

    /// A divisor that can be divided by: 1 where `unless` holds.
    fn divisor(&mut self, kind: Type, divisor: Value, unless: Value) -> Value {
        let one = self.builder.ins().iconst(kind, 1);
        self.builder.ins().select(unless, one, divisor)
    }

    fn divide(&mut self, kind: Type, left: Value, right: Value) -> Value {
        let by_zero = self.is(kind, right, 0);
        let divisor = self.divisor(kind, right, by_zero);
        let quotient = self.builder.ins().udiv(left, divisor);
        let zero = self.builder.ins().iconst(kind, 0);
        self.builder.ins().select(by_zero, zero, quotient)
    }

    fn remainder(&mut self, kind: Type, left: Value, right: Value) -> Value {
        let by_zero = self.is(kind, right, 0);
        let divisor = self.divisor(kind, right, by_zero);
        let rest = self.builder.ins().urem(left, divisor);
        self.builder.ins().select(by_zero, left, rest)
    }

    /// The least number divided by -1 is itself.
    fn divide_signed(&mut self, kind: Type, left: Value, right: Value) -> Value {
        let by_zero = self.is(kind, right, 0);
        let by_minus_one = self.is(kind, right, -1);
        let special = self.builder.ins().bor(by_zero, by_minus_one);
        let divisor = self.divisor(kind, right, special);
        let quotient = self.builder.ins().sdiv(left, divisor);
        let negated = self.builder.ins().ineg(left);
        let quotient = self.builder.ins().select(by_minus_one, negated, quotient);
        let zero = self.builder.ins().iconst(kind, 0);
        self.builder.ins().select(by_zero, zero, quotient)
    }

    fn remainder_signed(&mut self, kind: Type, left: Value, right: Value) -> Value {
        let by_zero = self.is(kind, right, 0);
        let by_minus_one = self.is(kind, right, -1);
        let special = self.builder.ins().bor(by_zero, by_minus_one);
        let divisor = self.divisor(kind, right, special);
        // By 1 for -1, which leaves 0 as well.
        let rest = self.builder.ins().srem(left, divisor);
        self.builder.ins().select(by_zero, left, rest)
    }

    /// Byte order: ALU64 swaps, ALU converts to little (K) or big (X) endian.
    fn swap(&mut self, instruction: Instruction, always: bool) {
        let value = self.get(instruction.dst);
        let kind = match instruction.imm {
            16 => I16,
            32 => I32,
            _ => I64,
        };
        let mut part = if kind == I64 { value } else { self.builder.ins().ireduce(kind, value) };
        if always || instruction.opcode & opcode::X != 0 {
            part = self.builder.ins().bswap(part);
        }
        let result = if kind == I64 { part } else { self.builder.ins().uextend(I64, part) };
        self.set(instruction.dst, result);
    }
}

/// What is known of the sum of two registers: somewhere in the frame, if one is at a known place
/// there and the other is no larger than something.
fn sum_of(left: Fact, right: Fact) -> Fact {
    let from = |frame: Fact, other: Fact| {
        let ((from, most), more) = (frame.frame_place()?, other.most?);
        Some((from, most.checked_add(more)?))
    };
    let most = left.most.zip(right.most).and_then(|(left, right)| left.checked_add(right));
    Fact { span: from(left, right).or(from(right, left)), most, ..Fact::default() }
}
