//! `PROG_ARRAY` and `PERF_EVENT_ARRAY`: arrays of what descriptors stand for.
//!
//! Each is kept as an array of numbers, in a region like all maps: a `PROG_ARRAY` has the ids of its
//! programs, 0 where there is none. What it is its types say, whose names are the library's own. So
//! pins, ids, other processes, rights and freezing are those of every map; here is what differs: the
//! commands on elements, which take descriptors and give ids (`kernel/bpf/arraymap.c`).
//!
//! The programs that a process has put into an array live for as long as it has the array open. Ids
//! of programs that are gone count as nothing.

use crate::attr::{Attr, word};
use crate::descriptor::{self, Object};
use crate::foreign::memory;
use crate::host::Process;
use crate::program::{self, Program};
use crate::registry::{self, Kind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use usermap::abi::{MapType, command, errno, map_flags};
use usermap::command::{BadFd, Fault, Host, Types, attribute};
use usermap::{Access, Map, MapTypes, Result, Spec};
use usermap_vm::Holds;

/// `BPF_MAP_TYPE_PROG_ARRAY`
const PROG_ARRAY: u32 = 3;
/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
const PERF_EVENT_ARRAY: u32 = 4;

/// An array of programs or of events, as a process has it open.
///
/// ```
/// use usermap_c::descriptor::{self, Object};
/// use usermap_c::seam;
/// let attr = [3_u32, 4, 4, 16]; // BPF_MAP_CREATE of a PROG_ARRAY
/// let fd = seam::bpf(0, attr.as_ptr() as u64, 16)?;
/// assert!(matches!(descriptor::get(fd), Ok(Object::Array(_))));
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Debug)]
pub struct FdArray {
    map: Map,
    holds: Holds,
    state: Mutex<State>,
}

/// What only this process knows of an array.
#[derive(Debug, Default)]
struct State {
    /// The programs that it has put in.
    programs: BTreeMap<u32, Arc<Program>>,
    /// The type of programs that the array is for: that of the first that had to do with it.
    owner: Option<u32>,
}

/// Which arrays there are: the map's type, and what its values' type is called.
const KINDS: [(u32, Holds, &str); 2] = [
    (PROG_ARRAY, Holds::Programs, "usermap_prog_id"),
    (PERF_EVENT_ARRAY, Holds::Events, "usermap_perf_event"),
];

/// What an array's region says of its types: an `unsigned int`, and another name for it.
fn types(name: &str) -> MapTypes {
    const INT: u32 = 1 << 24;
    const TYPEDEF: u32 = 8 << 24;
    let strings = format!("\0unsigned int\0{name}\0");
    let types = [[1, INT, 4, 32].as_slice(), &[14, TYPEDEF, 1]].concat();
    let (types, strings_len) = (words(&types), strings.len() as u32);
    let mut btf = vec![0x9f, 0xeb, 1, 0];
    btf.extend(words(&[24, 0, types.len() as u32, types.len() as u32, strings_len]));
    btf.extend(types);
    btf.extend(strings.bytes());
    MapTypes::new(btf, 1, 2)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// What a map holds instead of values, if it is one of these.
pub(crate) fn holds(map: &Map) -> Option<Holds> {
    let spec = map.spec();
    if (spec.map_type, spec.key_size, spec.value_size) != (MapType::Array, 4, 4) {
        return None;
    }
    let own = map.types().ok()??;
    let (_, holds, _) = KINDS.into_iter().find(|(.., name)| types(name) == own)?;
    Some(holds)
}

/// A map as the object that it is.
pub(crate) fn object(map: Map) -> Object {
    match holds(&map) {
        Some(holds) => Object::Array(Arc::new(FdArray { map, holds, state: Mutex::default() })),
        None => Object::Map(map),
    }
}

/// The command, if it is on one of these arrays and not what it would be on every map.
pub(crate) fn bpf(number: u32, attr: u64, size: u32) -> Option<Result<i32>> {
    let place = match number {
        command::MAP_CREATE => return create(number, attr, size),
        command::MAP_LOOKUP_BATCH
        | command::MAP_LOOKUP_AND_DELETE_BATCH
        | command::MAP_UPDATE_BATCH
        | command::MAP_DELETE_BATCH => 36,
        command::MAP_LOOKUP_ELEM
        | command::MAP_UPDATE_ELEM
        | command::MAP_DELETE_ELEM
        | command::OBJ_GET_INFO_BY_FD => 0,
        _ => return None,
    };
    let mut fd = [0; 4];
    memory::read(attr.wrapping_add(place), &mut fd).ok().filter(|()| u64::from(size) > place)?;
    let array = descriptor::array(i32::from_ne_bytes(fd))?;
    Some(array.bpf(number, attr, size))
}

fn create(number: u32, attr: u64, size: u32) -> Option<Result<i32>> {
    let mut bytes = attribute(&Process, number, attr, size).ok()?;
    let asked = word(&bytes, 0);
    let (.., name) = KINDS.into_iter().find(|(map_type, ..)| *map_type == asked)?;
    // `fd_array_map_alloc_check`
    let refused = map_flags::RDONLY_PROG
        | map_flags::WRONLY_PROG
        | map_flags::MMAPABLE
        | map_flags::INNER_MAP;
    if word(&bytes, 8) != 4 || word(&bytes, 16) & refused != 0 {
        let attr = Attr::read(number, attr, size, crate::attr::BYTES);
        return Some(attr.and_then(|attr| {
            Err(attr.invalid("descriptors have 4 bytes, and programs have no access to them"))
        }));
    }
    crate::attr::set_word(&mut bytes, 0, MapType::Array as u32);
    let host = Creating(name);
    Some(usermap::command::bpf(&host, number, bytes.as_ptr() as u64, bytes.len() as u32))
}

/// This process, where it makes an array of descriptors.
struct Creating(&'static str);

impl Host for Creating {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        Process.read(address, bytes)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        Process.write(address, bytes)
    }

    fn map(&self, fd: i32) -> Result<Map, BadFd> {
        Process.map(fd)
    }

    fn install(&self, map: Map) -> Result<i32> {
        Process.install(map)
    }

    fn create(&self, spec: &Spec, _: Option<&Types>) -> Result<Map> {
        Process.create(&spec.clone().types(types(self.0)), None)
    }

    fn types(&self, fd: i32, key: u32, value: u32) -> Result<Types, BadFd> {
        Process.types(fd, key, value)
    }
}

impl FdArray {
    /// The array of numbers.
    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// The map's type, as bpf(2) has it.
    pub(crate) fn map_type(&self) -> u32 {
        let kind = KINDS.into_iter().find(|(_, holds, _)| *holds == self.holds);
        kind.map_or(0, |(map_type, ..)| map_type)
    }

    /// A program that this process has put in.
    pub(crate) fn program(&self, id: u32) -> Option<Arc<Program>> {
        self.state().programs.values().find(|program| program.id() == id).cloned()
    }

    /// The ids of what may end when the array is closed.
    pub(crate) fn ids(&self) -> Vec<(Kind, u32)> {
        let programs = self.state().programs.values().cloned().collect::<Vec<_>>();
        let ids = programs.iter().flat_map(|program| program.ids());
        ids.chain([(Kind::Map, self.map.info().id)]).collect()
    }

    /// Whether the array is for programs like this one. It is from now on, if it was for none.
    pub(crate) fn is_for(&self, program_type: u32) -> bool {
        if self.holds != Holds::Programs {
            return true;
        }
        let owner = self.state().owner;
        // Other processes may have been the first.
        let in_it = || ids(&self.map).find_map(|(_, id)| program::by_number(id));
        let owner = owner.or_else(|| Some(in_it()?.type_number())).unwrap_or(program_type);
        self.state().owner = Some(owner);
        owner == program_type
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bpf(&self, number: u32, attr: u64, size: u32) -> Result<i32> {
        let read = |end| Attr::read(number, attr, size, end);
        match number {
            command::MAP_LOOKUP_ELEM => self.lookup(&read(32)?),
            command::MAP_UPDATE_ELEM => self.update(&read(32)?),
            command::MAP_DELETE_ELEM => self.delete(&read(16)?),
            command::OBJ_GET_INFO_BY_FD => self.info(&read(16)?, size),
            _ => self.batch(number, &read(56)?),
        }
    }

    fn lookup(&self, attr: &Attr) -> Result<i32> {
        if attr.u64(24) != 0 {
            return Err(attr.invalid("flags that no lookup takes here"));
        }
        self.check_access(attr, true, false)?;
        let index = key(attr)?;
        if self.holds != Holds::Programs {
            return Err(attr.error("what this array holds cannot be looked up", errno::ENOTSUPP));
        }
        let id = number_at(&readable(&self.map), index);
        let id =
            id.filter(|id| self.program(*id).is_some() || registry::is_alive(Kind::Program, *id));
        let id = id.ok_or_else(|| attr.error("there is no program", errno::ENOENT))?;
        attr.copy_out(attr.u64(16), &id.to_ne_bytes())?;
        Ok(0)
    }

    fn update(&self, attr: &Attr) -> Result<i32> {
        const LOCK: u64 = 4;
        self.check_access(attr, false, true)?;
        if attr.u64(24) & LOCK != 0 {
            return Err(attr.invalid("the values have no lock"));
        }
        let index = key(attr)?;
        let mut fd = [0; 4];
        attr.copy_in(attr.u64(16), &mut fd)?;
        if attr.u64(24) != 0 {
            return Err(attr.invalid("flags that such an array does not take"));
        }
        self.check_index(attr, index)?;
        if self.holds != Holds::Programs {
            return Err(attr.error("the descriptor is of no event", errno::EBADF));
        }
        let program = program::get(i32::from_ne_bytes(fd))
            .map_err(|bad| attr.error("the descriptor is no program", bad.errno()))?;
        if !self.is_for(program.type_number()) {
            return Err(attr.invalid("the array is for programs of another type"));
        }
        self.map.update(&index.to_ne_bytes(), &program.id().to_ne_bytes(), 0)?;
        self.state().programs.insert(index, program);
        Ok(0)
    }

    fn delete(&self, attr: &Attr) -> Result<i32> {
        self.check_access(attr, false, true)?;
        let index = key(attr)?;
        self.check_index(attr, index)?;
        if number_at(&readable(&self.map), index).is_none() {
            return Err(attr.error("there is nothing", errno::ENOENT));
        }
        self.map.update(&index.to_ne_bytes(), &[0; 4], 0)?;
        self.state().programs.remove(&index);
        Ok(0)
    }

    fn batch(&self, number: u32, attr: &Attr) -> Result<i32> {
        let reads =
            matches!(number, command::MAP_LOOKUP_BATCH | command::MAP_LOOKUP_AND_DELETE_BATCH);
        self.check_access(attr, reads, number != command::MAP_LOOKUP_BATCH)?;
        Err(attr.error("arrays of descriptors have no batches", errno::ENOTSUPP))
    }

    /// That of every map, but for the type.
    fn info(&self, attr: &Attr, size: u32) -> Result<i32> {
        let done =
            usermap::command::bpf(&Process, command::OBJ_GET_INFO_BY_FD, attr.address(), size)?;
        if attr.u32(4) >= 4 {
            attr.copy_out(attr.u64(8), &self.map_type().to_ne_bytes())?;
        }
        Ok(done)
    }

    fn check_access(&self, attr: &Attr, reads: bool, writes: bool) -> Result<()> {
        let access = self.map.access();
        let refused = reads && access == Access::WriteOnly
            || writes && (access == Access::ReadOnly || self.map.is_frozen());
        match refused {
            true => Err(attr.error("this handle or a frozen map forbids it", errno::EPERM)),
            false => Ok(()),
        }
    }

    fn check_index(&self, attr: &Attr, index: u32) -> Result<()> {
        match index < self.map.spec().max_entries {
            true => Ok(()),
            false => Err(attr.error("the index is past the end", errno::E2BIG)),
        }
    }
}

fn key(attr: &Attr) -> Result<u32> {
    let mut key = [0; 4];
    attr.copy_in(attr.u64(8), &mut key)?;
    Ok(u32::from_ne_bytes(key))
}

/// A handle that may read, if that can be had.
fn readable(map: &Map) -> Map {
    map.reopen(0).unwrap_or_else(|_| map.clone())
}

/// The number at an index, unless it is 0.
fn number_at(map: &Map, index: u32) -> Option<u32> {
    let mut number = [0; 4];
    map.lookup(&index.to_ne_bytes(), &mut number, 0).ok()?;
    Some(u32::from_ne_bytes(number)).filter(|number| *number != 0)
}

/// All indices that have a program, with its id.
pub(crate) fn ids(map: &Map) -> impl Iterator<Item = (u32, u32)> {
    let map = readable(map);
    (0..map.spec().max_entries).filter_map(move |index| Some((index, number_at(&map, index)?)))
}
