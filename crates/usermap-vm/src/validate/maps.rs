//! Which helper is called on which map, as far as it can be seen: a map whose address was loaded in
//! the same basic block.
//!
//! What is not seen here the helper finds when it is called.

use super::{Check, Problem, Validator, malformed};
use crate::blocks::{Block, Steps};
use crate::helper::{PERF_EVENT_ARRAY, PROG_ARRAY};
use crate::instruction::{Instruction, opcode, pseudo};
use crate::object::MapDefinition;
use crate::run::TAIL_CALL;
use usermap::{Helper, MapType, Spec, abi};

/// `bpf_perf_event_output`
const EVENT_OUTPUT: u32 = 25;

const MOVE: u8 = opcode::ALU64 | opcode::MOV | opcode::X;

/// The map that each register has, by its number among the object's.
type Known = [Option<usize>; 16];

impl Validator<'_> {
    /// Refuses a call in a block of a helper that is not for the map it is given. What stands
    /// before the block is not known.
    pub(super) fn calls_on_maps(&self, block: Block) -> Result<(), (usize, Problem)> {
        let mut known = Known::default();
        let instructions = Steps::between(self.code, block.start, block.end);
        for (number, instruction) in instructions {
            if instruction.is_helper_call() {
                let id = instruction.imm as u32;
                let map = map_argument(id).and_then(|register| known[register]);
                let map = map.and_then(|map| self.maps.get(map));
                if let Some(map) = map {
                    allowed(id, map).map_err(|problem| (number, problem))?;
                }
            }
            follow(&mut known, instruction);
        }
        Ok(())
    }
}

/// The register in which a helper takes its map, if it takes one.
fn map_argument(id: u32) -> Option<usize> {
    use abi::helper as own;
    match id {
        TAIL_CALL | EVENT_OUTPUT => Some(2),
        own::MAP_INC
        | own::MAP_INC_AND_RETURN
        | own::MAP_LOOKUP_AND_DELETE_ELEM
        | own::MAP_LOOKUP_BATCH
        | own::MAP_UPDATE_BATCH
        | own::MAP_DELETE_BATCH => Some(1),
        _ => Helper::ALL.into_iter().any(|helper| helper as u32 == id).then_some(1),
    }
}

/// What registers have after an instruction.
fn follow(known: &mut Known, instruction: &Instruction) {
    let (dst, src) = (usize::from(instruction.dst & 15), usize::from(instruction.src & 15));
    match instruction.class() {
        opcode::LD if instruction.is_wide() => {
            let map = usize::try_from(instruction.imm).ok();
            known[dst] = map.filter(|_| instruction.src == pseudo::MAP);
        }
        // The legacy loads from a packet take the registers that a call takes.
        opcode::LD => known[..6].fill(None),
        opcode::LDX | opcode::ALU => known[dst] = None,
        opcode::ALU64 if instruction.opcode == MOVE && instruction.offset == 0 => {
            known[dst] = known[src];
        }
        opcode::ALU64 => known[dst] = None,
        // An atomic one leaves the old value in a register; a load is one of them, too.
        opcode::STX if instruction.opcode & opcode::MODE == opcode::ATOMIC => {
            (known[0], known[src]) = (None, None);
            known[dst] = None;
        }
        _ if instruction.is_helper_call() || instruction.is_local_call() => known[..6].fill(None),
        _ => {}
    }
}

/// Whether a helper is for a map that it is called with.
fn allowed(id: u32, map: &MapDefinition) -> Check {
    let name = &map.name;
    let wrong = |rule: &str| malformed(format!("map {name}: {rule}"));
    let of_maps = Helper::ALL.into_iter().find(|helper| *helper as u32 == id);
    match (id, map.map_type) {
        (TAIL_CALL, PROG_ARRAY) | (EVENT_OUTPUT, PERF_EVENT_ARRAY) => return Ok(()),
        (TAIL_CALL, _) => return wrong("only a PROG_ARRAY has programs to call"),
        (EVENT_OUTPUT, _) => return wrong("only a PERF_EVENT_ARRAY takes events"),
        _ => {}
    }
    match (map.map_type, MapType::from_id(map.map_type), of_maps) {
        (PROG_ARRAY, ..) => wrong("a PROG_ARRAY's programs can only be called"),
        (PERF_EVENT_ARRAY, ..) => wrong("a PERF_EVENT_ARRAY only takes events"),
        (_, Some(kind), Some(helper)) => {
            let spec = Spec::new(kind, map.key_size, map.value_size, map.max_entries);
            let refused = spec.flags(map.map_flags).allows(helper).err();
            refused.map_or(Ok(()), |error| match error {
                usermap::Error::Program { rule, errno, .. } => {
                    Err(Problem::Refused(format!("map {name}: {rule}"), errno))
                }
                error => wrong(&error.to_string()),
            })
        }
        // Helpers that Linux has not, other ones, and kinds that there are not.
        _ => Ok(()),
    }
}
