//! What is in objects: programs with all that they call, maps, variables.

use crate::{functions, map, object, program};
use usermap_vm::btf::Kind;
use usermap_vm::instruction::pseudo;
use usermap_vm::{Code, Object, ProgramType};

/// The functions that a function of a program calls or takes the address of, in its order.
fn calls<'c>(code: &'c Code, function: &str) -> Vec<&'c str> {
    let index = code.functions.iter().position(|one| one.name == function).unwrap();
    let called = code.range(index).filter_map(|at| {
        let instruction = code.instructions[at];
        let is_address = instruction.is_wide() && instruction.src == pseudo::FUNCTION;
        (instruction.is_local_call() || is_address)
            .then(|| (at as i64 + 1 + i64::from(instruction.imm)) as usize)
    });
    let name = |start| code.functions.iter().find(|one| one.start == start).unwrap();
    called.map(|start| name(start).name.as_str()).collect()
}

/// The bytes of variables that a function refers to: section's map and offset.
fn variables(code: &Code, function: &str) -> Vec<(usize, u32)> {
    let index = code.functions.iter().position(|one| one.name == function).unwrap();
    let is_value = |at: &usize| {
        let instruction = code.instructions[*at];
        instruction.is_wide() && instruction.src == pseudo::MAP_VALUE
    };
    let value = |at: usize| (code.instructions[at].imm as usize, code.instructions[at + 1].imm);
    code.range(index).filter(is_value).map(value).map(|(map, at)| (map, at as u32)).collect()
}

fn place(object: &Object, name: &str) -> (usize, u32) {
    let global = object.globals().iter().find(|global| global.name == name).unwrap();
    (global.map, global.offset)
}

#[test]
fn all_programs_of_all_sections_with_their_types() {
    let object = object("everything.bpf.o");
    let programs: Vec<_> = object
        .programs()
        .iter()
        .map(|code| (code.name.as_str(), code.section.as_str(), code.program_type))
        .collect();
    let expected = [
        ("first", "xdp", ProgramType::Xdp),
        ("second", "xdp", ProgramType::Xdp),
        ("classify", "tc/ingress", ProgramType::SchedCls),
    ];
    assert_eq!(programs, expected);
    assert_eq!(object.license(), "Dual MIT/GPL");
    for program in object.programs() {
        let refused = object.check(&program.name).unwrap_err();
        assert!(refused.to_string().contains("extern CONFIG_HZ"), "{refused}");
    }
}

#[test]
fn functions_are_appended_and_called_where_they_are() {
    let object = object("everything.bpf.o");
    let first = program(&object, "first");
    let expected = ["first", "reached_as_callback", "global_function", "static_function"];
    assert_eq!(functions(first), expected);
    assert_eq!(calls(first, "first"), ["reached_as_callback", "global_function"]);
    assert_eq!(calls(first, "global_function"), ["static_function"]);
    let second = program(&object, "second");
    let expected = ["second", "global_function", "weak_function", "static_function"];
    assert_eq!(functions(second), expected);
    assert_eq!(calls(second, "second"), ["global_function", "weak_function"]);
    assert_eq!(functions(program(&object, "classify")), ["classify", "weak_function"]);
}

#[test]
fn functions_at_the_same_place_of_two_sections_are_told_apart() {
    let object = object("same_place.bpf.o");
    let code = program(&object, "program");
    assert_eq!(functions(code), ["program", "f2", "f1", "in_this_section"]);
    assert_eq!(calls(code, "program"), ["f2", "f1", "in_this_section"]);
    let adds = |function: usize| {
        code.range(function).map(|at| code.instructions[at].imm).find(|imm| *imm >= 100)
    };
    assert_eq!((adds(1), adds(2), adds(3)), (Some(200), Some(100), Some(300)));
}

#[test]
fn maps_are_as_they_are_declared() {
    let object = object("everything.bpf.o");
    let btf = object.btf().unwrap();
    let flows = &object.maps()[map(&object, "flows")];
    assert_eq!((flows.map_type, flows.max_entries, flows.map_flags), (1, 1024, 1));
    assert_eq!((flows.key_size, flows.value_size), (36, 48));
    assert!(flows.pinning);
    assert_eq!(flows.spin_lock, Some(0));
    assert_eq!(btf.describe(flows.key_type.unwrap()), "struct flow_key");
    assert_eq!(btf.describe(flows.value_type.unwrap()), "struct flow");
    let last = &object.maps()[map(&object, "last")];
    assert_eq!((last.map_type, last.key_size, last.value_size), (0x554d_0001, 0, 12));
    assert_eq!((last.map_extra, last.numa_node, last.pinning), (7, 2, false));
    let jumps = &object.maps()[map(&object, "jumps")];
    assert_eq!((jumps.map_type, jumps.key_size, jumps.value_size), (3, 4, 4));
    assert_eq!(jumps.programs, [(0, "first".to_owned()), (3, "second".to_owned())]);
}

#[test]
fn sections_of_data_are_arrays_of_one_value() {
    let object = object("everything.bpf.o");
    let data = &object.maps()[map(&object, ".data")];
    assert_eq!((data.map_type, data.key_size, data.max_entries), (2, 4, 1));
    assert_eq!((data.map_flags, data.initial.as_deref().unwrap()), (0x400, &[5, 0, 0, 0][..]));
    let rodata = &object.maps()[map(&object, ".rodata")];
    assert_eq!(rodata.map_flags, 0x480);
    assert_eq!(rodata.initial.as_ref().unwrap().len(), rodata.value_size as usize);
    let strings = object.maps()[map(&object, ".rodata.str1.1")].initial.as_ref().unwrap();
    assert!(strings.starts_with(b"some words\0") || strings.starts_with(b"other words\0"));
    let bss = object.maps()[map(&object, ".bss")].initial.as_ref().unwrap();
    assert!(bss.iter().all(|byte| *byte == 0));
    let btf = object.btf().unwrap();
    let shown = btf.format(rodata.value_type.unwrap(), rodata.initial.as_ref().unwrap());
    assert!(shown.to_string().contains("limit: 7"), "{shown}");
    assert!(shown.to_string().contains("label: \"label\""), "{shown}");
    assert!(shown.to_string().contains("paint: GREEN"), "{shown}");
}

#[test]
fn variables_are_where_the_symbols_say() {
    let object = object("everything.bpf.o");
    let first = program(&object, "first");
    let calls = place(&object, "calls");
    assert_eq!(object.maps()[calls.0].name, ".bss");
    assert_ne!(calls.1, 0);
    assert_eq!(variables(first, "reached_as_callback"), [calls]);
    assert_eq!(variables(first, "first"), [place(&object, "one_byte"), place(&object, "limit")]);
    assert_eq!(variables(first, "static_function"), [place(&object, "bytes"), calls]);
    assert_eq!(variables(first, "global_function"), [place(&object, "counter")]);
    let second = program(&object, "second");
    let kconfig = map(&object, ".kconfig");
    assert_eq!(
        variables(second, "second"),
        [
            place(&object, "verbose"),
            (
                kconfig,
                object.externs().iter().find(|one| one.size == 4 && one.given).unwrap().offset
            ),
            place(&object, "second.format"),
            (kconfig, object.externs().iter().find(|one| one.size == 1).unwrap().offset),
            (kconfig, object.externs().iter().find(|one| one.name == "CONFIG_HZ").unwrap().offset),
            (kconfig, object.externs().iter().find(|one| one.size == 16).unwrap().offset),
            place(&object, "paint"),
            place(&object, "label"),
        ]
    );
    let text = object.globals().iter().find(|global| global.name == "text").unwrap();
    assert_eq!((text.section.as_str(), text.size), (".bss", 8));
}

#[test]
fn a_weak_symbol_of_the_kernel_is_null() {
    let object = object("everything.bpf.o");
    let second = program(&object, "second");
    let wide = second.instructions.iter().filter(|one| one.is_wide() && one.src == 0);
    assert_eq!(wide.map(|one| one.imm).collect::<Vec<_>>(), [0]);
}

#[test]
fn lines_follow_functions_to_where_they_are_appended() {
    let object = object("everything.bpf.o");
    for code in object.programs() {
        for (index, function) in code.functions.iter().enumerate() {
            let line = code.line(code.range(index).start).unwrap();
            assert!(line.file.ends_with("everything.bpf.c"), "{line:?}");
            // Clang gives the first line of the function, or one in it.
            assert!(line.line > 0 && line.instruction == function.start, "{line:?}");
        }
        assert!(code.lines.is_sorted_by_key(|line| line.instruction));
        assert!(code.lines.iter().all(|line| line.instruction < code.instructions.len()));
    }
    let first = program(&object, "first");
    let callback = first.range(1);
    let texts: Vec<&str> = first
        .lines
        .iter()
        .filter(|line| callback.contains(&line.instruction))
        .map(|line| &*line.text)
        .collect();
    assert!(texts.contains(&"calls++;"), "{texts:?}");
    assert!(!texts.contains(&"bytes += x;"), "{texts:?}");
}

#[test]
fn relocations_of_types_are_against_the_objects_own() {
    let object = object("relocated.bpf.o");
    object.check("relocate").unwrap();
    let code = program(&object, "relocate");
    // Values as clang stores them one after the other: `r1 = N`, `*(u64 *)(r0 + at) = r1`.
    let mut at = [None; 24];
    let mut registers = [0i64; 11];
    for instruction in &code.instructions {
        match (instruction.opcode, instruction.dst, instruction.src) {
            (0xb7 | 0xb4, to, 0) => registers[to as usize] = i64::from(instruction.imm),
            (0x18, to, 0) => registers[to as usize] = i64::from(instruction.imm),
            (0x7b, 0, from) => at[instruction.offset as usize / 8] = Some(registers[from as usize]),
            _ => {}
        }
    }
    let inner = object.btf().unwrap().find("inner", |kind| matches!(kind, Kind::Struct(_)));
    let inner = i64::from(inner.unwrap());
    let expected: [(usize, i64); 20] = [
        (0, 20),
        (1, 4),
        (2, 1),
        (3, 1),
        (4, 28),
        (5, 4),
        (6, 0),
        (7, 59),
        (8, 59),
        (9, 28),
        (10, 1),
        (11, 46),
        (12, 51),
        (13, 1),
        (14, 40),
        (15, 1),
        (16, 12),
        (17, inner),
        (18, inner),
        (19, 1),
    ];
    for (index, value) in expected {
        assert_eq!(at[index], Some(value), "at[{index}]");
    }
}

#[test]
fn objects_without_types_have_maps_of_words_and_variables_of_symbols() {
    let object = object("plain.bpf.o");
    assert!(object.btf().is_none());
    let maps: Vec<_> = object
        .maps()
        .iter()
        .map(|map| (map.name.as_str(), map.map_type, map.key_size, map.value_size, map.max_entries))
        .collect();
    assert_eq!(maps[0], ("COUNTERS", 6, 4, 8, 256));
    assert_eq!(maps[1], ("FLOWS", 1, 12, 16, 1024));
    assert_eq!((object.maps()[1].map_flags, object.maps()[1].pinning), (1, true));
    assert_eq!(maps[2].0, ".rodata");
    let limit = object.globals().iter().find(|global| global.name == "LIMIT").unwrap();
    assert_eq!((limit.size, limit.type_id, limit.section.as_str()), (4, None, ".rodata"));
    let classify = program(&object, "classify");
    assert_eq!(classify.program_type, ProgramType::SchedCls);
    assert_eq!(functions(classify), ["classify", "not_inlined", "helper"]);
    assert_eq!(functions(program(&object, "filter")), ["filter", "helper"]);
    assert!(object.obstacles().is_empty());
    for code in object.programs() {
        object.check(&code.name).unwrap();
    }
}

#[test]
fn objects_of_rust_have_a_section_for_each_function_and_variable() {
    let object = object("rust.bpf.o");
    let drop_all = program(&object, "drop_all");
    object.check("drop_all").unwrap();
    assert_eq!(object.programs().len(), 1);
    let [_, limit] = functions(drop_all)[..] else { panic!("{:?}", functions(drop_all)) };
    assert!(limit.ends_with("5limit"), "{limit}");
    assert_eq!(calls(drop_all, "drop_all"), [limit, limit]);
    assert_eq!(variables(drop_all, limit), [place(&object, "LIMIT")]);
    assert_eq!(object.maps()[0].name, "COUNTERS");
    assert_eq!(object.maps()[1].name, ".rodata.LIMIT");
    assert_eq!(object.maps()[1].initial.as_deref(), Some(&[9, 0, 0, 0][..]));
}
