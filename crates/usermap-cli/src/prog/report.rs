//! What is printed of a run: verdicts, speed, events, and all maps of the object.

use super::options::RunOptions;
use super::{failed, kinds};
use crate::failure::{Failure, Result, clean};
use crate::output::Output;
use crate::output::entries::{Entries, Shape, Slots};
use crate::output::plain::elements;
use crate::output::table::{Column, Table};
use crate::output::typed::Typed;
use crate::session::Session;
use crate::target::Target;
use indicatif::HumanCount;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use usermap::Map;
use usermap::abi::{cpu_flags, errno};
use usermap_vm::{Error, Event, Loaded, MapDefinition, Outcome, Program, ProgramType};

/// Entries of a hash that are put in the order of their keys; more come as they are.
const SORTED: u64 = 1 << 16;
/// Events that are kept for the report.
const EVENTS: usize = 1 << 16;

/// What happened in a run.
pub struct Summary {
    program: String,
    program_type: ProgramType,
    interpreted: bool,
    repeat: u64,
    /// Where maps are pinned, by their numbers.
    pins: Vec<(usize, PathBuf)>,
    /// Time that the program took.
    pub elapsed: Duration,
    /// Packets that went on, if they were written.
    pub passed: u64,
    packets: u64,
    bytes: u64,
    instructions: u64,
    verdicts: BTreeMap<u32, u64>,
    redirects: BTreeMap<u32, u64>,
    refused: u64,
    /// The first packet that could not be run on, and why.
    reason: Option<String>,
    /// Of each map of events: those that were kept, if they are to be printed; and their number.
    events: BTreeMap<String, (Vec<Event>, u64)>,
    print_events: bool,
}

impl Summary {
    /// Before anything was run.
    pub fn new(loaded: &Loaded, program: &Program, options: &RunOptions) -> Summary {
        Summary {
            program: program.name().to_owned(),
            program_type: program.program_type(),
            interpreted: options.interpret,
            repeat: options.repeat.unwrap_or(1),
            pins: loaded.object().pins().to_vec(),
            elapsed: Duration::ZERO,
            passed: 0,
            packets: 0,
            bytes: 0,
            instructions: 0,
            verdicts: BTreeMap::new(),
            redirects: BTreeMap::new(),
            refused: 0,
            reason: None,
            events: BTreeMap::new(),
            print_events: options.events,
        }
    }

    /// Counts what a run on a packet of so many bytes gave.
    pub fn count(&mut self, outcome: &Outcome, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
        self.instructions = self.instructions.saturating_add(outcome.instructions);
        *self.verdicts.entry(outcome.value as u32).or_default() += 1;
        if let Some(redirect) = &outcome.redirect {
            *self.redirects.entry(redirect.ifindex).or_default() += 1;
        }
    }

    /// Counts a packet that could not be run on.
    pub fn refuse(&mut self, packet: u64, error: &Error) {
        self.refused += 1;
        self.reason.get_or_insert_with(|| format!("packet {packet}: {error}"));
    }

    /// Takes events out of the object's maps, before these are full.
    pub fn collect_events(&mut self, loaded: &Loaded) {
        for map in loaded.object().maps() {
            if map.map_type != kinds::PERF_EVENT_ARRAY {
                continue;
            }
            let Ok(events) = loaded.events(&map.name) else { continue };
            let drained = events.drain();
            let (kept, count) = self.events.entry(map.name.clone()).or_default();
            *count += drained.len() as u64;
            if self.print_events {
                let room = EVENTS.saturating_sub(kept.len());
                kept.extend(drained.into_iter().take(room));
            }
        }
    }

    fn nanoseconds(&self) -> u128 {
        self.elapsed.as_nanos()
    }

    fn per_packet(&self) -> f64 {
        self.nanoseconds() as f64 / self.packets.max(1) as f64
    }

    fn per_second(&self) -> f64 {
        match self.nanoseconds() {
            0 => 0.0,
            nanoseconds => self.packets as f64 * 1e9 / nanoseconds as f64,
        }
    }

    fn verdict(&self, value: u32) -> String {
        let name = self.program_type.verdict_name(value.into());
        name.map_or_else(|| value.to_string(), str::to_owned)
    }
}

/// Prints a run over a capture.
pub fn print(session: &mut Session, loaded: &Loaded, summary: &Summary) -> Result {
    if session.out.is_json() {
        json(&mut session.out, summary)?;
        maps(session, loaded, summary)?;
        return Ok(session.out.json().end()?);
    }
    plain(&mut session.out, summary)?;
    maps(session, loaded, summary)
}

fn plain(out: &mut Output, summary: &Summary) -> io::Result<()> {
    let count = |number: u64| HumanCount(number).to_string();
    let (packets, bytes) = (count(summary.packets), count(summary.bytes));
    let (name, kind) = (clean(&summary.program), summary.program_type);
    out.text(&format!("{name} ({kind}): {packets} packets, {bytes} bytes\n\n"))?;
    let mut table = Table::new(vec![Column::text("VERDICT"), Column::number("PACKETS")]);
    for (value, packets) in &summary.verdicts {
        table.row(out.writer(), vec![summary.verdict(*value), count(*packets)])?;
    }
    table.end(out.writer())?;
    for (ifindex, packets) in &summary.redirects {
        out.text(&format!("redirected to interface {ifindex}: {}\n", count(*packets)))?;
    }
    if let Some(reason) = &summary.reason {
        let refused = count(summary.refused);
        out.text(&format!("not run on {refused}; the first is {}\n", clean(reason)))?;
    }
    let engine = if summary.interpreted { ", interpreted" } else { "" };
    let (second, each) = (count(summary.per_second() as u64), summary.per_packet());
    out.text(&format!("\n{second} packets/s, {each:.0} ns per packet{engine}\n"))
}

fn json(out: &mut Output, summary: &Summary) -> io::Result<()> {
    let json = out.json();
    json.object()?;
    json.name("program")?;
    json.string(&summary.program)?;
    json.name("type")?;
    json.string(summary.program_type.name())?;
    json.name("engine")?;
    json.string(if summary.interpreted { "interpreter" } else { "jit" })?;
    for (name, number) in [
        ("repeat", summary.repeat),
        ("packets", summary.packets),
        ("bytes", summary.bytes),
        ("refused", summary.refused),
        ("instructions", summary.instructions),
    ] {
        json.name(name)?;
        json.number(number)?;
    }
    json.name("nanoseconds")?;
    json.number(summary.nanoseconds())?;
    json.name("ns_per_packet")?;
    json.number(format_args!("{:.1}", summary.per_packet()))?;
    json.name("packets_per_second")?;
    json.number(format_args!("{:.0}", summary.per_second()))?;
    json.name("verdicts")?;
    json.array()?;
    for (value, packets) in &summary.verdicts {
        json.object()?;
        json.name("value")?;
        json.number(value)?;
        if let Some(name) = summary.program_type.verdict_name(u64::from(*value)) {
            json.name("name")?;
            json.string(name)?;
        }
        json.name("packets")?;
        json.number(packets)?;
        json.end()?;
    }
    json.end()?;
    json.name("redirects")?;
    json.array()?;
    for (ifindex, packets) in &summary.redirects {
        json.object()?;
        json.name("ifindex")?;
        json.number(ifindex)?;
        json.name("packets")?;
        json.number(packets)?;
        json.end()?;
    }
    json.end()
}

/// Prints all maps of the object; in JSON, as the next member of an object.
pub fn maps(session: &mut Session, loaded: &Loaded, summary: &Summary) -> Result {
    if session.out.is_json() {
        session.out.json().name("maps")?;
        session.out.json().array()?;
    }
    for (number, definition) in loaded.object().maps().iter().enumerate() {
        let pin = summary.pins.iter().find(|(map, _)| *map == number).map(|(_, path)| path);
        match definition.map_type {
            kinds::PROG_ARRAY => programs(&mut session.out, definition)?,
            kinds::PERF_EVENT_ARRAY => events(&mut session.out, definition, summary)?,
            _ => {
                let map = loaded.map(&definition.name).map_err(|error| failed(&error))?;
                contents(session, loaded, number, definition, map, pin)?;
            }
        }
    }
    if session.out.is_json() {
        session.out.json().end()?;
    }
    Ok(())
}

/// The head of a map: in JSON its first members, and the object is left open.
fn head(out: &mut Output, definition: &MapDefinition, about: &str) -> io::Result<()> {
    let kind = kinds::name(definition.map_type);
    if out.is_json() {
        let json = out.json();
        json.object()?;
        json.name("name")?;
        json.string(&definition.name)?;
        json.name("type")?;
        return json.string(&kind);
    }
    out.text(&format!("\n{} ({kind}{about})\n", clean(&definition.name)))
}

fn programs(out: &mut Output, definition: &MapDefinition) -> io::Result<()> {
    head(out, definition, "")?;
    if !out.is_json() {
        return definition
            .programs
            .iter()
            .try_for_each(|(index, program)| out.text(&format!("{index}: {}\n", clean(program))));
    }
    let json = out.json();
    json.name("programs")?;
    json.array()?;
    for (index, program) in &definition.programs {
        json.object()?;
        json.name("index")?;
        json.number(index)?;
        json.name("program")?;
        json.string(program)?;
        json.end()?;
    }
    json.end()?;
    json.end()
}

fn events(out: &mut Output, definition: &MapDefinition, summary: &Summary) -> io::Result<()> {
    let (events, count) = match summary.events.get(&definition.name) {
        Some((events, count)) => (events.as_slice(), *count),
        None => (&[][..], 0),
    };
    head(out, definition, &format!(", {} events", HumanCount(count)))?;
    if out.is_json() {
        out.json().name("count")?;
        out.json().number(count)?;
        if summary.print_events {
            out.json().name("events")?;
            out.json().array()?;
            for event in events {
                let json = out.json();
                json.object()?;
                json.name("cpu")?;
                json.number(event.cpu)?;
                json.name("data")?;
                json.bytes(&event.data)?;
                json.end()?;
            }
            out.json().end()?;
        }
        return out.json().end();
    }
    for event in events {
        let bytes = crate::output::plain::hex(&event.data);
        let between = if event.data.len() > 16 { "\n" } else { " " };
        out.text(&format!("cpu {}:{between}{bytes}\n", event.cpu))?;
    }
    let more = count - events.len() as u64;
    match more > 0 && summary.print_events {
        true => out.text(&format!("and {more} more\n")),
        false => Ok(()),
    }
}

/// A map with values.
fn contents(
    session: &mut Session,
    loaded: &Loaded,
    number: usize,
    definition: &MapDefinition,
    map: Map,
    pin: Option<&PathBuf>,
) -> Result {
    let most = map.spec().max_entries;
    let about = match (definition.is_data(), pin) {
        (true, _) => String::new(),
        (false, None) => format!(", {} of {most} entries", map.len()),
        (false, Some(pin)) => {
            format!(", {} of {most} entries, in {}", map.len(), clean(&pin.display().to_string()))
        }
    };
    head(&mut session.out, definition, &about)?;
    if session.out.is_json() {
        let json = session.out.json();
        for (name, number) in [("max_entries", u64::from(most)), ("entries", map.len())] {
            json.name(name)?;
            json.number(number)?;
        }
        if let Some(pin) = pin {
            json.name("pinned")?;
            json.string(&pin.to_string_lossy())?;
        }
        json.name("elements")?;
    }
    let path = pin.cloned().unwrap_or_else(|| PathBuf::from(&definition.name));
    let target = Target { map, path };
    let globals = definition.is_data() && session.out.is_table();
    if globals && variables(session, loaded, number, &target.map)? {
        return Ok(());
    }
    if target.map.spec().map_type.is_ring() {
        ring(session, &target, pin.is_some())?;
    } else {
        keyed(session, &target)?;
    }
    if session.out.is_json() {
        session.out.json().end()?;
    }
    Ok(())
}

/// The variables of a section, as a table; false if the object does not say which they are.
fn variables(session: &mut Session, loaded: &Loaded, map: usize, values: &Map) -> Result<bool> {
    let object = loaded.object();
    let Some(btf) = object.btf() else { return Ok(false) };
    let mut value = vec![0; values.value_bytes()];
    let looked = values.lookup(&0u32.to_ne_bytes(), &mut value, 0);
    looked.map_err(|error| Failure::operation("can't dump", &error))?;
    let mut table =
        Table::new(vec![Column::text("GLOBAL"), Column::text("TYPE"), Column::text("VALUE")]);
    let mut any = false;
    for global in object.globals().iter().filter(|global| global.map == map) {
        let bytes = value.get(global.offset as usize..).unwrap_or_default();
        let bytes = bytes.get(..global.size as usize).unwrap_or_default();
        let (kind, shown) = match global.type_id {
            Some(id) => (btf.describe(id), btf.format(id, bytes).to_string()),
            None => (String::new(), crate::output::plain::hex(bytes)),
        };
        let row = [&global.name, &kind, &shown].map(|text| clean(text)).to_vec();
        table.row(session.out.writer(), row)?;
        any = true;
    }
    table.end(session.out.writer())?;
    Ok(any)
}

/// Hashes come in the order of their keys, so that the same run prints the same.
fn keyed(session: &mut Session, target: &Target) -> Result {
    let map = &target.map;
    let typed = Typed::of(session, target)?;
    let mut entries = Entries::new(session, Shape::of(map), typed)?;
    let out = &mut session.out;
    entries.start(out)?;
    let broken = |error: usermap::Error| Failure::operation("can't dump", &error);
    // Of arrays, people see what was written to; JSON has all.
    let (array, people) = (map.spec().map_type.is_array(), !out.is_json());
    let untouched = |value: &[u8]| array && people && value.iter().all(|byte| *byte == 0);
    let mut left_out = 0u64;
    if !array && map.len() <= SORTED {
        let mut all = Vec::new();
        map.for_each(|key, value| {
            all.push((key.to_vec(), value.to_vec()));
            true
        })
        .map_err(broken)?;
        all.sort();
        for (key, value) in all {
            entries.entry(out, &key, &value)?;
        }
    } else {
        let mut written: io::Result<()> = Ok(());
        let walked = map.for_each(|key, value| {
            if untouched(value) {
                left_out += 1;
                return true;
            }
            written = entries.entry(out, key, value);
            written.is_ok()
        });
        written?;
        walked.map_err(broken)?;
    }
    entries.finish(out)?;
    match left_out {
        0 => Ok(()),
        _ => Ok(session.out.text(&format!("and {} of zeros\n", elements(left_out)))?),
    }
}

/// A queue or stack is emptied to be printed: unless others have it, too.
fn ring(session: &mut Session, target: &Target, pinned: bool) -> Result {
    let map = &target.map;
    if pinned {
        return match session.out.is_json() {
            true => Ok(session.out.json().null()?),
            false => Ok(session.out.text("left as it is: 'usermap map pop' takes values\n")?),
        };
    }
    let typed = Typed::of(session, target)?;
    let mut shape = Shape::of(map);
    let per_cpu = map.spec().map_type.is_per_cpu();
    if per_cpu {
        shape.slots = Slots::Only(0);
    }
    let mut value = vec![0; map.value_bytes()];
    if session.out.is_json() {
        session.out.json().array()?;
    }
    for cpu in 0..map.cpus() {
        let flags = if per_cpu { cpu_flags(cpu) } else { 0 };
        if per_cpu {
            shape.slots = Slots::Only(cpu);
        }
        let mut entries = Entries::new(session, shape, typed.clone())?;
        loop {
            match map.pop(&mut value, flags) {
                Ok(()) => entries.entry(&mut session.out, &[], &value)?,
                Err(error) if error.errno() == errno::ENOENT => break,
                Err(error) => return Err(Failure::operation("pop failed", &error)),
            }
        }
        entries.end_single(&mut session.out)?;
    }
    if session.out.is_json() {
        session.out.json().end()?;
    }
    Ok(())
}
