//! The bpf(2)-shaped seam: commands with a `bpf_attr` in the caller's memory, answered as
//! Linux 6.18 answers them.
//!
//! [`bpf`] is the system call without the system: what it needs from its surroundings, memory
//! and descriptors, a [`Host`] supplies. A C library or a preloaded one gives it the process's own;
//! a test can give it anything. It checks in the kernel's order (`kernel/bpf/syscall.c`): the
//! attribute's size and tail, flags that no map could take, the descriptor, access rights, the
//! caller's memory, and then the map.
//!
//! ```
//! use std::cell::RefCell;
//! use usermap::abi::command::{MAP_CREATE, MAP_UPDATE_ELEM};
//! use usermap::command::{BadFd, Fault, Host, bpf};
//! use usermap::{Map, Result};
//!
//! /// 256 bytes of memory from address 4096 on, and descriptors that are never closed.
//! struct Small(RefCell<Vec<u8>>, RefCell<Vec<Map>>);
//!
//! impl Host for Small {
//!     fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
//!         let start = address.checked_sub(4096).ok_or(Fault)? as usize;
//!         let memory = self.0.borrow();
//!         bytes.copy_from_slice(memory.get(start..start + bytes.len()).ok_or(Fault)?);
//!         Ok(())
//!     }
//!     fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
//!         let start = address.checked_sub(4096).ok_or(Fault)? as usize;
//!         let mut memory = self.0.borrow_mut();
//!         memory.get_mut(start..start + bytes.len()).ok_or(Fault)?.copy_from_slice(bytes);
//!         Ok(())
//!     }
//!     fn map(&self, fd: i32) -> Result<Map, BadFd> {
//!         self.1.borrow().get(fd as usize).cloned().ok_or(BadFd::NotOpen)
//!     }
//!     fn install(&self, map: Map) -> Result<i32> {
//!         self.1.borrow_mut().push(map);
//!         Ok(self.1.borrow().len() as i32 - 1)
//!     }
//! }
//!
//! let host = Small(RefCell::new(vec![0; 256]), RefCell::new(Vec::new()));
//! for (at, field) in [2_u32, 4, 8, 16].into_iter().enumerate() {
//!     host.write(4096 + 4 * at as u64, &field.to_ne_bytes()).unwrap(); // an array: 4, 8, 16
//! }
//! let fd = bpf(&host, MAP_CREATE, 4096, 72)?;
//! assert_eq!(host.map(fd).unwrap().spec().max_entries, 16);
//!
//! host.write(4096, &[0; 72]).unwrap(); // no key, no value: NULL pointers
//! let error = bpf(&host, MAP_UPDATE_ELEM, 4096, 32).unwrap_err();
//! assert_eq!(error.errno(), 14); // EFAULT
//! # Ok::<(), usermap::Error>(())
//! ```

mod attr;
mod batch;
mod create;
mod element;
mod object;

pub use attr::{ATTR_BYTES, attribute, name};

use crate::abi::{command, errno};
use crate::error::{Error, Reason, Result};
use crate::map::{Access, Map};
use crate::spec::Spec;
use attr::Attr;
use std::path::Path;

/// An address that the caller cannot read or write: EFAULT.
///
/// ```
/// assert_eq!(format!("{:?}", usermap::command::Fault), "Fault");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Why a descriptor is of no use to a command.
///
/// ```
/// use usermap::command::BadFd;
/// assert_eq!(BadFd::NotOpen.errno(), 9); // EBADF
/// assert_eq!(BadFd::NotAMap.errno(), 22); // EINVAL
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFd {
    /// It is not open.
    NotOpen,
    /// It is something else than what is asked for.
    NotAMap,
}

impl BadFd {
    /// What the kernel says of it: EBADF or EINVAL.
    pub const fn errno(self) -> i32 {
        match self {
            BadFd::NotOpen => errno::EBADF,
            BadFd::NotAMap => errno::EINVAL,
        }
    }

    const fn rule(self) -> &'static str {
        match self {
            BadFd::NotOpen => "the descriptor is not open",
            BadFd::NotAMap => "the descriptor is of another kind",
        }
    }
}

/// The types of a map's key and value, from its BTF.
///
/// ```
/// use usermap::command::Types;
/// let types = Types { btf_id: 1, key: Some((1, 4)), value: (5, 16), ..Types::default() };
/// assert_eq!((types.value.1, types.spin_lock), (16, None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// The number of the BTF object.
    pub btf_id: u32,
    /// The key's type and its size, where it has one.
    pub key: Option<(u32, u32)>,
    /// The value's type and its size.
    pub value: (u32, u32),
    /// Where in the value a `struct bpf_spin_lock` is.
    pub spin_lock: Option<u32>,
    /// Whether the value is a section of variables: `.data`, `.bss` or `.rodata`.
    pub section: bool,
}

/// What the commands need from their surroundings.
///
/// All methods take `&self`, since several threads may call [`bpf`] at once. The module's
/// documentation has a small one.
pub trait Host {
    /// Reads the caller's memory, at least one byte.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Writes the caller's memory, at least one byte.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// The map behind a descriptor.
    fn map(&self, fd: i32) -> Result<Map, BadFd>;

    /// A new descriptor for the map.
    fn install(&self, map: Map) -> Result<i32>;

    /// A new map of this specification, with these types if there are any.
    fn create(&self, spec: &Spec, types: Option<&Types>) -> Result<Map> {
        let _ = types;
        Map::create(spec)
    }

    /// CPU slots of new per-CPU maps; 0 for as many as the machine can have.
    fn cpus(&self) -> u32 {
        0
    }

    /// The map with this id, among those that the host knows.
    fn map_by_id(&self, id: u32) -> Option<Map> {
        let _ = id;
        None
    }

    /// The smallest id of a map that is larger than this.
    fn next_id(&self, id: u32) -> Option<u32> {
        let _ = id;
        None
    }

    /// Gives the map a name in the file system.
    fn pin(&self, map: &Map, path: &Path) -> Result<()> {
        map.pin(path)
    }

    /// The map with this name in the file system.
    fn open(&self, path: &Path, access: Access) -> Result<Map> {
        Map::open(path, access)
    }

    /// A new descriptor for what has this name in the file system.
    fn get(&self, path: &Path, access: Access) -> Result<i32> {
        self.install(self.open(path, access)?)
    }

    /// Whether the descriptor, which is no map's, is of something else that can be pinned.
    fn is_program(&self, fd: i32) -> bool {
        let _ = fd;
        false
    }

    /// Gives what [`is_program`](Host::is_program) is true of a name in the file system.
    fn pin_program(&self, fd: i32, path: &Path) -> Result<()> {
        let _ = (fd, path);
        let rule = "the descriptor is no map";
        Err(Error::Command { command: "BPF_OBJ_PIN", rule, errno: errno::EINVAL })
    }

    /// Types by number, of the BTF behind a descriptor; without BTF every descriptor is bad.
    fn types(&self, fd: i32, key: u32, value: u32) -> Result<Types, BadFd> {
        let _ = (key, value);
        Err(if fd < 0 { BadFd::NotOpen } else { BadFd::NotAMap })
    }

    /// The types that a map was created with here, to be told by its info.
    fn types_of(&self, map: &Map) -> Option<Types> {
        let _ = map;
        None
    }

    /// Is told the types of a map that was just created with some.
    fn typed(&self, map: &Map, types: Types) {
        let _ = (map, types);
    }
}

/// One bpf(2) command on maps: `attr` is the address of a `bpf_attr` of `size` bytes.
///
/// Gives a descriptor (create, get) or 0. [`Error::errno`] of an error is what bpf(2) sets errno
/// to. A command that does not concern maps is EINVAL, as one that the kernel does not know.
///
/// The module's documentation has an example.
pub fn bpf<H: Host + ?Sized>(host: &H, command: u32, attr: u64, size: u32) -> Result<i32> {
    let attr = Attr::read(host, command, attr, size)?;
    match command {
        command::MAP_CREATE => create::create(host, &attr),
        command::MAP_LOOKUP_ELEM => element::lookup(host, &attr),
        command::MAP_UPDATE_ELEM => element::update(host, &attr),
        command::MAP_DELETE_ELEM => element::delete(host, &attr),
        command::MAP_GET_NEXT_KEY => element::get_next_key(host, &attr),
        command::MAP_LOOKUP_AND_DELETE_ELEM => element::lookup_and_delete(host, &attr),
        command::MAP_LOOKUP_BATCH => batch::lookup(host, &attr),
        command::MAP_LOOKUP_AND_DELETE_BATCH => batch::lookup_and_delete(host, &attr),
        command::MAP_UPDATE_BATCH => batch::update(host, &attr),
        command::MAP_DELETE_BATCH => batch::delete(host, &attr),
        command::MAP_FREEZE => object::freeze(host, &attr),
        command::OBJ_GET_INFO_BY_FD => object::info(host, &attr),
        command::MAP_GET_FD_BY_ID => object::get_fd_by_id(host, &attr),
        command::MAP_GET_NEXT_ID => object::get_next_id(host, &attr),
        command::OBJ_PIN => object::pin(host, &attr),
        command::OBJ_GET => object::get(host, &attr),
        _ => Err(attr.refuse("a command that maps do not have", errno::EINVAL)),
    }
}

/// The map behind a descriptor, or the error of the command.
fn map_of<H: Host + ?Sized>(host: &H, attr: &Attr, fd: u32) -> Result<Map> {
    host.map(fd as i32).map_err(|bad| attr.refuse(bad.rule(), bad.errno()))
}

/// Reads the caller's memory. Of no bytes every address is good, NULL too.
fn copy_in<H: Host + ?Sized>(host: &H, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    if bytes.is_empty() { Ok(()) } else { host.read(address, bytes) }
}

/// Writes the caller's memory, likewise.
fn copy_out<H: Host + ?Sized>(host: &H, address: u64, bytes: &[u8]) -> Result<(), Fault> {
    if bytes.is_empty() { Ok(()) } else { host.write(address, bytes) }
}

fn fault(map: &Map, operation: &'static str) -> Error {
    map.error(operation, Reason::Fault)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// The address where a mock's memory starts.
    pub(super) const BASE: u64 = 0x1_0000;

    /// Some memory and no map: what is answered before a map is needed.
    pub(super) struct Mock(RefCell<Vec<u8>>);

    impl Mock {
        pub(super) fn new(bytes: usize) -> Mock {
            Mock(RefCell::new(vec![0; bytes]))
        }
    }

    fn place(address: u64, bytes: usize) -> Result<core::ops::Range<usize>, Fault> {
        let start = address.checked_sub(BASE).ok_or(Fault)? as usize;
        Ok(start..start.checked_add(bytes).ok_or(Fault)?)
    }

    impl Host for Mock {
        fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
            let memory = self.0.borrow();
            bytes.copy_from_slice(memory.get(place(address, bytes.len())?).ok_or(Fault)?);
            Ok(())
        }

        fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
            let mut memory = self.0.borrow_mut();
            let place = memory.get_mut(place(address, bytes.len())?).ok_or(Fault)?;
            place.copy_from_slice(bytes);
            Ok(())
        }

        fn map(&self, _: i32) -> Result<Map, BadFd> {
            Err(BadFd::NotOpen)
        }

        fn install(&self, _: Map) -> Result<i32> {
            unreachable!("nothing gets this far")
        }
    }
}
