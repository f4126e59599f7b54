use super::*;
use crate::code::{Function, Line};

/// r0 = 0
const ZERO: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn code(instructions: &[[u8; 8]], functions: &[usize]) -> Code {
    let function = |start: &usize| Function { name: format!("f{start}"), start: *start };
    let line = Line {
        instruction: 1,
        file: "a.c".into(),
        line: 7,
        column: 1,
        text: "return bpf();".into(),
    };
    Code {
        name: "count".to_owned(),
        instructions: instructions.iter().map(|each| Instruction::from_bytes(*each)).collect(),
        functions: functions.iter().map(function).collect(),
        lines: vec![line],
        ..Code::default()
    }
}

fn map(name: &str, map_type: u32, value_size: u32, max_entries: u32) -> MapDefinition {
    let name = name.to_owned();
    MapDefinition { name, map_type, value_size, max_entries, ..MapDefinition::default() }
}

/// What is said of a program with two maps, that may call helper 1.
fn problem(code: &Code) -> String {
    let maps = [map("flows", 1, 8, 100), map(".data", ARRAY, 16, 1)];
    match validate("a.o", code, &maps, |id| id == 1) {
        Ok(()) => "none".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The same, of a program that is one instruction after `r0 = 0`, before `exit`.
fn problem_of(instruction: [u8; 8]) -> String {
    let text = problem(&code(&[ZERO, instruction, EXIT], &[0]));
    match text.strip_prefix("a.o: program count, instruction 1: ") {
        Some(text) => text.split_once(": ").unwrap().1.to_owned(),
        None => text,
    }
}

#[test]
fn the_shape_of_programs() {
    assert_eq!(problem(&code(&[ZERO, EXIT], &[0])), "none");
    assert_eq!(problem(&code(&[], &[0])), "a.o: program count is empty");
    let long = vec![ZERO; LONGEST + 1];
    let expected = "a.o: program count has 1000001 instructions; 1000000 are allowed";
    assert_eq!(problem(&code(&long, &[0])), expected);
    let overlap = "a.o: the functions of program count overlap or lie outside";
    for functions in [&[][..], &[1], &[0, 2], &[0, 1, 1], &[0, 1, 0]] {
        assert_eq!(problem(&code(&[ZERO, EXIT], functions)), overlap, "{functions:?}");
    }
    let open = "a.o: program count, instruction 1: (b7) r0 = 0: the function ends without an exit or \
                a jump back (a.c:7: return bpf();)";
    assert_eq!(problem(&code(&[EXIT, ZERO], &[0])), open);
    assert_eq!(problem(&code(&[EXIT, ZERO, EXIT], &[0, 2])), open);
    let back = [0x05, 0, 0xfe, 0xff, 0, 0, 0, 0];
    assert_eq!(problem(&code(&[ZERO, back], &[0])), "none");
}

#[test]
fn where_jumps_and_calls_lead() {
    let goto = |distance: i8| [0x05, 0, distance as u8, (distance >> 7) as u8, 0, 0, 0, 0];
    let wide = [[0x18, 1, 0, 0, 1, 0, 0, 0], [0; 8]];
    let out = "(a.c:7: return bpf();)";
    for distance in [1, -3, 100] {
        let expected = format!("the jump leads out of the function {out}");
        assert_eq!(problem_of(goto(distance)), expected, "{distance}");
    }
    assert_eq!(problem_of(goto(0)), "none");
    assert_eq!(problem_of([0x15, 0, 0xfe, 0xff, 5, 0, 0, 0]), "none");
    let gotol = [0x06, 0, 0, 0, 0, 0, 0, 0x80];
    assert_eq!(problem_of(gotol), format!("the jump leads out of the function {out}"));
    let into = problem(&code(&[ZERO, goto(1), wide[0], wide[1], EXIT], &[0]));
    assert!(into.contains("second half"), "{into}");
    let other = problem(&code(&[ZERO, goto(1), EXIT, EXIT], &[0, 3]));
    assert!(other.contains("out of the function"), "{other}");

    let call = [0x85, 0x10, 0, 0, 1, 0, 0, 0];
    assert_eq!(problem(&code(&[ZERO, call, EXIT, EXIT], &[0, 3])), "none");
    let nowhere = problem(&code(&[ZERO, call, EXIT, EXIT], &[0]));
    assert!(nowhere.contains("no function starts where this one leads"), "{nowhere}");
    let callback = [[0x18, 0x41, 0, 0, 2, 0, 0, 0], [0; 8]];
    assert_eq!(problem(&code(&[ZERO, callback[0], callback[1], EXIT, EXIT], &[0, 4])), "none");
    let nowhere = problem(&code(&[ZERO, callback[0], callback[1], EXIT, EXIT], &[0]));
    assert!(nowhere.contains("(18) r1 = subprog[+2]: no function starts"), "{nowhere}");
}

#[test]
fn loads_of_64_bits() {
    let load = |src: u8, low: u8, second: [u8; 8]| {
        problem(&code(&[ZERO, [0x18, src << 4 | 1, 0, 0, low, 0, 0, 0], second, EXIT], &[0]))
    };
    let high = |imm: u8| [0, 0, 0, 0, imm, 0, 0, 0];
    assert_eq!(load(0, 1, high(9)), "none");
    assert_eq!(load(1, 0, high(0)), "none");
    assert_eq!(load(2, 1, high(15)), "none");
    for (src, low, second, expected) in [
        (0, 0, [0xb7, 0, 0, 0, 0, 0, 0, 0], "second half of the 64-bit load has more than"),
        (0, 0, [0, 1, 0, 0, 0, 0, 0, 0], "second half of the 64-bit load has more than"),
        (1, 2, high(0), "there is no map 2"),
        (1, 0, high(4), "r1 = map[name:flows]: a map's address has no offset"),
        (2, 2, high(0), "there is no map 2"),
        (2, 0, high(0), "map flows is no array of one value"),
        (2, 1, high(16), "byte 16 is behind the 16 of map .data's value"),
        (3, 0, high(0), "a kernel variable"),
        (5, 0, high(0), "a 64-bit load of kind 5"),
    ] {
        let found = load(src, low, second);
        assert!(found.contains(expected), "{found}");
    }
    let cut = problem(&code(&[ZERO, [0x18, 1, 0, 0, 0, 0, 0, 0]], &[0]));
    assert!(cut.contains("the second half of the 64-bit load is missing"), "{cut}");
}

#[test]
fn fields_and_registers() {
    let at = " (a.c:7: return bpf();)";
    for (instruction, expected) in [
        ([0x07, 0x0b, 0, 0, 1, 0, 0, 0], "there is no register r11"),
        ([0x0f, 0xf0, 0, 0, 0, 0, 0, 0], "there is no register r15"),
        ([0x07, 0x0a, 0, 0, 1, 0, 0, 0], "r10, the frame pointer, cannot be written to"),
        ([0x61, 0x1a, 0, 0, 0, 0, 0, 0], "r10, the frame pointer, cannot be written to"),
        ([0xdb, 0xa1, 0, 0, 1, 0, 0, 0], "r10, the frame pointer, cannot be written to"),
        ([0x07, 0x10, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x07, 0x00, 1, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x0f, 0x10, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x3f, 0x10, 2, 0, 0, 0, 0, 0], "a field that must be zero is not"),
        ([0xbc, 0x10, 32, 0, 0, 0, 0, 0], "a field that must be zero is not"),
        ([0xb7, 0x00, 8, 0, 0, 0, 0, 0], "a field that must be zero is not"),
        ([0x61, 0x10, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x95, 0, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x05, 0, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x06, 0, 1, 0, 0, 0, 0, 0], "a field that must be zero is not"),
        ([0xe5, 0, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x30, 1, 0, 0, 1, 0, 0, 0], "a field that must be zero is not"),
        ([0x30, 0, 0, 0, 1, 0, 0, 0], "LD_ABS and LD_IND are not for programs of type kprobe"),
        ([0x50, 0x10, 0, 0, 1, 0, 0, 0], "LD_ABS and LD_IND are not for programs of type kprobe"),
        ([0x38, 0, 0, 0, 1, 0, 0, 0], "there is no opcode 0x38"),
        ([0x8d, 0x00, 0, 0, 0, 0, 0, 0], "a call by register (callx) is not supported"),
        ([0x37, 0, 0, 0, 0, 0, 0, 0], "division by zero"),
        ([0x94, 0, 1, 0, 0, 0, 0, 0], "remainder by zero"),
        ([0x67, 0, 0, 0, 64, 0, 0, 0], "shift left of 64 bits by 64"),
        ([0xc4, 0, 0, 0, 32, 0, 0, 0], "shift right of 32 bits by 32"),
        ([0xd4, 0, 0, 0, 8, 0, 0, 0], "bytes are swapped in 16, 32 or 64 bits, not 8"),
        ([0xe7, 0, 0, 0, 0, 0, 0, 0], "there is no opcode 0xe7"),
        ([0x99, 0x10, 0, 0, 0, 0, 0, 0], "there is no opcode 0x99"),
        ([0x86, 0, 0, 0, 0, 0, 0, 0], "there is no opcode 0x86"),
        ([0xc3, 0x10, 0, 0, 2, 0, 0, 0], "there is no atomic operation 0x2"),
        ([0xd3, 0x10, 0, 0, 0, 0, 0, 0], "atomic operations are on 4 or 8 bytes"),
        (
            [0x85, 0x20, 0, 0, 9, 0, 0, 0],
            "a call of the kernel's function 9 (kfunc) is not supported",
        ),
        ([0x85, 0, 0, 0, 2, 0, 0, 0], "helper bpf_map_update_elem (2) is not supported"),
        ([0x85, 0, 0, 0, 0, 0, 0x4d, 0x55], "helper 0x554d0000 is not supported"),
    ] {
        assert_eq!(problem_of(instruction), format!("{expected}{at}"), "{instruction:02x?}");
    }
    assert_eq!(problem_of([0x85, 0, 0, 0, 1, 0, 0, 0]), "none");
    assert_eq!(problem_of([0xd3, 0xa0, 0xf8, 0xff, 0, 1, 0, 0]), "none");
}

#[test]
fn helpers_on_the_wrong_maps() {
    let maps = [
        map("flows", 1, 8, 100),
        map("last", 23, 8, 100),
        map("calls", 3, 4, 8),
        map("events", 4, 4, 8),
        MapDefinition { map_flags: 1 << 7, ..map("limits", ARRAY, 8, 1) },
        map("later", 27, 0, 4096),
    ];
    let wide = |register: u8, number: u8| [[0x18, 0x10 | register, 0, 0, number, 0, 0, 0], [0; 8]];
    let call = |id: u8| [0x85, 0, 0, 0, id, 0, 0, 0];
    let said = |instructions: &[[u8; 8]]| match validate(
        "a.o",
        &code(&[instructions, &[EXIT]].concat(), &[0]),
        &maps,
        |_| true,
    ) {
        Ok(()) => "none".to_owned(),
        Err(error) => error.to_string(),
    };
    let cases = [
        (1, 0, 1, ""),
        (1, 0, 87, "map flows: only queues and stacks are pushed to and popped from"),
        (1, 1, 1, "map last: queues and stacks have no keys"),
        (1, 1, 164, "map last: queues and stacks cannot be walked"),
        (1, 0, 195, "map flows: only per-CPU maps have values of other CPUs"),
        (1, 2, 1, "map calls: a PROG_ARRAY's programs can only be called"),
        (1, 3, 2, "map events: a PERF_EVENT_ARRAY only takes events"),
        (1, 4, 1, ""),
        (1, 4, 2, "map limits: the map is read-only for programs"),
        (1, 5, 2, ""),
        (2, 2, 12, ""),
        (2, 0, 12, "map flows: only a PROG_ARRAY has programs to call"),
        (2, 3, 25, ""),
        (2, 2, 25, "map calls: only a PERF_EVENT_ARRAY takes events"),
        // Not an argument that is a map.
        (2, 2, 1, ""),
        (1, 2, 7, ""),
    ];
    for (register, number, id, problem) in cases {
        let found = said(&[&wide(register, number)[..], &[call(id)]].concat());
        match problem {
            "" => assert_eq!(found, "none", "{number} {id}"),
            _ => assert!(found.contains(&format!(": {problem} (a.c:7")), "{found}"),
        }
    }
    let [first, second] = wide(6, 1);
    let (copy, change) = ([0xbf, 0x61, 0, 0, 0, 0, 0, 0], [0x07, 1, 0, 0, 0, 0, 0, 0]);
    // Known in a register that a call leaves alone, and copied from there.
    let found = said(&[first, second, call(5), copy, call(1)]);
    assert!(found.contains("instruction 4") && found.contains("map last"), "{found}");
    // Not known: changed, taken by a call, or of another block.
    assert_eq!(said(&[first, second, copy, change, call(1)]), "none");
    assert_eq!(said(&[first, second, copy, call(5), call(1)]), "none");
    let skip = [0x15, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(said(&[first, second, copy, skip, call(1)]), "none");
}
