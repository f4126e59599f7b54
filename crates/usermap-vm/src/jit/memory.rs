//! Loads, stores and atomics, in the cage.

use super::compile;
use super::facts::{Fact, Written};
use super::translate::{Translator, plain};
use crate::instruction::{Instruction, opcode};
use crate::sandbox::cage::{FRAME, MAPS, SMALLEST};
use crate::sandbox::native::offsets;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, Type, Value};

/// The type of so many bytes.
fn of_width(width: u8) -> Type {
    match width {
        1 => I8,
        2 => I16,
        4 => I32,
        _ => I64,
    }
}

impl Translator<'_, '_> {
    /// An instruction of the classes LDX, ST and STX.
    pub(super) fn access(&mut self, instruction: Instruction) {
        let kind = of_width(instruction.width());
        match (instruction.class(), instruction.opcode & opcode::MODE) {
            (opcode::LDX, mode) => {
                let (at, offset) = self.locate(instruction.src, instruction);
                let value = self.load(kind, mode == opcode::MEMSX, at, offset);
                // So that it does not become part of a later instruction, whose fault it then was.
                self.builder.ins().sequence_point();
                let narrow = mode != opcode::MEMSX && kind != I64;
                let most = narrow.then(|| u64::MAX >> (64 - kind.bits()));
                self.set_with(instruction.dst, value, Fact::at_most(most));
            }
            (opcode::ST, _) => {
                let (at, offset) = self.locate(instruction.dst, instruction);
                let bits = i64::from(instruction.imm);
                let bits = match kind {
                    I8 => bits & 0xff,
                    I16 => bits & 0xffff,
                    I32 => bits & 0xffff_ffff,
                    _ => bits,
                };
                let value = self.builder.ins().iconst(kind, bits);
                self.builder.ins().store(plain(), value, at, offset);
                self.note_store(instruction, Some(value));
            }
            (_, opcode::ATOMIC) if instruction.imm == opcode::LOAD_ACQ => {
                self.load_acquire(instruction, kind);
            }
            (_, opcode::ATOMIC) => self.atomic(instruction, kind),
            _ => {
                let value = self.get(instruction.src);
                let value = self.narrow(kind, value);
                let (at, offset) = self.locate(instruction.dst, instruction);
                self.builder.ins().store(plain(), value, at, offset);
                self.note_store(instruction, Some(value));
            }
        }
    }

    /// A load that fills a register.
    fn load(&mut self, kind: Type, signed: bool, at: Value, offset: i32) -> Value {
        let ins = self.builder.ins();
        match (kind, signed) {
            (I8, false) => ins.uload8(I64, plain(), at, offset),
            (I8, true) => ins.sload8(I64, plain(), at, offset),
            (I16, false) => ins.uload16(I64, plain(), at, offset),
            (I16, true) => ins.sload16(I64, plain(), at, offset),
            (I32, false) => ins.uload32(plain(), at, offset),
            (I32, true) => ins.sload32(plain(), at, offset),
            _ => ins.load(I64, plain(), at, offset),
        }
    }

    fn widen(&mut self, kind: Type, value: Value, signed: bool) -> Value {
        match kind {
            I64 => value,
            _ if signed => self.builder.ins().sextend(I64, value),
            _ => self.builder.ins().uextend(I64, value),
        }
    }

    fn narrow(&mut self, kind: Type, value: Value) -> Value {
        if kind == I64 { value } else { self.builder.ins().ireduce(kind, value) }
    }

    /// Where an access goes: a host address and an offset. An access in the function's own frame,
    /// or at a known address, is known to be in the cage; else only the bits of the address that
    /// count are used, and the offset, of 16 bits, leads at most into the unmapped memory around it.
    fn locate(&mut self, register: u8, instruction: Instruction) -> (Value, i32) {
        let offset = i32::from(instruction.offset);
        let fact = self.facts.of(register);
        if let Some(offset) = self.in_frame(register, instruction) {
            return (self.stack(), offset);
        }
        if let Some(address) = fact.constant
            && let Ok(address) = i32::try_from(address & self.program.mask)
            && let Some(address) = address.checked_add(offset)
        {
            return (self.base, address);
        }
        if let Some(at) = fact.located {
            return (at, offset);
        }
        let address = self.get(register);
        if self.somewhere_in_frame(fact, instruction) {
            return (self.builder.ins().iadd(self.base, address), offset);
        }
        let at = match fact.found {
            // Maps are within the cage, so that nothing is to be masked.
            true => self.builder.ins().iadd(self.base, address),
            false => self.mask(address),
        };
        self.facts.set(register, Fact { located: Some(at), ..fact });
        (at, offset)
    }

    /// The distance from r10 of an access that is in the function's own frame.
    fn in_frame(&self, register: u8, instruction: Instruction) -> Option<i32> {
        let offset = self.facts.of(register).frame?.checked_add(instruction.offset.into())?;
        let within = offset >= -(FRAME as i32) && offset + i32::from(instruction.width()) <= 0;
        within.then_some(offset)
    }

    /// Whether an access is in the function's own frame, wherever there.
    fn somewhere_in_frame(&self, fact: Fact, instruction: Instruction) -> bool {
        let Some((from, most)) = fact.span else { return false };
        let first = i64::from(from) + i64::from(instruction.offset);
        let end = i64::try_from(most).ok().and_then(|most| first.checked_add(most));
        let end = end.and_then(|last| last.checked_add(instruction.width().into()));
        first >= -(FRAME as i64) && end.is_some_and(|end| end <= 0)
    }

    /// Notes what a store leaves of what is known of the frame.
    fn note_store(&mut self, instruction: Instruction, value: Option<Value>) {
        let fact = self.facts.of(instruction.dst);
        match (self.in_frame(instruction.dst, instruction), value) {
            (Some(offset), Some(value)) => {
                let width = instruction.width();
                let stored = match instruction.class() {
                    opcode::STX => self.facts.of(instruction.src).most,
                    _ => None,
                };
                let all = u64::MAX >> (64 - u32::from(width) * 8);
                let stored = stored.filter(|most| *most <= all);
                let whole = stored.map(|_| self.get(instruction.src));
                let most = stored.unwrap_or(all);
                self.facts.write(Written { offset, width, value, whole, most });
            }
            // Maps' values, and what is near NULL, are not near the stack.
            (None, _) if fact.found => {}
            (None, _) if fact.constant.is_some_and(|at| at & self.program.mask >= MAPS) => {}
            _ => self.facts.forget_frame(),
        }
    }

    /// The host address of one of the program's.
    pub(super) fn mask(&mut self, address: Value) -> Value {
        let offset = if self.program.mask == (1 << SMALLEST) - 1 {
            let low = self.builder.ins().ireduce(I32, address);
            self.builder.ins().uextend(I64, low)
        } else {
            let mask = self.builder.ins().iconst(I64, self.program.mask as i64);
            self.builder.ins().band(address, mask)
        };
        self.builder.ins().iadd(self.base, offset)
    }

    fn atomic(&mut self, instruction: Instruction, kind: Type) {
        let (at, offset) = self.locate(instruction.dst, instruction);
        let at = match offset {
            0 => at,
            _ => self.builder.ins().iadd_imm_s(at, i64::from(offset)),
        };
        self.check_aligned(instruction, instruction.dst, at);
        self.note_store(instruction, None);
        let value = self.get(instruction.src);
        let value = self.narrow(kind, value);
        let operation = match instruction.imm & !opcode::FETCH {
            _ if instruction.imm == opcode::STORE_REL => {
                self.builder.ins().atomic_store(plain(), value, at);
                return;
            }
            _ if instruction.imm == opcode::CMPXCHG => {
                let expected = self.get(0);
                let expected = self.narrow(kind, expected);
                let old = self.builder.ins().atomic_cas(plain(), at, expected, value);
                let old = self.widen(kind, old, false);
                self.set(0, old);
                return;
            }
            _ if instruction.imm == opcode::XCHG => AtomicRmwOp::Xchg,
            operation if operation == i32::from(opcode::OR) => AtomicRmwOp::Or,
            operation if operation == i32::from(opcode::AND) => AtomicRmwOp::And,
            operation if operation == i32::from(opcode::XOR) => AtomicRmwOp::Xor,
            _ => AtomicRmwOp::Add,
        };
        let old = self.builder.ins().atomic_rmw(kind, plain(), operation, at, value);
        if instruction.imm & opcode::FETCH != 0 {
            let old = self.widen(kind, old, false);
            self.set(instruction.src, old);
        }
    }

    fn load_acquire(&mut self, instruction: Instruction, kind: Type) {
        let (at, offset) = self.locate(instruction.src, instruction);
        let at = self.builder.ins().iadd_imm_s(at, i64::from(offset));
        self.check_aligned(instruction, instruction.src, at);
        let value = self.builder.ins().atomic_load(kind, plain(), at);
        let value = self.widen(kind, value, false);
        self.set(instruction.dst, value);
    }

    /// Traps unless an atomic access is at a multiple of its width; the cage is at one of a page.
    fn check_aligned(&mut self, instruction: Instruction, register: u8, at: Value) {
        let width = i64::from(instruction.width());
        let found = self.facts.of(register).found && i64::from(instruction.offset) % width == 0;
        if width == 1 || found {
            return;
        }
        let low = self.builder.ins().band_imm_s(at, width - 1);
        let (aligned, misaligned) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(misaligned);
        self.builder.ins().brif(low, misaligned, &[], aligned, &[]);
        self.builder.switch_to_block(misaligned);
        let address = self.builder.ins().isub(at, self.base);
        let run = self.run();
        self.builder.ins().store(plain(), address, run, offsets::ADDRESS);
        self.builder.ins().trap(compile::MISALIGNED);
        self.builder.switch_to_block(aligned);
    }
}
