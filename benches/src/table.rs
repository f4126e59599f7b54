//! What a hash map must be able to do to take part, and the workloads.
use crate::harness::Clock;
use crate::keys::{Key, Keys, NUMBER, Sequence};
use std::marker::PhantomData;
use std::sync::Mutex;

/// One operation of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A present key; the whole value is read.
    Hit,
    /// The same, each key depending on the last value: latency.
    Dependent,
    /// An absent key.
    Miss,
    /// Sixteen present keys in one call; ns a key.
    Batch16,
    /// Sixty-four of them.
    Batch64,
    /// Atomic add to the first word of a present key's value.
    Counter,
    /// The same, and its new value.
    CounterReturn,
    /// A present key's value replaced.
    Update,
    /// 95 % `Hit`, 5 % `Update`.
    Mix95,
    /// Half and half.
    Mix50,
    /// A new key refused because the map is full.
    Refused,
    /// A present key removed and an absent one inserted; ns for both.
    Churn,
}

impl Op {
    /// All, in the order in which they are measured. `Churn` is last: it moves entries about.
    pub const ALL: [Op; 12] = [
        Op::Hit,
        Op::Dependent,
        Op::Miss,
        Op::Batch16,
        Op::Batch64,
        Op::Counter,
        Op::CounterReturn,
        Op::Update,
        Op::Mix95,
        Op::Mix50,
        Op::Refused,
        Op::Churn,
    ];

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Op::Hit => "hit",
            Op::Dependent => "hit_dependent",
            Op::Miss => "miss",
            Op::Batch16 => "batch16",
            Op::Batch64 => "batch64",
            Op::Counter => "counter",
            Op::CounterReturn => "counter_return",
            Op::Update => "update",
            Op::Mix95 => "mix95",
            Op::Mix50 => "mix50",
            Op::Refused => "refused",
            Op::Churn => "remove_insert",
        }
    }

    /// Whether it changes the table itself, not only a value through a shared reference.
    pub fn writes(self) -> bool {
        matches!(self, Op::Update | Op::Mix95 | Op::Mix50 | Op::Refused | Op::Churn)
    }
}

/// A hash map with keys `K` and values of `W` 64-bit words.
pub trait Table<K: Key, const W: usize>: Sync + Sized {
    /// Its name in results.
    const NAME: &'static str;
    /// How many threads may write at once.
    const WRITERS: usize = usize::MAX;
    /// What one thread reads through.
    type Reader<'a>: Reader<K>
    where
        Self: 'a;
    /// What one thread writes through.
    type Writer<'a>: Writer<K>
    where
        Self: 'a;

    /// An empty map for `max_entries` entries; `None` if that cannot be had here.
    fn create(max_entries: usize) -> Option<Self>;
    /// Whether it has this operation.
    fn has(op: Op) -> bool {
        !matches!(op, Op::Batch16 | Op::Batch64 | Op::Refused)
    }
    /// For one thread and one run.
    fn reader(&self) -> Self::Reader<'_>;
    /// For one thread and one run.
    fn writer(&self) -> Self::Writer<'_>;
}

/// Reading operations, and counting.
pub trait Reader<K> {
    /// The sum of the words of a key's value, all of them read.
    fn get(&mut self, key: &K) -> Option<u64>;
    /// The sum of the first words of the values of many keys.
    fn get_many<const N: usize>(&mut self, keys: &[K; N]) -> u64 {
        keys.iter().filter_map(|key| self.get(key)).fold(0, u64::wrapping_add)
    }
    /// Atomic add to a present key's first word.
    fn add(&mut self, key: &K, delta: u64) -> bool;
    /// The same, new value.
    fn add_return(&mut self, key: &K, delta: u64) -> Option<u64>;
}

/// Writing operations. Values have all words alike.
pub trait Writer<K>: Reader<K> {
    /// Replaces a present key's value.
    fn update(&mut self, key: &K, word: u64) -> bool;
    /// Inserts an absent key; false if there is no room.
    fn insert(&mut self, key: &K, word: u64) -> bool;
    /// Removes a key.
    fn remove(&mut self, key: &K) -> bool;
}

/// The order in which the threads ask for keys.
pub struct Workload<'a> {
    /// Entries in the map: keys number 0 to `present`; twice as many further ones are absent.
    pub present: u32,
    /// One for each thread.
    pub sequences: &'a [Sequence],
}

/// One implementation, filled.
pub trait Entrant: Sync {
    /// Its name in results.
    fn name(&self) -> &'static str;
    /// Whether it takes part in this.
    fn has(&self, op: Op, threads: usize) -> bool;
    /// Nanoseconds that each insertion of the filling took.
    fn fill_ns(&self) -> f64;
    /// Performs operations `first` to `first + count` of a thread's sequence.
    fn run(&self, op: Op, at: At<'_>, first: u64, count: u64) -> u64;
    /// Undoes what [`Op::Churn`] with so many threads did.
    fn settle(&self, work: &Workload<'_>, threads: usize);
}

/// One thread's place.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The work.
    pub work: &'a Workload<'a>,
    /// This thread.
    pub thread: usize,
    /// Of so many.
    pub threads: usize,
}

struct Filled<F, T, const W: usize> {
    table: T,
    fill_ns: f64,
    full: bool,
    /// For each thread, for each entry that it may churn: is it there under its other key?
    moved: Vec<Mutex<Vec<bool>>>,
    keys: PhantomData<fn() -> F>,
}

/// Makes a map for `max_entries` and inserts keys 0 to `present`.
pub fn enter<F: Keys, T: Table<F::Key, W> + 'static, const W: usize>(
    max_entries: usize,
    present: usize,
    threads: usize,
) -> Option<Box<dyn Entrant>> {
    let table = T::create(max_entries)?;
    let start = Clock::start();
    {
        let mut writer = table.writer();
        for i in 0..present as u32 {
            assert!(writer.insert(&F::key(i), u64::from(i)), "{}: insert {i}", T::NAME);
        }
    }
    let fill_ns = start.elapsed().as_nanos() as f64 / present as f64;
    {
        let mut reader = table.reader();
        for i in (0..present as u32).step_by((present / 1000).max(1)) {
            let sum = u64::from(i).wrapping_mul(W as u64);
            assert_eq!(reader.get(&F::key(i)), Some(sum), "{}: key {i}", T::NAME);
            assert_eq!(reader.get(&F::key(i + 2 * present as u32)), None, "{}: no key", T::NAME);
        }
    }
    let moved = (0..threads).map(|_| Mutex::new(vec![false; present])).collect();
    let full = present == max_entries;
    Some(Box::new(Filled::<F, T, W> { table, fill_ns, full, moved, keys: PhantomData }))
}

impl<F: Keys, T: Table<F::Key, W>, const W: usize> Filled<F, T, W> {
    /// The entry that this thread churns in place of entry `i`: threads share none.
    fn own(i: u32, at: At<'_>) -> u32 {
        let threads = at.threads as u32;
        let own = i - i % threads + at.thread as u32;
        if own < at.work.present { own } else { own - threads }
    }

    /// Moves an entry to its other key; true if it was found and there was room.
    #[inline(always)]
    fn churn(writer: &mut T::Writer<'_>, i: u32, present: u32, moved: &mut bool) -> bool {
        let (from, to) = if *moved { (i + present, i) } else { (i, i + present) };
        *moved = !*moved;
        writer.remove(&F::key(from)) && writer.insert(&F::key(to), u64::from(i))
    }
}

impl<F: Keys, T: Table<F::Key, W>, const W: usize> Entrant for Filled<F, T, W> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn has(&self, op: Op, threads: usize) -> bool {
        T::has(op) && (threads <= T::WRITERS || !op.writes()) && (self.full || op != Op::Refused)
    }

    fn fill_ns(&self) -> f64 {
        self.fill_ns
    }

    fn run(&self, op: Op, at: At<'_>, first: u64, count: u64) -> u64 {
        let (sequence, present) = (&at.work.sequences[at.thread], at.work.present);
        let mut sum = 0u64;
        let mut good = 0u64;
        match op {
            Op::Hit => {
                let mut reader = self.table.reader();
                sequence.each(first, count, |element| {
                    let word = reader.get(&F::key(element & NUMBER));
                    sum = sum.wrapping_add(word.unwrap_or(0));
                });
                return sum;
            }
            Op::Dependent => {
                let mut reader = self.table.reader();
                sequence.each(first, count, |element| {
                    // Sums stay far below 2^63, which the compiler cannot know.
                    let zero = (sum >> 63) as u32;
                    sum = reader.get(&F::key((element & NUMBER) + zero)).unwrap_or(0);
                });
                return sum;
            }
            Op::Miss => {
                let mut reader = self.table.reader();
                sequence.each(first, count, |element| {
                    let key = F::key((element & NUMBER) + 2 * present);
                    good += u64::from(reader.get(&key).is_none());
                });
            }
            Op::Batch16 => return self.batches::<16>(sequence, first, count),
            Op::Batch64 => return self.batches::<64>(sequence, first, count),
            Op::Counter => {
                let mut reader = self.table.reader();
                sequence.each(first, count, |element| {
                    good += u64::from(reader.add(&F::key(element & NUMBER), 1));
                });
            }
            Op::CounterReturn => {
                let mut reader = self.table.reader();
                sequence.each(first, count, |element| {
                    good += u64::from(reader.add_return(&F::key(element & NUMBER), 1).is_some());
                });
            }
            Op::Update => {
                let mut writer = self.table.writer();
                sequence.each(first, count, |element| {
                    let word = u64::from(element);
                    good += u64::from(writer.update(&F::key(element & NUMBER), word));
                });
            }
            Op::Mix95 | Op::Mix50 => {
                let writes = if op == Op::Mix95 { 13 << 24 } else { 128 << 24 };
                let mut writer = self.table.writer();
                sequence.each(first, count, |element| {
                    let key = F::key(element & NUMBER);
                    if element < writes {
                        good += u64::from(writer.update(&key, u64::from(element)));
                    } else if let Some(word) = writer.get(&key) {
                        sum = sum.wrapping_add(word);
                        good += 1;
                    }
                });
            }
            Op::Refused => {
                let mut writer = self.table.writer();
                sequence.each(first, count, |element| {
                    let key = F::key((element & NUMBER) + 2 * present);
                    good += u64::from(!writer.insert(&key, 1));
                });
            }
            Op::Churn => {
                let mut writer = self.table.writer();
                let mut moved = self.moved[at.thread].lock().expect("one thread");
                sequence.each(first, count, |element| {
                    let i = Self::own(element & NUMBER, at);
                    good += u64::from(Self::churn(&mut writer, i, present, &mut moved[i as usize]));
                });
            }
        }
        assert_eq!(good, count, "{}: {} went wrong", T::NAME, op.name());
        good.wrapping_add(sum)
    }

    fn settle(&self, work: &Workload<'_>, threads: usize) {
        let mut writer = self.table.writer();
        for thread in 0..threads {
            let mut moved = self.moved[thread].lock().expect("one thread");
            for (i, moved) in (0..work.present).zip(moved.iter_mut()) {
                assert!(!*moved || Self::churn(&mut writer, i, work.present, moved), "{}", T::NAME);
            }
        }
    }
}

impl<F: Keys, T: Table<F::Key, W>, const W: usize> Filled<F, T, W> {
    fn batches<const N: usize>(&self, sequence: &Sequence, first: u64, count: u64) -> u64 {
        let mut reader = self.table.reader();
        let mut sum = 0u64;
        sequence.each_piece::<N>(first, count, |elements| {
            let keys = elements.map(|element| F::key(element & NUMBER));
            sum = sum.wrapping_add(reader.get_many(&keys));
        });
        sum
    }
}
