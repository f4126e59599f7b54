//! Lookup, update and deletion of elements: what bpf(2) has, and the checks that go before.

use crate::abi::{BPF_EXIST, BPF_F_LOCK, BPF_NOEXIST, MapType, errno};
use crate::error::{Reason, Result};
use crate::header;
use crate::kind::array;
use crate::kind::hash::{self, Value};
use crate::kind::redo::ALL_CPUS;
use crate::map::{Map, Tried, View};
use crate::mem::owner::Writer;
use crate::mem::sync::acquire;

/// The functions of bpf(2).
impl Map {
    /// `BPF_MAP_LOOKUP_ELEM`: copies the value of a key out; for queues and stacks the value that
    /// a pop would give. The copy is the value as it was at one moment (per-CPU maps: each slot's).
    ///
    /// # Errors
    ///
    /// ENOENT if there is none, EPERM if this handle may not read, EINVAL for flags other than
    /// `BPF_F_LOCK` and for buffers of another size than [`value_bytes`](Map::value_bytes).
    #[inline]
    pub fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<()> {
        if flags == 0
            && self.access.reads()
            && let Some(hash) = self.hash_of(key.len(), value.len())
            && let Some(found) = hash.get_sized(key, value)
        {
            return match found {
                true => Ok(()),
                false => Err(self.error("lookup", Reason::NotFound)),
            };
        }
        self.try_lookup(key, value, flags).map_err(|reason| self.error("lookup", reason))
    }

    /// The hash that this map is, if keys and values have these lengths.
    #[inline(always)]
    fn hash_of(&self, key: usize, value: usize) -> Option<hash::Hash<'_>> {
        match self.inner.view() {
            View::Hash(hash) => hash.has_sizes(key, value).then_some(hash),
            _ => None,
        }
    }

    /// This thread's right to write to the map, where all is as it is nearly always: the handle may
    /// write, the map is not frozen, the thread wrote to it not long ago.
    #[inline(always)]
    pub(crate) fn kept_writer<'r>(&self, hash: hash::Hash<'r>) -> Option<Writer<'r>> {
        let writer = self.inner.kept_writer(hash.words)?;
        let frozen = acquire(&hash.words[header::FROZEN]) != 0;
        (self.access.writes() && !frozen).then_some(writer)
    }

    pub(crate) fn try_lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Tried<()> {
        self.check_unknown_flags(flags)?;
        self.may_read()?;
        self.check_value(value.len())?;
        if flags != 0 && !self.spec().map_type.is_ring() {
            self.check_lock_flag(flags, flags)?;
        }
        match self.inner.view() {
            View::Rings(_) => return self.try_peek(key, value, flags),
            View::Hash(hash) => {
                self.check_key(key)?;
                if !hash.get(key, value)? {
                    return Err(Reason::NotFound);
                }
            }
            View::Array(array) => {
                let cpu = if self.spec().map_type.is_per_cpu() { ALL_CPUS } else { 0 };
                array.lookup(self.index(key)?, cpu, value)?;
            }
        }
        self.hide_lock(value);
        Ok(())
    }

    /// `BPF_MAP_UPDATE_ELEM`: sets the value of a key (per-CPU maps: all slots'); flags are
    /// `BPF_ANY`, `BPF_NOEXIST` or `BPF_EXIST`, and `BPF_F_LOCK` for values with a spin lock. For
    /// queues and stacks it is [`push`](Map::push). All of it happens, or nothing does.
    ///
    /// # Errors
    ///
    /// EEXIST, ENOENT, E2BIG (full, or an index past the end), EPERM (this handle may not write,
    /// or the map is frozen), EINVAL (flags, sizes), EBUSY (locked for too long by a live thread).
    #[inline]
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        if let Ok(presence) = hash::Presence::from_flags(flags)
            && let Some(hash) = self.hash_of(key.len(), value.len())
            && let Some(writer) = self.kept_writer(hash)
            && hash.put_sized(writer, key, value, presence, true).is_some()
        {
            return Ok(());
        }
        self.try_update(key, value, flags).map_err(|reason| self.error("update", reason))
    }

    #[inline(always)]
    pub(crate) fn try_update(&self, key: &[u8], value: &[u8], flags: u64) -> Tried<()> {
        self.may_write()?;
        self.check_value(value.len())?;
        match self.inner.view() {
            View::Rings(_) => {
                self.check_key(key)?;
                self.try_push(value, flags)
            }
            View::Hash(_) if self.spec().map_type == MapType::Hash => {
                self.update_hash(key, Value::Whole(value), flags)
            }
            View::Hash(hash) => {
                self.check_key(key)?;
                let presence = hash::Presence::from_flags(flags)?;
                hash.update(self.inner.writer()?, key, Value::AllCpus(value), presence)
            }
            View::Array(array) => {
                let cpu = if self.spec().map_type.is_per_cpu() { ALL_CPUS } else { 0 };
                self.check_lock_flag(flags, flags & BPF_F_LOCK)?;
                self.update_array(array, key, cpu, value, flags)
            }
        }
    }

    /// An update as a program on this CPU slot makes it: with one value of `value_size` bytes.
    pub(crate) fn update_on(&self, cpu: u32, key: &[u8], value: &[u8], flags: u64) -> Tried<()> {
        let (given, expected) = (value.len(), self.spec().value_size as usize);
        if given != expected {
            return Err(Reason::ValueSize { given, expected });
        }
        match self.inner.view() {
            View::Rings(_) => Err(self.unsupported(errno::EINVAL)),
            View::Hash(hash) if self.spec().map_type == MapType::PerCpuHash => {
                self.check_key(key)?;
                let presence = hash::Presence::from_flags(flags)?;
                let value = Value::OneCpu(cpu, value);
                hash.update(self.inner.writer()?, key, value, presence)
            }
            View::Hash(_) => self.update_hash(key, Value::Beside(value), flags),
            View::Array(array) => self.update_array(array, key, cpu, value, flags),
        }
    }

    /// The part of an update of a hash that is not per CPU.
    #[inline(always)]
    pub(crate) fn update_hash(&self, key: &[u8], value: Value<'_>, flags: u64) -> Tried<()> {
        let View::Hash(hash) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        self.check_key(key)?;
        self.check_lock_flag(flags, flags & BPF_F_LOCK)?;
        let presence = hash::Presence::from_flags(flags & !BPF_F_LOCK)?;
        if self.spec().spin_lock.is_some() {
            return self.update_but_lock(hash, key, value, presence);
        }
        let writer = self.inner.writer()?;
        hash.update(writer, key, value, presence)
    }

    /// An update of a hash whose values have a spin lock. Apart, so that the sizes that others know
    /// when compiling stay known.
    #[cold]
    #[inline(never)]
    pub(crate) fn update_but_lock(
        &self,
        hash: hash::Hash<'_>,
        key: &[u8],
        value: Value<'_>,
        presence: hash::Presence,
    ) -> Tried<()> {
        let (Value::Whole(value) | Value::Beside(value)) = value else {
            return Err(Reason::Invalid("a value of one CPU slot"));
        };
        let mut value = value.to_vec();
        self.hide_lock(&mut value);
        hash.update(self.inner.writer()?, key, Value::Beside(&value), presence)
    }

    /// The array's part of an update, in the kernel's order of checks (`array_map_update_elem`).
    #[inline(always)]
    pub(crate) fn update_array(
        &self,
        array: array::Array<'_>,
        key: &[u8],
        cpu: u32,
        value: &[u8],
        flags: u64,
    ) -> Tried<()> {
        let index = self.index(key)?;
        if flags & !BPF_F_LOCK > BPF_EXIST {
            return Err(Reason::Flags { flags });
        }
        if array.value(index, 0).is_none() {
            return Err(Reason::Index { index, max_entries: self.spec().max_entries });
        }
        if flags & BPF_NOEXIST != 0 {
            return Err(Reason::Exists);
        }
        self.check_lock_flag(flags, flags & BPF_F_LOCK)?;
        array.update(|| self.inner.writer(), index, cpu, value)
    }

    /// `BPF_MAP_DELETE_ELEM`: removes a key of a hash.
    ///
    /// # Errors
    ///
    /// ENOENT, EPERM, EINVAL for other kinds.
    #[inline]
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.try_delete(key).map_err(|reason| self.error("delete", reason))
    }

    #[inline(always)]
    pub(crate) fn try_delete(&self, key: &[u8]) -> Tried<()> {
        self.may_write()?;
        self.delete_key(key)
    }

    #[inline(always)]
    pub(crate) fn delete_key(&self, key: &[u8]) -> Tried<()> {
        match self.inner.view() {
            View::Hash(hash) => {
                self.check_key(key)?;
                let writer = self.inner.writer()?;
                hash.remove(writer, key, None)
            }
            _ => Err(self.unsupported(errno::EINVAL)),
        }
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: removes a key of a hash and gives its value, to one
    /// caller only; for queues and stacks it is [`pop`](Map::pop).
    ///
    /// # Errors
    ///
    /// ENOENT, EPERM, EINVAL (flags, sizes), ENOTSUPP for arrays.
    pub fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<()> {
        self.try_lookup_and_delete(key, value, flags)
            .map_err(|reason| self.error("lookup_and_delete", reason))
    }

    pub(crate) fn try_lookup_and_delete(
        &self,
        key: &[u8],
        value: &mut [u8],
        flags: u64,
    ) -> Tried<()> {
        self.check_unknown_flags(flags)?;
        self.may(true, true)?;
        self.check_value(value.len())?;
        match self.inner.view() {
            View::Rings(_) => {
                self.check_key(key)?;
                self.try_pop(value, flags)
            }
            View::Hash(hash) => {
                self.check_lock_flag(flags, flags)?;
                self.check_key(key)?;
                let writer = self.inner.writer()?;
                if self.spec().map_type == MapType::Hash {
                    hash.remove(writer, key, Some(value))?;
                    self.hide_lock(value);
                    return Ok(());
                }
                let mut read = Ok(());
                hash.delete(writer, key, |hash, slot| read = hash.load_value(0, slot, value))?;
                read
            }
            View::Array(_) => {
                self.check_lock_flag(flags, flags)?;
                Err(self.unsupported(errno::ENOTSUPP))
            }
        }
    }

    /// What lookups refuse before they ask for rights; per-CPU rings have flags of their own.
    #[inline(always)]
    fn check_unknown_flags(&self, flags: u64) -> Tried<()> {
        let own = self.spec().map_type.is_ring() && self.spec().map_type.is_per_cpu();
        if flags & !BPF_F_LOCK == 0 || own { Ok(()) } else { Err(Reason::Flags { flags }) }
    }

    /// Refuses `part` of the flags unless it is 0, or `BPF_F_LOCK` and the values have a lock.
    #[inline(always)]
    pub(crate) fn check_lock_flag(&self, flags: u64, part: u64) -> Tried<()> {
        if part == 0 || part == BPF_F_LOCK && self.spec().spin_lock.is_some() {
            return Ok(());
        }
        Err(Reason::Flags { flags })
    }

    #[inline(always)]
    pub(crate) fn check_key(&self, key: &[u8]) -> Tried<()> {
        let (given, expected) = (key.len(), self.spec().key_size as usize);
        if given == expected { Ok(()) } else { Err(Reason::KeySize { given, expected }) }
    }

    #[inline(always)]
    pub(crate) fn check_value(&self, given: usize) -> Tried<()> {
        let expected = self.value_bytes();
        if given == expected { Ok(()) } else { Err(Reason::ValueSize { given, expected }) }
    }

    /// The index that an array's key is.
    #[inline(always)]
    pub(crate) fn index(&self, key: &[u8]) -> Tried<u32> {
        let bytes = <[u8; 4]>::try_from(key);
        bytes.map(u32::from_ne_bytes).map_err(|_| Reason::KeySize { given: key.len(), expected: 4 })
    }

    /// A spin lock's bytes never leave the map, and never come in.
    #[inline(always)]
    pub(crate) fn hide_lock(&self, value: &mut [u8]) {
        if let Some(offset) = self.spec().spin_lock
            && let Some(lock) = value.get_mut(offset as usize..offset as usize + 4)
        {
            lock.fill(0);
        }
    }
}
