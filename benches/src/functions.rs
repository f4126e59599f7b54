//! Every function of the untyped map on every kind, one by one; the kernel's beside those that it
//! has too.
use crate::harness::Clock;
use crate::keys::{Generator, Keys, Random4, Random16};
use crate::raw::{ANY, EXIST, Kind, Raw, Walk};
use std::hint::black_box;
use std::time::Duration;
use zerocopy::IntoBytes;

/// Elements in one batch call.
const BATCH: usize = 64;

/// A full map and what its functions are called with.
pub struct Subject<M> {
    map: M,
    kind: Kind,
    key_size: usize,
    entries: usize,
    /// All keys, one after another.
    keys: Vec<u8>,
    /// Numbers of keys, at random.
    order: Vec<u32>,
    next: usize,
    /// Values for a batch.
    values: Vec<u8>,
    /// One value of one slot, as programs write it.
    small: Vec<u8>,
}

/// How much was done, and how long it took without what had to be prepared.
type Done = Option<(u64, Duration)>;

/// A function: its name, the kinds that have it, and about so many calls of it.
pub struct Function<M> {
    /// Its name in results.
    pub name: &'static str,
    /// Whether a kind has it.
    pub on: fn(Kind) -> bool,
    /// Whether it needs values that are counters.
    pub counts: bool,
    /// Performs it.
    pub run: fn(&mut Subject<M>, u64) -> Done,
}

fn timed(done: u64, work: impl FnOnce() -> bool) -> Done {
    let start = Clock::start();
    let good = work();
    good.then(|| (done, start.elapsed()))
}

/// All of something: the function says how many.
fn whole(work: impl FnOnce() -> Option<u64>) -> Done {
    let start = Clock::start();
    let done = work()?;
    Some((done, start.elapsed()))
}

impl<M: Raw> Subject<M> {
    /// A map with `entries` entries (a per-CPU ring: in each slot), full.
    pub fn new(kind: Kind, key_size: usize, value_size: usize, entries: usize) -> Option<Self> {
        let size = if kind.is_ring() {
            0
        } else if kind.is_array() {
            4
        } else {
            key_size
        };
        let map = M::create(kind, size as u32, value_size as u32, entries as u32)?;
        let mut keys = Vec::with_capacity(size * entries);
        for i in 0..if size == 0 { 0 } else { entries as u32 } {
            match (kind.is_array(), size) {
                (true, _) => keys.extend(i.as_bytes()),
                (_, 4) => keys.extend(Random4::key(i).as_bytes()),
                _ => keys.extend(Random16::key(i).as_bytes()),
            }
        }
        let mut generator = Generator::new(5);
        let order = (0..1 << 16).map(|_| generator.below(entries as u64) as u32).collect();
        let values = vec![1; map.value_bytes() * BATCH];
        let small = vec![1; value_size];
        let mut subject =
            Subject { map, kind, key_size: size, entries, keys, order, next: 0, values, small };
        subject.fill();
        Some(subject)
    }

    /// Fills it up, whatever is missing.
    fn fill(&mut self) {
        let value = &self.values[..self.map.value_bytes()];
        if self.kind.is_ring() {
            while self.map.push(value, ANY) {}
            return;
        }
        for key in self.keys.chunks_exact(self.key_size) {
            assert!(self.map.update(key, value, ANY), "{}: filling", M::NAME);
        }
    }

    /// Calls `f` with `count` keys at random, until it returns false.
    fn keys(&mut self, count: u64, mut f: impl FnMut(&M, &[u8]) -> bool) -> Done {
        let start = Clock::start();
        for _ in 0..count {
            let at = self.order[self.next % self.order.len()] as usize * self.key_size;
            self.next += 1;
            if !f(&self.map, &self.keys[at..at + self.key_size]) {
                return None;
            }
        }
        Some((count, start.elapsed()))
    }

    /// Calls `f` with the keys of `count` batches' elements, neighbours in the order of filling.
    fn batches(&mut self, count: u64, mut f: impl FnMut(&M, &[u8]) -> bool) -> Done {
        let (bytes, pieces) = (BATCH * self.key_size, self.entries / BATCH);
        let start = Clock::start();
        for _ in 0..count.div_ceil(BATCH as u64) {
            let at = self.next % pieces * bytes;
            self.next += 1;
            if !f(&self.map, &self.keys[at..at + bytes]) {
                return None;
            }
        }
        Some((count.next_multiple_of(BATCH as u64), start.elapsed()))
    }

    /// Walks through `count` elements in batches, or all.
    fn walk(&mut self, count: u64, delete: bool) -> Done {
        // A bucket of the kernel's may have more entries than are asked for: there is room.
        let mut keys = vec![0; self.key_size * BATCH];
        let mut walk = Walk::default();
        let start = Clock::start();
        let mut seen = 0;
        while seen < count && !walk.done {
            let values = &mut self.values;
            let got = self.map.lookup_batch(&mut walk, &mut keys, values, BATCH as u32, delete)?;
            seen += u64::from(got);
        }
        Some((seen, start.elapsed()))
    }

    /// The range's ends: all of an array, about 1 % of the keys of a hash.
    fn range(&self) -> (Vec<u8>, Vec<u8>) {
        if self.kind.is_array() {
            let last = self.entries as u32 - 1;
            return (0u32.as_bytes().to_vec(), last.as_bytes().to_vec());
        }
        let mut ends = (vec![0; self.key_size], vec![255; self.key_size]);
        (ends.0[0], ends.1[0]) = (0x40, 0x42);
        ends
    }

    /// Calls `f` with a range; counted are the entries of the map.
    fn ranges(&mut self, f: impl FnOnce(&M, &[u8], &[u8]) -> Option<u64>) -> Done {
        let (first, last) = self.range();
        whole(|| f(&self.map, &first, &last).map(|_| self.entries as u64))
    }
}

fn keyed(kind: Kind) -> bool {
    !kind.is_ring()
}

fn summed(kind: Kind) -> bool {
    keyed(kind)
}

/// What there is to measure.
pub fn functions<M: Raw>() -> Vec<Function<M>> {
    let plain = |name, on, run| Function { name, on, counts: false, run };
    let counter = |name, run| Function { name, on: summed, counts: true, run };
    vec![
        plain("lookup", keyed, |subject, count| {
            let mut value = vec![0; subject.map.value_bytes()];
            subject.keys(count, |map, key| map.lookup(key, &mut value))
        }),
        plain("update", keyed, |subject, count| {
            let value = subject.values[..subject.map.value_bytes()].to_vec();
            subject.keys(count, |map, key| map.update(key, &value, ANY))
        }),
        plain("update_exist", keyed, |subject, count| {
            let value = subject.values[..subject.map.value_bytes()].to_vec();
            subject.keys(count, |map, key| map.update(key, &value, EXIST))
        }),
        plain("delete+update", Kind::is_hash, |subject, count| {
            let value = subject.values[..subject.map.value_bytes()].to_vec();
            subject.keys(count, |map, key| map.delete(key) && map.update(key, &value, ANY))
        }),
        plain("lookup_and_delete+update", Kind::is_hash, |subject, count| {
            let mut value = vec![0; subject.map.value_bytes()];
            subject.keys(count, |map, key| {
                map.lookup_and_delete(key, &mut value) && map.update(key, &value, ANY)
            })
        }),
        plain("get_next_key", keyed, |subject, count| {
            let (mut key, mut next) = (vec![0; subject.key_size], vec![0; subject.key_size]);
            let count = count.min(subject.entries as u64);
            timed(count, || {
                let mut good = subject.map.next_key(None, &mut key);
                for _ in 1..count {
                    good &= subject.map.next_key(Some(&key), &mut next);
                    std::mem::swap(&mut key, &mut next);
                }
                good
            })
        }),
        plain("for_each", keyed, |subject, _| whole(|| subject.map.for_each())),
        plain("lookup_batch", keyed, |subject, count| subject.walk(count, false)),
        plain("update_batch", keyed, |subject, count| {
            let values = subject.values.clone();
            subject.batches(count, |map, keys| {
                map.update_batch(keys, &values, BATCH as u32) == Some(BATCH as u32)
            })
        }),
        plain("delete_batch+update_batch", Kind::is_hash, |subject, count| {
            let values = subject.values.clone();
            subject.batches(count, |map, keys| {
                map.delete_batch(keys, BATCH as u32) == Some(BATCH as u32)
                    && map.update_batch(keys, &values, BATCH as u32) == Some(BATCH as u32)
            })
        }),
        plain("lookup_and_delete_batch", Kind::is_hash, |subject, count| {
            let done = subject.walk(count, true);
            subject.fill();
            done
        }),
        plain("lookup_range", keyed, |subject, _| subject.ranges(M::lookup_range)),
        plain("update_range", keyed, |subject, _| {
            let value = subject.values[..subject.map.value_bytes()].to_vec();
            subject.ranges(|map, first, last| map.update_range(first, last, &value))
        }),
        plain("delete_range", keyed, |subject, _| {
            let done = subject.ranges(M::delete_range);
            subject.fill();
            done
        }),
        plain("retain", Kind::is_hash, |subject, _| {
            let entries = subject.entries as u64;
            whole(|| subject.map.retain().map(|_| entries))
        }),
        plain("clear", Kind::is_hash, |subject, _| {
            let done = whole(|| subject.map.clear());
            subject.fill();
            done
        }),
        counter("inc", |subject, count| subject.keys(count, |map, key| map.inc(key, 1).is_some())),
        counter("inc_and_return", |subject, count| {
            subject.keys(count, |map, key| map.inc_and_return(key, 1).is_some())
        }),
        plain("program_lookup", keyed, |subject, count| {
            subject.keys(count, |map, key| black_box(map.program_lookup(key)).is_some())
        }),
        plain("program_update", keyed, |subject, count| {
            let value = subject.small.clone();
            subject.keys(count, |map, key| map.program_update(key, &value).is_some())
        }),
        counter("program_inc_and_return", |subject, count| {
            subject.keys(count, |map, key| map.program_inc(key).is_some())
        }),
        plain("program_lookup+add", keyed, |subject, count| {
            subject.keys(count, |map, key| map.program_add(key).is_some())
        }),
        plain("push+pop", Kind::is_ring, |subject, count| {
            let mut value = subject.small.clone();
            timed(count, || {
                (0..count).all(|_| subject.map.pop(&mut value) && subject.map.push(&value, ANY))
            })
        }),
        plain("push_replacing", Kind::is_ring, |subject, count| {
            let value = subject.small.clone();
            timed(count, || (0..count).all(|_| subject.map.push(&value, EXIST)))
        }),
        plain("push_refused", Kind::is_ring, |subject, count| {
            let value = subject.small.clone();
            timed(count, || (0..count).all(|_| !subject.map.push(&value, ANY)))
        }),
        plain("peek", Kind::is_ring, |subject, count| {
            let mut value = subject.small.clone();
            timed(count, || (0..count).all(|_| subject.map.peek(&mut value)))
        }),
        plain("drain", Kind::is_ring, |subject, _| {
            let done = whole(|| subject.map.drain());
            subject.fill();
            done
        }),
        plain(
            "len",
            |_| true,
            |subject, count| {
                timed(count, || (0..count).all(|_| black_box(subject.map.len()).is_some()))
            },
        ),
        plain(
            "info",
            |_| true,
            |subject, count| {
                timed(count, || (0..count).all(|_| black_box(subject.map.info()).is_some()))
            },
        ),
    ]
}
