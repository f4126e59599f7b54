//! count and clear: all entries at once.

use super::element::{no_slots, required};
use super::operands::{Takes, expect_end, parse};
use crate::failure::{Failure, Result};
use crate::output::plain;
use crate::output::table::{Column, Table};
use crate::progress;
use crate::session::Session;
use crate::words::Words;
use usermap::Access;

/// `count`.
pub fn count(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadOnly)?;
    let operands = parse(words, &target, Takes { cpu: true, ..Takes::default() })?;
    let map = &target.map;
    let kind = map.spec().map_type;
    let rings = kind.is_ring() && kind.is_per_cpu();
    if operands.cpu.is_some() && !rings {
        return Err(no_slots(&target));
    }
    let length = |cpu| map.len_on(cpu).map_err(|error| Failure::operation("count failed", &error));
    let by_cpu: Vec<(u32, u64)> = match operands.cpu {
        Some(cpu) => vec![(cpu, length(cpu)?)],
        None if rings => {
            (0..map.cpus()).map(|cpu| Ok((cpu, length(cpu)?))).collect::<Result<_>>()?
        }
        None => Vec::new(),
    };
    // Of one reading, so that the sum is that of the parts.
    let entries = if rings { by_cpu.iter().map(|(_, entries)| entries).sum() } else { map.len() };
    let max_entries = map.spec().max_entries;
    let out = &mut session.out;
    if out.is_json() {
        let json = out.json();
        json.object()?;
        json.name("entries")?;
        json.number(entries)?;
        json.name("max_entries")?;
        json.number(max_entries)?;
        if rings {
            json.name("values")?;
            json.array()?;
            for (cpu, entries) in by_cpu {
                json.object()?;
                json.name("cpu")?;
                json.number(cpu)?;
                json.name("entries")?;
                json.number(entries)?;
                json.end()?;
            }
            json.end()?;
        }
        return Ok(json.end()?);
    }
    if !out.is_table() {
        return Ok(out.text(&format!("{entries}\n"))?);
    }
    if rings {
        let mut table = Table::new(vec![Column::text("CPU"), Column::number("ENTRIES")]);
        for (cpu, entries) in by_cpu {
            table.row(out.writer(), vec![cpu.to_string(), entries.to_string()])?;
        }
        table.end(out.writer())?;
        return Ok(out.text(&format!("{entries} in all, {max_entries} at most in each\n"))?);
    }
    Ok(out.text(&format!("{entries} of {max_entries}\n"))?)
}

/// `clear`.
pub fn clear(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadWrite)?;
    expect_end(words)?;
    let map = &target.map;
    let total = map.len();
    let done = || total.saturating_sub(map.len());
    let removed = progress::during("clearing", total, false, done, || map.clear())
        .map_err(|error| Failure::operation("clear failed", &error))?;
    removed_elements(session, "Cleared", "cleared", removed)
}

/// Says how many entries something was done to.
pub fn removed_elements(session: &mut Session, word: &str, name: &str, count: u64) -> Result {
    if session.out.is_json() {
        let json = session.out.json();
        json.object()?;
        json.name(name)?;
        json.number(count)?;
        return Ok(json.end()?);
    }
    Ok(session.out.text(&format!("{word} {}\n", plain::elements(count)))?)
}
