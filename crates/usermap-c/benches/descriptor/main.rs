//! What an operation by descriptor costs: the Rust call, the C function (linked statically, and of the
//! shared library), bpf(2) as a preloaded program makes it, and bpf(2) of the running kernel, in one run.
//!
//! `cargo bench -p usermap-c --bench descriptor [-- SHAPE]`, such as `hash16/64`. Each figure is the
//! least of several rounds, which take turns; a machine that does other things meanwhile shows in all of
//! them. With `-- --instructions [SHAPE]` valgrind counts instructions instead, which are nearly the
//! same in every run, but for where a hash's seed puts its keys.
#![allow(unsafe_code)]

mod ways;

use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::process::Command;
use usermap::MapType::{self, Array, Hash};
use ways::{Operation, WAYS, Way};

const ENTRIES: u32 = 1024;
/// Few, so that a round is mostly over before something else runs on its CPU.
const TIMES: u32 = 5_000;
const ROUNDS: u32 = 200;
/// Those that valgrind counts: all but the library's, which needs its loader, and bpf(2).
const COUNTED: usize = 3;

/// The maps: kind, and bytes of keys and values.
const SHAPES: [(MapType, usize, usize); 6] =
    [(Array, 4, 8), (Hash, 4, 8), (Hash, 8, 8), (Hash, 16, 8), (Hash, 8, 32), (Hash, 16, 64)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let [flag, shape, operation, way, times] = arguments.as_slice()
        && flag == "--count"
    {
        let number = |text: &String| text.parse::<usize>().expect("a number");
        let operation = Operation::ALL[number(operation)];
        let way = ways::of(SHAPES[number(shape)], operation, number(way)).expect("a way");
        return run(&way, number(times) as u32);
    }
    // Cargo runs benchmarks as tests, too.
    let rounds = if has("--test") { 1 } else { ROUNDS };
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    for (index, shape) in SHAPES.into_iter().enumerate() {
        let name = format!("{}{}/{}", shape.0, shape.1, shape.2);
        if wanted.is_some_and(|wanted| *wanted != name) {
            continue;
        }
        let figures = Operation::ALL.map(|operation| match has("--instructions") {
            true => count(index, shape, operation),
            false => measure(shape, operation, rounds),
        });
        report(&name, &figures);
    }
}

/// The nanoseconds of each way that there is.
fn measure(
    shape: (MapType, usize, usize),
    operation: Operation,
    rounds: u32,
) -> [Option<f64>; WAYS.len()] {
    let ways: [Option<Way>; _] = std::array::from_fn(|way| ways::of(shape, operation, way));
    let mut best = ways.each_ref().map(|way| way.as_ref().map(|_| f64::MAX));
    for _ in 0..rounds {
        for (way, best) in ways.iter().zip(&mut best) {
            if let (Some(way), Some(best)) = (way, best) {
                *best = best.min(nanoseconds(way));
            }
        }
    }
    best
}

fn nanoseconds(way: &Way) -> f64 {
    // The thread's own time: that of others is not counted.
    let start = clock_gettime(ClockId::ThreadCPUTime);
    run(way, TIMES);
    let end = clock_gettime(ClockId::ThreadCPUTime);
    let passed = (end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec;
    passed as f64 / f64::from(TIMES)
}

fn run(way: &Way, times: u32) {
    let mut key = 1_u32;
    for _ in 0..times {
        key = key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        way(black_box((key >> 16) % ENTRIES));
    }
}

/// The instructions of each way that is counted.
fn count(
    index: usize,
    shape: (MapType, usize, usize),
    operation: Operation,
) -> [Option<f64>; WAYS.len()] {
    std::array::from_fn(|way| {
        if way >= COUNTED || ways::of(shape, operation, way).is_none() {
            return None;
        }
        let [few, many] = [2_000, 42_000].map(|times| counted(index, operation, way, times));
        Some((many - few) as f64 / 40_000.0)
    })
}

/// The instructions of a process that does it so often.
fn counted(shape: usize, operation: Operation, way: usize, times: u32) -> u64 {
    let numbers = [shape, operation as usize, way, times as usize].map(|n| n.to_string());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("a path"))
        .arg("--count")
        .args(numbers)
        .output()
        .expect("valgrind");
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("{told}"))
}

/// A line for each way: its figures, and what they are more than the first way's.
fn report(shape: &str, figures: &[[Option<f64>; WAYS.len()]; Operation::ALL.len()]) {
    print!("{shape:<18}");
    Operation::ALL.iter().for_each(|operation| print!("{:>18}", operation.name()));
    println!();
    for (way, name) in WAYS.iter().enumerate() {
        if figures.iter().all(|all| all[way].is_none()) {
            continue;
        }
        print!("    {name:<14}");
        for all in figures {
            match (all[way], all[0]) {
                (Some(figure), Some(first)) if way > 0 => {
                    print!(" {figure:8.1} {:+8.1}", figure - first);
                }
                (Some(figure), _) => print!(" {figure:8.1}         "),
                (None, _) => print!("{:18}", ""),
            }
        }
        println!();
    }
}
