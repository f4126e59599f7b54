//! Maps, text, numbers, memory, locks, events.

use super::*;
use crate::helper::EventArray;
use crate::helper::checksum;
use crate::sandbox::cage::STACK_TOP;
use usermap::MapType;

fn put(bench: &Bench, address: u64, bytes: &[u8]) -> u64 {
    bench.cage.write(address, bytes).unwrap();
    address
}

fn at(bench: &Bench, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bench.cage.read(address, &mut bytes).unwrap();
    bytes
}

const VALUE: u64 = STACK + 512;

#[test]
fn maps_by_key() {
    let bench = Bench::new(&[
        Spec::new(MapType::Hash, 4, 8, 2),
        Spec::new(MapType::PerCpuArray, 4, 8, 2).cpus(2),
        Spec::new(MapType::Queue, 0, 4, 2),
        Spec::new(MapType::Hash, 100, 700, 2),
    ]);
    let mut run = bench.run(ProgramType::Syscall, vec![]);
    let (hash, array, queue, large) = (map_handle(0), map_handle(1), map_handle(2), map_handle(3));
    let key = put(&bench, STACK, &[1, 0, 0, 0]);
    put(&bench, VALUE, &7_u64.to_ne_bytes());
    assert_eq!(give(&mut run, 1, &[hash, key]), 0);
    assert_eq!(give(&mut run, 2, &[hash, key, VALUE, 2]), -2);
    assert_eq!(give(&mut run, 2, &[hash, key, VALUE, 0]), 0);
    assert_eq!(give(&mut run, 2, &[hash, key, VALUE, 1]), -17);
    let value = give(&mut run, 1, &[hash, key]) as u64;
    assert_eq!(bench.cage.load(value, 8), Ok(7));
    assert_eq!((give(&mut run, 3, &[hash, key]), give(&mut run, 3, &[hash, key])), (0, -2));

    let first = give(&mut run, 195, &[array, key, 0]) as u64;
    let second = give(&mut run, 195, &[array, key, 1]) as u64;
    assert!(first == give(&mut run, 1, &[array, key]) as u64 && first != second && second != 0);
    assert_eq!(give(&mut run, 195, &[array, key, 2]), 0);

    for wrong in [call(&mut run, 1, &[queue, key]), call(&mut run, 1, &[key, key])] {
        assert!(is_wrong(wrong));
    }
    assert!(is_wrong(call(&mut run, 195, &[hash, key, 0])));
    assert!(is_bad_memory(call(&mut run, 1, &[hash, NOWHERE])));
    assert!(is_bad_memory(call(&mut run, 2, &[hash, key, STACK_TOP - 4, 0])));

    assert_eq!(give(&mut run, 2, &[large, STACK, STACK + 100, 0]), 0);
    let value = give(&mut run, 1, &[large, STACK]) as u64;
    assert_eq!(at(&bench, value, 700), at(&bench, STACK + 100, 700));
}

#[test]
fn queues() {
    let bench = Bench::new(&[Spec::new(MapType::Queue, 0, 4, 2)]);
    let mut run = bench.run(ProgramType::Syscall, vec![]);
    let queue = map_handle(0);
    put(&bench, VALUE, &[9; 8]);
    assert_eq!(give(&mut run, 88, &[queue, VALUE]), -2);
    assert_eq!(at(&bench, VALUE, 5), [0, 0, 0, 0, 9]);
    for (byte, given) in [(1, 0), (2, 0), (3, -7)] {
        put(&bench, VALUE, &[byte; 4]);
        assert_eq!(give(&mut run, 87, &[queue, VALUE, 0]), given);
    }
    assert_eq!(give(&mut run, 87, &[queue, VALUE, 2]), 0);
    assert_eq!(give(&mut run, 87, &[queue, VALUE, 1]), -22);
    assert_eq!((give(&mut run, 89, &[queue, VALUE]), at(&bench, VALUE, 1)), (0, vec![2]));
    // Nothing is taken out if there is nowhere to put it.
    assert!(is_bad_memory(call(&mut run, 88, &[queue, NOWHERE])));
    assert_eq!((give(&mut run, 88, &[queue, VALUE]), at(&bench, VALUE, 1)), (0, vec![2]));
    assert_eq!(give(&mut run, 0x554d_0003, &[queue, 0, VALUE]), 0);
    assert_eq!((at(&bench, VALUE, 1), give(&mut run, 88, &[queue, VALUE])), (vec![3], -2));
}

#[test]
fn helpers_of_our_own() {
    let bench = Bench::new(&[
        Spec::new(MapType::Hash, 4, 4, 8),
        Spec::new(MapType::PerCpuHash, 4, 8, 8).cpus(2),
        Spec::new(MapType::Queue, 0, 4, 2),
    ]);
    let mut run = bench.run(ProgramType::Xdp, crate::context::Xdp::new(vec![0; 14]));
    let (hash, percpu, queue) = (map_handle(0), map_handle(1), map_handle(2));
    let key = put(&bench, STACK, &[1, 0, 0, 0]);
    assert_eq!(give(&mut run, 0x554d_0001, &[hash, key, 5, 2]), -2);
    assert_eq!(give(&mut run, 0x554d_0001, &[hash, key, 5, 0]), 0);
    assert_eq!(give(&mut run, 0x554d_0002, &[hash, key, u64::MAX, VALUE, 0]), 0);
    assert_eq!(bench.cage.load(VALUE, 8), Ok(4));
    assert_eq!(give(&mut run, 0x554d_0002, &[percpu, key, 2, VALUE, 0]), 0);
    assert_eq!(give(&mut run, 0x554d_0003, &[percpu, key, VALUE]), 0);
    assert_eq!(bench.cage.load(VALUE, 8), Ok(2));
    assert_eq!(give(&mut run, 0x554d_0003, &[percpu, key, VALUE]), -2);
    assert_eq!(bench.cage.load(VALUE, 8), Ok(0));

    let (keys, count) = (STACK, STACK + 1024);
    put(&bench, keys, &[1_u32, 2, 3, 9].map(u32::to_ne_bytes).concat());
    put(&bench, VALUE, &[10_u32, 20, 30, 40].map(u32::to_ne_bytes).concat());
    let mut batch = |id, arguments: [u64; 5], entries: u64| {
        bench.cage.store(count, 4, entries).unwrap();
        (give(&mut run, id, &arguments), bench.cage.load(count, 4).unwrap())
    };
    assert_eq!(batch(0x554d_0005, [hash, keys, VALUE, count, 0], 3), (0, 3));
    assert_eq!(batch(0x554d_0005, [hash, keys, VALUE, count, 1], 3), (-17, 0));
    put(&bench, VALUE, &[0; 16]);
    assert_eq!(batch(0x554d_0004, [hash, keys, VALUE, count, 0], 4), (-2, 3));
    assert_eq!(at(&bench, VALUE, 12), [10_u32, 20, 30].map(u32::to_ne_bytes).concat());
    assert_eq!(batch(0x554d_0004, [hash, keys, VALUE, count, 4], 4), (-22, 0));
    assert_eq!(batch(0x554d_0006, [hash, keys, count, 0, 0], 4), (-2, 3));
    assert_eq!(batch(0x554d_0006, [hash, keys, count, 0, 0], 0), (0, 0));
    assert!(is_wrong(call(&mut run, 0x554d_0004, &[queue, keys, VALUE, count, 0])));
    bench.cage.store(count, 4, u64::MAX).unwrap();
    run.state.budget = 3;
    put(&bench, keys, &[0; 64]);
    let called = call(&mut run, 0x554d_0005, &[hash, keys, VALUE, count, 0]);
    assert_eq!(called, Err(Stop::Fault(FaultKind::Budget { limit: bench.vm.budget })));
}

#[test]
fn lines_and_texts() {
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::Syscall, vec![]);
    let format = put(&bench, STACK, b"%s is %d, %lx\0rest");
    let word = put(&bench, STACK + 64, b"six\0");
    assert_eq!(give(&mut run, 6, &[format, 15, word, 6, 0xabc]), 13);
    assert_eq!(give(&mut run, 6, &[format, 4, word, 6, 0xabc]), -22);
    let arguments = put(&bench, STACK + 128, &[word, 7, 8].map(u64::to_ne_bytes).concat());
    assert_eq!(give(&mut run, 177, &[format, 15, arguments, 24]), 11);
    assert_eq!(give(&mut run, 177, &[format, 15, arguments, 16]), -22);
    assert_eq!(give(&mut run, 177, &[format, 15, arguments, 23]), -22);
    assert_eq!(*bench.printed.lock().unwrap(), "six is 6, abc\nsix is 7, 8\n");
    put(&bench, VALUE, &[9; 16]);
    assert_eq!(give(&mut run, 165, &[VALUE, 6, format, arguments, 24]), 12);
    assert_eq!(at(&bench, VALUE, 7), b"six i\0\x09");
    assert_eq!(give(&mut run, 165, &[0, 0, format, arguments, 24]), 12);
    assert_eq!(give(&mut run, 165, &[VALUE, 6, format, 0, 24]), -22);
    assert_eq!(give(&mut run, 165, &[VALUE, 6, format, arguments, 13 * 8]), -22);
    assert!(is_bad_memory(call(&mut run, 165, &[NOWHERE, 6, format, arguments, 24])));

    assert_eq!(give(&mut run, 182, &[word, 4, put(&bench, VALUE, b"six\0")]), 0);
    assert_eq!(give(&mut run, 182, &[word, 4, put(&bench, VALUE, b"siy\0")]), -1);
    assert_eq!(give(&mut run, 182, &[word, 2, put(&bench, VALUE, b"si\0\0")]), 0);
    assert_eq!(give(&mut run, 182, &[word, 4, put(&bench, VALUE, b"si\0\0")]), 1);
    let mut number = |id, text: &[u8]| {
        put(&bench, VALUE, text);
        bench.cage.store(STACK, 8, 99).unwrap();
        let given = give(&mut run, id, &[VALUE, text.len() as u64, 0, STACK]);
        (given, bench.cage.load(STACK, 8).unwrap() as i64)
    };
    assert_eq!(number(105, b" -12 "), (4, -12));
    assert_eq!(number(105, b"-9223372036854775808"), (20, i64::MIN));
    assert_eq!(number(105, b"9223372036854775808"), (-34, 0));
    assert_eq!(number(106, b"-1"), (-22, 0));
    assert_eq!(number(106, b"0xffz"), (4, 255));
}

#[test]
fn reads_of_any_address() {
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::Kprobe, vec![1, 2, 3]);
    put(&bench, VALUE, b"text\0more");
    assert_eq!(give(&mut run, 113, &[STACK, 4, VALUE]), 0);
    assert_eq!(at(&bench, STACK, 4), b"text");
    assert_eq!(give(&mut run, 112, &[STACK, 4, 0xffff_8000_0000_0000]), -14);
    assert_eq!(at(&bench, STACK, 4), [0; 4]);
    assert_eq!(give(&mut run, 115, &[STACK, 64, VALUE]), 5);
    assert_eq!(give(&mut run, 115, &[STACK, 3, VALUE]), 3);
    assert_eq!(at(&bench, STACK, 4), b"te\0t");
    assert_eq!(give(&mut run, 45, &[STACK, 8, NOWHERE]), -14);
    assert_eq!(give(&mut run, 45, &[STACK, 0, NOWHERE]), 0);
    assert_eq!(give(&mut run, 148, &[STACK, 3, CONTEXT]), 0);
    assert_eq!(at(&bench, STACK, 3), [1, 2, 3]);
    assert!(is_bad_memory(call(&mut run, 113, &[NOWHERE, 4, VALUE])));
    assert!(is_wrong(call(&mut run, 113, &[STACK, 1 << 20, VALUE])));
}

#[test]
fn clocks_and_names() {
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::Syscall, vec![]);
    for id in [5, 125, 208, 118] {
        let before = give(&mut run, id, &[]);
        assert!(before > 0 && give(&mut run, id, &[]) >= before);
    }
    assert_ne!(give(&mut run, 7, &[]), give(&mut run, 7, &[]));
    assert_eq!((give(&mut run, 8, &[]), give(&mut run, 42, &[])), (0, 0));
    assert_eq!(give(&mut run, 14, &[]) >> 32, i64::from(std::process::id()));
    put(&bench, STACK, &[9; 32]);
    assert_eq!(give(&mut run, 16, &[STACK, 16]), 0);
    assert_eq!(at(&bench, STACK + 15, 2), [0, 9]);
}

#[test]
fn checksums() {
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::SchedCls, crate::context::Skb::new(vec![3; 64]));
    let (from, to) = (put(&bench, STACK, &[1, 2, 3, 4, 5, 6, 7, 8]), VALUE);
    put(&bench, to, &[9, 8, 7, 6, 5, 4, 3, 2]);
    let sum = |bytes: &[u8]| u64::from(checksum::halves(checksum::partial(bytes, 0)));
    let (from_sum, to_sum) = (sum(&[1, 2, 3, 4, 5, 6, 7, 8]), sum(&[9, 8, 7, 6, 5, 4, 3, 2]));
    let mut diff = |arguments: [u64; 5]| call(&mut run, 28, &arguments).unwrap();
    assert_eq!(diff([0, 0, to, 8, 0]), to_sum);
    assert_eq!(diff([0, 0, 0, 0, 0x1_0001]), 2);
    assert_eq!(diff([from, 8, 0, 0, 0]), 0xffff - from_sum);
    // The difference, added to one sum, gives the other.
    let difference = diff([from, 8, to, 8, 0]);
    let added = difference + from_sum;
    assert_eq!((added >> 16) + (added & 0xffff), to_sum);
    assert_eq!(diff([from, 3, to, 8, 0]), -22_i64 as u64);
    // A packet's checksum is right after it was replaced.
    bench.cage.write(run.packet.data + 20, &[0, 0]).unwrap();
    let all = at(&bench, run.packet.data, 64);
    let checksum = checksum::fold(checksum::partial(&all, 0));
    bench.cage.store(run.packet.data + 20, 2, checksum.into()).unwrap();
    let old = bench.cage.load(run.packet.data + 40, 4).unwrap();
    bench.cage.store(run.packet.data + 40, 4, 0x1234_5678).unwrap();
    assert_eq!(give(&mut run, 11, &[CONTEXT, 20, old, 0x1234_5678, 4]), 0);
    let all = at(&bench, run.packet.data, 64);
    assert_eq!(checksum::halves(checksum::partial(&all, 0)), 0xffff);
}

#[test]
fn locks() {
    let bench = Bench::new(&[Spec::new(MapType::Array, 4, 8, 1)]);
    let mut run = bench.run(ProgramType::SchedCls, crate::context::Skb::new(vec![0; 14]));
    let key = put(&bench, STACK, &[0; 4]);
    let lock = give(&mut run, 1, &[map_handle(0), key]) as u64;
    assert_eq!(give(&mut run, 93, &[lock]), 0);
    assert_ne!(bench.cage.load(lock, 4), Ok(0));
    assert!(is_wrong(call(&mut run, 93, &[lock])) && is_wrong(call(&mut run, 94, &[lock + 4])));
    assert_eq!((give(&mut run, 94, &[lock]), bench.cage.load(lock, 4)), (0, Ok(0)));
    assert!(is_wrong(call(&mut run, 94, &[lock])) && is_wrong(call(&mut run, 93, &[STACK])));
    // Of a thread that no longer exists.
    bench.cage.store(lock, 4, i32::MAX as u64).unwrap();
    assert_eq!(give(&mut run, 93, &[lock]), 0);
    helper::release(&mut run);
    assert_eq!((run.lock, bench.cage.load(lock, 4)), (0, Ok(0)));
}

#[test]
fn events() {
    let mut bench = Bench::new(&[]);
    let array = EventArray::new(2);
    let events = array.reader();
    let storage = Storage::Events(array);
    bench.vm.maps.push(LoadedMap { name: "events".into(), storage, start: 0, table: None });
    let map = map_handle(0);
    let mut run = bench.run(ProgramType::Xdp, crate::context::Xdp::new(vec![5; 20]));
    let data = put(&bench, STACK, &[1, 2, 3, 4]);
    let current = 0xffff_ffff;
    assert_eq!(give(&mut run, 25, &[CONTEXT, map, current | 3 << 32, data, 4]), 0);
    assert_eq!(give(&mut run, 25, &[CONTEXT, map, 0, data, 0]), 0);
    assert_eq!(give(&mut run, 25, &[CONTEXT, map, 1, data, 4]), -95);
    assert_eq!(give(&mut run, 25, &[CONTEXT, map, 2, data, 4]), -7);
    assert_eq!(give(&mut run, 25, &[CONTEXT, map, current | 21 << 32, data, 4]), -14);
    assert_eq!(give(&mut run, 25, &[CONTEXT, map, 1 << 52, data, 4]), -22);
    assert!(is_bad_memory(call(&mut run, 25, &[CONTEXT, map, 0, NOWHERE, 4])));
    assert!(is_wrong(call(&mut run, 1, &[map, data])));
    assert_eq!(events.next().unwrap().data, [1, 2, 3, 4, 5, 5, 5]);
    assert_eq!(events.drain().len(), 1);
}

const RECORDED: &str = include_str!("../../../tests/data/numbers-6.18.txt");

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    if hex == "-" { Vec::new() } else { (0..hex.len()).step_by(2).map(byte).collect() }
}

#[test]
fn numbers_as_the_kernel() {
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::Xdp, crate::context::Xdp::new(vec![0; 64]));
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let (asked, expected) = line.split_once(" = ").unwrap();
        let words: Vec<&str> = asked.split(' ').collect();
        let given = match words[..] {
            ["diff", from, to, seed] => {
                let (from, to) = (bytes_of(from), bytes_of(to));
                put(&bench, STACK, &from);
                put(&bench, VALUE, &to);
                let (one, two) = (from.len() as u64, to.len() as u64);
                let seed = seed.parse().unwrap();
                give(&mut run, 28, &[STACK, one, VALUE, two, seed]).to_string()
            }
            ["number", id, text, flags] => {
                let text = bytes_of(text);
                put(&bench, VALUE, &text);
                let arguments = [VALUE, text.len() as u64, flags.parse().unwrap(), STACK];
                let given = give(&mut run, id.parse().unwrap(), &arguments);
                format!("{given} {}", bench.cage.load(STACK, 8).unwrap())
            }
            _ => panic!("{line}"),
        };
        assert_eq!(given, expected, "{asked}");
    }
}
