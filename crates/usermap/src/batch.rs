//! Batches: many entries in one call, with the kernel's tokens, counts and partial results.
//!
//! Hash kinds and arrays have different batches in the kernel, and so they have here. A hash
//! (`__htab_map_lookup_and_delete_batch`) is read by buckets: a bucket is read whole or not at
//! all, the token is the number of the next bucket, and the end is ENOENT with the last entries.
//! An array (`generic_map_lookup_batch`) is read by keys: the token is the last key read, and the
//! end is ENOENT only where the buffers were not filled. Updates and deletions
//! (`generic_map_update_batch`, `generic_map_delete_batch`) go key by key and stop at the first
//! that fails. Queues and stacks have no batches (ENOTSUPP, 524).
//!
//! The same code serves Rust's slices and the caller's memory behind the bpf(2) seam: each is a
//! [`Sink`] or a [`Source`], which may fail in the middle. What was removed before that is lost,
//! as it is in the kernel.

mod buckets;
mod run;

use crate::error::{Reason, Result};
use crate::map::Map;
pub(crate) use run::{Count, Request, Sink, Source, delete, read, update};
use run::{Fallible, read_name};

/// Where a batch goes on: a bucket's number for hashes, the last index read for arrays.
///
/// The kernel gives it as 4 bytes, which convert from and into a token as a `u32`.
///
/// ```
/// use usermap::Token;
/// assert_eq!(u32::from(Token::from(7)), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u32);

impl From<u32> for Token {
    fn from(number: u32) -> Token {
        Token(number)
    }
}

impl From<Token> for u32 {
    fn from(token: Token) -> u32 {
        token.0
    }
}

/// What a batch did, which may be something even where it ends with an error.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let map = Map::create(&Spec::new(MapType::Hash, 4, 1, 2))?;
/// let batch = map.update_batch(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], &[10, 20, 30], 0);
/// assert_eq!(batch.count, 2, "the third found the map full");
/// assert_eq!(batch.result.unwrap_err().errno(), 7); // E2BIG
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch can end early or with an error"]
#[non_exhaustive]
pub struct Batch {
    /// How many entries it read, wrote or removed.
    pub count: u32,
    /// Where the next batch starts, if this one says so.
    pub next: Option<Token>,
    /// The kernel's answer: at the end of the map ENOENT ([`Error::is_not_found`](crate::Error::is_not_found)).
    pub result: Result<()>,
}

impl Batch {
    /// Whether the map's end was reached.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 16))?;
    /// assert!(map.lookup_batch(None, &mut [0; 32], &mut [0; 64], 0).is_end());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn is_end(&self) -> bool {
        matches!(&self.result, Err(error) if error.is_not_found())
    }

    /// Where to go on, or `None` at the end of the map.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 10))?;
    /// let (mut keys, mut values) = ([0; 4 * 3], [0; 8 * 3]);
    /// let (mut from, mut seen) = (None, 0);
    /// loop {
    ///     let batch = map.lookup_batch(from, &mut keys, &mut values, 0);
    ///     seen += batch.count;
    ///     from = batch.advance()?;
    ///     if from.is_none() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(seen, 10);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn advance(self) -> Result<Option<Token>> {
        match self.result {
            Ok(()) => Ok(self.next),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Map {
    /// Reads many entries: `BPF_MAP_LOOKUP_BATCH`.
    ///
    /// As many as the slices have room for, from the start or from where an earlier batch
    /// stopped. Keys are packed without gaps, and so are values, each of
    /// [`value_bytes`](Map::value_bytes). ENOSPC says that the next bucket of a hash alone has
    /// more entries than there is room for.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 2, 3))?;
    /// map.update(&[1, 0, 0, 0], &[7, 8], 0)?;
    /// let (mut keys, mut values) = ([0; 8], [0; 4]);
    /// let batch = map.lookup_batch(None, &mut keys, &mut values, 0);
    /// assert_eq!((batch.count, keys, values), (2, [0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 7, 8]));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn lookup_batch(
        &self,
        from: Option<Token>,
        keys: &mut [u8],
        values: &mut [u8],
        flags: u64,
    ) -> Batch {
        self.read_batch(false, Slices::new(self, from, keys, values), flags)
    }

    /// Reads many entries of a hash and removes them: `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
    ///
    /// Slices and tokens are those of [`lookup_batch`](Map::lookup_batch). No two callers get
    /// the same entry.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 1, 16))?;
    /// map.update(&[1, 0, 0, 0], &[5], 0)?;
    /// let mut values = [0; 16];
    /// let batch = map.lookup_and_delete_batch(None, &mut [0; 64], &mut values, 0);
    /// assert!(batch.is_end() && batch.count == 1 && values[0] == 5 && map.is_empty());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn lookup_and_delete_batch(
        &self,
        from: Option<Token>,
        keys: &mut [u8],
        values: &mut [u8],
        flags: u64,
    ) -> Batch {
        self.read_batch(true, Slices::new(self, from, keys, values), flags)
    }

    /// Writes many entries: `BPF_MAP_UPDATE_BATCH`. It stops at the first that is refused.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 1, 16))?;
    /// map.update_batch(&[1, 0, 0, 0, 2, 0, 0, 0], &[10, 20], 0).result?;
    /// assert_eq!(map.len(), 2);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn update_batch(&self, keys: &[u8], values: &[u8], flags: u64) -> Batch {
        let mut source = Given { count: 0, keys, values };
        let result = given_count(self, keys.len(), Some(values.len()))
            .map_err(|reason| self.error("update_batch", reason))
            .and_then(|count| {
                update(self, &Request { count, elem_flags: flags, flags: 0 }, &mut source)
            });
        Batch { count: source.count, next: None, result }
    }

    /// Removes many entries of a hash by their keys: `BPF_MAP_DELETE_BATCH`. It stops at the
    /// first that is not there.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 1, 1, 16))?;
    /// map.update_batch(b"abc", &[1, 2, 3], 0).result?;
    /// let batch = map.delete_batch(b"axb", 0);
    /// assert!(batch.count == 1 && batch.result.unwrap_err().is_not_found());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn delete_batch(&self, keys: &[u8], flags: u64) -> Batch {
        let mut source = Given { count: 0, keys, values: &[] };
        let result = given_count(self, keys.len(), None)
            .map_err(|reason| self.error("delete_batch", reason))
            .and_then(|count| {
                delete(self, &Request { count, elem_flags: flags, flags: 0 }, &mut source)
            });
        Batch { count: source.count, next: None, result }
    }

    fn read_batch(&self, remove: bool, mut sink: Slices<'_>, flags: u64) -> Batch {
        let result = given_count(self, sink.keys.len(), Some(sink.values.len()))
            .map_err(|reason| self.error(read_name(remove), reason))
            .and_then(|count| {
                read(self, remove, &Request { count, elem_flags: flags, flags: 0 }, &mut sink)
            });
        Batch { count: sink.count, next: sink.next.map(Token), result }
    }
}

/// How many entries slices of these lengths hold.
fn given_count(map: &Map, keys: usize, values: Option<usize>) -> Fallible<u32> {
    let key_size = map.spec().key_size as usize;
    if map.spec().map_type.is_ring() {
        // Refused later, after the rights are checked.
        return Ok(0);
    }
    if !keys.is_multiple_of(key_size) {
        let expected = keys.next_multiple_of(key_size);
        return Err(Reason::KeySize { given: keys, expected });
    }
    let count = keys / key_size;
    let expected = count.saturating_mul(map.value_bytes());
    match values {
        Some(given) if given != expected => Err(Reason::ValueSize { given, expected }),
        _ => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
    }
}

/// A Rust caller's slices to read into.
struct Slices<'a> {
    from: Option<u32>,
    next: Option<u32>,
    count: u32,
    sizes: (usize, usize),
    keys: &'a mut [u8],
    values: &'a mut [u8],
}

impl<'a> Slices<'a> {
    fn new(map: &Map, from: Option<Token>, keys: &'a mut [u8], values: &'a mut [u8]) -> Slices<'a> {
        let sizes = (map.spec().key_size as usize, map.value_bytes());
        Slices { from: from.map(u32::from), next: None, count: 0, sizes, keys, values }
    }
}

impl Count for Slices<'_> {
    fn set_count(&mut self, count: u32) -> Fallible<()> {
        self.count = count;
        Ok(())
    }
}

impl Sink for Slices<'_> {
    fn token(&mut self) -> Fallible<Option<u32>> {
        Ok(self.from)
    }

    fn set_token(&mut self, token: u32) -> Fallible<()> {
        self.next = Some(token);
        Ok(())
    }

    fn put(&mut self, at: u32, keys: &[u8], values: &[u8]) -> Fallible<()> {
        copy_to(self.keys, at as usize * self.sizes.0, keys)?;
        copy_to(self.values, at as usize * self.sizes.1, values)
    }
}

/// A Rust caller's slices to read from.
struct Given<'a> {
    count: u32,
    keys: &'a [u8],
    values: &'a [u8],
}

impl Count for Given<'_> {
    fn set_count(&mut self, count: u32) -> Fallible<()> {
        self.count = count;
        Ok(())
    }
}

impl Source for Given<'_> {
    fn get(&mut self, at: u32, key: &mut [u8], value: &mut [u8]) -> Fallible<()> {
        copy_from(self.keys, at, key)?;
        copy_from(self.values, at, value)
    }
}

fn copy_to(slice: &mut [u8], from: usize, bytes: &[u8]) -> Fallible<()> {
    let room = slice.get_mut(from..).and_then(|rest| rest.get_mut(..bytes.len()));
    room.ok_or(Reason::Fault)?.copy_from_slice(bytes);
    Ok(())
}

fn copy_from(slice: &[u8], at: u32, bytes: &mut [u8]) -> Fallible<()> {
    let start = at as usize * bytes.len();
    bytes.copy_from_slice(slice.get(start..start + bytes.len()).ok_or(Reason::Fault)?);
    Ok(())
}
