//! Maps: as structs in `.maps`, whose members' types say what the map is, and the older
//! `struct bpf_map_def` in `maps`, which aya writes too.

use super::definition::{MapDefinition, Obstacle};
use super::elf::Elf;
use crate::btf::{Btf, Kind, Member, SectionVariable};
use std::collections::BTreeMap;

/// `BPF_MAP_TYPE_PROG_ARRAY`
const PROG_ARRAY: u32 = 3;
/// More maps than any object has.
pub(super) const MOST: usize = 1024;

/// The maps of an object.
#[derive(Default)]
pub(super) struct Maps {
    pub(super) definitions: Vec<MapDefinition>,
    /// Maps by where they are: section and offset.
    pub(super) places: BTreeMap<(usize, u64), usize>,
    /// Where the initialisers of `PROG_ARRAY`s are: section and offset, with map and bytes.
    pub(super) programs: BTreeMap<(usize, u64), (usize, u64)>,
    pub(super) obstacles: Vec<Obstacle>,
}

impl Maps {
    fn push(&mut self, place: (usize, u64), definition: MapDefinition) -> Result<(), String> {
        if self.definitions.len() >= MOST {
            return Err(format!("more than {MOST} maps"));
        }
        self.places.insert(place, self.definitions.len());
        self.definitions.push(definition);
        Ok(())
    }

    /// What a map has that cannot be had here.
    fn refuse(&mut self, map: &str, what: &str) {
        self.obstacles.push(Obstacle::unsupported(None, format!("map {map}: {what}")));
    }
}

/// Reads all maps of an object but those of sections' data.
pub(super) fn read(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Maps, String> {
    let mut maps = Maps::default();
    for (index, section) in elf.enumerate() {
        match section.name {
            ".maps" if section.has_data() => match btf {
                Some(btf) => typed(&mut maps, index, section.size, btf)?,
                None => return Err("section .maps: needs BTF; build with clang -g".into()),
            },
            name if section.has_data() && (name == "maps" || name.starts_with("maps/")) => {
                plain(&mut maps, elf, index)?;
            }
            _ => {}
        }
    }
    Ok(maps)
}

/// Maps of `struct bpf_map_def`: type, key, value, entries, flags, 4 bytes each, then aya's id and
/// pinning.
fn plain(maps: &mut Maps, elf: &Elf<'_>, section: usize) -> Result<(), String> {
    let Some(data) = elf.sections.get(section).map(|section| section.data) else { return Ok(()) };
    let symbols = elf.symbols.iter().filter(|symbol| {
        symbol.section == Some(section) && symbol.is_named() && !symbol.is_function()
    });
    let mut places: Vec<(u64, &str)> = symbols.map(|symbol| (symbol.value, symbol.name)).collect();
    places.sort_unstable();
    places.dedup_by_key(|(offset, _)| *offset);
    for (index, (offset, name)) in places.iter().enumerate() {
        let end = places.get(index + 1).map_or(data.len() as u64, |(next, _)| *next);
        let bytes = usize::try_from(*offset).ok().and_then(|start| data.get(start..end as usize));
        let words: Vec<u32> = bytes
            .unwrap_or_default()
            .as_chunks::<4>()
            .0
            .iter()
            .take(9)
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let [map_type, key_size, value_size, max_entries, ref more @ ..] = words[..] else {
            return Err(format!("map {name}: its definition is cut off"));
        };
        let number = |index: usize| more.get(index).copied().unwrap_or(0);
        let pinning = match number(2) {
            0 => false,
            1 => true,
            other => return Err(format!("map {name}: pinning {other}, not 0 or 1 (by name)")),
        };
        if number(3) != 0 || number(4) != 0 {
            maps.refuse(name, "an inner map");
        }
        let definition = MapDefinition {
            name: (*name).to_owned(),
            map_type,
            key_size,
            value_size,
            max_entries,
            map_flags: number(0),
            pinning,
            ..MapDefinition::default()
        };
        maps.push((section, *offset), definition)?;
    }
    match places.is_empty() {
        true => Err("section maps: no symbol says which maps it has".into()),
        false => Ok(()),
    }
}

/// Maps of types.
fn typed(maps: &mut Maps, section: usize, size: u64, btf: &Btf) -> Result<(), String> {
    let Some((_, variables)) = btf.section(".maps") else {
        return Err("section .maps: BTF does not describe it".into());
    };
    for variable in variables {
        let name = btf.name(variable.type_id);
        if u64::from(variable.offset) + u64::from(variable.size) > size {
            return Err(format!("map {name}: is behind the end of section .maps"));
        }
        one(maps, section, btf, variable).map_err(|problem| format!("map {name}: {problem}"))?;
    }
    Ok(())
}

fn one(
    maps: &mut Maps,
    section: usize,
    btf: &Btf,
    variable: &SectionVariable,
) -> Result<(), String> {
    let name = btf.name(variable.type_id);
    let Some(Kind::Variable { type_id, .. }) = btf.kind(variable.type_id) else {
        return Err("is no variable".into());
    };
    let Some(Kind::Struct(composite)) = Some(btf.resolved(*type_id)) else {
        return Err(format!("is of type {}, not a struct", btf.describe(*type_id)));
    };
    if composite.members.len() > 64 {
        return Err(format!("is a struct of {} fields", composite.members.len()));
    }
    let mut definition = MapDefinition { name: name.to_owned(), ..MapDefinition::default() };
    for member in &composite.members {
        let field = btf.string(member.name);
        let known = set(&mut definition, btf, field, member)
            .map_err(|problem| format!("field {field}: {problem}"))?;
        if known {
            continue;
        }
        match field {
            "values" if points_to_functions(btf, member) => {
                definition.value_size = 4;
                let start = u64::from(variable.offset) + u64::from(member.bit_offset / 8);
                let end = u64::from(variable.offset) + u64::from(variable.size);
                let bytes = end.saturating_sub(start);
                maps.programs.insert((section, start), (maps.definitions.len(), bytes));
            }
            "values" => {
                definition.value_size = 4;
                maps.refuse(name, "a map of maps, and its initialiser (field values),");
            }
            _ => maps.refuse(name, &format!("field {field}")),
        }
    }
    definition.spin_lock = definition.value_type.and_then(|id| spin_lock(btf, id));
    maps.push((section, u64::from(variable.offset)), definition)
}

/// Sets what a member says; gives whether the member is known.
fn set(
    definition: &mut MapDefinition,
    btf: &Btf,
    field: &str,
    member: &Member,
) -> Result<bool, String> {
    let number = || number(btf, member.type_id);
    match field {
        "type" => definition.map_type = number()?,
        "max_entries" => definition.max_entries = number()?,
        "map_flags" => definition.map_flags = number()?,
        "numa_node" => definition.numa_node = number()?,
        "map_extra" => definition.map_extra = long(btf, member.type_id)?,
        "key_size" => set_size(&mut definition.key_size, number()?)?,
        "value_size" => set_size(&mut definition.value_size, number()?)?,
        "key" => {
            let (id, size) = pointee(btf, member.type_id)?;
            set_size(&mut definition.key_size, size)?;
            definition.key_type = Some(id);
        }
        "value" => {
            let (id, size) = pointee(btf, member.type_id)?;
            set_size(&mut definition.value_size, size)?;
            definition.value_type = Some(id);
        }
        "pinning" => match number()? {
            0 => definition.pinning = false,
            1 => definition.pinning = true,
            other => return Err(format!("{other}, not 0 or LIBBPF_PIN_BY_NAME")),
        },
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_size(size: &mut u32, new: u32) -> Result<(), String> {
    if *size != 0 && *size != new {
        return Err(format!("{new} bytes, and {size} elsewhere"));
    }
    *size = new;
    Ok(())
}

/// `__uint(name, value)`: a pointer to an array of that many.
fn number(btf: &Btf, id: u32) -> Result<u32, String> {
    if let Kind::Pointer(array) = btf.resolved(id)
        && let Kind::Array { count, .. } = btf.resolved(*array)
    {
        return Ok(*count);
    }
    Err(format!("is of type {}, not made by __uint()", btf.describe(id)))
}

/// As [`number`]; or `__ulong(name, value)`: an enum of that value.
fn long(btf: &Btf, id: u32) -> Result<u64, String> {
    match btf.resolved(id) {
        Kind::Enum(enumeration) => match &enumeration.values[..] {
            [one] => Ok(one.value),
            _ => Err("is an enum not made by __ulong()".into()),
        },
        _ => number(btf, id).map(u64::from),
    }
}

/// `__type(name, type)`: a pointer to the type. Gives its id and size.
fn pointee(btf: &Btf, id: u32) -> Result<(u32, u32), String> {
    let Kind::Pointer(inner) = btf.resolved(id) else {
        return Err(format!("is of type {}, not made by __type()", btf.describe(id)));
    };
    let size = btf.size_of(*inner).and_then(|size| u32::try_from(size).ok());
    match size {
        Some(size) => Ok((*inner, size)),
        None => Err(format!("{} has no size", btf.describe(*inner))),
    }
}

/// Whether it is `__array(values, int (void))`: an array of pointers to functions.
fn points_to_functions(btf: &Btf, member: &Member) -> bool {
    if let Kind::Array { element, .. } = btf.resolved(member.type_id)
        && let Kind::Pointer(inner) = btf.resolved(*element)
    {
        return matches!(btf.resolved(*inner), Kind::Prototype { .. });
    }
    false
}

/// Where a struct has its `bpf_spin_lock`; the kernel does not look into its members either.
fn spin_lock(btf: &Btf, id: u32) -> Option<u32> {
    let is_lock = |member: &&Member| {
        let id = btf.resolve(member.type_id);
        btf.name(id) == "bpf_spin_lock" && matches!(btf.kind(id), Some(Kind::Struct(_)))
    };
    btf.members(id)?.iter().find(is_lock).map(|member| member.bit_offset / 8)
}

/// Fills in what `PROG_ARRAY`s have at first. `entry` finds the program at a place.
pub(super) fn fill_program_arrays(
    maps: &mut Maps,
    elf: &Elf<'_>,
    entry: impl Fn(usize, u64) -> Option<String>,
) -> Result<(), String> {
    for (index, section) in elf.enumerate().filter(|(_, section)| section.name == ".maps") {
        for relocation in &section.relocations {
            let before = maps.programs.range(..=(index, relocation.offset)).next_back();
            let Some((&(place, start), &(map, bytes))) = before else { continue };
            let offset = relocation.offset - start;
            if place != index || offset >= bytes {
                continue;
            }
            let Some(definition) = maps.definitions.get_mut(map) else { continue };
            let name = &definition.name;
            if definition.map_type != PROG_ARRAY {
                return Err(format!("map {name}: has functions, and is no PROG_ARRAY"));
            }
            let Some(symbol) = elf.symbols.get(relocation.symbol) else {
                return Err(format!("map {name}: relocation of symbol {}", relocation.symbol));
            };
            let slot = offset / 8;
            let at = usize::try_from(relocation.offset).ok();
            let there = at.and_then(|at| section.data.get(at..)?.first_chunk::<8>());
            let addend = there.map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let target = symbol.value.wrapping_add(addend);
            match symbol.section.and_then(|section| entry(section, target)) {
                Some(program) => definition.programs.push((slot as u32, program)),
                None => {
                    let what = format!("its slot {slot}, {}, which is no program,", symbol.name);
                    let name = name.clone();
                    maps.refuse(&name, &what);
                }
            }
        }
    }
    Ok(())
}
