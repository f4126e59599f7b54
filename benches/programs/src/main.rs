//! eBPF programs in usermap-vm, beside the same objects in the kernel and rbpf's interpreter:
//! README.md of the folder above says how to run it and how to read it.

mod contest;
mod kernel;

use contest::{Entry, Settings, contest, timed};
use kernel::Kernel;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use usermap_vm::{Code, Context, Loaded, Object, Options, Program, Xdp};

/// What programs return that did not do all they were to.
const XDP_ABORTED: u32 = 0;

/// Operations of one run of the programs with maps.
const OPERATIONS: u64 = 64;

/// What is compared with the kernel: program, operations of a run, what its time may be of the
/// kernel's.
const PROGRAMS: [(&str, u64, Option<f64>); 13] = [
    ("compute", 1, Some(1.05)),
    ("checksum", 1, Some(1.05)),
    ("checksum_unrolled", 1, Some(1.05)),
    ("stack", 1, Some(1.05)),
    ("array_lookups", 1, Some(1.0)),
    ("array_counter", OPERATIONS, None),
    ("percpu_array_counter", OPERATIONS, None),
    ("hash_counter_1k", OPERATIONS, Some(0.5)),
    ("hash_counter_1m", OPERATIONS, Some(0.5)),
    ("hash16_counter_1k", OPERATIONS, Some(0.5)),
    ("percpu_hash_counter_1k", OPERATIONS, Some(0.3)),
    ("hash_update_1k", OPERATIONS, None),
    ("hash_update_1m", OPERATIONS, None),
];

const HELP: &str = "usage: programs [--json] [--quick] [--no-kernel] [NAME]
  NAME        only what has this in its name
  --json      JSON lines
  --quick     shorter turns
  --no-kernel leave the kernel out
";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() {
    let mut settings = Settings { turn: 5e6, turns: 15, json: false, only: None };
    let mut with_kernel = true;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => settings.json = true,
            "--quick" => (settings.turn, settings.turns) = (2e6, 7),
            "--no-kernel" => with_kernel = false,
            "--bench" => {}
            "--help" | "-h" => return print!("{HELP}"),
            name => settings.only = Some(name.to_owned()),
        }
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(rustix::thread::sched_getcpu());
    let _ = rustix::thread::sched_setaffinity(None, &set);
    let file = here().join("programs.bpf.o");
    let object = Object::open(&file).expect("the object");
    // Of maps of a process alone, a slot is a plane of values: as many as the kernel has.
    let jit = object.load(&Options::new()).expect("to load it");
    let interpreter = object.load(&Options::new().interpret(true)).expect("to load it");
    let kernel = with_kernel.then(|| open_kernel(&file, &object)).flatten();
    small(&settings, kernel.as_ref(), &jit, &interpreter);
    for (name, operations, target) in PROGRAMS {
        let skip = settings.only.as_ref().is_some_and(|only| !name.contains(only.as_str()));
        if !skip {
            one(&settings, name, operations, target, kernel.as_ref(), &jit, &interpreter);
        }
    }
    for name in ["compute", "stack"] {
        beside_rbpf(&settings, &object, name, &interpreter);
    }
    flows(&settings, with_kernel);
    loading(&settings);
}

fn open_kernel(file: &Path, object: &Object) -> Option<Kernel> {
    let names: Vec<&str> = object.programs().iter().map(|code| code.name.as_str()).collect();
    match Kernel::load(file, &names) {
        Ok(kernel) => Some(kernel),
        Err(why) => {
            eprintln!("the kernel takes no part: {why}");
            None
        }
    }
}

/// A packet large enough for all programs.
fn packet() -> Vec<u8> {
    (0..1100_u32).map(|at| (at * 31 >> 2) as u8).collect()
}

fn of(loaded: &Loaded, name: &str) -> Program {
    loaded.program(name).expect("a program")
}

/// Runs on one packet, which is put in once and taken out once.
fn repeated<'e>(who: &'static str, program: &'e Program) -> Entry<'e> {
    let mut runner = program.runner().expect("a slot");
    let mut context = Context::from(Xdp::new(packet()));
    (
        who,
        Box::new(move |times| {
            timed(1, || {
                black_box(runner.repeat(&mut context, times)).expect("to run");
            }) / times as f64
        }),
    )
}

/// The same in the kernel, which takes the time itself.
fn in_kernel<'e>(program: &'e kernel::Program) -> Entry<'e> {
    let (packet, mut out) = (packet(), vec![0; 4096]);
    (
        "kernel",
        Box::new(move |times| {
            let times = times.clamp(1, 1 << 30) as u32;
            let (verdict, ns) = program.run(&packet, &mut out, times).expect("a test run");
            assert_ne!(verdict, XDP_ABORTED);
            f64::from(ns)
        }),
    )
}

fn one(
    settings: &Settings,
    name: &str,
    operations: u64,
    target: Option<f64>,
    kernel: Option<&Kernel>,
    jit: &Loaded,
    interpreter: &Loaded,
) {
    let programs = (of(jit, name), of(interpreter, name));
    if name.contains("counter") {
        fill(name, kernel, jit, interpreter);
    }
    let mut entries = vec![repeated("usermap", &programs.0)];
    entries.extend(kernel.map(|kernel| in_kernel(kernel.program(name))));
    entries.push(repeated("interpreter", &programs.1));
    contest(settings, name, operations, target.map(|target| ("kernel", target)), entries);
}

/// Puts all keys in, and then counts as often, which meets most pages for the first time.
fn fill(name: &str, kernel: Option<&Kernel>, jit: &Loaded, interpreter: &Loaded) {
    let times = if name.ends_with("1m") { 1_000_000 / OPERATIONS + 1 } else { 1024 / OPERATIONS };
    for name in [&format!("fill_{name}"), name] {
        for loaded in [jit, interpreter] {
            let mut context = Context::from(Xdp::new(packet()));
            let program = of(loaded, name);
            let mut runner = program.runner().expect("a slot");
            runner.repeat(&mut context, times).expect("to run");
        }
        if let Some(kernel) = kernel {
            let run = kernel.program(name).run(&packet(), &mut [0; 4096], times as u32);
            run.expect("a test run");
        }
    }
}

/// The least that there is: an empty program. Once a packet in and out each time, once without.
fn small(settings: &Settings, kernel: Option<&Kernel>, jit: &Loaded, interpreter: &Loaded) {
    let programs = (of(jit, "empty"), of(interpreter, "empty"));
    let short = || vec![7; 64];
    let each = |who, program: &Program| -> Entry<'_> {
        let program = program.clone();
        let mut context = Context::from(Xdp::new(short()));
        (
            who,
            Box::new(move |times| {
                let mut runner = program.runner().expect("a slot");
                timed(times, || {
                    black_box(runner.run(&mut context)).expect("to run");
                })
            }),
        )
    };
    let mut entries = vec![each("usermap", &programs.0)];
    entries.extend(kernel.map(|kernel| -> Entry<'_> {
        let (program, packet, mut out) = (kernel.program("empty"), short(), vec![0; 64]);
        (
            "kernel",
            Box::new(move |times| {
                timed(times, || {
                    black_box(program.run(&packet, &mut out, 1)).expect("a test run");
                })
            }),
        )
    }));
    entries.push(each("interpreter", &programs.1));
    contest(settings, "empty, packet in and out", 1, Some(("kernel", 0.3)), entries);
    let mut entries = vec![repeated("usermap", &programs.0)];
    entries.extend(kernel.map(|kernel| in_kernel(kernel.program("empty"))));
    entries.push(repeated("interpreter", &programs.1));
    contest(settings, "empty, repeated", 1, Some(("kernel", 0.3)), entries);
}

/// A program's instructions as bytes.
fn bytes(code: &Code) -> Vec<u8> {
    let instruction = |at: &usermap_vm::instruction::Instruction| {
        let mut bytes = vec![at.opcode, at.src << 4 | at.dst];
        bytes.extend(at.offset.to_le_bytes());
        bytes.extend(at.imm.to_le_bytes());
        bytes
    };
    code.instructions.iter().flat_map(instruction).collect()
}

fn beside_rbpf(settings: &Settings, object: &Object, name: &'static str, interpreter: &Loaded) {
    let code = object.programs().iter().find(|code| code.name == name).expect("a program");
    let bytes = bytes(code);
    let vm = rbpf::EbpfVmRaw::new(Some(&bytes)).expect("a program for rbpf");
    let mut context = Xdp::new(packet());
    context.rx_queue_index = 0;
    let mut memory = vec![0; 24];
    let theirs = vm.execute_program(&mut memory).expect("rbpf to run it");
    let program = of(interpreter, name);
    let ours = program.run(&mut context.into()).expect("to run").value;
    assert_eq!(theirs, ours, "rbpf and usermap disagree on {name}");
    let entries = vec![
        repeated("interpreter", &program),
        (
            "rbpf",
            Box::new(move |times| {
                timed(times, || {
                    black_box(vm.execute_program(&mut memory)).expect("to run");
                })
            }),
        ),
    ];
    contest(settings, &format!("interpreter, {name}"), 1, Some(("rbpf", 0.5)), entries);
}

/// The packets of the committed capture: plain pcap, little endian.
fn captured() -> Vec<Vec<u8>> {
    let path = examples().join("captures/loopback.pcap.gz");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).expect("the capture");
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("a whole capture");
    let (mut packets, mut rest) = (Vec::new(), &bytes[24..]);
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let (packet, after) = after.split_at(length.min(after.len()));
        packets.push(packet.to_vec());
        rest = after;
    }
    // The kernel takes none that are shorter.
    packets.retain(|packet| (60..=3500).contains(&packet.len()));
    packets
}

fn examples() -> PathBuf {
    here().join("../../examples")
}

/// The example flow_stats over the capture: ns a packet.
fn flows(settings: &Settings, with_kernel: bool) {
    if settings.only.as_ref().is_some_and(|only| !"flow_stats".contains(only.as_str())) {
        return;
    }
    let file = examples().join("flow_stats/flow_stats.bpf.o");
    let object = Object::open(&file).expect("flow_stats");
    let name = object.programs()[0].name.clone();
    let jit = object.load(&Options::new()).expect("to load it");
    let interpreter = object.load(&Options::new().interpret(true)).expect("to load it");
    let packets = captured();
    let kernel = match with_kernel.then(|| Kernel::load(&file, &[&name])) {
        Some(Ok(kernel)) => Some(kernel),
        Some(Err(why)) => {
            eprintln!("the kernel takes no part: {why}");
            None
        }
        None => None,
    };
    // Each repeated test run of XDP makes the kernel change its own code, which takes long: so only
    // some packets are repeated.
    let some: Vec<Vec<u8>> = packets.iter().step_by(packets.len() / 20 + 1).cloned().collect();
    let contexts = |packets: &[Vec<u8>]| {
        packets.to_vec().into_iter().map(|packet| Context::from(Xdp::new(packet)))
    };
    const REPEAT: u64 = 20;
    // All packets by one call of usermap's; the kernel takes one a call.
    const BATCH: u64 = 0;
    let run = |who, loaded: &Loaded, packets: &[Vec<u8>], repeat: u64| -> Entry<'_> {
        let program = of(loaded, &name);
        let mut contexts: Vec<Context> = contexts(packets).collect();
        if repeat == BATCH {
            return (
                who,
                Box::new(move |times| {
                    timed(times, || {
                        for outcome in program.run_batch(&mut contexts).expect("a slot") {
                            black_box(outcome).expect("to run");
                        }
                    })
                }),
            );
        }
        (
            who,
            Box::new(move |times| {
                let mut runner = program.runner().expect("a slot");
                timed(times, || {
                    for context in &mut contexts {
                        black_box(runner.repeat(context, repeat)).expect("to run");
                    }
                }) / repeat as f64
            }),
        )
    };
    for (title, packets, repeat) in [
        ("flow_stats, packet in and out", &packets, 1),
        ("flow_stats, batch", &packets, BATCH),
        ("flow_stats, repeated", &some, REPEAT),
    ] {
        let mut entries = vec![run("usermap", &jit, packets, repeat)];
        entries.extend(kernel.as_ref().map(|kernel| -> Entry<'_> {
            let (program, mut out, packets) = (kernel.program(&name), vec![0; 4096], packets);
            (
                "kernel",
                Box::new(move |times| {
                    // It says a short time, but takes a long one.
                    let times = if repeat > 1 { times.min(2) } else { times };
                    let mut inside = 0.0;
                    let all = timed(times, || {
                        for packet in packets {
                            let run = program.run(packet, &mut out, repeat.max(1) as u32);
                            inside += f64::from(run.expect("a test run").1);
                        }
                    });
                    if repeat <= 1 { all } else { inside / times as f64 }
                }),
            )
        }));
        entries.push(run("interpreter", &interpreter, packets, repeat));
        contest(settings, title, packets.len() as u64, Some(("kernel", 0.5)), entries);
    }
}

/// How long loading takes: an object of about 1,000 instructions, and one of the examples.
fn loading(settings: &Settings) {
    let large = std::fs::read(here().join("large.bpf.o")).expect("the object");
    let object = Object::from_bytes(&large, "large.bpf.o").expect("the object");
    let count = object.programs()[0].instructions.len();
    let load = |who, options: Options| -> Entry<'_> {
        let large = &large;
        (
            who,
            Box::new(move |times| {
                timed(times, || {
                    let object = Object::from_bytes(large, "large.bpf.o").expect("the object");
                    black_box(object.load(&options)).expect("to load it");
                })
            }),
        )
    };
    let limit = Duration::from_millis(5).as_nanos() as f64;
    let entries: Vec<Entry<'_>> = vec![
        load("usermap", Options::new()),
        ("limit of 5 ms", Box::new(move |_| limit)),
        load("interpreter", Options::new().interpret(true)),
    ];
    let title = format!("load of {count} instructions");
    contest(settings, &title, 1, Some(("limit of 5 ms", 1.0)), entries);
}
