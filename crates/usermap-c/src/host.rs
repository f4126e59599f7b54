//! What the bpf(2) seam needs of this process: its memory and its descriptors.

use crate::descriptor;
use crate::foreign::memory;
use crate::program::{self, Program};
use crate::registry::{self, Kind};
use crate::{bpffs, btf, fd_array, seam};
use std::path::Path;
use usermap::abi::{command, errno};
use usermap::command::{BadFd, Fault, Host, Types, name};
use usermap::{Access, Error, Map, Result, Spec};

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
        descriptor::any_map(fd)
    }

    fn install(&self, map: Map) -> Result<i32> {
        descriptor::install_map(map)
    }

    fn create(&self, spec: &Spec, types: Option<&Types>) -> Result<Map> {
        let mut spec = spec.clone();
        spec.types = types.and_then(btf::carried).or(spec.types);
        let mut room_made = false;
        loop {
            match Map::create(&spec).and_then(|map| seam::enter(&map).map(|()| map)) {
                // Ids are drawn at random.
                Err(error) if error.errno() == errno::EEXIST => {}
                // Maps of processes that ended may fill the folder.
                Err(error) if error.errno() == errno::ENOSPC && !room_made => {
                    registry::sweep();
                    room_made = true;
                }
                done => return done,
            }
        }
    }

    fn map_by_id(&self, id: u32) -> Option<Map> {
        let map = Map::from_fd(registry::open(Kind::Map, id).ok()?).ok()?;
        (map.info().id == id).then_some(map)
    }

    fn next_id(&self, id: u32) -> Option<u32> {
        registry::next_id(Kind::Map, id)
    }

    fn pin(&self, map: &Map, path: &Path) -> Result<()> {
        map.pin(bpffs::pin(command::OBJ_PIN, path, errno::EPERM)?)
    }

    fn open(&self, path: &Path, access: Access) -> Result<Map> {
        let map = Map::open(bpffs::pin(command::OBJ_GET, path, errno::EACCES)?, access)?;
        // A map that another tool made; or one that has its id from a copied file.
        let _ = seam::enter(&map);
        Ok(map)
    }

    fn get(&self, path: &Path, access: Access) -> Result<i32> {
        match Program::pinned(&bpffs::pin(command::OBJ_GET, path, errno::EACCES)?) {
            Some(_) if access != Access::ReadWrite => Err(Error::Command {
                command: name(command::OBJ_GET),
                rule: "programs have no open_flags",
                errno: errno::EINVAL,
            }),
            Some(program) => program::install(command::OBJ_GET, program),
            None => self.install(self.open(path, access)?),
        }
    }

    fn is_program(&self, fd: i32) -> bool {
        program::get(fd).is_ok()
    }

    fn pin_program(&self, fd: i32, path: &Path) -> Result<()> {
        let program = program::get(fd).map_err(|bad| Error::Command {
            command: name(command::OBJ_PIN),
            rule: "the descriptor is no program",
            errno: bad.errno(),
        })?;
        program.pin(&bpffs::pin(command::OBJ_PIN, path, errno::EPERM)?)
    }

    fn types(&self, fd: i32, key: u32, value: u32) -> Result<Types, BadFd> {
        btf::types(fd, key, value)
    }

    fn types_of(&self, map: &Map) -> Option<Types> {
        // Those of an array of descriptors are usermap's own.
        btf::types_of(map).filter(|_| fd_array::holds(map).is_none())
    }
}
