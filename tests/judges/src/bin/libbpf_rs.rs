//! Maps by libbpf-rs, and so by the libbpf that it brings along.

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys, num_possible_cpus};
use std::error::Error;

fn map(kind: MapType, key: u32, value: u32, name: &str) -> Result<MapHandle, libbpf_rs::Error> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(kind, Some(name), key, value, 100, &options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let flows = map(MapType::Hash, 4, 8, "flows")?;
    for key in 0..100_u32 {
        flows.update(&key.to_ne_bytes(), &u64::from(key * 3).to_ne_bytes(), MapFlags::ANY)?;
    }
    assert!(flows.update(&[0xff; 4], &[0; 8], MapFlags::ANY).is_err(), "it is full");
    let value = flows.lookup(&7_u32.to_ne_bytes(), MapFlags::ANY)?.ok_or("it is there")?;
    assert_eq!(value, 21_u64.to_ne_bytes());
    assert_eq!(flows.lookup(&[0xff; 4], MapFlags::ANY)?, None);
    flows.delete(&7_u32.to_ne_bytes())?;
    let mut sum = 0;
    for key in flows.keys() {
        let value = flows.lookup(&key, MapFlags::ANY)?.ok_or("a key that was given is there")?;
        sum += u64::from_ne_bytes(value.as_slice().try_into()?);
    }
    println!("hash: {} entries, sum {sum}", flows.keys().count());
    let info = flows.info()?;
    println!("info: {} key {}", info.name()?, info.info.key_size);
    let again = MapHandle::from_map_id(info.info.id)?;
    let mut drained = 0;
    // It takes a short batch for the last, and batches end before a bucket that does not fit.
    for entry in again.lookup_and_delete_batch(100, MapFlags::ANY, MapFlags::ANY)? {
        let (key, value) = entry;
        drained += u32::from(key.len() == 4 && value.len() == 8);
    }
    println!("batch: {drained} drained, {} left", flows.keys().count());

    let cpus = num_possible_cpus()?;
    let values: Vec<Vec<u8>> = (0..cpus as u64).map(|cpu| cpu.to_ne_bytes().to_vec()).collect();
    let totals = map(MapType::PercpuArray, 4, 8, "totals")?;
    totals.update_percpu(&[0; 4], &values, MapFlags::ANY)?;
    assert_eq!(totals.lookup_percpu(&[0; 4], MapFlags::ANY)?, Some(values));
    println!("per CPU: every CPU has its own value");

    let queue = map(MapType::Queue, 0, 4, "queue")?;
    let stack = map(MapType::Stack, 0, 4, "stack")?;
    for value in 1..=3_u32 {
        queue.update(&[], &value.to_ne_bytes(), MapFlags::ANY)?;
        stack.update(&[], &value.to_ne_bytes(), MapFlags::ANY)?;
    }
    for _ in 1..=3 {
        let first = queue.lookup_and_delete(&[])?.ok_or("a value")?;
        let last = stack.lookup_and_delete(&[])?.ok_or("a value")?;
        println!("queue {} stack {}", first[0], last[0]);
    }
    assert_eq!(queue.lookup_and_delete(&[])?, None);
    Ok(())
}
