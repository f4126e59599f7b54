//! What an embedding application can set, and what it gets back: budgets, helpers of its own,
//! what programs print, events, globals, pinned maps, and faults that say where.

use crate::input::Input;
use crate::side::context;
use std::sync::{Arc, Mutex};
use usermap_vm::{Error, FaultKind, Object, Options, ProgramType};

fn object(name: &str) -> Object {
    Object::open(super::examples().join(name)).expect("the object")
}

fn packet() -> usermap_vm::Context {
    context(ProgramType::SchedCls, &Input { packet: vec![7; 100], bytes: Vec::new() })
}

#[test]
fn a_budget_ends_a_program_with_its_source_line() {
    for interpret in [false, true] {
        let options = Options::new().interpret(interpret).budget(40);
        let loaded = object("exercise/loops.bpf.o").load(&options).expect("it loads");
        let ended =
            loaded.programs().into_iter().find_map(|program| match program.run(&mut packet()) {
                Err(Error::Fault(fault)) => Some(fault),
                _ => None,
            });
        let fault = ended.expect("some program has more than 40 instructions");
        assert_eq!(fault.kind, FaultKind::Budget { limit: 40 });
        let line = fault.line.as_ref().expect("the object has lines");
        assert!(line.file.ends_with(".c") || line.file.ends_with(".h"), "{fault}");
        assert!(fault.to_string().contains("the budget of 40 instructions is spent"), "{fault}");
    }
}

#[test]
fn what_programs_print() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = lines.clone();
    let options =
        Options::new().trace(move |line| kept.lock().expect("no panic").push(line.to_owned()));
    let loaded = object("exercise/strings.bpf.o").load(&options).expect("it loads");
    for program in loaded.programs() {
        program.run(&mut packet()).expect("a run");
    }
    let lines = lines.lock().expect("no panic").join("\n");
    assert!(lines.contains("a packet of 100 bytes"), "{lines}");
    assert!(lines.contains("four: 1 2 3 4"), "{lines}");
}

#[test]
fn events_in_their_order() {
    let loaded = object("exercise/events.bpf.o").load(&Options::new()).expect("it loads");
    let events = loaded.events("events").expect("the map");
    for name in ["report", "report_head"] {
        loaded.program(name).expect("a program").run(&mut packet()).expect("a run");
    }
    let events = events.drain();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].data[..8], [0, 0, 0, 0, 100, 0, 0, 0]);
    assert_eq!(events[1].data[..8], [1, 0, 0, 0, 100, 0, 0, 0]);
    assert_eq!(events[1].data[16..32], [7; 16]);
}

#[test]
fn globals_can_be_set_before_loading() {
    let mut globals = object("exercise/globals.bpf.o");
    globals.set_global("offset", &(-77_i32).to_le_bytes()).expect("a global");
    globals.set_global_text("packets", "1000").expect("a global");
    let refused = globals.set_global("offset", &[0; 8]).expect_err("it has four bytes");
    assert!(refused.to_string().contains("offset"), "{refused}");
    let refused = globals.set_global("ofset", &[0; 4]).expect_err("there is none");
    assert!(refused.to_string().contains("there is no global ofset"), "{refused}");
    let loaded = globals.load(&Options::new()).expect("it loads");
    loaded.program("globals").expect("a program").run(&mut packet()).expect("a run");
    let mut result = [0; 8];
    let results = loaded.map("results").expect("the map");
    results.lookup(&1_u32.to_ne_bytes(), &mut result, 0).expect("a result");
    assert_eq!(i64::from_ne_bytes(result), -77);
    let global = globals.globals().iter().find(|global| global.name == "packets");
    let global = global.expect("it has it");
    let map = loaded.map(&globals.maps()[global.map].name).expect("the section's map");
    let mut data = vec![0; map.value_bytes()];
    map.lookup(&0_u32.to_ne_bytes(), &mut data, 0).expect("its value");
    let at = global.offset as usize;
    assert_eq!(data[at..at + 8], 1001_u64.to_le_bytes());
}

#[test]
fn sizes_of_maps() {
    let mut flows = object("flow_stats/flow_stats.bpf.o");
    flows.max_entries("flows", 3).expect("a map");
    let loaded = flows.load(&Options::new()).expect("it loads");
    let program = loaded.program("flow_stats").expect("a program");
    for input in crate::input::inputs("flow_stats").iter().take(500) {
        program.run(&mut context(ProgramType::Xdp, input)).expect("a run");
    }
    assert_eq!(loaded.map("flows").expect("the map").len(), 3);
}

#[test]
fn what_there_is_not_is_said() {
    let loaded = object("flow_stats/flow_stats.bpf.o").load(&Options::new()).expect("it loads");
    let error = loaded.program("flow").err().expect("there is none");
    assert_eq!(error.to_string(), "there is no program flow; there is flow_stats");
    let error = loaded.map("flow").expect_err("there is none");
    assert!(error.to_string().starts_with("there is no map flow; there is flows"), "{error}");
    let program = loaded.program("flow_stats").expect("a program");
    let error = program.run(&mut packet()).expect_err("it takes no __sk_buff");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}
