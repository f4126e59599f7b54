//! What programs do, and mapped values.

use crate::{create, errno};
use usermap::abi::{BPF_ANY, errno::*, map_flags};
use usermap::{Map, MapType, Spec};

#[test]
fn pointers_outlive_their_entries() {
    let map = create(&Spec::new(MapType::Hash, 4, 24, 4));
    let program = map.on_cpu(0).unwrap();
    assert_eq!(program.lookup(&[1; 4]).unwrap(), None);
    program.update(&[1; 4], &[7; 24], BPF_ANY).unwrap();
    let pointer = program.lookup(&[1; 4]).unwrap().unwrap();
    let mut bytes = [0; 11];
    program.load(pointer, 5, &mut bytes).unwrap();
    assert_eq!(bytes, [7; 11]);
    program.store(pointer, 3, &[9; 7]).unwrap();
    assert_eq!(program.fetch_add(pointer, 16, 1).unwrap(), u64::from_ne_bytes([7; 8]));
    assert_eq!(errno(program.fetch_add(pointer, 4, 1)), EINVAL);
    let mut value = [0; 24];
    map.lookup(&[1; 4], &mut value, 0).unwrap();
    assert_eq!(value[..12], [7, 7, 7, 9, 9, 9, 9, 9, 9, 9, 7, 7]);

    program.delete(&[1; 4]).unwrap();
    program.store(pointer, 0, &[1; 24]).unwrap();
    program.load(pointer, 0, &mut value).unwrap();
    assert_eq!((value, map.len()), ([1; 24], 0));
    assert_eq!(errno(program.load(pointer, 16, &mut [0; 9])), EINVAL);
    assert_eq!(errno(program.load(pointer, usize::MAX, &mut [0; 9])), EINVAL);
}

#[test]
fn slots_of_programs() {
    for kind in [MapType::PerCpuHash, MapType::PerCpuArray] {
        let map = create(&Spec::new(kind, 4, 16, 4).cpus(2));
        for cpu in 0..2_u8 {
            let program = map.on_cpu(cpu.into()).unwrap();
            program.update(&[0; 4], &[cpu + 1; 16], BPF_ANY).unwrap();
        }
        let first = map.on_cpu(0).unwrap();
        let other = first.lookup_percpu(&[0; 4], 1).unwrap().unwrap();
        let mut value = [0; 16];
        first.load(other, 0, &mut value).unwrap();
        assert_eq!(value, [2; 16]);
        assert_eq!(first.lookup_percpu(&[0; 4], 2).unwrap(), None);
        let mut seen = Vec::new();
        let calls = first.for_each(0, |key, pointer| {
            first.load(pointer, 0, &mut value).unwrap();
            seen.push((key.to_vec(), value));
            true
        });
        assert_eq!(calls.unwrap(), map.len());
        assert_eq!(seen[0], (vec![0; 4], [1; 16]));
        assert_eq!(errno(map.on_cpu(2)), ERANGE);
    }
}

#[test]
fn mapped_values() {
    let spec = Spec::new(MapType::Array, 4, 12, 8).flags(map_flags::MMAPABLE);
    let map = create(&spec);
    let mapping = map.map_values(true, 100, 0).unwrap();
    mapping.store(16, &[5; 12]).unwrap();
    let mut value = [0; 12];
    map.lookup(&[1, 0, 0, 0], &mut value, 0).unwrap();
    assert_eq!(value, [5; 12]);
    map.update(&[2, 0, 0, 0], &[6; 12], BPF_ANY).unwrap();
    let mut bytes = [0; 13];
    mapping.load(31, &mut bytes).unwrap();
    assert_eq!(bytes[1..], [6; 12]);
    assert_eq!(errno(mapping.load(99, &mut [0; 2])), EFAULT);
    assert_eq!(errno(map.freeze()), EBUSY);
    drop(mapping);
    map.freeze().unwrap();
    assert_eq!(errno(map.map_values(true, 100, 0)), EPERM);
    // A mapping keeps its map's memory.
    let mapping = map.map_values(false, 100, 0).unwrap();
    drop(map);
    mapping.load(16, &mut value).unwrap();
    assert_eq!(value, [5; 12]);
}

#[test]
fn names_and_handles() {
    let spec = Spec::new(MapType::Hash, 4, 8, 4).name("flows").unwrap();
    let map = create(&spec);
    let other = map.clone();
    other.update(&[1; 4], &[1; 8], 0).unwrap();
    drop(map);
    assert_eq!((other.len(), other.info().entries), (1, 1));
    assert!(format!("{other:?}").contains("flows"));
    assert_eq!(errno(Map::create(&Spec::new(MapType::Hash, 4, 8, 0))), EINVAL);
}
