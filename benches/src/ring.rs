//! Bounded queues and stacks: what one must be able to do to take part, and the workloads.
use crate::harness::Run;
use crate::keys::sum;
use std::collections::VecDeque;
use std::hint::spin_loop;
use std::sync::Mutex;

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
