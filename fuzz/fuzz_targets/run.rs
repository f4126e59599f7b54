//! Real objects with other instructions in their programs, and any packet: both engines end in the
//! same way, with the same packet.
//!
//! The input: which object, which program of it, how many instructions are replaced (each: where,
//! in 16 bits, and the instruction), and the packet or context.
#![no_main]

use libfuzzer_sys::fuzz_target;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use std::sync::OnceLock;
use usermap_fuzz::{OBJECTS, plain};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Object, Options};

/// A program that can be changed: the object's bytes, the program's name, and where its
/// instructions are in the file.
struct Subject {
    bytes: &'static [u8],
    program: String,
    start: usize,
    count: usize,
}

/// Entries that the maps are cut down to.
const FEW: u32 = 16;
/// Instructions of the largest program that is taken, and of the object that it is in: translating
/// them is most of what an input costs.
const LARGEST: usize = 160;
const LARGEST_OBJECT: usize = 500;

fn subjects() -> &'static [Subject] {
    static SUBJECTS: OnceLock<Vec<Subject>> = OnceLock::new();
    SUBJECTS.get_or_init(|| OBJECTS.iter().flat_map(|bytes| programs(bytes)).collect())
}

fn programs(bytes: &'static [u8]) -> Vec<Subject> {
    let file = object::File::parse(bytes).expect("a committed object is ELF");
    let object = Object::from_bytes(bytes, "known.bpf.o").expect("a committed object is read");
    let place = |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        let (start, _) = section.file_range()?;
        Some((start + symbol.address(), symbol.size()))
    };
    let length = |code: &usermap_vm::Code| code.instructions.len();
    if object.programs().iter().map(length).sum::<usize>() > LARGEST_OBJECT {
        return Vec::new();
    }
    let small = object.programs().iter().filter(|code| length(code) <= LARGEST);
    let found = small.filter_map(|code| {
        let (start, size) = place(&code.name)?;
        let (start, count) = (start as usize, size as usize / 8);
        Some(Subject { bytes, program: code.name.clone(), start, count })
    });
    found.collect()
}

/// The helpers whose answers differ from run to run, which leave nothing to compare.
const VARYING: [i32; 15] = [5, 7, 8, 14, 15, 16, 42, 118, 125, 160, 208, 93, 34, 25, 12];

fn varies(instruction: &Instruction) -> bool {
    instruction.opcode == 0x85 && instruction.src == 0 && VARYING.contains(&instruction.imm)
}

type Outcome = Result<(u64, Context), (usize, String)>;

fn run(object: &Object, program: &str, input: &[u8], interpret: bool) -> Option<Outcome> {
    let options = Options::new().interpret(interpret).budget(20_000).slots(1).only([program]);
    let program = object.load(&options).ok()?.program(program).ok()?;
    let context = Context::of_packet(program.program_type(), input);
    let mut context = context.unwrap_or_else(|| Context::from(input));
    match program.run(&mut context) {
        Ok(outcome) => Some(Ok((outcome.value, context))),
        Err(error @ usermap_vm::Error::Fault(_)) => Some(Err(plain(error))),
        Err(_) => None,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [object, program, edits, rest @ ..] = bytes else { return };
    let subjects = subjects();
    let number = usize::from(*object) << 8 | usize::from(*program);
    let subject = &subjects[number % subjects.len()];
    let mut changed = subject.bytes.to_vec();
    let (edits, packet) = rest.split_at(rest.len().min(usize::from(*edits % 32) * 10));
    for edit in edits.as_chunks::<10>().0 {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % subject.count.max(1);
        let at = subject.start + at * 8;
        changed[at..at + 8].copy_from_slice(&edit[2..]);
    }
    let Ok(mut object) = Object::from_bytes(&changed, "changed.bpf.o") else { return };
    // Large maps only take time: to make, and to fill.
    let maps = object.maps().iter().filter(|map| map.max_entries > FEW);
    for name in maps.map(|map| map.name.clone()).collect::<Vec<_>>() {
        if object.max_entries(&name, FEW).is_err() {
            return;
        }
    }
    let outcomes = [false, true].map(|interpret| run(&object, &subject.program, packet, interpret));
    let mut codes = object.programs().iter();
    let code = codes.find(|code| code.name == subject.program);
    let comparable = code.is_some_and(|code| !code.instructions.iter().any(varies));
    if comparable {
        assert_eq!(outcomes[0], outcomes[1], "{}", subject.program);
    }
});
