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

/// The operation on one key after the other; a batch counts as 16.
#[inline(never)]
fn run(operation: &str, count: u32) -> Result<(), Box<dyn Error>> {
    let map = HashMap::<u32, u64>::create(2 * ENTRIES)?;
    let bytes = map.map();
    for key in 0..ENTRIES {
        map.insert(&key, &0)?;
    }
    for number in 0..count {
        let key = black_box(number % ENTRIES);
        match operation {
            "hit" => _ = black_box(map.get(&key)?),
            "miss" => _ = black_box(map.get(&(key + ENTRIES))?),
            "batch of 16" if number % 16 == 0 => {
                map.get_many(&[key; 16], black_box(&mut [None; 16]))?;
            }
            "update" => map.insert(&key, &1)?,
            "increment" => map.inc(&key, 1)?,
            "delete and insert" => {
                map.delete(&key)?;
                map.insert_new(&key, &1)?;
            }
            "hit, bytes" => bytes.lookup(&key.to_ne_bytes(), black_box(&mut [0; 8]), 0)?,
            "update, bytes" => bytes.update(&key.to_ne_bytes(), &[1; 8], 0)?,
            "increment, bytes" => bytes.inc(&key.to_ne_bytes(), 1, 0)?,
            _ => {}
        }
    }
    Ok(())
}
