//! Loads, stores and atomics, in the cage.

use super::compile;
use super::translate::{Translator, plain};
use crate::instruction::{Instruction, opcode};
use crate::sandbox::cage::{FRAME, SMALLEST};
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
                let value = self.builder.ins().load(kind, plain(), at, offset);
                // So that it does not become part of a later instruction, whose fault it then was.
                self.builder.ins().sequence_point();
                let signed = mode == opcode::MEMSX;
                let value = self.widen(kind, value, signed);
                self.set(instruction.dst, value);
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
            }
            (_, opcode::ATOMIC) => self.atomic(instruction, kind),
            _ => {
                let value = self.get(instruction.src);
                let value = self.narrow(kind, value);
                let (at, offset) = self.locate(instruction.dst, instruction);
                self.builder.ins().store(plain(), value, at, offset);
            }
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

    /// Where an access goes: a host address and an offset. An access in the function's own frame
    /// is known to be in it; else only the bits of the address that count are used, and the
    /// offset, of 16 bits, leads at most into the unmapped memory around the cage.
    fn locate(&mut self, register: u8, instruction: Instruction) -> (Value, i32) {
        let offset = i32::from(instruction.offset);
        let Some(located) = self.located.get(usize::from(register)).copied() else {
            let end = offset + i32::from(instruction.width());
            if offset >= -(FRAME as i32) && end <= 0 {
                return (self.stack, offset);
            }
            let frame = self.frame;
            return (self.mask(frame), offset);
        };
        let at = match located {
            Some(at) => at,
            None => {
                let address = self.get(register);
                let at = self.mask(address);
                self.located[usize::from(register)] = Some(at);
                at
            }
        };
        (at, offset)
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
        if instruction.imm == opcode::LOAD_ACQ {
            return self.load_acquire(instruction, kind);
        }
        self.check_aligned(instruction, at);
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
        self.check_aligned(instruction, at);
        let value = self.builder.ins().atomic_load(kind, plain(), at);
        let value = self.widen(kind, value, false);
        self.set(instruction.dst, value);
    }

    /// Traps unless an atomic access is at a multiple of its width; the cage is at one of a page.
    fn check_aligned(&mut self, instruction: Instruction, at: Value) {
        let width = i64::from(instruction.width());
        if width == 1 {
            return;
        }
        let low = self.builder.ins().band_imm_s(at, width - 1);
        let (aligned, misaligned) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(misaligned);
        self.builder.ins().brif(low, misaligned, &[], aligned, &[]);
        self.builder.switch_to_block(misaligned);
        let address = self.builder.ins().isub(at, self.base);
        self.builder.ins().store(plain(), address, self.run, offsets::ADDRESS);
        self.builder.ins().trap(compile::MISALIGNED);
        self.builder.switch_to_block(aligned);
    }
}
