//! One run of a program: what both engines and all helpers work on.

use crate::code::Code;
use crate::context::Packet;
use crate::error::{Error, Fault, FaultKind, Trap};
use crate::sandbox::cage::{Cage, FRAME, STACK, STACK_TOP};
use crate::{helper, interpret};
use crate::{jit, program_type::ProgramType};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use usermap::{HashLayout, Map, ValuePointer};

/// How many tail calls a run makes (`MAX_TAIL_CALL_CNT`).
pub(crate) const TAIL_CALLS: u32 = 33;

/// Helpers that engines know: `bpf_map_lookup_elem`
pub(crate) const LOOKUP: u32 = 1;
/// `bpf_map_update_elem`
pub(crate) const UPDATE: u32 = 2;
/// `bpf_map_delete_elem`
pub(crate) const DELETE: u32 = 3;
/// `bpf_tail_call`
pub(crate) const TAIL_CALL: u32 = 12;
/// What r0 is after a tail call that was not made.
pub(crate) const NO_TAIL_CALL: u64 = -(libc::ENOENT as i64) as u64;

/// What stands for a map in a register: no address of anything.
const MAP: u64 = 0x4d41_5000_0000_0000;
/// What stands for a function.
const FUNCTION: u64 = 0x4655_4e00_0000_0000;
/// Which half of a register says that it is one of these.
const KIND: u64 = 0xffff_ff00_0000_0000;
/// The first number of either; the rest are 8 apart, and all of them below the stack.
const FIRST: u64 = 0x1000;

/// What a load of a map's address gives.
pub(crate) fn map_handle(index: usize) -> u64 {
    MAP | (FIRST + index as u64 * 8)
}

/// The number of the map that something stands for.
pub(crate) fn map_number(handle: u64) -> Option<usize> {
    number(handle, MAP)
}

/// What a load of a function's address gives.
pub(crate) fn function_handle(function: usize) -> u64 {
    FUNCTION | (FIRST + function as u64 * 8)
}

fn number(handle: u64, kind: u64) -> Option<usize> {
    let number = (handle & !KIND).checked_sub(FIRST)?;
    (handle & KIND == kind && number.is_multiple_of(8)).then_some(number as usize / 8)
}

/// All that programs of one object share.
pub(crate) struct Vm {
    /// The programs.
    pub(crate) programs: Vec<LoadedProgram>,
    /// The maps, by the numbers that instructions have.
    pub(crate) maps: Vec<LoadedMap>,
    /// Helpers of the embedding application.
    pub(crate) helpers: HashMap<u32, OwnHelper>,
    /// Instructions that a run may take.
    pub(crate) budget: u64,
    /// Gets what programs print.
    pub(crate) trace: Option<Trace>,
}

impl Vm {
    /// A trap as an error, with names and the source line.
    #[cold]
    pub(crate) fn fault(&self, trap: Trap) -> Error {
        let Trap { program, instruction, kind } = trap;
        let code = &self.programs[program].code;
        let function = code.functions.get(code.function(instruction));
        Error::Fault(Box::new(Fault {
            program: code.name.clone(),
            function: function.map(|function| function.name.clone()).unwrap_or_default(),
            instruction,
            line: code.line(instruction).cloned(),
            kind,
        }))
    }
}

/// Gets the lines that programs print.
pub(crate) type Trace = Arc<dyn Fn(&str) + Send + Sync>;
/// A helper of the embedding application.
pub(crate) type OwnHelper = Arc<dyn Fn(&mut HelperCall<'_>) -> u64 + Send + Sync>;

/// A program that can be run.
pub(crate) struct LoadedProgram {
    pub(crate) code: Arc<Code>,
    /// What the interpreter runs.
    pub(crate) decoded: interpret::Decoded,
    pub(crate) program_type: ProgramType,
    /// Machine code, unless it is to be interpreted.
    pub(crate) native: Option<jit::Native>,
}

/// A map of an object, open.
pub(crate) struct LoadedMap {
    pub(crate) name: Arc<str>,
    pub(crate) storage: Storage,
    /// Where its values are in the cage.
    pub(crate) start: u64,
    /// How machine code finds values itself, where it can.
    pub(crate) table: Option<Table>,
}

/// What machine code knows of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    Array(ArrayLayout),
    Hash(HashTable),
}

/// A hash in the cage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashTable {
    pub(crate) layout: HashLayout,
    pub(crate) key_size: usize,
    /// Where the memory of its values is in the cage.
    pub(crate) start: u64,
}

/// Where an array's values are in the cage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArrayLayout {
    pub(crate) start: u64,
    pub(crate) max_entries: u32,
    /// Bytes from one value to the next.
    pub(crate) stride: u64,
    /// Bytes from one CPU slot's values to the next's; 0 if it is not per CPU.
    pub(crate) plane: u64,
}

/// What a map is kept in.
pub(crate) enum Storage {
    /// A map in a region.
    Map(Map),
    /// `PROG_ARRAY`: numbers of programs, of this process.
    Programs(helper::ProgramArray),
    /// `PERF_EVENT_ARRAY`: a queue of events, of this process.
    Events(helper::EventArray),
}

/// What machine code reads and writes of a run; first in it.
#[repr(C)]
pub(crate) struct State {
    /// The cage's first byte.
    pub(crate) base: *mut u8,
    /// Instructions left.
    pub(crate) budget: i64,
    /// The frame pointer (r10) of the function that calls a helper.
    pub(crate) frame: u64,
    /// Not 0 once a helper has refused to go on: `Run::stop` says why.
    pub(crate) stopped: u64,
    /// Not 0 if a tail call was made, whose result is the function's.
    pub(crate) tail_called: u64,
    /// The address of an atomic access that is not aligned.
    pub(crate) address: u64,
    /// What the budget is when a run begins.
    pub(crate) full: i64,
    /// Not 0 once a helper was called that may have changed more of the run than the budget.
    pub(crate) used: u64,
}

/// A run.
#[repr(C)]
pub(crate) struct Run<'r> {
    pub(crate) state: State,
    pub(crate) vm: &'r Vm,
    pub(crate) memory: &'r Cage,
    /// The program that runs now.
    pub(crate) program: usize,
    /// The CPU slot.
    pub(crate) cpu: u32,
    /// Where the packet is.
    pub(crate) packet: Packet,
    pub(crate) tail_calls: u32,
    /// Why a helper refused to go on, while machine code is left.
    pub(crate) stop: Option<Stop>,
    /// What a helper panicked with, while machine code is left.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
    /// Bytes of scratch memory in use.
    pub(crate) scratch: u64,
    /// The `bpf_spin_lock` that the program holds; 0 if none.
    pub(crate) lock: u64,
}

/// Gives back what a run has taken, however it ends: a helper of others may panic.
struct Ended<'e, 'r> {
    run: &'e mut Run<'r>,
}

impl Drop for Ended<'_, '_> {
    fn drop(&mut self) {
        helper::release(self.run);
    }
}

/// Why a helper refuses to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was called wrongly.
    Fault(FaultKind),
    /// The program that it called went wrong.
    Trap(Trap),
}

impl From<FaultKind> for Stop {
    fn from(kind: FaultKind) -> Stop {
        Stop::Fault(kind)
    }
}

impl Stop {
    /// As what happened at an instruction.
    pub(crate) fn at(self, program: usize, instruction: usize) -> Trap {
        match self {
            Stop::Fault(kind) => Trap { program, instruction, kind },
            Stop::Trap(trap) => trap,
        }
    }
}

impl<'r> Run<'r> {
    /// A run that has not begun.
    pub(crate) fn new(vm: &'r Vm, memory: &'r Cage, cpu: u32, packet: Packet) -> Run<'r> {
        let state = State {
            base: memory.base(),
            budget: 0,
            frame: 0,
            stopped: 0,
            tail_called: 0,
            address: 0,
            full: i64::try_from(vm.budget).unwrap_or(i64::MAX),
            used: 0,
        };
        let mut run = Run {
            state,
            vm,
            memory,
            program: 0,
            cpu,
            packet,
            tail_calls: 0,
            stop: None,
            panic: None,
            scratch: 0,
            lock: 0,
        };
        run.again();
        run
    }

    /// Ends a run, and makes it one that has not begun, on the packet as it is now.
    #[inline]
    pub(crate) fn again(&mut self) {
        helper::release(self);
        self.state.budget = self.state.full;
        self.state.used = 0;
        self.state.frame = STACK_TOP;
        self.packet.redirect = None;
        self.packet.clones.clear();
        self.tail_calls = 0;
        self.scratch = 0;
    }

    /// Runs a program from its start, so many times, at least once, each as a run of its own; gives
    /// the last one's r0.
    pub(crate) fn start(
        &mut self,
        program: usize,
        arguments: [u64; 5],
        times: u64,
    ) -> Result<u64, Trap> {
        let ended = Ended { run: self };
        let run = &mut *ended.run;
        run.program = program;
        if let Some(native) = &run.vm.programs[program].native {
            return native.call(run, 0, STACK_TOP, arguments, times);
        }
        for _ in 1..times {
            interpret::run(run, 0, STACK_TOP, arguments)?;
            run.again();
        }
        interpret::run(run, 0, STACK_TOP, arguments)
    }

    /// Runs a function in a frame.
    fn execute(
        &mut self,
        program: usize,
        function: usize,
        frame: u64,
        arguments: [u64; 5],
    ) -> Result<u64, Trap> {
        let before = std::mem::replace(&mut self.program, program);
        let vm = self.vm;
        let given = match &vm.programs[program].native {
            Some(native) => native.call(self, function, frame, arguments, 1),
            None => interpret::run(self, function, frame, arguments),
        };
        self.program = before;
        given
    }

    /// The code of the program that runs now.
    pub(crate) fn code(&self) -> &'r Code {
        &self.vm.programs[self.program].code
    }

    /// The map that an argument means.
    pub(crate) fn map(&self, helper: &'static str, argument: u64) -> Result<&'r LoadedMap, Stop> {
        let map = number(argument, MAP).and_then(|index| self.vm.maps.get(index));
        map.ok_or_else(|| Stop::Fault(wrong(helper, format!("{argument:#x} is not a map"))))
    }

    /// The map in a region that an argument means.
    pub(crate) fn region_map(
        &self,
        helper: &'static str,
        argument: u64,
    ) -> Result<(&'r LoadedMap, usermap::Program<'r>), Stop> {
        let loaded = self.map(helper, argument)?;
        let Storage::Map(map) = &loaded.storage else {
            let problem = format!("map {} is of another kind", loaded.name);
            return Err(wrong(helper, problem).into());
        };
        let program = map.on_cpu(self.cpu);
        let program = program.map_err(|error| wrong(helper, error.to_string()))?;
        Ok((loaded, program))
    }

    /// Where a program sees a value.
    pub(crate) fn address(&self, map: &LoadedMap, value: ValuePointer) -> u64 {
        map.start + value.offset() as u64
    }

    /// Calls a function of the program from a helper: a callback.
    pub(crate) fn call_back(
        &mut self,
        helper: &'static str,
        handle: u64,
        arguments: [u64; 5],
    ) -> Result<u64, Stop> {
        let function =
            number(handle, FUNCTION).filter(|function| *function < self.code().functions.len());
        let Some(function) = function else {
            return Err(wrong(helper, format!("{handle:#x} is not a function")).into());
        };
        let frame = self.next_frame(self.state.frame)?;
        let before = std::mem::replace(&mut self.state.frame, frame);
        let given = self.execute(self.program, function, frame, arguments);
        self.state.frame = before;
        given.map_err(Stop::Trap)
    }

    /// The frame below one, if there is one.
    pub(crate) fn next_frame(&self, frame: u64) -> Result<u64, FaultKind> {
        let next = frame.wrapping_sub(FRAME);
        match (STACK + FRAME..=STACK_TOP).contains(&next) {
            false => Err(FaultKind::CallDepth { limit: crate::sandbox::cage::FRAMES as u32 }),
            true => Ok(next),
        }
    }

    /// `bpf_tail_call`: runs another program instead of this function; gives its r0, or nothing
    /// if there is none at that index.
    pub(crate) fn tail_call(
        &mut self,
        [context, map, index, ..]: [u64; 5],
    ) -> Result<Option<u64>, Stop> {
        let loaded = self.map("bpf_tail_call", map)?;
        let Storage::Programs(programs) = &loaded.storage else {
            let problem = format!("map {} holds no programs", loaded.name);
            return Err(wrong("bpf_tail_call", problem).into());
        };
        let Some(program) = programs.get(index as u32) else { return Ok(None) };
        if self.tail_calls >= TAIL_CALLS {
            return Ok(None);
        }
        self.tail_calls += 1;
        let frame = self.state.frame;
        self.execute(program, 0, frame, [context, 0, 0, 0, 0]).map(Some).map_err(Stop::Trap)
    }

    /// Calls a helper.
    pub(crate) fn call_helper(&mut self, id: u32, arguments: [u64; 5]) -> Result<u64, Stop> {
        if let Some(own) = self.vm.helpers.get(&id) {
            let own = own.clone();
            let mut call = HelperCall { run: self, arguments, fault: None };
            let value = own(&mut call);
            return call.fault.map_or(Ok(value), |fault| Err(Stop::Fault(fault)));
        }
        match helper::by_id(id) {
            Some(helper) => (helper.function)(self, arguments),
            None => Err(wrong("call", format!("there is no helper {id}")).into()),
        }
    }
}

/// The fault of a wrong call of a helper.
pub(crate) fn wrong(helper: &'static str, problem: String) -> FaultKind {
    FaultKind::Helper { helper, problem }
}

/// What a helper of the embedding application gets: its arguments, and the program's memory.
///
/// ```
/// # use usermap_vm::{Context, Error, Object, Options};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
/// let options = Options::new().helper(0x1_0001, "price_of", |call| {
///     assert!(call.cpu() < usermap::possible_cpus());
///     let mut there = [0; 8];
///     // NULL is not the program's: the run ends with a fault.
///     u64::from(call.read(0, &mut there))
/// });
/// let loaded = Object::open(path)?.load(&options)?;
/// let error = loaded.program("order")?.run(&mut Context::from(vec![0; 12])).unwrap_err();
/// assert!(matches!(error, Error::Fault(_)), "{error}");
/// # Ok::<(), usermap_vm::Error>(())
/// ```
pub struct HelperCall<'c> {
    run: &'c mut dyn RunMemory,
    arguments: [u64; 5],
    fault: Option<FaultKind>,
}

/// A run, as helpers of others may see it.
trait RunMemory {
    fn memory(&self) -> &Cage;
    fn cpu(&self) -> u32;
}

impl RunMemory for Run<'_> {
    fn memory(&self) -> &Cage {
        self.memory
    }

    fn cpu(&self) -> u32 {
        self.cpu
    }
}

impl HelperCall<'_> {
    /// The values of r1 to r5.
    pub fn arguments(&self) -> [u64; 5] {
        self.arguments
    }

    /// The CPU slot that the program runs on.
    pub fn cpu(&self) -> u32 {
        self.run.cpu()
    }

    /// Copies from the program's memory; false if it is not all the program's, which ends the
    /// program with a fault once the helper returns.
    pub fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        let read = self.run.memory().read(address, bytes);
        self.note(read)
    }

    /// Copies to the program's memory; as [`read`](HelperCall::read).
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let written = self.run.memory().write(address, bytes);
        self.note(written)
    }

    fn note(&mut self, outcome: Result<(), FaultKind>) -> bool {
        let fault = outcome.err();
        let fine = fault.is_none();
        self.fault = self.fault.take().or(fault);
        fine
    }
}
