//! Numbers of what the interpreter does: opcodes where these say it all, and others, which are no
//! opcodes, where more fields decide.

use crate::instruction::opcode::*;

/// An operation in both widths, with an immediate and a register.
macro_rules! family {
    ($wide:ident, $narrow:ident: $($name:ident = $operation:expr),* $(,)?) => {
        $(pub(super) mod $name {
            use crate::instruction::opcode::*;
            pub(in super::super) const K64: u8 = $wide | $operation;
            pub(in super::super) const X64: u8 = $wide | X | $operation;
            pub(in super::super) const K32: u8 = $narrow | $operation;
            pub(in super::super) const X32: u8 = $narrow | X | $operation;
        })*
    };
}

family! { ALU64, ALU:
    add = ADD, sub = SUB, mul = MUL, div = DIV, or = OR, and = AND, lsh = LSH, rsh = RSH,
    modulo = MOD, xor = XOR, mov = MOV, arsh = ARSH,
}
family! { JMP, JMP32:
    jeq = JEQ, jgt = JGT, jge = JGE, jset = JSET, jne = JNE, jsgt = JSGT, jsge = JSGE, jlt = JLT,
    jle = JLE, jslt = JSLT, jsle = JSLE,
}

pub(super) const NEG_64: u8 = ALU64 | NEG;
pub(super) const NEG_32: u8 = ALU | NEG;
pub(super) const GOTO: u8 = JMP | JA;
pub(super) const GOTO_LONG: u8 = JMP32 | JA;
pub(super) const RETURN: u8 = JMP | EXIT;
pub(super) const MAY_GOTO: u8 = JMP | JCOND;

pub(super) const LOAD_8: u8 = LDX | MEM | B;
pub(super) const LOAD_16: u8 = LDX | MEM | H;
pub(super) const LOAD_32: u8 = LDX | MEM | W;
pub(super) const LOAD_64: u8 = LDX | MEM | DW;
pub(super) const LOAD_SIGNED_8: u8 = LDX | MEMSX | B;
pub(super) const LOAD_SIGNED_16: u8 = LDX | MEMSX | H;
pub(super) const LOAD_SIGNED_32: u8 = LDX | MEMSX | W;
pub(super) const STORE_8: u8 = STX | MEM | B;
pub(super) const STORE_16: u8 = STX | MEM | H;
pub(super) const STORE_32: u8 = STX | MEM | W;
pub(super) const STORE_64: u8 = STX | MEM | DW;
pub(super) const STORE_IMM_8: u8 = ST | MEM | B;
pub(super) const STORE_IMM_16: u8 = ST | MEM | H;
pub(super) const STORE_IMM_32: u8 = ST | MEM | W;
pub(super) const STORE_IMM_64: u8 = ST | MEM | DW;
pub(super) const ATOMIC_32: u8 = STX | ATOMIC | W;
pub(super) const ATOMIC_64: u8 = STX | ATOMIC | DW;

/// Numbers of class LD, where all but one are free.
const fn own(number: u8) -> u8 {
    number << 3
}

/// No instruction.
pub(super) const NONE: u8 = own(0);
/// Loads a 64-bit immediate.
pub(super) const CONSTANT: u8 = own(1);
pub(super) const MAP_VALUE: u8 = own(2);
pub(super) const HELPER: u8 = own(3);
pub(super) const TAIL_CALL: u8 = own(4);
/// Calls a function of the program.
pub(super) const LOCAL_CALL: u8 = own(5);
/// Its width is in the immediate's place.
pub(super) const LOAD_ACQUIRE: u8 = own(6);
pub(super) const STORE_RELEASE: u8 = own(7);
/// Byte swaps, by width.
pub(super) const SWAP_16: u8 = own(8);
pub(super) const SWAP_32: u8 = own(9);
pub(super) const SWAP_64: u8 = own(10);
/// What conversion to little endian leaves.
pub(super) const CUT_16: u8 = own(11);
pub(super) const CUT_32: u8 = own(12);
pub(super) const CUT_64: u8 = own(13);
/// Moves with a sign, from and to.
pub(super) const EXTEND_8_32: u8 = own(14);
pub(super) const EXTEND_16_32: u8 = own(15);
pub(super) const EXTEND_8_64: u8 = own(16);
pub(super) const EXTEND_16_64: u8 = own(17);
pub(super) const EXTEND_32_64: u8 = own(18);

/// The legacy loads from a packet, at an immediate and at a register; the width is in the
/// destination's place.
pub(super) const PACKET: u8 = own(27);
pub(super) const PACKET_FROM: u8 = own(28);

/// An operation that opcodes tell from another by the offset only.
macro_rules! signed {
    ($($name:ident = $first:expr),*) => {
        $(pub(super) mod $name {
            use super::own;
            pub(in super::super) const K64: u8 = own($first);
            pub(in super::super) const X64: u8 = own($first + 1);
            pub(in super::super) const K32: u8 = own($first + 2);
            pub(in super::super) const X32: u8 = own($first + 3);
        })*
    };
}

signed! { signed_div = 19, signed_modulo = 23 }

pub(super) const SIGNED_DIV: [u8; 4] =
    [signed_div::K64, signed_div::X64, signed_div::K32, signed_div::X32];
pub(super) const SIGNED_MOD: [u8; 4] =
    [signed_modulo::K64, signed_modulo::X64, signed_modulo::K32, signed_modulo::X32];
