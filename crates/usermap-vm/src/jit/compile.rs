//! From a program to memory that can be called: every function is translated, and all are put
//! into one piece, in which their calls of each other are resolved.

use super::arguments::arguments;
use super::translate;
use crate::blocks;
use crate::code::Code;
use crate::error::{FaultKind, Trap};
use crate::instruction::{Instruction, opcode};
use crate::run::{LoadedMap, Run};
use crate::sandbox::cage::FRAMES;
use crate::sandbox::native::{self, Executable, Exit};
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, TrapCode};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;
use std::sync::OnceLock;

/// A trap that the translator puts in: the budget is spent.
pub(super) const BUDGET: TrapCode = TrapCode::unwrap_user(1);
/// An atomic access is not aligned.
pub(super) const MISALIGNED: TrapCode = TrapCode::unwrap_user(2);
/// There is no frame left for a call.
pub(super) const CALL_DEPTH: TrapCode = TrapCode::unwrap_user(3);
/// A helper refused to go on.
pub(super) const STOPPED: TrapCode = TrapCode::unwrap_user(4);

/// A program's machine code.
#[derive(Debug)]
pub(crate) struct Native {
    executable: Executable,
    /// Where each function starts.
    functions: Vec<usize>,
    /// Instructions, by where their code starts.
    places: Vec<(usize, usize)>,
    /// Traps, by where they are.
    traps: Vec<(usize, TrapCode)>,
}

/// Functions start at multiples of this.
const ALIGNMENT: usize = 32;

/// The machine that this process runs on, as Cranelift has it.
fn machine() -> Result<&'static OwnedTargetIsa, String> {
    static MACHINE: OnceLock<Result<OwnedTargetIsa, String>> = OnceLock::new();
    let make = || {
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "none"),
            ("is_pic", "false"),
            // A frame of more than a page could otherwise reach over the host stack's guard page.
            ("enable_probestack", "true"),
            ("probestack_strategy", "inline"),
            ("unwind_info", "false"),
            ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ] {
            flags.set(name, value).map_err(|error| error.to_string())?;
        }
        let flags = settings::Flags::new(flags);
        let machine = cranelift_native::builder().map_err(str::to_owned)?;
        machine.finish(flags).map_err(|error| error.to_string())
    };
    MACHINE.get_or_init(make).as_ref().map_err(Clone::clone)
}

/// Translates a program; `mask` has the bits of an address that count, `own` says which helpers
/// are the embedding application's.
pub(crate) fn compile(
    code: &Code,
    maps: &[LoadedMap],
    mask: u64,
    own: &dyn Fn(u32) -> bool,
) -> Result<Option<Native>, String> {
    let machine = machine()?;
    let mut costs = vec![0; code.instructions.len()];
    for block in blocks::blocks(code) {
        costs[block.start] = block.count;
    }
    let counts = arguments(code);
    let mut builder = FunctionBuilderContext::new();
    let mut context = Context::new();
    let mut functions = Vec::new();
    for function in 0..code.functions.len() {
        context.clear();
        let program =
            translate::Program { code, maps, costs: &costs, mask, own, arguments: &counts };
        translate::function(&program, function, machine.as_ref(), &mut context.func, &mut builder);
        context
            .compile(machine.as_ref(), &mut ControlPlane::default())
            .map_err(|error| format!("{}: {:?}", code.functions[function].name, error.inner))?;
        let compiled = context.take_compiled_code().ok_or("it was not compiled")?;
        check_frame(&compiled)
            .map_err(|problem| format!("{}: {problem}", code.functions[function].name))?;
        let calls = calls(&compiled, &context.func.params)?;
        functions.push((compiled, calls));
    }
    Native::link(functions).map(Some)
}

/// Bytes of the host's stack that a function may take. Frames add up: with all frames of the
/// program's own stack and all tail calls there are up to 41 at once.
const LARGEST_FRAME: u32 = 16 << 10;

/// Refuses a function that keeps too much on the host's stack.
fn check_frame(compiled: &CompiledCode) -> Result<(), String> {
    let layout = compiled.buffer.frame_layout();
    let bytes = layout.map_or(0, |layout| layout.frame_to_fp_offset);
    match bytes <= LARGEST_FRAME {
        true => Ok(()),
        false => Err(format!(
            "its machine code needs {bytes} bytes of stack, and {LARGEST_FRAME} are allowed; \
             run it by the interpreter"
        )),
    }
}

/// A call of another function: where its distance is kept, and the function's number.
type Call = (usize, usize);

fn calls(
    compiled: &CompiledCode,
    names: &cranelift_codegen::ir::function::FunctionParameters,
) -> Result<Vec<Call>, String> {
    let call = |reloc: &cranelift_codegen::FinalizedMachReloc| {
        let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = &reloc.target else {
            return Err(format!("an unexpected reference: {:?}", reloc.target));
        };
        if reloc.kind != Reloc::X86CallPCRel4 || reloc.addend != -4 {
            return Err(format!("an unexpected kind of reference: {:?}", reloc.kind));
        }
        Ok((reloc.offset as usize, names.user_named_funcs()[*name].index as usize))
    };
    compiled.buffer.relocs().iter().map(call).collect()
}

/// Whether an instruction is an atomic operation that stores, as all but one do.
fn writes(instruction: Instruction) -> bool {
    instruction.class() == opcode::STX
        && instruction.opcode & opcode::MODE == opcode::ATOMIC
        && instruction.imm != opcode::LOAD_ACQ
}

impl Native {
    fn link(compiled: Vec<(CompiledCode, Vec<Call>)>) -> Result<Native, String> {
        let (mut bytes, mut functions) = (Vec::new(), Vec::new());
        let (mut places, mut traps) = (Vec::new(), Vec::new());
        for (function, _) in &compiled {
            // An int3 between functions, which nobody gets to.
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0xcc);
            let start = bytes.len();
            functions.push(start);
            bytes.extend_from_slice(function.code_buffer());
            for place in function.buffer.get_srclocs_sorted() {
                places.push((start + place.start as usize, place.loc.bits() as usize));
            }
            for trap in function.buffer.traps() {
                traps.push((start + trap.offset as usize, trap.code));
            }
        }
        for ((_, calls), start) in compiled.iter().zip(&functions) {
            for (offset, callee) in calls {
                let (at, target) = (start + offset, functions.get(*callee));
                let target = target.ok_or("a call of a function that is not there")?;
                let distance = i32::try_from(*target as i64 - (at as i64 + 4));
                let distance = distance.map_err(|_| "the program is too large")?;
                bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
        }
        let executable = Executable::new(&bytes)
            .map_err(|error| format!("no memory for machine code: {error}"))?;
        traps.sort_unstable_by_key(|(offset, _)| *offset);
        places.sort_unstable();
        Ok(Native { executable, functions, places, traps })
    }

    /// Runs a function of the current program in a frame, so many times as a run of its own; gives
    /// the last one's r0.
    pub(crate) fn call(
        &self,
        run: &mut Run<'_>,
        function: usize,
        frame: u64,
        arguments: [u64; 5],
        times: u64,
    ) -> Result<u64, Trap> {
        let start = self.functions[function];
        native::enter(&self.executable, start, run, frame, &arguments, times)
            .map_err(|exit| self.trap(run, exit))
    }

    /// What an early exit means.
    #[cold]
    fn trap(&self, run: &mut Run<'_>, exit: Exit) -> Trap {
        if let Some(panic) = run.panic.take() {
            // Of a helper: it goes on where there are frames of Rust again.
            std::panic::resume_unwind(panic);
        }
        let after = self.places.partition_point(|(offset, _)| *offset <= exit.offset);
        let instruction = after.checked_sub(1).map_or(0, |index| self.places[index].1);
        let trap = self.traps.binary_search_by_key(&exit.offset, |(offset, _)| *offset);
        let trap = trap.ok().map(|index| self.traps[index].1);
        let kind = match (exit.address, trap) {
            (None, Some(BUDGET)) => FaultKind::Budget { limit: run.vm.budget },
            (None, Some(CALL_DEPTH)) => FaultKind::CallDepth { limit: FRAMES as u32 },
            (None, Some(MISALIGNED)) => FaultKind::Misaligned { address: run.state.address },
            (None, Some(STOPPED)) => {
                run.state.stopped = 0;
                match run.stop.take() {
                    Some(stop) => return stop.at(run.program, instruction),
                    None => crate::run::wrong("call", "it did not say why".to_owned()),
                }
            }
            (Some(address), _) => {
                let address = (address as u64).wrapping_sub(run.state.base as u64);
                let accessed = run.code().instructions.get(instruction);
                let size = accessed.map_or(0, |instruction| instruction.width().into());
                // What an atomic operation is made of may load first.
                let write = exit.write || accessed.is_some_and(|accessed| writes(*accessed));
                run.memory.fault(address, size, write)
            }
            (None, _) => crate::run::wrong("machine code", "it came to its end".to_owned()),
        };
        Trap { program: run.program, instruction, kind }
    }
}
