//! The functions of `usermap.h` that make and find maps. The header says what each does.

use super::attr::answer;
use super::memory;
use super::object::read_name;
use super::options::Options;
use super::own::Errno;
use crate::host::Process;
use crate::{descriptor, seam};
use libc::{c_char, c_int, c_void};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use usermap::abi::{errno, map_flags};
use usermap::command::Host;
use usermap::{Access, Map, MapType, Name, Spec};

/// `USERMAP_HUGE_PAGES`
const HUGE_PAGES: u64 = 1;

/// What a new map is to be, as C says it.
struct Asked {
    map_type: u32,
    name: *const c_char,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    opts: *const c_void,
}

impl Asked {
    fn spec(&self) -> Result<Spec, Errno> {
        // struct usermap_create_opts { size_t sz; uint32_t map_flags, cpus; uint64_t own_flags; }
        let opts = Options::<24>::read(self.opts).map_err(Errno)?;
        let huge_pages = match opts.u64(16) {
            0 => false,
            HUGE_PAGES => true,
            _ => return Err(Errno(errno::EINVAL)),
        };
        let map_type = MapType::from_id(self.map_type).ok_or(Errno(errno::EINVAL))?;
        let name = Name::from_bytes(&read_name(self.name).map_err(Errno)?)?;
        let spec = Spec::new(map_type, self.key_size, self.value_size, self.max_entries);
        Ok(spec.name(name.as_str())?.flags(opts.u32(8)).cpus(opts.u32(12)).huge_pages(huge_pages))
    }
}

/// The descriptor of a map that was made or found.
fn install(map: Result<Map, Errno>) -> c_int {
    if let Ok(map) = &map {
        // For its id to be found. A copy of a map's file has the id of that, and goes without.
        let _ = seam::enter(map);
    }
    answer(map.and_then(|map| Ok(descriptor::install_map(map)?)).map_err(|Errno(errno)| errno))
}

/// A path of C's, read byte by byte: the page after its end may not be there.
fn read_path(path: *const c_char) -> Result<PathBuf, Errno> {
    const PATH_MAX: usize = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < PATH_MAX {
        let mut byte = [0];
        memory::read(path as u64 + bytes.len() as u64, &mut byte)?;
        match byte {
            [0] if bytes.is_empty() => return Err(Errno(errno::ENOENT)),
            [0] => return Ok(PathBuf::from(OsString::from_vec(bytes))),
            [byte] => bytes.push(byte),
        }
    }
    Err(Errno(errno::ENAMETOOLONG))
}

/// `usermap_map_create` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_create(
    map_type: u32,
    name: *const c_char,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    opts: *const c_void,
) -> c_int {
    let asked = Asked { map_type, name, key_size, value_size, max_entries, opts };
    install(asked.spec().and_then(|spec| Ok(Process.create(&spec, None)?)))
}

/// `usermap_map_create_pinned` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_create_pinned(
    path: *const c_char,
    map_type: u32,
    name: *const c_char,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    opts: *const c_void,
) -> c_int {
    let asked = Asked { map_type, name, key_size, value_size, max_entries, opts };
    let create = || Ok(Map::create_pinned(read_path(path)?, &asked.spec()?)?);
    install(create())
}

/// `usermap_map_open_or_create` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_open_or_create(
    path: *const c_char,
    map_type: u32,
    name: *const c_char,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    opts: *const c_void,
) -> c_int {
    let asked = Asked { map_type, name, key_size, value_size, max_entries, opts };
    let open = || Ok(Map::open_or_create(read_path(path)?, &asked.spec()?)?);
    install(open())
}

/// `usermap_map_open` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_open(path: *const c_char, flags: u32) -> c_int {
    let open = || {
        let access = match flags {
            0 => Access::ReadWrite,
            map_flags::RDONLY => Access::ReadOnly,
            map_flags::WRONLY => Access::WriteOnly,
            _ => return Err(Errno(errno::EINVAL)),
        };
        Ok(Map::open(read_path(path)?, access)?)
    };
    install(open())
}
