//! Numbers that eBPF programs, libbpf and usermap agree on.
//!
//! Everything that Linux has keeps the value it has in `include/uapi/linux/bpf.h`. What Linux
//! lacks takes numbers from `0x554D_0001` on ("UM"), far outside the kernel's ranges; they are
//! never reused.

use core::fmt;

/// First number of usermap's own map types and helpers.
pub const PRIVATE_BASE: u32 = 0x554D_0001;

/// The kind of a map, with the kernel's number (`enum bpf_map_type`) or usermap's own.
///
/// ```
/// use usermap::MapType;
/// assert_eq!(MapType::PerCpuHash as u32, 5);
/// assert_eq!(MapType::from_id(22), Some(MapType::Queue));
/// assert_eq!(MapType::Queue.to_string(), "queue");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum MapType {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_HASH`
    PerCpuHash = 5,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_QUEUE`
    Queue = 22,
    /// `BPF_MAP_TYPE_STACK`
    Stack = 23,
    /// A stack for each CPU slot; Linux has none.
    PerCpuStack = PRIVATE_BASE,
    /// A queue for each CPU slot; Linux has none.
    PerCpuQueue = PRIVATE_BASE + 1,
}

impl MapType {
    /// Every kind, in the order of their numbers.
    pub const ALL: [MapType; 8] = [
        MapType::Hash,
        MapType::Array,
        MapType::PerCpuHash,
        MapType::PerCpuArray,
        MapType::Queue,
        MapType::Stack,
        MapType::PerCpuStack,
        MapType::PerCpuQueue,
    ];

    /// The kind with this number, if usermap has it.
    pub fn from_id(id: u32) -> Option<MapType> {
        MapType::ALL.into_iter().find(|kind| *kind as u32 == id)
    }

    /// The kind with this name, as bpftool spells it (`percpu_hash`).
    pub fn from_name(name: &str) -> Option<MapType> {
        MapType::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name as bpftool spells it.
    pub const fn name(self) -> &'static str {
        match self {
            MapType::Hash => "hash",
            MapType::Array => "array",
            MapType::PerCpuHash => "percpu_hash",
            MapType::PerCpuArray => "percpu_array",
            MapType::Queue => "queue",
            MapType::Stack => "stack",
            MapType::PerCpuStack => "percpu_stack",
            MapType::PerCpuQueue => "percpu_queue",
        }
    }

    /// Whether there is one value, or one ring, for each CPU slot.
    pub const fn is_per_cpu(self) -> bool {
        matches!(
            self,
            MapType::PerCpuHash
                | MapType::PerCpuArray
                | MapType::PerCpuStack
                | MapType::PerCpuQueue
        )
    }

    /// Whether entries are found by key (hash kinds).
    pub const fn is_hash(self) -> bool {
        matches!(self, MapType::Hash | MapType::PerCpuHash)
    }

    /// Whether entries are found by index (array kinds).
    pub const fn is_array(self) -> bool {
        matches!(self, MapType::Array | MapType::PerCpuArray)
    }

    /// Whether it is pushed to and popped from (queue and stack kinds).
    pub const fn is_ring(self) -> bool {
        !self.is_hash() && !self.is_array()
    }

    /// Whether the newest value is popped first.
    pub const fn is_lifo(self) -> bool {
        matches!(self, MapType::Stack | MapType::PerCpuStack)
    }
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Helpers of programs that Linux lacks, as `include/usermap_helpers.h` declares them.
pub mod helper {
    use super::PRIVATE_BASE;

    /// `bpf_map_inc`
    pub const MAP_INC: u32 = PRIVATE_BASE;
    /// `bpf_map_inc_and_return`
    pub const MAP_INC_AND_RETURN: u32 = PRIVATE_BASE + 1;
    /// `bpf_map_lookup_and_delete_elem`
    pub const MAP_LOOKUP_AND_DELETE_ELEM: u32 = PRIVATE_BASE + 2;
    /// `bpf_map_lookup_batch`
    pub const MAP_LOOKUP_BATCH: u32 = PRIVATE_BASE + 3;
    /// `bpf_map_update_batch`
    pub const MAP_UPDATE_BATCH: u32 = PRIVATE_BASE + 4;
    /// `bpf_map_delete_batch`
    pub const MAP_DELETE_BATCH: u32 = PRIVATE_BASE + 5;
}

/// Flags of update, push and increment: create or replace.
pub const BPF_ANY: u64 = 0;
/// Create only; an existing key gives EEXIST.
pub const BPF_NOEXIST: u64 = 1;
/// Replace only; an absent key gives ENOENT. On push: make room by dropping the oldest value.
pub const BPF_EXIST: u64 = 2;
/// Take the `bpf_spin_lock` in the value meanwhile.
pub const BPF_F_LOCK: u64 = 4;
/// Act on one CPU's value only: its number is in the upper 32 bits of the flags.
pub const BPF_F_CPU: u64 = 8;
/// Write the same value for every CPU.
pub const BPF_F_ALL_CPUS: u64 = 16;

/// `flags` of an operation on one CPU's slot: `BPF_F_CPU` with the number in the upper half.
///
/// ```
/// assert_eq!(usermap::abi::cpu_flags(3), 0x3_0000_0008);
/// ```
pub const fn cpu_flags(cpu: u32) -> u64 {
    (cpu as u64) << 32 | BPF_F_CPU
}

/// Flags of map creation (`map_flags`).
pub mod map_flags {
    /// Memory is taken as entries come.
    pub const NO_PREALLOC: u32 = 1 << 0;
    /// LRU kinds only.
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// `numa_node` is meant.
    pub const NUMA_NODE: u32 = 1 << 2;
    /// This handle may only read.
    pub const RDONLY: u32 = 1 << 3;
    /// This handle may only write.
    pub const WRONLY: u32 = 1 << 4;
    /// Stack build ids; of another kind.
    pub const STACK_BUILD_ID: u32 = 1 << 5;
    /// The hash has the seed 0, so the order of entries is the kernel's and repeatable.
    pub const ZERO_SEED: u32 = 1 << 6;
    /// Programs may only read.
    pub const RDONLY_PROG: u32 = 1 << 7;
    /// Programs may only write.
    pub const WRONLY_PROG: u32 = 1 << 8;
    /// Of another kind.
    pub const CLONE: u32 = 1 << 9;
    /// The values can be mapped into memory.
    pub const MMAPABLE: u32 = 1 << 10;
    /// Of another kind.
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    /// An array whose length does not matter where it is an inner map.
    pub const INNER_MAP: u32 = 1 << 12;
    /// `path_fd` is meant; a flag of pinning and opening.
    pub const PATH_FD: u32 = 1 << 14;
    /// `map_token_fd` is meant.
    pub const TOKEN_FD: u32 = 1 << 16;

    /// What a handle or a program may do with the map; every kind takes these.
    pub const ACCESS: u32 = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG;
    /// What hash kinds take (`HTAB_CREATE_FLAG_MASK`).
    pub const OF_HASH: u32 = NO_PREALLOC | NO_COMMON_LRU | NUMA_NODE | ZERO_SEED | ACCESS;
    /// What arrays take; per-CPU ones take less.
    pub const OF_ARRAY: u32 = NUMA_NODE | MMAPABLE | INNER_MAP | ACCESS;
    /// What queues and stacks take (`QUEUE_STACK_CREATE_FLAG_MASK`).
    pub const OF_RING: u32 = NUMA_NODE | ACCESS;
}

/// Limits that the kernel's allocators set to the shape of a map.
pub mod limit {
    /// The largest piece that `kmalloc` gives (`KMALLOC_MAX_SIZE`).
    pub const KMALLOC: u64 = 4 << 20;
    /// Bytes of a hash element before its key (`sizeof(struct htab_elem)`).
    pub const HASH_ELEMENT: u64 = 48;
    /// The most buckets of a hash: more, and their bytes do not fit into 32 bits.
    pub const HASH_BUCKETS: u32 = 1 << 27;
    /// The largest value of one CPU (`PCPU_MIN_UNIT_SIZE`).
    pub const PERCPU_UNIT: u64 = 32 << 10;
    /// The largest value of an array.
    pub const ARRAY_VALUE: u32 = i32::MAX as u32;
    /// Bytes of a map, of whatever kind: what a 47-bit address space could hold at best.
    pub const REGION: u128 = 1 << 46;
    /// CPU slots of a map (the kernel's `NR_CPUS` of x86-64).
    pub const CPUS: u32 = 8192;
}

/// Commands of bpf(2) (`enum bpf_cmd`) that concern maps.
pub mod command {
    /// `BPF_MAP_CREATE`
    pub const MAP_CREATE: u32 = 0;
    /// `BPF_MAP_LOOKUP_ELEM`
    pub const MAP_LOOKUP_ELEM: u32 = 1;
    /// `BPF_MAP_UPDATE_ELEM`
    pub const MAP_UPDATE_ELEM: u32 = 2;
    /// `BPF_MAP_DELETE_ELEM`
    pub const MAP_DELETE_ELEM: u32 = 3;
    /// `BPF_MAP_GET_NEXT_KEY`
    pub const MAP_GET_NEXT_KEY: u32 = 4;
    /// `BPF_PROG_LOAD`
    pub const PROG_LOAD: u32 = 5;
    /// `BPF_OBJ_PIN`
    pub const OBJ_PIN: u32 = 6;
    /// `BPF_OBJ_GET`
    pub const OBJ_GET: u32 = 7;
    /// `BPF_PROG_TEST_RUN`
    pub const PROG_TEST_RUN: u32 = 10;
    /// `BPF_PROG_GET_NEXT_ID`
    pub const PROG_GET_NEXT_ID: u32 = 11;
    /// `BPF_MAP_GET_NEXT_ID`
    pub const MAP_GET_NEXT_ID: u32 = 12;
    /// `BPF_PROG_GET_FD_BY_ID`
    pub const PROG_GET_FD_BY_ID: u32 = 13;
    /// `BPF_MAP_GET_FD_BY_ID`
    pub const MAP_GET_FD_BY_ID: u32 = 14;
    /// `BPF_OBJ_GET_INFO_BY_FD`
    pub const OBJ_GET_INFO_BY_FD: u32 = 15;
    /// `BPF_BTF_LOAD`
    pub const BTF_LOAD: u32 = 18;
    /// `BPF_BTF_GET_FD_BY_ID`
    pub const BTF_GET_FD_BY_ID: u32 = 19;
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`
    pub const MAP_LOOKUP_AND_DELETE_ELEM: u32 = 21;
    /// `BPF_MAP_FREEZE`
    pub const MAP_FREEZE: u32 = 22;
    /// `BPF_BTF_GET_NEXT_ID`
    pub const BTF_GET_NEXT_ID: u32 = 23;
    /// `BPF_MAP_LOOKUP_BATCH`
    pub const MAP_LOOKUP_BATCH: u32 = 24;
    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`
    pub const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
    /// `BPF_MAP_UPDATE_BATCH`
    pub const MAP_UPDATE_BATCH: u32 = 26;
    /// `BPF_MAP_DELETE_BATCH`
    pub const MAP_DELETE_BATCH: u32 = 27;
    /// `BPF_PROG_BIND_MAP`
    pub const PROG_BIND_MAP: u32 = 35;
}

/// errno values that the kernel's map functions return, and 524, which libc has no name for.
pub mod errno {
    /// Operation not permitted.
    pub const EPERM: i32 = 1;
    /// No such key, entry or file.
    pub const ENOENT: i32 = 2;
    /// Input or output error.
    pub const EIO: i32 = 5;
    /// Full, or past the end.
    pub const E2BIG: i32 = 7;
    /// Not a descriptor.
    pub const EBADF: i32 = 9;
    /// Out of memory.
    pub const ENOMEM: i32 = 12;
    /// Permission denied.
    pub const EACCES: i32 = 13;
    /// Bad address.
    pub const EFAULT: i32 = 14;
    /// Locked for too long.
    pub const EBUSY: i32 = 16;
    /// Already there.
    pub const EEXIST: i32 = 17;
    /// A folder where a file is meant.
    pub const EISDIR: i32 = 21;
    /// Invalid argument.
    pub const EINVAL: i32 = 22;
    /// A batch's buffer is too small for the next bucket.
    pub const ENOSPC: i32 = 28;
    /// Out of range.
    pub const ERANGE: i32 = 34;
    /// A path without an end.
    pub const ENAMETOOLONG: i32 = 36;
    /// A descriptor in a bad state; what info on a bad descriptor gives.
    pub const EBADFD: i32 = 77;
    /// Not supported by this kind of map.
    pub const EOPNOTSUPP: i32 = 95;
    /// The region is damaged.
    pub const EUCLEAN: i32 = 117;
    /// Not supported: the kernel's own, without a name in libc.
    pub const ENOTSUPP: i32 = 524;
}
