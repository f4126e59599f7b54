//! A program's file: all that is needed to load it once more, in any process.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `usermapP` |
//! | 4 each | version, type, expected attach type, whether it is GPL-compatible, the loader's user, id, id of the BTF |
//! | 8 | when it was loaded, in nanoseconds since the machine was started |
//! | 8, 16 | tag, name |
//! | 4 each | lengths of what follows: instructions, BTF, records of functions, records of lines |
//! | | those |
//! | 4 each, to the end | ids of the maps that it uses, and then of those that were bound to it |
//!
//! Instructions name maps by their ids. Anybody may have written the file: what is read is checked like
//! what a program's loader gives.

use super::{Program, records};
use crate::attr::{set_word, word};
use crate::fd_array;
use crate::registry::{self, Kind, read_exact, write_all};
use crate::seam;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{Errno, Result};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use usermap::Map;
use usermap_vm::btf::Btf;
use usermap_vm::instruction::Instruction;
use usermap_vm::{Error, MapReference, Options, ProgramType, Raw};

const MAGIC: [u8; 8] = *b"usermapP";
const VERSION: u32 = 1;
/// Bytes before the parts.
const HEADER: usize = 84;
/// No program's file is larger.
const LARGEST: u64 = 64 << 20;

/// What a program is loaded from.
#[derive(Clone, Default)]
pub(super) struct Source {
    pub(super) program_type: u32,
    pub(super) attach_type: u32,
    pub(super) gpl_compatible: bool,
    pub(super) uid: u32,
    pub(super) btf_id: u32,
    pub(super) load_time: u64,
    pub(super) tag: [u8; 8],
    pub(super) name: [u8; 16],
    /// Instructions that name maps by their ids.
    pub(super) instructions: Vec<Instruction>,
    pub(super) btf: Vec<u8>,
    pub(super) functions: Vec<u8>,
    pub(super) lines: Vec<u8>,
    /// The maps that it uses.
    pub(super) maps: Vec<u32>,
}

impl Source {
    fn to_bytes(&self, id: u32) -> Vec<u8> {
        let instructions: Vec<u8> =
            self.instructions.iter().flat_map(|instruction| instruction.to_bytes()).collect();
        let parts = [&instructions, &self.btf, &self.functions, &self.lines];
        let mut bytes = vec![0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        let numbers = [
            VERSION,
            self.program_type,
            self.attach_type,
            self.gpl_compatible.into(),
            self.uid,
            id,
            self.btf_id,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            set_word(&mut bytes, 8 + index * 4, number);
        }
        bytes[36..44].copy_from_slice(&self.load_time.to_ne_bytes());
        bytes[44..52].copy_from_slice(&self.tag);
        bytes[52..68].copy_from_slice(&self.name);
        for (index, part) in parts.iter().enumerate() {
            set_word(&mut bytes, 68 + index * 4, part.len() as u32);
        }
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes.extend(self.maps.iter().flat_map(|id| id.to_ne_bytes()));
        bytes
    }

    /// From a file's bytes; with the program's id.
    fn from_bytes(bytes: &[u8]) -> Option<(Source, u32)> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let number = |index: usize| word(header, 8 + index * 4);
        if header[..8] != MAGIC || number(0) != VERSION {
            return None;
        }
        let mut rest = &bytes[HEADER..];
        let mut part = |index: usize| {
            let (part, behind) = rest.split_at_checked(word(header, 68 + index * 4) as usize)?;
            rest = behind;
            Some(part)
        };
        let (instructions, btf) = (part(0)?, part(1)?);
        let (functions, lines) = (part(2)?, part(3)?);
        let (instructions, []) = instructions.as_chunks::<8>() else { return None };
        let source = Source {
            program_type: number(1),
            attach_type: number(2),
            gpl_compatible: number(3) != 0,
            uid: number(4),
            btf_id: number(6),
            load_time: u64::from_ne_bytes(*header[36..].first_chunk()?),
            tag: *header[44..].first_chunk()?,
            name: *header[52..].first_chunk()?,
            instructions: instructions.iter().map(|one| Instruction::from_bytes(*one)).collect(),
            btf: btf.to_vec(),
            functions: functions.to_vec(),
            lines: lines.to_vec(),
            maps: rest.as_chunks::<4>().0.iter().map(|id| u32::from_ne_bytes(*id)).collect(),
        };
        Some((source, number(5)))
    }

    /// The program as it is loaded, with its maps by what `lookup` knows of their ids.
    pub(super) fn raw(
        &self,
        mut lookup: impl FnMut(u32) -> Option<Map>,
    ) -> usermap_vm::Result<Raw> {
        let Some(program_type) = ProgramType::from_number(self.program_type) else {
            let what = format!("program type {}", self.program_type);
            let object = "BPF_PROG_LOAD".to_owned();
            return Err(Error::Unsupported { object, what, line: None });
        };
        let name = String::from_utf8_lossy(&self.name);
        let name = match name.trim_end_matches('\0') {
            "" => "program",
            name => name,
        };
        let mut raw = Raw::new(program_type, name, self.instructions.clone());
        raw.resolve(|reference| {
            let MapReference::Descriptor(id) = reference else { return Err(no_map(0)) };
            lookup(id as u32).ok_or_else(|| no_map(id))
        })?;
        raw.holding(fd_array::holds);
        if let Ok(btf) = Btf::parse(&self.btf) {
            let functions = records::function_infos(&self.functions);
            raw.describe(btf, &functions, &records::line_infos(&self.lines));
        }
        Ok(raw)
    }
}

/// How programs are loaded: what they print is told.
pub(super) fn options() -> Options {
    match seam::is_logged() {
        true => Options::new().trace(seam::tell),
        false => Options::new(),
    }
}

fn no_map(id: i32) -> Error {
    Error::Unknown { kind: "map", name: format!("of id {id}"), known: Vec::new() }
}

impl Program {
    /// Enters a program that was loaded, under a new id, and makes its file.
    pub(super) fn enter(
        source: Source,
        maps: Vec<Map>,
        program: usermap_vm::Program,
    ) -> Result<Program> {
        let file = registry::new_file()?;
        let mut id = new_id();
        loop {
            rustix::fs::ftruncate(&file, 0)?;
            write_all(file.as_fd(), &source.to_bytes(id))?;
            match registry::enter(Kind::Program, id, file.as_fd()) {
                Err(Errno::EXIST) => id = new_id(),
                // A folder that takes no entries leaves the program to this process.
                _ => break,
            }
        }
        for map in &maps {
            if let Some(fd) = map.as_fd() {
                let _ = registry::keep(id, Kind::Map, map.info().id, fd);
            }
        }
        if let Ok(btf) = registry::open(Kind::Btf, source.btf_id) {
            let _ = registry::keep(id, Kind::Btf, source.btf_id, btf.as_fd());
        }
        Ok(Program { id, source, maps: Mutex::new(maps), program, linked: Mutex::default(), file })
    }

    /// The program that a file holds, if it holds one that can be loaded.
    pub(crate) fn from_file(file: OwnedFd) -> Option<Program> {
        let (mut source, id) = Source::from_bytes(&read_all(file.as_fd())?)?;
        let maps: Vec<Map> = source.maps.iter().filter_map(|id| map_by_id(*id)).collect();
        let known = |id| maps.iter().find(|map| map.info().id == id).cloned();
        let program = source.raw(known).and_then(|raw| raw.load(&options())).ok()?;
        source.maps.clear();
        Some(Program {
            id,
            source,
            maps: Mutex::new(maps),
            program,
            linked: Mutex::default(),
            file,
        })
    }
}

fn map_by_id(id: u32) -> Option<Map> {
    let map = Map::from_fd(registry::open(Kind::Map, id).ok()?).ok()?;
    (map.info().id == id).then_some(map)
}

/// From 1 to below INT_MAX, where listing ends.
fn new_id() -> u32 {
    (RandomState::new().hash_one(MAGIC) % (i32::MAX as u64 - 1)) as u32 + 1
}

/// Adds a map that is bound to a program to its file.
pub(super) fn append_map(file: BorrowedFd<'_>, id: u32) -> Result<()> {
    // Of a descriptor of its own, since the mode is the open file's.
    let path = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&file));
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
    write_all(file.as_fd(), &id.to_ne_bytes())
}

fn read_all(file: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut magic = [0; MAGIC.len()];
    let read = rustix::io::pread(file, &mut magic, 0).ok()?;
    let size = u64::try_from(rustix::fs::fstat(file).ok()?.st_size).ok()?;
    if read != MAGIC.len() || magic != MAGIC || size > LARGEST {
        return None;
    }
    let mut bytes = vec![0; size as usize];
    read_exact(file, &mut bytes, 0)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files() {
        let source = Source {
            program_type: 6,
            name: *b"0123456789abcde\0",
            instructions: vec![Instruction::from_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]); 3],
            btf: vec![7; 40],
            functions: vec![1; 16],
            lines: vec![2; 32],
            maps: vec![5, 6],
            ..Source::default()
        };
        let bytes = source.to_bytes(77);
        let (same, id) = Source::from_bytes(&bytes).expect("it was just written");
        assert_eq!((same.to_bytes(id), id), (bytes.clone(), 77));
        let fixed = bytes.len() - 8;
        for length in 0..fixed {
            assert!(Source::from_bytes(&bytes[..length]).is_none(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                // Whatever it is, it says no more than it has.
                if let Some((source, _)) = Source::from_bytes(&bytes) {
                    assert!(source.to_bytes(0).len() <= bytes.len() + 4);
                }
            }
        }
    }
}
