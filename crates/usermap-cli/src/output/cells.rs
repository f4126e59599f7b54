//! What keys or values fill of a table: a column, or one for each member of a struct.

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
                let shown = |value: &Value| clean(&value.to_string());
                match typed.btf.format(*id, bytes) {
                    Value::Struct(values) if !members.is_empty() => {
                        let mut cells: Vec<String> =
                            values.iter().map(|(_, value)| shown(value)).collect();
                        cells.resize(members.len(), String::new());
                        cells
                    }
                    value => {
                        let mut cells = vec![shown(&value)];
                        cells.resize(members.len().max(1), String::new());
                        cells
                    }
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

fn is_number(typed: &Typed, id: u32) -> bool {
    match typed.btf.resolved(id) {
        Kind::Int(int) => matches!(int.encoding, Encoding::Signed | Encoding::Unsigned),
        Kind::Variable { type_id, .. } => is_number(typed, *type_id),
        _ => false,
    }
}

/// A column for each member of a struct, or variable of a section.
fn members(typed: &Typed, id: u32) -> Vec<Column> {
    let btf = &typed.btf;
    let column = |name: &str, id| Column { head: clean(name), number: is_number(typed, id) };
    let columns: Vec<Column> = match btf.resolved(id) {
        Kind::Struct(composite) => {
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
