//! Names of map types, those included that usermap does not have: an object may ask for them.

use usermap::MapType;

/// The kernel's, by number from 0 on, as bpftool spells them.
const NAMES: [&str; 34] = [
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
];

/// `BPF_MAP_TYPE_PROG_ARRAY`
pub const PROG_ARRAY: u32 = 3;
/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
pub const PERF_EVENT_ARRAY: u32 = 4;

/// A type's name, or its number.
pub fn name(map_type: u32) -> String {
    let ours = MapType::from_id(map_type).map(MapType::name);
    let kernels = NAMES.get(map_type as usize).copied();
    ours.or(kernels).map_or_else(|| format!("type {map_type:#x}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_engines() {
        for kind in MapType::ALL.into_iter().filter(|kind| (*kind as u32) < 64) {
            assert_eq!(NAMES[kind as usize], kind.name());
        }
        assert_eq!(name(27), "ringbuf");
        assert_eq!(name(0x554d_0001), "percpu_stack");
        assert_eq!(name(999), "type 0x3e7");
    }
}
