//! Every function once, with no expectation but that it comes back.

use std::sync::OnceLock;
use usermap::abi::map_flags::ZERO_SEED;
use usermap::abi::{BPF_ANY, BPF_EXIST, cpu_flags};
use usermap::{Map, MapType, MapTypes, Spec};
use usermap_tests::keys::jhash;
use usermap_tests::rng::Rng;

/// Entries of the maps here.
pub const MAX: u32 = 100;
/// Bytes of the keys of two of them.
const LONG: usize = 13;

/// A map's spec of each kind.
pub fn specs() -> Vec<Spec> {
    let spec = |kind: MapType| {
        let key_size = if kind.is_ring() { 0 } else { 4 };
        let spec = Spec::new(kind, key_size, 8, MAX).name("victim").expect("a name");
        if kind.is_per_cpu() { spec.cpus(2) } else { spec }
    };
    let mut specs: Vec<Spec> = MapType::ALL.map(spec).to_vec();
    // Another size of key and value, without preallocation; and with a long chain.
    let mut other = Spec::new(MapType::Hash, LONG as u32, 50, MAX).flags(1);
    specs.push(other.clone());
    other.flags = ZERO_SEED;
    specs.push(other);
    let mut btf = vec![0; 200];
    btf[..2].copy_from_slice(&0xeb9f_u16.to_ne_bytes());
    let typed = Spec::new(MapType::PerCpuHash, 4, 8, MAX).cpus(2);
    specs.push(typed.types(MapTypes::new(btf, 1, 2)));
    specs
}

/// Half full, so that there is something to damage.
pub fn fill(map: &Map) {
    let value = vec![7; map.value_bytes()];
    for i in 0..MAX / 2 {
        if map.spec().map_type.is_ring() {
            let flags = if map.spec().map_type.is_per_cpu() { cpu_flags(i % 2) } else { 0 };
            map.push(&value, flags).expect("room");
        } else {
            map.update(&key(map, i), &value, BPF_ANY).expect("room");
        }
    }
}

fn key(map: &Map, i: u32) -> Vec<u8> {
    let size = map.spec().key_size as usize;
    if size == LONG && map.spec().flags & ZERO_SEED != 0 {
        return chained()[i as usize].clone();
    }
    let mut key = i.to_le_bytes().to_vec();
    key.resize(size, 3);
    key
}

/// Keys of one bucket, most of which are in its chain: of the first of the kernel's 128.
fn chained() -> &'static [Vec<u8>] {
    static KEYS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let keys = (0_u32..).map(|i| [&i.to_le_bytes()[..], &[3; LONG - 4]].concat());
        keys.filter(|key| jhash(key).is_multiple_of(128)).take(MAX as usize + 20).collect()
    })
}

/// Does about `operations` of everything that there is. The map may say anything.
pub fn everything(map: &Map, rng: &mut Rng, operations: u64) {
    // What a damaged region claims must not decide how much memory we take.
    let bytes = map.value_bytes();
    assert!(bytes <= 1 << 20, "a map of {bytes} bytes a value was opened");
    let mut value = vec![0; bytes];
    for _ in 0..operations {
        let key = key(map, rng.below(u64::from(MAX) + 20) as u32);
        let cpu = rng.below(3) as u32;
        let cpu_flag = if rng.one_in(2) { cpu_flags(cpu) } else { 0 };
        let delta = rng.draw();
        // All results are as good.
        let _ = match rng.below(24) {
            0..3 => map.lookup(&key, &mut value, 0),
            3..6 => map.update(&key, &value, *rng.pick(&[0, 0, 1, 2])),
            6 => map.delete(&key),
            7 => map.lookup_and_delete(&key, &mut value, 0),
            8 => map.inc(&key, delta, BPF_ANY),
            9 => map.inc_and_return(&key, delta, BPF_ANY).map(drop),
            10 => walk(map, &key),
            11 | 12 => map.push(&value, *rng.pick(&[BPF_ANY, BPF_EXIST]) | cpu_flag),
            13 => map.pop(&mut value, cpu_flag),
            14 => map.peek(&mut value, cpu_flag),
            15 => program(map, cpu, &key, &value[..map.spec().value_size as usize]),
            16 if rng.one_in(4) => map.for_each(|_, _| true).map(drop),
            17 if rng.one_in(20) => map.clear().map(drop),
            18 if rng.one_in(4) => map.retain(|key, _| key[0] & 8 == 0).map(drop),
            19 if rng.one_in(4) => map.lookup_range(&key, &[0xff; 13], |_, _| true).map(drop),
            20 if rng.one_in(4) => map.delete_range(&key, &key).map(drop),
            21 if rng.one_in(4) => map.drain(|_, _| ()).map(drop),
            22 if rng.one_in(4) => batches(map, &key),
            _ => {
                let _ = (map.len(), map.is_frozen(), map.info(), map.len_on(cpu));
                let _ = (map.types(), map.lease(cpu), map.lease_any());
                Ok(())
            }
        };
    }
}

fn walk(map: &Map, key: &[u8]) -> usermap::Result<()> {
    let mut key = key.to_vec();
    let mut next = key.clone();
    // In a damaged chain the keys may go round for ever; each call must come back.
    for _ in 0..10 {
        map.get_next_key(Some(&key), &mut next)?;
        key.clone_from(&next);
    }
    Ok(())
}

fn program(map: &Map, cpu: u32, key: &[u8], value: &[u8]) -> usermap::Result<()> {
    let program = map.on_cpu(cpu)?;
    let _ = program.update(key, value, BPF_ANY);
    let _ = program.inc_and_return(key, 1, BPF_ANY);
    let _ = program.push(value, BPF_EXIST);
    let mut copy = value.to_vec();
    let _ = (program.peek(&mut copy), program.pop(&mut copy));
    let _ = program.for_each(0, |_, _| true);
    if let Some(pointer) = program.lookup(key)? {
        program.load(pointer, 0, &mut copy)?;
        program.store(pointer, 0, value)?;
        let _ = program.fetch_add(pointer, 0, 1);
        // Past the end of the value there may be another, but not past the region.
        let _ = program.load(pointer, usize::MAX, &mut copy);
        let _ = program.load(pointer, 1 << 40, &mut copy);
    }
    program.delete(key)
}

fn batches(map: &Map, key: &[u8]) -> usermap::Result<()> {
    use usermap_tests::adapter::batch;
    let token = [key, &[0; 4]].concat();
    let first = batch::lookup(map, None, 4, MAX, false, 0, 0);
    batch::lookup(map, Some(&first.token), 4, MAX, true, 0, 0);
    batch::lookup(map, Some(&token[..4]), 4, 3, true, 0, 0);
    batch::write(map, key, Some(&vec![1; map.value_bytes()]), 1, 0, 0);
    batch::write(map, key, None, 1, 0, 0);
    Ok(())
}
