//! Iteration while others write: an entry that is there from start to end is visited exactly once,
//! whatever others insert or delete meanwhile, by get_next_key and by for_each; an entry that is
//! never there is never visited.
//!
//! Hashes with `ZERO_SEED` are left out where keys come and go: there get_next_key has the
//! kernel's order, and with it the kernel's answer to a key that is gone, the first key.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use usermap::abi::{BPF_ANY, BPF_EXIST, map_flags};
use usermap::{Map, MapType, Spec};
use usermap_tests::check::{Watchdog, budget};
use usermap_tests::rng::{Rng, seed};

/// Keys below this are there all the time, or one in four of them never.
const STABLE: u32 = 300;
/// The keys from there to here come and go.
const ALL: u32 = 700;

fn is_stable(key: u32) -> bool {
    key < STABLE && !key.is_multiple_of(4)
}

fn number(key: &[u8]) -> u32 {
    u32::from_le_bytes(key[..4].try_into().expect("four bytes"))
}

/// A key of the map's size that begins with this number.
fn bytes(map: &Map, key: u32) -> Vec<u8> {
    let mut bytes = key.to_le_bytes().to_vec();
    bytes.resize(map.spec().key_size as usize, 7);
    bytes
}

/// What one pass over the map has visited.
#[derive(Default)]
struct Visits(BTreeMap<u32, u32>);

impl Visits {
    fn see(&mut self, key: u32) {
        *self.0.entry(key).or_default() += 1;
        assert!(key < ALL && (key >= STABLE || is_stable(key)), "key {key} was never there");
        // A churned key may come twice (it was deleted and inserted), but there is an end to it.
        assert!(self.0[&key] < 1000, "no end");
    }

    fn check(&self, how: &str) {
        for key in (0..STABLE).filter(|key| is_stable(*key)) {
            let times = self.0.get(&key).copied().unwrap_or(0);
            assert_eq!(times, 1, "key {key}, by {how}, seed {}", seed());
        }
    }
}

/// A pass by get_next_key, which can delete the key that it has just been given, or others.
fn walk(map: &Map, rng: &mut Rng, deletes: bool) {
    let mut visits = Visits::default();
    let mut next = bytes(map, 0);
    let mut key: Option<Vec<u8>> = None;
    while map.get_next_key(key.as_deref(), &mut next).is_ok() {
        let found = number(&next);
        visits.see(found);
        if deletes && found >= STABLE && rng.one_in(2) {
            let _ = map.delete(&next);
        }
        if deletes && rng.one_in(8) {
            let _ = map.delete(&bytes(map, STABLE + rng.below((ALL - STABLE).into()) as u32));
        }
        key = Some(next.clone());
    }
    visits.check("get_next_key");
}

fn for_each(map: &Map) {
    let mut visits = Visits::default();
    let calls = map.for_each(|key, value| {
        assert_eq!(number(key), number(value), "the value is the key's");
        visits.see(number(key));
        true
    });
    assert_eq!(calls.expect("for_each"), visits.0.values().map(|n| u64::from(*n)).sum::<u64>());
    visits.check("for_each");
}

fn batches(map: &Map, rng: &mut Rng) {
    let mut visits = Visits::default();
    let mut token: Option<Vec<u8>> = None;
    loop {
        let count = 60 + rng.below(100) as u32;
        let batch =
            usermap_tests::adapter::batch::lookup(map, token.as_deref(), 4, count, false, 0, 0);
        for key in batch.keys.chunks(map.spec().key_size as usize).take(batch.count as usize) {
            visits.see(number(key));
        }
        if batch.errno != 0 {
            assert_eq!(batch.errno, usermap::abi::errno::ENOENT);
            break;
        }
        token = Some(batch.token);
    }
    visits.check("lookup_batch");
}

fn value(map: &Map, key: u32) -> Vec<u8> {
    let mut value = vec![0; map.value_bytes()];
    value[..4].copy_from_slice(&key.to_le_bytes());
    value
}

fn make(kind: MapType, key_size: u32, flags: u32) -> Map {
    let spec = Spec::new(kind, key_size, 8, ALL).flags(flags);
    let map = Map::create_anonymous(&spec).expect("a map");
    for key in (0..STABLE).filter(|key| is_stable(*key)) {
        map.update(&bytes(&map, key), &value(&map, key), BPF_ANY).expect("room");
    }
    map
}

/// Writers that insert and delete keys, and if `updates` write to the stable ones too, while
/// `read` passes over the map again and again.
fn churned(map: &Map, updates: bool, read: impl Fn(&Map, &mut Rng)) {
    let _watchdog = Watchdog::new("iteration", Duration::from_secs(60));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (map, done) = (map.clone(), &done);
            scope.spawn(move || {
                let mut rng = Rng::new(seed() ^ thread << 32);
                while !done.load(Ordering::Relaxed) {
                    let key = STABLE + rng.below((ALL - STABLE).into()) as u32;
                    if rng.one_in(2) {
                        map.update(&bytes(&map, key), &value(&map, key), BPF_ANY).expect("room");
                    } else {
                        let _ = map.delete(&bytes(&map, key));
                    }
                    let key = rng.below(STABLE.into()) as u32;
                    if updates && is_stable(key) {
                        map.update(&bytes(&map, key), &value(&map, key), BPF_EXIST)
                            .expect("it is there");
                    }
                }
            });
        }
        // Whatever happens here, the writers must end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut rng = Rng::new(seed());
            let started = Instant::now();
            let mut passes = 0;
            while passes < 3 || started.elapsed() < budget(300) {
                read(map, &mut rng);
                passes += 1;
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

const KINDS: [(MapType, u32); 4] = [
    (MapType::Hash, 0),
    (MapType::Hash, map_flags::NO_PREALLOC),
    (MapType::PerCpuHash, 0),
    (MapType::PerCpuHash, map_flags::NO_PREALLOC),
];

#[test]
fn next_keys_among_inserts_and_deletes() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), false, |map, rng| walk(map, rng, false));
        churned(&make(kind, 13, flags), false, |map, rng| walk(map, rng, false));
    }
}

#[test]
fn next_keys_after_deleting_them() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), false, |map, rng| walk(map, rng, true));
    }
}

/// The same with one thread, where nothing is a matter of luck.
#[test]
fn next_keys_after_deleting_them_alone() {
    for (kind, flags) in KINDS {
        for round in 0..20 {
            let map = make(kind, 4 + round, flags);
            for key in STABLE..ALL {
                map.update(&bytes(&map, key), &value(&map, key), BPF_ANY).expect("room");
            }
            walk(&map, &mut Rng::new(seed() ^ u64::from(round)), true);
        }
    }
}

#[test]
fn next_keys_among_updates() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), true, |map, rng| walk(map, rng, true));
    }
}

#[test]
fn for_each_among_inserts_and_deletes() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), false, |map, _| for_each(map));
    }
}

#[test]
fn for_each_among_updates() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), true, |map, _| for_each(map));
    }
    // A program's walk does not leave the kernel's order, but for_each is ours.
    churned(&make(MapType::Hash, 4, map_flags::ZERO_SEED), true, |map, _| for_each(map));
}

#[test]
fn batches_among_inserts_and_deletes() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), true, batches);
    }
}

/// retain sees each entry that stays exactly once, and removes only what it is told to.
#[test]
fn retain_among_inserts_and_deletes() {
    for (kind, flags) in KINDS {
        churned(&make(kind, 4, flags), false, |map, _| {
            let mut visits = Visits::default();
            map.retain(|key, _| {
                visits.see(number(key));
                number(key) < STABLE
            })
            .expect("retain");
            visits.check("retain");
        });
    }
}

/// for_each's function may use the map itself, and delete what it is called for.
#[test]
fn deleting_inside_for_each() {
    for (kind, flags) in KINDS {
        let map = make(kind, 4, flags);
        for key in STABLE..ALL {
            map.update(&bytes(&map, key), &value(&map, key), BPF_ANY).expect("room");
        }
        let _watchdog = Watchdog::new("deleting inside for_each", Duration::from_secs(20));
        let mut visits = Visits::default();
        map.for_each(|key, _| {
            visits.see(number(key));
            if number(key) >= STABLE {
                map.delete(key).expect("it is there");
            }
            true
        })
        .expect("for_each");
        visits.check("for_each");
        assert_eq!(map.len(), u64::from(STABLE - STABLE / 4));
    }
}

/// Arrays have their indices in order, whatever is written to them.
#[test]
fn arrays() {
    for kind in [MapType::Array, MapType::PerCpuArray] {
        let map = Map::create_anonymous(&Spec::new(kind, 4, 8, 100)).expect("a map");
        let mut seen = Vec::new();
        map.for_each(|key, value| {
            seen.push(number(key));
            map.update(key, value, BPF_ANY).expect("an index");
            true
        })
        .expect("for_each");
        assert!(seen.iter().copied().eq(0..100));
        let mut key: Option<Vec<u8>> = None;
        let mut next = [0; 4];
        for expected in 0..100 {
            map.get_next_key(key.as_deref(), &mut next).expect("an index");
            assert_eq!(number(&next), expected);
            key = Some(next.to_vec());
        }
        assert!(map.get_next_key(Some(&next), &mut [0; 4]).is_err());
    }
}
