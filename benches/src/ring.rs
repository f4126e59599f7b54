//! Bounded queues and stacks: what one must be able to do to take part, and the workloads.
use crate::harness::Run;
use crate::keys::sum;
use std::collections::VecDeque;
use std::hint::spin_loop;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::*};

/// A bounded queue (or stack) of values of `W` words.
pub trait Ring<const W: usize>: Sync + Sized {
    /// Its name in results.
    const NAME: &'static str;
    /// An empty one; `None` if that cannot be had here.
    fn create(capacity: usize, lifo: bool) -> Option<Self>;
    /// False when full.
    fn push(&self, value: &[u64; W]) -> bool;
    /// `None` when empty.
    fn pop(&self) -> Option<[u64; W]>;
}

/// The operations; ns for each push or pop. `push_pop`: every thread pushes, pops, pushes, ... on a
/// half-full ring; `burst32`: 32 pushes, then 32 pops; `one_to_one`: the first thread pushes, the
/// second pops.
pub const OPS: [&str; 3] = ["push_pop", "burst32", "one_to_one"];

fn push<R: Ring<W>, const W: usize>(ring: &R, word: u64) {
    while !ring.push(&[word; W]) {
        spin_loop();
    }
}

fn pop<R: Ring<W>, const W: usize>(ring: &R) -> u64 {
    loop {
        if let Some(value) = ring.pop() {
            return sum(&value);
        }
        spin_loop();
    }
}

/// Fills a ring half.
pub fn prepare<R: Ring<W>, const W: usize>(ring: &R, capacity: usize) {
    (0..capacity as u64 / 2).for_each(|word| push(ring, word));
}

/// One operation; `None` if it makes no sense on so many threads.
pub fn run<'a, R: Ring<W>, const W: usize>(
    ring: &'a R,
    op: &str,
    threads: usize,
) -> Option<Run<'a>> {
    match op {
        "push_pop" => Some(Box::new(move |_, first, count| {
            (0..count / 2).fold(0u64, |sum, i| {
                push(ring, first + i);
                sum.wrapping_add(pop(ring))
            })
        })),
        "burst32" => Some(Box::new(move |_, first, count| {
            (0..count / 64).fold(0u64, |sum, i| {
                (0..32).for_each(|j| push(ring, first + 32 * i + j));
                (0..32).fold(sum, |sum, _| sum.wrapping_add(pop(ring)))
            })
        })),
        "one_to_one" if threads == 2 => Some(Box::new(move |thread, first, count| {
            if thread == 0 {
                (0..count).for_each(|i| push(ring, first + i));
                return count;
            }
            (0..count).fold(0u64, |sum, _| sum.wrapping_add(pop(ring)))
        })),
        _ => None,
    }
}

/// crossbeam's queue.
pub struct ArrayQueue<const W: usize>(crossbeam_queue::ArrayQueue<[u64; W]>);

impl<const W: usize> Ring<W> for ArrayQueue<W> {
    const NAME: &'static str = "arrayqueue";

    fn create(capacity: usize, lifo: bool) -> Option<Self> {
        (!lifo).then(|| ArrayQueue(crossbeam_queue::ArrayQueue::new(capacity)))
    }
    #[inline(always)]
    fn push(&self, value: &[u64; W]) -> bool {
        self.0.push(*value).is_ok()
    }
    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        self.0.pop()
    }
}

/// What the standard library gives: a deque under a mutex.
pub struct MutexDeque<const W: usize> {
    deque: Mutex<VecDeque<[u64; W]>>,
    capacity: usize,
    lifo: bool,
}

impl<const W: usize> Ring<W> for MutexDeque<W> {
    const NAME: &'static str = "mutex_deque";

    fn create(capacity: usize, lifo: bool) -> Option<Self> {
        let deque = Mutex::new(VecDeque::with_capacity(capacity));
        Some(MutexDeque { deque, capacity, lifo })
    }
    #[inline(always)]
    fn push(&self, value: &[u64; W]) -> bool {
        let mut deque = self.deque.lock().expect("no panic while locked");
        let room = deque.len() < self.capacity;
        if room {
            deque.push_back(*value);
        }
        room
    }
    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        let mut deque = self.deque.lock().expect("no panic while locked");
        if self.lifo { deque.pop_back() } else { deque.pop_front() }
    }
}

/// A word on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Line(AtomicU64);

/// The least that a ring with one lock can do: one compare-and-exchange, the value, the indices, the
/// lock free again. It holds the lock for good if whoever has it dies.
pub struct SpinLocked<const W: usize> {
    lock: Line,
    /// Index of the oldest value in 63..32, number of values in 31..0.
    state: Line,
    values: Vec<[AtomicU64; W]>,
    lifo: bool,
}

impl<const W: usize> SpinLocked<W> {
    #[inline(always)]
    fn locked<R>(&self, change: impl FnOnce(u64, u64) -> (u64, R)) -> R {
        let mut pauses = 4;
        while self.lock.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            (0..pauses).for_each(|_| spin_loop());
            pauses = (pauses * 2).min(256);
        }
        let state = self.state.0.load(Relaxed);
        let (state, result) = change(state >> 32, state & 0xffff_ffff);
        self.state.0.store(state, Release);
        self.lock.0.store(0, Release);
        result
    }

    #[inline(always)]
    fn value(&self, index: u64) -> &[AtomicU64; W] {
        let places = self.values.len() as u64;
        &self.values[if index < places { index } else { index - places } as usize]
    }
}

impl<const W: usize> Ring<W> for SpinLocked<W> {
    const NAME: &'static str = "spinlock";

    fn create(capacity: usize, lifo: bool) -> Option<Self> {
        let value = || std::array::from_fn(|_| AtomicU64::new(0));
        let values = (0..capacity).map(|_| value()).collect();
        Some(SpinLocked { lock: Line::default(), state: Line::default(), values, lifo })
    }
    #[inline(always)]
    fn push(&self, value: &[u64; W]) -> bool {
        self.locked(|oldest, len| {
            if len == self.values.len() as u64 {
                return (oldest << 32 | len, false);
            }
            for (place, word) in self.value(oldest + len).iter().zip(value) {
                place.store(*word, Relaxed);
            }
            (oldest << 32 | (len + 1), true)
        })
    }
    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        self.locked(|oldest, len| {
            if len == 0 {
                return (oldest << 32 | len, None);
            }
            let at = if self.lifo { oldest + len - 1 } else { oldest };
            let value = self.value(at).each_ref().map(|word| word.load(Relaxed));
            let next = if oldest + 1 == self.values.len() as u64 { 0 } else { oldest + 1 };
            let oldest = if self.lifo { oldest } else { next };
            (oldest << 32 | (len - 1), Some(value))
        })
    }
}
