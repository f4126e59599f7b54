//! Lookups in hashes, which machine code does in place: of keys of all lengths, stored in pieces of
//! several, in maps so full that buckets overflow, and after deletions. Both engines must find what
//! the map's owner put there.

use usermap::{Map, MapType, Spec};
use usermap_vm::bare::{self, Engine};
use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Error, FaultKind, Options, Program, ProgramType, Raw};

/// Bytes of the frame that keys are in.
const ROOM: i16 = 64;

/// `return the value of the key that the context is, or 0`, where the key is copied to the stack in
/// pieces of so many bytes.
fn program(map: &Map, piece: usize, interpret: bool) -> Program {
    let size = map.spec().key_size as usize;
    let at = |offset: i16| offset.to_le_bytes();
    let mut code = Vec::new();
    let mut done = 0;
    while done < size {
        let bytes = [8, 4, 2, 1].into_iter().find(|bytes| *bytes <= piece.min(size - done));
        let bytes = bytes.expect("at least one");
        let width = match bytes {
            1 => 0x10,
            2 => 0x08,
            4 => 0,
            _ => 0x18,
        };
        let (from, to) = (at(done as i16), at(done as i16 - ROOM));
        code.push([0x61 | width, 0x13, from[0], from[1], 0, 0, 0, 0]); // r3 = *(r1 + from)
        code.push([0x63 | width, 0x3a, to[0], to[1], 0, 0, 0, 0]); // *(r10 + to) = r3
        done += bytes;
    }
    code.extend([
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],                 // r2 = r10
        [0x07, 2, 0, 0, -ROOM as u8, 0xff, 0xff, 0xff], // r2 -= 64
        [0x18, 0x11, 0, 0, 0, 0, 0, 0],                 // r1 = map
        [0; 8],
        [0x85, 0, 0, 0, 1, 0, 0, 0], // r0 = bpf_map_lookup_elem(r1, r2)
        [0x15, 0, 1, 0, 0, 0, 0, 0], // if r0 == 0 goto exit
        [0x79, 0, 0, 0, 0, 0, 0, 0], // r0 = *r0
        [0x95, 0, 0, 0, 0, 0, 0, 0], // exit
    ]);
    let code = code.into_iter().map(Instruction::from_bytes).collect();
    let mut raw = Raw::new(ProgramType::Syscall, "lookup", code);
    raw.resolve(|_| Ok(map.clone())).expect("one map");
    raw.load(&Options::new().interpret(interpret).slots(6)).expect("a good program")
}

/// The key of a number, of so many bytes: all different.
fn key(number: u32, size: usize) -> Vec<u8> {
    let word = |at: u32| u64::from(number.wrapping_add(at)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The low bytes of an odd multiple differ as the numbers do.
    (0..8).flat_map(|at| word(at).to_le_bytes()).take(size).collect()
}

#[test]
fn all_keys_are_found() {
    for map_type in [MapType::Hash, MapType::PerCpuHash] {
        for size in [1, 2, 3, 4, 7, 8, 9, 12, 16, 20, 24, 40, 48, 60, 64] {
            let count = if size == 1 { 200 } else { 1000 };
            let spec = Spec::new(map_type, size as u32, 8, count);
            let spec = if map_type == MapType::PerCpuHash { spec.cpus(6) } else { spec };
            let map = Map::create(&spec).expect("a hash");
            let value =
                |number: u32| (1 + u64::from(number)).to_le_bytes().repeat(map.value_bytes() / 8);
            for number in 0..count {
                map.update(&key(number, size), &value(number), 0).expect("there is room");
            }
            let programs: Vec<Program> = [8, 4, 1]
                .into_iter()
                .flat_map(|piece| [false, true].map(|interpret| program(&map, piece, interpret)))
                .collect();
            let mut runners: Vec<_> = programs
                .iter()
                .map(|program| program.runner())
                .map(|one| one.expect("a slot"))
                .collect();
            let mut look = |number: u32, expected: u64| {
                let mut context = Context::from(key(number, size));
                for runner in &mut runners {
                    let found = runner.run(&mut context).expect("to run").value;
                    assert_eq!(found, expected, "{map_type:?}, key {number} of {size} bytes");
                }
            };
            (0..count).for_each(|number| look(number, 1 + u64::from(number)));
            (count..count + 50).for_each(|number| look(number, 0));
            for number in (0..count).step_by(3) {
                map.delete(&key(number, size)).expect("it was there");
            }
            let expected = |number| if number % 3 == 0 { 0 } else { 1 + u64::from(number) };
            (0..count).for_each(|number| look(number, expected(number)));
        }
    }
}

/// More lookups in one function than are made in place: all find what is there.
#[test]
fn many_in_one_function() {
    let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 32)).expect("a hash");
    let mut code = vec![[0xb7, 6, 0, 0, 0, 0, 0, 0]]; // r6 = 0
    for number in 0_u8..20 {
        map.update(&u32::from(number).to_le_bytes(), &(1_u64 << number).to_le_bytes(), 0)
            .expect("there is room");
        code.extend([
            [0x62, 10, 0xfc, 0xff, number, 0, 0, 0], // *(u32 *)(r10 - 4) = number
            [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],          // r2 = r10
            [0x07, 2, 0, 0, 0xfc, 0xff, 0xff, 0xff], // r2 -= 4
            [0x18, 0x11, 0, 0, 0, 0, 0, 0],          // r1 = map
            [0; 8],
            [0x85, 0, 0, 0, 1, 0, 0, 0], // r0 = bpf_map_lookup_elem(r1, r2)
            [0x15, 0, 2, 0, 0, 0, 0, 0], // if r0 == 0 skip
            [0x79, 0, 0, 0, 0, 0, 0, 0], // r0 = *r0
            [0x0f, 6, 0, 0, 0, 0, 0, 0], // r6 += r0
        ]);
    }
    code.extend([[0xbf, 0x60, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]]); // return r6
    let code: Vec<_> = code.into_iter().map(Instruction::from_bytes).collect();
    for interpret in [false, true] {
        let mut raw = Raw::new(ProgramType::Syscall, "many", code.clone());
        raw.resolve(|_| Ok(map.clone())).expect("one map");
        let options = Options::new().interpret(interpret);
        let program = raw.load(&options).expect("a good program");
        let found = program.run(&mut Context::from(vec![0; 8])).expect("to run").value;
        assert_eq!(found, (1 << 20) - 1, "interpreted: {interpret}");
    }
}

/// A helper of the embedding application's that has the number of a lookup: what it gives is no
/// address of a map's value, whatever it is.
#[test]
fn a_lookup_of_ones_own_leads_nowhere_else() {
    for (key_size, id) in [(4, 1), (5, 1), (8, 1)] {
        let map = Map::create(&Spec::new(MapType::Hash, key_size, 8, 4)).expect("a hash");
        for engine in Engine::all() {
            let mut options = bare::Options::new();
            let outside = 0x7fff_dead_beef_0000;
            options.engine(*engine).helper(id, move |_| outside).map("keys", map.clone());
            let code = [
                [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],          // r2 = r10
                [0x07, 2, 0, 0, 0xf8, 0xff, 0xff, 0xff], // r2 -= 8
                [0x18, 0x11, 0, 0, 0, 0, 0, 0],          // r1 = map
                [0; 8],
                [0x85, 0, 0, 0, id as u8, 0, 0, 0], // call
                [0x7a, 0, 0, 0, 1, 0, 0, 0],        // *r0 = 1
                [0x95, 0, 0, 0, 0, 0, 0, 0],        // exit
            ];
            let program = options.load(code.map(Instruction::from_bytes).to_vec()).expect("fine");
            let Err(Error::Fault(fault)) = program.run(&mut []) else { panic!("no fault") };
            let FaultKind::Memory { address, .. } = fault.kind else { panic!("{fault}") };
            assert_eq!(address & 0xffff_ffff, outside & 0xffff_ffff, "{engine:?}, {key_size}");
        }
    }
}

/// Updates and deletions of keys and values of all sizes, which machine code calls by a shorter
/// way; with keys that cannot be read, and flags that there are not.
#[test]
fn updates_and_deletions() {
    for (key_size, value_size) in [(4, 8), (8, 4), (16, 16), (4, 200), (5, 3), (24, 700)] {
        for engine in Engine::all() {
            let map = Map::create(&Spec::new(MapType::Hash, key_size, value_size, 4));
            let map = map.expect("a hash");
            let run = |helper: u8, key: u64, flags: u8| {
                let mut options = bare::Options::new();
                options.engine(*engine).map("keys", map.clone());
                let key = key.to_le_bytes();
                let code = [
                    [0xbf, 0x13, 0, 0, 0, 0, 0, 0], // r3 = r1
                    [0x18, 2, 0, 0, key[0], key[1], key[2], key[3]],
                    [0, 0, 0, 0, key[4], key[5], key[6], key[7]],
                    [0x15, 2, 1, 0, 0, 0, 0, 0],    // if r2 != 0:
                    [0xbf, 0x12, 0, 0, 0, 0, 0, 0], // r2 = r1
                    [0x18, 0x11, 0, 0, 0, 0, 0, 0], // r1 = map
                    [0; 8],
                    [0xb7, 4, 0, 0, flags, 0, 0, 0],  // r4 = flags
                    [0x85, 0, 0, 0, helper, 0, 0, 0], // call
                    [0x95, 0, 0, 0, 0, 0, 0, 0],      // exit
                ];
                let program = options.load(code.map(Instruction::from_bytes).to_vec());
                program.expect("fine").run(&mut [7; 1000]).map(|value| value as i64)
            };
            let number = |outcome: Result<i64, Error>| outcome.expect("to run");
            assert_eq!(number(run(2, 1, 2)), -2, "an update of what is not there");
            assert_eq!(number(run(2, 1, 0)), 0);
            assert_eq!(number(run(2, 1, 1)), -17, "an insert of what is there");
            assert_eq!(number(run(2, 1, 9)), -22, "no such flag");
            let mut value = vec![0; value_size as usize];
            map.lookup(&vec![7; key_size as usize], &mut value, 0).expect("it is there");
            assert_eq!(value, vec![7; value_size as usize]);
            assert_eq!(number(run(3, 1, 0)), 0);
            assert_eq!(number(run(3, 1, 0)), -2, "a deletion of what is not there");
            for helper in [2, 3] {
                assert!(matches!(run(helper, 0, 0), Err(Error::Fault(_))), "a key at NULL");
            }
        }
    }
}
