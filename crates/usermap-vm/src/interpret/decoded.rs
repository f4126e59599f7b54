//! What the interpreter runs: instructions with all fields looked at once, so that each step is one
//! jump by a dense number.

use super::op;
use crate::blocks::{self, Steps};
use crate::code::Code;
use crate::instruction::{Instruction, opcode, pseudo};
use crate::run;

/// An instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    /// What to do, of [`op`].
    pub(super) code: u8,
    pub(super) dst: u8,
    pub(super) src: u8,
    /// An offset in memory; where a jump leads to, a call's function, or the end of the block that
    /// a call of a helper, or a load from a packet, is in.
    pub(super) offset: i32,
    /// The immediate, extended to 64 bits.
    pub(super) imm: u64,
}

/// A function: its first instruction, and the end of its first block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: usize,
    pub(super) first_block: usize,
}

/// A program as the interpreter runs it. Every instruction is one here, 64-bit loads too, so that
/// the distance of two is how many there are between.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(super) ops: Vec<Op>,
    pub(super) functions: Vec<Entry>,
    /// What number each instruction has in the program.
    pub(super) numbers: Vec<u32>,
}

impl Decoded {
    /// From a program that has been validated; of another, instructions that make no sense become
    /// ones that end the run.
    pub(crate) fn new(code: &Code) -> Decoded {
        let places = Places::new(code);
        let ops = Steps::of(code).map(|(number, instruction)| places.op(number, instruction));
        let entry = |start: usize| {
            let start = places.at(start);
            Entry { start, first_block: places.end_of_block(start) }
        };
        Decoded {
            ops: ops.collect(),
            functions: code.functions.iter().map(|function| entry(function.start)).collect(),
            numbers: Steps::of(code).map(|(number, _)| number as u32).collect(),
        }
    }

    /// What number an instruction has in the program.
    pub(super) fn number(&self, place: usize) -> usize {
        self.numbers.get(place).map_or(0, |number| *number as usize)
    }
}

/// Where instructions come to be.
struct Places<'c> {
    code: &'c Code,
    /// By number in the program.
    places: Vec<u32>,
    /// The ends of blocks, by place.
    ends: Vec<usize>,
}

impl<'c> Places<'c> {
    fn new(code: &'c Code) -> Places<'c> {
        let mut places = vec![u32::MAX; code.instructions.len()];
        for (place, (number, _)) in Steps::of(code).enumerate() {
            places[number] = place as u32;
        }
        let mut end = 0;
        let blocks = blocks::blocks(code);
        let ends = blocks.iter().map(|block| {
            end += block.count as usize;
            end
        });
        let ends = ends.collect();
        Places { code, places, ends }
    }

    /// Where an instruction is; nowhere if there is none of that number.
    fn at(&self, number: usize) -> usize {
        self.places.get(number).map_or(u32::MAX, |place| *place) as usize
    }

    fn end_of_block(&self, place: usize) -> usize {
        let block = self.ends.partition_point(|end| *end <= place);
        self.ends.get(block).copied().unwrap_or(place)
    }

    /// The number of the function that starts that many instructions after the next one.
    fn function(&self, number: usize, distance: i32) -> Option<usize> {
        let start = blocks::relative(number, distance.into())?;
        self.code.functions.binary_search_by_key(&start, |function| function.start).ok()
    }

    fn op(&self, number: usize, instruction: &Instruction) -> Op {
        let Instruction { dst, src, offset, imm, .. } = *instruction;
        let imm = i64::from(imm) as u64;
        let plain = Op { code: instruction.opcode, dst, src, offset: offset.into(), imm };
        match instruction.class() {
            opcode::ALU | opcode::ALU64 => arithmetic(instruction, plain),
            opcode::LDX | opcode::ST => plain,
            opcode::STX if instruction.opcode & opcode::MODE == opcode::ATOMIC => {
                let width = instruction.width().into();
                match instruction.imm {
                    opcode::LOAD_ACQ => Op { code: op::LOAD_ACQUIRE, imm: width, ..plain },
                    opcode::STORE_REL => Op { code: op::STORE_RELEASE, imm: width, ..plain },
                    _ => plain,
                }
            }
            opcode::STX => plain,
            opcode::JMP | opcode::JMP32 => self.jump(number, instruction, plain),
            _ if instruction.is_wide() => self.wide(number, instruction, plain),
            _ if instruction.is_packet_load() => {
                let from = instruction.opcode & opcode::MODE == opcode::IND;
                let code = if from { op::PACKET_FROM } else { op::PACKET };
                let offset = self.end_of_block(self.at(number)) as i32;
                Op { code, dst: instruction.width(), offset, ..plain }
            }
            _ => Op { code: op::NONE, ..plain },
        }
    }

    fn jump(&self, number: usize, instruction: &Instruction, plain: Op) -> Op {
        let id = instruction.imm;
        if instruction.is_helper_call() {
            let end = self.end_of_block(self.at(number)) as i32;
            let code = if id as u32 == run::TAIL_CALL { op::TAIL_CALL } else { op::HELPER };
            return Op { code, offset: end, ..plain };
        }
        if instruction.is_local_call() {
            return match self.function(number, id) {
                Some(function) => Op { code: op::LOCAL_CALL, offset: function as i32, ..plain },
                None => Op { code: op::NONE, ..plain },
            };
        }
        match blocks::target(number, instruction) {
            Some(target) => Op { offset: self.at(target) as i32, ..plain },
            None => plain,
        }
    }

    fn wide(&self, number: usize, instruction: &Instruction, plain: Op) -> Op {
        let second = self.code.instructions.get(number + 1).map_or(0, |second| second.imm as u32);
        let low = instruction.imm as u32;
        let constant = |imm| Op { code: op::CONSTANT, imm, ..plain };
        match instruction.src {
            pseudo::MAP => constant(run::map_handle(low as usize)),
            // Which map in the offset, where in its value in the immediate.
            pseudo::MAP_VALUE => {
                Op { code: op::MAP_VALUE, offset: low as i32, imm: second.into(), ..plain }
            }
            pseudo::FUNCTION => match self.function(number, instruction.imm) {
                Some(function) => constant(run::function_handle(function)),
                None => Op { code: op::NONE, ..plain },
            },
            _ => constant(u64::from(second) << 32 | u64::from(low)),
        }
    }
}

/// Arithmetic, of which the offset or the immediate says more.
fn arithmetic(instruction: &Instruction, plain: Op) -> Op {
    let wide = instruction.class() == opcode::ALU64;
    let register = instruction.opcode & opcode::X != 0;
    let one_of = |[k64, x64, k32, x32]: [u8; 4]| match (wide, register) {
        (true, false) => k64,
        (true, true) => x64,
        (false, false) => k32,
        (false, true) => x32,
    };
    let code = match (instruction.opcode & opcode::OPERATION, instruction.offset) {
        (opcode::DIV, 1) => one_of(op::SIGNED_DIV),
        (opcode::MOD, 1) => one_of(op::SIGNED_MOD),
        (opcode::MOV, 8) if wide => op::EXTEND_8_64,
        (opcode::MOV, 16) if wide => op::EXTEND_16_64,
        (opcode::MOV, 32) if wide => op::EXTEND_32_64,
        (opcode::MOV, 8) => op::EXTEND_8_32,
        (opcode::MOV, 16) => op::EXTEND_16_32,
        // The host is little endian: to little endian only cuts off.
        (opcode::END, _) => match (wide || register, instruction.imm) {
            (true, 16) => op::SWAP_16,
            (true, 32) => op::SWAP_32,
            (true, 64) => op::SWAP_64,
            (false, 16) => op::CUT_16,
            (false, 32) => op::CUT_32,
            (false, 64) => op::CUT_64,
            _ => op::NONE,
        },
        _ => instruction.opcode,
    };
    Op { code, ..plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Function;

    #[test]
    fn nonsense_is_decoded_too() {
        for opcode in 0..=u8::MAX {
            for rest in [[0; 7], [0xff; 7], [0x1b, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]] {
                let [a, b, c, d, e, f, g] = rest;
                let odd = Instruction::from_bytes([opcode, a, b, c, d, e, f, g]);
                let function = |start| Function { name: String::new(), start };
                let functions = vec![function(5), function(0)];
                let code = Code { instructions: vec![odd], functions, ..Code::default() };
                assert_eq!(Decoded::new(&code).ops.len(), 1);
            }
        }
    }

    #[test]
    fn many_functions_take_no_time() {
        // Each calls the next: as many functions as can be.
        let call = Instruction::from_bytes([0x85, 0x10, 0, 0, 1, 0, 0, 0]);
        let exit = Instruction::from_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]);
        let count = 200_000;
        let starts = (0..count).map(|number| Function { name: String::new(), start: number * 2 });
        let code = Code {
            instructions: [call, exit].repeat(count),
            functions: starts.collect(),
            ..Code::default()
        };
        assert_eq!(Decoded::new(&code).functions.len(), count);
    }
}
