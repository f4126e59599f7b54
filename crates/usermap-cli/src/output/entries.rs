//! Entries of a map in each of the three forms: key and value, or key and a value for each slot;
//! by the map's types where it has some.

use super::cells::Cells;
use super::json::Json;
use super::reading::{Reading, Totals, join};
use super::table::{Column, Table};
use super::typed::Typed;
use super::{Mode, Output, plain};
use crate::failure::Result;
use crate::session::Session;
use std::io::{self, Write};
use std::rc::Rc;
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
    typed: Option<Rc<Typed>>,
    key: Cells,
    value: Cells,
    table: Option<Table>,
    /// Whether a list of entries was started.
    list: bool,
    /// Per-CPU values as sum and the slots that are not 0, where columns would be too many.
    narrow: bool,
    /// Entries written.
    pub count: u64,
}

impl Entries {
    /// For a map of this shape, with these types.
    pub fn new(session: &Session, shape: Shape, typed: Option<Rc<Typed>>) -> Result<Entries> {
        let (key, value) = (session.key_types.as_deref(), session.value_types.as_deref());
        let with = |id: Option<u32>| typed.clone().zip(id);
        let key_type = with(typed.as_ref().and_then(|typed| typed.key));
        let value_type = with(typed.as_ref().map(|typed| typed.value));
        let key = Cells::new(key, shape.key_size, "key", key_type)?;
        let value = Cells::new(value, shape.value_size, "value", value_type)?;
        let narrow = match shape.slots {
            Slots::All(cpus) => session.out.terminal && cpus as usize * 12 + 24 > width(),
            _ => false,
        };
        let (table, list) = (None, false);
        let mut entries = Entries { shape, typed, key, value, table, list, narrow, count: 0 };
        if session.out.mode() == Mode::Table {
            entries.table = Some(Table::new(entries.columns()));
        }
        Ok(entries)
    }

    /// Starts a list; a single entry has no start.
    pub fn start(&mut self, out: &mut Output) -> io::Result<()> {
        self.list = true;
        if out.is_json() || self.is_plain_json() { out.json().array() } else { Ok(()) }
    }

    /// Whether it is plain text, which is JSON for what has types.
    fn is_plain_json(&self) -> bool {
        self.typed.is_some() && self.table.is_none()
    }

    /// Writes an entry; `value` is what lookup gave.
    pub fn entry(&mut self, out: &mut Output, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.count += 1;
        if out.is_json() {
            return self.json(out.json(), key, value);
        }
        if let Some(mut table) = self.table.take() {
            let mut rows = self.rows(key, value).into_iter();
            let written = rows.try_for_each(|row| table.row(out.writer(), row));
            self.table = Some(table);
            return written;
        }
        if let Some(typed) = &self.typed {
            let slots = self.shape.slots != Slots::Plain;
            typed.entry(out.json(), key, self.shape.values(value), slots, true)?;
            return if self.list { Ok(()) } else { out.json().finish() };
        }
        match self.shape.slots {
            Slots::Plain => plain::entry(out.writer(), key, value),
            _ => plain::per_cpu_entry(out.writer(), key, self.shape.values(value)),
        }
    }

    /// Ends a list, and says how many there were after this word.
    pub fn end(&mut self, out: &mut Output, word: &str) -> io::Result<()> {
        self.finish(out)?;
        if out.is_json() || self.is_plain_json() {
            return Ok(());
        }
        out.text(&format!("{word} {}\n", plain::elements(self.count)))
    }

    /// Ends a list whose count is said elsewhere.
    pub fn finish(&mut self, out: &mut Output) -> io::Result<()> {
        if out.is_json() {
            return out.json().end();
        }
        if self.is_plain_json() {
            out.json().end()?;
            return out.json().finish();
        }
        self.end_single(out)
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
            return self.json_end(json, key, value);
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
        self.json_end(json, key, value)
    }

    /// What has types is added by them, as bpftool does.
    fn json_end<W: Write>(&self, json: &mut Json<W>, key: &[u8], value: &[u8]) -> io::Result<()> {
        if let Some(typed) = &self.typed {
            json.name("formatted")?;
            let slots = self.shape.slots != Slots::Plain;
            typed.entry(json, key, self.shape.values(value), slots, false)?;
        }
        json.end()
    }

    /// Whether each slot has a row of its own: its value fills several columns.
    fn slot_by_slot(&self) -> bool {
        self.value.is_several() && self.shape.slots != Slots::Plain
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        if self.shape.key_size > 0 {
            columns.extend(self.key.columns("KEY"));
        }
        if self.slot_by_slot() {
            columns.push(Column::number("CPU"));
            columns.extend(self.value.columns("VALUE"));
            return columns;
        }
        match self.shape.slots {
            Slots::Plain => columns.extend(self.value.columns("VALUE")),
            Slots::Only(cpu) => columns.extend(self.value.columns(&format!("CPU {cpu}"))),
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

    fn rows(&self, key: &[u8], value: &[u8]) -> Vec<Vec<String>> {
        let key = if self.shape.key_size > 0 { self.key.show(key) } else { Vec::new() };
        match self.slot_by_slot() {
            true => self.slot_rows(key, value),
            false => vec![self.row(key, value)],
        }
    }

    /// A row for each slot, and one for the sums of those that are numbers. Of many slots, those
    /// that are not 0.
    fn slot_rows(&self, key: Vec<String>, value: &[u8]) -> Vec<Vec<String>> {
        let mut sums = Vec::new();
        let mut rows = Vec::new();
        let all = matches!(self.shape.slots, Slots::All(_));
        for (cpu, value) in self.shape.values(value) {
            self.value.add(value, &mut sums);
            if all && self.narrow && value.iter().all(|byte| *byte == 0) {
                continue;
            }
            let cpu = std::iter::once(cpu.to_string());
            rows.push(key.iter().cloned().chain(cpu).chain(self.value.show(value)).collect());
        }
        if all && sums.iter().any(Option::is_some) {
            let shown = sums.iter().map(|sum| sum.map_or_else(String::new, |sum| sum.to_string()));
            rows.push(key.into_iter().chain(["sum".to_owned()]).chain(shown).collect());
        }
        rows
    }

    fn row(&self, mut row: Vec<String>, value: &[u8]) -> Vec<String> {
        if !matches!(self.shape.slots, Slots::All(_)) {
            row.extend(self.value.show(value));
            return row;
        }
        let mut totals = Totals::default();
        let mut by_cpu = Vec::new();
        for (cpu, value) in self.shape.values(value) {
            totals.add(&self.value.numbers(value));
            let shown = self.value.show(value).join(" ");
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
