//! Programs of bpf(2) that call each other: loaded as one object, which has the maps of all of them.
//!
//! A tail call does not leave the memory that a run has, so all maps of the programs that it may come
//! to must be there from the start.

use crate::bare::complete;
use crate::error::Result;
use crate::helper::{EventArray, PERF_EVENT_ARRAY, PROG_ARRAY, ProgramArray};
use crate::load::Loaded;
use crate::object::{MapDefinition, Object};
use crate::options::Options;
use crate::program::Program;
use crate::raw::{Holds, MapReference, NAME, Raw, file_of, rename_maps};
use crate::run::Storage;
use usermap::Map;

/// Programs that can call each other through arrays of programs.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_vm::{Context, Group, Holds, Options, ProgramType, Raw, instruction::Instruction};
/// let array = Map::create(&Spec::new(MapType::Array, 4, 4, 2))?;
/// let raw = |instructions: &[[u8; 8]]| {
///     let instructions = instructions.iter().copied().map(Instruction::from_bytes).collect();
///     let mut raw = Raw::new(ProgramType::Syscall, "one", instructions);
///     raw.resolve(|_| Ok(array.clone()))?;
///     raw.holding(|_| Some(Holds::Programs));
///     Ok::<_, usermap_vm::Error>(raw)
/// };
/// let caller = raw(&[
///     [0x18, 0x12, 0, 0, 0, 0, 0, 0], // r2 = the map
///     [0; 8],
///     [0xb7, 3, 0, 0, 1, 0, 0, 0],    // r3 = 1
///     [0x85, 0, 0, 0, 12, 0, 0, 0],   // bpf_tail_call
///     [0xb7, 0, 0, 0, 5, 0, 0, 0],    // r0 = 5
///     [0x95, 0, 0, 0, 0, 0, 0, 0],    // exit
/// ])?;
/// let called = raw(&[[0xb7, 0, 0, 0, 6, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]])?;
/// let group = Group::load(&[caller, called], &Options::new())?;
/// let mut context = Context::from(Vec::new());
/// assert_eq!(group.first().run(&mut context)?.value, 5);
/// assert!(group.set_tail_call(&array, 1, 1)?);
/// assert_eq!(group.first().run(&mut context)?.value, 6);
/// # Ok::<(), usermap_vm::Error>(())
/// ```
pub struct Group {
    loaded: Loaded,
    first: Program,
    /// The maps' files, by their numbers.
    files: Vec<(u64, u64)>,
}

impl Group {
    /// Checks programs and translates them, at least one.
    ///
    /// # Errors
    ///
    /// As of [`Raw::load`], for the first that cannot be loaded.
    pub fn load(raws: &[Raw], options: &Options) -> Result<Group> {
        let mut maps = Maps::default();
        let mut codes = Vec::new();
        for raw in raws {
            let mut code = raw.code.clone();
            complete(&mut code);
            let numbers = maps.add(raw)?;
            rename_maps(&mut code.instructions, |reference| match reference {
                // What was not resolved is for the check to find.
                MapReference::Descriptor(number) | MapReference::Index(number) => {
                    Ok(numbers.get(number as usize).map_or(number, |number| *number as i32))
                }
            })?;
            codes.push(code);
        }
        let btf = raws.iter().find_map(|raw| raw.btf.clone());
        let object = Object::of_programs(NAME, codes, maps.definitions, btf);
        let loaded = object.load_with(maps.storages, options, |_| true)?;
        Ok(Group { first: loaded.at(0), loaded, files: maps.files })
    }

    /// The program that was given first.
    pub fn first(&self) -> Program {
        self.first.clone()
    }

    /// Puts the program that was given as this number at an index of an array of programs; false if
    /// no program has the array, or there is no such index.
    ///
    /// # Errors
    ///
    /// The map's file cannot be looked at.
    pub fn set_tail_call(&self, array: &Map, index: u32, program: usize) -> Result<bool> {
        let file = file_of(array)?;
        let number = self.files.iter().position(|known| *known == file);
        Ok(number.is_some_and(|number| self.loaded.put_program(number, index, program)))
    }
}

/// The maps of all programs, each once.
#[derive(Default)]
struct Maps {
    files: Vec<(u64, u64)>,
    definitions: Vec<MapDefinition>,
    storages: Vec<Storage>,
}

impl Maps {
    /// Adds a program's; gives the numbers that they have here.
    fn add(&mut self, raw: &Raw) -> Result<Vec<usize>> {
        let mut numbers = Vec::new();
        for (index, map) in raw.maps.iter().enumerate() {
            let file = file_of(map)?;
            let known = self.files.iter().position(|known| *known == file);
            numbers.push(known.unwrap_or(self.files.len()));
            if known.is_none() {
                self.files.push(file);
                self.put(map, raw.holds.get(index).copied().flatten());
            }
        }
        Ok(numbers)
    }

    fn put(&mut self, map: &Map, holds: Option<Holds>) {
        let mut definition = MapDefinition::of(&map.spec().name.to_string(), map);
        let max_entries = map.spec().max_entries;
        let storage = match holds {
            None => Storage::Map(map.clone()),
            Some(Holds::Programs) => {
                definition.map_type = PROG_ARRAY;
                Storage::Programs(ProgramArray::new(max_entries))
            }
            Some(Holds::Events) => {
                definition.map_type = PERF_EVENT_ARRAY;
                Storage::Events(EventArray::unread(max_entries))
            }
        };
        self.definitions.push(definition);
        self.storages.push(storage);
    }
}
