//! Recording what threads did to an object and when: each operation is stamped before and after
//! from one atomic counter, so that the stamps' order is an order of real time.

use crate::rng::Rng;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

/// An operation with its answer and its time.
#[derive(Clone, Debug)]
pub struct Event<O, A> {
    /// Who did it.
    pub thread: usize,
    /// The stamp before it.
    pub called: u64,
    /// The stamp after it.
    pub returned: u64,
    /// What was asked.
    pub operation: O,
    /// What was answered.
    pub answer: A,
}

/// Where threads that have arrived wait for the others, without sleeping for long.
struct Gate {
    threads: usize,
    arrived: AtomicUsize,
    turn: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        let turn = self.turn.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.turn.store(turn + 1, Ordering::Release);
            return;
        }
        let mut spins = 0_u32;
        while self.turn.load(Ordering::Acquire) == turn {
            spins += 1;
            if spins.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// What threads do together, round after round.
pub trait Play: Sync {
    /// What they do it to.
    type Shared: Send + Sync;
    /// What one of them can do.
    type Operation: Send;
    /// What comes of it.
    type Answer: Send;

    /// A new object for this round.
    fn make(&self, round: u64) -> Self::Shared;

    /// The next operation of a thread.
    fn choose(&self, thread: usize, rng: &mut Rng) -> Self::Operation;

    /// Carries it out.
    fn act(
        &self,
        shared: &Self::Shared,
        thread: usize,
        operation: &Self::Operation,
    ) -> Self::Answer;

    /// Panics if the history, or what the object is after it, is wrong.
    fn judge(
        &self,
        round: u64,
        shared: &Self::Shared,
        events: Vec<Event<Self::Operation, Self::Answer>>,
    );
}

/// Plays with `threads` threads, each of which does `length` operations a round, until
/// `keep_going` says no.
///
/// A panic in any of them ends the rounds and is passed on.
pub fn rounds<P: Play>(
    play: &P,
    threads: usize,
    length: usize,
    seed: u64,
    keep_going: impl Fn(u64) -> bool + Sync,
) {
    let gate = Gate { threads, arrived: AtomicUsize::new(0), turn: AtomicUsize::new(0) };
    let clock = AtomicU64::new(0);
    let object: RwLock<Option<P::Shared>> = RwLock::new(None);
    let events = Mutex::new(Vec::new());
    let failure: Mutex<Option<Box<dyn std::any::Any + Send>>> = Mutex::new(None);
    let work = |thread: usize| {
        for round in 0.. {
            if thread == 0 {
                let go = keep_going(round) && failure.lock().expect("no poison").is_none();
                *object.write().expect("no poison") = go.then(|| play.make(round));
            }
            gate.pass();
            let guard = object.read().expect("no poison");
            let Some(object) = guard.as_ref() else { return };
            let mut rng = Rng::new(seed ^ round << 8 ^ thread as u64);
            let mut own = Vec::with_capacity(length);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                gate.pass();
                for _ in 0..length {
                    let operation = play.choose(thread, &mut rng);
                    // Threads that all begin at once would meet in the first operation only.
                    for _ in 0..rng.below(30) {
                        std::hint::spin_loop();
                    }
                    if rng.one_in(24) {
                        std::thread::yield_now();
                    }
                    let called = clock.fetch_add(1, Ordering::SeqCst);
                    let answer = play.act(object, thread, &operation);
                    let returned = clock.fetch_add(1, Ordering::SeqCst);
                    own.push(Event { thread, called, returned, operation, answer });
                }
            }));
            if let Err(panic) = result {
                *failure.lock().expect("no poison") = Some(panic);
            }
            events.lock().expect("no poison").append(&mut own);
            gate.pass();
            if thread == 0 && failure.lock().expect("no poison").is_none() {
                let all = std::mem::take(&mut *events.lock().expect("no poison"));
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    play.judge(round, object, all);
                }));
                if let Err(panic) = result {
                    *failure.lock().expect("no poison") = Some(panic);
                }
            }
            drop(guard);
            gate.pass();
        }
    };
    let work = &work;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || work(thread));
        }
    });
    if let Some(panic) = failure.into_inner().expect("no poison") {
        std::panic::resume_unwind(panic);
    }
}
