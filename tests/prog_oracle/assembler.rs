//! Puts instructions together.

use usermap_vm::instruction::{Instruction, opcode, pseudo};

/// A register.
pub type Register = u8;

/// The frame pointer.
pub const FRAME: Register = 10;

/// Copies up to so many bytes are made without a loop.
const UNROLLED: usize = 128;

/// Instructions so far.
#[derive(Default)]
pub struct Assembler {
    instructions: Vec<Instruction>,
}

/// An instruction that leads to one that is not there yet.
pub struct Forward(usize);

impl Assembler {
    pub fn finish(self) -> Vec<Instruction> {
        self.instructions
    }

    fn push(&mut self, opcode: u8, dst: Register, src: u8, offset: i16, imm: i32) {
        self.instructions.push(Instruction { opcode, dst, src, offset, imm });
    }

    fn wide(&mut self, dst: Register, src: u8, low: i32, high: i32) {
        self.push(opcode::LDDW, dst, src, 0, low);
        self.instructions.push(Instruction { imm: high, ..Instruction::default() });
    }

    /// `dst = number`
    pub fn number(&mut self, dst: Register, number: u64) {
        self.wide(dst, 0, number as i32, (number >> 32) as i32);
    }

    /// `dst = ` the first map
    pub fn map(&mut self, dst: Register) {
        self.wide(dst, pseudo::MAP, 0, 0);
    }

    /// `dst = ` a function that follows.
    pub fn function(&mut self, dst: Register) -> Forward {
        let at = self.instructions.len();
        self.wide(dst, pseudo::FUNCTION, 0, 0);
        Forward(at)
    }

    /// `dst = src + number`
    pub fn add(&mut self, dst: Register, src: Register, number: i32) {
        self.push(opcode::ALU64 | opcode::MOV | opcode::X, dst, src, 0, 0);
        if number != 0 {
            self.push(opcode::ALU64 | opcode::ADD, dst, 0, 0, number);
        }
    }

    /// `dst = *(src + offset)`, of 8 bytes
    pub fn load(&mut self, dst: Register, src: Register, offset: i16) {
        self.push(opcode::LDX | opcode::MEM | opcode::DW, dst, src, offset, 0);
    }

    /// `*(dst + offset) = src`, of 8 bytes
    pub fn store(&mut self, dst: Register, offset: i16, src: Register) {
        self.push(opcode::STX | opcode::MEM | opcode::DW, dst, src, offset, 0);
    }

    /// `*(dst + offset) = number`, of 8 bytes
    pub fn store_number(&mut self, dst: Register, offset: i16, number: i32) {
        self.push(opcode::ST | opcode::MEM | opcode::DW, dst, 0, offset, number);
    }

    /// `*(dst + offset) += src`, atomically
    pub fn atomic_add(&mut self, dst: Register, offset: i16, src: Register) {
        let add = i32::from(opcode::ADD);
        self.push(opcode::STX | opcode::ATOMIC | opcode::DW, dst, src, offset, add);
    }

    /// Writes bytes that are in the instructions; takes r5.
    pub fn write(&mut self, dst: Register, offset: i16, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        let rest = words.remainder();
        let mut at = offset;
        for word in words {
            self.number(5, u64::from_le_bytes(word.try_into().expect("8 bytes")));
            self.store(dst, at, 5);
            at += 8;
        }
        for byte in rest {
            self.push(opcode::ST | opcode::MEM | opcode::B, dst, 0, at, i32::from(*byte));
            at += 1;
        }
    }

    /// Copies bytes from where r3 leads to where r4 does; takes r0 and r5.
    pub fn copy(&mut self, length: usize) {
        let mut left = length;
        if length > UNROLLED {
            self.number(0, (length / 8) as u64);
            self.move_from(opcode::DW, 0);
            self.add(3, 3, 8);
            self.add(4, 4, 8);
            self.add(0, 0, -1);
            self.push(opcode::JMP | opcode::JNE, 0, 0, -9, 0);
            left = length % 8;
        }
        let mut at = 0;
        for (size, width) in [(8, opcode::DW), (4, opcode::W), (2, opcode::H), (1, opcode::B)] {
            while left >= size {
                self.move_from(width, at);
                at += size as i16;
                left -= size;
            }
        }
    }

    fn move_from(&mut self, width: u8, offset: i16) {
        self.push(opcode::LDX | opcode::MEM | width, 5, 3, offset, 0);
        self.push(opcode::STX | opcode::MEM | width, 4, 5, offset, 0);
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: u32) {
        self.push(opcode::JMP | opcode::CALL, 0, 0, 0, helper as i32);
    }

    /// Goes to what follows if `dst` is a number.
    pub fn jump_if(&mut self, dst: Register, number: i32) -> Forward {
        self.push(opcode::JMP | opcode::JEQ, dst, 0, 0, number);
        Forward(self.instructions.len() - 1)
    }

    /// Goes to what follows.
    pub fn jump(&mut self) -> Forward {
        self.push(opcode::JMP32 | opcode::JA, 0, 0, 0, 0);
        Forward(self.instructions.len() - 1)
    }

    /// What follows is here.
    pub fn here(&mut self, Forward(from): Forward) {
        let distance = self.instructions.len() - from - 1;
        let instruction = &mut self.instructions[from];
        if instruction.class() == opcode::JMP {
            instruction.offset = distance.try_into().expect("a jump that is not so far");
        } else {
            instruction.imm = distance as i32;
        }
    }

    /// Ends with r0 as a number.
    pub fn exit(&mut self, number: u64) {
        self.number(0, number);
        self.push(opcode::JMP | opcode::EXIT, 0, 0, 0, 0);
    }
}
