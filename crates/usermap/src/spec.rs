//! What a map is asked to be, and the kernel's rules of creation, field by field.

use crate::abi::{MapType, errno, limit, map_flags};
use crate::error::{Error, Name, Result};
use crate::types::{self, MapTypes};

/// The specification of a map: `bpf_attr`'s part for `BPF_MAP_CREATE`.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let spec = Spec::new(MapType::Hash, 4, 8, 1024).name("flows")?;
/// let map = Map::create(&spec)?;
/// assert_eq!(map.spec().max_entries, 1024);
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// The kind.
    pub map_type: MapType,
    /// Bytes of a key: 4 for arrays, 0 for queues and stacks.
    pub key_size: u32,
    /// Bytes of a value (per-CPU maps: of one slot's value).
    pub value_size: u32,
    /// The most entries it takes (per-CPU queues and stacks: in each slot).
    pub max_entries: u32,
    /// `map_flags`, from [`map_flags`](crate::abi::map_flags).
    pub flags: u32,
    /// The NUMA node, if `NUMA_NODE` is among the flags.
    pub numa_node: u32,
    /// `map_extra`: 0 for all kinds here.
    pub map_extra: u64,
    /// The name.
    pub name: Name,
    /// CPU slots of a per-CPU map; 0 for as many as the machine can have.
    pub cpus: u32,
    /// Where in the value a `struct bpf_spin_lock` is, if anywhere.
    pub spin_lock: Option<u32>,
    /// Whether the new map is to be in pages of 2 MiB as far as they can be had.
    pub huge_pages: bool,
    /// The types of key and value, which the new map is to keep. The specification of a map that
    /// exists has none: [`Map::types`](crate::Map::types) reads them.
    pub types: Option<MapTypes>,
}

impl Spec {
    /// A specification without flags or name.
    pub fn new(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Spec {
        Spec {
            map_type,
            key_size,
            value_size,
            max_entries,
            flags: 0,
            numa_node: 0,
            map_extra: 0,
            name: Name::default(),
            cpus: 0,
            spin_lock: None,
            huge_pages: false,
            types: None,
        }
    }

    /// With a name: at most 15 letters, digits, `_` and `.`.
    pub fn name(mut self, name: &str) -> Result<Spec> {
        self.name = Name::new(name)?;
        Ok(self)
    }

    /// With flags, from [`map_flags`](crate::abi::map_flags).
    ///
    /// ```
    /// use usermap::{MapType, Spec, abi::map_flags};
    /// let spec = Spec::new(MapType::Hash, 4, 8, 16).flags(map_flags::NO_PREALLOC);
    /// assert_eq!(spec.flags, 1);
    /// ```
    pub fn flags(mut self, flags: u32) -> Spec {
        self.flags = flags;
        self
    }

    /// With this many CPU slots instead of the machine's.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1).cpus(3))?;
    /// assert_eq!(map.value_bytes(), 24);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn cpus(mut self, cpus: u32) -> Spec {
        self.cpus = cpus;
        self
    }

    /// In pages of 2 MiB, as far as they can be had: in large maps, of which caches and page tables
    /// hold a small part only, operations take less time. All memory of such a map is taken when
    /// it is created, which takes a while (1 to 2 ms for each 2 MiB); otherwise
    /// pages are taken as they are used. To be refused them is no error:
    /// [`Map::huge_pages`](crate::Map::huge_pages) says how many there are. It takes Linux 6.1, and
    /// a tmpfs, a memfd or an anonymous map.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let spec = Spec::new(MapType::Array, 4, 8, 1 << 20).huge_pages(true);
    /// let map = Map::create_anonymous(&spec)?;
    /// println!("{} of {} bytes", map.huge_pages().bytes, map.info().bytes);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn huge_pages(mut self, wanted: bool) -> Spec {
        self.huge_pages = wanted;
        self
    }

    /// With the types of key and value, for whoever shows what is in the map.
    ///
    /// ```
    /// use usermap::{MapType, MapTypes, Spec};
    /// let spec = Spec::new(MapType::Hash, 4, 8, 16).types(MapTypes::new([0; 24], 1, 2));
    /// let error = spec.validate().unwrap_err();
    /// assert!(error.to_string().ends_with("it does not start as BTF does"));
    /// ```
    pub fn types(mut self, types: MapTypes) -> Spec {
        self.types = Some(types);
        self
    }

    /// Whether these flags are all set.
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Bytes of one key's value in bpf(2) calls and in the map: per-CPU hashes and arrays have
    /// one for each of `cpus` slots, each rounded up to 8 bytes.
    pub(crate) fn value_bytes(&self, cpus: u32) -> u64 {
        match self.map_type.is_per_cpu() && !self.map_type.is_ring() {
            true => u64::from(self.value_size).next_multiple_of(8) * u64::from(cpus),
            false => u64::from(self.value_size),
        }
    }

    /// Checks every field as the kernel does, in the kernel's order (`map_create` and each
    /// kind's `map_alloc_check` and `map_alloc` in Linux 6.18).
    ///
    /// Creating a map does this first; call it to know beforehand.
    ///
    /// ```
    /// use usermap::{MapType, Spec};
    /// let error = Spec::new(MapType::Array, 8, 8, 16).validate().unwrap_err();
    /// assert_eq!(error.to_string(), "map (unnamed): key_size is 8: an array's keys have 4 bytes");
    /// assert_eq!(error.errno(), 22); // EINVAL
    /// ```
    pub fn validate(&self) -> Result<()> {
        let token = self.has(map_flags::TOKEN_FD);
        self.clone().flags(self.flags & !map_flags::TOKEN_FD).check_fields()?;
        if token {
            return self.refuse_flags("TOKEN_FD wants a token, and there are none");
        }
        self.check_size()?;
        self.check_spin_lock()?;
        if self.huge_pages && self.has(map_flags::NO_PREALLOC) {
            return self.refuse_flags("huge pages take all memory at once, NO_PREALLOC as needed");
        }
        self.check_types()
    }

    /// Whether a map that exists can have it. It may have been made on another machine, with
    /// other NUMA nodes.
    pub(crate) fn is_possible(&self) -> bool {
        self.clone().flags(self.flags & !map_flags::NUMA_NODE).validate().is_ok()
    }

    /// The rules that come before anything is allocated.
    pub(crate) fn check_fields(&self) -> Result<()> {
        if self.map_extra != 0 {
            return self.refuse("map_extra", self.map_extra, "only other kinds have a use for it");
        }
        if self.has(map_flags::RDONLY | map_flags::WRONLY) {
            return self.refuse_flags("RDONLY and WRONLY exclude each other");
        }
        if let Some(node) = self.node()
            && !node_is_online(node)
        {
            return self.refuse("numa_node", node, "the machine has no such NUMA node online");
        }
        match self.map_type {
            kind if kind.is_hash() => self.check_hash(),
            kind if kind.is_array() => self.check_array(),
            _ => self.check_ring(),
        }
    }

    /// `htab_map_alloc_check`
    fn check_hash(&self) -> Result<()> {
        self.check_flags(map_flags::OF_HASH, "a flag that hashes do not take")?;
        if self.has(map_flags::NO_COMMON_LRU) {
            return self.refuse_flags("NO_COMMON_LRU is for LRU kinds");
        }
        if self.map_type.is_per_cpu() && self.node().is_some() {
            return self.refuse_flags("per-CPU maps have no NUMA node of their own");
        }
        self.check_not_zero("max_entries", self.max_entries)?;
        self.check_not_zero("key_size", self.key_size)?;
        self.check_not_zero("value_size", self.value_size)?;
        let bytes = u64::from(self.key_size) + u64::from(self.value_size);
        if bytes >= limit::KMALLOC - limit::HASH_ELEMENT {
            let rule = "an entry's key and value must have less than 4 MiB - 48 together";
            return self.too_big("key_size + value_size", bytes, rule);
        }
        self.check_per_cpu_unit()
    }

    /// `array_map_alloc_check`
    fn check_array(&self) -> Result<()> {
        self.check_not_zero("max_entries", self.max_entries)?;
        if self.key_size != 4 {
            return self.refuse("key_size", self.key_size, "an array's keys have 4 bytes");
        }
        self.check_not_zero("value_size", self.value_size)?;
        self.check_flags(map_flags::OF_ARRAY, "a flag that arrays do not take")?;
        if self.map_type.is_per_cpu() {
            if self.node().is_some() {
                return self.refuse_flags("per-CPU maps have no NUMA node of their own");
            }
            if self.flags & (map_flags::MMAPABLE | map_flags::INNER_MAP) != 0 {
                return self.refuse_flags("MMAPABLE and INNER_MAP are for plain arrays");
            }
        }
        if self.value_size > limit::ARRAY_VALUE {
            return self.too_big("value_size", self.value_size, "at most 2^31 - 1 bytes");
        }
        self.check_per_cpu_unit()
    }

    /// `queue_stack_map_alloc_check`, which usermap's per-CPU queues and stacks keep to as well.
    fn check_ring(&self) -> Result<()> {
        self.check_not_zero("max_entries", self.max_entries)?;
        if self.key_size != 0 {
            return self.refuse("key_size", self.key_size, "queues and stacks have no keys");
        }
        self.check_not_zero("value_size", self.value_size)?;
        self.check_flags(map_flags::OF_RING, "a flag that queues and stacks do not take")?;
        if u64::from(self.value_size) > limit::KMALLOC {
            return self.too_big("value_size", self.value_size, "at most 4 MiB");
        }
        Ok(())
    }

    /// What the kernel finds out while it allocates, and what no address space could hold.
    pub(crate) fn check_size(&self) -> Result<()> {
        if self.map_type.is_hash() && self.max_entries > limit::HASH_BUCKETS {
            return self.too_big("max_entries", self.max_entries, "at most 2^27 entries");
        }
        if self.map_type.is_per_cpu() && self.cpus > limit::CPUS {
            return self.refuse("cpus", self.cpus, "at most 8192 CPU slots");
        }
        let cpus = match self.map_type.is_per_cpu() {
            true => u128::from(self.cpus.max(1)),
            false => 1,
        };
        let value = u128::from(self.value_size).next_multiple_of(8);
        let entry = u128::from(self.key_size) + value * cpus;
        if entry * u128::from(self.max_entries) > limit::REGION {
            let rule = "keys and values would need more than 64 TiB";
            return self.spec_error("max_entries", self.max_entries, rule, errno::ENOMEM);
        }
        Ok(())
    }

    /// `map_check_btf`'s rules for a value with a `struct bpf_spin_lock`.
    pub(crate) fn check_spin_lock(&self) -> Result<()> {
        let Some(offset) = self.spin_lock else { return Ok(()) };
        let refuse = |rule, errno| self.spec_error("spin_lock", offset, rule, errno);
        if !offset.is_multiple_of(4) || u64::from(offset) + 4 > u64::from(self.value_size) {
            return refuse("the lock's 4 bytes must be aligned and in the value", errno::EINVAL);
        }
        if self.map_type.is_ring() {
            return refuse("values of queues and stacks have no lock", errno::EINVAL);
        }
        if self.flags & (map_flags::RDONLY_PROG | map_flags::WRONLY_PROG) != 0 {
            return refuse("programs must be able to read and write a lock", errno::EACCES);
        }
        if self.map_type.is_per_cpu() {
            return refuse("per-CPU values need no lock", errno::EOPNOTSUPP);
        }
        Ok(())
    }

    /// What can be said without reading the BTF.
    fn check_types(&self) -> Result<()> {
        let Some(types) = &self.types else { return Ok(()) };
        let bytes = types.btf().len() as u64;
        if bytes > types::LIMIT as u64 {
            return self.too_big("bytes of BTF", bytes, "a map keeps at most 1 MiB");
        }
        if bytes < types::HEADER as u64 || !types.btf().starts_with(&types::MAGIC.to_ne_bytes()) {
            return self.refuse("bytes of BTF", bytes, "it does not start as BTF does");
        }
        self.check_not_zero("btf_value_type_id", types.value())
    }

    /// The NUMA node that is asked for; `u32::MAX` (`NUMA_NO_NODE`) asks for none.
    fn node(&self) -> Option<u32> {
        (self.has(map_flags::NUMA_NODE) && self.numa_node != u32::MAX).then_some(self.numa_node)
    }

    fn check_flags(&self, taken: u32, rule: &'static str) -> Result<()> {
        if self.flags & !taken != 0 {
            return self.refuse_flags(rule);
        }
        if self.has(map_flags::RDONLY_PROG | map_flags::WRONLY_PROG) {
            return self.refuse_flags("RDONLY_PROG and WRONLY_PROG exclude each other");
        }
        Ok(())
    }

    fn check_not_zero(&self, field: &'static str, value: u32) -> Result<()> {
        if value == 0 { self.refuse(field, value, "at least 1") } else { Ok(()) }
    }

    fn check_per_cpu_unit(&self) -> Result<()> {
        let bytes = u64::from(self.value_size).next_multiple_of(8);
        if self.map_type.is_per_cpu() && bytes > limit::PERCPU_UNIT {
            return self.too_big("value_size", self.value_size, "at most 32 KiB for each CPU");
        }
        Ok(())
    }

    fn refuse(&self, field: &'static str, value: impl Into<u64>, rule: &'static str) -> Result<()> {
        self.spec_error(field, value, rule, errno::EINVAL)
    }

    fn refuse_flags(&self, rule: &'static str) -> Result<()> {
        self.refuse("map_flags", self.flags, rule)
    }

    fn too_big(
        &self,
        field: &'static str,
        value: impl Into<u64>,
        rule: &'static str,
    ) -> Result<()> {
        self.spec_error(field, value, rule, errno::E2BIG)
    }

    fn spec_error(
        &self,
        field: &'static str,
        value: impl Into<u64>,
        rule: &'static str,
        errno: i32,
    ) -> Result<()> {
        Err(Error::Spec { map: self.name, field, value: value.into(), rule, errno })
    }
}

/// Whether this machine has the NUMA node; one that tells nothing has node 0 only.
fn node_is_online(node: u32) -> bool {
    let online = std::fs::read_to_string("/sys/devices/system/node/online");
    list_has(online.as_deref().unwrap_or("0"), node)
}

/// Whether a list as the kernel writes it (`0-3,8`) has the number.
fn list_has(list: &str, number: u32) -> bool {
    list.trim().split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&number),
            _ => false,
        }
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::abi::map_flags::*;

    const EINVAL: i32 = errno::EINVAL;
    const E2BIG: i32 = errno::E2BIG;

    /// The errno of a specification, 0 if it is good.
    fn verdict(map_type: MapType, sizes: (u32, u32, u32), flags: u32) -> i32 {
        let (key_size, value_size, max_entries) = sizes;
        let spec = Spec::new(map_type, key_size, value_size, max_entries).flags(flags);
        spec.validate().map_or_else(|error| error.errno(), |()| 0)
    }

    #[test]
    fn sizes_of_hashes() {
        for (sizes, errno) in [
            ((0, 8, 4), EINVAL),
            ((4, 0, 4), EINVAL),
            ((4, 8, 0), EINVAL),
            ((u32::MAX, u32::MAX, 4), E2BIG),
            ((8, (4 << 20) - 57, 1), 0),
            ((8, (4 << 20) - 56, 1), E2BIG),
            ((4, 8, 1 << 27), 0),
            ((4, 8, (1 << 27) + 1), E2BIG),
            ((4, 8, u32::MAX), E2BIG),
        ] {
            assert_eq!(verdict(MapType::Hash, sizes, 0), errno, "{sizes:?}");
        }
        assert_eq!(verdict(MapType::PerCpuHash, (4, 32 << 10, 1), 0), 0);
        assert_eq!(verdict(MapType::PerCpuHash, (4, (32 << 10) + 1, 1), 0), E2BIG);
    }

    #[test]
    fn sizes_of_arrays() {
        for (sizes, errno) in [
            ((0, 8, 4), EINVAL),
            ((8, 8, 4), EINVAL),
            ((4, 0, 4), EINVAL),
            ((4, 8, 0), EINVAL),
            ((4, i32::MAX as u32, 1), 0),
            ((4, 1 << 31, 1), E2BIG),
            ((4, 8, u32::MAX), 0),
            ((4, i32::MAX as u32, u32::MAX), errno::ENOMEM),
        ] {
            assert_eq!(verdict(MapType::Array, sizes, 0), errno, "{sizes:?}");
        }
        assert_eq!(verdict(MapType::PerCpuArray, (4, (32 << 10) - 7, 1), 0), 0);
        assert_eq!(verdict(MapType::PerCpuArray, (4, (32 << 10) + 1, 1), 0), E2BIG);
    }

    #[test]
    fn sizes_of_queues_and_stacks() {
        for kind in MapType::ALL.into_iter().filter(|kind| kind.is_ring()) {
            for (sizes, errno) in [
                ((0, 8, 4), 0),
                ((4, 8, 4), EINVAL),
                ((0, 0, 4), EINVAL),
                ((0, 8, 0), EINVAL),
                ((0, 4 << 20, 1), 0),
                ((0, (4 << 20) + 1, 1), E2BIG),
            ] {
                assert_eq!(verdict(kind, sizes, 0), errno, "{kind} {sizes:?}");
            }
        }
    }

    #[test]
    fn flags_by_kind() {
        let taken = |kind: MapType| match kind {
            MapType::Hash => NO_PREALLOC | NUMA_NODE | ZERO_SEED | ACCESS,
            MapType::PerCpuHash => NO_PREALLOC | ZERO_SEED | ACCESS,
            MapType::Array => NUMA_NODE | MMAPABLE | INNER_MAP | ACCESS,
            MapType::PerCpuArray => ACCESS,
            _ => NUMA_NODE | ACCESS,
        };
        for kind in MapType::ALL {
            let key_size = if kind.is_ring() { 0 } else { 4 };
            for bit in 0..32 {
                let wanted = if taken(kind) & 1 << bit == 0 { EINVAL } else { 0 };
                let found = verdict(kind, (key_size, 8, 4), 1 << bit);
                assert_eq!(found, wanted, "{kind}: flag {bit}");
            }
            for pair in [RDONLY | WRONLY, RDONLY_PROG | WRONLY_PROG] {
                assert_eq!(verdict(kind, (key_size, 8, 4), pair), EINVAL, "{kind}: {pair:#x}");
            }
        }
    }

    #[test]
    fn numa_nodes() {
        let with = |kind, node, flags| {
            let mut spec = Spec::new(kind, 4, 8, 4).flags(flags);
            spec.numa_node = node;
            spec.validate().map_or_else(|error| error.errno(), |()| 0)
        };
        assert_eq!(with(MapType::Hash, 0, NUMA_NODE), 0);
        assert_eq!(with(MapType::Hash, 1 << 20, NUMA_NODE), EINVAL);
        assert_eq!(with(MapType::Hash, 1 << 20, 0), 0, "not meant without its flag");
        assert_eq!(with(MapType::PerCpuHash, 0, NUMA_NODE), EINVAL);
        assert_eq!(with(MapType::PerCpuHash, u32::MAX, NUMA_NODE), 0, "no node");
        assert!(list_has("0-3,8\n", 8) && list_has("0-3,8\n", 2) && !list_has("0-3,8", 4));
        assert!(list_has("0", 0) && !list_has("", 0) && !list_has("a-b", 0));
    }

    #[test]
    fn spin_locks() {
        let with = |kind: MapType, offset, flags| {
            let key_size = if kind.is_ring() { 0 } else { 4 };
            let mut spec = Spec::new(kind, key_size, 16, 4).flags(flags);
            spec.spin_lock = Some(offset);
            spec.validate().map_or_else(|error| error.errno(), |()| 0)
        };
        assert_eq!(with(MapType::Hash, 0, 0), 0);
        assert_eq!(with(MapType::Array, 12, MMAPABLE), 0);
        assert_eq!(with(MapType::Hash, 2, 0), EINVAL);
        assert_eq!(with(MapType::Hash, 16, 0), EINVAL);
        assert_eq!(with(MapType::Hash, u32::MAX - 3, 0), EINVAL);
        assert_eq!(with(MapType::PerCpuHash, 0, 0), errno::EOPNOTSUPP);
        assert_eq!(with(MapType::PerCpuArray, 0, WRONLY_PROG), errno::EACCES);
        assert_eq!(with(MapType::Queue, 0, 0), EINVAL);
        assert_eq!(with(MapType::Array, 0, RDONLY), 0);
    }

    #[test]
    fn huge_pages_are_not_taken_as_needed() {
        let with = |flags| {
            let spec = Spec::new(MapType::Hash, 4, 8, 4).flags(flags).huge_pages(true);
            spec.validate().map_or_else(|error| error.errno(), |()| 0)
        };
        assert_eq!((with(0), with(NO_PREALLOC)), (0, EINVAL));
    }

    #[test]
    fn errors_name_the_field_and_its_value() {
        let spec = Spec::new(MapType::Hash, 4, 8, 0).name("flows").unwrap();
        let error = spec.validate().unwrap_err();
        assert_eq!(error.to_string(), "map flows: max_entries is 0: at least 1");
        let mut spec = Spec::new(MapType::Queue, 0, 8, 4);
        spec.map_extra = 7;
        let error = spec.validate().unwrap_err();
        assert!(error.to_string().contains("map_extra is 7"), "{error}");
    }

    #[test]
    fn values_of_per_cpu_maps_are_padded_slots() {
        assert_eq!(Spec::new(MapType::PerCpuHash, 4, 5, 1).value_bytes(2), 16);
        assert_eq!(Spec::new(MapType::PerCpuQueue, 0, 5, 1).value_bytes(2), 5);
        assert_eq!(Spec::new(MapType::Array, 4, 5, 1).value_bytes(2), 5);
    }
}
