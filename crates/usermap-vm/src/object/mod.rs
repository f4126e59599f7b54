//! Objects: what clang and rustc make of eBPF programs, read and put together.
//!
//! What libbpf does between an object file and bpf(2) is done here: maps are found in their
//! sections, programs get the functions they call, and instructions that refer to maps and
//! variables say which. What cannot be had is noted, by name and source line, and only refused
//! when a program that needs it is loaded, so that an object can always be looked at.

mod core_relocation;
mod data;
mod definition;
mod elf;
mod externs;
mod functions;
mod link;
mod maps;
mod options;
mod references;
mod text;

pub use definition::{Extern, Global, MapDefinition, Obstacle};

use crate::btf::{Btf, BtfExt};
use crate::code::Code;
use crate::error::{Error, Result};
use elf::Elf;
use references::Known;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A larger file is no eBPF object.
const MOST: u64 = 256 << 20;

/// An object file, read: its programs, its maps, its variables, and their types.
///
/// ```no_run
/// let mut object = usermap_vm::Object::open("flow.bpf.o")?;
/// object.max_entries("flows", 4096)?;
/// object.set_global_text("limit", "100")?;
/// for program in object.programs() {
///     println!("{} ({})", program.name, program.program_type);
/// }
/// # Ok::<(), usermap_vm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Object {
    name: String,
    programs: Vec<Code>,
    maps: Vec<MapDefinition>,
    globals: Vec<Global>,
    externs: Vec<Extern>,
    /// The map `.kconfig`.
    kconfig: Option<usize>,
    btf: Option<Btf>,
    license: String,
    obstacles: Vec<Obstacle>,
    pins: Vec<(usize, PathBuf)>,
}

impl Object {
    /// Reads an object file.
    ///
    /// # Errors
    ///
    /// It cannot be read, is damaged, or is no eBPF object. What its programs ask for in vain is
    /// no error yet: see [`obstacles`](Object::obstacles).
    pub fn open(path: impl AsRef<Path>) -> Result<Object> {
        let path = path.as_ref();
        let io = |error| Error::io("reading the object", path, error);
        let size = std::fs::metadata(path).map_err(io)?.len();
        let name = path.display().to_string();
        if size > MOST {
            let problem = format!("{size} bytes are too many for an object");
            return Err(Error::Object { object: name, problem });
        }
        Object::from_bytes(&std::fs::read(path).map_err(io)?, &name)
    }

    /// Reads an object that is in memory; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`open`](Object::open).
    ///
    /// ```
    /// let error = usermap_vm::Object::from_bytes(b"#!/bin/sh", "flow.bpf.o").unwrap_err();
    /// assert_eq!(error.to_string(), "flow.bpf.o: no ELF file");
    /// ```
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Object> {
        read(bytes, name).map_err(|problem| Error::Object { object: name.to_owned(), problem })
    }

    /// Programs and their maps, which came from no file.
    pub(crate) fn of_programs(
        name: &str,
        programs: Vec<Code>,
        maps: Vec<MapDefinition>,
        btf: Option<Btf>,
    ) -> Object {
        Object {
            name: name.to_owned(),
            programs,
            maps,
            globals: Vec::new(),
            externs: Vec::new(),
            kconfig: None,
            btf,
            license: String::new(),
            obstacles: Vec::new(),
            pins: Vec::new(),
        }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its programs.
    pub fn programs(&self) -> &[Code] {
        &self.programs
    }

    /// Its maps, by the numbers that instructions have; those of sections' data come last.
    pub fn maps(&self) -> &[MapDefinition] {
        &self.maps
    }

    /// Its global variables.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// The variables of the kernel's configuration that it asks for.
    pub fn externs(&self) -> &[Extern] {
        &self.externs
    }

    /// Its types, if it was built with `-g`.
    pub fn btf(&self) -> Option<&Btf> {
        self.btf.as_ref()
    }

    /// Its license; empty if it has none.
    pub fn license(&self) -> &str {
        &self.license
    }

    /// Where its maps are to be pinned: the map's number, and the file.
    pub fn pins(&self) -> &[(usize, PathBuf)] {
        &self.pins
    }

    /// All that stands in the way of its programs, as far as an object's file says: helpers and
    /// kinds of maps are not looked at.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let missing = self.externs.iter().filter(|one| !one.given && !one.weak);
        let missing = missing.map(|one| Obstacle {
            program: None,
            what: format!("extern {}", one.name),
            problem: "has no value; give one, or declare it __weak".into(),
            line: None,
        });
        self.obstacles.iter().cloned().chain(missing).collect()
    }

    /// Refuses a program that something stands in the way of.
    ///
    /// # Errors
    ///
    /// The first of its obstacles.
    pub fn check(&self, program: &str) -> Result<()> {
        let mut obstacles = self.obstacles().into_iter();
        let concerns = |one: &Obstacle| one.program.as_deref().is_none_or(|name| name == program);
        let Some(obstacle) = obstacles.find(concerns) else { return Ok(()) };
        let of =
            obstacle.program.as_ref().map_or(String::new(), |name| format!("program {name}: "));
        let object = self.name.clone();
        Err(match obstacle.problem.is_empty() {
            true => {
                let what = of + &obstacle.what;
                Error::Unsupported { object, what, line: obstacle.line }
            }
            false => Error::Object { object, problem: format!("{of}{obstacle}") },
        })
    }

    /// The number of a map.
    fn map_index(&self, name: &str) -> Result<usize> {
        let found = self.maps.iter().position(|map| map.name == name);
        found.ok_or_else(|| Error::Unknown {
            kind: "map",
            name: name.to_owned(),
            known: self.maps.iter().map(|map| map.name.clone()).collect(),
        })
    }
}

fn read(bytes: &[u8], name: &str) -> std::result::Result<Object, String> {
    let elf = Elf::parse(bytes)?;
    let problem = |error: crate::btf::BtfError| error.to_string();
    let mut btf = elf.data(".BTF").map(Btf::parse).transpose().map_err(problem)?;
    let ext = elf.data(".BTF.ext").filter(|_| btf.is_some());
    let ext = ext.map(BtfExt::parse).transpose().map_err(problem)?.unwrap_or_default();
    if let Some(btf) = &mut btf {
        place(&elf, btf);
    }
    let mut maps = maps::read(&elf, btf.as_ref())?;
    let data = data::read(&elf, btf.as_ref(), &mut maps.definitions)?;
    let externs = externs::read(&elf, btf.as_mut(), &mut maps.definitions)?;
    let functions = functions::read(&elf)?;
    maps::fill_program_arrays(&mut maps, &elf, |section, byte| {
        functions.program_at(section, byte)
    })?;
    let btf_of = btf.as_ref();
    let known =
        Known { elf: &elf, btf: btf_of, ext: &ext, maps: &maps, data: &data, externs: &externs };
    let texts = known.texts()?;
    let mut linker = link::Linker::new(&functions, &texts);
    let programs = linker.programs()?;
    let mut obstacles = maps.obstacles;
    obstacles.append(&mut linker.obstacles);
    Ok(Object {
        name: name.to_owned(),
        programs,
        maps: maps.definitions,
        globals: data.globals,
        externs: externs.kconfig,
        kconfig: externs.map,
        license: license(&elf),
        btf,
        obstacles,
        pins: Vec::new(),
    })
}

/// Tells BTF where variables are.
fn place(elf: &Elf<'_>, btf: &mut Btf) {
    let mut sizes: HashMap<&str, (usize, u32)> = HashMap::new();
    for (index, section) in elf.enumerate() {
        if let Ok(size) = u32::try_from(section.size) {
            sizes.entry(section.name).or_insert((index, size));
        }
    }
    let mut offsets: HashMap<(usize, &str), u32> = HashMap::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.is_named() && !symbol.is_local()) {
        if let (Some(section), Ok(offset)) = (symbol.section, u32::try_from(symbol.value)) {
            offsets.entry((section, symbol.name)).or_insert(offset);
        }
    }
    btf.place(
        |section| sizes.get(section).map(|(_, size)| *size),
        |section, name| offsets.get(&(sizes.get(section)?.0, name)).copied(),
    );
}

fn license(elf: &Elf<'_>) -> String {
    let bytes = elf.data("license").unwrap_or_default();
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes.get(..128).unwrap_or(bytes)).into_owned()
}
