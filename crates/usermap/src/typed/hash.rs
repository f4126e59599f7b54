//! `HashMap<K, V>`.

use super::{Number, Plain, ValueRef, checked, common};
use crate::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, MapType};
use crate::error::{Error, Reason, Result};
use crate::kind::hash::{Hash, Presence, Reader, Snapshot, Value, Want};
use crate::map::{Inner, Map, Tried, View};
use crate::mem::owner::Writer;
use crate::spec::Spec;
use core::marker::PhantomData;
use std::fmt;
use std::path::Path;

/// A hash map of `max_entries` at most. `Clone`, `Send` and `Sync`: clones share the map.
///
/// ```
/// use usermap::HashMap;
/// let ports = HashMap::<u32, u16>::create(1024)?;
/// ports.insert(&1, &80)?;
/// assert_eq!(ports.get(&1)?, Some(80));
/// assert_eq!(ports.remove(&1)?, Some(80));
/// assert_eq!(ports.get(&1)?, None);
/// # Ok::<(), usermap::Error>(())
/// ```
pub struct HashMap<K, V> {
    map: Map,
    reader: Reader<Inner, K, V>,
    types: PhantomData<fn(K) -> V>,
}

common!(HashMap<K, V>, MapType::Hash, size_of::<K>(), size_of::<V>(), reader: reader);

fn reader<K, V>(map: &Map) -> Result<Reader<Inner, K, V>> {
    match map.inner.view() {
        View::Hash(hash) => Ok(Reader::new(&map.inner, hash, map.access.reads())),
        // The kind is checked before.
        _ => Err(map.error("open", Reason::Invalid("not a hash"))),
    }
}

impl<K: Plain, V: Plain> HashMap<K, V> {
    #[inline(always)]
    fn hash(&self) -> Tried<Hash<'_>> {
        match self.map.inner.view() {
            View::Hash(hash) => Ok(hash),
            // The kind was checked when this was made.
            _ => Err(Reason::Invalid("not a hash")),
        }
    }

    #[inline(always)]
    fn run<T>(&self, operation: &'static str, run: impl FnOnce() -> Tried<T>) -> Result<T> {
        run().map_err(|reason| self.map.error(operation, reason))
    }

    /// Copies the value of a key.
    ///
    /// # Errors
    ///
    /// EPERM for a write-only handle; EUCLEAN for a damaged region.
    #[inline(always)]
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        match self.reader.get(key) {
            Some(found) => Ok(found),
            None => {
                // A copy, so that the key itself need not be in memory for a lookup.
                let mut copy = K::new_zeroed();
                copy.as_mut_bytes().copy_from_slice(key.as_bytes());
                self.get_slowly(&copy)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn get_slowly(&self, key: &K) -> Result<Option<V>> {
        self.run("lookup", || {
            self.map.may_read()?;
            let mut value = V::new_zeroed();
            let found = self.read_slowly(self.hash()?, key.as_bytes(), &mut value)?;
            Ok(found.then_some(value))
        })
    }

    /// Copies the values of many keys, much faster than one by one in a large map: the memory of
    /// several is fetched at once. `values` has a place for each key.
    ///
    /// # Errors
    ///
    /// As [`get`](HashMap::get); EINVAL if the slices differ in length.
    ///
    /// ```
    /// let map = usermap::HashMap::<u32, u64>::create(16)?;
    /// map.insert(&1, &10)?;
    /// let mut values = [None; 2];
    /// map.get_many(&[1, 2], &mut values)?;
    /// assert_eq!(values, [Some(10), None]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn get_many(&self, keys: &[K], values: &mut [Option<V>]) -> Result<()> {
        self.run("lookup", || {
            self.map.may_read()?;
            if keys.len() != values.len() {
                return Err(Reason::Invalid("there must be as many values as keys"));
            }
            let hash = self.hash()?;
            self.reader.get_many(keys, values, |key| {
                let mut value = V::new_zeroed();
                let found = self.read_slowly(hash, key.as_bytes(), &mut value)?;
                Ok(found.then_some(value))
            })
        })
    }

    #[cold]
    #[inline(never)]
    fn read_slowly(&self, hash: Hash<'_>, key: &[u8], value: &mut V) -> Tried<bool> {
        let found = hash.get_slowly(key, value.as_mut_bytes())?;
        self.map.hide_lock(value.as_mut_bytes());
        Ok(found)
    }

    /// Whether there is such a key.
    ///
    /// # Errors
    ///
    /// As [`get`](HashMap::get).
    pub fn contains_key(&self, key: &K) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The value of a key, to be worked on in place; `None` if there is no such key.
    ///
    /// # Errors
    ///
    /// As [`get`](HashMap::get).
    pub fn get_ref(&self, key: K) -> Result<Option<ValueRef<'_, K, V>>> {
        Ok(self.contains_key(&key)?.then(|| ValueRef::new(&self.map, key)))
    }

    /// Sets the value of a key, which is made if it is not there (`BPF_ANY`).
    ///
    /// # Errors
    ///
    /// E2BIG if the map is full, EPERM, EBUSY.
    #[inline]
    pub fn insert(&self, key: &K, value: &V) -> Result<()> {
        self.update(key, value, BPF_ANY)
    }

    /// Makes a key that must not be there (`BPF_NOEXIST`).
    ///
    /// # Errors
    ///
    /// EEXIST if it is; as [`insert`](HashMap::insert).
    ///
    /// ```
    /// let map = usermap::HashMap::<u32, u64>::create(16)?;
    /// map.insert_new(&1, &10)?;
    /// assert_eq!(map.insert_new(&1, &11).unwrap_err().errno(), 17); // EEXIST
    /// assert_eq!(map.replace(&2, &20).unwrap_err().errno(), 2); // ENOENT
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn insert_new(&self, key: &K, value: &V) -> Result<()> {
        self.update(key, value, BPF_NOEXIST)
    }

    /// Sets the value of a key that must be there (`BPF_EXIST`).
    ///
    /// # Errors
    ///
    /// ENOENT if it is not; as [`insert`](HashMap::insert).
    #[inline]
    pub fn replace(&self, key: &K, value: &V) -> Result<()> {
        self.update(key, value, BPF_EXIST)
    }

    #[inline(always)]
    fn update(&self, key: &K, value: &V, flags: u64) -> Result<()> {
        if size_of::<V>() <= 8
            && flags != BPF_NOEXIST
            && let Some((hash, writer)) = self.kept_writer()
            && hash.set_quickly(writer, key.as_bytes(), value.as_bytes()).is_some()
        {
            return Ok(());
        }
        if self.put_quickly(key, value, flags).is_some() {
            return Ok(());
        }
        self.update_by_lock(key, value, flags)
    }

    #[inline(never)]
    fn put_quickly(&self, key: &K, value: &V, flags: u64) -> Option<()> {
        let (hash, writer) = self.kept_writer()?;
        let presence = Presence::from_flags(flags).ok()?;
        hash.put_quickly(writer, key.as_bytes(), value.as_bytes(), presence, true)
    }

    /// What a write takes, where all is as it is nearly always.
    #[inline(always)]
    fn kept_writer(&self) -> Option<(Hash<'_>, Writer<'_>)> {
        let hash = self.hash().ok()?;
        Some((hash, self.map.kept_writer(hash)?))
    }

    #[inline(never)]
    fn update_by_lock(&self, key: &K, value: &V, flags: u64) -> Result<()> {
        self.run("update", || {
            self.map.may_write()?;
            let (hash, key, value) = (self.hash()?, key.as_bytes(), value.as_bytes());
            let presence = Presence::from_flags(flags)?;
            if self.map.spec().spin_lock.is_some() {
                return self.map.update_but_lock(hash, key, Value::Whole(value), presence);
            }
            hash.update_by_lock(self.map.inner.writer()?, key, Value::Whole(value), presence)
        })
    }

    /// Removes a key and gives its value, to one caller only.
    ///
    /// # Errors
    ///
    /// EPERM, EBUSY.
    #[inline]
    pub fn remove(&self, key: &K) -> Result<Option<V>> {
        let mut value = V::new_zeroed();
        if self.map.access.reads()
            && let Some(found) = self.remove_quickly(key, Some(value.as_mut_bytes()))
        {
            return Ok(found.then_some(value));
        }
        match self.map.lookup_and_delete(key.as_bytes(), value.as_mut_bytes(), 0) {
            Ok(()) => Ok(Some(value)),
            Err(error) => not_found(error, None),
        }
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    ///
    /// As [`remove`](HashMap::remove).
    ///
    /// ```
    /// let map = usermap::HashMap::<u32, u64>::create(16)?;
    /// map.insert(&1, &10)?;
    /// assert!(map.delete(&1)?);
    /// assert!(!map.delete(&1)?);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn delete(&self, key: &K) -> Result<bool> {
        match self.remove_quickly(key, None) {
            Some(found) => Ok(found),
            None => self.remove_by_lock(key),
        }
    }

    #[inline(never)]
    fn remove_quickly(&self, key: &K, value: Option<&mut [u8]>) -> Option<bool> {
        let (hash, writer) = self.kept_writer()?;
        hash.remove_quickly(writer, key.as_bytes(), size_of::<V>(), value)
    }

    #[inline(never)]
    fn remove_by_lock(&self, key: &K) -> Result<bool> {
        self.run("delete", || {
            self.map.may_write()?;
            let writer = self.map.inner.writer()?;
            match self.hash()?.remove_by_lock(writer, key.as_bytes(), None) {
                Err(Reason::NotFound) => Ok(false),
                done => done.map(|()| true),
            }
        })
    }

    /// Adds to a key's value, atomically; an absent key is made and counts from 0. Sums wrap.
    ///
    /// # Errors
    ///
    /// As [`insert`](HashMap::insert).
    #[inline]
    pub fn inc(&self, key: &K, delta: V) -> Result<()>
    where
        V: Number,
    {
        if let Some((hash, writer)) = self.kept_writer()
            && hash.add_quickly(writer, key.as_bytes(), size_of::<V>(), delta.to_bits()).is_some()
        {
            return Ok(());
        }
        self.run("inc", || self.add(key, delta)).map(|_| ())
    }

    /// The same, and gives the sum.
    ///
    /// # Errors
    ///
    /// As [`insert`](HashMap::insert).
    ///
    /// ```
    /// let hits = usermap::HashMap::<[u8; 4], u32>::create(16)?;
    /// hits.inc(&[10, 0, 0, 1], 2)?;
    /// assert_eq!(hits.inc_and_return(&[10, 0, 0, 1], 3)?, 5);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn inc_and_return(&self, key: &K, delta: V) -> Result<V>
    where
        V: Number,
    {
        if self.map.access.reads()
            && let Some((hash, writer)) = self.kept_writer()
            && let Some(sum) =
                hash.add_quickly(writer, key.as_bytes(), size_of::<V>(), delta.to_bits())
        {
            return Ok(V::from_bits(sum));
        }
        self.run("inc_and_return", || {
            self.map.may_read()?;
            self.add(key, delta)
        })
    }

    #[inline(never)]
    fn add(&self, key: &K, delta: V) -> Tried<V>
    where
        V: Number,
    {
        self.map.may_write()?;
        let (writer, width) = (self.map.inner.writer()?, size_of::<V>());
        let (hash, key) = (self.hash()?, key.as_bytes());
        hash.add_by_lock(writer, key, None, width, delta.to_bits(), Presence::Any).map(V::from_bits)
    }

    /// Every entry, as it was at one moment each: one that is there from start to end is given
    /// exactly once.
    ///
    /// ```
    /// let map = usermap::HashMap::<u32, u64>::create(16)?;
    /// map.insert(&1, &10)?;
    /// map.insert(&2, &20)?;
    /// let mut entries = map.iter().collect::<Result<Vec<_>, _>>()?;
    /// entries.sort();
    /// assert_eq!(entries, [(1, 10), (2, 20)]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { map: self, snapshot: Snapshot::default(), number: 0, bucket: 0 }
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = Result<K>> {
        self.iter().map(|entry| entry.map(|(key, _)| key))
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = Result<V>> {
        self.iter().map(|entry| entry.map(|(_, value)| value))
    }

    /// Removes the entries for which `keep` gives false, as [`Map::retain`]; gives how many.
    ///
    /// # Errors
    ///
    /// As [`Map::retain`].
    ///
    /// ```
    /// let map = usermap::HashMap::<u32, u64>::create(16)?;
    /// map.insert(&1, &10)?;
    /// map.insert(&2, &20)?;
    /// assert_eq!(map.retain(|_, value| *value > 10)?, 1);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> Result<u64> {
        self.map.retain(|key, value| match (K::read_from_bytes(key), V::read_from_bytes(value)) {
            (Ok(key), Ok(value)) => keep(&key, &value),
            // The sizes were checked when this was made.
            _ => true,
        })
    }
}

/// What a missing key means to callers that expect it.
pub(super) fn not_found<T>(error: Error, absent: T) -> Result<T> {
    if error.is_not_found() { Ok(absent) } else { Err(error) }
}

/// The entries of a [`HashMap`], from [`HashMap::iter`]: a bucket is copied at a time.
pub struct Iter<'m, K, V> {
    map: &'m HashMap<K, V>,
    snapshot: Snapshot,
    /// The next entry of the snapshot.
    number: usize,
    /// The next bucket.
    bucket: u32,
}

impl<K: Plain, V: Plain> Iter<'_, K, V> {
    fn fill(&mut self) -> Tried<bool> {
        self.map.map.may_read()?;
        let hash = self.map.hash()?;
        while self.number >= self.snapshot.len() {
            let bucket = hash.next_occupied(self.bucket);
            if bucket >= hash.buckets() {
                return Ok(false);
            }
            self.bucket = bucket + 1;
            self.number = 0;
            hash.snapshot(bucket, Want::KeysAndValues, &mut self.snapshot)?;
        }
        Ok(true)
    }
}

impl<K: Plain, V: Plain> Iterator for Iter<'_, K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Result<(K, V)>> {
        match self.fill() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(reason) => {
                self.number = usize::MAX;
                self.bucket = u32::MAX;
                return Some(Err(self.map.map.error("iter", reason)));
            }
        }
        let key = K::read_from_bytes(self.snapshot.key(self.number)).ok()?;
        let mut value = V::read_from_bytes(self.snapshot.value(self.number)).ok()?;
        self.map.map.hide_lock(value.as_mut_bytes());
        self.number += 1;
        Some(Ok((key, value)))
    }
}

impl<K, V> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("map", self.map).field("bucket", &self.bucket).finish()
    }
}
