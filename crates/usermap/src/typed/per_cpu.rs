//! `PerCpuHashMap<K, V>` and `PerCpuArray<V>`: a value for each CPU slot.

use super::hash::not_found;
use super::number::sum;
use super::{Number, Plain, checked, common};
use crate::abi::{BPF_ANY, MapType};
use crate::error::{Reason, Result};
use crate::kind::hash::Presence;
use crate::map::{Map, View};
use crate::spec::Spec;
use core::marker::PhantomData;
use core::ops::Deref;
use std::fmt;
use std::path::Path;

/// The values of one entry, by CPU slot; a slice of them.
///
/// ```
/// use usermap::PerCpuArray;
/// let spec = PerCpuArray::<u32>::spec(1).cpus(3);
/// let hits = PerCpuArray::<u32>::from_map(usermap::Map::create(&spec)?)?;
/// hits.set(0, &[5, 7, 1])?;
/// let values = hits.get(0)?;
/// assert_eq!(values[1], 7);
/// assert_eq!((values.sum(), values.min(), values.max()), (13, Some(1), Some(7)));
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCpuValues<V>(Vec<V>);

impl<V> Deref for PerCpuValues<V> {
    type Target = [V];

    fn deref(&self) -> &[V] {
        &self.0
    }
}

impl<V> From<PerCpuValues<V>> for Vec<V> {
    fn from(values: PerCpuValues<V>) -> Vec<V> {
        values.0
    }
}

impl<V: Number> PerCpuValues<V> {
    /// Their sum, wrapping around.
    pub fn sum(&self) -> V {
        sum(&self.0)
    }

    /// The smallest.
    pub fn min(&self) -> Option<V> {
        self.0.iter().copied().min()
    }

    /// The largest.
    pub fn max(&self) -> Option<V> {
        self.0.iter().copied().max()
    }
}

impl<V: Plain> PerCpuValues<V> {
    /// From the bytes that a lookup gives: each value rounded up to 8.
    fn from_bytes(bytes: &[u8]) -> Self {
        let each = bytes.chunks(size_of::<V>().next_multiple_of(8));
        PerCpuValues(each.filter_map(|value| Some(V::read_from_prefix(value).ok()?.0)).collect())
    }

    fn to_bytes(values: &[V]) -> Vec<u8> {
        let each = size_of::<V>().next_multiple_of(8);
        let mut bytes = vec![0; each * values.len()];
        for (to, from) in bytes.chunks_mut(each).zip(values) {
            to[..size_of::<V>()].copy_from_slice(from.as_bytes());
        }
        bytes
    }
}

fn lookup<V: Plain>(map: &Map, key: &[u8]) -> Result<PerCpuValues<V>> {
    let mut bytes = vec![0; map.value_bytes()];
    map.lookup(key, &mut bytes, 0)?;
    Ok(PerCpuValues::from_bytes(&bytes))
}

fn update<V: Plain>(map: &Map, key: &[u8], values: &[V]) -> Result<()> {
    let (given, expected) = (values.len(), map.cpus() as usize);
    if given != expected {
        let each = size_of::<V>();
        let reason = Reason::ValueSize { given: given * each, expected: expected * each };
        return Err(map.error("update", reason));
    }
    map.update(key, &PerCpuValues::to_bytes(values), BPF_ANY)
}

/// A hash map with a value for each CPU slot. Increments go to the slot of the caller's CPU.
///
/// ```
/// use usermap::PerCpuHashMap;
/// let hits = PerCpuHashMap::<u32, u64>::create(1024)?;
/// hits.inc(&7, 2)?;
/// hits.inc(&7, 3)?; // perhaps on another CPU
/// assert_eq!(hits.sum(&7)?, Some(5));
/// # Ok::<(), usermap::Error>(())
/// ```
pub struct PerCpuHashMap<K, V> {
    map: Map,
    types: PhantomData<fn(K) -> V>,
}

common!(PerCpuHashMap<K, V>, MapType::PerCpuHash, size_of::<K>(), size_of::<V>());

impl<K: Plain, V: Plain> PerCpuHashMap<K, V> {
    /// Copies the values of a key, of all slots.
    ///
    /// # Errors
    ///
    /// EPERM for a write-only handle; EUCLEAN for a damaged region.
    pub fn get(&self, key: &K) -> Result<Option<PerCpuValues<V>>> {
        match lookup(&self.map, key.as_bytes()) {
            Ok(values) => Ok(Some(values)),
            Err(error) => not_found(error, None),
        }
    }

    /// Sets the values of a key, of all slots at once.
    ///
    /// # Errors
    ///
    /// EINVAL if there are not as many values as slots, E2BIG if the map is full, EPERM, EBUSY.
    pub fn insert(&self, key: &K, values: &[V]) -> Result<()> {
        update(&self.map, key.as_bytes(), values)
    }

    /// Sets the value of a key on the slot of the caller's CPU, as a program does: a new key's
    /// other values are 0.
    ///
    /// # Errors
    ///
    /// As [`insert`](PerCpuHashMap::insert).
    ///
    /// ```
    /// let map = usermap::PerCpuHashMap::<u32, u64>::create(16)?;
    /// map.insert_own(&1, &9)?;
    /// assert_eq!(map.sum(&1)?, Some(9));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn insert_own(&self, key: &K, value: &V) -> Result<()> {
        let update = || {
            self.map.may_write()?;
            self.map.update_on(self.map.own_slot(), key.as_bytes(), value.as_bytes(), BPF_ANY)
        };
        update().map_err(|reason| self.map.error("update", reason))
    }

    /// Removes a key and gives its values, to one caller only.
    ///
    /// # Errors
    ///
    /// EPERM, EBUSY.
    pub fn remove(&self, key: &K) -> Result<Option<PerCpuValues<V>>> {
        let mut bytes = vec![0; self.map.value_bytes()];
        match self.map.lookup_and_delete(key.as_bytes(), &mut bytes, 0) {
            Ok(()) => Ok(Some(PerCpuValues::from_bytes(&bytes))),
            Err(error) => not_found(error, None),
        }
    }

    /// The sum of a key's values.
    ///
    /// # Errors
    ///
    /// As [`get`](PerCpuHashMap::get).
    pub fn sum(&self, key: &K) -> Result<Option<V>>
    where
        V: Number,
    {
        Ok(self.get(key)?.map(|values| values.sum()))
    }

    /// Adds to a key's value on the slot of the caller's CPU; an absent key is made.
    ///
    /// # Errors
    ///
    /// As [`insert`](PerCpuHashMap::insert).
    #[inline]
    pub fn inc(&self, key: &K, delta: V) -> Result<()>
    where
        V: Number,
    {
        let add = || {
            self.map.may_write()?;
            let View::Hash(hash) = self.map.inner.view() else {
                // The kind was checked when this was made.
                return Err(Reason::Invalid("not a hash"));
            };
            let (writer, cpu) = (self.map.inner.writer()?, self.map.own_slot());
            let (key, width) = (key.as_bytes(), size_of::<V>());
            hash.add(writer, key, Some(cpu), width, delta.to_bits(), Presence::Any)
        };
        add().map(drop).map_err(|reason| self.map.error("inc", reason))
    }

    /// Every entry with its values, as [`Map::for_each`]; copied at once.
    ///
    /// # Errors
    ///
    /// As [`Map::for_each`].
    ///
    /// ```
    /// let map = usermap::PerCpuHashMap::<u32, u64>::create(16)?;
    /// map.inc(&1, 9)?;
    /// let entries = map.entries()?;
    /// assert_eq!((entries[0].0, entries[0].1.sum()), (1, 9));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn entries(&self) -> Result<Vec<(K, PerCpuValues<V>)>> {
        let mut entries = Vec::new();
        self.map.for_each(|key, values| {
            if let Ok(key) = K::read_from_bytes(key) {
                entries.push((key, PerCpuValues::from_bytes(values)));
            }
            true
        })?;
        Ok(entries)
    }
}

/// An array with a value for each CPU slot, all 0 at first. Increments go to the slot of the
/// caller's CPU.
///
/// ```
/// use usermap::PerCpuArray;
/// let hits = PerCpuArray::<u64>::create(4)?;
/// hits.inc(2, 5)?;
/// assert_eq!(hits.sum(2)?, 5);
/// # Ok::<(), usermap::Error>(())
/// ```
pub struct PerCpuArray<V> {
    map: Map,
    types: PhantomData<fn() -> V>,
}

common!(PerCpuArray<V>, MapType::PerCpuArray, 4, size_of::<V>());

impl<V: Plain> PerCpuArray<V> {
    /// Copies the values at an index, of all slots.
    ///
    /// # Errors
    ///
    /// ENOENT past the end, EPERM for a write-only handle.
    pub fn get(&self, index: u32) -> Result<PerCpuValues<V>> {
        lookup(&self.map, &index.to_ne_bytes())
    }

    /// Sets the values at an index, of all slots at once.
    ///
    /// # Errors
    ///
    /// EINVAL if there are not as many values as slots, E2BIG past the end, EPERM, EBUSY.
    pub fn set(&self, index: u32, values: &[V]) -> Result<()> {
        update(&self.map, &index.to_ne_bytes(), values)
    }

    /// Sets the value at an index on the slot of the caller's CPU, as a program does.
    ///
    /// # Errors
    ///
    /// As [`set`](PerCpuArray::set).
    ///
    /// ```
    /// let map = usermap::PerCpuArray::<u64>::create(4)?;
    /// map.set_own(1, &9)?;
    /// assert_eq!(map.sum(1)?, 9);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn set_own(&self, index: u32, value: &V) -> Result<()> {
        let update = || {
            self.map.may_write()?;
            let (cpu, key) = (self.map.own_slot(), index.to_ne_bytes());
            self.map.update_on(cpu, &key, value.as_bytes(), BPF_ANY)
        };
        update().map_err(|reason| self.map.error("update", reason))
    }

    /// The sum of the values at an index.
    ///
    /// # Errors
    ///
    /// As [`get`](PerCpuArray::get).
    pub fn sum(&self, index: u32) -> Result<V>
    where
        V: Number,
    {
        Ok(self.get(index)?.sum())
    }

    /// Adds to the value at an index on the slot of the caller's CPU.
    ///
    /// # Errors
    ///
    /// E2BIG past the end, EPERM.
    #[inline]
    pub fn inc(&self, index: u32, delta: V) -> Result<()>
    where
        V: Number,
    {
        let add = || {
            self.map.may_write()?;
            let View::Array(array) = self.map.inner.view() else {
                // The kind was checked when this was made.
                return Err(Reason::Invalid("not an array"));
            };
            let (cpu, width) = (self.map.own_slot(), size_of::<V>());
            array.add(|| self.map.inner.writer(), index, cpu, width, delta.to_bits())
        };
        add().map(drop).map_err(|reason| self.map.error("inc", reason))
    }

    /// The values at every index, in order.
    ///
    /// ```
    /// let map = usermap::PerCpuArray::<u64>::create(3)?;
    /// map.inc(1, 7)?;
    /// let sums = map.iter().map(|values| Ok(values?.sum())).collect::<Result<Vec<_>, usermap::Error>>()?;
    /// assert_eq!(sums, [0, 7, 0]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<PerCpuValues<V>>> {
        (0..self.map.spec().max_entries).map(|index| self.get(index))
    }
}
