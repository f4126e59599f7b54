//! Which functions an object has, and which of them are programs.

use super::elf::Elf;
use std::collections::HashMap;

/// A function. It is known by its section and its place there: names and places alone are not
/// unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) section: usize,
    /// Its first instruction in the section.
    pub(super) start: usize,
    /// Its instructions.
    pub(super) count: usize,
    /// Whether it is a program, and not only called by some.
    pub(super) is_program: bool,
}

/// All functions.
#[derive(Default)]
pub(super) struct Functions {
    pub(super) all: Vec<Function>,
    /// By section and first instruction.
    places: HashMap<(usize, usize), usize>,
}

impl Functions {
    /// The number of the function that starts at an instruction of a section.
    pub(super) fn at(&self, section: usize, instruction: usize) -> Option<usize> {
        self.places.get(&(section, instruction)).copied()
    }

    /// The name of the program that starts at a byte of a section.
    pub(super) fn program_at(&self, section: usize, byte: u64) -> Option<String> {
        let mut all = self.all.iter();
        let place = (section, byte);
        let found = all.find(|one| one.is_program && (one.section, one.start as u64 * 8) == place);
        found.map(|function| function.name.clone())
    }
}

/// Whether a section has only functions that programs call. Rust puts each function into a section
/// of its own.
pub(super) fn is_text(section: &str) -> bool {
    section == ".text" || section.starts_with(".text.")
}

/// Finds all functions: by symbols, as the file's sections alone do not say where each starts.
pub(super) fn read(elf: &Elf<'_>) -> Result<Functions, String> {
    let mut all = Vec::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.is_function()) {
        let Some(index) = symbol.section else { continue };
        let Some(section) = elf.sections.get(index).filter(|section| section.is_executable())
        else {
            continue;
        };
        let name = symbol.name;
        let size = section.data.len() as u64;
        let end = symbol.value.checked_add(symbol.size);
        if end.is_none_or(|end| end > size) || symbol.value >= size {
            return Err(format!("function {name}: is behind the end of section {}", section.name));
        }
        if !symbol.value.is_multiple_of(8) || !symbol.size.is_multiple_of(8) {
            return Err(format!("function {name}: is not made of whole instructions"));
        }
        all.push(Function {
            name: name.to_owned(),
            section: index,
            start: symbol.value as usize / 8,
            count: symbol.size as usize / 8,
            is_program: !is_text(section.name) && !symbol.is_local(),
        });
    }
    add_unnamed(elf, &mut all);
    fill_sizes(elf, &mut all);
    only_one(&mut all);
    let mut functions = Functions { all, places: HashMap::new() };
    for (index, function) in functions.all.iter().enumerate() {
        functions.places.entry((function.section, function.start)).or_insert(index);
    }
    Ok(functions)
}

/// Sections of a file without any function symbols: each is one function.
fn add_unnamed(elf: &Elf<'_>, all: &mut Vec<Function>) {
    if !all.is_empty() {
        return;
    }
    for (index, section) in elf.enumerate().filter(|(_, section)| section.is_executable()) {
        all.push(Function {
            name: section.name.trim_start_matches('.').to_owned(),
            section: index,
            start: 0,
            count: section.data.len() / 8,
            is_program: !is_text(section.name),
        });
    }
}

/// Assembler's functions have no size: they end where the next one starts.
fn fill_sizes(elf: &Elf<'_>, all: &mut [Function]) {
    let mut starts: Vec<(usize, usize)> = all.iter().map(|one| (one.section, one.start)).collect();
    starts.sort_unstable();
    for function in all.iter_mut().filter(|function| function.count == 0) {
        let next = starts.partition_point(|start| *start <= (function.section, function.start));
        let next = starts.get(next).filter(|(section, _)| *section == function.section);
        let size = elf.sections.get(function.section).map_or(0, |section| section.data.len() / 8);
        let end = next.map_or(size, |(_, start)| *start);
        function.count = end.saturating_sub(function.start);
    }
}

/// The only function of a file is its program, wherever it is.
fn only_one(all: &mut [Function]) {
    if let [only] = all {
        only.is_program = true;
    }
}
