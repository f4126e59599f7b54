//! Puts programs together: the instructions of a function, and behind them those of all functions
//! that it calls or gives to helpers.

use super::definition::Obstacle;
use super::functions::{Function, Functions};
use super::references::{Target, Text, fill};
use crate::code::{Code, Function as Part, Line};
use crate::instruction::{Instruction, pseudo};
use crate::program_type::ProgramType;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// The most instructions of all programs together. The kernel takes a million for each; a hostile
/// object could have thousands of programs share the same ones.
const MOST: usize = 4 << 20;
/// As many obstacles are named for each program.
const OBSTACLES: usize = 16;

/// Links programs.
pub(super) struct Linker<'a> {
    pub(super) functions: &'a Functions,
    pub(super) texts: &'a BTreeMap<usize, Text>,
    /// How many more instructions all programs may have.
    pub(super) left: usize,
    pub(super) obstacles: Vec<Obstacle>,
}

/// A program that is being put together.
struct Parts {
    code: Code,
    /// The functions in it, by their numbers in the object: where they start.
    starts: HashMap<usize, usize>,
    /// The functions in the order in which they are.
    order: Vec<usize>,
    /// Instructions to be filled in, with the functions that they refer to.
    waiting: Vec<(usize, usize)>,
    obstacles: Vec<Obstacle>,
}

impl<'a> Linker<'a> {
    pub(super) fn new(functions: &'a Functions, texts: &'a BTreeMap<usize, Text>) -> Linker<'a> {
        Linker { functions, texts, left: MOST, obstacles: Vec::new() }
    }

    /// All programs.
    pub(super) fn programs(&mut self) -> Result<Vec<Code>, String> {
        let functions = self.functions.all.iter().enumerate();
        let mut programs = Vec::new();
        for (number, function) in functions.filter(|(_, function)| function.is_program) {
            let program = self.program(number, function);
            programs.push(program.map_err(|problem| format!("{}: {problem}", function.name))?);
        }
        Ok(programs)
    }

    fn program(&mut self, number: usize, function: &Function) -> Result<Code, String> {
        let section = self.texts.get(&function.section).map_or("", |text| &text.name);
        // "?" is libbpf's: not loaded unless asked for. Here all are asked for by name.
        let section = section.strip_prefix('?').unwrap_or(section);
        let known = ProgramType::from_section(section);
        let mut parts = Parts {
            code: Code {
                name: function.name.clone(),
                section: section.to_owned(),
                program_type: known.unwrap_or_default(),
                ..Code::default()
            },
            starts: HashMap::new(),
            order: vec![number],
            waiting: Vec::new(),
            obstacles: Vec::new(),
        };
        if known.is_none() && !super::functions::is_text(section) {
            let what = format!("section {section}: a program of this kind");
            parts.obstacles.push(Obstacle::unsupported(Some(&function.name), what));
        }
        let mut next = 0;
        while let Some(number) = parts.order.get(next).copied() {
            self.append(&mut parts, number)?;
            next += 1;
        }
        self.fill_calls(&mut parts)?;
        self.obstacles.append(&mut parts.obstacles);
        Ok(parts.code)
    }

    /// Appends a function, and notes which others it needs.
    fn append(&mut self, parts: &mut Parts, number: usize) -> Result<(), String> {
        let Some(function) = self.functions.all.get(number) else { return Ok(()) };
        let Some(text) = self.texts.get(&function.section) else { return Ok(()) };
        let range = function.start..function.start.saturating_add(function.count);
        let instructions = text.instructions.get(range.clone()).unwrap_or_default();
        // The name counts, too, and the line at most as much as an instruction.
        let cost = instructions.len() + function.name.len() / 8 + 1;
        self.left = self
            .left
            .checked_sub(cost)
            .ok_or_else(|| format!("more than {MOST} instructions, with those of all programs"))?;
        let start = parts.code.instructions.len();
        parts.starts.insert(number, start);
        parts.code.functions.push(Part { name: function.name.clone(), start });
        parts.code.instructions.extend_from_slice(instructions);
        let first = text.lines.partition_point(|line| line.instruction < range.start);
        let lines = text.lines.get(first..).unwrap_or_default().iter();
        let moved = |line: &Line| Line {
            instruction: line.instruction - range.start + start,
            ..line.clone()
        };
        let lines = lines.take_while(|line| line.instruction < range.end).map(moved);
        parts.code.lines.extend(lines);
        self.refer(parts, text, function, start);
        Ok(())
    }

    /// Fills in what a function refers to; of other functions only notes that.
    fn refer(&self, parts: &mut Parts, text: &Text, function: &Function, start: usize) {
        let end = parts.code.instructions.len();
        let mut at = start;
        while at < end {
            let here = at - start + function.start;
            let Some(instruction) = parts.code.instructions.get(at).copied() else { return };
            let second = if instruction.is_wide() { at + 2 } else { at + 1 };
            let target = text.targets.get(&here).cloned();
            let target = target.or_else(|| implied(function.section, here, instruction));
            match target {
                Some(Target::Function(section, first)) => {
                    let found = usize::try_from(first).ok();
                    let found = found.and_then(|first| self.functions.at(section, first));
                    match found {
                        Some(number) => parts.want(number, at),
                        None => {
                            let name = self.texts.get(&section).map_or("?", |text| &text.name);
                            let what = format!("call of instruction {first} of section {name}");
                            parts.refuse(at, what, "no function starts there".into());
                        }
                    }
                }
                Some(Target::Unsupported(what, problem)) => parts.refuse(at, what, problem),
                Some(target) => {
                    if let Some([first, rest @ ..]) = parts.code.instructions.get_mut(at..) {
                        fill(&target, first, rest.first_mut());
                    }
                }
                None if instruction.is_wide() && instruction.src != 0 => {
                    let what = format!("a 64-bit load of kind {}", instruction.src);
                    parts.refuse(at, what, "nothing says of which map it is".into());
                }
                None => {}
            }
            at = second;
        }
    }

    /// Now that all functions have their places.
    fn fill_calls(&self, parts: &mut Parts) -> Result<(), String> {
        for (at, number) in std::mem::take(&mut parts.waiting) {
            let Some(start) = parts.starts.get(&number) else { continue };
            let distance = *start as i64 - at as i64 - 1;
            let distance = i32::try_from(distance).map_err(|_| "a call too far".to_owned())?;
            let Some(instruction) = parts.code.instructions.get_mut(at) else { continue };
            instruction.imm = distance;
            if instruction.is_wide() {
                instruction.src = pseudo::FUNCTION;
                // It may have had a part of what was added to the symbol.
                if let Some(second) = parts.code.instructions.get_mut(at + 1) {
                    second.imm = 0;
                }
            }
        }
        Ok(())
    }
}

impl Parts {
    /// An instruction needs a function.
    fn want(&mut self, number: usize, at: usize) {
        self.waiting.push((at, number));
        if let Entry::Vacant(start) = self.starts.entry(number) {
            start.insert(0);
            self.order.push(number);
        }
    }

    fn refuse(&mut self, at: usize, what: String, problem: String) {
        if self.obstacles.len() < OBSTACLES {
            let line = self.code.line(at).cloned();
            let program = Some(self.code.name.clone());
            self.obstacles.push(Obstacle { program, what, problem, line });
        }
    }
}

/// Calls of functions in the same section need no relocation.
fn implied(section: usize, here: usize, instruction: Instruction) -> Option<Target> {
    let is_function = instruction.is_wide() && instruction.src == pseudo::FUNCTION;
    let target = here as i64 + i64::from(instruction.imm) + 1;
    (instruction.is_local_call() || is_function).then_some(Target::Function(section, target))
}
