//! What the bpf(2) seam needs of this process: its memory and its descriptors.

use crate::descriptor;
use crate::foreign::memory;
use usermap::command::{BadFd, Fault, Host};
use usermap::{Map, Result};

/// This process, as [`usermap::command::bpf`] sees it: addresses are its own, descriptors are real.
///
/// ```
/// use usermap::command::{BadFd, Host};
/// use usermap::{Map, MapType, Spec};
/// use usermap_c::host::Process;
///
/// let fd = Process.install(Map::create(&Spec::new(MapType::Array, 4, 8, 3))?)?;
/// assert_eq!(Process.map(fd).unwrap().spec().max_entries, 3);
/// assert_eq!(Process.map(-1).unwrap_err(), BadFd::NotOpen);
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Host for Process {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        memory::read(address, bytes)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        memory::write(address, bytes)
    }

    fn map(&self, fd: i32) -> Result<Map, BadFd> {
        descriptor::map(fd)
    }

    fn install(&self, map: Map) -> Result<i32> {
        descriptor::install_map(map)
    }
}
