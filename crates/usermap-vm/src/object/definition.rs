//! What an object defines besides its programs: maps, global variables, externs; and what stands
//! in a program's way.

use crate::code::Line;
use std::fmt;
use usermap::Map;

/// A map that an object wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapDefinition {
    /// Its name; of a section's data, the section's (`.data`, `.bss`, `.rodata.str1.1`, `.kconfig`).
    pub name: String,
    /// The number of its kind, as in `enum bpf_map_type` or of usermap's own; it may be one that
    /// there is not.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// The most entries.
    pub max_entries: u32,
    /// Flags of its creation.
    pub map_flags: u32,
    /// What else its kind needs.
    pub map_extra: u64,
    /// The NUMA node, if the flags say that it is meant.
    pub numa_node: u32,
    /// Whether it is to be found by its name (`LIBBPF_PIN_BY_NAME`).
    pub pinning: bool,
    /// The key's type in the object's BTF.
    pub key_type: Option<u32>,
    /// The value's type in the object's BTF.
    pub value_type: Option<u32>,
    /// What the only value has at first, of the map of a section's data.
    pub initial: Option<Vec<u8>>,
    /// What a `PROG_ARRAY` has at first: indices, and names of programs of the object.
    pub programs: Vec<(u32, String)>,
    /// Where in a value there is a `bpf_spin_lock`.
    pub spin_lock: Option<u32>,
}

impl MapDefinition {
    /// A map that is there, as an object would define it.
    pub(crate) fn of(name: &str, map: &Map) -> MapDefinition {
        let spec = map.spec();
        MapDefinition {
            name: name.to_owned(),
            map_type: spec.map_type as u32,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            map_flags: spec.flags,
            spin_lock: spec.spin_lock,
            ..MapDefinition::default()
        }
    }

    /// Whether it holds a section's data, and is no map of the program's own.
    pub fn is_data(&self) -> bool {
        self.initial.is_some()
    }
}

/// A global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Its name.
    pub name: String,
    /// The map that it is in, by its number among the object's maps.
    pub map: usize,
    /// Where it is in the map's value.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
    /// Its type in the object's BTF.
    pub type_id: Option<u32>,
    /// The section that it is in.
    pub section: String,
}

/// A variable of the kernel's configuration (`extern … __kconfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    /// Its name, such as `CONFIG_HZ`.
    pub name: String,
    /// Its type in the object's BTF.
    pub type_id: u32,
    /// Where it is in the value of the map `.kconfig`.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
    /// Whether it is 0 if no value is given.
    pub weak: bool,
    /// Whether it has a value.
    pub given: bool,
}

/// What stands in the way of a program, or of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The program; `None` if it stands in the way of all.
    pub program: Option<String>,
    /// What it is: a section, symbol or map, by name.
    pub what: String,
    /// What is wrong with it; empty if it is just not supported.
    pub problem: String,
    /// Where in the source, if that is known.
    pub line: Option<Line>,
}

impl Obstacle {
    pub(super) fn unsupported(program: Option<&str>, what: String) -> Obstacle {
        let program = program.map(str::to_owned);
        Obstacle { program, what, problem: String::new(), line: None }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem.is_empty() {
            true => write!(f, "{} is not supported", self.what)?,
            false => write!(f, "{}: {}", self.what, self.problem)?,
        }
        match &self.line {
            Some(line) => write!(f, " ({}:{}: {})", line.file, line.line, line.text),
            None => Ok(()),
        }
    }
}
