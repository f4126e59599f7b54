//! Where output goes, and in which of the three forms: plain text, tables, JSON.

pub mod cells;
pub mod entries;
pub mod json;
pub mod people;
pub mod plain;
pub mod reading;
pub mod table;
pub mod typed;

use json::Json;
use std::io::{self, BufWriter, StdoutLock, Write};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// bpftool's plain text.
    Plain,
    /// Tables for people.
    Table,
    /// bpftool's JSON.
    Json {
        /// With line ends and indentation.
        pretty: bool,
    },
}

/// The standard output, buffered, which the JSON writer writes through.
pub struct Output {
    json: Json<BufWriter<StdoutLock<'static>>>,
    mode: Mode,
    /// Whether it is a terminal.
    pub terminal: bool,
    abandoned: bool,
}

impl Output {
    /// For this run.
    pub fn new(mode: Mode, terminal: bool) -> Output {
        let writer = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        // Plain text is JSON, too, where bpftool's is: entries that have types.
        let pretty = mode != Mode::Json { pretty: false };
        Output { json: Json::new(writer, pretty), mode, terminal, abandoned: false }
    }

    /// The form.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it is JSON.
    pub fn is_json(&self) -> bool {
        matches!(self.mode, Mode::Json { .. })
    }

    /// Whether it is tables.
    pub fn is_table(&self) -> bool {
        self.mode == Mode::Table
    }

    /// The JSON writer.
    pub fn json(&mut self) -> &mut Json<BufWriter<StdoutLock<'static>>> {
        &mut self.json
    }

    /// Writes text; JSON has its own ways.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.writer().write_all(text.as_bytes())
    }

    /// Where text goes.
    pub fn writer(&mut self) -> &mut impl Write {
        self.json.writer()
    }

    /// What a command that has nothing to say says: JSON's null.
    pub fn done(&mut self) -> io::Result<()> {
        if self.is_json() { self.json.null() } else { Ok(()) }
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.json.writer().flush()
    }

    /// Ends the output.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.is_json() {
            self.json.finish()?;
        }
        self.flush()
    }

    /// Output failed: nothing more is tried.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.abandoned {
            // BufWriter would write its rest when dropped, into what refused it before.
            self.json.forget();
        }
    }
}
