//! A reader and a writer of one bucket: neither keeps the other from getting on.

use crate::HashMap;
use crate::map::View;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What each of them has to get done.
const ENOUGH: u64 = 1000;

/// Runs both until each has done enough, and gives what they did.
fn run(read: impl Fn() + Sync, write: impl Fn(u64) + Sync) -> [u64; 2] {
    let done = [const { AtomicU64::new(0) }; 2];
    let limit = Instant::now() + Duration::from_secs(60);
    let goes_on = || done.iter().any(|done| done.load(Relaxed) < ENOUGH) && Instant::now() < limit;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while goes_on() {
                read();
                done[0].fetch_add(1, Relaxed);
            }
        });
        scope.spawn(|| {
            while goes_on() {
                write(done[1].fetch_add(1, Relaxed));
            }
        });
    });
    done.map(AtomicU64::into_inner)
}

/// Every update replaces the entry, so that each look at the bucket during one is in vain.
#[test]
fn a_reader_and_a_writer_of_one_entry() {
    let map = HashMap::<u32, [u64; 2]>::create(8).unwrap();
    map.insert(&1, &[0; 2]).unwrap();
    let read = || {
        let [first, second] = map.get(&1).unwrap().unwrap();
        assert_eq!(first, second);
    };
    let done = run(read, |number| map.insert(&1, &[number; 2]).unwrap());
    assert!(done.iter().all(|done| *done >= ENOUGH), "{done:?}");
}

/// The key that is read is in a node: behind the places, and behind what comes and goes.
#[test]
fn a_reader_of_a_chain_and_a_writer_to_it() {
    let map = HashMap::<u32, [u64; 2]>::create(1000).unwrap();
    let View::Hash(hash) = map.map().inner.view() else { panic!() };
    let bucket = |key: &u32| hash.geometry.hash(&key.to_ne_bytes()).bucket;
    let keys: Vec<u32> = (1..).filter(|key| bucket(key) == bucket(&1)).take(25).collect();
    for key in &keys {
        map.insert(key, &[7; 2]).unwrap();
    }
    let read = || assert_eq!(map.get(&keys[21]).unwrap(), Some([7; 2]));
    let write = |number| match number % 2 {
        0 => assert!(map.delete(&keys[24]).unwrap()),
        _ => map.insert(&keys[24], &[number; 2]).unwrap(),
    };
    let done = run(read, write);
    assert!(done.iter().all(|done| *done >= ENOUGH), "{done:?}");
}
