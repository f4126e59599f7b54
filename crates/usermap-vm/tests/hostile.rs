//! What a hostile program, or a helper that goes wrong, must not do: each was once found to be
//! possible, by fuzzing or by reading.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use usermap_vm::bare::{Engine, Options};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Error, FaultKind};

type Words = (u8, u8, u8, i16, i32);
const EXIT: Words = (0x95, 0, 0, 0, 0);

/// Instructions by opcode, destination, source, offset and immediate.
fn instructions(words: &[Words]) -> Vec<Instruction> {
    let instruction =
        |&(opcode, dst, src, offset, imm): &Words| Instruction { opcode, dst, src, offset, imm };
    words.iter().map(instruction).collect()
}

fn kind(error: Error) -> FaultKind {
    let Error::Fault(fault) = error else { panic!("no fault: {error}") };
    fault.kind
}

/// The panic of a helper is the caller's to catch, whichever engine called it, and leaves nothing
/// behind.
#[test]
fn a_helper_panics() {
    for engine in Engine::all() {
        let mut options = Options::new();
        options.engine(*engine).helper(77_777, |call| match call.arguments()[0] {
            0 => 5,
            _ => panic!("on purpose"),
        });
        // In a function of its own, so that there is more than one frame to leave.
        let words = [(0x61, 1, 1, 0, 0), (0x85, 0, 1, 0, 1), EXIT, (0x85, 0, 0, 0, 77_777), EXIT];
        let program = options.load(instructions(&words)).unwrap();
        for _ in 0..3 {
            let panic = catch_unwind(AssertUnwindSafe(|| program.run(&mut [1, 0, 0, 0])));
            let panic = panic.expect_err("the helper panicked");
            assert_eq!(panic.downcast_ref(), Some(&"on purpose"), "{engine:?}");
            assert_eq!(program.run(&mut [0; 4]).unwrap(), 5);
        }
    }
}

/// What helpers take from the budget is not given back by a call of a function.
#[test]
fn helpers_work_is_counted() {
    let rounds = Engine::all().iter().map(|engine| {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let mut options = Options::new();
        options.engine(*engine).budget(100_000).helper(77_777, move |_| {
            counted.fetch_add(1, Relaxed);
            0
        });
        let words = [
            (0xbf, 6, 1, 0, 0),      // r6 = r1
            (0x85, 0, 0, 0, 77_777), // 1: call 77777
            (0x85, 0, 1, 0, 6),      // call 9
            (0xbf, 1, 6, 0, 0),      // r1 = r6
            (0xb7, 2, 0, 0, 32_768), // r2 = 32768
            (0xbf, 3, 6, 0, 0),      // r3 = r6
            (0x85, 0, 0, 0, 182),    // call bpf_strncmp
            (0x05, 0, 0, -7, 0),     // goto 1
            EXIT,
            (0xb7, 0, 0, 0, 0), // 9: r0 = 0
            EXIT,
        ];
        let program = options.load(instructions(&words)).unwrap();
        let error = program.run(&mut [1; 40_000]).unwrap_err();
        assert_eq!(kind(error), FaultKind::Budget { limit: 100_000 });
        count.load(Relaxed)
    });
    let rounds: Vec<u64> = rounds.collect();
    assert!(rounds.iter().all(|count| *count == rounds[0] && *count < 200), "{rounds:?}");
}

/// Values of many bytes that are copied over and over are paid for, those of few are not: by each
/// helper that copies them, whether it is seen which map it gets or not.
#[test]
fn values_bytes_are_counted() {
    use usermap::{Map, MapType, Spec};
    for (map_type, key_size, helper) in
        [(MapType::Array, 4, 2), (MapType::Hash, 4, 2), (MapType::Queue, 0, 87)]
    {
        for (value_size, least) in [(63, 600), (64, 600), (4096, 100), (100_000, 5)] {
            for seen in [0, 1] {
                let rounds = Engine::all().iter().map(|engine| {
                    let map = Map::create(&Spec::new(map_type, key_size, value_size, 1000));
                    let mut options = Options::new();
                    let count = Arc::new(AtomicU64::new(0));
                    let counter = count.clone();
                    options.helper(77_777, move |_| counter.fetch_add(1, Relaxed));
                    options.engine(*engine).budget(10_000).map("map", map.unwrap());
                    let words = [
                        (0xbf, 6, 1, 0, 0),    // r6 = r1
                        (0xb7, 7, 0, 0, 0),    // r7 = 0
                        (0x18, 1, 1, 0, 0),    // r1 = map
                        (0, 0, 0, 0, 0),       //
                        (0x05, 0, 0, seen, 0), // goto the next but `seen`
                        (0xb7, 8, 0, 0, 0),    // r8 = 0
                        (0x62, 10, 0, -4, 0),  // *(u32 *)(r10 - 4) = 0
                        (0xbf, 2, 10, 0, 0),   // r2 = r10
                        (0x07, 2, 0, 0, -4),   // r2 -= 4
                        (0xbf, 3, 6, 0, 0),    // r3 = r6
                        (0xb7, 4, 0, 0, 0),    // r4 = 0
                        (0xbf, 8, 8, 0, 0),    // r8 = r8
                        (0x85, 0, 0, 0, helper),
                        (0x85, 0, 0, 0, 77_777),
                        (0xbf, 7, 7, 0, 0),   // r7 = r7
                        (0x05, 0, 0, -14, 0), // goto 2
                    ];
                    let words = match helper {
                        87 => words.map(|word| match word {
                            (0xbf, 2, 10, ..) => (0xbf, 2, 6, 0, 0), // r2 = r6
                            (0x07, 2, ..) | (0xbf, 3, ..) => (0xb7, 3, 0, 0, 0), // r3 = 0
                            other => other,
                        }),
                        _ => words,
                    };
                    let program = options.load(instructions(&words)).unwrap();
                    let mut memory = vec![0; 100_000];
                    let fault = program.run(&mut memory).unwrap_err();
                    assert_eq!(kind(fault), FaultKind::Budget { limit: 10_000 });
                    count.load(Relaxed)
                });
                let rounds: Vec<u64> = rounds.collect();
                let same = rounds.iter().all(|count| *count == rounds[0]);
                assert!(same && rounds[0] >= least, "{map_type:?}, {value_size}: {rounds:?}");
                assert!(value_size < 64 || rounds[0] <= 10_000 * 64 / u64::from(value_size) + 1);
            }
        }
    }
}

/// An atomic operation that faults is a store, whatever the machine makes it of.
#[test]
fn atomics_store() {
    for operation in [0x00, 0x40, 0x50, 0xa0, 0x01, 0x41, 0x51, 0xa1, 0xe1, 0xf1] {
        for engine in Engine::all() {
            let words = [(0xb7, 1, 0, 0, 64), (0xdb, 1, 2, 0, operation), EXIT];
            let program = Options::new().engine(*engine).load(instructions(&words)).unwrap();
            let kind = kind(program.run(&mut []).unwrap_err());
            assert!(
                matches!(kind, FaultKind::Memory { address: 64, size: 8, write: true, .. }),
                "{operation:#x}, {engine:?}: {kind:?}"
            );
        }
    }
}

/// A function for which registers do not suffice: it runs, or is refused, but does not take more
/// of the host's stack than is guarded.
#[test]
fn many_values_at_once() {
    let mut words = Vec::new();
    for round in 0..3_000_i32 {
        let (a, b) = ((round % 10) as u8, (round * 7 % 10) as u8);
        words.push((0x0f, a, b, 0, 0)); // a += b
        words.push((0x7b, 10, a, -8 - 8 * (round % 32) as i16, 0)); // *(u64 *)(r10 - …) = a
        words.push((0x79, b, 10, -8 - 8 * (round * 3 % 32) as i16, 0)); // b = *(u64 *)(r10 - …)
        words.push((0x1d, a, b, 1, 0)); // if a == b goto +1
        words.push((0x6f, b, a, 0, 0)); // b <<= a
        words.push((0x85, 0, 0, 0, 77_777));
    }
    words.push(EXIT);
    let results = Engine::all().iter().map(|engine| {
        let mut options = Options::new();
        options.engine(*engine).helper(77_777, |call| call.arguments()[2] ^ 3);
        options.load(instructions(&words)).unwrap().run(&mut [9; 16]).unwrap()
    });
    let results: Vec<u64> = results.collect();
    assert!(results.iter().all(|result| *result == results[0]));
}
