//! Every order of what threads do with a number's value, and every value that the memory model lets
//! them read: none is used when it is dropped or after, each that was taken away is dropped, once, and
//! by nobody later than the last who used it or took it away.
//!
//! Orders are explored up to a number of preemptions, five where two threads meet, three where three do;
//! `LOOM_MAX_PREEMPTIONS` overrides it.

use crate::table::{Found, Table};
use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a value holds until it is dropped.
const WHOLE: usize = 0x5AFE;

/// A value whose uses and end the model checker compares.
#[repr(C)]
struct Value {
    /// The allocator writes into what is freed, and gives it to who wants as much. What is behind this
    /// stays, for a use after the end to be seen as one.
    _freed: [usize; 100],
    number: usize,
    whole: UnsafeCell<usize>,
    alive: Arc<AtomicUsize>,
}

// SAFETY: the model checker sees to it that nobody writes to `whole` while others read it.
unsafe impl Sync for Value {}

impl Value {
    /// Uses the value: nobody may have dropped it, nor be at it.
    fn get(&self) -> usize {
        // SAFETY: as above.
        assert_eq!(self.whole.with(|whole| unsafe { *whole }), WHOLE, "it was dropped");
        thread::yield_now();
        assert_eq!(self.whole.with(|whole| unsafe { *whole }), WHOLE, "it was dropped");
        self.number
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: as above.
        let whole = self.whole.with_mut(|whole| unsafe { whole.replace(0) });
        assert_eq!(whole, WHOLE, "it was dropped twice");
        self.alive.fetch_sub(1, Relaxed);
    }
}

/// A table, and how many values there are.
#[derive(Clone)]
struct Scene {
    table: &'static Table<Value>,
    alive: Arc<AtomicUsize>,
}

impl Scene {
    fn new() -> Scene {
        Scene { table: Box::leak(Box::default()), alive: Arc::default() }
    }

    fn value(&self, number: usize) -> Value {
        self.alive.fetch_add(1, Relaxed);
        Value { _freed: [0; 100], number, whole: UnsafeCell::new(WHOLE), alive: self.alive.clone() }
    }

    fn spawn(&self, act: impl Fn(&Scene) + 'static) -> JoinHandle<()> {
        let scene = self.clone();
        thread::spawn(move || act(&scene))
    }

    fn read(&self, slot: usize) -> Found<usize> {
        self.table.read(slot, Value::get)
    }

    fn alive(&self) -> usize {
        self.alive.load(Relaxed)
    }
}

/// Explores what threads do with a table that has the values 1 and 2 under 0 and 1, of which so many
/// values are left when all have ended.
fn explore<const OTHERS: usize>(
    left: usize,
    act: impl Fn(&Scene) -> [JoinHandle<()>; OTHERS] + Send + Sync + 'static,
) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = orders.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(if OTHERS == 1 { 5 } else { 3 }));
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        let scene = Scene::new();
        scene.table.set(0, scene.value(1));
        scene.table.set(1, scene.value(2));
        for thread in act(&scene) {
            thread.join().expect("it does not panic");
        }
        assert_eq!(scene.alive(), left, "values are left");
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} orders", orders.load(Relaxed));
}

#[test]
fn one_reads_what_another_closes() {
    explore(1, |scene| {
        let reader = scene.spawn(|scene| {
            let found = scene.read(0);
            assert!(matches!(found, Found::Value(1) | Found::Nothing), "{found:?}");
        });
        scene.table.clear(0);
        [reader]
    });
}

#[test]
fn two_read_what_another_closes() {
    explore(1, |scene| {
        let readers = [0, 1].map(|_| scene.spawn(|scene| _ = scene.read(0)));
        scene.table.clear(0);
        readers
    });
}

#[test]
fn one_reads_what_two_close() {
    explore(1, |scene| {
        let others =
            [scene.spawn(|scene| _ = scene.read(0)), scene.spawn(|scene| scene.table.clear(0))];
        scene.table.set(0, scene.value(3));
        scene.table.clear(0);
        others
    });
}

#[test]
fn a_closed_number_is_used_again() {
    explore(2, |scene| {
        let reader = scene.spawn(|scene| {
            for _ in 0..2 {
                let found = scene.read(0);
                let known = [Found::Value(1), Found::Value(3), Found::Nothing, Found::Blocked];
                assert!(known.contains(&found), "{found:?}");
            }
        });
        scene.table.block(0);
        assert!(!scene.table.set_if_empty(0, scene.value(9)));
        scene.table.unblock(0);
        assert!(scene.table.set_if_empty(0, scene.value(3)));
        [reader]
    });
}

#[test]
fn one_reads_at_once_what_another_replaces() {
    explore(2, |scene| {
        let reader = scene.spawn(|scene| {
            // From here on it has a record.
            assert_eq!(scene.read(1), Found::Value(2));
            let found = scene.table.read_at_once(0, Value::get);
            assert!(matches!(found, None | Some(1 | 3)), "{found:?}");
        });
        scene.table.set(0, scene.value(3));
        [reader]
    });
}

#[test]
fn a_read_within_a_read() {
    explore(0, |scene| {
        let reader = scene.spawn(|scene| {
            _ = scene.table.read(0, |outer| {
                // As in a signal handler: with a record of its own.
                _ = scene.read(1);
                outer.get()
            });
        });
        scene.table.clear(1);
        scene.table.clear(0);
        [reader]
    });
}

#[test]
fn a_record_is_taken_again() {
    explore(1, |scene| {
        let reader = |slot| move |scene: &Scene| _ = scene.read(slot);
        scene.spawn(reader(1)).join().expect("it does not panic");
        // It has the record of the thread that has ended, or is about to end.
        let reader = scene.spawn(reader(0));
        scene.table.clear(0);
        [reader]
    });
}

#[test]
fn two_add_a_value_under_one_number() {
    explore(3, |scene| {
        let add = |scene: &Scene| scene.table.set_if_empty(3, scene.value(3));
        let other = scene.spawn(move |scene| {
            add(scene);
        });
        add(scene);
        assert_eq!(scene.read(3), Found::Value(3));
        [other]
    });
}
