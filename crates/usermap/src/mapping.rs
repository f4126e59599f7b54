//! An array's values mapped into memory: what mmap(2) on a kernel map's descriptor gives.

use crate::abi::{MapType, errno, map_flags};
use crate::error::{Reason, Result};
use crate::map::{Access, Map, Tried, View};
use crate::mem::region::Window;
use crate::mem::sync::{Ordering::SeqCst, fence};
use crate::mem::{bytes, process};

/// Values of an `MMAPABLE` array, as [`Map::map_values`] maps them: read and written like memory,
/// without a call to the map. Every aligned 8 bytes are read and written at once; more may be
/// seen in the middle of a change. While a writable one exists the map cannot be frozen.
#[derive(Debug)]
pub struct Mapping {
    /// Declared first, so that it goes before what it may point into.
    window: Option<Window>,
    map: Map,
    length: usize,
    /// The record in which a writable mapping is counted, and the fork generation of its process.
    record: Option<(u32, u64)>,
    writable: bool,
}

impl Map {
    /// Maps `length` bytes of an `MMAPABLE` array's values from the byte `offset` on, a multiple of
    /// the page size (`array_map_mmap`). Each value takes its size rounded up to 8 bytes.
    ///
    /// # Errors
    ///
    /// EINVAL (not `MMAPABLE`, a read-only handle, past the last page, not on a page's start), EACCES
    /// (rights of the handle; writable and read-only for programs), EPERM (writable and frozen),
    /// ENOTSUPP for other kinds.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::map_flags};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 4).flags(map_flags::MMAPABLE))?;
    /// let mapping = map.map_values(true, 4096, 0)?;
    /// mapping.store(8, &[7; 8])?;
    /// let mut value = [0; 8];
    /// map.lookup(&1_u32.to_ne_bytes(), &mut value, 0)?;
    /// assert_eq!(value, [7; 8]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn map_values(&self, writable: bool, length: usize, offset: u64) -> Result<Mapping> {
        let (start, bytes) =
            self.mappable(writable, length, offset).map_err(|reason| self.error("mmap", reason))?;
        let mut mapping =
            Mapping { window: None, map: self.clone(), length, record: None, writable };
        if writable {
            // Counted first, then looked whether it is frozen: see `freeze`.
            let writer = self.inner.writer().map_err(|reason| self.error("mmap", reason))?;
            writer.count_mapping(true);
            mapping.record = Some((writer.number, process::generation()));
            fence(SeqCst);
            if self.is_frozen() {
                return Err(self.error("mmap", Reason::Frozen));
            }
        }
        mapping.window = Some(Window::new(&self.inner.region, start, bytes, writable)?);
        Ok(mapping)
    }

    /// Where the values to be mapped are, in bytes of the region, if they may be.
    fn mappable(&self, writable: bool, length: usize, offset: u64) -> Tried<(usize, usize)> {
        let page = rustix::param::page_size();
        if length == 0 || !offset.is_multiple_of(page as u64) {
            return Err(Reason::Invalid("a mapping starts at a page, and is not empty"));
        }
        if self.access() == Access::WriteOnly || writable && self.access() == Access::ReadOnly {
            return Err(Reason::Access("the handle was not opened for this"));
        }
        let spec = self.spec();
        let View::Array(array) = self.inner.view() else {
            return Err(self.unsupported(errno::ENOTSUPP));
        };
        if spec.map_type != MapType::Array || spec.spin_lock.is_some() {
            return Err(self.unsupported(errno::ENOTSUPP));
        }
        if self.access() == Access::ReadOnly {
            return Err(Reason::Invalid("a read-only handle cannot map the values"));
        }
        if writable && self.is_frozen() {
            return Err(Reason::Frozen);
        }
        if writable && spec.has(map_flags::RDONLY_PROG) {
            return Err(Reason::Access("the map is read-only for programs"));
        }
        if !spec.has(map_flags::MMAPABLE) {
            return Err(Reason::Invalid("the map was created without MMAPABLE"));
        }
        let bytes = length.checked_next_multiple_of(page);
        let end = bytes.and_then(|bytes| (bytes as u64).checked_add(offset));
        match (bytes, end) {
            (Some(bytes), Some(end)) if end <= array.geometry.mappable_bytes() as u64 => {
                Ok((array.value_word(0, 0) * 8 + offset as usize, bytes))
            }
            _ => Err(Reason::Invalid("past the last page of the values")),
        }
    }
}

impl Mapping {
    /// Bytes that were asked for.
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Reads bytes.
    ///
    /// # Errors
    ///
    /// EFAULT past the end.
    pub fn load(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let words = self.part(offset, bytes.len())?;
        let mut copy = vec![0; offset % 8 + bytes.len()];
        bytes::load(words, &mut copy);
        bytes.copy_from_slice(&copy[offset % 8..]);
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// EFAULT past the end, and in a mapping that may not be written to.
    pub fn store(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        if !self.writable {
            return Err(self.map.error("store", Reason::Fault));
        }
        bytes::store_at(self.part(offset, bytes.len())?, offset % 8, bytes);
        Ok(())
    }

    fn part(&self, offset: usize, len: usize) -> Result<&[crate::mem::sync::AtomicU64]> {
        let fault = || self.map.error("mmap", Reason::Fault);
        let end = offset.checked_add(len).filter(|end| *end <= self.length).ok_or_else(fault)?;
        let words = self.window.as_ref().map_or(&[][..], Window::words);
        words.get(offset / 8..bytes::words(end)).ok_or_else(fault)
    }

    /// `mprotect`: takes the right to write away, or gives it back to a mapping that was made with
    /// it.
    ///
    /// # Errors
    ///
    /// EACCES for a mapping that was made read-only.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::map_flags};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 4).flags(map_flags::MMAPABLE))?;
    /// let mut mapping = map.map_values(false, 4096, 0)?;
    /// assert_eq!(mapping.protect(true).unwrap_err().errno(), 13); // EACCES
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn protect(&mut self, writable: bool) -> Result<()> {
        if writable && self.record.is_none() {
            let reason = Reason::Access("the mapping was made read-only");
            return Err(self.map.error("mprotect", reason));
        }
        self.writable = writable;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A forked child has the mapping, but it was its parent that counted it.
        if let Some((number, generation)) = self.record
            && generation == process::generation()
            && let Some(writer) = self.map.inner.owners().writer(number)
        {
            writer.count_mapping(false);
        }
    }
}
