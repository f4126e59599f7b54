//! Tables for people: columns as wide as what is in them, numbers at the right.

use std::io::{self, Write};

/// Rows that are looked at before the columns' widths are settled; a map can have millions.
const SAMPLE: usize = 1000;

/// Between two columns.
const GAP: &str = "  ";

/// A column's head, and whether it holds numbers.
#[derive(Clone, Debug)]
pub struct Column {
    /// The head.
    pub head: String,
    /// Numbers stand at the right.
    pub number: bool,
}

impl Column {
    /// A column of text.
    pub fn text(head: impl Into<String>) -> Column {
        Column { head: head.into(), number: false }
    }

    /// A column of numbers.
    pub fn number(head: impl Into<String>) -> Column {
        Column { head: head.into(), number: true }
    }
}

/// A table that is being written.
pub struct Table {
    columns: Vec<Column>,
    waiting: Vec<Vec<String>>,
    /// Settled once the first rows are out.
    widths: Option<Vec<usize>>,
}

impl Table {
    /// With these columns.
    pub fn new(columns: Vec<Column>) -> Table {
        Table { columns, waiting: Vec::new(), widths: None }
    }

    /// Adds a row: a text for each column.
    pub fn row(&mut self, out: &mut impl Write, row: Vec<String>) -> io::Result<()> {
        match &self.widths {
            Some(widths) => write_row(out, &self.columns, widths, &row),
            None => {
                self.waiting.push(row);
                if self.waiting.len() >= SAMPLE { self.settle(out) } else { Ok(()) }
            }
        }
    }

    /// Writes what still waits; an empty table is nothing at all.
    pub fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.widths.is_none() && !self.waiting.is_empty() { self.settle(out) } else { Ok(()) }
    }

    fn settle(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| column.head.chars().count()).collect();
        for row in &self.waiting {
            for (width, text) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let heads: Vec<String> = self.columns.iter().map(|column| column.head.clone()).collect();
        write_row(out, &self.columns, &widths, &heads)?;
        for row in self.waiting.drain(..) {
            write_row(out, &self.columns, &widths, &row)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

fn write_row(
    out: &mut impl Write,
    columns: &[Column],
    widths: &[usize],
    row: &[String],
) -> io::Result<()> {
    let mut line = String::new();
    for (at, (column, text)) in columns.iter().zip(row).enumerate() {
        let width = widths[at];
        let gap = if at == 0 { "" } else { GAP };
        if column.number {
            line.push_str(&format!("{gap}{text:>width$}"));
        } else {
            line.push_str(&format!("{gap}{text:<width$}"));
        }
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_rows() {
        let mut out = Vec::new();
        let mut table = Table::new(vec![Column::text("KEY"), Column::number("VALUE")]);
        for (key, value) in [("a", "5"), ("longer", "1234567")] {
            table.row(&mut out, vec![key.to_owned(), value.to_owned()]).unwrap();
        }
        table.end(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "KEY       VALUE\na             5\nlonger  1234567\n");
    }

    #[test]
    fn many_rows_stream() {
        let mut out = Vec::new();
        let mut table = Table::new(vec![Column::number("N")]);
        for n in 0..3 * SAMPLE {
            table.row(&mut out, vec![n.to_string()]).unwrap();
            assert!(table.waiting.len() < SAMPLE);
        }
        table.end(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3 * SAMPLE + 1);
    }
}
