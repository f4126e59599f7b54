//! The bpf(2) seam: commands with any attribute, in a process whose memory, descriptors and files
//! are made up. Each gives a number or an error; nothing is touched outside.
//!
//! The input: commands of 74 bytes each: the command, the attribute's size, and the attribute.
//! Addresses mean places in a small memory, but for some that mean none. So in- and out-buffers
//! overlap, and batch tokens are what happens to be there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use usermap::abi::command;
use usermap::command::{BadFd, Fault, Host, Types, bpf};
use usermap::{Access, Error, Map, Result};

/// Where the attribute is; what is there is none of the memory.
const ATTR: u64 = 0x4000_0000_0000;
const MEMORY: usize = 8192;
const RECORD: usize = 74;

struct Process {
    memory: RefCell<Vec<u8>>,
    attr: RefCell<Vec<u8>>,
    maps: RefCell<Vec<Map>>,
    files: RefCell<BTreeMap<PathBuf, Map>>,
}

impl Process {
    fn at<T>(
        &self,
        address: u64,
        len: usize,
        act: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, Fault> {
        let memory = if address >> 32 == ATTR >> 32 { &self.attr } else { &self.memory };
        let memory = &mut memory.borrow_mut()[..];
        let start = match address >> 32 == ATTR >> 32 {
            true => (address - ATTR) as usize,
            false if address >> 60 == 0xf => return Err(Fault),
            false => address as usize % MEMORY,
        };
        let end = start.checked_add(len).ok_or(Fault)?;
        memory.get_mut(start..end).map(act).ok_or(Fault)
    }
}

impl Host for Process {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        assert!(!bytes.is_empty());
        self.at(address, bytes.len(), |memory| bytes.copy_from_slice(memory))
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        assert!(!bytes.is_empty());
        self.at(address, bytes.len(), |memory| memory.copy_from_slice(bytes))
    }

    fn map(&self, fd: i32) -> Result<Map, BadFd> {
        match fd {
            7 => Err(BadFd::NotAMap),
            fd => self.maps.borrow().get(fd as usize).cloned().ok_or(BadFd::NotOpen),
        }
    }

    fn install(&self, map: Map) -> Result<i32> {
        let mut maps = self.maps.borrow_mut();
        maps.push(map);
        Ok(maps.len() as i32 - 1)
    }

    fn cpus(&self) -> u32 {
        2
    }

    fn map_by_id(&self, id: u32) -> Option<Map> {
        self.maps.borrow().get(id as usize).cloned()
    }

    fn next_id(&self, id: u32) -> Option<u32> {
        let next = id.checked_add(1)?;
        ((next as usize) < self.maps.borrow().len()).then_some(next)
    }

    fn pin(&self, map: &Map, path: &Path) -> Result<()> {
        self.files.borrow_mut().insert(path.to_owned(), map.clone());
        Ok(())
    }

    fn open(&self, path: &Path, _: Access) -> Result<Map> {
        let missing = Error::Command { command: "BPF_OBJ_GET", rule: "no such file", errno: 2 };
        self.files.borrow().get(path).cloned().ok_or(missing)
    }

    fn types(&self, fd: i32, key: u32, value: u32) -> Result<Types, BadFd> {
        let types = Types {
            btf_id: 1,
            key: Some((key, 4)),
            value: (value, 8),
            spin_lock: None,
            section: false,
        };
        if fd == 7 { Ok(types) } else { Err(BadFd::NotAMap) }
    }
}

const COMMANDS: [u32; 16] = [
    command::MAP_CREATE,
    command::MAP_LOOKUP_ELEM,
    command::MAP_UPDATE_ELEM,
    command::MAP_DELETE_ELEM,
    command::MAP_GET_NEXT_KEY,
    command::MAP_LOOKUP_AND_DELETE_ELEM,
    command::MAP_LOOKUP_BATCH,
    command::MAP_LOOKUP_AND_DELETE_BATCH,
    command::MAP_UPDATE_BATCH,
    command::MAP_DELETE_BATCH,
    command::MAP_FREEZE,
    command::OBJ_GET_INFO_BY_FD,
    command::MAP_GET_FD_BY_ID,
    command::MAP_GET_NEXT_ID,
    command::OBJ_PIN,
    command::OBJ_GET,
];

/// Keeps maps and batches small, which only take time else: a field keeps its lower bits.
fn small(attr: &mut [u8], at: usize, mask: u32) {
    if let Some(field) = attr.get_mut(at..at + 4) {
        let value = u32::from_ne_bytes(field.try_into().expect("four bytes")) & mask;
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let process = Process {
        memory: RefCell::new((0..MEMORY).map(|at| (at / 8) as u8).collect()),
        attr: RefCell::default(),
        maps: RefCell::default(),
        files: RefCell::default(),
    };
    for record in bytes.chunks(RECORD).take(40) {
        let [number, size, attr @ ..] = record else { return };
        let number = u32::from(*number);
        let number = COMMANDS.get(number as usize % 32).copied().unwrap_or(number);
        let mut attr = attr.to_vec();
        attr.resize(usize::from(*size).max(72), 0);
        match number {
            command::MAP_CREATE => {
                [(4, 0x3f), (8, 0xff), (12, 0x7f)]
                    .iter()
                    .for_each(|(at, mask)| small(&mut attr, *at, *mask));
            }
            24..=27 => small(&mut attr, 32, 0x3ff),
            _ => {}
        }
        *process.attr.borrow_mut() = attr;
        if let Err(error) = bpf(&process, number, ATTR, u32::from(*size)) {
            assert!(error.errno() > 0, "{error:?}");
            assert!(!error.to_string().is_empty());
        }
    }
    for map in process.maps.borrow().iter().filter(|map| map.access() != Access::WriteOnly) {
        let check = map.check().expect("a handle that may read");
        assert!(check.is_clean() && check.still, "{check:?}");
    }
});
