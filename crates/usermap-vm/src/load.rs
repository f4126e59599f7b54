//! Loading: an object's maps are made or opened, its programs checked and translated.

use crate::code::Code;
use crate::error::{Error, Result};
use crate::helper::{self, EventArray, Events, PERF_EVENT_ARRAY, PROG_ARRAY, ProgramArray};
use crate::object::{MapDefinition, Object};
use crate::options::Options;
use crate::places::{self, Places};
use crate::program::Program;
use crate::run::{LoadedMap, LoadedProgram, Storage, Vm};
use crate::sandbox::cage::Cage;
use crate::slots::Slots;
use crate::{interpret, jit, validate};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use usermap::abi::map_flags;
use usermap::{Map, MapType, MapTypes, Spec};

/// An object whose programs can be run. Cheap to clone; clones share everything.
///
/// ```
/// # use usermap_vm::{Object, Options, Xdp};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
/// let loaded = Object::open(path)?.load(&Options::new())?;
/// let verdicts = usermap::PerCpuArray::<u64>::from_map(loaded.map("verdicts")?)?;
/// let program = loaded.program("firewall")?;
/// for _ in 0..3 {
///     program.run(&mut Xdp::new(vec![0; 64]).into())?;
/// }
/// assert_eq!(verdicts.sum(2)?, 3); // XDP_PASS
/// # Ok::<(), usermap_vm::Error>(())
/// ```
#[derive(Clone)]
pub struct Loaded {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) object: Object,
    pub(crate) vm: Vm,
    pub(crate) slots: Slots,
    /// Bits of the programs' addresses.
    bits: u32,
    /// Programs that cannot be run, and why.
    unfit: HashMap<usize, String>,
    /// Per-CPU maps, by their numbers, in whose slots others could run, too.
    leased: Vec<usize>,
}

impl Object {
    /// Makes the object's maps, or opens those that are pinned; checks its programs and translates
    /// them.
    ///
    /// # Errors
    ///
    /// A program cannot be run: the first obstacle, by name; a map cannot be made.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let mut object = Object::open(path)?;
    /// object.max_entries("blocked_ports", 1000)?;
    /// let loaded = object.load(&Options::new())?;
    /// assert_eq!(loaded.map("blocked_ports")?.spec().max_entries, 1000);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn load(&self, options: &Options) -> Result<Loaded> {
        let make = |(index, definition)| self.make(index, definition, options);
        let maps = self.maps().iter().enumerate().map(make).collect::<Result<_>>()?;
        self.load_with(maps, options, |index| self.pin_of(index).is_some())
    }

    /// The same, with maps that are there already; says of which others use the CPU slots, too.
    pub(crate) fn load_with(
        &self,
        storages: Vec<Storage>,
        options: &Options,
        is_shared: impl Fn(usize) -> bool,
    ) -> Result<Loaded> {
        let mut places = Places::default();
        let placed = self.maps().iter().zip(storages);
        let maps = placed.map(|(definition, storage)| places.put(&definition.name, storage));
        let maps = maps.collect::<Result<Vec<_>>>()?;
        let bits = places.bits()?;
        let (mut programs, mut unfit) = (Vec::new(), HashMap::new());
        for (number, code) in self.programs().iter().enumerate() {
            let (program, obstacle) = self.translate(code, &maps, bits, options);
            programs.push(program);
            let Some(obstacle) = obstacle else { continue };
            if options.only.as_ref().is_none_or(|only| only.contains(&code.name)) {
                return Err(obstacle);
            }
            unfit.insert(number, obstacle.to_string());
        }
        let cpus = maps.iter().filter_map(per_cpu).map(|(_, map)| map.spec().cpus);
        let slots = cpus.fold(options.slot_count(), u32::min);
        let leased = (0..maps.len()).filter(|index| is_shared(*index)).collect();
        let helpers =
            options.helpers.iter().map(|(id, (_, helper))| (*id, helper.clone())).collect();
        let trace = options.trace.clone();
        let vm = Vm { programs, maps, helpers, budget: options.budget, trace };
        let slots = Slots::new(slots);
        let shared = Shared { object: self.clone(), vm, slots, bits, unfit, leased };
        let loaded = Loaded { shared: Arc::new(shared) };
        loaded.fill_program_arrays()?;
        Ok(loaded)
    }

    /// A program as it is run; and what stands in its way, if something does: then it never is.
    fn translate(
        &self,
        code: &Code,
        maps: &[LoadedMap],
        bits: u32,
        options: &Options,
    ) -> (LoadedProgram, Option<Error>) {
        let obstacle = self.check_program(code, options).err();
        let mut program = LoadedProgram {
            program_type: code.program_type,
            decoded: interpret::Decoded::new(code),
            code: Arc::new(code.clone()),
            native: None,
        };
        if obstacle.is_some() || options.interpret {
            return (program, obstacle);
        }
        let own = |id| options.helpers.contains_key(&id);
        match jit::compile(code, maps, (1 << bits) - 1, &own) {
            Ok(native) => program.native = native,
            Err(problem) => {
                let object = self.name().to_owned();
                return (program, Some(Error::Object { object, problem }));
            }
        }
        (program, None)
    }

    fn check_program(&self, code: &Code, options: &Options) -> Result<()> {
        self.check(&code.name)?;
        validate::validate(self.name(), code, self.maps(), |id| {
            options.helpers.contains_key(&id)
                || helper::by_id(id).is_some_and(|helper| (helper.allowed)(code.program_type))
        })
    }

    /// Makes or opens a map.
    fn make(&self, index: usize, definition: &MapDefinition, options: &Options) -> Result<Storage> {
        Ok(match definition.map_type {
            PROG_ARRAY => Storage::Programs(ProgramArray::new(definition.max_entries)),
            PERF_EVENT_ARRAY => Storage::Events(EventArray::new(options.slot_count())),
            _ => Storage::Map(self.open_map(index, definition, options)?),
        })
    }

    fn open_map(&self, index: usize, definition: &MapDefinition, options: &Options) -> Result<Map> {
        let Some(map_type) = MapType::from_id(definition.map_type) else {
            return Err(Error::Unsupported {
                object: self.name().to_owned(),
                what: format!("map {}, of type {}", definition.name, definition.map_type),
                line: None,
            });
        };
        let mut spec =
            Spec::new(map_type, definition.key_size, definition.value_size, definition.max_entries);
        spec.flags = definition.map_flags;
        spec.map_extra = definition.map_extra;
        spec.numa_node = definition.numa_node;
        spec.spin_lock = definition.spin_lock;
        let as_needed = definition.map_flags & map_flags::NO_PREALLOC != 0;
        spec.huge_pages = options.huge_pages && !as_needed;
        let spec = spec.name(&kernel_name(&definition.name))?;
        let spec = if map_type.is_per_cpu() { spec.cpus(options.slot_count()) } else { spec };
        let spec = match self.types_of(definition) {
            Some(types) => spec.types(types),
            None => spec,
        };
        let map = match self.pin_of(index) {
            Some(path) => Map::open_or_create(path, &spec)?,
            None => Map::create(&spec)?,
        };
        if let Some(initial) = &definition.initial {
            map.update(&0_u32.to_ne_bytes(), initial, 0)?;
            if definition.map_flags & map_flags::RDONLY_PROG != 0 {
                map.freeze()?;
            }
        }
        Ok(map)
    }

    /// Where a map is pinned, if it is to be.
    fn pin_of(&self, index: usize) -> Option<&Path> {
        let pin = self.pins().iter().find(|(map, _)| *map == index);
        pin.map(|(_, path)| path.as_path())
    }

    /// The types of a map's key and value, cut out of the object's.
    fn types_of(&self, definition: &MapDefinition) -> Option<MapTypes> {
        let (btf, value) = (self.btf()?, definition.value_type?);
        let (blob, ids) = match definition.key_type {
            Some(key) => btf.subset(&[key, value]),
            None => btf.subset(&[value]),
        };
        match ids[..] {
            [key, value] => Some(MapTypes::new(blob, key, value)),
            [value] => Some(MapTypes::new(blob, 0, value)),
            _ => None,
        }
    }
}

/// A map's name as the kernel's rules have it (libbpf cuts it, too).
fn kernel_name(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.'))
        .take(15)
        .collect()
}

/// A map whose slots runs must have for themselves.
fn per_cpu(map: &LoadedMap) -> Option<(&str, &Map)> {
    match &map.storage {
        Storage::Map(open) if open.spec().map_type.is_per_cpu() => Some((&map.name, open)),
        _ => None,
    }
}

impl Shared {
    /// The memory of a runner: with all maps in it.
    pub(crate) fn cage(&self) -> Result<Cage> {
        places::cage(self.object.name(), &self.vm.maps, self.bits)
    }

    /// The maps in whose slots others could run, too.
    pub(crate) fn leased(&self) -> Vec<(&str, &Map)> {
        self.leased.iter().filter_map(|index| per_cpu(self.vm.maps.get(*index)?)).collect()
    }
}

impl Loaded {
    /// The program of a name.
    ///
    /// # Errors
    ///
    /// There is none; says which there are.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// assert_eq!(loaded.program("firewall")?.name(), "firewall");
    /// let error = loaded.program("fire").err().expect("no such program");
    /// assert_eq!(error.to_string(), "there is no program fire; there is firewall");
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn program(&self, name: &str) -> Result<Program> {
        let programs = self.shared.object.programs();
        match programs.iter().position(|code| code.name == name) {
            Some(number) => match self.shared.unfit.get(&number) {
                None => Ok(Program::new(self.shared.clone(), number)),
                Some(why) => Err(Error::Invalid {
                    what: format!("program {name}"),
                    rule: format!("it was left out: {why}"),
                }),
            },
            None => Err(unknown("program", name, programs.iter().map(|code| &code.name))),
        }
    }

    /// All programs that can be run, in the object's order.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new().only(["inspect"]))?;
    /// let names: Vec<_> = loaded.programs().iter().map(|one| one.name().to_owned()).collect();
    /// assert!(names.contains(&"dispatch".to_owned()) && !names.contains(&"order".to_owned()));
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn programs(&self) -> Vec<Program> {
        let fit = |number: &usize| !self.shared.unfit.contains_key(number);
        let numbers = (0..self.shared.vm.programs.len()).filter(fit);
        numbers.map(|number| Program::new(self.shared.clone(), number)).collect()
    }

    /// The map of a name.
    ///
    /// # Errors
    ///
    /// There is none; or it is an array of programs or events, which is in no region.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// let ports = usermap::HashMap::<u16, u64>::from_map(loaded.map("blocked_ports")?)?;
    /// ports.insert(&1900, &0)?;
    /// assert_eq!(ports.len(), 1);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn map(&self, name: &str) -> Result<Map> {
        match &self.find(name)?.storage {
            Storage::Map(map) => Ok(map.clone()),
            _ => Err(Error::Invalid {
                what: format!("map {name}"),
                rule: "it holds programs or events, and has no values".to_owned(),
            }),
        }
    }

    /// A reader of the events that programs put into a `PERF_EVENT_ARRAY`.
    ///
    /// # Errors
    ///
    /// There is no such map, or it is of another kind.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new().only(["inspect"]))?;
    /// let events = loaded.events("events")?;
    /// loaded.program("inspect")?.run(&mut Xdp::new(vec![0; 2000]).into())?;
    /// let event = events.next().expect("an event");
    /// assert_eq!(event.data[..4], 2000_u32.to_ne_bytes()); // struct event { length, limit }
    /// assert_eq!(events.next(), None);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn events(&self, name: &str) -> Result<Events> {
        match &self.find(name)?.storage {
            Storage::Events(events) => Ok(events.reader()),
            _ => Err(Error::Invalid {
                what: format!("map {name}"),
                rule: "only a PERF_EVENT_ARRAY has events".to_owned(),
            }),
        }
    }

    /// Sets the program at an index of a `PROG_ARRAY`, which tail calls go to.
    ///
    /// # Errors
    ///
    /// There is no such map or program, or no such index.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new().only(["inspect", "dispatch"]))?;
    /// let dispatch = loaded.program("dispatch")?;
    /// assert_eq!(dispatch.run(&mut Xdp::new(vec![0; 64]).into())?.value, 0); // XDP_ABORTED
    /// loaded.set_tail_call("stages", 0, "inspect")?;
    /// assert_eq!(dispatch.run(&mut Xdp::new(vec![0; 64]).into())?.value, 2); // XDP_PASS
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn set_tail_call(&self, map: &str, index: u32, program: &str) -> Result<()> {
        let number = self.program(program)?.number();
        match &self.find(map)?.storage {
            Storage::Programs(programs) if programs.set(index, number) => Ok(()),
            Storage::Programs(_) => Err(Error::Invalid {
                what: format!("index {index}"),
                rule: format!("it is past the end of map {map}"),
            }),
            _ => Err(Error::Invalid {
                what: format!("map {map}"),
                rule: "only a PROG_ARRAY holds programs".to_owned(),
            }),
        }
    }

    /// A program by its number.
    pub(crate) fn at(&self, number: usize) -> Program {
        Program::new(self.shared.clone(), number)
    }

    /// Puts a program at an index of a map, both by number; false if it has no such place.
    pub(crate) fn put_program(&self, map: usize, index: u32, program: usize) -> bool {
        match self.shared.vm.maps.get(map).map(|map| &map.storage) {
            Some(Storage::Programs(programs)) => programs.set(index, program),
            _ => false,
        }
    }

    /// The object that this was loaded from.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// assert_eq!(loaded.object().license(), "Dual MIT/GPL");
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn object(&self) -> &Object {
        &self.shared.object
    }

    fn find(&self, name: &str) -> Result<&LoadedMap> {
        let maps = &self.shared.vm.maps;
        let found = maps.iter().find(|map| *map.name == *name);
        found.ok_or_else(|| {
            unknown("map", name, self.shared.object.maps().iter().map(|map| &map.name))
        })
    }

    /// What `.values` of the object's `PROG_ARRAY`s say.
    fn fill_program_arrays(&self) -> Result<()> {
        for definition in self.shared.object.maps() {
            for (index, program) in &definition.programs {
                self.set_tail_call(&definition.name, *index, program)?;
            }
        }
        Ok(())
    }
}

fn unknown<'n>(kind: &'static str, name: &str, known: impl Iterator<Item = &'n String>) -> Error {
    Error::Unknown { kind, name: name.to_owned(), known: known.cloned().collect() }
}
