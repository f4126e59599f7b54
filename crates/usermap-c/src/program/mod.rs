//! Programs of bpf(2): loaded, run, described, found by id, kept in files.
//!
//! | file | what it does |
//! |---|---|
//! | `load` | `BPF_PROG_LOAD`: what is checked, and in which order |
//! | `records` | the records of functions and source lines that come with a program |
//! | `log` | the log that a loader asks for |
//! | `license` | which helpers are for GPL programs only |
//! | `file` | all that is needed to load a program once more, as bytes |
//! | `run` | `BPF_PROG_TEST_RUN` |
//! | `tail_call` | the programs that it comes to by tail calls |
//! | `info` | `BPF_OBJ_GET_INFO_BY_FD` |
//!
//! A program's descriptor is a file that holds all that the program was loaded from: its instructions,
//! with maps by their ids, its types, its name. So a descriptor that another process inherits or
//! opens by an id or a pin is enough: the program is checked and translated there once more. Its
//! maps and its BTF live as long as it does, by links that are kept beside its entry in the registry.

mod file;
mod info;
mod license;
mod load;
mod log;
mod records;
mod run;
mod tail_call;

use crate::attr::{self, Attr};
use crate::descriptor::{self, Object};
use crate::registry::{self, Kind};
use file::Source;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tail_call::Linked;
use usermap::abi::{command, errno};
use usermap::command::{BadFd, name};
use usermap::{Error, Map, Result};

/// A program that is loaded.
pub struct Program {
    id: u32,
    source: Source,
    /// The maps that it uses, and then those that were bound to it.
    maps: Mutex<Vec<Map>>,
    /// What runs it alone.
    program: usermap_vm::Program,
    /// What ran it last with the programs that it can call.
    linked: Mutex<Option<Linked>>,
    /// Its file: the descriptors of C programs are copies of this one.
    file: OwnedFd,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("id", &self.id).field("name", &self.name()).finish()
    }
}

impl Program {
    /// Its name; empty if it has none.
    pub(crate) fn name(&self) -> String {
        let name = self.source.name;
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..length]).into_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The ids of what may end with it: itself, and what it has.
    pub(crate) fn ids(&self) -> Vec<(Kind, u32)> {
        let maps = self.maps().into_iter().map(|map| (Kind::Map, map.info().id));
        let btf = (Kind::Btf, self.source.btf_id);
        [(Kind::Program, self.id)].into_iter().chain(maps).chain([btf]).collect()
    }

    pub(crate) fn type_number(&self) -> u32 {
        self.source.program_type
    }

    /// Gives its file a name, which is a pin.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(crate) fn pin(&self, path: &Path) -> Result<()> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(|error| Error::Command {
            command: name(command::OBJ_PIN),
            rule: "the program's file cannot have this name",
            errno: error.raw_os_error(),
        })
    }

    /// The program that is pinned at a path, if it is one that is.
    pub(crate) fn pinned(path: &Path) -> Option<Program> {
        let file = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let program = Program::from_file(file)?;
        // Its entry, which another machine's start or a copied folder may have lost.
        let _ = registry::enter(Kind::Program, program.id, program.file.as_fd());
        Some(program)
    }

    fn by_id(id: u32) -> Option<Program> {
        registry::open(Kind::Program, id).ok().and_then(Program::from_file)
    }

    fn maps(&self) -> Vec<Map> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One of the commands on programs: `attr` is the address of a `bpf_attr` of `size` bytes.
///
/// # Errors
///
/// What the kernel would say of it. A command that is not of programs is EINVAL.
///
/// ```
/// use usermap_c::program;
/// // r0 = 2; exit
/// let instructions = [[0xb7_u8, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
/// let license = *b"GPL\0";
/// let mut attr = [0_u64; 21];
/// attr[0] = 31 | 2 << 32; // BPF_PROG_TYPE_SYSCALL, two instructions
/// attr[1] = instructions.as_ptr() as u64;
/// attr[2] = license.as_ptr() as u64;
/// attr[5] = 1 << 36; // BPF_F_SLEEPABLE
/// let fd = program::bpf(5, attr.as_ptr() as u64, 168)?; // BPF_PROG_LOAD
///
/// let mut attr = [0_u64; 10];
/// attr[0] = fd as u64;
/// program::bpf(10, attr.as_mut_ptr() as u64, 80)?; // BPF_PROG_TEST_RUN
/// assert_eq!(std::hint::black_box(&mut attr)[0] >> 32, 2); // retval
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn bpf(command: u32, attr: u64, size: u32) -> Result<i32> {
    match command {
        command::PROG_LOAD => load::load(&Attr::read(command, attr, size, attr::BYTES)?),
        command::PROG_TEST_RUN => run::run(&Attr::read(command, attr, size, 76)?),
        command::PROG_GET_FD_BY_ID => by_id(&Attr::read(command, attr, size, 4)?),
        command::OBJ_GET_INFO_BY_FD => info::info(&Attr::read(command, attr, size, 16)?),
        command::PROG_BIND_MAP => bind(&Attr::read(command, attr, size, 12)?),
        _ => Err(Attr::read(command, attr, size, attr::BYTES)?.invalid("no command of programs")),
    }
}

/// The program behind a descriptor.
///
/// # Errors
///
/// It is not open, or it is something else.
pub(crate) fn get(fd: i32) -> Result<Arc<Program>, BadFd> {
    match descriptor::get(fd)? {
        Object::Program(program) => Ok(program),
        _ => Err(BadFd::NotAMap),
    }
}

/// The program of an id.
pub(crate) fn by_number(id: u32) -> Option<Arc<Program>> {
    descriptor::program(id).or_else(|| Program::by_id(id).map(Arc::new))
}

fn of(attr: &Attr, fd: u32) -> Result<Arc<Program>> {
    get(fd as i32).map_err(|bad| attr.error("the descriptor is no program", bad.errno()))
}

/// Gives C a descriptor of a program.
pub(crate) fn install(command: u32, program: Program) -> Result<i32> {
    let fd = rustix::io::fcntl_dupfd_cloexec(&program.file, 3);
    let fd = fd.map_err(|error| Error::Command {
        command: name(command),
        rule: "no descriptor is left",
        errno: error.raw_os_error(),
    })?;
    Ok(descriptor::install(Object::Program(Arc::new(program)), fd))
}

/// `BPF_PROG_GET_FD_BY_ID`: struct { u32 prog_id; }
fn by_id(attr: &Attr) -> Result<i32> {
    match Program::by_id(attr.u32(0)) {
        Some(program) => install(command::PROG_GET_FD_BY_ID, program),
        None => Err(attr.error("no program has this id", errno::ENOENT)),
    }
}

/// `BPF_PROG_BIND_MAP`: struct { u32 prog_fd, map_fd, flags; }
fn bind(attr: &Attr) -> Result<i32> {
    if attr.u32(8) != 0 {
        return Err(attr.invalid("there are no flags"));
    }
    let program = of(attr, attr.u32(0))?;
    let map = descriptor::any_map(attr.u32(4) as i32);
    let map = map.map_err(|bad| attr.error("the descriptor is no map", bad.errno()))?;
    let id = map.info().id;
    let mut maps = program.maps.lock().unwrap_or_else(PoisonError::into_inner);
    if maps.iter().any(|known| known.info().id == id) {
        return Ok(0);
    }
    let io = |error: rustix::io::Errno| attr.error("binding the map", error.raw_os_error());
    file::append_map(program.file.as_fd(), id).map_err(io)?;
    if let Some(fd) = map.as_fd() {
        // Where there is no entry the map lives as long as this process has the program.
        let _ = registry::keep(program.id, Kind::Map, id, fd);
    }
    maps.push(map);
    Ok(0)
}
