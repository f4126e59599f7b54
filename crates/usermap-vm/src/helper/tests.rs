//! Helpers called as programs call them, on a run that no program is in.

mod callbacks;
mod packets;
mod values;

use crate::context::Context;
use crate::error::FaultKind;
use crate::helper::{self, by_id};
use crate::program_type::ProgramType;
use crate::run::{LoadedMap, Run, Stop, Storage, Vm, map_handle};
use crate::sandbox::cage::{CONTEXT, Cage, MAPS, PAGE, SMALLEST, STACK};
use std::sync::{Arc, Mutex};
use usermap::{Map, Spec};

/// What programs of one test share.
pub(super) struct Bench {
    pub(super) vm: Vm,
    pub(super) cage: Cage,
    pub(super) printed: Arc<Mutex<String>>,
}

impl Bench {
    /// With maps made by these specifications.
    pub(super) fn new(specs: &[Spec]) -> Bench {
        let mut cage = Cage::new(SMALLEST).unwrap();
        let (mut maps, mut start) = (Vec::new(), MAPS);
        for (number, spec) in specs.iter().enumerate() {
            let map = Map::create(spec).unwrap();
            let name: Arc<str> = format!("map{number}").into();
            if let Some(memory) = map.value_memory().unwrap() {
                let part = (memory.start, memory.length);
                cage.map(name.clone(), start, memory.fd, part, true).unwrap();
                maps.push(LoadedMap { name, start, table: None, storage: Storage::Map(map) });
                start += part.1.next_multiple_of(PAGE) + PAGE;
            } else {
                maps.push(LoadedMap { name, start: 0, table: None, storage: Storage::Map(map) });
            }
        }
        let printed = Arc::new(Mutex::new(String::new()));
        let lines = printed.clone();
        let trace = move |line: &str| lines.lock().unwrap().push_str(line);
        let vm = Vm {
            programs: Vec::new(),
            maps,
            helpers: Default::default(),
            budget: 1 << 20,
            trace: Some(Arc::new(trace)),
        };
        Bench { vm, cage, printed }
    }

    /// A run on a context.
    pub(super) fn run(&self, program_type: ProgramType, context: impl Into<Context>) -> Run<'_> {
        let packet = context.into().place(program_type, &self.cage).unwrap();
        Run::new(&self.vm, &self.cage, 0, packet)
    }
}

/// Calls a helper.
pub(super) fn call(run: &mut Run<'_>, id: u32, arguments: &[u64]) -> Result<u64, Stop> {
    let mut registers = [0; 5];
    registers[..arguments.len()].copy_from_slice(arguments);
    (by_id(id).unwrap().function)(run, registers)
}

/// Calls a helper that gives a signed number.
pub(super) fn give(run: &mut Run<'_>, id: u32, arguments: &[u64]) -> i64 {
    call(run, id, arguments).unwrap() as i64
}

/// Whether a call ends the program because of memory.
pub(super) fn is_bad_memory(called: Result<u64, Stop>) -> bool {
    matches!(called, Err(Stop::Fault(FaultKind::Memory { .. })))
}

/// Whether a call ends the program because it is wrong.
pub(super) fn is_wrong(called: Result<u64, Stop>) -> bool {
    matches!(called, Err(Stop::Fault(FaultKind::Helper { .. })))
}

/// An address that nothing is at.
const NOWHERE: u64 = 0x8_0000;

#[test]
fn the_table() {
    assert_eq!(by_id(1).unwrap().name, "bpf_map_lookup_elem");
    assert_eq!(by_id(181).unwrap().name, "bpf_loop");
    assert_eq!(by_id(0x554d_0002).unwrap().name, "bpf_map_inc_and_return");
    for id in [0, 27, 69, 130, 211, 212, 0x554d_0000, 0x554d_0007, u32::MAX] {
        assert!(by_id(id).is_none(), "{id}");
    }
    assert_eq!(helper::name_of(131), Some("bpf_ringbuf_reserve"));
    assert_eq!(helper::name_of(0x554d_0001), Some("bpf_map_inc"));
    assert_eq!((helper::name_of(0), helper::name_of(212)), (None, None));
    assert!(helper::all().is_sorted_by_key(|helper| helper.id));
    for helper in helper::all() {
        assert_eq!(by_id(helper.id).map(|found| found.name), Some(helper.name));
    }
    let may = |id, program| (by_id(id).unwrap().allowed)(program);
    assert!(may(44, ProgramType::Xdp) && !may(44, ProgramType::SchedCls));
    assert!(may(26, ProgramType::SocketFilter) && !may(9, ProgramType::SocketFilter));
    assert!(!may(93, ProgramType::Kprobe) && !may(4, ProgramType::Xdp));
}

/// Whatever a program passes, a helper gives a number or ends the program.
#[test]
fn any_arguments() {
    let mut bench = Bench::new(&[
        Spec::new(usermap::MapType::Hash, 4, 8, 4),
        Spec::new(usermap::MapType::Array, 4, 8, 4),
        Spec::new(usermap::MapType::Queue, 0, 8, 4),
    ]);
    bench.vm.budget = 1 << 16;
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let packet: Vec<u8> = [&[2; 12][..], &[8, 0, 0x45], &[7; 60]].concat();
    for round in 0..20_000 {
        let (program_type, context): (_, Context) = match round % 3 {
            0 => (ProgramType::Xdp, crate::context::Xdp::new(packet.clone()).into()),
            1 => (ProgramType::SchedCls, crate::context::Skb::new(packet.clone()).into()),
            _ => (ProgramType::Syscall, vec![0; 8].into()),
        };
        let mut context = context;
        let placed = context.place(program_type, &bench.cage).unwrap();
        let mut run = Run::new(&bench.vm, &bench.cage, 0, placed);
        for _ in 0..8 {
            let helpers = helper::all();
            let helper = &helpers[random() as usize % helpers.len()];
            // A lock that nobody gives back is waited for.
            if helper.id == 93 {
                continue;
            }
            let arguments = [(); 5].map(|()| match random() % 9 {
                0 => CONTEXT,
                1 => map_handle(random() as usize % 4),
                2 => STACK + random() % 4200,
                3 => random() % 70,
                4 => random() % 0x1_0000,
                5 => (random() % 64).wrapping_neg(),
                6 => 1 << (random() % 64),
                7 => run.packet.data.wrapping_add(random() % 128),
                _ => random(),
            });
            let called = (helper.function)(&mut run, arguments);
            let packet = &run.packet;
            let inside = packet.first <= packet.meta
                && packet.meta <= packet.data
                && packet.data <= packet.end
                && packet.end <= packet.last;
            assert!(inside, "{} {arguments:x?}: {packet:x?}", helper.name);
            if called.is_err() {
                break;
            }
        }
        let packet = run.packet.clone();
        context.collect(&bench.cage, &packet).unwrap();
    }
}
