//! What is measured: maps full of entries with 4-byte keys and 8-byte values, picked at random.

use super::Row;
use super::measure::{Outcome, Work, measure};
use std::cell::Cell;
use std::fmt::Display;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use usermap::{Array, HashMap, KernelMap, MapType, PerCpuArray, PerCpuHashMap, Queue, Stack};

/// Rows that [`all`] measures; it says so after each.
pub const COUNT: u64 = 26;

/// Picks are repeated after so many; a power of two.
const PICKS: usize = 1 << 16;
/// Keys of a call that looks up many.
const MANY: usize = 64;

/// Measures everything; gives the rows, and why the kernel's maps are not there if they are not.
pub fn all(advance: &dyn Fn()) -> Result<(Vec<Row>, Option<String>), String> {
    let kernel = KernelMap::create(MapType::Array, 4, 8, 1);
    let refusal = kernel.as_ref().err().map(|error| format!("bpf(2): {error}"));
    let bench = Bench { rows: Cell::default(), kernel: refusal.is_none(), advance };
    for entries in [1_000, 1_000_000] {
        bench.hash(entries)?;
    }
    bench.per_cpu_hash(1_000)?;
    for entries in [1_000, 1_000_000] {
        bench.array(entries)?;
    }
    bench.per_cpu_array(1_000)?;
    bench.rings(1_000)?;
    Ok((bench.rows.into_inner(), refusal))
}

struct Bench<'b> {
    rows: Cell<Vec<Row>>,
    kernel: bool,
    advance: &'b dyn Fn(),
}

/// The key of an entry: numbers that look random, none twice.
fn key(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B1)
}

/// Numbers of entries, at random (xorshift).
fn picks(entries: u32) -> Vec<u32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (((state >> 32) * u64::from(entries)) >> 32) as u32
    };
    (0..PICKS).map(|_| next()).collect()
}

/// An array of as many bytes as keys and values have: the limit.
struct Limit(Vec<AtomicU64>);

impl Limit {
    fn new(entries: u32) -> Limit {
        Limit((0..2 * entries as usize).map(|_| AtomicU64::new(0)).collect())
    }

    fn read<'w>(&'w self, picks: &'w [u32]) -> Option<Work<'w>> {
        each(picks, |pick| {
            black_box(self.0[2 * pick as usize].load(Relaxed));
            Ok::<_, String>(())
        })
    }

    fn add<'w>(&'w self, picks: &'w [u32]) -> Option<Work<'w>> {
        each(picks, |pick| {
            self.0[2 * pick as usize].fetch_add(1, Relaxed);
            Ok::<_, String>(())
        })
    }
}

/// Does something with one pick after the other; threads start at different ones.
fn each<'w, E: Display>(
    picks: &'w [u32],
    operation: impl Fn(u32) -> Result<(), E> + Sync + 'w,
) -> Option<Work<'w>> {
    Some(Box::new(move |count, thread| {
        let start = thread * PICKS / 2;
        for at in start..start + count as usize {
            operation(picks[at % PICKS]).map_err(|error| error.to_string())?;
        }
        Ok(())
    }))
}

impl Bench<'_> {
    fn row(
        &self,
        what: (&'static str, u32, usize, &'static str),
        usermap: Option<Work<'_>>,
        kernel: Option<Work<'_>>,
        limit: Option<Work<'_>>,
    ) -> Outcome {
        let (kind, entries, threads, operation) = what;
        let times = measure(&[usermap, kernel, limit], threads)?;
        let [Some(usermap), kernel, Some(limit)] = times[..] else {
            return Err("a contender is missing".to_owned());
        };
        let mut rows = self.rows.take();
        rows.push(Row { kind, entries, threads, operation, usermap, kernel, limit });
        self.rows.set(rows);
        (self.advance)();
        Ok(())
    }

    /// A map of the kernel with these entries, where that is allowed.
    fn kernel(&self, map_type: MapType, entries: u32) -> Result<Option<KernelMap>, String> {
        if !self.kernel {
            return Ok(None);
        }
        let key_size = if map_type.is_ring() { 0 } else { 4 };
        let map = KernelMap::create(map_type, key_size, 8, entries).map_err(text)?;
        if map_type.is_hash() {
            let numbers: Vec<u32> = (0..entries).collect();
            for numbers in numbers.chunks(4096) {
                let keys: Vec<u8> =
                    numbers.iter().flat_map(|number| key(*number).to_ne_bytes()).collect();
                let values = vec![0; numbers.len() * map.value_bytes()];
                map.update_batch(&keys, &values).map_err(text)?;
            }
        }
        Ok(Some(map))
    }

    fn hash(&self, entries: u32) -> Outcome {
        let (picks, limit) = (picks(entries), Limit::new(entries));
        let map = HashMap::<u32, u64>::create(entries).map_err(text)?;
        for number in 0..entries {
            map.insert(&key(number), &0).map_err(text)?;
        }
        let kernel = self.kernel(MapType::Hash, entries)?;
        let kernel = kernel.as_ref();
        let (picks, limit, map) = (&picks[..], &limit, &map);
        let look_up = |absent: u32| {
            each(picks, move |pick| {
                let value = map.get(&key(pick + absent))?;
                match value.is_some() == (absent == 0) {
                    true => Ok(_ = black_box(value)),
                    false => Err(map.map().lookup(&[], &mut [], 0).unwrap_err()),
                }
            })
        };
        let kernel_look_up = |absent: u32| {
            let map = kernel?;
            each(picks, move |pick| {
                let found = map.lookup(&key(pick + absent).to_ne_bytes(), &mut [0; 8]);
                if absent == 0 { found } else { Ok(()) }
            })
        };
        let increment = || each(picks, move |pick| map.inc(&key(pick), 1));
        let row = |threads, operation| ("hash", entries, threads, operation);
        self.row(row(1, "lookup"), look_up(0), kernel_look_up(0), limit.read(picks))?;
        self.row(
            row(1, "lookup of an absent key"),
            look_up(entries),
            kernel_look_up(entries),
            limit.read(picks),
        )?;
        self.row(row(1, "lookup, 64 a call"), look_up_many(map, picks), None, limit.read(picks))?;
        self.row(
            row(1, "update"),
            each(picks, |pick| map.insert(&key(pick), &u64::from(pick))),
            kernel.and_then(|map| {
                each(picks, |pick| map.update(&key(pick).to_ne_bytes(), &[1; 8], 0))
            }),
            limit.add(picks),
        )?;
        self.row(row(1, "inc"), increment(), None, limit.add(picks))?;
        self.row(
            row(1, "delete, insert"),
            each(picks, |pick| {
                map.delete(&key(pick))?;
                map.insert_new(&key(pick), &1)
            }),
            kernel.and_then(|map| {
                each(picks, |pick| {
                    map.delete(&key(pick).to_ne_bytes())?;
                    map.update(&key(pick).to_ne_bytes(), &[1; 8], 1)
                })
            }),
            limit.add(picks),
        )?;
        if entries == 1_000 {
            self.row(row(2, "lookup"), look_up(0), kernel_look_up(0), limit.read(picks))?;
            self.row(row(2, "inc"), increment(), None, limit.add(picks))?;
        }
        Ok(())
    }

    fn per_cpu_hash(&self, entries: u32) -> Outcome {
        let (picks, limit) = (picks(entries), Limit::new(entries));
        let map = PerCpuHashMap::<u32, u64>::create(entries).map_err(text)?;
        for number in 0..entries {
            map.insert_own(&key(number), &0).map_err(text)?;
        }
        let increment = each(&picks, |pick| map.inc(&key(pick), 1));
        self.row(("percpu_hash", entries, 1, "inc"), increment, None, limit.add(&picks))
    }

    fn array(&self, entries: u32) -> Outcome {
        let (picks, limit) = (picks(entries), Limit::new(entries));
        let map = Array::<u64>::create(entries).map_err(text)?;
        let kernel = self.kernel(MapType::Array, entries)?;
        let row = |operation| ("array", entries, 1, operation);
        self.row(
            row("lookup"),
            each(&picks, |pick| map.get(pick).map(|value| _ = black_box(value))),
            kernel
                .as_ref()
                .and_then(|map| each(&picks, |pick| map.lookup(&pick.to_ne_bytes(), &mut [0; 8]))),
            limit.read(&picks),
        )?;
        self.row(
            row("update"),
            each(&picks, |pick| map.set(pick, &1)),
            kernel
                .as_ref()
                .and_then(|map| each(&picks, |pick| map.update(&pick.to_ne_bytes(), &[1; 8], 0))),
            limit.add(&picks),
        )?;
        self.row(row("inc"), each(&picks, |pick| map.inc(pick, 1)), None, limit.add(&picks))
    }

    fn per_cpu_array(&self, entries: u32) -> Outcome {
        let (picks, limit) = (picks(entries), Limit::new(entries));
        let map = PerCpuArray::<u64>::create(entries).map_err(text)?;
        let increment = each(&picks, |pick| map.inc(pick, 1));
        self.row(("percpu_array", entries, 1, "inc"), increment, None, limit.add(&picks))
    }

    /// A push and a pop each, of a ring that is half full.
    fn rings(&self, entries: u32) -> Outcome {
        let (picks, limit) = (vec![0; PICKS], Limit::new(1));
        let queue = Queue::<u64>::create(entries).map_err(text)?;
        let stack = Stack::<u64>::create(entries).map_err(text)?;
        let kernel = [self.kernel(MapType::Queue, entries)?, self.kernel(MapType::Stack, entries)?];
        for number in 0..u64::from(entries / 2) {
            queue.push(&number).map_err(text)?;
            stack.push(&number).map_err(text)?;
            for map in kernel.iter().flatten() {
                map.update(&[], &number.to_ne_bytes(), 0).map_err(text)?;
            }
        }
        let in_kernel = |at: usize| {
            let map = kernel[at].as_ref()?;
            each(&picks, move |_| {
                map.update(&[], &[1; 8], 0)?;
                map.lookup_and_delete(&[], &mut [0; 8])
            })
        };
        for threads in [1, 2] {
            let work = each(&picks, |_| {
                queue.push(&1)?;
                queue.pop().map(|value| _ = black_box(value))
            });
            let row = ("queue", entries, threads, "push, pop");
            self.row(row, work, in_kernel(0), limit.add(&picks))?;
            let work = each(&picks, |_| {
                stack.push(&1)?;
                stack.pop().map(|value| _ = black_box(value))
            });
            let row = ("stack", entries, threads, "push, pop");
            self.row(row, work, in_kernel(1), limit.add(&picks))?;
        }
        Ok(())
    }
}

/// Time is per key, not per call.
fn look_up_many<'w>(map: &'w HashMap<u32, u64>, picks: &[u32]) -> Option<Work<'w>> {
    let keys: Vec<u32> = picks.iter().map(|pick| key(*pick)).collect();
    Some(Box::new(move |count, _| {
        let mut values = [None; MANY];
        for call in 0..(count as usize).div_ceil(MANY) {
            let start = call * MANY % PICKS;
            map.get_many(&keys[start..start + MANY], &mut values).map_err(text)?;
            black_box(&values);
        }
        Ok(())
    }))
}

fn text(error: impl Display) -> String {
    error.to_string()
}
