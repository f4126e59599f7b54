//! Global variables: `.data`, `.rodata`, `.bss` and their like are arrays of one value each.

use super::definition::{Global, MapDefinition};
use super::elf::{Elf, Section};
use crate::btf::Btf;
use std::collections::{BTreeMap, HashSet};

/// `BPF_MAP_TYPE_ARRAY`
pub(super) const ARRAY: u32 = 2;
/// `BPF_F_MMAPABLE`
pub(super) const MMAPABLE: u32 = usermap::abi::map_flags::MMAPABLE;
/// `BPF_F_RDONLY_PROG`
pub(super) const RDONLY_PROG: u32 = usermap::abi::map_flags::RDONLY_PROG;
/// More than programs have, and little enough to be had at once.
const MOST: u64 = 256 << 20;

/// The maps of sections' data.
#[derive(Default)]
pub(super) struct Data {
    /// The map of a section, by the section's number.
    pub(super) maps: BTreeMap<usize, usize>,
    /// What of a map's data cannot be filled in.
    pub(super) unfilled: BTreeMap<usize, String>,
    pub(super) globals: Vec<Global>,
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The flags of the map of a section, if its data are a map.
fn flags(section: &Section<'_>) -> Option<u32> {
    let name = section.name;
    let zero = section.is_zero() && section.size > 0 && has_prefix(name, ".bss");
    let data = section.has_data() && !section.is_executable();
    if zero || data && has_prefix(name, ".data") {
        return Some(MMAPABLE);
    }
    (data && has_prefix(name, ".rodata")).then_some(MMAPABLE | RDONLY_PROG)
}

/// Reads sections' data, and adds their maps to the others.
pub(super) fn read(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    definitions: &mut Vec<MapDefinition>,
) -> Result<Data, String> {
    let mut data = Data::default();
    let mut bytes = 0u64;
    for (index, section) in elf.enumerate() {
        let Some(map_flags) = flags(section) else { continue };
        bytes = bytes.saturating_add(section.size);
        if bytes > MOST {
            return Err(format!("section {}: more than {MOST} bytes of data", section.name));
        }
        let map = definitions.len();
        if map >= super::maps::MOST {
            return Err(format!("section {}: too many sections of data", section.name));
        }
        let initial = match section.is_zero() {
            true => vec![0; section.size as usize],
            false => section.data.to_vec(),
        };
        definitions.push(MapDefinition {
            name: section.name.to_owned(),
            map_type: ARRAY,
            key_size: 4,
            value_size: section.size as u32,
            max_entries: 1,
            map_flags,
            value_type: btf.and_then(|btf| btf.section(section.name)).map(|(id, _)| id),
            initial: Some(initial),
            ..MapDefinition::default()
        });
        data.maps.insert(index, map);
        if let Some(problem) = unfilled(elf, section) {
            data.unfilled.insert(map, problem);
        }
    }
    globals(elf, btf, &mut data);
    Ok(data)
}

/// Addresses in the data; they would have to be filled in at load, which libbpf does not do either.
fn unfilled(elf: &Elf<'_>, section: &Section<'_>) -> Option<String> {
    let relocation = section.relocations.first()?;
    let symbol = elf.symbols.get(relocation.symbol)?;
    let index = elf.sections.iter().position(|one| std::ptr::eq(one, section))?;
    let to = match (symbol.is_section(), symbol.section) {
        (true, Some(section)) => elf.sections.get(section).map_or("?", |section| section.name),
        _ => symbol.name,
    };
    let place = elf.describe(index, relocation.offset);
    Some(format!("{place}, which holds the address of {to} (libbpf does not fill it in),"))
}

/// The variables that BTF knows, and then those that only symbols name.
fn globals(elf: &Elf<'_>, btf: Option<&Btf>, data: &mut Data) {
    let mut known = HashSet::new();
    for (index, map) in &data.maps {
        let Some(section) = elf.sections.get(*index) else { continue };
        let described = btf.and_then(|btf| Some((btf, btf.section(section.name)?.1)));
        let Some((btf, variables)) = described else { continue };
        for variable in variables {
            let end = u64::from(variable.offset) + u64::from(variable.size);
            if end > section.size || !known.insert((*map, variable.offset)) {
                continue;
            }
            data.globals.push(Global {
                name: btf.name(variable.type_id).to_owned(),
                map: *map,
                offset: variable.offset,
                size: variable.size,
                type_id: Some(variable.type_id),
                section: section.name.to_owned(),
            });
        }
    }
    for symbol in elf.symbols.iter().filter(|symbol| symbol.is_named() && !symbol.is_function()) {
        let Some(index) = symbol.section else { continue };
        let (Some(map), Some(section)) = (data.maps.get(&index), elf.sections.get(index)) else {
            continue;
        };
        let end = symbol.value.checked_add(symbol.size);
        let inside = end.is_some_and(|end| end <= section.size) && symbol.size > 0;
        if !inside || !known.insert((*map, symbol.value as u32)) {
            continue;
        }
        data.globals.push(Global {
            name: symbol.name.to_owned(),
            map: *map,
            offset: symbol.value as u32,
            size: symbol.size as u32,
            type_id: None,
            section: section.name.to_owned(),
        });
    }
}
