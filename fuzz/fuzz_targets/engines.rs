//! Any instructions: both engines give the same result, the same memory, or the same fault.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usermap_fuzz::plain;
use usermap_vm::bare::{Engine, Options};
use usermap_vm::instruction::Instruction;

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
