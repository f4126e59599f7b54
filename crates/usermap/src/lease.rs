//! Leases of CPU slots: who runs programs on a per-CPU map's slot.
//!
//! In user space a thread can move to another CPU at any time, so that it is on one says nothing.
//! A program runs on a slot that it leased: nobody else has it meanwhile, and a plain `value += 1`
//! in that slot loses nothing. A lease is one word in the region, after the kind's own parts, on a
//! cache line of its own: the identity of the process that has it (`mem::process`), 0 if nobody.
//! Taking it is one compare-and-exchange and giving it back one store; a dead process's lease is
//! free for whoever asks next. It keeps others from leasing and from nothing else.

use crate::abi::errno;
use crate::error::{Reason, Result};
use crate::map::{Inner, Map, Tried};
use crate::mem::process;
use crate::mem::sync::{AtomicU64, Ordering::*};
use std::sync::Arc;

/// Words of a lease: a cache line, since neighbours come and go all the time.
pub(crate) const WORDS: usize = 8;

/// A CPU slot of a per-CPU map, leased: no other lease of it exists, in any process, until this
/// one is dropped or its process ends. Keeps the map open.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1).cpus(2))?;
/// let lease = map.lease(1)?.expect("nobody has it");
/// assert!(map.lease(1)?.is_none());
/// assert_eq!(map.lease_any()?.map(|other| other.cpu()), Some(0));
/// drop(lease);
/// assert!(map.lease(1)?.is_some());
/// # Ok::<(), usermap::Error>(())
/// ```
#[must_use = "it ends when it is dropped"]
pub struct SlotLease {
    inner: Arc<Inner>,
    cpu: u32,
    /// The fork generation of the process that has it: a forked child has none of its parent's.
    generation: u64,
}

impl SlotLease {
    /// The slot.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }
}

impl core::fmt::Debug for SlotLease {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SlotLease").field("cpu", &self.cpu).finish_non_exhaustive()
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        if self.generation == process::generation()
            && let Some(word) = self.inner.lease_word(self.cpu)
        {
            give_back(word);
        }
    }
}

impl Inner {
    fn lease_word(&self, cpu: u32) -> Option<&AtomicU64> {
        self.region.words()[self.leases.clone()].get(cpu as usize * WORDS)
    }
}

impl Map {
    /// Leases a CPU slot of a per-CPU map, without waiting: `None` if a live thread has it, in this
    /// process or another.
    ///
    /// # Errors
    ///
    /// The map is not per CPU (EINVAL), has no such slot (ERANGE), or is open for reading only
    /// (EPERM).
    pub fn lease(&self, cpu: u32) -> Result<Option<SlotLease>> {
        self.try_lease(cpu).map_err(|reason| self.error("lease", reason))
    }

    /// Leases any CPU slot, the one of the CPU that this thread runs on first; `None` if all are
    /// taken.
    ///
    /// # Errors
    ///
    /// As [`lease`](Map::lease).
    pub fn lease_any(&self) -> Result<Option<SlotLease>> {
        let (first, slots) = (self.own_slot(), self.cpus());
        for offset in 0..slots {
            if let Some(lease) = self.lease((first + offset) % slots)? {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }

    fn try_lease(&self, cpu: u32) -> Tried<Option<SlotLease>> {
        if !self.spec().map_type.is_per_cpu() {
            return Err(self.unsupported(errno::EINVAL));
        }
        let cpu = self.slot(cpu)?;
        if !self.inner.writable {
            return Err(Reason::ReadOnly);
        }
        let slots = self.cpus();
        let word = self.inner.lease_word(cpu).ok_or(Reason::Cpu { cpu, slots })?;
        let taken = take(word);
        // The identity was taken by now, so the generation is that of this very process.
        let generation = process::generation();
        Ok(taken.then(|| SlotLease { inner: self.inner.clone(), cpu, generation }))
    }
}

/// Takes the lease if it is free or a dead process's.
pub(crate) fn take(word: &AtomicU64) -> bool {
    let now = word.load(Relaxed);
    if now != 0 && process::is_alive(now) {
        return false;
    }
    // Acquires what the last holder did in the slot.
    word.compare_exchange(now, process::identity(), AcqRel, Relaxed).is_ok()
}

pub(crate) fn give_back(word: &AtomicU64) {
    word.store(0, Release);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::mem::mortal::live;
    use crate::{MapType, Spec};

    fn map() -> Map {
        Map::create_anonymous(&Spec::new(MapType::PerCpuHash, 4, 8, 4).cpus(3)).unwrap()
    }

    #[test]
    fn every_per_cpu_kind_has_them_and_no_other() {
        for kind in MapType::ALL {
            let key_size = if kind.is_ring() { 0 } else { 4 };
            let spec = Spec::new(kind, key_size, 8, 4).cpus(3);
            let map = Map::create_anonymous(&spec).unwrap();
            if !kind.is_per_cpu() {
                assert_eq!(map.lease(0).unwrap_err().errno(), errno::EINVAL, "{kind}");
                assert_eq!(map.lease_any().unwrap_err().errno(), errno::EINVAL, "{kind}");
                continue;
            }
            let leases: Vec<_> = (0..3).map(|cpu| map.lease(cpu).unwrap().unwrap()).collect();
            assert!(leases.iter().map(SlotLease::cpu).eq(0..3));
            assert!(map.lease_any().unwrap().is_none(), "{kind}");
            assert_eq!(map.lease(3).unwrap_err().errno(), errno::ERANGE);
            drop(leases);
            assert!(map.lease_any().unwrap().is_some());
        }
    }

    #[test]
    fn other_threads_do_not_get_it_and_it_keeps_the_map() {
        let map = map();
        let lease = map.lease(1).unwrap().unwrap();
        let other = map.clone();
        let got = std::thread::spawn(move || other.lease(1).unwrap().is_some()).join().unwrap();
        assert!(!got);
        drop(map);
        let word = lease.inner.lease_word(1).unwrap();
        assert_eq!(word.load(Relaxed), process::identity());
    }

    #[test]
    fn a_dead_ones_is_free() {
        let map = map();
        let word = map.inner.lease_word(2).unwrap();
        word.store(process::of_another_image(process::identity()), Relaxed);
        let lease = map.lease(2).unwrap().unwrap();
        assert_eq!(word.load(Relaxed), process::identity());
        drop(lease);
        assert_eq!(word.load(Relaxed), 0);
    }

    #[test]
    fn taking_is_one_store() {
        let word = AtomicU64::new(0);
        assert_eq!(live(0, || take(&word)), None);
        assert_eq!(word.load(Relaxed), 0);
        assert_eq!(live(1, || take(&word)), Some(true));
        assert_eq!(live(0, || give_back(&word)), None);
        assert_eq!(word.load(Relaxed), process::identity(), "still leased");
        assert_eq!(live(0, || take(&word)), Some(false), "by a live one");
        word.store(process::of_another_image(process::identity()), Relaxed);
        assert_eq!(live(0, || take(&word)), None);
        assert_eq!(live(1, || take(&word)), Some(true), "the dead one's");
    }
}
