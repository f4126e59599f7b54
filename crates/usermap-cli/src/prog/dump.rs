//! dump: the instructions of programs, with their functions and source lines.

use super::{chosen, open};
use crate::failure::{Result, clean};
use crate::output::Output;
use crate::session::Session;
use crate::words::Words;
use std::io;
use usermap_vm::disassemble::{Entry, entries};
use usermap_vm::{Code, helper_name};

/// `dump`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    session.run.check("dump")?;
    let object = open(words, "prog dump")?;
    let programs = chosen(&object, session.run.prog.as_deref())?;
    let maps: Vec<&str> = object.maps().iter().map(|map| map.name.as_str()).collect();
    let out = &mut session.out;
    if out.is_json() {
        out.json().array()?;
    }
    for (number, program) in programs.into_iter().enumerate() {
        let lines = entries(program, &maps, helper_name);
        match out.is_json() {
            true => json(out, program, lines)?,
            false => {
                if number > 0 {
                    out.text("\n")?;
                }
                plain(out, program, lines)?;
            }
        }
    }
    if out.is_json() {
        out.json().end()?;
    }
    Ok(())
}

fn plain<'c>(
    out: &mut Output,
    program: &Code,
    entries: impl Iterator<Item = Entry<'c>>,
) -> io::Result<()> {
    let section = clean(&program.section);
    out.text(&format!("program {}  section {section}\n", clean(&program.name)))?;
    for entry in entries {
        if let Some(function) = entry.function {
            out.text(&format!("{}:\n", clean(function)))?;
        }
        if let Some(line) = entry.line.filter(|line| !line.text.is_empty()) {
            let at = format!("; {} @ {}:{}", line.text, line.file, line.line);
            out.text(&format!("{}\n", clean(&at)))?;
        }
        out.text(&format!("{:4}: {}\n", entry.instruction, clean(&entry.text)))?;
    }
    Ok(())
}

fn json<'c>(
    out: &mut Output,
    program: &Code,
    entries: impl Iterator<Item = Entry<'c>>,
) -> io::Result<()> {
    let json = out.json();
    json.object()?;
    json.name("program")?;
    json.string(&program.name)?;
    json.name("section")?;
    json.string(&program.section)?;
    json.name("instructions")?;
    json.array()?;
    for entry in entries {
        json.object()?;
        json.name("instruction")?;
        json.number(entry.instruction)?;
        if let Some(function) = entry.function {
            json.name("function")?;
            json.string(function)?;
        }
        if let Some(line) = entry.line {
            json.name("src")?;
            json.string(&line.text)?;
            json.name("file")?;
            json.string(&line.file)?;
            json.name("line_num")?;
            json.number(line.line)?;
            json.name("line_col")?;
            json.number(line.column)?;
        }
        json.name("disasm")?;
        json.string(&entry.text)?;
        json.end()?;
    }
    json.end()?;
    json.end()
}
