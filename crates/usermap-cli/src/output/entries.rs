//! Entries of a map in each of the three forms: key and value, or key and a value for each slot.

use super::json::Json;
use super::reading::{Reading, Totals, join};
use super::table::{Column, Table};
use super::{Mode, Output, plain};
use crate::failure::Result;
use crate::session::Session;
use std::io::{self, Write};
use usermap::Map;

/// Which values an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// One.
    Plain,
    /// One for each of so many CPU slots.
    All(u32),
    /// That of one CPU slot.
    Only(u32),
}

/// How a map's keys and values are laid out.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of one value.
    pub value_size: usize,
    /// Which values there are.
    pub slots: Slots,
}

impl Shape {
    /// A map's. Values of per-CPU hashes and arrays come for all slots, those of rings for one.
    pub fn of(map: &Map) -> Shape {
        let spec = map.spec();
        let all = spec.map_type.is_per_cpu() && !spec.map_type.is_ring();
        Shape {
            key_size: spec.key_size as usize,
            value_size: spec.value_size as usize,
            slots: if all { Slots::All(map.cpus()) } else { Slots::Plain },
        }
    }

    /// From a value of all slots to the next: the kernel rounds each up to eight bytes.
    pub fn step(&self) -> usize {
        self.value_size.next_multiple_of(8)
    }

    /// The values within what lookup gave, with their slots.
    fn values<'a>(&self, value: &'a [u8]) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let (first, count, step) = match self.slots {
            Slots::Plain => (0, 1, 0),
            Slots::Only(cpu) => (cpu, 1, 0),
            Slots::All(cpus) => (0, cpus, self.step()),
        };
        let size = self.value_size;
        (0..count).filter_map(move |at| {
            let start = at as usize * step;
            Some((first + at, value.get(start..start + size)?))
        })
    }

    /// The numbers of each slot's value.
    pub fn numbers(&self, reading: &Reading, value: &[u8]) -> Vec<(u32, Vec<i128>)> {
        self.values(value).map(|(cpu, value)| (cpu, reading.numbers(value))).collect()
    }
}

/// Writes entries, in the form that was asked for.
pub struct Entries {
    shape: Shape,
    key: Reading,
    value: Reading,
    table: Option<Table>,
    /// Per-CPU values as sum and the slots that are not 0, where columns would be too many.
    narrow: bool,
    /// Entries written.
    pub count: u64,
}

impl Entries {
    /// For a map of this shape.
    pub fn new(session: &Session, shape: Shape) -> Result<Entries> {
        let key = Reading::new(session.key_types.as_deref(), shape.key_size, "key")?;
        let value = Reading::new(session.value_types.as_deref(), shape.value_size, "value")?;
        let narrow = match shape.slots {
            Slots::All(cpus) => session.out.terminal && cpus as usize * 12 + 24 > width(),
            _ => false,
        };
        let mut entries = Entries { shape, key, value, table: None, narrow, count: 0 };
        if session.out.mode() == Mode::Table {
            entries.table = Some(Table::new(entries.columns()));
        }
        Ok(entries)
    }

    /// Starts a list; a single entry has no start.
    pub fn start(&mut self, out: &mut Output) -> io::Result<()> {
        if out.is_json() { out.json().array() } else { Ok(()) }
    }

    /// Writes an entry; `value` is what lookup gave.
    pub fn entry(&mut self, out: &mut Output, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.count += 1;
        if out.is_json() {
            return self.json(out.json(), key, value);
        }
        if self.table.is_some() {
            let row = self.row(key, value);
            return match &mut self.table {
                Some(table) => table.row(out.writer(), row),
                None => Ok(()),
            };
        }
        match self.shape.slots {
            Slots::Plain => plain::entry(out.writer(), key, value),
            _ => plain::per_cpu_entry(out.writer(), key, self.shape.values(value)),
        }
    }

    /// Ends a list, and says how many there were after this word.
    pub fn end(&mut self, out: &mut Output, word: &str) -> io::Result<()> {
        if out.is_json() {
            return out.json().end();
        }
        self.end_single(out)?;
        out.text(&format!("{word} {}\n", plain::elements(self.count)))
    }

    /// Ends the output of a single entry.
    pub fn end_single(&mut self, out: &mut Output) -> io::Result<()> {
        match &mut self.table {
            Some(table) => table.end(out.writer()),
            None => Ok(()),
        }
    }

    fn json<W: Write>(&self, json: &mut Json<W>, key: &[u8], value: &[u8]) -> io::Result<()> {
        json.object()?;
        json.name("key")?;
        json.bytes(key)?;
        if self.shape.slots == Slots::Plain {
            json.name("value")?;
            json.bytes(value)?;
            return json.end();
        }
        json.name("values")?;
        json.array()?;
        for (cpu, value) in self.shape.values(value) {
            json.object()?;
            json.name("cpu")?;
            json.number(cpu)?;
            json.name("value")?;
            json.bytes(value)?;
            json.end()?;
        }
        json.end()?;
        json.end()
    }

    fn columns(&self) -> Vec<Column> {
        let column = |reading: &Reading, name: &str| Column {
            head: reading.head(name),
            number: reading.is_number(),
        };
        let mut columns = Vec::new();
        if self.shape.key_size > 0 {
            columns.push(column(&self.key, "KEY"));
        }
        match self.shape.slots {
            Slots::Plain => columns.push(column(&self.value, "VALUE")),
            Slots::Only(cpu) => columns.push(column(&self.value, &format!("CPU {cpu}"))),
            Slots::All(cpus) => {
                let number = self.value.is_number();
                if self.narrow {
                    columns.push(Column::text("BY CPU"));
                } else {
                    let heads = (0..cpus).map(|cpu| format!("CPU {cpu}"));
                    columns.extend(heads.map(|head| Column { head, number }));
                }
                if self.value.is_numbers() {
                    // Beside the sum, the type of all of them.
                    let at = columns.len() - if self.narrow { 1 } else { 0 };
                    columns.insert(at, Column { head: self.value.head("SUM"), number });
                }
            }
        }
        columns
    }

    fn row(&self, key: &[u8], value: &[u8]) -> Vec<String> {
        let mut row = Vec::new();
        if self.shape.key_size > 0 {
            row.push(self.key.show(key));
        }
        if !matches!(self.shape.slots, Slots::All(_)) {
            row.push(self.value.show(value));
            return row;
        }
        let mut totals = Totals::default();
        let mut by_cpu = Vec::new();
        for (cpu, value) in self.shape.values(value) {
            totals.add(&self.value.numbers(value));
            let shown = self.value.show(value);
            if !self.narrow {
                row.push(shown);
            } else if value.iter().any(|byte| *byte != 0) {
                by_cpu.push(format!("{cpu}: {shown}"));
            }
        }
        if self.value.is_numbers() {
            row.push(join(&totals.sum));
        }
        if self.narrow {
            row.push(by_cpu.join(", "));
        }
        row
    }
}

/// The terminal's width.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}
