//! Random programs that look things up: what machine code knows of an element (that it is there, or
//! that it is if its index is within the array) must not change what a program does, wherever the
//! program asks for NULL, however it got there, and whatever it uses afterwards.

use proptest::prelude::*;
use usermap::{Map, MapType, Spec};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Error, MapReference, Options, ProgramType, Raw};

/// Entries of the arrays; indices are up to three more.
const ENTRIES: u32 = 5;

/// How often the loop goes round.
const TIMES: u8 = 8;

/// One lookup and what is done with it.
#[derive(Clone, Debug)]
struct Step {
    map: u8,
    index: Index,
    /// The register that what was found is copied to.
    to: u8,
    /// Whether r0 is something else then.
    lost: bool,
    /// What is asked: registers, whether they are to be NULL, and where that leads to.
    asks: Vec<(u8, bool, Target)>,
    /// A register that is read through, if not the one that was asked of first; and one that is
    /// made use of as it is.
    used: (Option<u8>, u8),
}

#[derive(Clone, Debug)]
enum Index {
    Known(u8),
    Masked(u8),
    Any,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    /// Over what is read, or over only the next question.
    Next,
    Over,
    /// The loop's top.
    Top,
}

fn register() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0_u8, 1, 8, 9])
}

fn step() -> impl Strategy<Value = Step> {
    let index = prop_oneof![
        (0..8_u8).prop_map(Index::Known),
        prop::sample::select(vec![1_u8, 3, 4, 7]).prop_map(Index::Masked),
        Just(Index::Any),
    ];
    let target = prop::sample::select(vec![Target::Next, Target::Over, Target::Over, Target::Top]);
    let asks = prop::collection::vec((register(), prop::bool::weighted(0.8), target), 0..3);
    let used = (prop::option::weighted(0.1, register()), register());
    (0..3_u8, index, register(), any::<bool>(), asks, used)
        .prop_map(|(map, index, to, lost, asks, used)| Step { map, index, to, lost, asks, used })
}

/// The program: r6 is what it gives, r7 counts how often the loop still goes round, and whether that
/// is also asked at its end.
fn program(steps: &[Step], asked_twice: bool) -> Vec<Instruction> {
    let mut code: Vec<[u8; 8]> = vec![
        [0xb7, 6, 0, 0, 0, 0, 0, 0],
        [0xb7, 7, 0, 0, TIMES + 1, 0, 0, 0],
        [0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0], // *(u64 *)(r10 - 16) = the context
        [0xb7, 8, 0, 0, 0, 0, 0, 0],
        [0xb7, 9, 0, 0, 0, 0, 0, 0],
    ];
    let top = code.len();
    code.push([0x07, 7, 0, 0, 0xff, 0xff, 0xff, 0xff]); // r7 -= 1
    let leave = code.len();
    code.push([0x15, 7, 0, 0, 0, 0, 0, 0]); // if r7 == 0 goto the end
    for step in steps {
        translate(step, top, &mut code);
    }
    if asked_twice {
        code.push([0x15, 7, 1, 0, 1, 0, 0, 0]); // if r7 == 1 goto over the next one
    }
    code.push(jump(0x05, 0, code.len(), top));
    code[leave] = jump(0x15, 7, leave, code.len());
    code.extend([[0xbf, 0x60, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]]);
    code.into_iter().map(Instruction::from_bytes).collect()
}

fn jump(opcode: u8, register: u8, from: usize, to: usize) -> [u8; 8] {
    let [low, high] = (to as i16 - from as i16 - 1).to_le_bytes();
    [opcode, register, low, high, 0, 0, 0, 0]
}

fn translate(step: &Step, top: usize, code: &mut Vec<[u8; 8]>) {
    match step.index {
        Index::Known(index) => code.push([0x62, 0x0a, 0xfc, 0xff, index, 0, 0, 0]),
        Index::Masked(mask) => code.extend([
            [0x79, 0xa1, 0xf0, 0xff, 0, 0, 0, 0], // r1 = the context
            [0x61, 0x11, 0, 0, 0, 0, 0, 0],       // r1 = *(u32 *)r1
            [0x0f, 0x71, 0, 0, 0, 0, 0, 0],       // r1 += r7
            [0x57, 1, 0, 0, mask, 0, 0, 0],
            [0x63, 0x1a, 0xfc, 0xff, 0, 0, 0, 0], // *(u32 *)(r10 - 4) = r1
        ]),
        Index::Any => code.push([0x63, 0x7a, 0xfc, 0xff, 0, 0, 0, 0]),
    }
    code.extend([
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
        [0x07, 2, 0, 0, 0xfc, 0xff, 0xff, 0xff], // r2 = r10 - 4
        [0x18, 0x11, 0, 0, step.map, 0, 0, 0],
        [0; 8],
        [0x85, 0, 0, 0, 1, 0, 0, 0],       // look it up
        [0xbf, step.to, 0, 0, 0, 0, 0, 0], // copy it
        [0xb7, 1, 0, 0, 0, 0, 0, 0],       // r1 is anything after a call
    ]);
    if step.to == 1 {
        code.pop();
    }
    if step.lost {
        code.push([0xb7, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut over = Vec::new();
    for (register, null, target) in &step.asks {
        let opcode = if *null { 0x15 } else { 0x55 };
        match target {
            Target::Next => code.push([opcode, *register, 1, 0, 0, 0, 0, 0]),
            Target::Over => over.push((code.len(), opcode, *register)),
            Target::Top => code.push(jump(opcode, *register, code.len(), top)),
        }
        if let Target::Over = target {
            code.push([0; 8]);
        }
        code.push([0x07, 6, 0, 0, 1, 0, 0, 0]); // r6 += 1
    }
    let (through, plain) = step.used;
    if let Some(through) = through.or(step.asks.first().map(|(register, ..)| *register)) {
        code.push([0x79, through << 4 | 3, 0, 0, 0, 0, 0, 0]); // r3 = *(u64 *)through
        code.push([0x0f, 0x36, 0, 0, 0, 0, 0, 0]); // r6 += r3
    }
    code.push([0x0f, plain << 4 | 6, 0, 0, 0, 0, 0, 0]); // r6 += plain
    for (at, opcode, register) in over {
        code[at] = jump(opcode, register, at, code.len());
    }
    code.push([0x67, 6, 0, 0, 1, 0, 0, 0]); // r6 <<= 1
}

fn maps() -> Vec<Map> {
    let specs = [
        Spec::new(MapType::Array, 4, 8, ENTRIES),
        Spec::new(MapType::PerCpuArray, 4, 16, ENTRIES).cpus(3),
        Spec::new(MapType::Hash, 4, 8, 16),
    ];
    let filled = specs.iter().map(|spec| {
        let map = Map::create(spec).expect("a map");
        for index in 0..ENTRIES {
            let value = (u64::from(index) * 1000 + 7).to_le_bytes().repeat(map.value_bytes() / 8);
            map.update(&index.to_le_bytes(), &value, 0).expect("there is room");
        }
        map
    });
    filled.collect()
}

/// What it gives, and how many instructions that took; or what was said of it.
fn outcome(
    program: &[Instruction],
    maps: &[Map],
    budget: u64,
    interpret: bool,
) -> Result<(u64, u64), String> {
    let mut raw = Raw::new(ProgramType::Syscall, "lookups", program.to_vec());
    raw.resolve(|reference| match reference {
        MapReference::Descriptor(number) | MapReference::Index(number) => {
            Ok(maps[number as usize].clone())
        }
    })
    .expect("three maps");
    let options = Options::new().interpret(interpret).slots(3).budget(budget);
    let program = raw.load(&options).expect("a good program");
    let mut context = Context::from(3_u64.to_le_bytes().to_vec());
    let outcome = program.run(&mut context);
    outcome.map(|outcome| (outcome.value, outcome.instructions)).map_err(|error| match error {
        Error::Fault(fault) => format!("{} {}", fault.instruction, fault.kind),
        other => panic!("{other}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_known_of_elements_is_so(
        steps in prop::collection::vec(step(), 1..5),
        asked_twice in any::<bool>(),
        budget in prop_oneof![Just(10_000_u64), 1..400_u64],
    ) {
        let (maps, program) = (maps(), program(&steps, asked_twice));
        let [machine, interpreted] =
            [false, true].map(|interpret| outcome(&program, &maps, budget, interpret));
        prop_assert_eq!(machine, interpreted);
    }
}
