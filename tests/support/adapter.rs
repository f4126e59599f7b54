//! The one place that knows how usermap spells its batches and its typed maps: everything else in
//! the tests calls these functions. To follow a change of that API, change this file.

/// Batches of a usermap map in the shape in which bpf(2) has them.
pub mod batch {
    use crate::sys::Batch;
    use usermap::abi::errno::{EINVAL, ENOENT, ENOSPC, ENOTSUPP, EPERM};
    use usermap::{Map, Token};

    fn errno(result: &usermap::Result<()>) -> i32 {
        result.as_ref().err().map_or(0, |error| error.errno())
    }

    /// `BPF_MAP_LOOKUP_BATCH`, or `BPF_MAP_LOOKUP_AND_DELETE_BATCH` if `delete`.
    pub fn lookup(
        map: &Map,
        token: Option<&[u8]>,
        token_bytes: usize,
        count: u32,
        delete: bool,
        elem_flags: u64,
        flags: u64,
    ) -> Batch {
        let mut batch = Batch { count, token: vec![0xAA; token_bytes], ..Batch::default() };
        batch.keys = vec![0xAA; map.spec().key_size as usize * count as usize];
        batch.values = vec![0xAA; map.value_bytes() * count as usize];
        let from = token.and_then(|token| Some(u32::from_ne_bytes(token.try_into().ok()?)));
        let from = from.map(Token::from);
        // usermap's function has no flags of the batch; only hashes look at them, and want none.
        if flags != 0 && map.spec().map_type.is_hash() {
            let frozen = delete && map.is_frozen();
            let may = match map.access() {
                usermap::Access::ReadWrite => !frozen,
                usermap::Access::ReadOnly => !delete,
                usermap::Access::WriteOnly => false,
            };
            batch.errno = if may { EINVAL } else { EPERM };
            return batch;
        }
        let (keys, values) = (&mut batch.keys, &mut batch.values);
        let done = match delete {
            false => map.lookup_batch(from, keys, values, elem_flags),
            true => map.lookup_and_delete_batch(from, keys, values, elem_flags),
        };
        batch.errno = errno(&done.result);
        // bpf(2) leaves the attribute alone where it refuses a call before it starts.
        if [EINVAL, EPERM, ENOTSUPP].contains(&batch.errno) {
            return batch;
        }
        batch.count = done.count;
        if let Some(next) = done.next {
            batch.token = u32::from(next).to_ne_bytes().to_vec();
        }
        let told = [0, ENOENT, ENOSPC].contains(&batch.errno);
        if told {
            batch.keys.truncate(map.spec().key_size as usize * batch.count as usize);
            batch.values.truncate(map.value_bytes() * batch.count as usize);
        }
        batch
    }

    /// `BPF_MAP_UPDATE_BATCH`, or without values `BPF_MAP_DELETE_BATCH`.
    pub fn write(
        map: &Map,
        keys: &[u8],
        values: Option<&[u8]>,
        count: u32,
        elem_flags: u64,
        _flags: u64,
    ) -> Batch {
        let keys = &keys[..map.spec().key_size as usize * count as usize];
        let done = match values {
            Some(values) => {
                let values = &values[..map.value_bytes() * count as usize];
                map.update_batch(keys, values, elem_flags)
            }
            None => map.delete_batch(keys, elem_flags),
        };
        let errno = errno(&done.result);
        let refused = [EINVAL, EPERM, ENOTSUPP].contains(&errno);
        let count = if refused { count } else { done.count };
        Batch { errno, count, ..Batch::default() }
    }
}

/// Typed maps, all over `u64` keys and values.
pub mod typed {
    use usermap::{
        Array, HashMap, Map, PerCpuArray, PerCpuHashMap, PerCpuQueue, PerCpuStack, Queue, Result,
        Stack,
    };

    /// An array's index past the end as a missing key.
    fn found<T>(result: Result<T>) -> Result<Option<T>> {
        match result {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// A typed map of each kind with keys.
    pub enum Keyed {
        /// `HashMap<u64, u64>`
        Hash(HashMap<u64, u64>),
        /// `PerCpuHashMap<u64, u64>`
        PerCpuHash(PerCpuHashMap<u64, u64>),
        /// `Array<u64>`
        Array(Array<u64>),
        /// `PerCpuArray<u64>`
        PerCpuArray(PerCpuArray<u64>),
    }

    impl Keyed {
        /// The typed map of this untyped one; an error if the types don't fit.
        pub fn of(map: Map) -> Result<Keyed> {
            Ok(match map.spec().map_type {
                usermap::MapType::Hash => Keyed::Hash(map.try_into()?),
                usermap::MapType::PerCpuHash => Keyed::PerCpuHash(map.try_into()?),
                usermap::MapType::Array => Keyed::Array(map.try_into()?),
                _ => Keyed::PerCpuArray(map.try_into()?),
            })
        }

        /// The values of all slots (one if the kind is not per CPU), or nothing.
        pub fn get(&self, key: u64) -> Result<Option<Vec<u64>>> {
            match self {
                Keyed::Hash(map) => Ok(map.get(&key)?.map(|value| vec![value])),
                Keyed::PerCpuHash(map) => Ok(map.get(&key)?.map(Vec::from)),
                Keyed::Array(map) => found(map.get(key as u32).map(|value| vec![value])),
                Keyed::PerCpuArray(map) => found(map.get(key as u32).map(Vec::from)),
            }
        }

        /// Creates or replaces.
        pub fn insert(&self, key: u64, values: &[u64]) -> Result<()> {
            match self {
                Keyed::Hash(map) => map.insert(&key, &values[0]),
                Keyed::PerCpuHash(map) => map.insert(&key, values),
                Keyed::Array(map) => map.set(key as u32, &values[0]),
                Keyed::PerCpuArray(map) => map.set(key as u32, values),
            }
        }

        /// Removes and gives what was there; arrays refuse.
        pub fn remove(&self, key: u64) -> Option<Result<Option<Vec<u64>>>> {
            match self {
                Keyed::Hash(map) => {
                    Some(map.remove(&key).map(|value| value.map(|value| vec![value])))
                }
                Keyed::PerCpuHash(map) => {
                    Some(map.remove(&key).map(|values| values.map(Vec::from)))
                }
                Keyed::Array(_) | Keyed::PerCpuArray(_) => None,
            }
        }

        /// How many entries there are.
        pub fn len(&self) -> u64 {
            match self {
                Keyed::Hash(map) => map.len(),
                Keyed::PerCpuHash(map) => map.len(),
                Keyed::Array(map) => map.len(),
                Keyed::PerCpuArray(map) => map.len(),
            }
        }

        /// Whether there are none.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    /// A typed map of each kind without keys.
    pub enum Ring {
        /// `Queue<u64>`
        Queue(Queue<u64>),
        /// `Stack<u64>`
        Stack(Stack<u64>),
        /// `PerCpuQueue<u64>`
        PerCpuQueue(PerCpuQueue<u64>),
        /// `PerCpuStack<u64>`
        PerCpuStack(PerCpuStack<u64>),
    }

    impl Ring {
        /// The typed map of this untyped one; an error if the type doesn't fit.
        pub fn of(map: Map) -> Result<Ring> {
            Ok(match map.spec().map_type {
                usermap::MapType::Queue => Ring::Queue(map.try_into()?),
                usermap::MapType::Stack => Ring::Stack(map.try_into()?),
                usermap::MapType::PerCpuQueue => Ring::PerCpuQueue(map.try_into()?),
                _ => Ring::PerCpuStack(map.try_into()?),
            })
        }

        /// Pushes, on one slot if the kind is per CPU.
        pub fn push(&self, cpu: u32, value: u64) -> Result<()> {
            match self {
                Ring::Queue(map) => map.push(&value),
                Ring::Stack(map) => map.push(&value),
                Ring::PerCpuQueue(map) => map.push_on(cpu, &value),
                Ring::PerCpuStack(map) => map.push_on(cpu, &value),
            }
        }

        /// Pops, or nothing.
        pub fn pop(&self, cpu: u32) -> Result<Option<u64>> {
            match self {
                Ring::Queue(map) => map.pop(),
                Ring::Stack(map) => map.pop(),
                Ring::PerCpuQueue(map) => map.pop_on(cpu),
                Ring::PerCpuStack(map) => map.pop_on(cpu),
            }
        }

        /// Peeks, or nothing.
        pub fn peek(&self, cpu: u32) -> Result<Option<u64>> {
            match self {
                Ring::Queue(map) => map.peek(),
                Ring::Stack(map) => map.peek(),
                Ring::PerCpuQueue(map) => map.peek_on(cpu),
                Ring::PerCpuStack(map) => map.peek_on(cpu),
            }
        }
    }
}
