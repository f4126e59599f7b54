//! Programs of the examples, loaded by both with maps that both have: verdicts, packets, contexts and
//! arrays' values are the same. Those that the kernel does not take without more than instructions
//! and maps are left out.

use super::*;
use usermap_vm::{Code, MapDefinition, Object, ProgramType};

const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const PERF_EVENT_ARRAY: u32 = 4;

const OBJECTS: [&str; 16] = [
    "crates/usermap-vm/examples/objects/firewall.bpf.o",
    "crates/usermap-vm/tests/objects/functions.bpf.o",
    "examples/flow_stats/flow_stats.bpf.o",
    "examples/sampler/sampler.bpf.o",
    "examples/exercise/arithmetic.v1.bpf.o",
    "examples/exercise/arithmetic.v4.bpf.o",
    "examples/exercise/atomics.bpf.o",
    "examples/exercise/checksums.bpf.o",
    "examples/exercise/contexts.bpf.o",
    "examples/exercise/events.bpf.o",
    "examples/exercise/functions.bpf.o",
    "examples/exercise/globals.bpf.o",
    "examples/exercise/maps.bpf.o",
    "examples/exercise/skb.bpf.o",
    "examples/exercise/tail_calls.bpf.o",
    "examples/exercise/xdp.bpf.o",
];

/// A map as an object defines it; `None` if this side has no such maps.
fn map(side: Side, definition: &MapDefinition) -> Option<Descriptor> {
    // As libbpf does it.
    let max_entries = match (definition.map_type, definition.max_entries) {
        (PERF_EVENT_ARRAY, 0) => usermap::possible_cpus(),
        (_, entries) => entries,
    };
    let create = Call::new(0)
        .u32(0, definition.map_type)
        .u32(4, definition.key_size)
        .u32(8, definition.value_size)
        .u32(12, max_entries)
        .u32(16, definition.map_flags);
    let map = Descriptor::new(create.make(side).result.ok()?);
    if let Some(initial) = &definition.initial {
        let update = Call::new(MAP_UPDATE).u32(0, map.number as u32).memory(8, &[0; 4]);
        assert_eq!(update.memory(16, initial).make(side).result, Ok(0));
    }
    Some(map)
}

/// The call that loads a program with these maps, whose numbers its instructions have.
fn load_of(code: &Code, maps: &[Descriptor]) -> Call {
    let mut instructions = code.instructions.clone();
    let mut at = 0;
    while let Some(instruction) = instructions.get_mut(at) {
        at += if instruction.is_wide() { 2 } else { 1 };
        if instruction.is_wide() && matches!(instruction.src, 1 | 2) {
            instruction.imm = maps[instruction.imm as usize].number;
        }
    }
    let bytes: Vec<Bytes> = instructions.iter().map(|one| one.to_bytes()).collect();
    load(code.program_type.number(), &bytes)
}

/// Puts into arrays of programs what the object has there at first; gives those programs.
fn fill(side: Side, object: &Object, maps: &[Descriptor]) -> Option<Vec<Descriptor>> {
    let mut programs = Vec::new();
    for (definition, map) in object.maps().iter().zip(maps) {
        for (index, name) in &definition.programs {
            let code = object.programs().iter().find(|code| code.name == *name)?;
            let program = Descriptor::new(load_of(code, maps).make(side).result.ok()?);
            let update = Call::new(MAP_UPDATE).u32(0, map.number as u32);
            let update = update.memory(8, &index.to_ne_bytes());
            let update = update.memory(16, &program.number.to_ne_bytes());
            assert_eq!(update.make(side).result, Ok(0), "{side:?}: {name}");
            programs.push(program);
        }
    }
    Some(programs)
}

fn runs(code: &Code) -> Vec<Call> {
    let bytes: Vec<u8> = (0..96).collect();
    let on_packet = |length: usize, frame: [u8; 2], last: u8| {
        let mut packet: Vec<u8> = (0..length).map(|byte| byte as u8 ^ last).collect();
        packet[12..14].copy_from_slice(&frame);
        packet[14] = 0x45;
        packet[23] = last;
        Call::new(TEST_RUN).u32(8, length as u32).memory(16, &packet).memory(24, &[])
    };
    match code.program_type {
        ProgramType::Xdp | ProgramType::SchedCls | ProgramType::SocketFilter => vec![
            on_packet(64, [8, 0], 6),
            on_packet(200, [8, 0], 17),
            on_packet(1000, [0x86, 0xdd], 6).u32(12, 4000),
            on_packet(60, [8, 6], 1),
        ],
        ProgramType::Syscall | ProgramType::RawTracepoint => {
            vec![Call::new(TEST_RUN).u32(40, 96).memory(48, &bytes)]
        }
        _ => Vec::new(),
    }
}

#[test]
fn examples() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    let mut programs = 0;
    let mut objects = Vec::new();
    for path in OBJECTS {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        let object = Object::open(&file).expect("an object");
        for code in object.programs() {
            let maps = |side| -> Option<Vec<Descriptor>> {
                object.maps().iter().map(|definition| map(side, definition)).collect()
            };
            let (Some(kernels), Some(own)) = (maps(Side::Kernel), maps(Side::Usermap)) else {
                continue;
            };
            let filled =
                (fill(Side::Kernel, &object, &kernels), fill(Side::Usermap, &object, &own));
            let (Some(_), Some(_)) = filled else { continue };
            let Ok(kernel) = load_of(code, &kernels).make(Side::Kernel).result else { continue };
            let kernel = Descriptor::new(kernel);
            let pair = Pair { kernel, usermap: load_of(code, &own).descriptor(Side::Usermap) };
            programs += 1;
            objects.push(path);
            for (number, call) in runs(code).iter().enumerate() {
                let what = format!("{path}, {}, run {number}", code.name);
                pair.compare(&mut comparison, &what, call);
            }
            for (index, definition) in object.maps().iter().enumerate() {
                if definition.map_type != 2 || definition.value_size > 4096 {
                    continue;
                }
                let what = format!("{path}, {}, map {}", code.name, definition.name);
                comparison.same(&what, &[0], |side| {
                    let maps = if side == Side::Kernel { &kernels } else { &own };
                    let lookup = Call::new(MAP_LOOKUP).u32(0, maps[index].number as u32);
                    lookup.memory(8, &[0; 4]).memory(16, &[]).make(side)
                });
            }
        }
    }
    println!("{programs} programs compared");
    for name in ["events", "tail_calls"] {
        assert!(objects.iter().any(|object| object.contains(name)), "nothing of {name}");
    }
    assert!(programs > 20, "only {programs} programs were compared");
}
