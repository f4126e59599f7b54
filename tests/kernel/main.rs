//! The same random operations on a map of the real kernel and on one of usermap, compared step by
//! step: errno, bytes given, counts, tokens, and in the end everything that the map holds.
//!
//! It runs where bpf(2) is allowed (as root, in most places) and says so where it isn't.

mod operations;

use operations::{Handle, Shape, Step, dump_kernel, dump_usermap, on_kernel, on_usermap, step};
use proptest::prelude::*;
use usermap::abi::map_flags;
use usermap::{Map, MapType, Name, Spec};
use usermap_tests::check::{self, Verdict, equal};
use usermap_tests::sys::{KernelMap, KernelSpec, possible_cpus, refusal};
use usermap_tests::{keys, rng};

/// Whether to run; if not, a line says why.
fn allowed() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| match refusal() {
        None => true,
        Some(why) => {
            let line = format!("kernel comparison skipped: bpf(2) is not allowed here ({why})");
            assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "{line}");
            // Past the test harness, which would keep it to itself.
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{line}");
            false
        }
    })
}

fn kernel_spec(spec: &Spec) -> KernelSpec {
    KernelSpec {
        map_type: spec.map_type as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags,
        numa_node: spec.numa_node,
        map_extra: spec.map_extra,
        name: *spec.name.bytes(),
    }
}

/// Creates both; they must agree on whether that is allowed.
fn create(spec: &Spec) -> Result<Option<(KernelMap, Map)>, String> {
    let kernel = KernelMap::create(&kernel_spec(spec));
    match (kernel, Map::create(spec)) {
        (Ok(kernel), Ok(map)) => Ok(Some((kernel, map))),
        (Err(kernel), Err(map)) if kernel == map.errno() => Ok(None),
        // The kernel's memory is its own affair.
        (Err(usermap::abi::errno::ENOMEM), _) => Ok(None),
        (kernel, map) => {
            let errno = map.err().map(|error| format!("{} ({error})", error.errno()));
            Err(format!("{spec:?}: the kernel gives {:?}, usermap {errno:?}", kernel.err()))
        }
    }
}

fn compare(spec: &Spec, steps: &[Step]) -> Verdict {
    let Some((kernel, map)) = create(spec)? else {
        return Err(format!("both refuse {spec:?}, which is meant to be good"));
    };
    let errno = |result: usermap::Result<Map>| result.map_err(|error| error.errno());
    let mut maps = Vec::new();
    for open_flags in [0, map_flags::RDONLY, map_flags::WRONLY] {
        match (kernel.reopen(open_flags), errno(map.reopen(open_flags))) {
            (Ok(kernel), Ok(map)) => maps.push((kernel, map)),
            (kernel, map) => {
                return Err(format!(
                    "reopen with {open_flags}: {:?} in the kernel, {:?} in usermap",
                    kernel.err(),
                    map.err()
                ));
            }
        }
    }
    let shape = Shape {
        kind: spec.map_type,
        key_size: spec.key_size as usize,
        value_bytes: kernel.value_bytes(),
        token_bytes: kernel.token_bytes(),
        flags: spec.flags,
    };
    equal("value_bytes", map.value_bytes(), shape.value_bytes)?;
    let (mut kernel_token, mut map_token) = (Vec::new(), Vec::new());
    for (i, (handle, operation)) in steps.iter().enumerate() {
        let (kernel, map) = match handle {
            Handle::Main => (&kernel, &map),
            Handle::Both => (&maps[0].0, &maps[0].1),
            Handle::ReadOnly => (&maps[1].0, &maps[1].1),
            Handle::WriteOnly => (&maps[2].0, &maps[2].1),
        };
        let expected = on_kernel(kernel, &shape, &mut kernel_token, operation);
        if expected.as_ref().is_some_and(|answer| answer.is_out_of_memory()) {
            return Ok(());
        }
        let got = on_usermap(map, &shape, &mut map_token, operation);
        equal(&format!("step {i}, {operation:?} by {handle:?}"), got, expected)?;
    }
    let dumps = (dump_usermap(&maps[0].1, &shape), dump_kernel(&maps[0].0, &shape));
    equal("the contents in the end", dumps.0, dumps.1)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..80)
}

fn flag_set(choices: &'static [u32]) -> impl Strategy<Value = u32> {
    prop::sample::subsequence(choices, 0..=choices.len())
        .prop_map(|flags| flags.iter().fold(0, |all, flag| all | flag))
}

fn run(kind: MapType, key_sizes: &'static [u32], always: u32, sometimes: &'static [u32]) {
    if !allowed() {
        return;
    }
    let keys = prop::sample::select(key_sizes);
    let values = prop::sample::select(VALUES);
    let case = (keys, values, 1_u32..20, flag_set(sometimes), steps());
    check::random(1000, case, |(key_size, value_size, max_entries, flags, steps)| {
        compare(&Spec::new(kind, key_size, value_size, max_entries).flags(always | flags), &steps)
    });
}

const KEYS: &[u32] = &[1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 24, 37, 64, 100];
const VALUES: &[u32] = &[1, 2, 3, 4, 7, 8, 9, 12, 16, 33, 64, 200];
const HASH_FLAGS: &[u32] = &[map_flags::NO_PREALLOC, map_flags::ZERO_SEED];
const KINDS: &[(MapType, u32)] = &[
    (MapType::Hash, 4),
    (MapType::Array, 4),
    (MapType::PerCpuHash, 4),
    (MapType::PerCpuArray, 4),
    (MapType::Queue, 0),
    (MapType::Stack, 0),
];
/// Sizes around every limit that creation knows.
const SIZES: &[u32] = &[
    0,
    1,
    3,
    4,
    8,
    511,
    512,
    513,
    4096,
    32760,
    32767,
    32768,
    32769,
    65536,
    4_194_240,
    4_194_256,
    4_194_303,
    4_194_304,
    4_194_305,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff8,
    0xffff_ffff,
];

#[test]
fn hash() {
    run(MapType::Hash, KEYS, 0, HASH_FLAGS);
}

/// Order, and with it tokens and next keys, can be compared only with a known seed.
#[test]
fn hash_in_the_kernels_order() {
    run(MapType::Hash, KEYS, map_flags::ZERO_SEED, HASH_FLAGS);
}

#[test]
fn percpu_hash() {
    run(MapType::PerCpuHash, KEYS, 0, HASH_FLAGS);
}

#[test]
fn percpu_hash_in_the_kernels_order() {
    run(MapType::PerCpuHash, KEYS, map_flags::ZERO_SEED, HASH_FLAGS);
}

#[test]
fn array() {
    run(MapType::Array, &[4], 0, &[map_flags::MMAPABLE, map_flags::RDONLY_PROG]);
}

#[test]
fn percpu_array() {
    run(MapType::PerCpuArray, &[4], 0, &[map_flags::RDONLY_PROG]);
}

#[test]
fn queue() {
    run(MapType::Queue, &[0], 0, &[map_flags::WRONLY_PROG]);
}

#[test]
fn stack() {
    run(MapType::Stack, &[0], 0, &[map_flags::WRONLY_PROG]);
}

/// Handles that a creation flag has made read-only or write-only.
#[test]
fn limited_handles() {
    if !allowed() {
        return;
    }
    let access = prop::sample::select(&[map_flags::RDONLY, map_flags::WRONLY][..]);
    let case = (prop::sample::select(KINDS), access, steps());
    check::random(1000, case, |((kind, key_size), access, steps)| {
        compare(&Spec::new(kind, key_size, 8, 8).flags(access), &steps)
    });
}

/// Creation with fields of every sort, good and bad.
#[test]
fn creation() {
    if !allowed() {
        return;
    }
    let size = || prop_oneof![prop::sample::select(SIZES), prop::sample::select(&[0, 4, 4][..])];
    let flag = prop_oneof![
        4 => Just(0_u32),
        4 => (0_u32..32).prop_map(|bit| 1 << bit),
        2 => (0_u32..12, 0_u32..12).prop_map(|(a, b)| 1 << a | 1 << b),
    ];
    let numa = prop_oneof![6 => Just(0_u32), 1 => Just(1_u32), 1 => Just(u32::MAX)];
    let extra = prop_oneof![6 => Just(0_u64), 1 => Just(1_u64), 1 => Just(1_u64 << 63)];
    let case = (prop::sample::select(KINDS), size(), size(), 0_u32..4, flag, (numa, extra));
    check::random(3000, case, |((kind, _), key_size, value_size, max, flags, (numa, extra))| {
        let mut spec = Spec::new(kind, key_size, value_size, max).flags(flags);
        spec.numa_node = numa;
        spec.map_extra = extra;
        create(&spec).map(drop)
    });
}

/// A name is good for the one if it is for the other, and is kept as it is.
#[test]
fn names() {
    if !allowed() {
        return;
    }
    let byte = prop_oneof![6 => Just(b'a'), 2 => any::<u8>(), 1 => Just(0_u8), 1 => Just(b'_')];
    check::random(2000, prop::array::uniform16(byte), |bytes| {
        let mut spec = Spec::new(MapType::Array, 4, 4, 1);
        let kernel = KernelSpec { name: bytes, ..kernel_spec(&spec) };
        let kernel = KernelMap::create(&kernel);
        let name = Name::from_bytes(&bytes);
        equal("errno", name.as_ref().err().map(|e| e.errno()), kernel.as_ref().err().copied())?;
        let (Ok(name), Ok(kernel)) = (name, kernel) else { return Ok(()) };
        spec.name = name;
        let map = Map::create(&spec).map_err(|error| error.to_string())?;
        let kept = kernel.info().map_err(|errno| format!("info: {errno}"))?.spec.name;
        equal("the name", *map.info().spec.name.bytes(), kept)
    });
}

/// What the other suites take for the kernel's hash function is the kernel's.
#[test]
fn the_hash_function() {
    if !allowed() {
        return;
    }
    for size in 1..=70 {
        let spec = Spec::new(MapType::Hash, size, 1, 1 << 12).flags(map_flags::ZERO_SEED);
        let kernel = KernelMap::create(&kernel_spec(&spec)).expect("a map");
        for seed in 0..50 {
            let key = rng::bytes(seed, size as usize);
            kernel.update(&key, &[0], 0).expect("room");
        }
        let mut buckets = Vec::new();
        let mut next = vec![0; size as usize];
        let mut key: Option<Vec<u8>> = None;
        while kernel.next_key(key.as_deref(), &mut next).is_ok() {
            buckets.push(keys::jhash(&next) & 0xfff);
            key = Some(next.clone());
        }
        assert!(buckets.is_sorted(), "keys of {size} bytes");
    }
}

/// The number of slots is the machine's, unless the spec has another one.
#[test]
fn slots() {
    if !allowed() {
        return;
    }
    let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1)).expect("a map");
    assert_eq!(map.cpus() as usize, possible_cpus());
    let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1).cpus(5)).expect("a map");
    assert_eq!((map.cpus(), map.value_bytes()), (5, 40));
}
