//! check: what is damaged in a map, and making it usable again.

use super::element::required;
use super::operands::expect_end;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::table::{Column, Table};
use crate::session::Session;
use crate::words::Words;
use std::io;
use usermap::{Access, Check, Repaired};

/// The exit code of a map that is damaged.
const DAMAGED: u8 = 1;

/// `check`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    // In a batch, options are words.
    let repair = session.repair || words.take_last("--repair");
    let access = if repair { Access::ReadWrite } else { Access::ReadOnly };
    let target = required(session, words, access)?;
    expect_end(words)?;
    let map = &target.map;
    let failed = |error| Failure::operation("check failed", &error);
    let found = map.check().map_err(failed)?;
    let mut repaired = None;
    let mut left = found.damages;
    if repair {
        let failed = |error| Failure::operation("repair failed", &error);
        repaired = Some(map.repair().map_err(failed)?);
        left = map.check().map_err(failed)?.damages;
    }
    let out = &mut session.out;
    match out.is_json() {
        true => json(out, &found, repaired, left)?,
        false => text(out, &found, repaired, left)?,
    }
    if left > 0 { Err(Failure::Answered(DAMAGED)) } else { Ok(()) }
}

/// What was counted, by name.
fn counts(found: &Check) -> [(&'static str, u64); 13] {
    [
        ("entries", found.entries),
        ("counted", found.counted),
        ("chains", found.chains),
        ("chained", found.chained),
        ("longest_chain", found.longest_chain),
        ("free_nodes", found.free_nodes),
        ("leaked_nodes", found.leaked_nodes),
        ("writers", found.writers.into()),
        ("dead_writers", found.dead_writers.into()),
        ("dead_locks", found.dead_locks),
        ("leases", found.leases.into()),
        ("dead_leases", found.dead_leases.into()),
        ("unseen", found.unseen),
    ]
}

/// What a repair did, by name.
fn deeds(done: Repaired) -> [(&'static str, u64); 5] {
    [
        ("entries", done.entries),
        ("dropped", done.dropped),
        ("rejoined", done.rejoined),
        ("freed_nodes", done.freed_nodes),
        ("released", done.released),
    ]
}

fn json(out: &mut Output, found: &Check, repaired: Option<Repaired>, left: u64) -> io::Result<()> {
    let json = out.json();
    json.object()?;
    json.name("damages")?;
    json.number(found.damages)?;
    json.name("findings")?;
    json.array()?;
    for finding in &found.findings {
        json.object()?;
        json.name("part")?;
        json.string(finding.part)?;
        json.name("index")?;
        json.number(finding.index)?;
        json.name("value")?;
        json.string(&format!("{:#x}", finding.value))?;
        json.name("rule")?;
        json.string(finding.rule)?;
        json.end()?;
    }
    json.end()?;
    for (name, count) in counts(found) {
        json.name(name)?;
        json.number(count)?;
    }
    json.name("still")?;
    json.number(found.still)?;
    if let Some(done) = repaired {
        json.name("repaired")?;
        json.object()?;
        for (name, count) in deeds(done) {
            json.name(name)?;
            json.number(count)?;
        }
        json.name("damages_left")?;
        json.number(left)?;
        json.end()?;
    }
    json.end()
}

fn text(out: &mut Output, found: &Check, repaired: Option<Repaired>, left: u64) -> io::Result<()> {
    if out.is_table() {
        let mut table = Table::new(vec![
            Column::text("PART"),
            Column::number("INDEX"),
            Column::text("VALUE"),
            Column::text("RULE"),
        ]);
        for finding in &found.findings {
            let value = format!("{:#x}", finding.value);
            let row =
                vec![finding.part.into(), finding.index.to_string(), value, finding.rule.into()];
            table.row(out.writer(), row)?;
        }
        table.end(out.writer())?;
    } else {
        for finding in &found.findings {
            out.text(&format!("{finding}\n"))?;
        }
    }
    let more = found.damages - found.findings.len() as u64;
    if more > 0 {
        out.text(&format!("and {more} more\n"))?;
    }
    // What is 0 needs no words, but for the entries.
    let told = |(name, count): (&str, u64)| format!("{name} {count}");
    let counts = counts(found).into_iter().filter(|(name, count)| *name == "entries" || *count > 0);
    let counts: Vec<String> = counts.map(told).collect();
    let verdict = |damages: u64| match damages {
        0 => "clean".to_owned(),
        damages => format!("damaged in {damages} places"),
    };
    out.text(&format!("{}: {}\n", verdict(found.damages), counts.join("  ")))?;
    if let Some(done) = repaired {
        let deeds: Vec<String> = deeds(done).into_iter().map(told).collect();
        out.text(&format!("repaired, now {}: {}\n", verdict(left), deeds.join("  ")))?;
    }
    Ok(())
}
