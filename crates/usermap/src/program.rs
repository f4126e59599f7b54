//! A map as an eBPF program sees it that runs on one CPU slot: what the helpers do.
//!
//! Programs get pointers to values instead of copies, write one CPU's value of a per-CPU map, are
//! bound by `RDONLY_PROG` and `WRONLY_PROG` and not by freezing or a handle's rights.

use crate::abi::{errno, map_flags};
use crate::error::{Reason, Result};
use crate::kind::redo::REDO;
use crate::map::{Map, Tried, View};
use crate::mem::{bytes, process};
use rustix::fd::BorrowedFd;

/// A value's place in a map's region, as a program's pointer is. It stays good as long as the map
/// is open; once its entry is deleted it shows whatever entry has the place then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuePointer {
    /// Bytes from the start of the values' memory.
    offset: usize,
}

impl ValuePointer {
    /// Where the value is, in bytes from the start of the map's [`ValueMemory`].
    #[inline]
    pub fn offset(self) -> usize {
        self.offset
    }
}

/// The part of a map's file that has its values, in whole pages: what a program's memory may be
/// mapped from. Nothing that the map itself relies on is in it.
#[derive(Clone, Copy, Debug)]
pub struct ValueMemory<'m> {
    /// The file.
    pub fd: BorrowedFd<'m>,
    /// Where in the file they start, a multiple of a page's size.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// A map as seen by a program that runs on one CPU slot.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1).cpus(2))?;
/// let program = map.on_cpu(1)?;
/// let value = program.lookup(&[0; 4])?.unwrap();
/// program.fetch_add(value, 0, 5)?;
/// let mut values = [0; 16];
/// map.lookup(&[0; 4], &mut values, 0)?;
/// assert_eq!(values[8], 5);
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    map: &'a Map,
    cpu: u32,
}

impl Map {
    /// The map as a program on this CPU slot sees it (other kinds than per-CPU ones: slot 0 to
    /// any).
    ///
    /// # Errors
    ///
    /// The map has no such slot.
    pub fn on_cpu(&self, cpu: u32) -> Result<Program<'_>> {
        if self.spec().map_type.is_per_cpu() {
            self.slot(cpu).map_err(|reason| self.error("on_cpu", reason))?;
            return Ok(Program { map: self, cpu });
        }
        Ok(Program { map: self, cpu: 0 })
    }

    /// The memory of the values; `None` for queues and stacks, whose values programs only copy.
    ///
    /// # Errors
    ///
    /// The map has no descriptor: it is anonymous; EBUSY as for
    /// [`lookup`](Program::lookup).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 4))?;
    /// let memory = map.value_memory()?.unwrap();
    /// assert!(memory.length >= 32);
    /// assert_eq!(map.on_cpu(0)?.lookup(&3_u32.to_ne_bytes())?.unwrap().offset(), 24);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn value_memory(&self) -> Result<Option<ValueMemory<'_>>> {
        if self.spec().map_type.is_ring() {
            return Ok(None);
        }
        const NAME: &str = "map the values of";
        let rule = Reason::Invalid("an anonymous map's values cannot be mapped again");
        let fd = self.inner.region.fd().ok_or_else(|| self.error(NAME, rule))?;
        self.lend().map_err(|reason| self.error(NAME, reason))?;
        let start = self.inner.kind.value_pages() as u64 * 8;
        let length = (self.inner.kind_end as u64 * 8 - start).next_multiple_of(4096);
        Ok(Some(ValueMemory { fd, start, length }))
    }

    /// Tells those who add to values that somebody may write through pointers from now on.
    #[inline]
    fn lend(&self) -> Tried<()> {
        let numbers = matches!(self.spec().value_size, 1 | 2 | 4 | 8);
        match self.inner.view() {
            View::Hash(hash) if numbers && self.inner.writable => {
                hash.lend(process::kept(self.inner.serial))
            }
            _ => Ok(()),
        }
    }

    /// A pointer to the value that starts at a word of the region.
    #[inline(always)]
    fn pointer(&self, word: usize) -> ValuePointer {
        ValuePointer { offset: (word - self.inner.kind.value_pages()) * 8 }
    }
}

impl Program<'_> {
    fn may(&self, what: &'static str, flag: u32, reason: Reason) -> Result<()> {
        match self.map.spec().has(flag) {
            true => Err(self.map.error(what, reason)),
            false => Ok(()),
        }
    }

    fn may_read(&self, what: &'static str) -> Result<()> {
        self.may(what, map_flags::WRONLY_PROG, Reason::WriteOnly)
    }

    fn may_write(&self, what: &'static str) -> Result<()> {
        if !self.map.inner.writable {
            // Of a program, too: the memory itself is mapped for reading.
            return Err(self.map.error(what, Reason::ReadOnly));
        }
        self.may(what, map_flags::RDONLY_PROG, Reason::ReadOnly)
    }

    fn run<T>(&self, what: &'static str, result: Tried<T>) -> Result<T> {
        result.map_err(|reason| self.map.error(what, reason))
    }

    /// `bpf_map_lookup_elem`: a pointer to the value; `None` where the program gets NULL.
    ///
    /// # Errors
    ///
    /// The kind has no such helper; EBUSY for the first pointer to a hash's values, if somebody is
    /// stopped in the middle of a change for longer than a second.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<ValuePointer>> {
        self.run("lookup", self.find(key, self.cpu))
    }

    /// `bpf_map_lookup_percpu_elem`: the same for another CPU slot; `None` if there is no such slot.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Program::lookup); and the map is not per CPU.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1).cpus(2))?;
    /// let program = map.on_cpu(0)?;
    /// assert!(program.lookup_percpu(&[0; 4], 1)?.is_some());
    /// assert!(program.lookup_percpu(&[0; 4], 2)?.is_none());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn lookup_percpu(&self, key: &[u8], cpu: u32) -> Result<Option<ValuePointer>> {
        let spec = self.map.spec();
        if !spec.map_type.is_per_cpu() {
            return self.run("lookup_percpu", Err(self.map.unsupported(errno::EINVAL)));
        }
        let found = if cpu < spec.cpus { self.find(key, cpu) } else { Ok(None) };
        self.run("lookup_percpu", found)
    }

    /// A pointer that is written through must not be overtaken by what a dead process left to
    /// be copied there: that is done first.
    #[inline(always)]
    fn find(&self, key: &[u8], cpu: u32) -> Tried<Option<ValuePointer>> {
        let map = self.map;
        match map.inner.view() {
            View::Rings(_) => Err(map.unsupported(errno::EINVAL)),
            View::Hash(hash) => {
                map.check_key(key)?;
                map.lend()?;
                if let Some(found) = hash.locate_sized(key) {
                    return Ok(found.map(|slot| map.pointer(hash.value_word(slot, cpu))));
                }
                let found = hash.lookup(key, |_, slot, word| Ok((slot, word)))?;
                let Some((slot, word)) = found else { return Ok(None) };
                if word & REDO != 0 && map.inner.writable {
                    map.inner.owners().recover_holder(word, &hash)?;
                }
                Ok(Some(map.pointer(hash.value_word(slot, cpu))))
            }
            View::Array(array) => {
                let index = map.index(key)?;
                let inside = array.value(index, cpu).is_some();
                if inside && map.inner.writable {
                    array.complete_redo(index)?;
                }
                Ok(inside.then(|| map.pointer(array.value_word(index, cpu))))
            }
        }
    }

    /// `bpf_map_update_elem`, with a value of `value_size` bytes: of this CPU slot for per-CPU
    /// maps; a new entry's other slots become 0.
    ///
    /// # Errors
    ///
    /// As [`Map::update`], but for freezing; EPERM if the map is read-only for programs.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::PerCpuHash, 4, 8, 4).cpus(2))?;
    /// map.on_cpu(1)?.update(&[1; 4], &[9; 8], 0)?;
    /// let mut values = [0; 16];
    /// map.lookup(&[1; 4], &mut values, 0)?;
    /// assert_eq!(values[..8], [0; 8]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.may_write("update")?;
        self.run("update", self.map.update_on(self.cpu, key, value, flags))
    }

    /// `bpf_map_delete_elem`.
    ///
    /// # Errors
    ///
    /// As [`Map::delete`], but for freezing; EPERM if the map is read-only for programs.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.may_write("delete")?;
        self.run("delete", self.map.delete_key(key))
    }

    /// `bpf_map_push_elem`; per-CPU kinds: to this CPU's slot.
    ///
    /// # Errors
    ///
    /// As [`Map::push`], but for freezing; EPERM if the map is read-only for programs.
    pub fn push(&self, value: &[u8], flags: u64) -> Result<()> {
        self.may_write("push")?;
        let push = || {
            self.map.check_value(value.len())?;
            self.map.try_push(value, self.flags(flags))
        };
        self.run("push", push())
    }

    /// `bpf_map_pop_elem`; an empty queue or stack zeroes the value, as the kernel's does.
    ///
    /// # Errors
    ///
    /// As [`Map::pop`], but for freezing; EPERM if the map is read-only for programs.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Queue, 0, 8, 4))?;
    /// let mut value = [9; 8];
    /// assert!(map.on_cpu(0)?.pop(&mut value).unwrap_err().is_not_found());
    /// assert_eq!(value, [0; 8]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn pop(&self, value: &mut [u8]) -> Result<()> {
        self.may_write("pop")?;
        let mut pop = || {
            self.map.check_value(value.len())?;
            zeroed_if_empty(value, |value| self.map.try_pop(value, self.flags(0)))
        };
        self.run("pop", pop())
    }

    /// `bpf_map_peek_elem`; an empty queue or stack zeroes the value.
    ///
    /// # Errors
    ///
    /// As [`Map::peek`].
    pub fn peek(&self, value: &mut [u8]) -> Result<()> {
        let mut peek = || {
            self.map.check_value(value.len())?;
            zeroed_if_empty(value, |value| self.map.try_peek(&[], value, self.flags(0)))
        };
        self.run("peek", peek())
    }

    /// Flags that mean this CPU's ring; a program cannot name another one's.
    fn flags(&self, flags: u64) -> u64 {
        match self.map.spec().map_type.is_per_cpu() && flags & crate::abi::BPF_F_CPU == 0 {
            true => flags | crate::abi::cpu_flags(self.cpu),
            false => flags,
        }
    }

    /// `bpf_for_each_map_elem`: calls `visit` with each entry's key and a pointer to its value
    /// (per-CPU maps: this slot's) until it gives false; gives the number of calls.
    ///
    /// # Errors
    ///
    /// EINVAL for flags, ENOTSUPP for queues and stacks.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 3))?;
    /// assert_eq!(map.on_cpu(0)?.for_each(0, |_, _| true)?, 3);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn for_each(
        &self,
        flags: u64,
        mut visit: impl FnMut(&[u8], ValuePointer) -> bool,
    ) -> Result<u64> {
        let mut calls = 0;
        let mut call = |key: &[u8], word| {
            calls += 1;
            visit(key, self.map.pointer(word))
        };
        let mut walk = || -> Tried<()> {
            if flags != 0 {
                return Err(Reason::Flags { flags });
            }
            match self.map.inner.view() {
                View::Rings(_) => Err(self.map.unsupported(errno::ENOTSUPP)),
                View::Array(array) => {
                    for index in 0..self.map.spec().max_entries {
                        if !call(&index.to_ne_bytes(), array.value_word(index, self.cpu)) {
                            break;
                        }
                    }
                    Ok(())
                }
                View::Hash(hash) => {
                    self.map.lend()?;
                    hash.for_each_slot(|key, slot| call(key, hash.value_word(slot, self.cpu)))
                }
            }
        };
        let walked = walk();
        self.run("for_each", walked)?;
        Ok(calls)
    }

    /// `bpf_map_lookup_and_delete_elem`, which Linux has no helper for: takes a key of a hash out
    /// and gives its value, of `value_size` bytes (per-CPU maps: this slot's); for queues and
    /// stacks it is [`pop`](Program::pop).
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_and_delete`], but for freezing; EPERM by `RDONLY_PROG` and `WRONLY_PROG`.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::PerCpuHash, 4, 8, 4).cpus(2))?;
    /// let program = map.on_cpu(1)?;
    /// program.update(&[1; 4], &[9; 8], 0)?;
    /// let mut value = [0; 8];
    /// program.lookup_and_delete(&[1; 4], &mut value)?;
    /// assert_eq!((value, map.len()), ([9; 8], 0));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn lookup_and_delete(&self, key: &[u8], value: &mut [u8]) -> Result<()> {
        const NAME: &str = "lookup_and_delete";
        self.may_read(NAME)?;
        let map = self.map;
        if map.spec().map_type.is_ring() {
            return self.pop(value);
        }
        self.may_write(NAME)?;
        let mut take = || {
            let View::Hash(hash) = map.inner.view() else {
                return Err(map.unsupported(errno::ENOTSUPP));
            };
            map.check_key(key)?;
            let (given, expected) = (value.len(), map.spec().value_size as usize);
            if given != expected {
                return Err(Reason::ValueSize { given, expected });
            }
            hash.delete(map.inner.writer()?, key, |hash, slot| {
                bytes::load(hash.value(slot, self.cpu), value);
            })?;
            map.hide_lock(value);
            Ok(())
        };
        self.run(NAME, take())
    }

    /// `bpf_map_inc`; per-CPU maps: on this CPU's slot.
    ///
    /// # Errors
    ///
    /// As [`Map::inc`], but for freezing; EPERM if the map is read-only for programs.
    pub fn inc(&self, key: &[u8], delta: u64, flags: u64) -> Result<()> {
        self.may_write("inc")?;
        self.run("inc", self.map.try_inc(key, self.cpu, delta, flags).map(drop))
    }

    /// `bpf_map_inc_and_return`; per-CPU maps: on this CPU's slot.
    ///
    /// # Errors
    ///
    /// As [`Map::inc_and_return`], but for freezing; EPERM by `RDONLY_PROG` and `WRONLY_PROG`.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::PerCpuHash, 4, 8, 4).cpus(2))?;
    /// assert_eq!(map.on_cpu(1)?.inc_and_return(&[1; 4], 3, 0)?, 3);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn inc_and_return(&self, key: &[u8], delta: u64, flags: u64) -> Result<u64> {
        self.may_read("inc_and_return")?;
        self.may_write("inc_and_return")?;
        self.run("inc_and_return", self.map.try_inc(key, self.cpu, delta, flags))
    }

    /// Reads through a pointer, `offset` bytes from where it leads.
    ///
    /// # Errors
    ///
    /// Not all of it is in a value, or the map is write-only for programs.
    pub fn load(&self, pointer: ValuePointer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        self.may_read("load")?;
        let mut load = || {
            let (words, skip) = self.words(pointer, offset, bytes.len())?;
            let mut copy = vec![0; skip + bytes.len()];
            bytes::load(words, &mut copy);
            bytes.copy_from_slice(&copy[skip..]);
            Ok(())
        };
        self.run("load", load())
    }

    /// Writes through a pointer.
    ///
    /// # Errors
    ///
    /// Not all of it is in a value, or the map is read-only for programs.
    pub fn store(&self, pointer: ValuePointer, offset: usize, bytes: &[u8]) -> Result<()> {
        self.may_write("store")?;
        let store = || {
            self.map.lend()?;
            let (words, skip) = self.words(pointer, offset, bytes.len())?;
            bytes::store_at(words, skip, bytes);
            Ok(())
        };
        self.run("store", store())
    }

    /// A 64-bit atomic add through a pointer, `offset` (a multiple of 8) bytes from where it
    /// leads; gives what was there before.
    ///
    /// # Errors
    ///
    /// Not in a value, or the map is read-only for programs.
    pub fn fetch_add(&self, pointer: ValuePointer, offset: usize, delta: u64) -> Result<u64> {
        self.may_write("fetch_add")?;
        let add = || {
            self.map.lend()?;
            let (words, skip) = self.words(pointer, offset, 8)?;
            match skip {
                0 => Ok(bytes::add(&words[0], 0, 8, delta).wrapping_sub(delta)),
                _ => Err(Reason::Invalid("an atomic add must be aligned to 8 bytes")),
            }
        };
        self.run("fetch_add", add())
    }

    /// The words that `len` bytes behind a pointer lie in, and where in the first.
    fn words(
        &self,
        pointer: ValuePointer,
        offset: usize,
        len: usize,
    ) -> Tried<(&[crate::mem::sync::AtomicU64], usize)> {
        let outside = Reason::Invalid("outside of the value");
        let end = offset.checked_add(len).ok_or(outside)?;
        if end > (self.map.spec().value_size as usize).next_multiple_of(8) {
            return Err(outside);
        }
        let word = self.map.inner.kind.value_pages() + pointer.offset / 8;
        let first = word + offset / 8;
        let last = word + bytes::words(end);
        let words = self.map.inner.region.words();
        let inside = word >= self.map.inner.kind.values() && last <= self.map.inner.kind_end;
        inside.then(|| (&words[first..last], offset % 8)).ok_or(outside)
    }
}

/// A pop or peek that leaves zeros where there is nothing.
fn zeroed_if_empty(value: &mut [u8], take: impl FnOnce(&mut [u8]) -> Tried<()>) -> Tried<()> {
    let taken = take(value);
    if taken == Err(Reason::NotFound) {
        value.fill(0);
    }
    taken
}
