//! What a code generator needs to look keys up in a hash itself: see [`HashLayout`].

use super::hashing::ODD;
use super::{Geometry, HEAD, Hash, PLACES};
use crate::kind::redo::REDO;
use crate::map::{Map, View};

/// Where the parts of a hash are, and what of its keys' hashes is the map's own: all that machine
/// code needs to find a key without calling anything. It is what `kind::hash` describes; whoever
/// makes such code must follow that, and give what it has no code for (a chain, a redo, a bucket
/// that changed meanwhile) to [`Program::lookup`](crate::Program::lookup).
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 100))?;
/// let layout = map.hash_layout().unwrap();
/// assert_eq!((layout.kernel_buckets, layout.key_stride), (128, 16));
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HashLayout {
    /// What keys are mixed with. A folded multiply, here written `a * b`, is the exclusive or of both
    /// halves of the product in 128 bits. With a key's words, the last one filled up with zeros, the
    /// hash is
    /// - of one word `w`: `((w ^ seed[0]) * factor) * factor`
    /// - of more: `h = seed[0] ^ bytes of the key`, and for every two words `v` and `w` (0 after the
    ///   last one) `h = (v ^ h) * (w ^ seed[1])`; then `(h ^ seed[0]) * factor`
    ///
    /// Its lowest `kernel_bits` times `buckets`, divided by `kernel_buckets`, is the bucket, and its
    /// highest byte the tag.
    pub seed: [u64; 2],
    /// What the last multiply is by.
    pub factor: u64,
    /// Buckets as the kernel counts them, a power of two.
    pub kernel_buckets: u64,
    /// Its logarithm.
    pub kernel_bits: u32,
    /// Buckets.
    pub buckets: u32,
    /// Places of a bucket: sixteen. As many of the lock word's lowest bits say which are occupied.
    pub places: u32,
    /// Host address of the first bucket's head. It stays there as long as the map is open.
    pub heads: usize,
    /// Bytes from a head, which starts with the lock word, to the next.
    pub head_bytes: usize,
    /// Byte of a head where the number of the first overflow node + 1 is, in 4 bytes.
    pub link: usize,
    /// Byte of a head where the tags are, one a place.
    pub tags: usize,
    /// The bit of the lock word that says that a change is to be completed.
    pub redo: u64,
    /// Host address of the first key, which stays as the heads do.
    pub keys: usize,
    /// Where in the [`ValueMemory`](crate::ValueMemory) the first key is, if keys are there.
    pub keys_among_values: Option<usize>,
    /// Bytes from a key to the next.
    pub key_stride: usize,
    /// Where in the value memory the first value is, and bytes from it to the next.
    pub values: usize,
    /// As said there.
    pub value_stride: usize,
    /// Bytes from one CPU slot's values to the next's; 0 if the map is not per CPU.
    pub plane: usize,
}

impl Map {
    /// The layout of a hash for machine code; `None` for other kinds, and for hashes whose order is
    /// the kernel's (`ZERO_SEED`), which hash by another function.
    pub fn hash_layout(&self) -> Option<HashLayout> {
        match self.inner.view() {
            View::Hash(hash) => hash.layout(),
            _ => None,
        }
    }
}

impl Hash<'_> {
    fn layout(&self) -> Option<HashLayout> {
        let geometry: &Geometry = self.geometry;
        let address = |word: usize| self.words.get(word..).map(|words| words.as_ptr() as usize);
        let pages = geometry.value_pages();
        Some(HashLayout {
            seed: geometry.seed?,
            factor: geometry.seed?[1] ^ ODD,
            kernel_buckets: geometry.kernel_buckets,
            kernel_bits: geometry.kernel_buckets.trailing_zeros(),
            buckets: geometry.buckets,
            places: PLACES as u32,
            heads: address(geometry.heads)?,
            head_bytes: HEAD * 8,
            link: super::bucket::LINK * 8 + if cfg!(target_endian = "little") { 4 } else { 0 },
            tags: crate::mem::buckets::TAGS * 8,
            redo: REDO,
            keys: address(geometry.keys)?,
            keys_among_values: geometry.keys.checked_sub(pages).map(|words| words * 8),
            key_stride: geometry.key_stride * 8,
            values: (geometry.redo.values - pages) * 8,
            value_stride: geometry.redo.stride * 8,
            plane: geometry.redo.plane * 8,
        })
    }
}
