//! Instructions as they are in memory: 8 bytes each, of which a 64-bit load takes two
//! (Documentation/bpf/standardization/instruction-set.rst, RFC 9669).

/// The numbers of opcodes, by their parts.
pub mod opcode {
    /// Mask of the class.
    pub const CLASS: u8 = 0x07;
    /// Class: loads of immediates, and the legacy packet loads.
    pub const LD: u8 = 0x00;
    /// Class: loads to a register.
    pub const LDX: u8 = 0x01;
    /// Class: stores of an immediate.
    pub const ST: u8 = 0x02;
    /// Class: stores of a register, and atomics.
    pub const STX: u8 = 0x03;
    /// Class: 32-bit arithmetic.
    pub const ALU: u8 = 0x04;
    /// Class: jumps that compare 64 bits.
    pub const JMP: u8 = 0x05;
    /// Class: jumps that compare 32 bits.
    pub const JMP32: u8 = 0x06;
    /// Class: 64-bit arithmetic.
    pub const ALU64: u8 = 0x07;

    /// The operand is `src`, not the immediate.
    pub const X: u8 = 0x08;
    /// Mask of an operation of ALU and JMP classes.
    pub const OPERATION: u8 = 0xf0;

    /// Mask of a load's or store's width.
    pub const SIZE: u8 = 0x18;
    /// 4 bytes.
    pub const W: u8 = 0x00;
    /// 2 bytes.
    pub const H: u8 = 0x08;
    /// 1 byte.
    pub const B: u8 = 0x10;
    /// 8 bytes.
    pub const DW: u8 = 0x18;

    /// Mask of a load's or store's mode.
    pub const MODE: u8 = 0xe0;
    /// An immediate.
    pub const IMM: u8 = 0x00;
    /// The legacy load from a packet, at an immediate.
    pub const ABS: u8 = 0x20;
    /// The legacy load from a packet, at a register and an immediate.
    pub const IND: u8 = 0x40;
    /// Memory.
    pub const MEM: u8 = 0x60;
    /// Memory, sign-extended.
    pub const MEMSX: u8 = 0x80;
    /// Atomic.
    pub const ATOMIC: u8 = 0xc0;

    /// The 64-bit load of an immediate, of two instructions.
    pub const LDDW: u8 = LD | IMM | DW;

    /// Arithmetic.
    pub const ADD: u8 = 0x00;
    #[allow(missing_docs)]
    pub const SUB: u8 = 0x10;
    #[allow(missing_docs)]
    pub const MUL: u8 = 0x20;
    /// Unsigned; signed if the offset is 1.
    pub const DIV: u8 = 0x30;
    #[allow(missing_docs)]
    pub const OR: u8 = 0x40;
    #[allow(missing_docs)]
    pub const AND: u8 = 0x50;
    #[allow(missing_docs)]
    pub const LSH: u8 = 0x60;
    #[allow(missing_docs)]
    pub const RSH: u8 = 0x70;
    #[allow(missing_docs)]
    pub const NEG: u8 = 0x80;
    /// Unsigned; signed if the offset is 1.
    pub const MOD: u8 = 0x90;
    #[allow(missing_docs)]
    pub const XOR: u8 = 0xa0;
    /// Sign-extends from the 8, 16 or 32 bits that the offset gives.
    pub const MOV: u8 = 0xb0;
    #[allow(missing_docs)]
    pub const ARSH: u8 = 0xc0;
    /// Byte order: ALU: to little (K) or big (X) endian; ALU64: swap.
    pub const END: u8 = 0xd0;

    /// A jump; of class JMP32 by the immediate.
    pub const JA: u8 = 0x00;
    #[allow(missing_docs)]
    pub const JEQ: u8 = 0x10;
    #[allow(missing_docs)]
    pub const JGT: u8 = 0x20;
    #[allow(missing_docs)]
    pub const JGE: u8 = 0x30;
    #[allow(missing_docs)]
    pub const JSET: u8 = 0x40;
    #[allow(missing_docs)]
    pub const JNE: u8 = 0x50;
    #[allow(missing_docs)]
    pub const JSGT: u8 = 0x60;
    #[allow(missing_docs)]
    pub const JSGE: u8 = 0x70;
    #[allow(missing_docs)]
    pub const CALL: u8 = 0x80;
    #[allow(missing_docs)]
    pub const EXIT: u8 = 0x90;
    #[allow(missing_docs)]
    pub const JLT: u8 = 0xa0;
    #[allow(missing_docs)]
    pub const JLE: u8 = 0xb0;
    #[allow(missing_docs)]
    pub const JSLT: u8 = 0xc0;
    #[allow(missing_docs)]
    pub const JSLE: u8 = 0xd0;
    /// Jumps once a function has met such instructions [`MAY_GOTO`](super::MAY_GOTO) times
    /// (`may_goto`).
    pub const JCOND: u8 = 0xe0;

    /// In an atomic's immediate: gives the old value.
    pub const FETCH: i32 = 0x01;
    /// An atomic's immediate: exchange.
    pub const XCHG: i32 = 0xe1;
    /// An atomic's immediate: compare r0 and exchange.
    pub const CMPXCHG: i32 = 0xf1;
    /// An atomic's immediate: load-acquire.
    pub const LOAD_ACQ: i32 = 0x100;
    /// An atomic's immediate: store-release.
    pub const STORE_REL: i32 = 0x110;
}

/// How often a function gets past its `may_goto` instructions before they jump (`BPF_MAX_LOOPS`).
pub const MAY_GOTO: u64 = 8 << 20;

/// What `src` of a 64-bit load, or of a call, makes of the immediate.
pub mod pseudo {
    /// LDDW: the immediate is the number of a map, among the object's.
    pub const MAP: u8 = 1;
    /// LDDW: the address of byte `imm` (of the second half) in the only value of map `imm`.
    pub const MAP_VALUE: u8 = 2;
    /// LDDW: a function, that many instructions after the next one, as a callback.
    pub const FUNCTION: u8 = 4;
    /// Call: of a function of the program, that many instructions after the next one.
    pub const CALL: u8 = 1;
}

/// One instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What to do.
    pub opcode: u8,
    /// The destination register, 0 to 10.
    pub dst: u8,
    /// The source register, 0 to 10, or what kind of immediate it is.
    pub src: u8,
    /// An offset in memory, or of a jump.
    pub offset: i16,
    /// The immediate.
    pub imm: i32,
}

impl Instruction {
    /// From its 8 bytes, little endian.
    pub const fn from_bytes(bytes: [u8; 8]) -> Instruction {
        let [opcode, registers, a, b, c, d, e, f] = bytes;
        Instruction {
            opcode,
            dst: registers & 0x0f,
            src: registers >> 4,
            offset: i16::from_le_bytes([a, b]),
            imm: i32::from_le_bytes([c, d, e, f]),
        }
    }

    /// Its 8 bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        let [a, b] = self.offset.to_le_bytes();
        let [c, d, e, f] = self.imm.to_le_bytes();
        [self.opcode, self.dst & 0x0f | self.src << 4, a, b, c, d, e, f]
    }

    /// The opcode's class.
    pub const fn class(self) -> u8 {
        self.opcode & opcode::CLASS
    }

    /// Whether it is the first half of a 64-bit load.
    pub const fn is_wide(self) -> bool {
        self.opcode == opcode::LDDW
    }

    /// Bytes that a load, store or atomic moves.
    pub const fn width(self) -> u8 {
        match self.opcode & opcode::SIZE {
            opcode::W => 4,
            opcode::H => 2,
            opcode::B => 1,
            _ => 8,
        }
    }

    /// Whether it is a legacy load from a packet.
    pub const fn is_packet_load(self) -> bool {
        let mode = self.opcode & opcode::MODE;
        self.class() == opcode::LD
            && matches!(mode, opcode::ABS | opcode::IND)
            && self.opcode & opcode::SIZE != opcode::DW
    }

    /// Whether it calls a helper, by the number in the immediate.
    pub const fn is_helper_call(self) -> bool {
        self.opcode == opcode::JMP | opcode::CALL && self.src == 0
    }

    /// Whether it calls a function of the program.
    pub const fn is_local_call(self) -> bool {
        self.opcode == opcode::JMP | opcode::CALL && self.src == pseudo::CALL
    }

    /// Whether it always jumps.
    pub const fn is_goto(self) -> bool {
        matches!(self.class(), opcode::JMP | opcode::JMP32)
            && self.opcode & opcode::OPERATION == opcode::JA
    }

    /// By how many instructions it jumps, counted from the next one, if it is a jump.
    pub const fn jump(self) -> Option<i64> {
        let operation = self.opcode & opcode::OPERATION;
        match self.class() {
            opcode::JMP32 if operation == opcode::JA => Some(self.imm as i64),
            opcode::JMP | opcode::JMP32 => match operation {
                opcode::CALL | opcode::EXIT => None,
                _ => Some(self.offset as i64),
            },
            _ => None,
        }
    }
}
