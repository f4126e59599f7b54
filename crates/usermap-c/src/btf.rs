//! BTF that programs load, and the types of maps: objects by id, with their commands.
//!
//! A BTF object is a file: eight bytes that say so, and the BTF. Its id follows from its content, so
//! that whoever opens a map, which carries its types in its region, gives them the id that they had
//! for who created it.

use crate::attr::{Attr, long, set_word, word};
use crate::descriptor::{self, Object as Open};
use crate::registry::{self, Kind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use usermap::abi::{command, errno, map_flags};
use usermap::command::{BadFd, Types, name};
use usermap::{Error, Map, MapTypes, Result};
use usermap_vm::btf::{self, Btf};

const MAGIC: &[u8; 8] = b"usermapB";
/// `BTF_MAX_SIZE`
const LIMIT: usize = 16 << 20;
/// `sizeof(struct bpf_btf_info)`
const INFO: usize = 32;

/// Why BTF is refused.
const MALFORMED: &str = "malformed BTF";

/// BTF that is loaded.
#[derive(Debug)]
pub struct Object {
    id: u32,
    file: OwnedFd,
    btf: Btf,
}

impl Object {
    /// Loads BTF, or finds it where it is loaded.
    ///
    /// # Errors
    ///
    /// EINVAL if it is malformed; there is no room for it.
    pub fn load(bytes: &[u8]) -> Result<Object> {
        let btf = Btf::parse(bytes).map_err(|_| Error::Command {
            command: name(command::BTF_LOAD),
            rule: MALFORMED,
            errno: errno::EINVAL,
        })?;
        for probe in 0.. {
            let id = id_of(bytes, probe);
            match Object::by_id(id) {
                Some(found) if found.btf.bytes() == bytes => return Ok(found),
                // Another one's id.
                Some(_) => continue,
                None => {}
            }
            let file = registry::new_file().and_then(|file| {
                registry::write_all(file.as_fd(), MAGIC)?;
                registry::write_all(file.as_fd(), bytes)?;
                Ok(file)
            });
            let file = file.map_err(|error| io("making room for BTF", error))?;
            // Loaded by another process since: look again. A folder that takes no entries leaves
            // the object to this process.
            if registry::enter(Kind::Btf, id, file.as_fd()) != Err(Errno::EXIST) {
                return Ok(Object { id, file, btf });
            }
            if probe > 1000 {
                break;
            }
        }
        Err(io("finding an id for BTF", Errno::NOSPC))
    }

    /// BTF that is loaded.
    fn by_id(id: u32) -> Option<Object> {
        registry::open(Kind::Btf, id).ok().and_then(Object::from_file)
    }

    /// What a file is that may be BTF.
    pub fn from_file(file: OwnedFd) -> Option<Object> {
        let mut magic = [0; 8];
        registry::read_exact(file.as_fd(), &mut magic, 0)?;
        if magic != *MAGIC {
            return None;
        }
        let size = rustix::fs::fstat(&file).ok()?.st_size as usize;
        let mut bytes = vec![0; size.checked_sub(MAGIC.len()).filter(|size| *size <= LIMIT)?];
        registry::read_exact(file.as_fd(), &mut bytes, magic.len())?;
        let btf = Btf::parse(&bytes).ok()?;
        let same_file = |probe: &u32| {
            let id = id_of(&bytes, *probe);
            registry::is_entry(Kind::Btf, id, file.as_fd())
        };
        let id = id_of(&bytes, (0..16).find(same_file).unwrap_or(0));
        Some(Object { id, file, btf })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The BTF.
    pub fn btf(&self) -> &Btf {
        &self.btf
    }

    /// Its file.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The types of a map's key (0 for none) and value, if it has them.
    fn types(&self, key: u32, value: u32) -> Option<Types> {
        let size = |id: u32| u32::try_from(self.btf.size_of(id)?).ok();
        Some(Types {
            btf_id: self.id,
            key: if key == 0 { None } else { Some((key, size(key)?)) },
            value: (value, size(value)?),
            spin_lock: spin_lock(&self.btf, value),
            section: matches!(self.btf.resolved(value), btf::Kind::Section { .. }),
        })
    }
}

/// BTF whose ids were told as those of maps' types: kept, so that the ids are good.
static TOLD: Mutex<BTreeMap<u32, Arc<Object>>> = Mutex::new(BTreeMap::new());

/// The types of a map, as its info tells them.
pub fn types_of(map: &Map) -> Option<Types> {
    let types = map.types().ok()??;
    let id = id_of(types.btf(), 0);
    let object = match told(id).filter(|object| object.btf.bytes() == types.btf()) {
        Some(object) => object,
        None => keep(Arc::new(Object::load(types.btf()).ok()?)),
    };
    object.types(types.key(), types.value())
}

/// What is kept is not waited for: a thread that a fork left behind could hold it.
fn told(id: u32) -> Option<Arc<Object>> {
    TOLD.try_lock().ok()?.get(&id).cloned()
}

fn keep(object: Arc<Object>) -> Arc<Object> {
    if let Ok(mut told) = TOLD.try_lock() {
        told.insert(object.id, object.clone());
    }
    object
}

/// What a new map with these types carries in its region: all of the BTF if that is small, so that
/// the types keep their numbers; else what the two need.
pub(crate) fn carried(types: &Types) -> Option<MapTypes> {
    const MOST: usize = 1 << 18;
    let object = match told(types.btf_id) {
        Some(object) => object,
        None => keep(Arc::new(Object::by_id(types.btf_id)?)),
    };
    let (key, value) = (types.key.map_or(0, |key| key.0), types.value.0);
    if object.btf.bytes().len() <= MOST {
        return Some(MapTypes::new(object.btf.bytes(), key, value));
    }
    let (bytes, ids) = object.btf.subset(&[key, value]);
    (bytes.len() <= MOST).then(|| MapTypes::new(bytes, ids[0], ids[1]))
}

/// Types by number, of the BTF behind a descriptor.
pub(crate) fn types(fd: i32, key: u32, value: u32) -> Result<Types, BadFd> {
    match descriptor::get(fd)? {
        Open::Btf(object) => {
            let types = object.types(key, value).ok_or(BadFd::NotAMap)?;
            keep(object);
            Ok(types)
        }
        _ => Err(BadFd::NotAMap),
    }
}

/// Where a struct has its `bpf_spin_lock`; the kernel does not look into its members either.
fn spin_lock(btf: &Btf, id: u32) -> Option<u32> {
    let is_lock = |member: &&btf::Member| {
        let id = btf.resolve(member.type_id);
        btf.name(id) == "bpf_spin_lock" && matches!(btf.kind(id), Some(btf::Kind::Struct(_)))
    };
    btf.members(id)?.iter().find(is_lock).map(|member| member.bit_offset / 8)
}

/// `BPF_BTF_LOAD`: struct { u64 btf, btf_log_buf; u32 btf_size, btf_log_size, btf_log_level,
/// btf_log_true_size, btf_flags; s32 btf_token_fd; }
pub(crate) fn load(attr: &Attr) -> Result<i32> {
    if attr.u32(32) & !map_flags::TOKEN_FD != 0 {
        return Err(attr.invalid("btf_flags are TOKEN_FD or nothing"));
    }
    if attr.u32(32) != 0 {
        return Err(attr.invalid("there are no tokens"));
    }
    let (log, log_size, level) = (attr.u64(8), attr.u32(20), attr.u32(24));
    let no_log = log == 0 && log_size == 0;
    if (log == 0) != (log_size == 0) || !no_log && level == 0 || level & !0xf != 0 {
        return Err(attr.invalid("a log has an address, a size and a level, or none of them"));
    }
    let length = attr.u32(16) as usize;
    if length > LIMIT {
        return Err(attr.error("more than 16 MiB of BTF", errno::E2BIG));
    }
    let bytes = attr.bytes_in(attr.u64(0), length)?;
    if let Err(why) = Btf::parse(&bytes) {
        let mut text = format!("{why}\n\0").into_bytes();
        text.truncate(log_size as usize);
        if let Some(last) = text.last_mut() {
            *last = 0;
        }
        attr.copy_out(log, &text)?;
        return Err(attr.invalid(MALFORMED));
    }
    give(Object::load(&bytes)?)
}

/// `BPF_BTF_GET_FD_BY_ID`: struct { u32 btf_id, next_id, open_flags; s32 fd_by_id_token_fd; }
pub(crate) fn get_fd_by_id(attr: &Attr) -> Result<i32> {
    if attr.u32(8) != 0 {
        return Err(attr.invalid("BTF takes no open_flags"));
    }
    give(
        Object::by_id(attr.u32(0))
            .ok_or_else(|| attr.error("no BTF has this id", errno::ENOENT))?,
    )
}

fn give(object: Object) -> Result<i32> {
    let fd = rustix::io::fcntl_dupfd_cloexec(&object.file, 3)
        .map_err(|error| io("making a descriptor of BTF", error))?;
    Ok(descriptor::install(Open::Btf(Arc::new(object)), fd))
}

/// `BPF_OBJ_GET_INFO_BY_FD` of BTF: struct { u64 btf; u32 btf_size, id; u64 name; u32 name_len,
/// kernel_btf; }
pub(crate) fn info(object: &Object, attr: &Attr) -> Result<i32> {
    let (given, target) = (attr.u32(4), attr.u64(8));
    let mut info = attr.structure(target, INFO, given)?;
    let bytes = object.btf.bytes();
    let copied = bytes.len().min(word(&info, 8) as usize);
    attr.copy_out(long(&info, 0), &bytes[..copied])?;
    let (name, name_len) = (long(&info, 16), word(&info, 24));
    if (name == 0) != (name_len == 0) {
        return Err(attr.invalid("a name has an address and a length, or neither"));
    }
    // Only the kernel's own BTF has a name.
    if name != 0 {
        attr.copy_out(name, &[0])?;
    }
    for (at, number) in [(8, bytes.len() as u32), (12, object.id), (24, 0), (28, 0)] {
        set_word(&mut info, at, number);
    }
    let told = INFO.min(given as usize);
    attr.copy_out(target, &info[..told])?;
    attr.put(4, told as u32)?;
    Ok(0)
}

fn io(doing: &'static str, error: Errno) -> Error {
    Error::Io { doing, path: "".into(), source: error.into() }
}

/// From 1 to below INT_MAX; `probe` counts ids that other BTF has.
fn id_of(bytes: &[u8], probe: u32) -> u32 {
    const PRIME: u64 = 0x100_0000_01b3;
    let hash = bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325_u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME).rotate_left(29)
    });
    let span = i32::MAX as u64 - 1;
    (((hash ^ hash >> 32) % span + u64::from(probe)) % span) as u32 + 1
}
