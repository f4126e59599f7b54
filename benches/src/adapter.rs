//! usermap: every call to it that the benchmarks make is in this file.
use crate::array::Slots;
use crate::keys::{Key, sum};
use crate::raw::{ANY, Kind, Raw, Walk};
use crate::ring::Ring;
use crate::table::{Op, Reader, Table, Writer};
use std::hint::black_box;
use usermap::{Map, MapType, Spec, Token};

fn map_type(kind: Kind) -> MapType {
    match kind {
        Kind::Hash => MapType::Hash,
        Kind::Array => MapType::Array,
        Kind::PerCpuHash => MapType::PerCpuHash,
        Kind::PerCpuArray => MapType::PerCpuArray,
        Kind::Queue => MapType::Queue,
        Kind::Stack => MapType::Stack,
        Kind::PerCpuQueue => MapType::PerCpuQueue,
        Kind::PerCpuStack => MapType::PerCpuStack,
    }
}

/// `usermap::HashMap`, with `HUGE` in pages of 2 MiB. Counters in values larger than a word go
/// through a program's pointer.
pub struct Hash<K, const W: usize, const HUGE: bool> {
    typed: usermap::HashMap<K, [u64; W]>,
    counter: Option<usermap::HashMap<K, u64>>,
    map: Map,
}

/// One thread's use of it.
pub struct HashAccess<'a, K, const W: usize> {
    typed: &'a usermap::HashMap<K, [u64; W]>,
    counter: Option<&'a usermap::HashMap<K, u64>>,
    program: usermap::Program<'a>,
    found: [Option<[u64; W]>; 64],
}

/// Below this many entries the caches hold most of a map, in whatever pages it is.
const LARGE: usize = 100_000;

impl<K: Key, const W: usize, const HUGE: bool> Table<K, W> for Hash<K, W, HUGE> {
    const NAME: &'static str = if HUGE { "usermap_2m" } else { "usermap" };
    type Reader<'a> = HashAccess<'a, K, W>;
    type Writer<'a> = HashAccess<'a, K, W>;

    fn create(max_entries: usize) -> Option<Self> {
        if HUGE && max_entries < LARGE {
            return None;
        }
        let spec = Spec::new(MapType::Hash, K::SIZE as u32, W as u32 * 8, max_entries as u32);
        let map = Map::create(&spec.huge_pages(HUGE)).expect("a hash map");
        if let Some(why_not) = HUGE.then(|| map.huge_pages().why_not()).flatten() {
            eprintln!("not all pages have 2 MiB: {why_not}");
        }
        Some(Hash {
            typed: usermap::HashMap::from_map(map.clone()).expect("its types"),
            counter: usermap::HashMap::from_map(map.clone()).ok(),
            map,
        })
    }
    fn has(op: Op) -> bool {
        W == 1 || op != Op::CounterReturn
    }
    fn reader(&self) -> HashAccess<'_, K, W> {
        let program = self.map.on_cpu(0).expect("a slot");
        HashAccess {
            typed: &self.typed,
            counter: self.counter.as_ref(),
            program,
            found: [None; 64],
        }
    }
    fn writer(&self) -> HashAccess<'_, K, W> {
        self.reader()
    }
}

impl<K: Key, const W: usize> Reader<K> for HashAccess<'_, K, W> {
    #[inline(always)]
    fn get(&mut self, key: &K) -> Option<u64> {
        self.typed.get(key).expect("get").map(|value| sum(&value))
    }
    #[inline(always)]
    fn get_many<const N: usize>(&mut self, keys: &[K; N]) -> u64 {
        let found = &mut self.found[..N];
        self.typed.get_many(keys, found).expect("get_many");
        found.iter().flatten().fold(0, |total, value| total.wrapping_add(sum(value)))
    }
    #[inline(always)]
    fn add(&mut self, key: &K, delta: u64) -> bool {
        if let Some(counter) = self.counter {
            return counter.inc(key, delta).is_ok();
        }
        let Ok(Some(pointer)) = self.program.lookup(key.as_bytes()) else { return false };
        self.program.fetch_add(pointer, 0, delta).is_ok()
    }
    #[inline(always)]
    fn add_return(&mut self, key: &K, delta: u64) -> Option<u64> {
        self.counter?.inc_and_return(key, delta).ok()
    }
}

impl<K: Key, const W: usize> Writer<K> for HashAccess<'_, K, W> {
    #[inline(always)]
    fn update(&mut self, key: &K, word: u64) -> bool {
        self.typed.insert(key, &[word; W]).is_ok()
    }
    #[inline(always)]
    fn insert(&mut self, key: &K, word: u64) -> bool {
        self.typed.insert_new(key, &[word; W]).is_ok()
    }
    #[inline(always)]
    fn remove(&mut self, key: &K) -> bool {
        self.typed.delete(key).expect("delete")
    }
}

/// `usermap::Array`.
pub struct Array<const W: usize>(usermap::Array<[u64; W]>, Option<usermap::Array<u64>>);

impl<const W: usize> Slots<W> for Array<W> {
    const NAME: &'static str = "usermap";
    const ADDS: bool = W == 1;

    fn create(entries: usize) -> Option<Self> {
        let array = usermap::Array::create(entries as u32).expect("an array");
        let numbers = usermap::Array::from_map(array.map().clone()).ok();
        Some(Array(array, numbers))
    }
    #[inline(always)]
    fn get(&self, index: u32) -> [u64; W] {
        self.0.get(index).expect("get")
    }
    #[inline(always)]
    fn set(&self, index: u32, value: &[u64; W]) -> bool {
        self.0.set(index, value).is_ok()
    }
    #[inline(always)]
    fn add(&self, index: u32) -> bool {
        self.1.as_ref().is_some_and(|numbers| numbers.inc_and_return(index, 1).is_ok())
    }
}

/// `usermap::Queue`, `usermap::Stack`.
pub enum QueueOrStack<const W: usize> {
    /// First in, first out.
    Queue(usermap::Queue<[u64; W]>),
    /// Last in, first out.
    Stack(usermap::Stack<[u64; W]>),
}

impl<const W: usize> Ring<W> for QueueOrStack<W> {
    const NAME: &'static str = "usermap";

    fn create(capacity: usize, lifo: bool) -> Option<Self> {
        let capacity = capacity as u32;
        Some(match lifo {
            false => QueueOrStack::Queue(usermap::Queue::create(capacity).expect("a queue")),
            true => QueueOrStack::Stack(usermap::Stack::create(capacity).expect("a stack")),
        })
    }
    #[inline(always)]
    fn push(&self, value: &[u64; W]) -> bool {
        match self {
            QueueOrStack::Queue(queue) => queue.push(value).is_ok(),
            QueueOrStack::Stack(stack) => stack.push(value).is_ok(),
        }
    }
    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        match self {
            QueueOrStack::Queue(queue) => queue.pop().expect("pop"),
            QueueOrStack::Stack(stack) => stack.pop().expect("pop"),
        }
    }
}

/// The untyped map.
impl Raw for Map {
    const NAME: &'static str = "usermap_map";
    const EXTENDED: bool = true;

    fn create(kind: Kind, key_size: u32, value_size: u32, max_entries: u32) -> Option<Self> {
        let spec = Spec::new(map_type(kind), key_size, value_size, max_entries);
        Some(Map::create(&spec).expect("a map"))
    }
    fn value_bytes(&self) -> usize {
        Map::value_bytes(self)
    }
    #[inline(always)]
    fn lookup(&self, key: &[u8], value: &mut [u8]) -> bool {
        Map::lookup(self, key, value, 0).is_ok()
    }
    #[inline(always)]
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> bool {
        Map::update(self, key, value, flags).is_ok()
    }
    #[inline(always)]
    fn delete(&self, key: &[u8]) -> bool {
        Map::delete(self, key).is_ok()
    }
    #[inline(always)]
    fn lookup_and_delete(&self, key: &[u8], value: &mut [u8]) -> bool {
        Map::lookup_and_delete(self, key, value, 0).is_ok()
    }
    #[inline(always)]
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> bool {
        self.get_next_key(key, next).is_ok()
    }
    #[inline(always)]
    fn push(&self, value: &[u8], flags: u64) -> bool {
        Map::push(self, value, flags).is_ok()
    }
    #[inline(always)]
    fn pop(&self, value: &mut [u8]) -> bool {
        Map::pop(self, value, 0).is_ok()
    }
    #[inline(always)]
    fn peek(&self, value: &mut [u8]) -> bool {
        Map::peek(self, value, 0).is_ok()
    }

    fn lookup_batch(
        &self,
        walk: &mut Walk,
        keys: &mut [u8],
        values: &mut [u8],
        count: u32,
        delete: bool,
    ) -> Option<u32> {
        let from = walk.token.map(|[a, b, c, d, ..]| Token::from(u32::from_ne_bytes([a, b, c, d])));
        let keys = &mut keys[..self.spec().key_size as usize * count as usize];
        let values = &mut values[..Map::value_bytes(self) * count as usize];
        let batch = match delete {
            false => Map::lookup_batch(self, from, keys, values, 0),
            true => self.lookup_and_delete_batch(from, keys, values, 0),
        };
        let count = batch.count;
        let next = batch.advance().ok()?.map(u32::from);
        walk.done = next.is_none();
        walk.token = next.map(|next| u64::from(next).to_ne_bytes());
        Some(count)
    }
    fn update_batch(&self, keys: &[u8], values: &[u8], _: u32) -> Option<u32> {
        let batch = Map::update_batch(self, keys, values, ANY);
        batch.result.is_ok().then_some(batch.count)
    }
    fn delete_batch(&self, keys: &[u8], _: u32) -> Option<u32> {
        let batch = Map::delete_batch(self, keys, 0);
        batch.result.is_ok().then_some(batch.count)
    }

    #[inline(always)]
    fn inc(&self, key: &[u8], delta: u64) -> Option<()> {
        Map::inc(self, key, delta, ANY).ok()
    }
    #[inline(always)]
    fn inc_and_return(&self, key: &[u8], delta: u64) -> Option<u64> {
        Map::inc_and_return(self, key, delta, ANY).ok()
    }
    fn for_each(&self) -> Option<u64> {
        Map::for_each(self, |key, value| black_box((key, value)).0.len() < 1 << 20).ok()
    }
    fn lookup_range(&self, first: &[u8], last: &[u8]) -> Option<u64> {
        Map::lookup_range(self, first, last, |key, value| black_box((key, value)).0.len() < 1 << 20)
            .ok()
    }
    fn update_range(&self, first: &[u8], last: &[u8], value: &[u8]) -> Option<u64> {
        Map::update_range(self, first, last, value).ok()
    }
    fn delete_range(&self, first: &[u8], last: &[u8]) -> Option<u64> {
        Map::delete_range(self, first, last).ok()
    }
    fn retain(&self) -> Option<u64> {
        Map::retain(self, |key, value| black_box((key, value)).0.len() < 1 << 20).ok()
    }
    fn clear(&self) -> Option<u64> {
        Map::clear(self).ok()
    }
    fn drain(&self) -> Option<u64> {
        let mut bytes = 0;
        Map::drain(self, |_, value| bytes += black_box(value).len()).ok()
    }
    #[inline(always)]
    fn len(&self) -> Option<u64> {
        Some(Map::len(self))
    }
    fn info(&self) -> Option<u64> {
        Some(Map::info(self).entries)
    }

    #[inline(always)]
    fn program_lookup(&self, key: &[u8]) -> Option<u64> {
        let program = self.on_cpu(0).ok()?;
        let pointer = program.lookup(key).ok()??;
        let mut word = [0; 8];
        program.load(pointer, 0, &mut word).ok()?;
        Some(u64::from_ne_bytes(word))
    }
    #[inline(always)]
    fn program_update(&self, key: &[u8], value: &[u8]) -> Option<()> {
        self.on_cpu(0).ok()?.update(key, value, ANY).ok()
    }
    #[inline(always)]
    fn program_inc(&self, key: &[u8]) -> Option<u64> {
        self.on_cpu(0).ok()?.inc_and_return(key, 1, ANY).ok()
    }
    #[inline(always)]
    fn program_add(&self, key: &[u8]) -> Option<u64> {
        let program = self.on_cpu(0).ok()?;
        let pointer = program.lookup(key).ok()??;
        program.fetch_add(pointer, 0, 1).ok()
    }
}
