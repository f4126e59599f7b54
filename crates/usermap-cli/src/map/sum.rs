//! sum: sum, least and greatest value over the CPU slots of each entry, and over all entries.

use super::element::{required, shown};
use super::operands::{Takes, parse};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::entries::Shape;
use crate::output::plain;
use crate::output::reading::{Reading, Totals, join};
use crate::output::table::{Column, Table};
use crate::progress;
use crate::session::Session;
use crate::words::Words;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use usermap::Access;

/// `sum`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadOnly)?;
    let takes = Takes { key: true, key_optional: true, ..Takes::default() };
    let operands = parse(words, &target, takes)?;
    let map = &target.map;
    let shape = Shape::of(map);
    let mut sums = Sums::new(session, shape).map_err(|error| error.of_map(&target.label()))?;
    let out = &mut session.out;
    if operands.has_key {
        let mut value = vec![0; map.value_bytes()];
        map.lookup(&operands.key, &mut value, 0)
            .map_err(|error| Failure::on("lookup failed", &error, &shown("key", &operands.key)))?;
        sums.entry(out, &operands.key, &value)?;
        return Ok(sums.end_single(out)?);
    }
    if out.is_json() {
        out.json().object()?;
        out.json().name("elements")?;
        out.json().array()?;
    }
    let seen = AtomicU64::new(0);
    let mut written: io::Result<()> = Ok(());
    let quiet = out.terminal;
    let result = progress::during(
        "summing",
        map.len(),
        quiet,
        || seen.load(Relaxed),
        || {
            map.for_each(|key, value| {
                seen.fetch_add(1, Relaxed);
                written = sums.entry(out, key, value);
                written.is_ok()
            })
        },
    );
    written?;
    result.map_err(|error| Failure::operation("sum failed", &error))?;
    Ok(sums.end(out)?)
}

struct Sums {
    shape: Shape,
    key: Reading,
    value: Reading,
    table: Option<Table>,
    all: Totals,
    count: u64,
}

impl Sums {
    fn new(session: &Session, shape: Shape) -> Result<Sums> {
        let key = Reading::new(session.key_types.as_deref(), shape.key_size, "key")?;
        let value = Reading::counters(session.value_types.as_deref(), shape.value_size)?;
        let number = !value.is_several();
        let table = session.out.is_table().then(|| {
            let column = |head: String| Column { head, number };
            Table::new(vec![
                Column { head: key.head("KEY"), number: key.is_number() },
                column(value.head("SUM")),
                column("MIN".to_owned()),
                column("MAX".to_owned()),
            ])
        });
        Ok(Sums { shape, key, value, table, all: Totals::default(), count: 0 })
    }

    fn entry(&mut self, out: &mut Output, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.count += 1;
        let by_slot = self.shape.numbers(&self.value, value);
        let mut totals = Totals::default();
        for (_, numbers) in &by_slot {
            totals.add(numbers);
        }
        self.all.add(&totals.sum);
        if let Some(table) = &mut self.table {
            let row =
                vec![self.key.show(key), join(&totals.sum), join(&totals.min), join(&totals.max)];
            return table.row(out.writer(), row);
        }
        if !out.is_json() {
            return out.text(&format!(
                "key: {}  sum: {}  min: {}  max: {}\n",
                plain::hex(key).replace('\n', "  "),
                join(&totals.sum),
                join(&totals.min),
                join(&totals.max)
            ));
        }
        let json = out.json();
        json.object()?;
        json.name("key")?;
        json.bytes(key)?;
        json_numbers(out, "sum", &totals.sum)?;
        json_numbers(out, "min", &totals.min)?;
        json_numbers(out, "max", &totals.max)?;
        out.json().name("values")?;
        out.json().array()?;
        for (cpu, numbers) in by_slot {
            out.json().object()?;
            out.json().name("cpu")?;
            out.json().number(cpu)?;
            json_numbers(out, "value", &numbers)?;
            out.json().end()?;
        }
        out.json().end()?;
        out.json().end()
    }

    fn end_single(&mut self, out: &mut Output) -> io::Result<()> {
        match &mut self.table {
            Some(table) => table.end(out.writer()),
            None => Ok(()),
        }
    }

    fn end(&mut self, out: &mut Output) -> io::Result<()> {
        let sum = if self.count == 0 { vec![0] } else { self.all.sum.clone() };
        if out.is_json() {
            out.json().end()?;
            json_numbers(out, "sum", &sum)?;
            return out.json().end();
        }
        self.end_single(out)?;
        out.text(&format!("Found {}, sum {}\n", plain::elements(self.count), join(&sum)))
    }
}

/// A number, or an array of them if values have several.
fn json_numbers(out: &mut Output, name: &str, numbers: &[i128]) -> io::Result<()> {
    let json = out.json();
    json.name(name)?;
    if let [number] = numbers {
        return json.number(number);
    }
    json.array()?;
    for number in numbers {
        json.number(number)?;
    }
    json.end()
}
