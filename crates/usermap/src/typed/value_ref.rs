//! A value, named by its key.

use super::{Number, Plain};
use crate::abi::BPF_EXIST;
use crate::error::Result;
use crate::map::Map;
use core::fmt;
use core::marker::PhantomData;

/// The value of one key, to be loaded, stored and added to in place. It names the value by its
/// key, so it never reaches another entry's value: once the key is gone every operation says so
/// (ENOENT), until the key is there again.
///
/// ```
/// use usermap::HashMap;
/// let hits = HashMap::<u32, u64>::create(16)?;
/// hits.insert(&7, &1)?;
/// let value = hits.get_ref(7)?.unwrap();
/// assert_eq!(value.fetch_add(5)?, 1);
/// assert_eq!(value.load()?, 6);
/// hits.remove(&7)?;
/// assert!(value.store(&1).unwrap_err().is_not_found());
/// # Ok::<(), usermap::Error>(())
/// ```
pub struct ValueRef<'m, K, V> {
    map: &'m Map,
    key: K,
    types: PhantomData<fn() -> V>,
}

impl<'m, K: Plain, V: Plain> ValueRef<'m, K, V> {
    pub(super) fn new(map: &'m Map, key: K) -> Self {
        ValueRef { map, key, types: PhantomData }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Copies the value.
    ///
    /// # Errors
    ///
    /// ENOENT if the key is gone; as [`Map::lookup`].
    pub fn load(&self) -> Result<V> {
        let mut value = V::new_zeroed();
        self.map.lookup(self.key.as_bytes(), value.as_mut_bytes(), 0)?;
        Ok(value)
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// ENOENT if the key is gone; as [`Map::update`].
    pub fn store(&self, value: &V) -> Result<()> {
        // An array's entries always exist, and BPF_EXIST says so there, too.
        self.map.update(self.key.as_bytes(), value.as_bytes(), BPF_EXIST)
    }

    /// Adds to the value, atomically; gives what it was before.
    ///
    /// # Errors
    ///
    /// ENOENT if the key is gone; as [`Map::inc`].
    pub fn fetch_add(&self, delta: V) -> Result<V>
    where
        V: Number,
    {
        let sum = self.map.inc_and_return(self.key.as_bytes(), delta.to_bits(), BPF_EXIST)?;
        Ok(V::from_bits(sum.wrapping_sub(delta.to_bits())))
    }
}

impl<K: fmt::Debug, V> fmt::Debug for ValueRef<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueRef").field("map", self.map).field("key", &self.key).finish()
    }
}
