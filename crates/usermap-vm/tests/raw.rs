//! Programs loaded as bpf(2) gets them do what the same programs do that come in an object.

use usermap_vm::instruction::Instruction;
use usermap_vm::{Context, Error, Loaded, MapReference, Object, Options, ProgramType, Raw};

/// Objects of the examples and one with subprograms and callbacks, each with its path.
fn objects() -> impl Iterator<Item = (&'static str, Object)> {
    let paths = [
        "examples/objects/firewall.bpf.o",
        "examples/objects/plugin.bpf.o",
        "examples/objects/tour.bpf.o",
        "tests/objects/functions.bpf.o",
    ];
    paths.into_iter().map(|path| {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        (path, Object::open(file).expect("an object"))
    })
}

/// A program of an object as bpf(2) would get it: its maps' numbers are descriptors. `None` if it
/// uses a map that is in no region.
fn raw(object: &Object, loaded: &Loaded, number: usize) -> Option<Raw> {
    let code = &object.programs()[number];
    let mut raw = Raw::new(code.program_type, &code.name, code.instructions.clone());
    raw.resolve(|reference| {
        let MapReference::Descriptor(number) = reference else { panic!("{reference:?}") };
        loaded.map(&object.maps()[number as usize].name)
    })
    .ok()?;
    Some(raw)
}

/// All values of an object's maps.
fn maps(object: &Object, loaded: &Loaded) -> Vec<String> {
    let of_map = |name: &str| -> Option<String> {
        let map = loaded.map(name).ok()?;
        let mut entries = Vec::new();
        let mut key = vec![0; map.spec().key_size as usize];
        let mut value = vec![0; map.value_bytes()];
        let mut next = map.get_next_key(None, &mut key);
        while next.is_ok() {
            map.lookup(&key, &mut value, 0).ok()?;
            entries.push((key.clone(), value.clone()));
            let before = key.clone();
            next = map.get_next_key(Some(&before), &mut key);
        }
        entries.sort();
        Some(format!("{name}: {entries:?}"))
    };
    object.maps().iter().filter_map(|map| of_map(&map.name)).collect()
}

#[test]
fn the_same_as_from_objects() {
    let packet: Vec<u8> = (0..200_u8).map(|byte| byte.wrapping_mul(7)).collect();
    let mut compared = 0;
    for (path, object) in objects() {
        for (number, code) in object.programs().iter().enumerate() {
            for interpret in [false, true] {
                let options = Options::new().interpret(interpret).slots(1).budget(100_000);
                let options = options.only([&*code.name]);
                let Ok(one) = object.load(&options) else { continue };
                let other = object.load(&options).expect("the same once more");
                let Some(raw) = raw(&object, &other, number) else { continue };
                let raw = raw.load(&options).expect("what an object's load takes");
                let context = Context::of_packet(code.program_type, packet.clone());
                let context = context.unwrap_or_else(|| packet.clone().into());
                let (mut left, mut right) = (context.clone(), context);
                let expected = one.program(&code.name).expect("it is fit").run(&mut left);
                let given = raw.run(&mut right);
                let text = |outcome: usermap_vm::Result<_>| format!("{outcome:?}");
                let place = format!("{path}, {}, interpret {interpret}", code.name);
                // A fault has the source line, which these do not come with.
                if expected.is_ok() || given.is_ok() {
                    assert_eq!(text(given), text(expected), "{place}");
                }
                assert_eq!(right, left, "{place}");
                assert_eq!(maps(&object, &other), maps(&object, &one), "{place}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 10, "only {compared} runs were compared");
}

/// r0 = 2; exit
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

fn load_of(kind: u8, number: u8) -> Vec<Instruction> {
    let load = [[0x18, 0x01 | kind << 4, 0, 0, number, 0, 0, 0], [0; 8]];
    load.into_iter().chain(PASS).map(Instruction::from_bytes).collect()
}

fn array(size: u32) -> usermap::Map {
    let spec = usermap::Spec::new(usermap::MapType::Array, 4, size, 1);
    usermap::Map::create(&spec).expect("an array")
}

#[test]
fn references() {
    use MapReference::{Descriptor, Index};
    let map = array(8);
    for (kind, expected) in [(1, Descriptor(9)), (2, Descriptor(9)), (5, Index(9)), (6, Index(9))] {
        let mut raw = Raw::new(ProgramType::Xdp, "load", load_of(kind, 9));
        let mut asked = Vec::new();
        let found = raw.resolve(|reference| {
            asked.push(reference);
            Ok(map.clone())
        });
        found.expect("it is found");
        assert_eq!(asked, [expected]);
        raw.load(&Options::new()).expect("a good program");
    }
    let mut raw = Raw::new(ProgramType::Xdp, "plain", load_of(0, 9));
    raw.resolve(|reference| panic!("{reference:?}")).expect("no map is named");
    let mut raw = Raw::new(ProgramType::Xdp, "kernel", load_of(3, 9));
    raw.resolve(|reference| panic!("{reference:?}")).expect("no map is named");
    let error = raw.load(&Options::new()).err().expect("a kernel's variable");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn maps_are_counted_once() {
    let maps: Vec<_> = (0..65).map(|_| array(8)).collect();
    let program = |count: u8| -> Vec<Instruction> {
        let loads = (0..count).flat_map(|number| load_of(1, number)[..2].to_vec());
        loads.chain(PASS.map(Instruction::from_bytes)).collect()
    };
    let resolve = |count: u8, modulo: usize| {
        let mut raw = Raw::new(ProgramType::Xdp, "many", program(count));
        raw.resolve(|reference| {
            let MapReference::Descriptor(number) = reference else { panic!("{reference:?}") };
            Ok(maps[number as usize % modulo].clone())
        })?;
        Ok::<_, Error>(raw.maps().len())
    };
    assert_eq!(resolve(65, 3).expect("three maps"), 3);
    assert_eq!(resolve(64, 65).expect("as many as may be"), 64);
    assert_eq!(resolve(65, 65).expect_err("too many").errno(), 7); // E2BIG
}

/// Programs lease the slots of their per-CPU maps, which others may use, too.
#[test]
fn slots_are_shared() {
    let spec = usermap::Spec::new(usermap::MapType::PerCpuArray, 4, 8, 1).cpus(1);
    let map = usermap::Map::create(&spec).expect("a map");
    let load = || {
        let mut raw = Raw::new(ProgramType::Xdp, "pass", load_of(1, 0));
        raw.resolve(|_| Ok(map.clone())).expect("it is found");
        raw.load(&Options::new()).expect("a good program")
    };
    let (one, other) = (load(), load());
    for program in [one, other] {
        let runner = program.runner().expect("the only slot");
        assert!(map.lease(runner.cpu()).expect("a slot that there is").is_none());
        drop(runner);
        assert!(map.lease(0).expect("a slot that there is").is_some());
    }
}
