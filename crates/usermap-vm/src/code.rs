//! A program as the engines take it: what the loader makes of an object's sections.

use crate::btf::{Btf, LineInfo};
use crate::instruction::Instruction;
use crate::program_type::ProgramType;
use std::collections::HashMap;
use std::sync::Arc;

/// A program: its instructions, and those of all functions it calls, in one piece.
///
/// They are as the kernel takes them, but that a load of a map has the map's number among the
/// object's maps where the kernel has a descriptor.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// The program's name, that of its function.
    pub name: String,
    /// The section, such as `xdp` or `tc/ingress`.
    pub section: String,
    /// What kind of program the section's name says it is.
    pub program_type: ProgramType,
    /// All instructions.
    pub instructions: Vec<Instruction>,
    /// All functions, by where they start; the first is the program itself.
    pub functions: Vec<Function>,
    /// Source lines, by the instruction where each begins.
    pub lines: Vec<Line>,
}

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its first instruction.
    pub start: usize,
}

/// A line of source, from an instruction on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first instruction that it was compiled to.
    pub instruction: usize,
    /// The file.
    pub file: Arc<str>,
    /// The line's number, from 1 on.
    pub line: u32,
    /// The column, from 1 on; 0 if unknown.
    pub column: u32,
    /// The text, without what it is indented by.
    pub text: Arc<str>,
}

/// Strings of BTF that lines share, each copied once.
#[derive(Default)]
pub(crate) struct Strings(HashMap<u32, Arc<str>>);

impl Strings {
    fn get(&mut self, btf: &Btf, offset: u32) -> Arc<str> {
        let new = || Arc::from(btf.string(offset).trim());
        self.0.entry(offset).or_insert_with(new).clone()
    }

    /// Lines from their records, each with its instruction; in order, one for an instruction.
    pub(crate) fn lines<'i>(
        &mut self,
        btf: &Btf,
        records: impl Iterator<Item = (usize, &'i LineInfo)>,
    ) -> Vec<Line> {
        let line = |(instruction, record): (usize, &LineInfo)| Line {
            instruction,
            file: self.get(btf, record.file),
            line: record.line,
            column: record.column,
            text: self.get(btf, record.text),
        };
        let mut lines: Vec<Line> = records.map(line).collect();
        lines.sort_by_key(|line| line.instruction);
        lines.dedup_by_key(|line| line.instruction);
        lines
    }
}

impl Code {
    /// The line of an instruction, if the object has lines.
    pub fn line(&self, instruction: usize) -> Option<&Line> {
        let after = self.lines.partition_point(|line| line.instruction <= instruction);
        after.checked_sub(1).map(|index| &self.lines[index])
    }

    /// The number of the function that an instruction is in.
    pub fn function(&self, instruction: usize) -> usize {
        let after = self.functions.partition_point(|function| function.start <= instruction);
        after.saturating_sub(1)
    }

    /// The number of the function that starts at an instruction.
    pub(crate) fn function_at(&self, start: i64) -> Option<usize> {
        let start = usize::try_from(start).ok()?;
        self.functions.binary_search_by_key(&start, |function| function.start).ok()
    }

    /// The instructions of a function, by their numbers.
    pub fn range(&self, function: usize) -> std::ops::Range<usize> {
        let start = self.functions.get(function).map_or(0, |function| function.start);
        let end = self.functions.get(function + 1);
        start..end.map_or(self.instructions.len(), |function| function.start)
    }
}
