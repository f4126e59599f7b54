//! The types of a map's key and value, kept in its region: BTF, and two numbers of types in it.
//!
//! The engine keeps the bytes and reads nothing in them but that they begin as BTF does. They are
//! written once, before anybody else can see the region, and their checksum is in the header.

use crate::error::{Reason, Result};
use crate::map::Map;
use crate::mem::bytes;
use std::sync::Arc;

/// Most bytes of BTF that a map carries.
pub(crate) const LIMIT: usize = if cfg!(miri) { 1 << 13 } else { 1 << 20 };
/// `struct btf_header`.
pub(crate) const HEADER: usize = 24;
/// What BTF starts with, in the machine's order.
pub(crate) const MAGIC: u16 = 0xeb9f;

/// The types of a map's key and value: BTF (the content of an object's section `.BTF`), and the
/// numbers of the two types in it. A map carries them, so that whoever opens it can show what is
/// in it by name.
///
/// ```
/// use usermap::{Map, MapType, MapTypes, Spec};
/// // A header without types or strings; real BTF comes from a compiler.
/// let mut btf = [0; 25];
/// btf[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
/// btf[20] = 1; // bytes of strings
/// let types = MapTypes::new(btf, 1, 2);
/// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 16).types(types.clone()))?;
/// assert_eq!(map.types()?, Some(types));
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct MapTypes {
    btf: Arc<[u8]>,
    key: u32,
    value: u32,
}

impl MapTypes {
    /// The types with these numbers in this BTF; 0 for a key that has none.
    ///
    /// Creating a map with them fails if it is no BTF, has more than 1 MiB, or the value has no
    /// type.
    pub fn new(btf: impl Into<Arc<[u8]>>, key: u32, value: u32) -> MapTypes {
        MapTypes { btf: btf.into(), key, value }
    }

    /// The BTF.
    pub fn btf(&self) -> &[u8] {
        &self.btf
    }

    /// Number of the key's type (`btf_key_type_id`), 0 for none.
    pub fn key(&self) -> u32 {
        self.key
    }

    /// Number of the value's type (`btf_value_type_id`).
    pub fn value(&self) -> u32 {
        self.value
    }

    /// What the header says of them, but for their place.
    pub(crate) fn summary(&self) -> Summary {
        let (bytes, checksum) = (self.btf.len() as u32, checksum(&self.btf));
        Summary { bytes, checksum, key: self.key, value: self.value }
    }
}

impl core::fmt::Debug for MapTypes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bytes = format_args!("{} bytes", self.btf.len());
        f.debug_struct("MapTypes")
            .field("btf", &bytes)
            .field("key", &self.key)
            .field("value", &self.value)
            .finish()
    }
}

/// What a header says of a map's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) bytes: u32,
    pub(crate) checksum: u32,
    pub(crate) key: u32,
    pub(crate) value: u32,
}

/// Of bytes, as the words that they fill in a region.
fn checksum(bytes: &[u8]) -> u32 {
    crate::header::fold(bytes.chunks(8).map(bytes::word_of))
}

impl Map {
    /// The types of key and value, if the map was created with some ([`Spec::types`]).
    ///
    /// # Errors
    ///
    /// They are damaged (EUCLEAN): everything else of the map can be used all the same.
    ///
    /// [`Spec::types`]: crate::Spec::types
    pub fn types(&self) -> Result<Option<MapTypes>> {
        let Some(summary) = self.inner.header.types else { return Ok(None) };
        // Checked is the copy: the region may change at any time.
        let mut btf = vec![0; summary.bytes as usize];
        bytes::load(&self.inner.region.words()[self.inner.types.clone()], &mut btf);
        if checksum(&btf) != summary.checksum {
            return Err(self.error("types", Reason::Corrupt("the types' checksum differs")));
        }
        Ok(Some(MapTypes::new(btf, summary.key, summary.value)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::abi::errno;
    use crate::mem::sync::Ordering::Relaxed;
    use crate::{MapType, Spec};

    fn some(len: usize) -> MapTypes {
        let mut btf: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        btf[..2].copy_from_slice(&MAGIC.to_ne_bytes());
        MapTypes::new(btf, 3, 7)
    }

    #[test]
    fn every_kind_keeps_them() {
        for kind in MapType::ALL {
            let key_size = if kind.is_ring() { 0 } else { 4 };
            let plain = Spec::new(kind, key_size, 8, 4).cpus(2);
            let untyped = Map::create_anonymous(&plain).unwrap();
            assert_eq!(untyped.types().unwrap(), None);
            assert!(!untyped.info().typed);
            for len in [24, 25, 31, 32, 5000] {
                let map = Map::create_anonymous(&plain.clone().types(some(len))).unwrap();
                assert_eq!(map.types().unwrap(), Some(some(len)), "{kind}");
                assert_eq!(map.inner.kind_end, untyped.inner.kind_end);
                assert!(map.info().typed);
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        let spec = Spec::new(MapType::PerCpuHash, 4, 8, 4).cpus(2).types(some(100));
        let map = Map::create_anonymous(&spec).unwrap();
        for index in map.inner.types.clone() {
            let word = &map.inner.region.words()[index];
            let before = word.load(Relaxed);
            // The last word's upper half is padding.
            word.store(before ^ 1 << (index % 32), Relaxed);
            assert_eq!(map.types().unwrap_err().errno(), errno::EUCLEAN);
            word.store(before, Relaxed);
        }
        assert!(map.types().is_ok());
    }

    #[test]
    fn what_is_refused() {
        let verdict = |types| {
            let spec = Spec::new(MapType::Array, 4, 8, 4).types(types);
            spec.validate().map_or_else(|error| error.errno(), |()| 0)
        };
        assert_eq!(verdict(some(HEADER)), 0);
        assert_eq!(verdict(some(LIMIT)), 0);
        assert_eq!(verdict(some(LIMIT + 1)), errno::E2BIG);
        assert_eq!(verdict(some(HEADER - 1)), errno::EINVAL);
        assert_eq!(verdict(MapTypes::new([0; 100], 1, 2)), errno::EINVAL, "no BTF");
        assert_eq!(verdict(MapTypes::new(some(100).btf, 1, 0)), errno::EINVAL);
        assert_eq!(verdict(MapTypes::new(some(100).btf, 0, 1)), 0, "a key without a type");
    }
}
