//! Increments: atomic, and creating what is not there. Linux has neither.

use crate::abi::errno;
use crate::error::{Reason, Result};
use crate::kind::hash;
use crate::map::{Map, Tried, View};

/// Increments.
impl Map {
    /// `bpf_map_inc`: adds to the number that a key's value is (per-CPU maps: on the slot of the
    /// caller's CPU), atomically against every other writer, with the wrap-around of the kernel's
    /// atomics. With `BPF_ANY` an absent key of a hash is made and counts from 0; `BPF_EXIST` gives
    /// ENOENT for it; `BPF_NOEXIST` gives EEXIST for a present one. Linux has no such function.
    ///
    /// # Errors
    ///
    /// As [`update`](Map::update); EINVAL if values are not 1, 2, 4 or 8 bytes long, and for
    /// queues and stacks.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 16))?;
    /// map.inc(&[1; 4], 5, 0)?;
    /// assert_eq!(map.inc_and_return(&[1; 4], 2, 0)?, 7);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn inc(&self, key: &[u8], delta: u64, flags: u64) -> Result<()> {
        let inc = || {
            self.may_write()?;
            self.try_inc(key, self.own_slot(), delta, flags)
        };
        inc().map(|_| ()).map_err(|reason| self.error("inc", reason))
    }

    /// `bpf_map_inc_and_return`: as [`inc`](Map::inc), and gives the sum.
    ///
    /// # Errors
    ///
    /// As [`inc`](Map::inc).
    #[inline]
    pub fn inc_and_return(&self, key: &[u8], delta: u64, flags: u64) -> Result<u64> {
        let inc = || {
            self.may_read()?;
            self.may_write()?;
            self.try_inc(key, self.own_slot(), delta, flags)
        };
        inc().map_err(|reason| self.error("inc_and_return", reason))
    }

    #[inline(always)]
    pub(crate) fn try_inc(&self, key: &[u8], cpu: u32, delta: u64, flags: u64) -> Tried<u64> {
        let spec = self.spec();
        let width = match spec.value_size {
            _ if spec.map_type.is_ring() => return Err(self.unsupported(errno::EINVAL)),
            size @ (1 | 2 | 4 | 8) => size as usize,
            value_size => return Err(Reason::Width { value_size }),
        };
        match self.inner.view() {
            View::Rings(_) => Err(self.unsupported(errno::EINVAL)),
            View::Hash(hash) => {
                self.check_key(key)?;
                let presence = hash::Presence::from_flags(flags)?;
                let writer = self.inner.writer()?;
                let cpu = spec.map_type.is_per_cpu().then_some(cpu);
                hash.add(writer, key, cpu, width, delta, presence)
            }
            View::Array(array) => {
                let index = self.index(key)?;
                let presence = hash::Presence::from_flags(flags)?;
                if !self.inner.writable {
                    return Err(Reason::ReadOnly);
                }
                if presence == hash::Presence::Absent && array.value(index, cpu).is_some() {
                    return Err(Reason::Exists);
                }
                array.add(|| self.inner.writer(), index, cpu, width, delta)
            }
        }
    }
}
