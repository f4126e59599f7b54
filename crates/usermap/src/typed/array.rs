//! `Array<V>`.

use super::{Number, Plain, ValueRef, checked, common};
use crate::abi::MapType;
use crate::error::{Reason, Result};
use crate::kind::array;
use crate::map::{Map, Tried, View};
use crate::spec::Spec;
use core::marker::PhantomData;
use std::fmt;
use std::path::Path;

/// An array of a fixed number of values, all 0 at first. `Clone`, `Send` and `Sync`.
///
/// ```
/// use usermap::Array;
/// let sums = Array::<u64>::create(16)?;
/// sums.set(3, &7)?;
/// assert_eq!(sums.get(3)?, 7);
/// assert_eq!(sums.get(16).unwrap_err().errno(), 2); // ENOENT, as Linux says
/// # Ok::<(), usermap::Error>(())
/// ```
pub struct Array<V> {
    map: Map,
    types: PhantomData<fn() -> V>,
}

common!(Array<V>, MapType::Array, 4, size_of::<V>());

impl<V: Plain> Array<V> {
    #[inline(always)]
    fn array(&self) -> Tried<array::Array<'_>> {
        match self.map.inner.view() {
            View::Array(array) => Ok(array),
            // The kind was checked when this was made.
            _ => Err(Reason::Invalid("not an array")),
        }
    }

    /// Copies the value at an index.
    ///
    /// # Errors
    ///
    /// ENOENT past the end, EPERM for a write-only handle.
    #[inline]
    pub fn get(&self, index: u32) -> Result<V> {
        let get = || {
            self.map.may_read()?;
            let mut value = V::new_zeroed();
            self.array()?.lookup(index, 0, value.as_mut_bytes())?;
            self.map.hide_lock(value.as_mut_bytes());
            Ok(value)
        };
        get().map_err(|reason| self.map.error("lookup", reason))
    }

    /// The value at an index, to be worked on in place.
    ///
    /// # Errors
    ///
    /// As [`get`](Array::get).
    ///
    /// ```
    /// let map = usermap::Array::<u64>::create(4)?;
    /// let value = map.get_ref(2)?;
    /// assert_eq!(value.fetch_add(5)?, 0);
    /// assert_eq!(map.get(2)?, 5);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn get_ref(&self, index: u32) -> Result<ValueRef<'_, u32, V>> {
        self.get(index)?;
        Ok(ValueRef::new(&self.map, index))
    }

    /// Sets the value at an index: whole, or not at all.
    ///
    /// # Errors
    ///
    /// E2BIG past the end, EPERM, EBUSY.
    #[inline]
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        let set = || {
            self.map.may_write()?;
            self.array()?.update(|| self.map.inner.writer(), index, 0, value.as_bytes())
        };
        set().map_err(|reason| self.map.error("update", reason))
    }

    /// Adds to the value at an index, atomically. Sums wrap.
    ///
    /// # Errors
    ///
    /// As [`set`](Array::set).
    #[inline]
    pub fn inc(&self, index: u32, delta: V) -> Result<()>
    where
        V: Number,
    {
        self.add(index, delta).map(|_| ()).map_err(|reason| self.map.error("inc", reason))
    }

    /// The same, and gives the sum.
    ///
    /// # Errors
    ///
    /// As [`set`](Array::set).
    ///
    /// ```
    /// let map = usermap::Array::<u16>::create(4)?;
    /// map.inc(0, u16::MAX)?;
    /// assert_eq!(map.inc_and_return(0, 2)?, 1);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn inc_and_return(&self, index: u32, delta: V) -> Result<V>
    where
        V: Number,
    {
        let add = || {
            self.map.may_read()?;
            self.add(index, delta)
        };
        add().map_err(|reason| self.map.error("inc_and_return", reason))
    }

    #[inline(always)]
    fn add(&self, index: u32, delta: V) -> Tried<V>
    where
        V: Number,
    {
        self.map.may_write()?;
        let (array, width) = (self.array()?, size_of::<V>());
        let sum = array.add(|| self.map.inner.writer(), index, 0, width, delta.to_bits());
        sum.map(V::from_bits)
    }

    /// Every value, by index.
    ///
    /// ```
    /// let map = usermap::Array::<u64>::create(3)?;
    /// map.set(1, &7)?;
    /// assert_eq!(map.iter().collect::<Result<Vec<_>, _>>()?, [0, 7, 0]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<V>> {
        (0..self.map.spec().max_entries).map(|index| self.get(index))
    }
}
