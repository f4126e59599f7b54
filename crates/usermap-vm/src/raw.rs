//! Programs as bpf(2) takes them: instructions whose maps are named by descriptors, without an object.
//!
//! They are loaded as an object's are: one program and the maps that it uses, which were made by
//! others. So their CPU slots are leased, and the program itself is the only thing that is new.

use crate::btf::{Btf, FunctionInfo, LineInfo};
use crate::code::{Code, Function, Strings};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::instruction::{Instruction, pseudo};
use crate::options::Options;
use crate::program::Program;
use crate::program_type::ProgramType;
use rustix::fs::fstat;
use usermap::Map;

/// What errors call it.
pub(crate) const NAME: &str = "BPF_PROG_LOAD";
/// LDDW: the immediate is an index of an array of descriptors (`BPF_PSEUDO_MAP_IDX`).
const MAP_INDEX: u8 = 5;
/// The same for the address of a byte of the map's value (`BPF_PSEUDO_MAP_IDX_VALUE`).
const MAP_INDEX_VALUE: u8 = 6;
/// As many maps a program may use (`MAX_USED_MAPS`).
const MOST_MAPS: usize = 64;

/// What an instruction names a map by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapReference {
    /// A descriptor (`BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`).
    Descriptor(i32),
    /// An index of the array of descriptors that the program came with (`BPF_PSEUDO_MAP_IDX`,
    /// `BPF_PSEUDO_MAP_IDX_VALUE`).
    Index(i32),
}

/// What an array has that stands for one of the kernel's arrays of descriptors: `u32`s, of which
/// only the host knows what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holds {
    /// Programs: `PROG_ARRAY`.
    Programs,
    /// Where events go: `PERF_EVENT_ARRAY`.
    Events,
}

/// A program as `BPF_PROG_LOAD` gets it.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// use usermap_vm::{Context, MapReference, Options, ProgramType, Raw};
/// use usermap_vm::instruction::Instruction;
///
/// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1))?;
/// let instructions = [
///     [0x18, 0x21, 0, 0, 7, 0, 0, 0],  // r1 = value of the map behind descriptor 7
///     [0; 8],
///     [0x7a, 1, 0, 0, 42, 0, 0, 0],    // *(u64 *)(r1 + 0) = 42
///     [0xb7, 0, 0, 0, 2, 0, 0, 0],     // r0 = 2
///     [0x95, 0, 0, 0, 0, 0, 0, 0],     // exit
/// ];
/// let instructions = instructions.map(Instruction::from_bytes).to_vec();
/// let mut raw = Raw::new(ProgramType::Syscall, "answer", instructions);
/// raw.resolve(|reference| {
///     assert_eq!(reference, MapReference::Descriptor(7));
///     Ok(map.clone())
/// })?;
/// let program = raw.load(&Options::new())?;
/// assert_eq!(program.run(&mut Context::from(vec![0; 8]))?.value, 2);
/// let mut value = [0; 8];
/// map.lookup(&[0; 4], &mut value, 0)?;
/// assert_eq!(value[0], 42);
/// # Ok::<(), usermap_vm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Raw {
    pub(crate) code: Code,
    pub(crate) maps: Vec<Map>,
    /// What the maps hold, by their numbers; of most of them nothing is said.
    pub(crate) holds: Vec<Option<Holds>>,
    pub(crate) btf: Option<Btf>,
}

impl Raw {
    /// Instructions of a type of program; `name` is what errors call it.
    ///
    /// ```
    /// use usermap_vm::{Options, ProgramType, Raw};
    /// let error = Raw::new(ProgramType::Xdp, "empty", Vec::new()).load(&Options::new());
    /// let error = error.err().expect("no instructions");
    /// assert_eq!(error.to_string(), "BPF_PROG_LOAD: program empty is empty");
    /// ```
    pub fn new(program_type: ProgramType, name: &str, instructions: Vec<Instruction>) -> Raw {
        let code = Code { name: name.to_owned(), program_type, instructions, ..Code::default() };
        Raw { code, maps: Vec::new(), holds: Vec::new(), btf: None }
    }

    /// Finds the maps that instructions name. Several references may be to one map. [`Raw`] has an
    /// example.
    ///
    /// # Errors
    ///
    /// What `lookup` gives; there are more than 64 maps.
    pub fn resolve(&mut self, mut lookup: impl FnMut(MapReference) -> Result<Map>) -> Result<()> {
        let Raw { code, maps, .. } = self;
        let mut files = Vec::new();
        rename_maps(&mut code.instructions, |reference| {
            let map = lookup(reference)?;
            let file = file_of(&map)?;
            let known = files.iter().position(|known| *known == file);
            let number = known.unwrap_or(files.len());
            if number == MOST_MAPS {
                return Err(Error::Map(usermap::Error::Command {
                    command: NAME,
                    rule: "the total number of maps per program has reached the limit of 64",
                    errno: libc::E2BIG,
                }));
            }
            if known.is_none() {
                files.push(file);
                maps.push(map);
            }
            Ok(number as i32)
        })
    }

    /// The maps that [`resolve`](Raw::resolve) found, each once, by their numbers.
    ///
    /// ```
    /// use usermap_vm::{ProgramType, Raw};
    /// assert!(Raw::new(ProgramType::Xdp, "pass", Vec::new()).maps().is_empty());
    /// ```
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Says which of those maps hold something else than values. Events that a program puts out into
    /// one get nowhere (ENOENT); programs are those of a [`Group`].
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// use usermap_vm::{Context, Holds, Options, ProgramType, Raw, instruction::Instruction};
    /// let array = Map::create(&Spec::new(MapType::Array, 4, 4, 1))?;
    /// let instructions = [
    ///     [0x18, 0x12, 0, 0, 0, 0, 0, 0], // r2 = the map
    ///     [0; 8],
    ///     [0xb7, 3, 0, 0, 0, 0, 0, 0],    // r3 = 0
    ///     [0x85, 0, 0, 0, 12, 0, 0, 0],   // bpf_tail_call
    ///     [0xb7, 0, 0, 0, 5, 0, 0, 0],    // r0 = 5
    ///     [0x95, 0, 0, 0, 0, 0, 0, 0],    // exit
    /// ];
    /// let instructions = instructions.map(Instruction::from_bytes).to_vec();
    /// let mut raw = Raw::new(ProgramType::Syscall, "caller", instructions);
    /// raw.resolve(|_| Ok(array.clone()))?;
    /// assert!(raw.load(&Options::new()).is_err(), "an array has no programs");
    /// raw.holding(|_| Some(Holds::Programs));
    /// let program = raw.load(&Options::new())?;
    /// assert_eq!(program.run(&mut Context::from(Vec::new()))?.value, 5);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn holding(&mut self, holds: impl Fn(&Map) -> Option<Holds>) {
        self.holds = self.maps.iter().map(holds).collect();
    }

    /// Where the program's functions start, by the calls and callbacks in it: what records of
    /// functions must agree with.
    ///
    /// ```
    /// use usermap_vm::{ProgramType, Raw, instruction::Instruction};
    /// let instructions = [
    ///     [0x85, 0x10, 0, 0, 1, 0, 0, 0], // call the function behind the next instruction
    ///     [0x95, 0, 0, 0, 0, 0, 0, 0],    // exit
    ///     [0xb7, 0, 0, 0, 2, 0, 0, 0],    // r0 = 2
    ///     [0x95, 0, 0, 0, 0, 0, 0, 0],    // exit
    /// ];
    /// let instructions = instructions.map(Instruction::from_bytes).to_vec();
    /// assert_eq!(Raw::new(ProgramType::Xdp, "pass", instructions).function_starts(), [0, 2]);
    /// ```
    pub fn function_starts(&self) -> Vec<usize> {
        crate::validate::function_starts(&self.code)
    }

    /// Names functions and gives source lines, by records whose offsets count instructions
    /// (`bpf_func_info`, `bpf_line_info`).
    ///
    /// ```
    /// use usermap_vm::btf::{Btf, LineInfo};
    /// use usermap_vm::{Options, ProgramType, Raw, instruction::Instruction};
    /// # let bytes = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0];
    /// # let blob = [&bytes[..], b"\0a.c\0return\0"].concat();
    /// let btf = Btf::parse(&blob)?; // strings: "a.c" at 1, "return" at 5
    /// let line = LineInfo { offset: 0, file: 1, text: 5, line: 3, column: 9 };
    /// let exit = Instruction::from_bytes([0x95, 0, 0, 0, 1, 0, 0, 0]); // has an immediate
    /// let mut raw = Raw::new(ProgramType::Xdp, "pass", vec![exit]);
    /// raw.describe(btf, &[], &[line]);
    /// let error = raw.load(&Options::new()).err().expect("no such instruction");
    /// assert!(error.to_string().ends_with("(a.c:3: return)"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn describe(&mut self, btf: Btf, functions: &[FunctionInfo], lines: &[LineInfo]) {
        let function = |info: &FunctionInfo| Function {
            name: btf.name(info.type_id).to_owned(),
            start: info.offset as usize,
        };
        self.code.functions = functions.iter().map(function).collect();
        let numbered = lines.iter().map(|line| (line.offset as usize, line));
        self.code.lines = Strings::default().lines(&btf, numbered);
        self.btf = Some(btf);
    }

    /// Checks the program and translates it. [`Raw`] has an example.
    ///
    /// # Errors
    ///
    /// It makes no sense, or asks for what there is not: by instruction and, where that is known,
    /// source line. A map cannot be used by programs.
    pub fn load(&self, options: &Options) -> Result<Program> {
        Ok(Group::load(std::slice::from_ref(self), options)?.first())
    }
}

/// Gives the maps that instructions name other names: descriptors, all of them
/// ([`MapReference::Descriptor`]), of which only the caller knows what they mean.
///
/// # Errors
///
/// What `name` gives.
///
/// ```
/// use usermap_vm::{MapReference, instruction::Instruction, rename_maps};
/// let load = [[0x18, 0x51, 0, 0, 3, 0, 0, 0], [0; 8]]; // r1 = the map of descriptor number 3
/// let mut load = load.map(Instruction::from_bytes);
/// rename_maps(&mut load, |reference| {
///     assert_eq!(reference, MapReference::Index(3));
///     Ok(42)
/// })?;
/// assert_eq!((load[0].src, load[0].imm), (1, 42));
/// # Ok::<(), usermap_vm::Error>(())
/// ```
pub fn rename_maps(
    instructions: &mut [Instruction],
    mut name: impl FnMut(MapReference) -> Result<i32>,
) -> Result<()> {
    let mut at = 0;
    while let Some(instruction) = instructions.get_mut(at) {
        at += if instruction.is_wide() { 2 } else { 1 };
        if let Some((reference, kind)) = reference(instruction) {
            (instruction.src, instruction.imm) = (kind, name(reference)?);
        }
    }
    Ok(())
}

/// The map that an instruction names, if it names one; and what the engines know the load as.
fn reference(instruction: &Instruction) -> Option<(MapReference, u8)> {
    let number = instruction.imm;
    match instruction.src {
        _ if !instruction.is_wide() => None,
        pseudo::MAP => Some((MapReference::Descriptor(number), pseudo::MAP)),
        pseudo::MAP_VALUE => Some((MapReference::Descriptor(number), pseudo::MAP_VALUE)),
        MAP_INDEX => Some((MapReference::Index(number), pseudo::MAP)),
        MAP_INDEX_VALUE => Some((MapReference::Index(number), pseudo::MAP_VALUE)),
        _ => None,
    }
}

/// What tells maps apart: their files.
pub(crate) fn file_of(map: &Map) -> Result<(u64, u64)> {
    let fd = map.as_fd().ok_or_else(|| Error::Invalid {
        what: "an anonymous map".to_owned(),
        rule: "programs use maps that have descriptors".to_owned(),
    })?;
    let stat = fstat(fd).map_err(|error| Error::Io {
        action: "looking at the file of",
        path: map.spec().name.to_string().into(),
        error: error.into(),
    })?;
    Ok((stat.st_dev, stat.st_ino))
}
