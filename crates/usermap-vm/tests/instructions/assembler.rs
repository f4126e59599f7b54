//! Instructions by name, as RFC 9669 numbers them.

use usermap_vm::instruction::Instruction;

/// Operations of arithmetic.
pub const ADD: u8 = 0x00;
pub const SUB: u8 = 0x10;
pub const MUL: u8 = 0x20;
pub const DIV: u8 = 0x30;
pub const OR: u8 = 0x40;
pub const AND: u8 = 0x50;
pub const LSH: u8 = 0x60;
pub const RSH: u8 = 0x70;
pub const MOD: u8 = 0x90;
pub const XOR: u8 = 0xa0;
pub const MOV: u8 = 0xb0;
pub const ARSH: u8 = 0xc0;

/// Conditions of jumps.
pub const JEQ: u8 = 0x10;
pub const JGT: u8 = 0x20;
pub const JGE: u8 = 0x30;
pub const JSET: u8 = 0x40;
pub const JNE: u8 = 0x50;
pub const JSGT: u8 = 0x60;
pub const JSGE: u8 = 0x70;
pub const JLT: u8 = 0xa0;
pub const JLE: u8 = 0xb0;
pub const JSLT: u8 = 0xc0;
pub const JSLE: u8 = 0xd0;

/// Widths of memory, with how many bytes each is.
pub const W: u8 = 0x00;
pub const H: u8 = 0x08;
pub const B: u8 = 0x10;
pub const DW: u8 = 0x18;

pub const fn bytes(width: u8) -> usize {
    match width {
        W => 4,
        H => 2,
        B => 1,
        _ => 8,
    }
}

/// Where arithmetic and jumps work: on 64 bits or on 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    All,
    Lower,
}

impl Bits {
    const fn arithmetic(self) -> u8 {
        match self {
            Bits::All => 0x07,
            Bits::Lower => 0x04,
        }
    }

    const fn jump(self) -> u8 {
        match self {
            Bits::All => 0x05,
            Bits::Lower => 0x06,
        }
    }
}

pub const fn raw(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Instruction {
    Instruction { opcode, dst, src, offset, imm }
}

pub const fn op_imm(bits: Bits, operation: u8, dst: u8, imm: i32) -> Instruction {
    raw(bits.arithmetic() | operation, dst, 0, 0, imm)
}

pub const fn op(bits: Bits, operation: u8, dst: u8, src: u8) -> Instruction {
    raw(bits.arithmetic() | operation | 0x08, dst, src, 0, 0)
}

/// Signed division and remainder.
pub const fn signed_imm(bits: Bits, operation: u8, dst: u8, imm: i32) -> Instruction {
    raw(bits.arithmetic() | operation, dst, 0, 1, imm)
}

pub const fn signed(bits: Bits, operation: u8, dst: u8, src: u8) -> Instruction {
    raw(bits.arithmetic() | operation | 0x08, dst, src, 1, 0)
}

pub const fn mov_imm(dst: u8, imm: i32) -> Instruction {
    op_imm(Bits::All, MOV, dst, imm)
}

pub const fn mov(dst: u8, src: u8) -> Instruction {
    op(Bits::All, MOV, dst, src)
}

/// Moves the lower so many bits with their sign.
pub const fn extend(bits: Bits, dst: u8, src: u8, from: i16) -> Instruction {
    raw(bits.arithmetic() | MOV | 0x08, dst, src, from, 0)
}

pub const fn neg(bits: Bits, dst: u8) -> Instruction {
    raw(bits.arithmetic() | 0x80, dst, 0, 0, 0)
}

pub const fn to_le(dst: u8, bits: i32) -> Instruction {
    raw(0xd4, dst, 0, 0, bits)
}

pub const fn to_be(dst: u8, bits: i32) -> Instruction {
    raw(0xdc, dst, 0, 0, bits)
}

pub const fn swap(dst: u8, bits: i32) -> Instruction {
    raw(0xd7, dst, 0, 0, bits)
}

pub const fn wide(dst: u8, value: u64) -> [Instruction; 2] {
    [raw(0x18, dst, 0, 0, value as i32), raw(0, 0, 0, 0, (value >> 32) as i32)]
}

pub const fn load(width: u8, dst: u8, src: u8, offset: i16) -> Instruction {
    raw(0x61 | width, dst, src, offset, 0)
}

pub const fn load_signed(width: u8, dst: u8, src: u8, offset: i16) -> Instruction {
    raw(0x81 | width, dst, src, offset, 0)
}

pub const fn store(width: u8, dst: u8, offset: i16, src: u8) -> Instruction {
    raw(0x63 | width, dst, src, offset, 0)
}

pub const fn store_imm(width: u8, dst: u8, offset: i16, imm: i32) -> Instruction {
    raw(0x62 | width, dst, 0, offset, imm)
}

pub const fn atomic(width: u8, operation: i32, dst: u8, offset: i16, src: u8) -> Instruction {
    raw(0xc3 | width, dst, src, offset, operation)
}

pub const fn jump_imm(bits: Bits, test: u8, dst: u8, imm: i32, offset: i16) -> Instruction {
    raw(bits.jump() | test, dst, 0, offset, imm)
}

pub const fn jump(bits: Bits, test: u8, dst: u8, src: u8, offset: i16) -> Instruction {
    raw(bits.jump() | test | 0x08, dst, src, offset, 0)
}

pub const fn goto(offset: i16) -> Instruction {
    raw(0x05, 0, 0, offset, 0)
}

pub const fn goto_long(offset: i32) -> Instruction {
    raw(0x06, 0, 0, 0, offset)
}

pub const fn may_goto(offset: i16) -> Instruction {
    raw(0xe5, 0, 0, offset, 0)
}

pub const fn call_local(offset: i32) -> Instruction {
    raw(0x85, 0, 1, 0, offset)
}

pub const fn exit() -> Instruction {
    raw(0x95, 0, 0, 0, 0)
}

/// All opcodes of cpu v1 to v4 but the loads from packets; and `may_goto`.
pub fn opcodes() -> impl Iterator<Item = u8> {
    let operations = (0x00..=0xc0).step_by(0x10).filter(|operation| *operation != 0x80);
    let arithmetic =
        operations.flat_map(|operation| [0x04, 0x07, 0x0c, 0x0f].map(|rest| operation | rest));
    let conditions = [JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE];
    let jumps = conditions
        .into_iter()
        .flat_map(|condition| [0x05, 0x06, 0x0d, 0x0e].map(|rest| condition | rest));
    let widths = [W, H, B, DW];
    let memory = widths.into_iter().flat_map(|width| [0x61, 0x62, 0x63, 0xc3].map(|it| it | width));
    let others =
        [0x18, 0x81, 0x84, 0x85, 0x87, 0x89, 0x91, 0x95, 0xd4, 0xd7, 0xdc, 0x05, 0x06, 0xe5];
    arithmetic.chain(jumps).chain(memory).chain(others)
}
