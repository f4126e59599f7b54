//! Programs without an object: instructions, run on a piece of memory.
//!
//! For tests of instructions and for tools. Such a program gets the address of its memory in r1 and
//! the length in r2, or zeros if there is none; it has a stack, and the maps that it is given.

use crate::code::{Code, Function};
use crate::context::Packet;
use crate::error::{Error, Result, Trap};
use crate::instruction::Instruction;
use crate::object::MapDefinition;
use crate::places::{self, Places};
use crate::program_type::ProgramType;
use crate::run::{HelperCall, LoadedProgram, OwnHelper, Run, Storage, Vm};
use crate::sandbox::cage::{Cage, PACKET, PACKET_BYTES};
use crate::validate::{self, Rules};
use crate::{helper, interpret, jit};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use usermap::Map;

/// What a program's name is that has none.
const NAME: &str = "program";

/// What runs the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Machine code.
    Jit,
    /// The interpreter.
    Interpreter,
}

impl Engine {
    /// All engines that there are on this machine; the first is the usual one.
    pub const fn all() -> &'static [Engine] {
        if cfg!(target_arch = "x86_64") {
            &[Engine::Jit, Engine::Interpreter]
        } else {
            &[Engine::Interpreter]
        }
    }
}

/// How a program is run.
///
/// ```
/// use usermap_vm::{bare, instruction::Instruction};
/// let instructions = [
///     [0x71, 0x10, 1, 0, 0, 0, 0, 0], // r0 = *(u8 *)(r1 + 1)
///     [0x85, 0, 0, 0, 7, 0, 0, 0],    // call 7
///     [0x95, 0, 0, 0, 0, 0, 0, 0],    // exit
/// ];
/// let mut options = bare::Options::new();
/// options.budget(1000).helper(7, |call| call.arguments()[1] + 40);
/// let program = options.load(instructions.map(Instruction::from_bytes).to_vec())?;
/// assert_eq!(program.run(&mut [1, 2])?, 42);
/// # Ok::<(), usermap_vm::Error>(())
/// ```
pub struct Options {
    engine: Engine,
    budget: u64,
    helpers: HashMap<u32, OwnHelper>,
    maps: Vec<(String, Map)>,
    cpu: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            engine: Engine::all()[0],
            budget: 1 << 30,
            helpers: HashMap::new(),
            maps: Vec::new(),
            cpu: 0,
        }
    }
}

impl Options {
    /// The usual engine, a budget of 2^30 instructions, and no helpers but the kernel's.
    pub fn new() -> Options {
        Options::default()
    }

    /// What runs it.
    pub fn engine(&mut self, engine: Engine) -> &mut Options {
        self.engine = engine;
        self
    }

    /// Instructions that a run may take.
    pub fn budget(&mut self, instructions: u64) -> &mut Options {
        self.budget = instructions;
        self
    }

    /// A helper of one's own, which programs call by that number.
    pub fn helper(
        &mut self,
        id: u32,
        function: impl Fn(&mut HelperCall<'_>) -> u64 + Send + Sync + 'static,
    ) -> &mut Options {
        self.helpers.insert(id, Arc::new(function));
        self
    }

    /// A map that the program may use, and what errors call it. Its number, for loads of its
    /// address, is how many were given before it.
    ///
    /// ```
    /// use usermap_vm::{bare, instruction::Instruction};
    /// let map = usermap::Map::create(&usermap::Spec::new(usermap::MapType::Queue, 0, 8, 4))?;
    /// map.push(&42_u64.to_le_bytes(), 0)?;
    /// let instructions = [
    ///     [0x18, 0x11, 0, 0, 0, 0, 0, 0],       // r1 = map 0
    ///     [0; 8],
    ///     [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],       // r2 = r10
    ///     [0x07, 2, 0, 0, 0xf8, 255, 255, 255], // r2 += -8
    ///     [0x85, 0, 0, 0, 88, 0, 0, 0],         // bpf_map_pop_elem(map, value)
    ///     [0x79, 0xa0, 0xf8, 255, 0, 0, 0, 0],  // r0 = *(u64 *)(r10 - 8)
    ///     [0x95, 0, 0, 0, 0, 0, 0, 0],
    /// ];
    /// let mut options = bare::Options::new();
    /// options.map("values", map);
    /// let program = options.load(instructions.map(Instruction::from_bytes).to_vec())?;
    /// assert_eq!(program.run(&mut [])?, 42);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn map(&mut self, name: impl Into<String>, map: Map) -> &mut Options {
        self.maps.push((name.into(), map));
        self
    }

    /// The CPU slot that it runs on, which per-CPU maps must have. Nothing is leased: whoever asks
    /// for a slot sees to it that no other program is on it.
    pub fn cpu(&mut self, cpu: u32) -> &mut Options {
        self.cpu = cpu;
        self
    }

    /// Makes a program of instructions. Functions start where calls lead.
    ///
    /// They must be valid by the rules of the standard (RFC 9669). The kernel has some rules more,
    /// which hold for objects: it refuses shifts by more than the width and divisions by zero if
    /// they are by an immediate.
    pub fn load(&self, instructions: Vec<Instruction>) -> Result<Program> {
        let code = Code { name: NAME.to_owned(), instructions, ..Code::default() };
        self.load_code(code)
    }

    /// Makes a program of an object's, whose maps are the ones given here. Functions that it does
    /// not list start where calls lead.
    pub fn load_code(&self, mut code: Code) -> Result<Program> {
        complete(&mut code);
        let known = |id| self.helpers.contains_key(&id) || helper::by_id(id).is_some();
        let definitions: Vec<_> =
            self.maps.iter().map(|(name, map)| MapDefinition::of(name, map)).collect();
        validate::validate_by(Rules::Standard, &code.name, &code, &definitions, known)?;
        let mut places = Places::default();
        let mut maps = Vec::new();
        for (name, map) in &self.maps {
            map.on_cpu(self.cpu)?;
            maps.push(places.put(name, Storage::Map(map.clone()))?);
        }
        let memory = places::cage(NAME, &maps, places.bits()?)?;
        let own = |id| self.helpers.contains_key(&id);
        let native = match self.engine {
            Engine::Interpreter => None,
            Engine::Jit => jit::compile(&code, &maps, memory.mask(), &own)
                .map_err(|problem| Error::Object { object: code.name.clone(), problem })?,
        };
        let program = LoadedProgram {
            decoded: interpret::Decoded::new(&code),
            code: Arc::new(code),
            program_type: ProgramType::default(),
            native,
        };
        let vm = Vm {
            programs: vec![program],
            maps,
            helpers: self.helpers.clone(),
            budget: self.budget,
            trace: None,
        };
        Ok(Program { vm, memory, cpu: self.cpu })
    }
}

/// Adds the functions that are called and not listed.
pub(crate) fn complete(code: &mut Code) {
    let listed: HashSet<usize> = code.functions.iter().map(|function| function.start).collect();
    for start in validate::function_starts(code) {
        if !listed.contains(&start) {
            let name = if start == 0 { code.name.clone() } else { format!("function_{start}") };
            code.functions.push(Function { name, start });
        }
    }
    code.functions.sort_by_key(|function| function.start);
}

/// A program that can be run.
pub struct Program {
    vm: Vm,
    memory: Cage,
    cpu: u32,
}

impl Program {
    /// Runs it on memory, which it may change; gives r0.
    pub fn run(&self, memory: &mut [u8]) -> Result<u64> {
        if memory.len() as u64 > PACKET_BYTES {
            let what = format!("memory of {} bytes", memory.len());
            let rule = format!("at most {PACKET_BYTES} bytes");
            return Err(Error::Invalid { what, rule });
        }
        let address = if memory.is_empty() { 0 } else { PACKET };
        let length = memory.len() as u64;
        let mut run = Run::new(&self.vm, &self.memory, self.cpu, Packet::default());
        let not_there = |kind| Trap { program: 0, instruction: 0, kind };
        let outcome = self.memory.write(address, memory).map_err(not_there).and_then(|()| {
            let value = run.start(0, [address, length, 0, 0, 0], 1)?;
            self.memory.read(address, memory).map_err(not_there)?;
            Ok(value)
        });
        outcome.map_err(|trap| self.vm.fault(trap))
    }
}

/// Runs instructions once, with the usual options; gives r0.
///
/// ```
/// use usermap_vm::{bare, instruction::Instruction};
/// let instructions = [[0xb7, 0, 0, 0, 42, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
/// assert_eq!(bare::run(&instructions.map(Instruction::from_bytes), &mut [])?, 42);
/// # Ok::<(), usermap_vm::Error>(())
/// ```
pub fn run(instructions: &[Instruction], memory: &mut [u8]) -> Result<u64> {
    Options::new().load(instructions.to_vec())?.run(memory)
}
