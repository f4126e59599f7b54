//! Every order of what two or three threads do, and every value that the memory model lets them
//! read: loom's models of the lock and of each step without one.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p usermap --lib`
//!
//! Each model is small: a map with few entries, or only the words of a lock. Orders are explored
//! up to a number of preemptions (`LOOM_MAX_PREEMPTIONS` overrides it): nearly all faults of such
//! code need two or three.

mod bias;
mod count;
mod faults;
mod hash;
mod lease;
mod lock;
mod lookup;
mod redo;
mod ring;

use crate::error::Reason;
use crate::kind::array::Array;
use crate::kind::hash::{Hash, Presence, Value};
use crate::kind::ring::Rings;
use crate::map::{Kind, View};
use crate::mem::Region;
use crate::mem::mortal::live;
use crate::mem::owner::{Owners, Writer};
use crate::mem::sync::Ordering::Relaxed;
use crate::{MapType, Spec, header};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

type Key = [u8; 4];
/// What a thread does in a scene, with the scene's keys.
type Act = fn(&Scene, &[Key]);

/// Explores a model.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 50_000;
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = orders.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} orders", orders.load(Relaxed));
}

/// A region without a `Map` around it.
struct Scene {
    region: Region,
    kind: Arc<Kind>,
    keys: Vec<Key>,
}

/// What a region of a specification needs, computed once for all orders.
#[derive(Clone)]
struct Plan {
    kind: Arc<Kind>,
    words: usize,
}

impl Plan {
    fn new(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Plan {
        let spec = Spec::new(map_type, key_size, value_size, max_entries);
        let spec = spec.cpus(if map_type.is_per_cpu() { 2 } else { 1 });
        let header = header::Header { spec, seed: [1, 2], words: 0, id: 1, types: None };
        let (kind, words) = Kind::of(&header).unwrap();
        Plan { kind: Arc::new(kind), words }
    }

    /// Keys of a bucket, which all have the same tag.
    fn keys<const N: usize>(&self, bucket: u32) -> [Key; N] {
        let Kind::Hash(geometry) = &*self.kind else { unreachable!("it is a hash") };
        let all = move || (0_u32..).map(u32::to_ne_bytes);
        let of = |key: &Key| geometry.hash(key).bucket == bucket;
        let tag = all().find(of).map(|key| geometry.hash(&key).tag).unwrap();
        let mut keys = all().filter(|key| of(key) && geometry.hash(key).tag == tag);
        std::array::from_fn(|_| keys.next().unwrap())
    }

    /// Keys of a bucket, whose tags have different bits in the filter of its chain.
    fn keys_apart<const N: usize>(&self, bucket: u32) -> [Key; N] {
        let Kind::Hash(geometry) = &*self.kind else { unreachable!("it is a hash") };
        let of = |bit: u8, key: &Key| {
            let hash = geometry.hash(key);
            hash.bucket == bucket && hash.tag % 32 == bit
        };
        let first = |bit| (0_u32..).map(u32::to_ne_bytes).find(|key| of(bit as u8, key));
        std::array::from_fn(|bit| first(bit).unwrap())
    }

    /// A scene in which all writers take locks by exchanges.
    fn scene(&self, keys: &[Key]) -> Arc<Scene> {
        let scene = self.fresh_scene(keys);
        scene.owners().share();
        scene
    }

    /// One in which nobody has written yet.
    fn fresh_scene(&self, keys: &[Key]) -> Arc<Scene> {
        let mut region = Region::anonymous(self.words * 8).unwrap();
        self.kind.find_in(&mut region);
        Arc::new(Scene { region, kind: self.kind.clone(), keys: keys.to_vec() })
    }
}

impl Scene {
    fn hash(&self) -> Hash<'_> {
        match self.kind.view(&self.region) {
            View::Hash(hash) => hash,
            _ => unreachable!("it is a hash"),
        }
    }

    fn array(&self) -> Array<'_> {
        match self.kind.view(&self.region) {
            View::Array(array) => array,
            _ => unreachable!("it is an array"),
        }
    }

    fn rings(&self) -> Rings<'_> {
        match self.kind.view(&self.region) {
            View::Rings(rings) => rings,
            _ => unreachable!("it is a ring"),
        }
    }

    fn owners(&self) -> Owners<'_> {
        header::owners(self.region.words())
    }

    /// The record with this number, of this process.
    fn enlist(&self, number: u32) -> Writer<'_> {
        self.owners().enlist(number)
    }

    fn writer(&self, number: u32) -> Writer<'_> {
        self.owners().writer(number).unwrap()
    }

    /// Runs `own` while other threads do these things, each with a record: the first with 1, ...
    fn while_others<T>(self: &Arc<Scene>, others: &'static [Act], own: impl FnOnce() -> T) -> T {
        let spawn = |(act, number): (&'static Act, u32)| {
            self.enlist(number);
            let scene = self.clone();
            thread::spawn(move || act(&scene, &scene.keys))
        };
        let threads: Vec<_> = others.iter().zip(1..).map(spawn).collect();
        let given = own();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        given
    }

    /// Lets a writer do something and die after so many stores; says whether it did.
    fn die(&self, number: u32, stores: u64, act: impl FnOnce(&Scene)) -> bool {
        let writer = self.enlist(number);
        let died = live(stores, || act(self)).is_none();
        writer.bury();
        died
    }

    fn put(&self, writer: u32, key: Key, value: u64, presence: Presence) -> Result<(), Reason> {
        let value = whole(value);
        self.hash().update(self.writer(writer), &key, Value::Whole(&value), presence)
    }

    fn set(&self, writer: u32, key: Key, value: u64) -> Result<(), Reason> {
        self.put(writer, key, value, Presence::Any)
    }

    fn delete(&self, writer: u32, key: Key) -> Result<(), Reason> {
        self.hash().remove(self.writer(writer), &key, None)
    }

    fn get(&self, key: Key) -> Option<u64> {
        let mut value = [0; 16];
        self.hash().get(&key, &mut value).unwrap().then(|| number(value))
    }
}

/// A value of two words that tell whether they belong together.
fn whole(number: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&number.to_ne_bytes());
    value[8..].copy_from_slice(&(!number).to_ne_bytes());
    value
}

/// The number in it.
fn number(value: [u8; 16]) -> u64 {
    let [first, second] =
        [&value[..8], &value[8..]].map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    assert_eq!(second, !first, "a torn value");
    first
}
