//! The other hash maps, all with the same hash function and the same allocator.
use crate::keys::{Cells, Key};
use crate::table::{Reader, Table, Writer};
use foldhash::fast::RandomState;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// hashbrown has no synchronisation: one thread's bound. The lock around it is taken once a run.
pub struct Hashbrown<K, const W: usize>(RwLock<Plain<K, W>>);
type Plain<K, const W: usize> = hashbrown::HashMap<K, Cells<W>, RandomState>;

impl<K: Key, const W: usize> Table<K, W> for Hashbrown<K, W> {
    const NAME: &'static str = "hashbrown";
    const WRITERS: usize = 1;
    type Reader<'a> = RwLockReadGuard<'a, Plain<K, W>>;
    type Writer<'a> = RwLockWriteGuard<'a, Plain<K, W>>;

    fn create(max_entries: usize) -> Option<Self> {
        let map = Plain::with_capacity_and_hasher(max_entries, RandomState::default());
        Some(Hashbrown(RwLock::new(map)))
    }
    fn reader(&self) -> Self::Reader<'_> {
        self.0.read().expect("no panic while locked")
    }
    fn writer(&self) -> Self::Writer<'_> {
        self.0.write().expect("no panic while locked")
    }
}

macro_rules! guarded_reader {
    ($guard:ident) => {
        impl<K: Key, const W: usize> Reader<K> for $guard<'_, Plain<K, W>> {
            #[inline(always)]
            fn get(&mut self, key: &K) -> Option<u64> {
                Plain::get(self, key).map(Cells::sum)
            }
            #[inline(always)]
            fn add(&mut self, key: &K, delta: u64) -> bool {
                Plain::get(self, key).map(|cells| cells.add(delta)).is_some()
            }
            #[inline(always)]
            fn add_return(&mut self, key: &K, delta: u64) -> Option<u64> {
                Plain::get(self, key).map(|cells| cells.add(delta))
            }
        }
    };
}
guarded_reader!(RwLockReadGuard);
guarded_reader!(RwLockWriteGuard);

impl<K: Key, const W: usize> Writer<K> for RwLockWriteGuard<'_, Plain<K, W>> {
    #[inline(always)]
    fn update(&mut self, key: &K, word: u64) -> bool {
        self.get_mut(key).map(|cells| *cells = Cells::new(word)).is_some()
    }
    #[inline(always)]
    fn insert(&mut self, key: &K, word: u64) -> bool {
        Plain::insert(self, *key, Cells::new(word)).is_none()
    }
    #[inline(always)]
    fn remove(&mut self, key: &K) -> bool {
        Plain::remove(self, key).is_some()
    }
}

/// A map that is used through a shared reference: a name, how to make one, and an expression for
/// each operation, given the map, the key and the word.
macro_rules! shared {
    (
        $(#[$doc:meta])* $name:ident, $text:literal, $map:ty;
        get($m:ident, $k:ident) $get:expr;
        add($d:ident) $add:expr;
        update($w:ident) $update:expr;
        insert $insert:expr;
        remove $remove:expr;
    ) => {
        $(#[$doc])*
        pub struct $name<K: Key, const W: usize>($map);

        impl<K: Key, const W: usize> Table<K, W> for $name<K, W> {
            const NAME: &'static str = $text;
            type Reader<'a> = &'a Self;
            type Writer<'a> = &'a Self;

            fn create(max_entries: usize) -> Option<Self> {
                Some($name(<$map>::with_capacity_and_hasher(max_entries, RandomState::default())))
            }
            fn reader(&self) -> &Self {
                self
            }
            fn writer(&self) -> &Self {
                self
            }
        }

        impl<K: Key, const W: usize> Reader<K> for &$name<K, W> {
            #[inline(always)]
            fn get(&mut self, $k: &K) -> Option<u64> {
                let $m = &self.0;
                $get
            }
            #[inline(always)]
            fn add(&mut self, key: &K, delta: u64) -> bool {
                self.add_return(key, delta).is_some()
            }
            #[inline(always)]
            fn add_return(&mut self, $k: &K, $d: u64) -> Option<u64> {
                let $m = &self.0;
                $add
            }
        }

        impl<K: Key, const W: usize> Writer<K> for &$name<K, W> {
            #[inline(always)]
            fn update(&mut self, $k: &K, $w: u64) -> bool {
                let $m = &self.0;
                $update
            }
            #[inline(always)]
            fn insert(&mut self, $k: &K, $w: u64) -> bool {
                let $m = &self.0;
                $insert
            }
            #[inline(always)]
            fn remove(&mut self, $k: &K) -> bool {
                let $m = &self.0;
                $remove
            }
        }
    };
}

shared! {
    /// papaya, pinned for each operation.
    Papaya, "papaya", papaya::HashMap<K, Cells<W>, RandomState>;
    get(map, key) map.pin().get(key).map(Cells::sum);
    add(delta) map.pin().get(key).map(|cells| cells.add(delta));
    update(word) map.pin().insert(*key, Cells::new(word)).is_some();
    insert map.pin().insert(*key, Cells::new(word)).is_none();
    remove map.pin().remove(key).is_some();
}

shared! {
    /// dashmap.
    Dashmap, "dashmap", dashmap::DashMap<K, Cells<W>, RandomState>;
    get(map, key) map.get(key).map(|cells| cells.sum());
    add(delta) map.get(key).map(|cells| cells.add(delta));
    update(word) map.get_mut(key).map(|mut cells| *cells = Cells::new(word)).is_some();
    insert map.insert(*key, Cells::new(word)).is_none();
    remove map.remove(key).is_some();
}

shared! {
    /// scc::HashMap.
    Scc, "scc", scc::HashMap<K, Cells<W>, RandomState>;
    get(map, key) map.read_sync(key, |_, cells| cells.sum());
    add(delta) map.read_sync(key, |_, cells| cells.add(delta));
    update(word) map.update_sync(key, |_, cells| *cells = Cells::new(word)).is_some();
    insert map.insert_sync(*key, Cells::new(word)).is_ok();
    remove map.remove_sync(key).is_some();
}

/// leapfrog: values are integers and copied; no atomic add.
pub struct Leapfrog(leapfrog::LeapMap<u32, u64, RandomState>);

impl Table<u32, 1> for Leapfrog {
    const NAME: &'static str = "leapfrog";
    type Reader<'a> = &'a Self;
    type Writer<'a> = &'a Self;

    fn create(max_entries: usize) -> Option<Self> {
        let cells = (2 * max_entries).next_power_of_two();
        Some(Leapfrog(leapfrog::LeapMap::with_capacity_and_hasher(cells, RandomState::default())))
    }
    fn has(op: crate::table::Op) -> bool {
        use crate::table::Op::*;
        matches!(op, Hit | Dependent | Miss | Update | Mix95 | Mix50 | Churn)
    }
    fn reader(&self) -> &Self {
        self
    }
    fn writer(&self) -> &Self {
        self
    }
}

impl Reader<u32> for &Leapfrog {
    #[inline(always)]
    fn get(&mut self, key: &u32) -> Option<u64> {
        self.0.get(key).and_then(|mut reference| reference.value())
    }
    fn add(&mut self, _: &u32, _: u64) -> bool {
        false
    }
    fn add_return(&mut self, _: &u32, _: u64) -> Option<u64> {
        None
    }
}

impl Writer<u32> for &Leapfrog {
    #[inline(always)]
    fn update(&mut self, key: &u32, word: u64) -> bool {
        self.0.update(key, word).is_some()
    }
    #[inline(always)]
    fn insert(&mut self, key: &u32, word: u64) -> bool {
        self.0.insert(*key, word).is_none()
    }
    #[inline(always)]
    fn remove(&mut self, key: &u32) -> bool {
        self.0.remove(key).is_some()
    }
}
