//! `PROG_ARRAY` and `PERF_EVENT_ARRAY`: the commands on them, and programs that use them.

use super::*;

const CREATE: u32 = 0;
const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
const NEXT_KEY: u32 = 4;
const LOOKUP_AND_DELETE: u32 = 21;
const FREEZE: u32 = 22;
const BATCHES: [u32; 4] = [24, 25, 26, 27];

const PROG_ARRAY: u32 = 3;
const PERF_EVENT_ARRAY: u32 = 4;

const TAIL_CALL: i32 = 12;
const EVENT_OUTPUT: i32 = 25;

fn create(map_type: u32) -> Call {
    Call::new(CREATE).u32(0, map_type).u32(4, 4).u32(8, 4).u32(12, 3)
}

fn element(command: u32, key: u32) -> Call {
    Call::new(command).memory(8, &key.to_ne_bytes())
}

/// r2 = the map of this descriptor.
fn load_map(fd: i32) -> [Bytes; 2] {
    [op(0x18, 2, 1, 0, fd), [0; 8]]
}

/// Tail-calls what is at an index; else returns 5.
fn caller(fd: i32, index: i32) -> Vec<Bytes> {
    let call = [op(0xb7, 3, 0, 0, index), op(0x85, 0, 0, 0, TAIL_CALL)];
    [&load_map(fd), &call[..], &returns(5)].concat()
}

fn puts(side: Side, array: &Descriptor, index: u32, program: &Descriptor) -> Answer {
    let put = element(UPDATE, index).memory(16, &program.number.to_ne_bytes());
    put.u32(0, array.number as u32).make(side)
}

fn run(side: Side, program: &Descriptor) -> Answer {
    let run = Call::new(TEST_RUN).u32(8, 64).memory(16, &[1; 64]);
    let mut answer = run.u32(0, program.number as u32).make(side);
    answer.attr[36..40].fill(0);
    answer
}

#[test]
fn creation() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    for map_type in [PROG_ARRAY, PERF_EVENT_ARRAY] {
        let mut compare = |what: String, call: Call| {
            comparison.same(&format!("type {map_type}, {what}"), &[], |side| {
                let answer = call.make(side);
                if let Ok(fd) = answer.result {
                    drop(Descriptor::new(fd));
                }
                Answer { result: answer.result.map(|_| 0), ..answer }
            });
        };
        compare("good".into(), create(map_type));
        for at in [4, 8, 12] {
            for value in [0, 1, 2, 3, 5, 8, u32::MAX] {
                compare(format!("word {at} is {value}"), create(map_type).u32(at, value));
            }
        }
        // Preserved elements are for events, which there are none of.
        for flag in (0..32).filter(|flag| *flag != 11) {
            compare(format!("flag {flag}"), create(map_type).u32(16, 1 << flag));
        }
        for at in (20..92).step_by(4).filter(|at| ![24, 28, 32, 36, 40].contains(at)) {
            compare(format!("word {at} is set"), create(map_type).u32(at, 77));
        }
        compare("a name".into(), create(map_type).bytes(28, b"jumps"));
        compare("a bad name".into(), create(map_type).bytes(28, b"ju mps"));
        compare("a field too many".into(), create(map_type).u32(92, 1));
        compare("short".into(), create(map_type).size(16));
    }
}

#[test]
fn elements() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    for map_type in [PROG_ARRAY, PERF_EVENT_ARRAY] {
        let array = Pair::new(|side| create(map_type).descriptor(side));
        let xdp = Pair::new(|side| program(side, XDP, &returns(2)));
        let filter = Pair::new(|side| program(side, SOCKET_FILTER, &returns(2)));
        let value = |pair: &Pair, side| pair.of(side).to_ne_bytes();
        let mut on = |what: &str, call: &dyn Fn(Side) -> Call| {
            let what = format!("type {map_type}, {what}");
            comparison.same(&what, &[0], |side| {
                let answer = call(side).u32(0, array.of(side)).make(side);
                // Ids and descriptors are each side's own.
                Answer { memory: Vec::new(), ..answer }
            });
        };
        let put = |index, value: [u8; 4]| element(UPDATE, index).memory(16, &value);
        let look = |index| element(LOOKUP, index).memory(16, &[]);
        on("nothing there", &|_| look(0));
        on("nothing to delete", &|_| element(DELETE, 0));
        on("of another number", &|_| put(0, 9999_i32.to_ne_bytes()));
        on("no descriptor", &|_| put(0, [0xff; 4]));
        on("a file", &|_| put(0, 0_i32.to_ne_bytes()));
        on("a map", &|side| put(0, value(&array, side)));
        on("past the end", &|side| put(3, value(&xdp, side)));
        for flags in [1, 2, 3, 4, 8, 1 << 40] {
            on("flags", &|side| put(0, value(&xdp, side)).u64(24, flags));
            on("flags of a lookup", &|_| look(0).u64(24, flags));
        }
        on("no key", &|side| put(0, value(&xdp, side)).u64(8, 8));
        on("no value", &|_| element(UPDATE, 0).u64(16, 8));
        on("no key and no flags", &|_| element(UPDATE, 9).u64(8, 8).u64(24, 7));
        on("a program", &|side| put(1, value(&xdp, side)));
        on("once more", &|side| put(1, value(&xdp, side)));
        on("of another type", &|side| put(2, value(&filter, side)));
        for index in 0..4 {
            on("look", &|_| look(index));
            on("look from nowhere", &|_| look(index).u64(8, 8));
            on("look to nowhere", &|_| look(index).u64(16, 8));
            on("take", &|_| element(LOOKUP_AND_DELETE, index).memory(16, &[]));
            on("delete with a value", &|_| element(DELETE, index).u64(16, 1));
        }
        for index in [0, 1, 1, 3] {
            on("delete", &|_| element(DELETE, index));
        }
        on("of the first type only", &|side| put(1, value(&filter, side)));
        on("again", &|side| put(1, value(&xdp, side)));
        for command in BATCHES {
            let batch = |side| {
                Call::new(command)
                    .memory(16, &[0; 16])
                    .memory(24, &[0; 16])
                    .u32(32, 1)
                    .u32(36, array.of(side))
            };
            comparison.same(&format!("batch {command}"), &[36], |side| batch(side).make(side));
        }
        let told = |side, bytes: usize| {
            let mut answer = info(&vec![0; bytes]).u32(0, array.of(side)).make(side);
            answer.memory[0][4..8].fill(0);
            answer
        };
        for index in 0..4 {
            comparison.same(&format!("next of {index}"), &[0], |side| {
                element(NEXT_KEY, index).memory(16, &[]).u32(0, array.of(side)).make(side)
            });
        }
        comparison.same("first", &[0], |side| {
            Call::new(NEXT_KEY).memory(16, &[]).u32(0, array.of(side)).make(side)
        });
        for bytes in [8, 40, 104, 200] {
            comparison.same(&format!("info of {bytes}"), &[0], |side| told(side, bytes));
        }
        let mut on = |what: &str, call: &dyn Fn(Side) -> Call| {
            let what = format!("type {map_type}, {what}");
            comparison.same(&what, &[0], |side| {
                let answer = call(side).u32(0, array.of(side)).make(side);
                Answer { memory: Vec::new(), ..answer }
            });
        };
        on("freeze", &|_| Call::new(FREEZE));
        on("update frozen", &|side| put(1, value(&xdp, side)));
        on("delete frozen", &|_| element(DELETE, 1));
        on("freeze again", &|_| Call::new(FREEZE));
    }
}

/// Handles that may do one thing only.
#[test]
fn rights() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    for flags in [1 << 3, 1 << 4] {
        let array = Pair::new(|side| create(PROG_ARRAY).u32(16, flags).descriptor(side));
        let xdp = Pair::new(|side| program(side, XDP, &returns(2)));
        for command in [LOOKUP, UPDATE, DELETE, NEXT_KEY, LOOKUP_AND_DELETE] {
            comparison.same(&format!("flags {flags}, command {command}"), &[0], |side| {
                let call = element(command, 0).u32(0, array.of(side));
                let call = match command {
                    DELETE => call,
                    _ => call.memory(16, &xdp.of(side).to_ne_bytes()),
                };
                Answer { memory: Vec::new(), ..call.make(side) }
            });
        }
        for command in BATCHES {
            comparison.same(&format!("flags {flags}, batch {command}"), &[36], |side| {
                Call::new(command).u32(36, array.of(side)).make(side)
            });
        }
    }
}

#[test]
fn loading() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    let array = Pair::new(|side| create(PROG_ARRAY).descriptor(side));
    let plain = Pair::new(|side| create(2).descriptor(side));
    let events = Pair::new(|side| create(PERF_EVENT_ARRAY).descriptor(side));
    let mut loads = |what: &str, call: &dyn Fn(Side) -> Call| {
        comparison.same(what, &[], |side| {
            let answer = call(side).make(side);
            if let Ok(fd) = answer.result {
                drop(Descriptor::new(fd));
            }
            Answer { result: answer.result.map(|_| 0), memory: Vec::new(), ..answer }
        });
    };
    let calls = |pair: &Pair, side| caller(pair.of(side) as i32, 0);
    loads("a tail call into a plain array", &|side| load(XDP, &calls(&plain, side)));
    loads("a tail call into events", &|side| load(XDP, &calls(&events, side)));
    loads("a tail call", &|side| load(XDP, &calls(&array, side)));
    loads("of a program of another type", &|side| load(SOCKET_FILTER, &calls(&array, side)));
    loads("once more", &|side| load(XDP, &calls(&array, side)));
}

#[test]
fn tail_calls() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    let array = Pair::new(|side| create(PROG_ARRAY).descriptor(side));
    let of = |side| if side == Side::Kernel { &array.kernel } else { &array.usermap };
    let caller =
        |index| Pair::new(|side| load(XDP, &caller(of(side).number, index)).descriptor(side));
    let (first, second) = (caller(0), caller(1));
    let leaf = Pair::new(|side| program(side, XDP, &returns(7)));
    let mut step = |what: &str, change: &dyn Fn(Side) -> Answer| {
        comparison.same(what, &[0], change);
        for (name, pair) in [("first", &first), ("second", &second), ("leaf", &leaf)] {
            comparison.same(&format!("{what}: {name}"), &[0], |side| {
                run(side, if side == Side::Kernel { &pair.kernel } else { &pair.usermap })
            });
        }
    };
    let put = |side, index, pair: &Pair| {
        let program = if side == Side::Kernel { &pair.kernel } else { &pair.usermap };
        Answer { memory: Vec::new(), ..puts(side, of(side), index, program) }
    };
    let delete = |side, index| element(DELETE, index).u32(0, array.of(side)).make(side);
    step("an empty array", &|side| delete(side, 0));
    step("one to call", &|side| put(side, 0, &leaf));
    step("two", &|side| put(side, 1, &first));
    step("itself", &|side| put(side, 0, &first));
    step("each other", &|side| put(side, 0, &second));
    step("gone", &|side| delete(side, 1));
}

/// Both programs of a tail call have maps of their own, and the call sees what is in them.
#[test]
fn maps_of_both() {
    if !kernel() {
        return;
    }
    let counts = |side| {
        let array_of_programs = create(PROG_ARRAY).descriptor(side);
        // *(u64 *)value += 1
        let add = [op(0xb7, 1, 0, 0, 1), op(0xdb, 6, 1, 0, 0)];
        let (own, mut first) = array(side, 2, 6);
        first.extend([op(0xbf, 7, 1, 0, 0)]);
        first.extend(add);
        first.extend([op(0xbf, 1, 7, 0, 0)]);
        first.extend(caller(array_of_programs.number, 2));
        let (other, mut second) = array(side, 2, 6);
        second.extend(add);
        second.extend(returns(9));
        let first = program(side, XDP, &first);
        let second = program(side, XDP, &second);
        assert_eq!(run(side, &first).u32(4), 5);
        assert!(puts(side, &array_of_programs, 2, &second).result.is_ok());
        for _ in 0..3 {
            assert_eq!(run(side, &first).u32(4), 9, "{side:?}");
        }
        // The array has it, whoever else has closed it.
        drop(second);
        assert_eq!(run(side, &first).u32(4), 9, "{side:?}");
        [own, other].map(|map| {
            let look = element(LOOKUP, 0).memory(16, &[]).u32(0, map.number as u32);
            u64::from_ne_bytes(look.make(side).memory[1][..8].try_into().expect("a value"))
        })
    };
    assert_eq!(counts(Side::Kernel), [5, 4]);
    assert_eq!(counts(Side::Usermap), [5, 4]);
}

#[test]
fn events_without_a_reader() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    // One for each CPU at least: a run may be on any of them.
    for entries in [usermap::possible_cpus(), 1024] {
        for flags in [-1, 0, 5, 1 << 20] {
            comparison.same(&format!("{entries} entries, flags {flags}"), &[0], |side| {
                let events = create(PERF_EVENT_ARRAY).u32(12, entries).descriptor(side);
                let instructions = [
                    &load_map(events.number),
                    // An event of 8 bytes.
                    &[
                        op(0x7a, 10, 0, -8, 1),
                        op(0xb4, 3, 0, 0, flags),
                        op(0xbf, 4, 10, 0, 0),
                        op(0x07, 4, 0, 0, -8),
                        op(0xb7, 5, 0, 0, 8),
                        op(0x85, 0, 0, 0, EVENT_OUTPUT),
                        exit(),
                    ][..],
                ]
                .concat();
                run(side, &program(side, XDP, &instructions))
            });
        }
    }
}
