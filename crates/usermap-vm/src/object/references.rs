//! What instructions refer to: maps, variables, functions. Found once for each section, and filled
//! in once for each program.

use super::data::Data;
use super::elf::{Elf, Relocation, Section, Symbol};
use super::externs::{Externs, Undefined};
use super::maps::Maps;
use super::{core_relocation, functions};
use crate::btf::{Btf, BtfExt};
use crate::code::{Line, Strings};
use crate::instruction::{Instruction, pseudo};
use std::collections::BTreeMap;

/// What an instruction refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A map, by its number.
    Map(usize),
    /// A byte of a map's only value.
    Value(usize, u32),
    /// A function, by its section and its first instruction there.
    Function(usize, i64),
    /// Nothing: a weak symbol that there is not.
    Absent,
    /// What there is not; and what is wrong with it, unless it is just not supported.
    Unsupported(String, String),
}

/// A section of instructions.
#[derive(Default)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) instructions: Vec<Instruction>,
    /// What instructions refer to, by their numbers.
    pub(super) targets: BTreeMap<usize, Target>,
    /// Source lines, by instructions.
    pub(super) lines: Vec<Line>,
}

/// All that instructions can refer to.
pub(super) struct Known<'a, 'd> {
    pub(super) elf: &'a Elf<'d>,
    pub(super) btf: Option<&'a Btf>,
    pub(super) ext: &'a BtfExt,
    pub(super) maps: &'a Maps,
    pub(super) data: &'a Data,
    pub(super) externs: &'a Externs,
}

impl Known<'_, '_> {
    /// All sections of instructions, by their numbers.
    pub(super) fn texts(&self) -> Result<BTreeMap<usize, Text>, String> {
        let mut texts = BTreeMap::new();
        let mut strings = Strings::default();
        for (index, section) in self.elf.enumerate().filter(|(_, one)| one.is_executable()) {
            let in_section = |problem| format!("section {}: {problem}", section.name);
            texts.insert(index, self.text(section, &mut strings).map_err(in_section)?);
        }
        Ok(texts)
    }

    fn text(&self, section: &Section<'_>, strings: &mut Strings) -> Result<Text, String> {
        let (instructions, rest) = section.data.as_chunks::<8>();
        if !rest.is_empty() {
            return Err("is not made of whole instructions".into());
        }
        let instructions = instructions.iter().map(|bytes| Instruction::from_bytes(*bytes));
        let mut text = Text {
            name: section.name.to_owned(),
            instructions: instructions.collect(),
            lines: self.lines(section.name, strings),
            ..Text::default()
        };
        for relocation in &section.relocations {
            let byte = relocation.offset;
            let number = usize::try_from(byte / 8).unwrap_or(usize::MAX);
            let instruction = text.instructions.get(number).filter(|_| byte.is_multiple_of(8));
            let Some(instruction) = instruction else {
                return Err(format!("a relocation at byte {byte}, where no instruction starts"));
            };
            let target = self.target(relocation, *instruction)?;
            text.targets.insert(number, target);
        }
        self.relocate_types(section.name, &mut text);
        Ok(text)
    }

    fn lines(&self, section: &str, strings: &mut Strings) -> Vec<Line> {
        let Some(btf) = self.btf else { return Vec::new() };
        let records = btf.records(&self.ext.lines, section);
        let numbered = records.iter().map(|record| (record.offset as usize / 8, record));
        strings.lines(btf, numbered)
    }

    fn target(&self, relocation: &Relocation, at: Instruction) -> Result<Target, String> {
        let Some(symbol) = self.elf.symbols.get(relocation.symbol) else {
            return Err(format!("a relocation of symbol {}", relocation.symbol));
        };
        let Some(index) = symbol.section else { return Ok(self.undefined(symbol, at)) };
        let Some(section) = self.elf.sections.get(index) else {
            return Err(format!("a relocation of section {index}"));
        };
        let value = i64::try_from(symbol.value).ok();
        let value = value.and_then(|value| value.checked_add(relocation.addend));
        let Some(value) = value.filter(|value| (0..1 << 40).contains(value)) else {
            return Err(format!("a relocation far behind symbol {}", symbol.name));
        };
        // What the compiler left in the instruction is added: bytes; of calls, instructions.
        let byte = value + i64::from(at.imm);
        if section.is_executable() {
            let instruction = match (at.is_local_call(), at.is_wide()) {
                (true, _) if value % 8 == 0 => value / 8 + i64::from(at.imm) + 1,
                (_, true) if byte % 8 == 0 => byte / 8,
                _ => return Ok(unsupported(section, symbol, at)),
            };
            return Ok(Target::Function(index, instruction));
        }
        if !at.is_wide() {
            return Ok(unsupported(section, symbol, at));
        }
        if let Some(map) = self.maps.places.get(&(index, byte as u64)) {
            return Ok(Target::Map(*map));
        }
        let Some(map) = self.data.maps.get(&index).copied() else {
            return Ok(unsupported(section, symbol, at));
        };
        if let Some(problem) = self.data.unfilled.get(&map) {
            return Ok(Target::Unsupported(problem.clone(), String::new()));
        }
        // One byte behind the end may be named, as C has it.
        match u32::try_from(byte).ok().filter(|byte| u64::from(*byte) <= section.size) {
            Some(byte) => Ok(Target::Value(map, byte)),
            None => Err(format!("a relocation behind the end of section {}", section.name)),
        }
    }

    /// Symbols that are not in the object.
    fn undefined(&self, symbol: &Symbol<'_>, at: Instruction) -> Target {
        let name = short(symbol.name);
        match self.externs.undefined.get(symbol.name) {
            Some(Undefined::Kconfig { offset }) if at.is_wide() => match self.externs.map {
                Some(map) => Target::Value(map, *offset),
                None => Target::Absent,
            },
            Some(_) if symbol.is_weak() && at.is_wide() => Target::Absent,
            Some(Undefined::Function) => {
                Target::Unsupported(format!("kernel function {name}"), String::new())
            }
            Some(_) => Target::Unsupported(format!("kernel symbol {name}"), String::new()),
            None => {
                let problem = "is not in the object; link it with what defines it";
                Target::Unsupported(format!("symbol {name}"), problem.into())
            }
        }
    }

    /// CO-RE.
    fn relocate_types(&self, section: &str, text: &mut Text) {
        let Some(btf) = self.btf else { return };
        for relocation in btf.records(&self.ext.relocations, section) {
            let number = relocation.offset as usize / 8;
            let rest = text.instructions.get_mut(number..).unwrap_or_default();
            let result = match rest {
                [first, rest @ ..] => {
                    core_relocation::apply(btf, relocation, first, rest.first_mut())
                }
                [] => continue,
            };
            if let Err(problem) = result {
                let access = btf.string(relocation.access);
                let access = access.get(..64).unwrap_or(access);
                let what = format!(
                    "CO-RE relocation of {}, access {access}",
                    btf.describe(relocation.type_id)
                );
                text.targets.insert(number, Target::Unsupported(what, problem));
            }
        }
    }
}

/// A name for a message; mangled ones can be very long.
fn short(name: &str) -> String {
    name.chars().take(128).collect()
}

fn unsupported(section: &Section<'_>, symbol: &Symbol<'_>, at: Instruction) -> Target {
    let what = match symbol.is_section() || symbol.name.is_empty() {
        true => format!("reference to section {}", short(section.name)),
        false => {
            format!("reference to {} in section {}", short(symbol.name), short(section.name))
        }
    };
    let problem = match at.is_wide() || at.is_local_call() {
        true if functions::is_text(section.name) => "is not to a function",
        true => "is neither to a map nor to a variable",
        false => "is from an instruction that cannot have one",
    };
    Target::Unsupported(what, problem.into())
}

/// Fills a target in: what the two halves of a 64-bit load say.
pub(super) fn fill(target: &Target, first: &mut Instruction, second: Option<&mut Instruction>) {
    let (source, low, high) = match target {
        Target::Map(map) => (pseudo::MAP, *map as i32, 0),
        Target::Value(map, offset) => (pseudo::MAP_VALUE, *map as i32, *offset as i32),
        Target::Absent => (0, 0, 0),
        // These are filled in once it is known where the function is.
        Target::Function(..) | Target::Unsupported(..) => return,
    };
    first.src = source;
    first.imm = low;
    if let Some(second) = second {
        second.imm = high;
    }
}
