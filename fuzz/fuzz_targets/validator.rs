//! Programs from anybody, as bpf(2) takes them: refused with a reason, or interpreted to their end.
//!
//! The input: the type of program, the length of its context or packet, and the instructions. Those
//! that name maps get one of a few.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use usermap::{Map, MapType, Spec};
use usermap_vm::disassemble::disassemble;
use usermap_vm::instruction::Instruction;
use usermap_vm::{Code, Context, Error, MapReference, Options, ProgramType, Raw};

const TYPES: [ProgramType; 5] = [
    ProgramType::Xdp,
    ProgramType::SchedCls,
    ProgramType::SocketFilter,
    ProgramType::Syscall,
    ProgramType::Kprobe,
];

fn maps() -> &'static [Map] {
    static MAPS: OnceLock<Vec<Map>> = OnceLock::new();
    MAPS.get_or_init(|| {
        let map = |kind: MapType| {
            let key_size = if kind.is_ring() { 0 } else { 4 };
            Map::create(&Spec::new(kind, key_size, 8, 8).cpus(2)).expect("a map")
        };
        MapType::ALL.map(map).to_vec()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, size, rest @ ..] = bytes else { return };
    let program_type = TYPES[usize::from(*kind) % TYPES.len()];
    let instructions: Vec<Instruction> =
        rest.as_chunks::<8>().0.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect();
    let code = Code { instructions: instructions.clone(), program_type, ..Code::default() };
    let _ = disassemble(&code, &["a", "b"], |_| None);
    let mut raw = Raw::new(program_type, "fuzz", instructions);
    let found = raw.resolve(|reference| {
        let (MapReference::Descriptor(number) | MapReference::Index(number)) = reference;
        Ok(maps()[number.unsigned_abs() as usize % maps().len()].clone())
    });
    if found.is_err() {
        return;
    }
    let options = Options::new().interpret(true).budget(2000).slots(1);
    let program = match raw.load(&options) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let input = vec![*kind; usize::from(*size)];
    let context = Context::of_packet(program_type, input.clone());
    let mut context = context.unwrap_or_else(|| Context::from(input));
    match program.run(&mut context) {
        Ok(_) | Err(Error::Fault(_)) => {}
        // A context that this type of program does not take, or all slots taken.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
