//! Every kind and every function on small maps, with and without threads, against models from
//! `std`.
//!
//! Made to run under Miri, where `Map::create` gives maps on the heap: nothing here opens a file
//! or starts a process, and sizes and rounds are small there. Without Miri the same tests run on
//! real mappings, longer; the sanitizers run them, too.

mod array;
mod hash;
mod program;
mod ring;
mod threads;
mod typed;

use usermap::{Map, MapType, Spec};

/// Rounds of a loop: few under Miri, which is a thousand times slower.
const fn rounds(miri: usize, native: usize) -> usize {
    if cfg!(miri) { miri } else { native }
}

/// A map of this specification, on the heap or in anonymous memory.
fn create(spec: &Spec) -> Map {
    Map::create_anonymous(spec).unwrap()
}

/// The errno of a result, 0 for success.
fn errno<T>(result: usermap::Result<T>) -> i32 {
    result.map_or_else(|error| error.errno(), |_| 0)
}

/// A generator of numbers that are random enough (xorshift64*), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// Keys of which most fall into the first of the two buckets of a `ZERO_SEED` hash of 26 entries,
/// so that the 26 overflow its places and form a chain of nodes. A walk goes by buckets, so the
/// first keys of walks over several sets of keys are such keys.
fn keys_of_one_bucket() -> Vec<u32> {
    let map = create(&chained(8));
    let mut keys = Vec::new();
    for set in 0..4 {
        for key in set * 26..(set + 1) * 26 {
            map.update(&u32::to_ne_bytes(key), &[0; 8], 0).unwrap();
        }
        let mut found = Vec::new();
        map.for_each(|key, _| {
            found.push(u32::from_ne_bytes(key.try_into().unwrap()));
            found.len() < 8
        })
        .unwrap();
        keys.extend(found);
        map.clear().unwrap();
    }
    keys
}

/// What [`keys_of_one_bucket`] is for.
fn chained(value_size: u32) -> Spec {
    Spec::new(MapType::Hash, 4, value_size, 26).flags(usermap::abi::map_flags::ZERO_SEED)
}
