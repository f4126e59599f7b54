//! Any instructions: both engines give the same result, the same memory, or the same fault.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usermap_vm::bare::{Engine, Options};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Error, FaultKind};

/// A fault as both engines know it: machine code knows where an access ended up only.
fn plain(error: Error) -> (usize, String) {
    let Error::Fault(fault) = error else { panic!("no fault: {error}") };
    let kind = match fault.kind {
        FaultKind::Memory { write, .. } => format!("memory, {write}"),
        FaultKind::Misaligned { .. } => "misaligned".to_owned(),
        kind => kind.to_string(),
    };
    (fault.instruction, kind)
}

fuzz_target!(|bytes: &[u8]| {
    let (instructions, rest) = bytes.as_chunks::<8>();
    let instructions: Vec<_> =
        instructions.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect();
    let outcomes = Engine::all().iter().map(|engine| {
        let mut options = Options::new();
        options.engine(*engine).budget(10_000);
        let program = options.load(instructions.clone()).ok()?;
        let mut memory = [0; 64];
        memory[..rest.len()].copy_from_slice(rest);
        let value = program.run(&mut memory);
        Some((value.map_err(plain), memory))
    });
    let outcomes: Vec<_> = outcomes.collect();
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
});
