//! Maps by aya, as a loader of programs would use them.

use aya::maps::{HashMap, Map, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues, Queue, Stack};
use aya::util::nr_cpus;
use std::error::Error;

fn map(kind: u32, key: u32, value: u32, entries: u32, name: &str) -> Result<Map, Box<dyn Error>> {
    let definition = aya_obj::Map::new_from_params(kind, key, value, entries, 0);
    Ok(Map::from_map_data(MapData::create(definition, name, None)?)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut flows: HashMap<_, u32, u64> = map(1, 4, 8, 100, "flows")?.try_into()?;
    for key in 0..100 {
        flows.insert(key, u64::from(key) * 3, 0)?;
    }
    assert!(flows.insert(100, 0, 0).is_err(), "it is full");
    assert_eq!(flows.get(&7, 0)?, 21);
    flows.remove(&7)?;
    assert!(flows.get(&7, 0).is_err());
    let mut entries = flows.iter().collect::<Result<Vec<_>, _>>()?;
    entries.sort_unstable();
    let sum: u64 = entries.iter().map(|(_, value)| value).sum();
    println!("hash: {} entries, sum {sum}", entries.len());
    let keys = flows.keys().collect::<Result<Vec<_>, _>>()?;
    for key in &keys {
        flows.remove(key)?;
    }
    println!("hash: {} left", flows.keys().count());

    let cpus = nr_cpus().map_err(|(path, error)| format!("{path}: {error}"))?;
    let each: Vec<u64> = (0..cpus as u64).collect();
    let mut totals: PerCpuArray<_, u64> = map(6, 4, 8, 4, "totals")?.try_into()?;
    totals.set(2, PerCpuValues::try_from(each.clone())?, 0)?;
    assert_eq!(totals.get(&2, 0)?.to_vec(), each);
    assert!(totals.get(&3, 0)?.iter().all(|value| *value == 0));
    let mut by_key: PerCpuHashMap<_, u32, u64> = map(5, 4, 8, 4, "by_key")?.try_into()?;
    by_key.insert(9, PerCpuValues::try_from(each.clone())?, 0)?;
    assert_eq!(by_key.get(&9, 0)?.to_vec(), each);
    println!("per CPU: every CPU has its own value");

    let mut queue: Queue<_, u32> = map(22, 0, 4, 3, "queue")?.try_into()?;
    let mut stack: Stack<_, u32> = map(23, 0, 4, 3, "stack")?.try_into()?;
    for value in 1..=3 {
        queue.push(value, 0)?;
        stack.push(value, 0)?;
    }
    assert!(queue.push(4, 0).is_err());
    let taken = [(); 3].map(|()| (queue.pop(0), stack.pop(0)));
    for (first, last) in taken {
        println!("queue {} stack {}", first?, last?);
    }
    assert!(queue.pop(0).is_err() && stack.pop(0).is_err());
    Ok(())
}
