//! Runs eBPF objects that clang built for the kernel, in user space: no root, no kernel, on
//! [usermap]'s maps.
//!
//! An [`Object`] is read from a file, [loaded](Object::load) with its maps, and its programs are run
//! on packets or other contexts. A program has its own memory, and no way out of it: what the
//! kernel's verifier proves before a program runs is held here while it runs, and a program that
//! breaks the rules ends with an error.
//!
//! ```
//! use usermap_vm::{Context, Object, Options, Xdp};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
//! let object = Object::open(path)?; // firewall.bpf.o
//! let loaded = object.load(&Options::new())?;
//! let program = loaded.program("firewall")?;
//!
//! let mut context = Context::from(Xdp::new(vec![0; 64]));
//! let outcome = program.run(&mut context)?;
//! assert_eq!(program.program_type().verdict_name(outcome.value), Some("XDP_PASS"));
//! # Ok::<(), usermap_vm::Error>(())
//! ```
//!
//! The crate's `tests/xdp_unit.rs` tests that program as one would one's own, with packets built in
//! the test; its `examples/plugin.rs` is an application with an eBPF plug-in. The examples below run
//! the programs of `examples/objects/tour.bpf.c`.
//!
//! # Before loading
//!
//! An object says what it has: [programs](Object::programs), [maps](Object::maps),
//! [global variables](Object::globals), [types](Object::btf), and what
//! [stands in its way](Object::obstacles). Sizes of maps, global variables and places where maps are
//! kept can be set:
//!
//! ```
//! # use usermap_vm::{Object, Options};
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
//! # let mut object = Object::open(path)?;
//! # let file = std::env::temp_dir().join(format!("usermap-doc-{}", std::process::id()));
//! object.set_global("limit", &60_u32.to_ne_bytes())?; // volatile const: in .rodata
//! object.set_global_text("limit", "60")?; // the same, as text, by its type
//! object.pin("packets", &file)?; // other processes can open it there
//! let loaded = object.load(&Options::new().only(["inspect"]))?;
//! assert_eq!(loaded.map("packets")?.spec().max_entries, 1);
//! # std::fs::remove_file(file).unwrap();
//! # Ok::<(), usermap_vm::Error>(())
//! ```
//!
//! [`Options`] say how to load: the engine, the budget of instructions, the number of CPU slots,
//! helpers of the application's own, who gets what programs print, and which programs must be fit
//! to run.
//!
//! # Contexts
//!
//! | programs | context |
//! |---|---|
//! | XDP | [`Xdp`]: a packet, metadata, the device that received it |
//! | tc, action, socket filter, cgroup_skb | [`Skb`]: a packet, and the fields of a `__sk_buff` |
//! | syscall | bytes, which the program may write; they are taken back |
//! | kprobe, tracepoint, raw tracepoint | bytes, as the kernel lays them out |
//!
//! [`Context::of_packet`] makes what suits a program's type. After a run the context has the packet
//! and the fields as the program left them. Packets have the room before and behind them that the
//! kernel's `BPF_PROG_TEST_RUN` gives.
//!
//! # Maps
//!
//! The object's maps are usermap's: [`Loaded::map`] gives one by name, and the typed maps of
//! [usermap] take it. The application, other threads and, if it is pinned, other processes read and
//! write it while programs run.
//!
//! ```
//! # use usermap_vm::{Context, Object, Options, Xdp};
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
//! # let loaded = Object::open(path)?.load(&Options::new())?;
//! use usermap::{HashMap, PerCpuArray};
//!
//! let blocked = HashMap::<u16, u64>::from_map(loaded.map("blocked_ports")?)?;
//! blocked.insert(&1900, &0)?;
//!
//! loaded.program("firewall")?.run(&mut Xdp::new(vec![0; 64]).into())?;
//! let verdicts = PerCpuArray::<u64>::from_map(loaded.map("verdicts")?)?;
//! assert_eq!(verdicts.sum(2)?, 1); // XDP_PASS, over all CPU slots
//! # Ok::<(), usermap_vm::Error>(())
//! ```
//!
//! What programs put out with `bpf_perf_event_output` is read with [`Loaded::events`], and a
//! `PROG_ARRAY` is filled with [`Loaded::set_tail_call`]. These two kinds are of one process.
//!
//! # Faults
//!
//! A program that leaves its memory, spends its budget, nests calls too deeply or calls a helper
//! wrongly ends with an [`Error::Fault`], which says where, by function, instruction and source line.
//! Nothing but that run is harmed, and the next one starts afresh. What the program had done to maps
//! until then stays done.
//!
//! ```
//! # use usermap_vm::{Context, Error, FaultKind, Object, Options};
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
//! # let object = Object::open(path)?;
//! let loaded = object.load(&Options::new().budget(1_000_000).only(["spin", "peek"]))?;
//! let error = loaded.program("spin")?.run(&mut Context::from(vec![0; 8])).unwrap_err();
//! let Error::Fault(fault) = error else { panic!("no fault") };
//! assert_eq!(fault.kind, FaultKind::Budget { limit: 1_000_000 });
//!
//! let error = loaded.program("peek")?.run(&mut Context::from(vec![0; 8])).unwrap_err();
//! assert!(error.to_string().contains("NULL"), "{error}");
//! # Ok::<(), usermap_vm::Error>(())
//! ```
//!
//! # Threads and CPU slots
//!
//! [`Loaded`] and [`Program`] are cheap to clone and can be used from any thread. A run takes a CPU
//! slot, and is alone on it: `bpf_get_smp_processor_id` gives the slot's number, and a per-CPU map's
//! value of that slot is this run's only, so that plain increments lose nothing. There are as many
//! slots as possible CPUs, or as [`Options::slots`] says. If all are taken, a run waits, and gives
//! [`Error::Busy`] after ten seconds. The slots of pinned per-CPU maps are leased from other processes,
//! too.
//!
//! Taking a slot costs more than a short program: [`Program::runner`] keeps one for many runs, and
//! [`Program::run_batch`] does so for many contexts.
//!
//! # Engines
//!
//! On x86-64 programs are translated to machine code when they are loaded; elsewhere, or with
//! [`Options::interpret`], they are interpreted. Both engines give the same results and faults.
//!
//! # What is refused
//!
//! An instruction, helper, map kind, symbol or section that is not supported is named by the error of
//! [`Object::load`] before anything runs, with the source line where there is one.
//! [`Options::only`] leaves programs out that are not wanted.
//!
//! ```
//! # use usermap_vm::{Object, Options};
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
//! # let object = Object::open(path)?;
//! let error = object.load(&Options::new()).err().expect("no helper of that number");
//! assert!(error.to_string().contains("helper 0x10001 is not supported"), "{error}");
//! # Ok::<(), usermap_vm::Error>(())
//! ```
//!
//! # Parts
//!
//! [`btf`] reads types and decodes values by them, [`disassemble`] writes programs as text,
//! [`instruction`] has the instruction set's encoding, [`Raw`] loads what bpf(2) is given instead of an
//! object, and [`bare`] runs instructions without any of that.

pub mod bare;
mod blocks;
pub mod btf;
mod code;
mod context;
pub mod disassemble;
mod error;
mod group;
mod helper;
mod helper_names;
pub mod instruction;
mod interpret;
mod jit;
mod load;
#[cfg(target_arch = "x86_64")]
mod machine;
mod object;
mod options;
mod places;
mod program;
mod program_type;
mod raw;
mod run;
mod sandbox;
mod slots;
mod validate;

pub use code::{Code, Function, Line};
pub use context::{Context, Redirect, RedirectKind, Skb, Vlan, Xdp};
pub use error::{Error, Fault, FaultKind, Result};
pub use group::Group;
pub use helper::{Event, Events, helper_name};
pub use load::Loaded;
pub use object::{Extern, Global, MapDefinition, Object, Obstacle};
pub use options::Options;
pub use program::{Outcome, Program, Runner};
pub use program_type::ProgramType;
pub use raw::{Holds, MapReference, Raw, rename_maps};
pub use run::HelperCall;

/// The documents' programs, run as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../docs/running-programs.md")]
    mod running_programs {}
    #[doc = include_str!("../README.md")]
    mod crate_readme {}
}
