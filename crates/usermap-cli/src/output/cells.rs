//! What keys or values fill of a table: a column, or one for each member of a struct.

use super::people;
use super::reading::Reading;
use super::table::Column;
use super::typed::Typed;
use crate::failure::{Result, clean};
use crate::types::Type;
use std::rc::Rc;
use usermap_vm::btf::{Encoding, Kind, Value};

/// Structs of more members are one column: nobody could read such a table.
const MOST: usize = 12;

/// The keys or the values of a map, for a table.
pub enum Cells {
    /// By the options, or by their size.
    Bytes(Reading),
    /// By the map's type of this id, with a column for each of these members.
    Typed(Rc<Typed>, u32, Vec<Column>),
}

impl Cells {
    /// For bytes of this size. `what` they are: `key` or `value`. An option is stronger than the
    /// map's type.
    pub fn new(
        option: Option<&[Type]>,
        size: usize,
        what: &str,
        typed: Option<(Rc<Typed>, u32)>,
    ) -> Result<Cells> {
        match typed {
            Some((typed, id)) if option.is_none() => {
                let members = members(&typed, id);
                Ok(Cells::Typed(typed, id, members))
            }
            _ => Ok(Cells::Bytes(Reading::new(option, size, what)?)),
        }
    }

    /// The heads; `name` is that of a single column.
    pub fn columns(&self, name: &str) -> Vec<Column> {
        match self {
            Cells::Typed(_, _, members) if !members.is_empty() => members.clone(),
            _ => vec![Column { head: self.head(name), number: self.is_number() }],
        }
    }

    /// The head of a single column, with the type.
    pub fn head(&self, name: &str) -> String {
        match self {
            Cells::Bytes(reading) => reading.head(name),
            Cells::Typed(typed, id, _) => format!("{name} ({})", clean(&typed.btf.describe(*id))),
        }
    }

    /// Whether there are several columns.
    pub fn is_several(&self) -> bool {
        matches!(self, Cells::Typed(_, _, members) if !members.is_empty())
    }

    /// Whether it is one number.
    pub fn is_number(&self) -> bool {
        match self {
            Cells::Bytes(reading) => reading.is_number(),
            Cells::Typed(typed, id, _) => is_number(typed, *id),
        }
    }

    /// Whether it is numbers only, so that sums make sense.
    pub fn is_numbers(&self) -> bool {
        match self {
            Cells::Bytes(reading) => reading.is_numbers(),
            Cells::Typed(..) => self.is_number(),
        }
    }

    /// The text for each column.
    pub fn show(&self, bytes: &[u8]) -> Vec<String> {
        match self {
            Cells::Bytes(reading) => vec![reading.show(bytes)],
            Cells::Typed(typed, id, members) => {
                let btf = &typed.btf;
                let parts = if members.is_empty() { None } else { parts(typed, *id) };
                let Some(parts) = parts else { return vec![people::show(btf, *id, bytes)] };
                let show = |(id, start): (u32, usize)| {
                    people::show(btf, id, bytes.get(start..).unwrap_or_default())
                };
                match parts.iter().all(Option::is_some) {
                    true => parts.into_iter().flatten().map(show).collect(),
                    // Bitfields are only found by what decodes the whole.
                    false => whole(btf.format(*id, bytes), &parts, show, members.len()),
                }
            }
        }
    }

    /// The numbers in a single column.
    pub fn numbers(&self, bytes: &[u8]) -> Vec<i128> {
        match self {
            Cells::Bytes(reading) => reading.numbers(bytes),
            Cells::Typed(typed, id, _) => match typed.btf.format(*id, bytes) {
                Value::Int { value, .. } => vec![value],
                _ => Vec::new(),
            },
        }
    }

    /// Adds the numbers of several columns to their sums; other columns have none.
    pub fn add(&self, bytes: &[u8], sums: &mut Vec<Option<i128>>) {
        let Cells::Typed(typed, id, members) = self else { return };
        let Value::Struct(values) = typed.btf.format(*id, bytes) else { return };
        sums.resize(members.len(), Some(0));
        for ((sum, (_, value)), column) in sums.iter_mut().zip(&values).zip(members) {
            *sum = match (*sum, value) {
                (Some(sum), Value::Int { value, .. }) if column.number => {
                    Some(sum.saturating_add(*value))
                }
                _ => None,
            };
        }
    }
}

/// Where the members of a struct, or the variables of a section, are, and their types; nothing for
/// a bitfield.
fn parts(typed: &Typed, id: u32) -> Option<Vec<Option<(u32, usize)>>> {
    match typed.btf.resolved(id) {
        Kind::Struct(composite) => {
            let plain = |bits: u32, offset: u32| bits == 0 && offset.is_multiple_of(8);
            let part = composite.members.iter().map(|member| {
                let whole = plain(member.bits, member.bit_offset);
                whole.then_some((member.type_id, member.bit_offset as usize / 8))
            });
            Some(part.collect())
        }
        Kind::Section { variables, .. } => {
            let part = variables.iter().map(|one| Some((one.type_id, one.offset as usize)));
            Some(part.collect())
        }
        _ => None,
    }
}

/// The text for each member, of a struct that has bitfields.
fn whole(
    value: Value,
    parts: &[Option<(u32, usize)>],
    show: impl Fn((u32, usize)) -> String,
    columns: usize,
) -> Vec<String> {
    let Value::Struct(values) = value else { return vec![String::new(); columns] };
    let mut cells: Vec<String> = values
        .iter()
        .zip(parts)
        .map(|((_, value), part)| part.map_or_else(|| clean(&value.to_string()), &show))
        .collect();
    cells.resize(columns, String::new());
    cells
}

fn is_number(typed: &Typed, id: u32) -> bool {
    let kind = match typed.btf.resolved(id) {
        // Not a variable's variable and so on: damaged types go round in a circle.
        Kind::Variable { type_id, .. } => typed.btf.resolved(*type_id),
        kind => kind,
    };
    matches!(kind, Kind::Int(int) if matches!(int.encoding, Encoding::Signed | Encoding::Unsigned))
}

/// A column for each member of a struct, or variable of a section.
fn members(typed: &Typed, id: u32) -> Vec<Column> {
    let btf = &typed.btf;
    let column = |name: &str, id| Column { head: clean(name), number: is_number(typed, id) };
    let columns: Vec<Column> = match btf.resolved(id) {
        Kind::Struct(composite) if !people::is_one(btf, id) => {
            let members = composite.members.iter().take(MOST + 1);
            members.map(|member| column(btf.string(member.name), member.type_id)).collect()
        }
        Kind::Section { variables, .. } => {
            let variables = variables.iter().take(MOST + 1).map(|variable| variable.type_id);
            variables.map(|id| column(btf.name(id), id)).collect()
        }
        _ => Vec::new(),
    };
    if columns.len() > MOST { Vec::new() } else { columns }
}
