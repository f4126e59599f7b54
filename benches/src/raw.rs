//! Maps of bytes: what usermap's untyped map and the kernel's have in common, and the typed
//! workloads on them.
use crate::array::Slots;
use crate::keys::{Key, sum};
use crate::ring::Ring;
use crate::table::{Op, Reader, Table, Writer};
use zerocopy::IntoBytes;

/// The kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Hash,
    Array,
    PerCpuHash,
    PerCpuArray,
    Queue,
    Stack,
    PerCpuQueue,
    PerCpuStack,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [
        Kind::Hash,
        Kind::Array,
        Kind::PerCpuHash,
        Kind::PerCpuArray,
        Kind::Queue,
        Kind::Stack,
        Kind::PerCpuQueue,
        Kind::PerCpuStack,
    ];

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hash => "hash",
            Kind::Array => "array",
            Kind::PerCpuHash => "percpu_hash",
            Kind::PerCpuArray => "percpu_array",
            Kind::Queue => "queue",
            Kind::Stack => "stack",
            Kind::PerCpuQueue => "percpu_queue",
            Kind::PerCpuStack => "percpu_stack",
        }
    }

    /// Entries have keys.
    pub fn is_hash(self) -> bool {
        matches!(self, Kind::Hash | Kind::PerCpuHash)
    }

    /// Entries have indices.
    pub fn is_array(self) -> bool {
        matches!(self, Kind::Array | Kind::PerCpuArray)
    }

    /// Pushed to and popped from.
    pub fn is_ring(self) -> bool {
        !self.is_hash() && !self.is_array()
    }
}

/// Flags of update.
pub const ANY: u64 = 0;
/// Only a new key.
pub const NOEXIST: u64 = 1;
/// Only a present key; push: replaces the oldest.
pub const EXIST: u64 = 2;

/// How far a batch walk has come.
#[derive(Default)]
pub struct Walk {
    /// The token that the last call gave; `None` before the first.
    pub token: Option<[u8; 8]>,
    /// Whether the last call said that there is no more.
    pub done: bool,
}

/// A map of bytes. What returns an `Option` may be missing, and is then not measured.
#[allow(unused_variables, missing_docs)]
pub trait Raw: Sync + Sized {
    /// Its name in results.
    const NAME: &'static str;
    /// Whether [`Raw::inc`] and what else the kernel lacks is there.
    const EXTENDED: bool = false;

    fn create(kind: Kind, key_size: u32, value_size: u32, max_entries: u32) -> Option<Self>;
    /// Bytes that a lookup gives.
    fn value_bytes(&self) -> usize;
    fn lookup(&self, key: &[u8], value: &mut [u8]) -> bool;
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> bool;
    fn delete(&self, key: &[u8]) -> bool;
    fn lookup_and_delete(&self, key: &[u8], value: &mut [u8]) -> bool;
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> bool;
    fn push(&self, value: &[u8], flags: u64) -> bool;
    fn pop(&self, value: &mut [u8]) -> bool;
    fn peek(&self, value: &mut [u8]) -> bool;
    /// How many elements came.
    fn lookup_batch(
        &self,
        walk: &mut Walk,
        keys: &mut [u8],
        values: &mut [u8],
        count: u32,
        delete: bool,
    ) -> Option<u32>;
    fn update_batch(&self, keys: &[u8], values: &[u8], count: u32) -> Option<u32>;
    fn delete_batch(&self, keys: &[u8], count: u32) -> Option<u32>;

    fn inc(&self, key: &[u8], delta: u64) -> Option<()> {
        None
    }
    fn inc_and_return(&self, key: &[u8], delta: u64) -> Option<u64> {
        None
    }
    fn for_each(&self) -> Option<u64> {
        None
    }
    fn lookup_range(&self, first: &[u8], last: &[u8]) -> Option<u64> {
        None
    }
    fn update_range(&self, first: &[u8], last: &[u8], value: &[u8]) -> Option<u64> {
        None
    }
    fn delete_range(&self, first: &[u8], last: &[u8]) -> Option<u64> {
        None
    }
    /// Keeps everything.
    fn retain(&self) -> Option<u64> {
        None
    }
    fn clear(&self) -> Option<u64> {
        None
    }
    fn drain(&self) -> Option<u64> {
        None
    }
    fn len(&self) -> Option<u64> {
        None
    }
    fn info(&self) -> Option<u64> {
        None
    }
    /// As a program does: a pointer, and its first word read.
    fn program_lookup(&self, key: &[u8]) -> Option<u64> {
        None
    }
    fn program_update(&self, key: &[u8], value: &[u8]) -> Option<()> {
        None
    }
    fn program_inc(&self, key: &[u8]) -> Option<u64> {
        None
    }
    /// A pointer, and an atomic add through it.
    fn program_add(&self, key: &[u8]) -> Option<u64> {
        None
    }
}

/// A map of bytes in the place of a typed one; with `CPU` a per-CPU one.
pub struct Bytes<M, const CPU: bool>(M);

/// One thread's use of it, with room for the values of all slots.
pub struct Access<'a, M, const W: usize> {
    map: &'a M,
    values: Vec<u64>,
}

impl<M: Raw, const CPU: bool> Bytes<M, CPU> {
    fn make(kind: Kind, key_size: usize, words: usize, max_entries: usize) -> Option<Self> {
        M::create(kind, key_size as u32, words as u32 * 8, max_entries as u32).map(Bytes)
    }

    fn access<const W: usize>(&self) -> Access<'_, M, W> {
        Access { map: &self.0, values: vec![0; self.0.value_bytes() / 8] }
    }
}

impl<M: Raw, K: Key, const W: usize, const CPU: bool> Table<K, W> for Bytes<M, CPU> {
    const NAME: &'static str = M::NAME;
    type Reader<'a>
        = Access<'a, M, W>
    where
        M: 'a;
    type Writer<'a>
        = Access<'a, M, W>
    where
        M: 'a;

    fn create(max_entries: usize) -> Option<Self> {
        let kind = if CPU { Kind::PerCpuHash } else { Kind::Hash };
        Bytes::make(kind, K::SIZE, W, max_entries)
    }
    fn has(op: Op) -> bool {
        match op {
            Op::Counter | Op::CounterReturn => M::EXTENDED && W == 1,
            Op::Batch16 | Op::Batch64 => false,
            _ => true,
        }
    }
    fn reader(&self) -> Access<'_, M, W> {
        self.access()
    }
    fn writer(&self) -> Access<'_, M, W> {
        self.access()
    }
}

impl<M: Raw, const W: usize> Access<'_, M, W> {
    #[inline(always)]
    fn set(&mut self, key: &[u8], word: u64, flags: u64) -> bool {
        if self.values.len() == W {
            return self.map.update(key, [word; W].as_bytes(), flags);
        }
        self.values.fill(word);
        self.map.update(key, self.values.as_bytes(), flags)
    }
}

impl<M: Raw, K: Key, const W: usize> Reader<K> for Access<'_, M, W> {
    #[inline(always)]
    fn get(&mut self, key: &K) -> Option<u64> {
        if self.values.len() == W {
            let mut value = [0u64; W];
            let found = self.map.lookup(key.as_bytes(), value.as_mut_bytes());
            return found.then(|| sum(&value));
        }
        // Of a per-CPU map: all slots are copied, the first is looked at.
        let found = self.map.lookup(key.as_bytes(), self.values.as_mut_bytes());
        found.then(|| sum(&self.values[..W]))
    }
    #[inline(always)]
    fn add(&mut self, key: &K, delta: u64) -> bool {
        self.map.inc(key.as_bytes(), delta).is_some()
    }
    #[inline(always)]
    fn add_return(&mut self, key: &K, delta: u64) -> Option<u64> {
        self.map.inc_and_return(key.as_bytes(), delta)
    }
}

impl<M: Raw, K: Key, const W: usize> Writer<K> for Access<'_, M, W> {
    #[inline(always)]
    fn update(&mut self, key: &K, word: u64) -> bool {
        self.set(key.as_bytes(), word, ANY)
    }
    #[inline(always)]
    fn insert(&mut self, key: &K, word: u64) -> bool {
        self.set(key.as_bytes(), word, NOEXIST)
    }
    #[inline(always)]
    fn remove(&mut self, key: &K) -> bool {
        self.map.delete(key.as_bytes())
    }
}

impl<M: Raw, const W: usize, const CPU: bool> Slots<W> for Bytes<M, CPU> {
    const NAME: &'static str = M::NAME;
    const ADDS: bool = M::EXTENDED && W == 1;
    /// Of a per-CPU array only its counters are compared here.
    const COPIES: bool = !CPU;

    fn create(entries: usize) -> Option<Self> {
        let kind = if CPU { Kind::PerCpuArray } else { Kind::Array };
        Bytes::make(kind, 4, W, entries)
    }
    #[inline(always)]
    fn get(&self, index: u32) -> [u64; W] {
        let mut value = [0; W];
        self.0.lookup(index.as_bytes(), value.as_mut_bytes());
        value
    }
    #[inline(always)]
    fn set(&self, index: u32, value: &[u64; W]) -> bool {
        self.0.update(index.as_bytes(), value.as_bytes(), ANY)
    }
    #[inline(always)]
    fn add(&self, index: u32) -> bool {
        self.0.inc(index.as_bytes(), 1).is_some()
    }
}

impl<M: Raw, const W: usize, const CPU: bool> Ring<W> for Bytes<M, CPU> {
    const NAME: &'static str = M::NAME;

    fn create(capacity: usize, lifo: bool) -> Option<Self> {
        let kind = match (lifo, CPU) {
            (false, false) => Kind::Queue,
            (true, false) => Kind::Stack,
            (false, true) => Kind::PerCpuQueue,
            (true, true) => Kind::PerCpuStack,
        };
        Bytes::make(kind, 0, W, capacity)
    }
    #[inline(always)]
    fn push(&self, value: &[u64; W]) -> bool {
        self.0.push(value.as_bytes(), ANY)
    }
    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        let mut value = [0; W];
        self.0.pop(value.as_mut_bytes()).then_some(value)
    }
}
