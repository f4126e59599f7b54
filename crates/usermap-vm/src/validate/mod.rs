//! The structural validator: refuses programs that make no sense, with the reason and the place.
//!
//! It is for clear errors, as the kernel's verifier gives them, and lets the engines take the
//! program's shape for granted. It knows nothing of values: what a program may access is the
//! cage's affair, how long it may run the budget's, and neither rests on anything that is found
//! here.

mod encoding;
mod maps;
#[cfg(test)]
mod tests;

use crate::blocks::{self, Steps};
use crate::code::{Code, Line};
use crate::error::{Error, Result};
use crate::instruction::{Instruction, opcode, pseudo};
use crate::object::MapDefinition;
use crate::program_type::ProgramType;
use crate::{disassemble, helper_names};
use std::ops::Range;

/// Instructions that a program may have (`BPF_COMPLEXITY_LIMIT_INSNS`).
pub(crate) const LONGEST: usize = 1_000_000;

/// The kind of maps whose values programs may have the addresses of (`BPF_MAP_TYPE_ARRAY`).
const ARRAY: u32 = 2;

/// What a rule finds.
enum Problem {
    /// The program makes no sense.
    Malformed(String),
    /// The same, where the kernel has another errno than EINVAL.
    Refused(String, i32),
    /// It asks for what there is not.
    Unsupported(String),
}

/// What a rule gives.
type Check = std::result::Result<(), Problem>;

fn malformed(problem: impl Into<String>) -> Check {
    Err(Problem::Malformed(problem.into()))
}

fn unsupported(what: impl Into<String>) -> Check {
    Err(Problem::Unsupported(what.into()))
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The kernel's.
    Kernel,
    /// Those of the standard (RFC 9669): an immediate may divide by zero, which gives what a
    /// register with zero gives, and shifts by more than the width take the lower bits.
    Standard,
}

/// Refuses a program that the kernel would refuse for its shape, or that needs what there is not.
///
/// `maps` are the object's, in the order of their numbers; `helper_known` says which helpers can be
/// called.
pub(crate) fn validate(
    object: &str,
    code: &Code,
    maps: &[MapDefinition],
    helper_known: impl Fn(u32) -> bool,
) -> Result<()> {
    validate_by(Rules::Kernel, object, code, maps, helper_known)
}

/// As [`validate`], by one of the sets of rules.
pub(crate) fn validate_by(
    rules: Rules,
    object: &str,
    code: &Code,
    maps: &[MapDefinition],
    helper_known: impl Fn(u32) -> bool,
) -> Result<()> {
    let validator = Validator { rules, object, code, maps, helper_known: &helper_known };
    validator.functions()?;
    for number in 0..code.functions.len() {
        validator.function(code.range(number))?;
    }
    if !maps.is_empty() {
        for block in blocks::blocks(code) {
            validator.calls_on_maps(block).map_err(|(number, it)| validator.error(number, it))?;
        }
    }
    Ok(())
}

struct Validator<'c> {
    rules: Rules,
    object: &'c str,
    code: &'c Code,
    maps: &'c [MapDefinition],
    helper_known: &'c dyn Fn(u32) -> bool,
}

impl Validator<'_> {
    /// Functions start at 0, each behind the one before, and all are in the program.
    fn functions(&self) -> Result<()> {
        let program = &self.code.name;
        let wrong = |problem| Error::Object { object: self.object.to_owned(), problem };
        let count = self.code.instructions.len();
        if count == 0 {
            return Err(wrong(format!("program {program} is empty")));
        }
        if count > LONGEST {
            let problem =
                format!("program {program} has {count} instructions; {LONGEST} are allowed");
            return Err(wrong(problem));
        }
        let starts = self.code.functions.iter().map(|function| function.start);
        let ascending = starts.clone().is_sorted_by(|a, b| a < b);
        let within = starts.clone().all(|start| start < count);
        if starts.clone().next() != Some(0) || !ascending || !within {
            return Err(wrong(format!(
                "the functions of program {program} overlap or lie outside"
            )));
        }
        Ok(())
    }

    /// All instructions of a function, and how it ends.
    fn function(&self, range: Range<usize>) -> Result<()> {
        let mut number = range.start;
        let mut last = range.start;
        while let Some(instruction) = self.code.instructions.get(number)
            && number < range.end
        {
            self.instruction(number, instruction, &range).map_err(|it| self.error(number, it))?;
            last = number;
            number += blocks::length(instruction);
        }
        let end = self.code.instructions.get(last);
        if end.is_some_and(|end| !never_goes_on(end)) {
            let problem = "the function ends without an exit or a jump back".to_owned();
            return Err(self.error(last, Problem::Malformed(problem)));
        }
        Ok(())
    }

    fn instruction(
        &self,
        number: usize,
        instruction: &Instruction,
        function: &Range<usize>,
    ) -> Check {
        encoding::check(instruction, self.rules)?;
        if instruction.is_packet_load() {
            return self.packet_load();
        }
        if instruction.is_wide() {
            return self.wide(number, instruction, function);
        }
        if instruction.is_local_call() {
            let callee = blocks::relative(number, instruction.imm.into());
            return self.starts_function(callee);
        }
        if instruction.is_helper_call() {
            return self.helper(instruction.imm as u32);
        }
        match instruction.jump() {
            Some(_) => self.jump(blocks::target(number, instruction), function),
            None => Ok(()),
        }
    }

    /// Not all types of programs that have a packet may load from it in the legacy way.
    fn packet_load(&self) -> Check {
        match self.code.program_type {
            ProgramType::SocketFilter | ProgramType::SchedCls | ProgramType::SchedAct => Ok(()),
            other => malformed(format!("LD_ABS and LD_IND are not for programs of type {other}")),
        }
    }

    /// A jump leads to an instruction of the same function.
    fn jump(&self, target: Option<usize>, function: &Range<usize>) -> Check {
        let Some(target) = target.filter(|target| function.contains(target)) else {
            return malformed("the jump leads out of the function");
        };
        match self.is_second_half(target) {
            true => malformed("the jump leads into the second half of a 64-bit load"),
            false => Ok(()),
        }
    }

    /// Whether an instruction is the second half of a 64-bit load: it is behind one. (That is no
    /// second half itself, for those have another opcode.)
    fn is_second_half(&self, number: usize) -> bool {
        let before = number.checked_sub(1).and_then(|before| self.code.instructions.get(before));
        before.is_some_and(|before| before.is_wide())
    }

    fn starts_function(&self, start: Option<usize>) -> Check {
        let functions = &self.code.functions;
        let found = start.and_then(|start| {
            functions.binary_search_by_key(&start, |function| function.start).ok()
        });
        match found {
            Some(_) => Ok(()),
            None => malformed("no function starts where this one leads"),
        }
    }

    fn helper(&self, id: u32) -> Check {
        if (self.helper_known)(id) {
            return Ok(());
        }
        match helper_names::name(id) {
            Some(name) => unsupported(format!("helper {name} ({id})")),
            None => unsupported(format!("helper {id:#x}")),
        }
    }

    /// A 64-bit load: both halves, and what it loads.
    fn wide(&self, number: usize, first: &Instruction, function: &Range<usize>) -> Check {
        let second = self.code.instructions.get(number + 1);
        let Some(second) = second.filter(|_| number + 1 < function.end) else {
            return malformed("the second half of the 64-bit load is missing");
        };
        if *second != (Instruction { imm: second.imm, ..Instruction::default() }) {
            return malformed("the second half of the 64-bit load has more than an immediate");
        }
        let map = usize::try_from(first.imm).ok().and_then(|index| self.maps.get(index));
        match (first.src, map) {
            (0, _) => Ok(()),
            (pseudo::MAP | pseudo::MAP_VALUE, None) => {
                malformed(format!("there is no map {}", first.imm))
            }
            (pseudo::MAP, Some(_)) if second.imm != 0 => malformed("a map's address has no offset"),
            (pseudo::MAP, Some(_)) => Ok(()),
            (pseudo::MAP_VALUE, Some(map)) => value_address(map, second.imm as u32),
            (pseudo::FUNCTION, _) => {
                self.starts_function(blocks::relative(number, first.imm.into()))
            }
            (3, _) => unsupported("a kernel variable (extern __ksym)"),
            (other, _) => unsupported(format!("a 64-bit load of kind {other}")),
        }
    }

    /// As an error, with the place.
    fn error(&self, number: usize, problem: Problem) -> Error {
        let code = self.code;
        let object = self.object.to_owned();
        let line = code.line(number);
        let maps: Vec<&str> = self.maps.iter().map(|map| map.name.as_str()).collect();
        let text = disassemble::instruction(code, number, &maps, |_| None);
        let place = format!("program {}, instruction {number}: {text}", code.name);
        match problem {
            Problem::Unsupported(what) => {
                let what = format!("{place}: {what}");
                Error::Unsupported { object, what, line: line.cloned() }
            }
            Problem::Malformed(problem) | Problem::Refused(problem, libc::EINVAL) => {
                Error::Object { object, problem: format!("{place}: {problem}{}", shown(line)) }
            }
            Problem::Refused(problem, errno) => {
                let problem = format!("{place}: {problem}{}", shown(line));
                Error::Refused { object, problem, errno }
            }
        }
    }
}

/// A source line, behind what is said of it.
fn shown(line: Option<&Line>) -> String {
    line.map_or(String::new(), |line| format!(" ({}:{}: {})", line.file, line.line, line.text))
}

/// Only an array of one value has an address that can be loaded, and only of bytes in the value.
fn value_address(map: &MapDefinition, offset: u32) -> Check {
    let MapDefinition { name, value_size, map_type, max_entries, .. } = map;
    if *map_type != ARRAY || *max_entries != 1 {
        return malformed(format!("map {name} is no array of one value, which has an address"));
    }
    if offset >= *value_size {
        return malformed(format!(
            "byte {offset} is behind the {value_size} of map {name}'s value"
        ));
    }
    Ok(())
}

/// Whether nothing goes on behind an instruction.
fn never_goes_on(instruction: &Instruction) -> bool {
    const EXIT: u8 = opcode::JMP | opcode::EXIT;
    const JA: u8 = opcode::JMP | opcode::JA;
    const JA32: u8 = opcode::JMP32 | opcode::JA;
    matches!(instruction.opcode, EXIT | JA | JA32)
}

/// The functions of a program that comes without them: they start where calls and callbacks lead.
pub(crate) fn function_starts(code: &Code) -> Vec<usize> {
    let called = Steps::of(code).filter_map(|(number, instruction)| {
        let callback = instruction.is_wide() && instruction.src == pseudo::FUNCTION;
        let called = callback || instruction.is_local_call();
        called.then(|| blocks::relative(number, instruction.imm.into()))?
    });
    let mut starts: Vec<usize> =
        called.filter(|start| *start < code.instructions.len()).chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}
