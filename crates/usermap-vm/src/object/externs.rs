//! Externs: variables of the kernel's configuration, whose values are given or have defaults, and
//! the kernel's own symbols, of which there are none here.

use super::data::{ARRAY, MMAPABLE, RDONLY_PROG};
use super::definition::{Extern, MapDefinition};
use super::elf::Elf;
use crate::btf::{Btf, Kind, Linkage, SectionVariable};
use std::collections::HashMap;

/// The Linux version that programs are told: 6.18.0, whose results the maps give.
const LINUX_KERNEL_VERSION: u32 = 0x06_12_00;

/// What an undefined symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undefined {
    /// A variable of the configuration, at an offset of map `.kconfig`.
    Kconfig { offset: u32 },
    /// A variable of the kernel.
    Symbol,
    /// A function of the kernel.
    Function,
}

/// All externs.
#[derive(Default)]
pub(super) struct Externs {
    /// By name.
    pub(super) undefined: HashMap<String, Undefined>,
    /// Those of the configuration.
    pub(super) kconfig: Vec<Extern>,
    /// The map that these are in.
    pub(super) map: Option<usize>,
}

/// Reads the externs, places those of the configuration, and adds their map.
pub(super) fn read(
    elf: &Elf<'_>,
    btf: Option<&mut Btf>,
    definitions: &mut Vec<MapDefinition>,
) -> Result<Externs, String> {
    let mut externs = Externs::default();
    let Some(btf) = btf else { return Ok(externs) };
    if let Some((_, variables)) = btf.section(".ksyms") {
        for variable in variables {
            let what = match btf.kind(variable.type_id) {
                Some(Kind::Function { .. }) => Undefined::Function,
                _ => Undefined::Symbol,
            };
            externs.undefined.insert(btf.name(variable.type_id).to_owned(), what);
        }
    }
    let Some((section, variables)) = btf.section(".kconfig") else { return Ok(externs) };
    let weak: HashMap<&str, bool> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.section.is_none() && symbol.is_named())
        .map(|symbol| (symbol.name, symbol.is_weak()))
        .collect();
    let mut end = 0;
    for variable in variables {
        let one = place(btf, variable, &weak, &mut end)?;
        externs.undefined.insert(one.name.clone(), Undefined::Kconfig { offset: one.offset });
        externs.kconfig.push(one);
    }
    let mut initial = vec![0; end as usize];
    for one in &mut externs.kconfig {
        let Some(number) = default(&one.name) else { continue };
        let place = initial.get_mut(one.offset as usize..).unwrap_or_default();
        let place = place.get_mut(..one.size as usize).unwrap_or_default();
        for (byte, new) in place.iter_mut().zip(u64::from(number).to_le_bytes()) {
            *byte = new;
        }
        one.given = true;
    }
    externs.map = Some(definitions.len());
    definitions.push(MapDefinition {
        name: ".kconfig".into(),
        map_type: ARRAY,
        key_size: 4,
        value_size: end,
        max_entries: 1,
        map_flags: MMAPABLE | RDONLY_PROG,
        value_type: Some(section),
        initial: Some(initial),
        ..MapDefinition::default()
    });
    let offsets: HashMap<String, u32> =
        externs.kconfig.iter().map(|one| (one.name.clone(), one.offset)).collect();
    btf.place(
        |section| (section == ".kconfig").then_some(end),
        |section, name| offsets.get(name).copied().filter(|_| section == ".kconfig"),
    );
    Ok(externs)
}

/// What is known without being told.
fn default(name: &str) -> Option<u32> {
    match name {
        "LINUX_KERNEL_VERSION" => Some(LINUX_KERNEL_VERSION),
        // Whether `bpf_get_attach_cookie` is there, and whether system calls have wrappers.
        "LINUX_HAS_BPF_COOKIE" => Some(0),
        "LINUX_HAS_SYSCALL_WRAPPER" => Some(1),
        _ => None,
    }
}

fn place(
    btf: &Btf,
    variable: &SectionVariable,
    weak: &HashMap<&str, bool>,
    end: &mut u32,
) -> Result<Extern, String> {
    let name = btf.name(variable.type_id);
    let Some(Kind::Variable { type_id, linkage: Linkage::Extern }) = btf.kind(variable.type_id)
    else {
        return Err(format!("extern {name}: is no extern variable"));
    };
    let size = btf.size_of(*type_id).filter(|size| (1..=4096).contains(size));
    let Some(size) = size.and_then(|size| u32::try_from(size).ok()) else {
        return Err(format!("extern {name}: {} has no size", btf.describe(*type_id)));
    };
    let align = btf.align_of(*type_id).next_power_of_two() as u32;
    let offset = end.next_multiple_of(align.clamp(1, 8));
    *end = offset + size;
    if *end > 1 << 20 {
        return Err("section .kconfig: more than 1 MiB".into());
    }
    Ok(Extern {
        name: name.to_owned(),
        type_id: *type_id,
        offset,
        size,
        weak: weak.get(name).copied().unwrap_or(false),
        given: false,
    })
}
