//! The untyped map: bytes in, bytes out. What it is made of, its access rights, and dispatch to
//! the kinds.
//!
//! Every operation comes twice: public, with errors that name the map, and as `try_…` for the
//! modules that build on it (batches, the command seam, the typed maps), with bare reasons.

use crate::abi::{errno, map_flags};
use crate::error::{Error, Reason, Result};
use crate::header::{self, Header};
use crate::kind::{array, hash, ring};
use crate::mem::owner::{Operation, Owners, Repair, Writer};
use crate::mem::sync::{AtomicU64, Ordering::*, acquire, fence};
use crate::mem::{Region, process};
use crate::spec::Spec;
use crate::writers::Writers;
use core::ops::Range;
use rustix::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What the `try_…` functions give.
pub(crate) type Tried<T> = core::result::Result<T, Reason>;

/// Which way a handle may be used. Programs are not bound by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Both ways.
    ReadWrite,
    /// Lookups only (`BPF_F_RDONLY`).
    ReadOnly,
    /// Changes only (`BPF_F_WRONLY`).
    WriteOnly,
}

impl Access {
    /// From the flags of a creation or of `BPF_MAP_GET_FD_BY_ID`.
    pub(crate) fn from_flags(flags: u32) -> Access {
        match flags & (map_flags::RDONLY | map_flags::WRONLY) {
            map_flags::RDONLY => Access::ReadOnly,
            map_flags::WRONLY => Access::WriteOnly,
            _ => Access::ReadWrite,
        }
    }

    pub(crate) fn reads(self) -> bool {
        self != Access::WriteOnly
    }

    pub(crate) fn writes(self) -> bool {
        self != Access::ReadOnly
    }
}

/// A map, in memory that processes share. Cheap to clone: clones are handles to the same map.
///
/// Keys and values are bytes; see [`HashMap`](crate::HashMap) and its like for typed ones. Keys
/// of arrays are indices, a `u32` in the machine's order. Queues and stacks have empty keys.
///
/// ```
/// use usermap::{Map, MapType, Spec, abi::BPF_NOEXIST};
/// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 1024))?;
/// map.update(&7_u32.to_ne_bytes(), &1_u64.to_ne_bytes(), BPF_NOEXIST)?;
/// let mut value = [0; 8];
/// map.lookup(&7_u32.to_ne_bytes(), &mut value, 0)?;
/// assert_eq!(u64::from_ne_bytes(value), 1);
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone)]
pub struct Map {
    pub(crate) inner: Arc<Inner>,
    pub(crate) access: Access,
}

/// What all handles to a map share.
pub(crate) struct Inner {
    pub(crate) region: Region,
    pub(crate) header: Header,
    pub(crate) kind: Kind,
    /// The word after the kind's own parts: leases and types come after it.
    pub(crate) kind_end: usize,
    pub(crate) leases: Range<usize>,
    pub(crate) types: Range<usize>,
    /// Bytes of a value as lookups and updates move it.
    pub(crate) value_bytes: usize,
    pub(crate) writers: Writers,
    /// Whether the region is mapped writable.
    pub(crate) writable: bool,
    pub(crate) path: Mutex<Option<PathBuf>>,
    /// Tells maps apart within the process.
    pub(crate) serial: u64,
}

/// The geometry of the map's kind.
#[derive(Debug)]
pub(crate) enum Kind {
    Hash(hash::Geometry),
    Array(array::Geometry),
    Ring(ring::Geometry),
}

impl Kind {
    /// The geometry, and the words up to the end of the kind's own parts.
    pub(crate) fn of(header: &Header) -> Option<(Kind, usize)> {
        let (spec, start) = (&header.spec, header::KIND as u64);
        match spec.map_type {
            kind if kind.is_hash() => hash::Geometry::new(spec, header.hash_seed(), start)
                .map(|(geometry, words)| (Kind::Hash(geometry), words)),
            kind if kind.is_array() => array::Geometry::new(spec, start)
                .map(|(geometry, words)| (Kind::Array(geometry), words)),
            _ => ring::Geometry::new(spec, start)
                .map(|(geometry, words)| (Kind::Ring(geometry), words)),
        }
    }

    #[inline(always)]
    pub(crate) fn view<'r>(&'r self, region: &'r Region) -> View<'r> {
        let words = region.words();
        match self {
            Kind::Hash(geometry) => {
                View::Hash(hash::Hash { words, geometry, buckets: region.buckets() })
            }
            Kind::Array(geometry) => View::Array(array::Array { words, geometry }),
            Kind::Ring(geometry) => View::Rings(ring::Rings::new(region, geometry)),
        }
    }
}

impl Kind {
    /// Finds in a region what the short ways need not look for again.
    pub(crate) fn find_in(&self, region: &mut Region) {
        match self {
            Kind::Hash(geometry) => geometry.find_buckets(region),
            Kind::Array(_) => {}
            Kind::Ring(geometry) => geometry.find_lanes(region),
        }
    }

    /// The words of the redo buffers, of which most never are used.
    pub(crate) fn sparse(&self) -> Range<usize> {
        match self {
            Kind::Hash(geometry) => geometry.redo.all_buffers(),
            Kind::Array(geometry) => geometry.redo.all_buffers(),
            Kind::Ring(_) => 0..0,
        }
    }

    /// Word from which on there are whole pages of values (and a hash's keys), and nothing else.
    #[inline(always)]
    pub(crate) fn value_pages(&self) -> usize {
        match self {
            Kind::Hash(geometry) => geometry.value_pages(),
            Kind::Array(geometry) => geometry.redo.values,
            Kind::Ring(_) => 0,
        }
    }

    /// Word from which on there are values that pointers may lead to.
    pub(crate) fn values(&self) -> usize {
        match self {
            Kind::Hash(geometry) => geometry.redo.values,
            Kind::Array(geometry) => geometry.redo.values,
            Kind::Ring(_) => usize::MAX,
        }
    }
}

/// A kind's view of the region, for one operation.
pub(crate) enum View<'r> {
    Hash(hash::Hash<'r>),
    Array(array::Array<'r>),
    Rings(ring::Rings<'r>),
}

impl Inner {
    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_> {
        self.kind.view(&self.region)
    }

    #[inline(always)]
    pub(crate) fn owners(&self) -> Owners<'_> {
        header::owners(self.region.words())
    }

    /// Cleans up after writers that died in the middle of an operation, so that what they counted
    /// and what they committed agree.
    pub(crate) fn settle(&self) {
        let owners = self.owners();
        for writer in owners.taken().filter(|_| self.writable) {
            if writer.intent().operation() != Operation::None {
                // Damage is for the operation to tell that meets it.
                let _ = owners.recover(writer, self);
            }
        }
    }

    /// This thread's right to write to the region.
    #[inline(always)]
    pub(crate) fn writer(&self) -> Tried<Writer<'_>> {
        match self.kept_writer(self.region.words()) {
            Some(writer) => Ok(writer),
            None => self.claimed_writer(),
        }
    }

    /// The same, if this thread wrote to the map not long ago.
    #[inline(always)]
    pub(crate) fn kept_writer<'r>(&self, words: &'r [AtomicU64]) -> Option<Writer<'r>> {
        header::owners(words).writer(process::kept(self.serial)?)
    }

    #[cold]
    #[inline(never)]
    fn claimed_writer(&self) -> Tried<Writer<'_>> {
        if !self.writable {
            return Err(Reason::ReadOnly);
        }
        let writer = self.writers.get(self.owners(), self)?;
        process::keep(self.serial, writer.number);
        Ok(writer)
    }
}

impl AsRef<Region> for Inner {
    fn as_ref(&self) -> &Region {
        &self.region
    }
}

impl Repair for Inner {
    fn repair(&self, dead: Writer<'_>) -> Tried<()> {
        match self.view() {
            View::Hash(hash) => hash.repair(dead),
            View::Array(array) => array.repair(dead),
            View::Rings(rings) => rings.repair(dead),
        }
    }

    fn is_held(&self, lock: u32, owner: u32) -> bool {
        match self.view() {
            View::Hash(hash) => hash.is_held(lock, owner),
            View::Array(array) => array.is_held(lock, owner),
            View::Rings(rings) => rings.is_held(lock, owner),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.writable {
            self.writers.release(self.owners());
        }
    }
}

/// Looking at the map.
impl Map {
    /// The specification, with the CPU slots that the map has.
    pub fn spec(&self) -> &Spec {
        &self.inner.header.spec
    }

    /// What this handle may be used for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// CPU slots; 1 unless the map is per CPU.
    pub fn cpus(&self) -> u32 {
        self.spec().cpus
    }

    /// Bytes of a value as lookups and updates move it: `value_size`, or for per-CPU hashes and
    /// arrays that rounded up to 8 for each slot.
    #[inline(always)]
    pub fn value_bytes(&self) -> usize {
        self.inner.value_bytes
    }

    /// Entries at one moment, in a time that does not depend on how many there are (a hash adds up what
    /// each thread that ever wrote to it has counted): for arrays always `max_entries`, for per-CPU
    /// queues and stacks those of all slots.
    pub fn len(&self) -> u64 {
        match self.inner.view() {
            View::Hash(hash) => {
                self.inner.settle();
                hash.count().get().into()
            }
            View::Array(_) => self.spec().max_entries.into(),
            View::Rings(rings) => {
                (0..rings.count()).map(|ring| u64::from(rings.len(ring).unwrap_or(0))).sum()
            }
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values in one CPU slot of a per-CPU queue or stack.
    ///
    /// # Errors
    ///
    /// There is no such slot, or the map is of another kind.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::cpu_flags};
    /// let map = Map::create(&Spec::new(MapType::PerCpuQueue, 0, 8, 4).cpus(2))?;
    /// map.push(&[1; 8], cpu_flags(1))?;
    /// assert_eq!((map.len_on(0)?, map.len_on(1)?), (0, 1));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn len_on(&self, cpu: u32) -> Result<u64> {
        let len = || match self.inner.view() {
            View::Rings(rings) => Ok(rings.len(self.slot(cpu)?)?.into()),
            _ => Err(self.unsupported(errno::EINVAL)),
        };
        len().map_err(|reason| self.error("len", reason))
    }

    /// Whether the map is frozen: bpf(2) calls and their like may only read it.
    pub fn is_frozen(&self) -> bool {
        acquire(&self.inner.region.words()[header::FROZEN]) != 0
    }

    /// `BPF_MAP_FREEZE`: from now on, and for all processes, only programs may change it.
    ///
    /// # Errors
    ///
    /// EPERM if this handle may not write or the map is frozen, EBUSY while its values are mapped
    /// writable, ENOTSUPP if they have a spin lock.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1))?;
    /// map.freeze()?;
    /// assert_eq!(map.update(&[0; 4], &[9; 8], 0).unwrap_err().errno(), 1); // EPERM
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn freeze(&self) -> Result<()> {
        let freeze = || {
            if self.spec().spin_lock.is_some() {
                return Err(self.unsupported(errno::ENOTSUPP));
            }
            self.may_write()?;
            // Claims a record first: a handle that cannot write must not get further.
            self.inner.writer()?;
            // Frozen first, then looked: whoever maps counts first and then looks, so at least one
            // of the two sees the other.
            let frozen = &self.inner.region.words()[header::FROZEN];
            frozen.store(1, SeqCst);
            fence(SeqCst);
            if self.inner.owners().has_mappings() {
                frozen.store(0, SeqCst);
                return Err(Reason::Busy);
            }
            Ok(())
        };
        freeze().map_err(|reason| self.error("freeze", reason))
    }

    /// The descriptor, if the map has one.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.region.fd()
    }

    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.inner.path.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(crate) fn error(&self, operation: &'static str, reason: Reason) -> Error {
        Error::Operation { map: self.spec().name, operation, reason }
    }

    pub(crate) fn unsupported(&self, errno: i32) -> Reason {
        Reason::Unsupported { kind: self.spec().map_type, errno }
    }

    #[inline(always)]
    pub(crate) fn may_read(&self) -> Tried<()> {
        if self.access.reads() { Ok(()) } else { Err(Reason::WriteOnly) }
    }

    #[inline(always)]
    pub(crate) fn may_write(&self) -> Tried<()> {
        if !self.access.writes() {
            return Err(Reason::ReadOnly);
        }
        if self.is_frozen() { Err(Reason::Frozen) } else { Ok(()) }
    }

    /// What a handle and a frozen map forbid; programs are not asked (`map_get_sys_perms`).
    pub(crate) fn may(&self, reads: bool, writes: bool) -> Tried<()> {
        if reads {
            self.may_read()?;
        }
        if writes { self.may_write() } else { Ok(()) }
    }

    /// A CPU slot that the map has.
    pub(crate) fn slot(&self, cpu: u32) -> Tried<u32> {
        let slots = self.cpus();
        if cpu < slots { Ok(cpu) } else { Err(Reason::Cpu { cpu, slots }) }
    }

    /// The slot of the CPU that this thread runs on.
    #[inline(always)]
    pub(crate) fn own_slot(&self) -> u32 {
        match self.cpus() {
            1 => 0,
            slots => match process::current_cpu() {
                cpu if cpu < slots => cpu,
                cpu => cpu % slots,
            },
        }
    }
}

impl core::fmt::Debug for Map {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Map")
            .field("spec", self.spec())
            .field("access", &self.access)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
