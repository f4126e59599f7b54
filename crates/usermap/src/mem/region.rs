//! A region: one contiguous piece of memory, seen as atomic words, that holds one map.
//!
//! It is heap memory (under Miri and loom), an anonymous mapping that forked children share, or
//! the mapping of a descriptor: a nameless file, a memfd, or a file with a name. Nothing in it is
//! ever seen as `&[u8]`: only as `&[AtomicU64]`, which others may write to. Large ones are mapped
//! where they can have large pages (`huge`).

use super::buckets::Buckets;
use super::huge;
use super::lanes::{Lanes, Shape};
use super::sync::AtomicU64;
use crate::error::{Error, Result};
use core::ops::Range;
use core::ptr::NonNull;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What keeps the words where they are.
#[derive(Debug)]
enum Storage {
    #[cfg_attr(not(any(miri, loom)), allow(dead_code))]
    Heap,
    Anonymous,
    Descriptor(OwnedFd),
}

/// One map's memory.
#[derive(Debug)]
pub(crate) struct Region {
    words: NonNull<[AtomicU64]>,
    storage: Storage,
    buckets: Option<Buckets>,
    lanes: Lanes,
}

// SAFETY: the words are atomics in memory that stays mapped as long as the region exists; the
// pointer is only ever turned into `&[AtomicU64]`, which is Send and Sync.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Zeroed memory of `bytes` bytes (a multiple of 8), shared with forked children only.
    pub(crate) fn anonymous(bytes: usize) -> Result<Region> {
        #[cfg(any(miri, loom))]
        {
            let words: Box<[AtomicU64]> = (0..bytes / 8).map(|_| AtomicU64::new(0)).collect();
            let words = NonNull::from(Box::leak(words));
            return Ok(Region { words, storage: Storage::Heap, buckets: None, lanes: Lanes::NONE });
        }
        #[cfg(not(any(miri, loom)))]
        {
            use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::SHARED | MapFlags::NORESERVE;
            // SAFETY: a new mapping at an address that the kernel chooses, or that `aligned` has
            // reserved, aliases nothing.
            let map = |at, place| unsafe { mmap_anonymous(at, bytes, access, flags | place) };
            let start = huge::aligned(bytes, 0, map)
                .map_err(|error| Error::io("taking memory for the map", "", error))?;
            let words = slice(start, bytes)?;
            Ok(Region { words, storage: Storage::Anonymous, buckets: None, lanes: Lanes::NONE })
        }
    }

    /// The first `bytes` bytes (a multiple of 8) of a file, which must have as many.
    pub(crate) fn map(fd: OwnedFd, bytes: usize, writable: bool, path: &Path) -> Result<Region> {
        let start = map_file(fd.as_fd(), 0, bytes, writable)
            .map_err(|error| Error::io("mapping the map's file", path, error))?;
        let words = slice(start, bytes)?;
        Ok(Region { words, storage: Storage::Descriptor(fd), buckets: None, lanes: Lanes::NONE })
    }

    /// The words.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the pointer covers memory that was mapped (or leaked from a box) when the
        // region was made and is given back only by `drop`; words are valid for every bit
        // pattern, and are written by anyone only as memory that atomics may read.
        unsafe { self.words.as_ref() }
    }

    /// Finds the buckets of a hash, whose heads and whose entries of `stride` words start at these
    /// words. There are none if they do not fit.
    pub(crate) fn find_buckets(
        &mut self,
        heads: usize,
        entries: usize,
        stride: usize,
        mask_and_scale: (u64, u64),
    ) {
        // SAFETY: the words stay as they are until the region is dropped, and the buckets are its
        // own, which it only lends.
        self.buckets = unsafe { Buckets::new(self.words, heads, entries, stride, mask_and_scale) };
    }

    /// The buckets that were found.
    #[inline(always)]
    pub(crate) fn buckets(&self) -> &Option<Buckets> {
        &self.buckets
    }

    /// Finds the lanes of a queue or stack. There are none if they do not fit.
    pub(crate) fn find_lanes(&mut self, shape: Shape) {
        // SAFETY: as in `find_buckets`.
        self.lanes = unsafe { Lanes::new(self.words, shape) }.unwrap_or(Lanes::NONE);
    }

    /// The lanes that were found.
    #[inline(always)]
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// The descriptor, if there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.storage {
            Storage::Descriptor(fd) => Some(fd.as_fd()),
            _ => None,
        }
    }

    /// The descriptor, to be replaced by another one of the same file.
    pub(crate) fn fd_mut(&mut self) -> Option<&mut OwnedFd> {
        match &mut self.storage {
            Storage::Descriptor(fd) => Some(fd),
            _ => None,
        }
    }

    /// Bytes that were cut off the end of the file since it was mapped, if any were.
    pub(crate) fn missing(&self) -> Option<u64> {
        let size = rustix::fs::fstat(self.fd()?).ok()?.st_size as u64;
        (self.bytes() as u64).checked_sub(size).filter(|missing| *missing > 0)
    }

    /// Makes the file as long as the region again.
    pub(crate) fn lengthen(&self) -> rustix::io::Result<()> {
        self.fd().map_or(Ok(()), |fd| rustix::fs::ftruncate(fd, self.bytes() as u64))
    }

    /// Writes changed pages of a file back to its disk.
    pub(crate) fn sync(&self) -> rustix::io::Result<()> {
        let Storage::Descriptor(fd) = &self.storage else { return Ok(()) };
        // SAFETY: the range is this region's own mapping.
        unsafe {
            rustix::mm::msync(
                self.words.as_ptr().cast(),
                self.bytes(),
                rustix::mm::MsyncFlags::SYNC,
            )?;
        }
        rustix::fs::fsync(fd)
    }

    /// Asks for the line with this word to be brought near, ahead of its use.
    #[inline(always)]
    pub(crate) fn prefetch(word: *const AtomicU64) {
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        // SAFETY: a prefetch has no effect on memory, whatever the address.
        unsafe {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(word.cast());
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, loom)))))]
        let _ = word;
    }

    /// Puts pages of 2 MiB under the region, but for the bytes `except`, as far as they can be had.
    pub(crate) fn take_huge_pages(&self, except: Range<usize>) -> rustix::io::Result<()> {
        match self.storage {
            Storage::Heap => Err(rustix::io::Errno::NOSYS),
            _ => huge::collapse(self.words(), except),
        }
    }

    /// Bytes that pages of 2 MiB are under now.
    pub(crate) fn huge(&self) -> u64 {
        match self.storage {
            Storage::Heap => 0,
            _ => huge::count(self.words()),
        }
    }

    /// How many of the bytes are backed by memory now (0 where that cannot be told).
    pub(crate) fn resident(&self) -> u64 {
        match &self.storage {
            Storage::Heap => self.bytes() as u64,
            Storage::Descriptor(fd) => {
                rustix::fs::fstat(fd).map_or(0, |stat| stat.st_blocks as u64 * 512)
            }
            Storage::Anonymous => resident_pages(self.words.as_ptr().cast(), self.bytes()),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.storage {
            // SAFETY: the pointer came from `Box::leak` of a slice of this length.
            Storage::Heap => drop(unsafe { Box::from_raw(self.words.as_ptr()) }),
            // SAFETY: the mapping is this region's own, and no reference into it outlives it.
            _ => unsafe {
                let _ = rustix::mm::munmap(self.words.as_ptr().cast(), self.bytes());
            },
        }
    }
}

/// A part of a region's file, mapped once more: what mmap(2) on a map's descriptor gives.
#[derive(Debug)]
pub(crate) struct Window {
    words: NonNull<[AtomicU64]>,
    /// Anonymous regions have no file: the window is a part of the region itself.
    owned: bool,
}

// SAFETY: as for `Region`.
unsafe impl Send for Window {}
// SAFETY: as for `Region`.
unsafe impl Sync for Window {}

impl Window {
    /// Maps `bytes` bytes from the byte `offset` on, both multiples of a page.
    pub(crate) fn new(
        region: &Region,
        offset: usize,
        bytes: usize,
        writable: bool,
    ) -> Result<Window> {
        let Some(fd) = region.fd() else {
            let words = &region.words()[offset / 8..(offset + bytes) / 8];
            return Ok(Window { words: NonNull::from(words), owned: false });
        };
        let start = map_file(fd, offset as u64, bytes, writable)
            .map_err(|error| Error::io("mapping the values", "", error))?;
        Ok(Window { words: slice(start, bytes)?, owned: true })
    }

    /// The words; whoever holds the window keeps the region, too.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: an owned window is a mapping given back only by `drop`; one that is not owned
        // lies in a region that the window's holder (`Mapping`) keeps alive.
        unsafe { self.words.as_ref() }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: the mapping is this window's own.
            unsafe {
                let _ = rustix::mm::munmap(self.words.as_ptr().cast(), self.words.len() * 8);
            }
        }
    }
}

fn map_file(
    fd: BorrowedFd<'_>,
    offset: u64,
    bytes: usize,
    writable: bool,
) -> rustix::io::Result<*mut core::ffi::c_void> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    // SAFETY: a new mapping at an address that the kernel chooses, or that `aligned` has reserved,
    // aliases nothing; that the file may change underneath is why it is only ever seen as atomics.
    let map = |at, place| unsafe { mmap(at, bytes, access, MapFlags::SHARED | place, fd, offset) };
    huge::aligned(bytes, offset as usize, map)
}

fn slice(start: *mut core::ffi::c_void, bytes: usize) -> Result<NonNull<[AtomicU64]>> {
    NonNull::new(core::ptr::slice_from_raw_parts_mut(start.cast::<AtomicU64>(), bytes / 8))
        .ok_or_else(|| Error::not_a_map("", "the kernel mapped it at address 0"))
}

/// Pages of a mapping that are in memory, by mincore(2), in bytes.
fn resident_pages(start: *mut core::ffi::c_void, bytes: usize) -> u64 {
    let page = rustix::param::page_size();
    let mut resident = 0;
    let mut pages = vec![0u8; bytes.div_ceil(page).min(1 << 16)];
    let step = pages.len() * page;
    for offset in (0..bytes).step_by(step) {
        let part = step.min(bytes - offset);
        // SAFETY: the range is in a mapping of the caller's, and the vector has a byte for each
        // of its pages.
        let done = unsafe { libc::mincore(start.byte_add(offset), part, pages.as_mut_ptr()) };
        if done != 0 {
            return 0;
        }
        resident += pages[..part.div_ceil(page)].iter().filter(|page| **page & 1 == 1).count();
    }
    resident as u64 * page as u64
}
