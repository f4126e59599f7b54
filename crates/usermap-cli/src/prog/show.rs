//! show: what is in an object, and whether all of it can be run.

use super::{chosen, kinds, open};
use crate::failure::{Result, clean};
use crate::output::Output;
use crate::output::table::{Column, Table};
use crate::session::Session;
use crate::words::Words;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use usermap_vm::instruction::{opcode, pseudo};
use usermap_vm::{Code, MapDefinition, Object, Options, helper_name};

/// A program, and what it needs.
struct Shown<'o> {
    code: &'o Code,
    /// By number.
    helpers: BTreeMap<u32, String>,
    maps: Vec<&'o str>,
    /// Why it cannot be run.
    obstacle: Option<String>,
}

/// `show` and `list`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    session.run.check("show")?;
    let object = open(words, "prog show")?;
    let programs: Vec<Shown<'_>> = chosen(&object, session.run.prog.as_deref())?
        .into_iter()
        .map(|code| Shown::of(&object, code))
        .collect();
    let out = &mut session.out;
    let shown = if out.is_json() {
        json(out, &object, &programs)
    } else if out.is_table() {
        table(out, &object, &programs)
    } else {
        plain(out, &object, &programs)
    };
    Ok(shown?)
}

impl<'o> Shown<'o> {
    fn of(object: &'o Object, code: &'o Code) -> Shown<'o> {
        let mut helpers = BTreeMap::new();
        let mut maps = BTreeSet::new();
        for instruction in &code.instructions {
            if instruction.is_helper_call() {
                let id = instruction.imm as u32;
                let name = helper_name(id).map_or_else(|| "unknown".to_owned(), str::to_owned);
                helpers.insert(id, name);
            }
            if instruction.opcode == opcode::LDDW && loads_map(instruction.src) {
                maps.insert(instruction.imm as usize);
            }
        }
        let map = |number: usize| object.maps().get(number).map(|map| map.name.as_str());
        let maps = maps.into_iter().filter_map(map).collect();
        // All that loading checks, on maps in memory of its own.
        let loaded = object.load(&Options::new().interpret(true).only([&code.name]));
        let obstacle = loaded.err().map(|error| error.to_string());
        Shown { code, helpers, maps, obstacle }
    }

    fn helper_names(&self) -> Vec<&str> {
        self.helpers.values().map(String::as_str).collect()
    }
}

fn loads_map(source: u8) -> bool {
    source == pseudo::MAP || source == pseudo::MAP_VALUE
}

/// A type as C spells it.
fn describe(object: &Object, id: Option<u32>) -> Option<String> {
    Some(object.btf()?.describe(id?))
}

/// What a variable has, by its type.
fn value(object: &Object, global: &usermap_vm::Global) -> Option<String> {
    let data = object.maps().get(global.map)?.initial.as_ref()?;
    let bytes = data.get(global.offset as usize..)?.get(..global.size as usize)?;
    Some(object.btf()?.format(global.type_id?, bytes).to_string())
}

/// The maps that are not sections' data.
fn own_maps(object: &Object) -> impl Iterator<Item = &MapDefinition> {
    object.maps().iter().filter(|map| !map.is_data())
}

fn plain(out: &mut Output, object: &Object, programs: &[Shown<'_>]) -> io::Result<()> {
    for program in programs {
        let code = program.code;
        out.text(&clean(&format!(
            "program {}  type {}  section {}  instructions {}  functions {}\n",
            code.name,
            code.program_type,
            code.section,
            code.instructions.len(),
            code.functions.len()
        )))?;
        for (what, names) in [("helpers", program.helper_names()), ("maps", program.maps.clone())] {
            if !names.is_empty() {
                out.text(&clean(&format!("\t{what} {}\n", names.join(", "))).replace("\\t", "\t"))?;
            }
        }
        if let Some(obstacle) = &program.obstacle {
            out.text("\tcannot be run: ")?;
            out.text(&clean(&format!("{obstacle}\n")))?;
        }
    }
    for map in own_maps(object) {
        let of = |id, size: u32| match describe(object, id) {
            Some(name) => format!("{size}B ({name})"),
            None => format!("{size}B"),
        };
        out.text(&clean(&format!(
            "map {}  type {}  key {}  value {}  max_entries {}  flags {:#x}\n",
            map.name,
            kinds::name(map.map_type),
            of(map.key_type, map.key_size),
            of(map.value_type, map.value_size),
            map.max_entries,
            map.map_flags
        )))?;
    }
    for global in object.globals() {
        let kind = describe(object, global.type_id).unwrap_or_default();
        let value = value(object, global).unwrap_or_default();
        let (section, name) = (&global.section, &global.name);
        out.text(&clean(&format!(
            "global {name}  type {kind}  section {section}  value {value}\n"
        )))?;
    }
    for external in object.externs() {
        let kind = describe(object, Some(external.type_id)).unwrap_or_default();
        let weak = if external.weak { "  weak" } else { "" };
        out.text(&clean(&format!("extern {}  type {kind}{weak}\n", external.name)))?;
    }
    Ok(())
}

fn table(out: &mut Output, object: &Object, programs: &[Shown<'_>]) -> io::Result<()> {
    let mut table = Table::new(vec![
        Column::text("PROGRAM"),
        Column::text("TYPE"),
        Column::text("SECTION"),
        Column::number("INSTRUCTIONS"),
        Column::text("RUNS"),
        Column::text("HELPERS"),
    ]);
    for program in programs {
        let code = program.code;
        let row = [
            code.name.clone(),
            code.program_type.to_string(),
            code.section.clone(),
            code.instructions.len().to_string(),
            if program.obstacle.is_some() { "no" } else { "yes" }.to_owned(),
            program.helper_names().join(", "),
        ];
        table.row(out.writer(), row.map(|text| clean(&text)).to_vec())?;
    }
    table.end(out.writer())?;
    for program in programs {
        if let Some(obstacle) = &program.obstacle {
            out.text(&clean(&format!("{}: {obstacle}\n", program.code.name)))?;
        }
    }
    maps_table(out, object)?;
    variables_table(out, object)
}

fn maps_table(out: &mut Output, object: &Object) -> io::Result<()> {
    let mut table = Table::new(vec![
        Column::text("MAP"),
        Column::text("TYPE"),
        Column::text("KEY"),
        Column::text("VALUE"),
        Column::number("MAX"),
        Column::text("FLAGS"),
    ]);
    if own_maps(object).next().is_some() {
        out.text("\n")?;
    }
    for map in own_maps(object) {
        let of = |id, size: u32| match (describe(object, id), size) {
            (Some(name), _) => name,
            (None, 0) => String::new(),
            (None, size) => format!("{size} bytes"),
        };
        let row = [
            map.name.clone(),
            kinds::name(map.map_type),
            of(map.key_type, map.key_size),
            of(map.value_type, map.value_size),
            map.max_entries.to_string(),
            format!("{:#x}", map.map_flags),
        ];
        table.row(out.writer(), row.map(|text| clean(&text)).to_vec())?;
    }
    table.end(out.writer())
}

fn variables_table(out: &mut Output, object: &Object) -> io::Result<()> {
    let heads = ["GLOBAL", "TYPE", "SECTION", "VALUE"];
    let mut table = Table::new(heads.map(Column::text).to_vec());
    if !object.globals().is_empty() || !object.externs().is_empty() {
        out.text("\n")?;
    }
    for global in object.globals() {
        let row = [
            global.name.clone(),
            describe(object, global.type_id).unwrap_or_default(),
            global.section.clone(),
            value(object, global).unwrap_or_default(),
        ];
        table.row(out.writer(), row.map(|text| clean(&text)).to_vec())?;
    }
    for external in object.externs() {
        let kind = describe(object, Some(external.type_id)).unwrap_or_default();
        let needed = if external.weak { "" } else { "to be set" };
        let row = [external.name.as_str(), &kind, ".kconfig", needed];
        table.row(out.writer(), row.map(clean).to_vec())?;
    }
    table.end(out.writer())
}

fn json(out: &mut Output, object: &Object, programs: &[Shown<'_>]) -> io::Result<()> {
    out.json().object()?;
    for (name, text) in [("object", object.name()), ("license", object.license())] {
        out.json().name(name)?;
        out.json().string(text)?;
    }
    let supported = programs.iter().all(|program| program.obstacle.is_none());
    out.json().name("supported")?;
    out.json().number(supported)?;
    out.json().name("programs")?;
    out.json().array()?;
    programs.iter().try_for_each(|program| program_json(out, program))?;
    out.json().end()?;
    out.json().name("maps")?;
    out.json().array()?;
    own_maps(object).try_for_each(|map| map_json(out, object, map))?;
    out.json().end()?;
    out.json().name("globals")?;
    out.json().array()?;
    for global in object.globals() {
        let json = out.json();
        json.object()?;
        json.name("name")?;
        json.string(&global.name)?;
        json.name("section")?;
        json.string(&global.section)?;
        json.name("bytes")?;
        json.number(global.size)?;
        optional(out, "type", describe(object, global.type_id))?;
        optional(out, "value", value(object, global))?;
        out.json().end()?;
    }
    out.json().end()?;
    out.json().name("externs")?;
    out.json().array()?;
    for external in object.externs() {
        let json = out.json();
        json.object()?;
        json.name("name")?;
        json.string(&external.name)?;
        json.name("weak")?;
        json.number(external.weak)?;
        optional(out, "type", describe(object, Some(external.type_id)))?;
        out.json().end()?;
    }
    out.json().end()?;
    out.json().end()
}

fn optional(out: &mut Output, name: &str, text: Option<String>) -> io::Result<()> {
    let Some(text) = text else { return Ok(()) };
    out.json().name(name)?;
    out.json().string(&text)
}

fn program_json(out: &mut Output, program: &Shown<'_>) -> io::Result<()> {
    let (json, code) = (out.json(), program.code);
    json.object()?;
    for (name, text) in [
        ("name", code.name.as_str()),
        ("type", code.program_type.name()),
        ("section", code.section.as_str()),
    ] {
        json.name(name)?;
        json.string(text)?;
    }
    json.name("instructions")?;
    json.number(code.instructions.len())?;
    json.name("functions")?;
    json.array()?;
    code.functions.iter().try_for_each(|function| json.string(&function.name))?;
    json.end()?;
    json.name("helpers")?;
    json.array()?;
    for (id, name) in &program.helpers {
        json.object()?;
        json.name("id")?;
        json.number(id)?;
        json.name("name")?;
        json.string(name)?;
        json.end()?;
    }
    json.end()?;
    json.name("maps")?;
    json.array()?;
    program.maps.iter().try_for_each(|map| json.string(map))?;
    json.end()?;
    json.name("supported")?;
    json.number(program.obstacle.is_none())?;
    optional(out, "obstacle", program.obstacle.clone())?;
    out.json().end()
}

fn map_json(out: &mut Output, object: &Object, map: &MapDefinition) -> io::Result<()> {
    let json = out.json();
    json.object()?;
    json.name("name")?;
    json.string(&map.name)?;
    json.name("type")?;
    json.string(&kinds::name(map.map_type))?;
    for (name, number) in [
        ("bytes_key", map.key_size),
        ("bytes_value", map.value_size),
        ("max_entries", map.max_entries),
        ("flags", map.map_flags),
    ] {
        json.name(name)?;
        json.number(number)?;
    }
    optional(out, "key_type", describe(object, map.key_type))?;
    optional(out, "value_type", describe(object, map.value_type))?;
    out.json().end()
}
