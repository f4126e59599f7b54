//! What the bpf(2) seam needs, made up: memory by numbers, descriptors, ids, types.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use usermap::command::{BadFd, Fault, Host, Types};
use usermap::{Map, Result};

/// An address where nothing is.
pub const BAD_ADDRESS: u64 = 8;

/// Addresses of two buffers are this far apart, so that none runs into the next.
const APART: u64 = 1 << 33;

/// What is behind a descriptor.
enum Open {
    Map(Map),
    Other,
    Types(Types),
}

/// One process for one case.
pub struct Process {
    memory: RefCell<BTreeMap<u64, Vec<u8>>>,
    open: RefCell<BTreeMap<i32, Open>>,
    next_fd: Cell<i32>,
    /// Maps by id, with the types they were created with.
    ids: RefCell<BTreeMap<u32, (Map, Option<Types>)>>,
}

impl Process {
    /// A process with standard input, output and error.
    pub fn new() -> Process {
        let process = Process {
            memory: RefCell::default(),
            open: RefCell::default(),
            next_fd: Cell::new(0),
            ids: RefCell::default(),
        };
        for _ in 0..3 {
            process.open_other();
        }
        process
    }

    /// A buffer with these bytes; its address.
    pub fn buffer(&self, bytes: Vec<u8>) -> u64 {
        let mut memory = self.memory.borrow_mut();
        let address = (memory.len() as u64 + 1) * APART;
        memory.insert(address, bytes);
        address
    }

    /// What is in a buffer now; empty if it is none.
    pub fn bytes(&self, address: u64) -> Vec<u8> {
        self.memory.borrow().get(&address).cloned().unwrap_or_default()
    }

    /// A descriptor of a file that is no map.
    pub fn open_other(&self) -> i32 {
        self.open_as(Open::Other)
    }

    /// A descriptor of BTF.
    pub fn open_types(&self, types: Types) -> i32 {
        self.open_as(Open::Types(types))
    }

    pub fn close(&self, fd: i32) -> bool {
        self.open.borrow_mut().remove(&fd).is_some()
    }

    /// The system call.
    pub fn bpf(&self, command: u32, attr: u64, size: u32) -> Result<i32> {
        usermap::command::bpf(self, command, attr, size)
    }

    fn open_as(&self, open: Open) -> i32 {
        let fd = self.next_fd.get();
        self.next_fd.set(fd + 1);
        self.open.borrow_mut().insert(fd, open);
        fd
    }

    /// Runs `access` on the part of a buffer that an address means.
    fn at<R>(
        &self,
        address: u64,
        length: usize,
        access: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, Fault> {
        let mut memory = self.memory.borrow_mut();
        let (start, buffer) = memory.range_mut(..=address).next_back().ok_or(Fault)?;
        let from = usize::try_from(address - start).map_err(|_| Fault)?;
        let to = from.checked_add(length).ok_or(Fault)?;
        buffer.get_mut(from..to).map(access).ok_or(Fault)
    }
}

impl Host for Process {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        self.at(address, bytes.len(), |memory| bytes.copy_from_slice(memory))
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.at(address, bytes.len(), |memory| memory.copy_from_slice(bytes))
    }

    fn map(&self, fd: i32) -> Result<Map, BadFd> {
        match self.open.borrow().get(&fd) {
            Some(Open::Map(map)) => Ok(map.clone()),
            Some(_) => Err(BadFd::NotAMap),
            None => Err(BadFd::NotOpen),
        }
    }

    fn install(&self, map: Map) -> Result<i32> {
        let id = map.info().id;
        self.ids.borrow_mut().entry(id).or_insert_with(|| (map.clone(), None));
        Ok(self.open_as(Open::Map(map)))
    }

    fn cpus(&self) -> u32 {
        crate::syscall::CPUS
    }

    fn map_by_id(&self, id: u32) -> Option<Map> {
        self.ids.borrow().get(&id).map(|(map, _)| map.clone())
    }

    fn next_id(&self, id: u32) -> Option<u32> {
        self.ids.borrow().range(id + 1..).next().map(|(id, _)| *id)
    }

    fn types(&self, fd: i32, _key: u32, _value: u32) -> Result<Types, BadFd> {
        match self.open.borrow().get(&fd) {
            Some(Open::Types(types)) => Ok(*types),
            Some(_) => Err(BadFd::NotAMap),
            None => Err(BadFd::NotOpen),
        }
    }

    fn types_of(&self, map: &Map) -> Option<Types> {
        self.ids.borrow().get(&map.info().id).and_then(|(_, types)| *types)
    }

    fn typed(&self, map: &Map, types: Types) {
        self.ids.borrow_mut().insert(map.info().id, (map.clone(), Some(types)));
    }
}
