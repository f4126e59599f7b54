//! show and list: what a map is, or which maps there are.

use super::operands::{AFTER_MAP, expect_end};
use crate::failure::{Result, clean};
use crate::output::Output;
use crate::output::table::{Column, Table};
use crate::output::typed::Typed;
use crate::session::Session;
use crate::target::{Listing, Target, folder, list, open_all};
use crate::words::Words;
use indicatif::HumanBytes;
use std::fmt::Write;
use std::io;
use std::path::Path;
use usermap::Access;

/// `show` and `list`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    let listing = match words.peek() {
        None => Some(folder()?),
        Some(word) if words.len() == 1 && is_folder(word) => {
            words.take();
            Some(list(Path::new(word))?)
        }
        Some(_) => None,
    };
    let (targets, single) = match listing {
        Some(Listing { maps, troubles }) => {
            for trouble in troubles {
                session.complain(&format!("Warning: {trouble}\n"))?;
            }
            (maps, false)
        }
        None => {
            let found = open_all(words, Access::ReadOnly, AFTER_MAP)?;
            let single = found.len() == 1;
            (found, single)
        }
    };
    expect_end(words)?;
    let out = &mut session.out;
    if out.is_json() {
        return Ok(json(out, &targets, single)?);
    }
    if out.is_table() {
        return Ok(table(out, &targets)?);
    }
    for target in &targets {
        out.text(&plain(target))?;
    }
    Ok(())
}

fn is_folder(word: &std::ffi::OsStr) -> bool {
    word.as_encoded_bytes().contains(&b'/') && Path::new(word).is_dir()
}

/// bpftool's lines, with usermap's own facts below them.
fn plain(target: &Target) -> String {
    let info = target.map.info();
    let spec = &info.spec;
    let mut text = format!("{}: {}  ", info.id, spec.map_type);
    // Writing to a String cannot fail.
    if !spec.name.as_str().is_empty() {
        let _ = write!(text, "name {}  ", clean(spec.name.as_str()));
    }
    let _ = write!(
        text,
        "flags {:#x}\n\tkey {}B  value {}B  max_entries {}  memlock {}B",
        spec.flags,
        spec.key_size,
        spec.value_size,
        spec.max_entries,
        target.map.bytes_used()
    );
    let _ = write!(text, "\n\tpinned {}", clean(&target.path.display().to_string()));
    let _ = write!(text, "\n\tentries {}", info.entries);
    if spec.map_type.is_per_cpu() {
        let _ = write!(text, "  cpus {}", info.cpus);
    }
    if let Some((key, value)) = types(target) {
        let key = key.map_or_else(String::new, |key| format!("{key}, "));
        let _ = write!(text, "\n\ttypes {}", clean(&format!("{key}{value}")));
    }
    if spec.huge_pages {
        let pages = target.map.huge_pages();
        let _ = write!(text, "\n\tin pages of 2M {}B", pages.bytes);
        if let Some(why) = pages.why_not() {
            let _ = write!(text, "  of {}B: {why}", pages.possible);
        }
    }
    if info.frozen {
        text.push_str("\n\tfrozen");
    }
    text.push('\n');
    text
}

/// The types of key and value as C has them, where the map carries some that fit it. Nothing is
/// said of others: what shows entries does.
fn types(target: &Target) -> Option<(Option<String>, String)> {
    let types = target.map.types().ok()??;
    let typed = Typed::read(&target.map, &types).ok()?;
    let describe = |id| typed.btf.describe(id);
    Some((typed.key.map(describe), describe(typed.value)))
}

fn json(out: &mut Output, targets: &[Target], single: bool) -> io::Result<()> {
    let json = out.json();
    if !single {
        json.array()?;
    }
    for target in targets {
        let info = target.map.info();
        let spec = &info.spec;
        json.object()?;
        json.name("id")?;
        json.number(info.id)?;
        json.name("type")?;
        json.string(spec.map_type.name())?;
        if !spec.name.as_str().is_empty() {
            json.name("name")?;
            json.string(spec.name.as_str())?;
        }
        for (name, number) in [
            ("flags", u64::from(spec.flags)),
            ("bytes_key", spec.key_size.into()),
            ("bytes_value", spec.value_size.into()),
            ("max_entries", spec.max_entries.into()),
            ("bytes_memlock", target.map.bytes_used()),
            ("frozen", info.frozen.into()),
        ] {
            json.name(name)?;
            json.number(number)?;
        }
        json.name("pinned")?;
        json.array()?;
        json.string(&target.path.to_string_lossy())?;
        json.end()?;
        json.name("entries")?;
        json.number(info.entries)?;
        json.name("bytes")?;
        json.number(info.bytes)?;
        if spec.map_type.is_per_cpu() {
            json.name("cpus")?;
            json.number(info.cpus)?;
        }
        if spec.huge_pages {
            let pages = target.map.huge_pages();
            json.name("bytes_huge")?;
            json.number(pages.bytes)?;
            if let Some(why) = pages.why_not() {
                json.name("not_more_huge")?;
                json.string(&why)?;
            }
        }
        if let Some((key, value)) = types(target) {
            json.name("types")?;
            json.object()?;
            json.name("key")?;
            match key {
                Some(key) => json.string(&key)?,
                None => json.null()?,
            }
            json.name("value")?;
            json.string(&value)?;
            json.end()?;
        }
        json.end()?;
    }
    if single { Ok(()) } else { json.end() }
}

fn table(out: &mut Output, targets: &[Target]) -> io::Result<()> {
    let mut table = Table::new(vec![
        Column::number("ID"),
        Column::text("TYPE"),
        Column::text("NAME"),
        Column::number("KEY"),
        Column::number("VALUE"),
        Column::number("ENTRIES"),
        Column::number("MAX"),
        Column::number("CPUS"),
        Column::number("MEMORY"),
        Column::text("FLAGS"),
        Column::text("FILE"),
    ]);
    for target in targets {
        let info = target.map.info();
        let spec = &info.spec;
        let frozen = if info.frozen { " frozen" } else { "" };
        let cpus = if spec.map_type.is_per_cpu() { info.cpus.to_string() } else { String::new() };
        let row = vec![
            info.id.to_string(),
            spec.map_type.to_string(),
            clean(spec.name.as_str()),
            spec.key_size.to_string(),
            spec.value_size.to_string(),
            info.entries.to_string(),
            spec.max_entries.to_string(),
            cpus,
            HumanBytes(target.map.bytes_used()).to_string(),
            format!("{:#x}{frozen}", spec.flags),
            clean(&target.path.display().to_string()),
        ];
        table.row(out.writer(), row)?;
    }
    table.end(out.writer())?;
    if targets.is_empty() { out.text("No maps\n") } else { Ok(()) }
}
