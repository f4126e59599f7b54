//! Push, pop and peek: queues and stacks, and those of each CPU slot.

use crate::abi::{BPF_ANY, BPF_EXIST, BPF_F_CPU, errno};
use crate::error::{Reason, Result};
use crate::kind::ring::Rings;
use crate::map::{Map, Tried, View};

/// Queues and stacks.
impl Map {
    /// `bpf_map_push_elem`: adds a value to a queue or stack, with `BPF_EXIST` dropping the oldest
    /// of a full one. Per-CPU kinds: to the slot of the caller's CPU, or of the one named by
    /// [`cpu_flags`](crate::abi::cpu_flags).
    ///
    /// # Errors
    ///
    /// E2BIG if it is full, EPERM, EINVAL (flags, sizes), ERANGE (no such slot).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::BPF_EXIST};
    /// let queue = Map::create(&Spec::new(MapType::Queue, 0, 1, 2))?;
    /// queue.push(b"a", 0)?;
    /// queue.push(b"b", 0)?;
    /// assert_eq!(queue.push(b"c", 0).unwrap_err().errno(), 7); // E2BIG
    /// queue.push(b"c", BPF_EXIST)?;
    /// let mut value = [0];
    /// queue.pop(&mut value, 0)?;
    /// assert_eq!(&value, b"b");
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn push(&self, value: &[u8], flags: u64) -> Result<()> {
        self.checked_push(value, flags).map_err(|reason| self.error("push", reason))
    }

    #[inline(always)]
    fn checked_push(&self, value: &[u8], flags: u64) -> Tried<()> {
        self.may_write()?;
        self.check_value(value.len())?;
        self.try_push(value, flags)
    }

    #[inline(always)]
    pub(crate) fn try_push(&self, value: &[u8], flags: u64) -> Tried<()> {
        let View::Rings(rings) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        let (ring, flags) = self.ring_of(rings, flags)?;
        if flags != BPF_ANY && flags != BPF_EXIST {
            return Err(Reason::Flags { flags });
        }
        rings.push_sized(self.inner.writer()?, ring, value, flags == BPF_EXIST)
    }

    /// `bpf_map_pop_elem`: removes the next value of a queue or stack. `flags` is 0, or for
    /// per-CPU kinds [`cpu_flags`](crate::abi::cpu_flags). If it fails, a `value` of more than 256 bytes
    /// may hold what another thread popped at the same time.
    ///
    /// # Errors
    ///
    /// ENOENT if it is empty, EPERM, EINVAL (flags, sizes), ERANGE (no such slot).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::cpu_flags};
    /// let stack = Map::create(&Spec::new(MapType::PerCpuStack, 0, 1, 8).cpus(2))?;
    /// stack.push(b"x", cpu_flags(1))?;
    /// let mut value = [0];
    /// assert!(stack.pop(&mut value, cpu_flags(0)).unwrap_err().is_not_found());
    /// stack.pop(&mut value, cpu_flags(1))?;
    /// assert_eq!(&value, b"x");
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn pop(&self, value: &mut [u8], flags: u64) -> Result<()> {
        self.checked_pop(value, flags).map_err(|reason| self.error("pop", reason))
    }

    #[inline(always)]
    fn checked_pop(&self, value: &mut [u8], flags: u64) -> Tried<()> {
        self.may(true, true)?;
        self.check_value(value.len())?;
        self.try_pop(value, flags)
    }

    #[inline(always)]
    pub(crate) fn try_pop(&self, value: &mut [u8], flags: u64) -> Tried<()> {
        let View::Rings(rings) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        let (ring, flags) = self.ring_of(rings, flags)?;
        if flags != 0 {
            return Err(Reason::Flags { flags });
        }
        self.writable()?;
        rings.pop_sized(|| self.inner.writer(), ring, value)
    }

    /// Fails if the region is mapped for reading only: a pop that needs no lock asks for no writer.
    #[inline(always)]
    fn writable(&self) -> Tried<()> {
        if self.inner.writable { Ok(()) } else { Err(Reason::ReadOnly) }
    }

    /// `bpf_map_peek_elem`: copies the value that a pop would give, without waiting for anybody.
    ///
    /// # Errors
    ///
    /// As [`pop`](Map::pop).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let stack = Map::create(&Spec::new(MapType::Stack, 0, 1, 8))?;
    /// stack.push(b"x", 0)?;
    /// let mut value = [0];
    /// stack.peek(&mut value, 0)?;
    /// assert_eq!((&value, stack.len()), (b"x", 1));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    #[inline]
    pub fn peek(&self, value: &mut [u8], flags: u64) -> Result<()> {
        self.checked_peek(value, flags).map_err(|reason| self.error("peek", reason))
    }

    #[inline(always)]
    fn checked_peek(&self, value: &mut [u8], flags: u64) -> Tried<()> {
        self.may_read()?;
        self.check_value(value.len())?;
        self.try_peek(&[], value, flags)
    }

    #[inline(always)]
    pub(crate) fn try_peek(&self, key: &[u8], value: &mut [u8], flags: u64) -> Tried<()> {
        let View::Rings(rings) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        self.check_key(key)?;
        let (ring, flags) = self.ring_of(rings, flags)?;
        if flags != 0 {
            return Err(Reason::Flags { flags });
        }
        rings.peek(ring, value)
    }

    /// Pushes a value of the right size to a ring that there is, of a kind that is known when
    /// compiling.
    #[inline(always)]
    pub(crate) fn push_typed(
        &self,
        lifo: bool,
        ring: u32,
        value: &[u8],
        replace: bool,
    ) -> Tried<()> {
        self.may_write()?;
        self.rings(lifo)?.push(self.inner.writer()?, ring, value, replace)
    }

    /// Pops one, likewise.
    #[inline(always)]
    pub(crate) fn pop_typed(&self, lifo: bool, ring: u32, value: &mut [u8]) -> Tried<()> {
        self.may(true, true)?;
        self.writable()?;
        self.rings(lifo)?.pop(|| self.inner.writer(), ring, value)
    }

    /// Peeks at one, likewise.
    #[inline(always)]
    pub(crate) fn peek_typed(&self, lifo: bool, ring: u32, value: &mut [u8]) -> Tried<()> {
        self.may_read()?;
        self.rings(lifo)?.peek(ring, value)
    }

    #[inline(always)]
    fn rings(&self, lifo: bool) -> Tried<Rings<'_>> {
        match self.inner.view() {
            View::Rings(rings) => Ok(rings.of_kind(lifo)),
            // The kind was checked when the typed map was made.
            _ => Err(Reason::Invalid("neither a queue nor a stack")),
        }
    }

    /// The ring that flags mean, and the flags without that.
    #[inline(always)]
    fn ring_of(&self, rings: Rings<'_>, flags: u64) -> Tried<(u32, u64)> {
        if !rings.are_per_cpu() {
            return Ok((0, flags));
        }
        if flags & BPF_F_CPU == 0 {
            return Ok((self.own_slot(), flags));
        }
        Ok((self.slot((flags >> 32) as u32)?, flags & 0xffff_ffff & !BPF_F_CPU))
    }
}
