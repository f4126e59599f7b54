//! Which encodings there are: opcodes, registers, and fields that must be zero.

use super::{Check, Problem, Rules, malformed, unsupported};
use crate::instruction::{Instruction, opcode, pseudo};

/// The last register: the frame pointer, which cannot be written to.
const FRAME_POINTER: u8 = 10;

/// What programs without a packet have not.
const ABSOLUTE: &str = "the legacy load from a packet (LD_ABS)";
const INDIRECT: &str = "the legacy load from a packet (LD_IND)";
/// What a field that must be zero and is not gives.
const RESERVED: &str = "a field that must be zero is not";

fn zero(fields: &[bool]) -> Check {
    match fields.iter().all(|zero| *zero) {
        true => Ok(()),
        false => malformed(RESERVED),
    }
}

fn writes(register: u8) -> Check {
    match register == FRAME_POINTER {
        true => {
            let problem = "r10, the frame pointer, cannot be written to".to_owned();
            Err(Problem::Refused(problem, libc::EACCES))
        }
        false => Ok(()),
    }
}

fn unknown(instruction: &Instruction) -> Check {
    malformed(format!("there is no opcode {:#04x}", instruction.opcode))
}

/// Refuses what is no instruction of cpu v1 to v4.
pub(super) fn check(instruction: &Instruction, rules: Rules) -> Check {
    for register in [instruction.dst, instruction.src] {
        if register > FRAME_POINTER {
            return malformed(format!("there is no register r{register}"));
        }
    }
    match instruction.class() {
        opcode::ALU | opcode::ALU64 => arithmetic(instruction, rules),
        opcode::JMP | opcode::JMP32 => jump(instruction),
        opcode::LDX => load(instruction),
        opcode::ST => store_immediate(instruction),
        opcode::STX => store(instruction),
        _ => wide(instruction, rules),
    }
}

fn arithmetic(instruction: &Instruction, rules: Rules) -> Check {
    let Instruction { dst, src, offset, imm, .. } = *instruction;
    let wide = instruction.class() == opcode::ALU64;
    let register = instruction.opcode & opcode::X != 0;
    match instruction.opcode & opcode::OPERATION {
        opcode::NEG => zero(&[!register, src == 0, offset == 0, imm == 0])?,
        opcode::END => {
            zero(&[src == 0, offset == 0, !(wide && register)])?;
            if !matches!(imm, 16 | 32 | 64) {
                return malformed(format!("bytes are swapped in 16, 32 or 64 bits, not {imm}"));
            }
        }
        opcode::MOV if register => move_register(wide, offset, imm)?,
        opcode::MOV => zero(&[src == 0, offset == 0])?,
        operation @ (opcode::DIV | opcode::MOD) => {
            zero(&[if register { imm == 0 } else { src == 0 }, matches!(offset, 0 | 1)])?;
            if !register && imm == 0 && rules == Rules::Kernel {
                let name = if operation == opcode::DIV { "division" } else { "remainder" };
                return malformed(format!("{name} by zero"));
            }
        }
        operation @ (opcode::LSH | opcode::RSH | opcode::ARSH) => {
            zero(&[if register { imm == 0 } else { src == 0 }, offset == 0])?;
            let bits = if wide { 64 } else { 32 };
            if !register && !(0..bits).contains(&imm) && rules == Rules::Kernel {
                let way = if operation == opcode::LSH { "left" } else { "right" };
                return malformed(format!("shift {way} of {bits} bits by {imm}"));
            }
        }
        opcode::ADD | opcode::SUB | opcode::MUL | opcode::OR | opcode::AND | opcode::XOR => {
            zero(&[if register { imm == 0 } else { src == 0 }, offset == 0])?;
        }
        _ => return unknown(instruction),
    }
    writes(dst)
}

fn move_register(wide: bool, offset: i16, imm: i32) -> Check {
    match offset {
        0 | 8 | 16 => zero(&[imm == 0]),
        32 if wide => zero(&[imm == 0]),
        1 if wide && matches!(imm, 1 | 0x1_0000) => unsupported("memory of arenas"),
        _ => malformed(RESERVED),
    }
}

fn jump(instruction: &Instruction) -> Check {
    let Instruction { dst, src, offset, imm, .. } = *instruction;
    let wide = instruction.class() == opcode::JMP;
    let register = instruction.opcode & opcode::X != 0;
    match instruction.opcode & opcode::OPERATION {
        opcode::CALL if wide && !register => {
            zero(&[dst == 0])?;
            match src {
                0 | pseudo::CALL => zero(&[offset == 0]),
                2 => unsupported(format!("a call of the kernel's function {imm} (kfunc)")),
                _ => malformed(format!("there is no kind {src} of calls")),
            }
        }
        opcode::CALL if wide => unsupported("a call by register (callx)"),
        // The kernel does not look at the offset.
        opcode::EXIT if wide && !register => zero(&[dst == 0, src == 0, imm == 0]),
        opcode::JA if !register && wide => zero(&[dst == 0, src == 0, imm == 0]),
        opcode::JA if !register => zero(&[dst == 0, src == 0, offset == 0]),
        opcode::JA if wide => unsupported("a jump by register (gotox)"),
        opcode::JCOND if wide && !register => zero(&[dst == 0, src == 0, imm == 0]),
        opcode::CALL | opcode::EXIT | opcode::JA | opcode::JCOND | 0xf0 => unknown(instruction),
        _ => zero(&[if register { imm == 0 } else { src == 0 }]),
    }
}

fn load(instruction: &Instruction) -> Check {
    let double = instruction.opcode & opcode::SIZE == opcode::DW;
    match instruction.opcode & opcode::MODE {
        opcode::MEM => {}
        opcode::MEMSX if !double => {}
        _ => return unknown(instruction),
    }
    zero(&[instruction.imm == 0])?;
    writes(instruction.dst)
}

fn store_immediate(instruction: &Instruction) -> Check {
    match instruction.opcode & opcode::MODE {
        opcode::MEM => zero(&[instruction.src == 0]),
        _ => unknown(instruction),
    }
}

fn store(instruction: &Instruction) -> Check {
    match instruction.opcode & opcode::MODE {
        opcode::MEM => zero(&[instruction.imm == 0]),
        opcode::ATOMIC => atomic(instruction),
        _ => unknown(instruction),
    }
}

fn atomic(instruction: &Instruction) -> Check {
    const PLAIN: [u8; 4] = [opcode::ADD, opcode::OR, opcode::AND, opcode::XOR];
    let imm = instruction.imm;
    let is_plain = |imm: i32| PLAIN.iter().any(|operation| i32::from(*operation) == imm);
    match imm {
        opcode::LOAD_ACQ => return writes(instruction.dst),
        opcode::STORE_REL => return Ok(()),
        opcode::XCHG | opcode::CMPXCHG => {}
        _ if is_plain(imm & !opcode::FETCH) => {}
        _ => return malformed(format!("there is no atomic operation {imm:#x}")),
    }
    if instruction.width() < 4 {
        return malformed("atomic operations are on 4 or 8 bytes");
    }
    let into_src = imm & opcode::FETCH != 0 && imm != opcode::CMPXCHG;
    if into_src { writes(instruction.src) } else { Ok(()) }
}

/// Class LD: the 64-bit load, and what classic BPF left.
fn wide(instruction: &Instruction, rules: Rules) -> Check {
    let mode = instruction.opcode & opcode::MODE;
    let double = instruction.opcode & opcode::SIZE == opcode::DW;
    match mode {
        _ if instruction.is_wide() => {
            zero(&[instruction.offset == 0])?;
            writes(instruction.dst)
        }
        opcode::ABS if rules == Rules::Standard && !double => unsupported(ABSOLUTE),
        opcode::IND if rules == Rules::Standard && !double => unsupported(INDIRECT),
        opcode::ABS | opcode::IND if !double => {
            let Instruction { dst, src, offset, .. } = *instruction;
            zero(&[dst == 0, offset == 0, mode == opcode::IND || src == 0])
        }
        _ => unknown(instruction),
    }
}
