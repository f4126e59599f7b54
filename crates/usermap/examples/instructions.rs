//! How many instructions an operation of a hash with keys of 4 and values of 8 bytes takes, counted
//! by valgrind: nearly the same in every run, however busy the machine is.
//!
//! ```console
//! $ cargo run --release -p usermap --example instructions
//! ```

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, Output};
use usermap::HashMap;

const ENTRIES: u32 = 1000;
const OPERATIONS: [&str; 10] = [
    "nothing",
    "hit",
    "miss",
    "batch of 16",
    "update",
    "increment",
    "delete and insert",
    "hit, bytes",
    "update, bytes",
    "increment, bytes",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [operation, count] = arguments.as_slice() {
        return run(operation, count.parse()?);
    }
    for operation in OPERATIONS {
        let (few, many) = (counted(operation, 10_000)?, counted(operation, 30_000)?);
        println!("{operation:18} {:6.1}", (many - few) as f64 / 20_000.0);
    }
    Ok(())
}

/// The instructions of a process that does it so often.
fn counted(operation: &str, count: u32) -> Result<u64, Box<dyn Error>> {
    let Output { stderr, .. } = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([operation, &count.to_string()])
        .output()?;
    let told = String::from_utf8_lossy(&stderr);
    let line = told.lines().find_map(|line| line.split_once("Collected : "));
    Ok(line.ok_or("valgrind counted nothing")?.1.trim().parse()?)
}

type Done = usermap::Result<()>;

/// The operation on one key after the other; a batch counts as 16.
fn run(operation: &str, count: u32) -> Result<(), Box<dyn Error>> {
    let map = HashMap::<u32, u64>::create(2 * ENTRIES)?;
    let bytes = map.map();
    for key in 0..ENTRIES {
        map.insert(&key, &0)?;
    }
    let hit = |key: u32| map.get(&key).map(|found| _ = black_box(found));
    let miss = |key: u32| hit(key + ENTRIES);
    let batch = |key: u32| match key % 16 {
        0 => map.get_many(&[key; 16], black_box(&mut [None; 16])),
        _ => Ok(()),
    };
    let update = |key: u32| map.insert(&key, &1);
    let increment = |key: u32| map.inc(&key, 1);
    let renew = |key: u32| map.delete(&key).and_then(|_| map.insert_new(&key, &1));
    let hit_bytes = |key: u32| bytes.lookup(&key.to_ne_bytes(), black_box(&mut [0; 8]), 0);
    let update_bytes = |key: u32| bytes.update(&key.to_ne_bytes(), &[1; 8], 0);
    let increment_bytes = |key: u32| bytes.inc(&key.to_ne_bytes(), 1, 0);
    match operation {
        "hit" => repeat(count, hit)?,
        "miss" => repeat(count, miss)?,
        "batch of 16" => repeat(count, batch)?,
        "update" => repeat(count, update)?,
        "increment" => repeat(count, increment)?,
        "delete and insert" => repeat(count, renew)?,
        "hit, bytes" => repeat(count, hit_bytes)?,
        "update, bytes" => repeat(count, update_bytes)?,
        "increment, bytes" => repeat(count, increment_bytes)?,
        _ => repeat(count, |_| Ok(()))?,
    }
    Ok(())
}

/// A loop of its own for each operation, so that none has another's registers.
#[inline(never)]
fn repeat(count: u32, operation: impl Fn(u32) -> Done) -> Done {
    (0..count).try_for_each(|number| operation(black_box(number % ENTRIES)))
}
