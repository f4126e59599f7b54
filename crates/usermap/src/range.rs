//! Many entries at once: visits, ranges, what is kept and what goes. usermap's own; Linux has
//! batches only (`batch`).
//!
//! None of these stops others: each works entry by entry, and each entry's change is whole. What
//! others insert or delete meanwhile may be met or not; an entry that is there from start to end
//! is met exactly once.

use crate::abi::errno;
use crate::error::{Reason, Result};
use crate::kind::hash::Want;
use crate::kind::redo::ALL_CPUS;
use crate::map::{Map, Tried, View};
use core::ops::RangeInclusive;

impl Map {
    /// Calls `visit` with each entry's key and value, until it gives false; gives the number of
    /// calls. Hashes: in no order, each entry as it was at one moment. Arrays: by index. Queues and
    /// stacks have no keys to walk; see [`drain`](Map::drain).
    ///
    /// # Errors
    ///
    /// EPERM if this handle may not read, EINVAL for queues and stacks.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 1, 1, 8))?;
    /// map.update(b"a", b"1", 0)?;
    /// map.update(b"b", b"2", 0)?;
    /// let mut entries = Vec::new();
    /// map.for_each(|key, value| { entries.push((key[0], value[0])); true })?;
    /// entries.sort();
    /// assert_eq!(entries, [(b'a', b'1'), (b'b', b'2')]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn for_each(&self, visit: impl FnMut(&[u8], &[u8]) -> bool) -> Result<u64> {
        self.try_for_each(visit).map_err(|reason| self.error("for_each", reason))
    }

    pub(crate) fn try_for_each(&self, mut visit: impl FnMut(&[u8], &[u8]) -> bool) -> Tried<u64> {
        self.may_read()?;
        let mut visits = 0;
        match self.inner.view() {
            View::Rings(_) => return Err(self.unsupported(errno::EINVAL)),
            View::Array(_) => {
                let last = self.spec().max_entries - 1;
                return self.visit_indices(0..=last, visit);
            }
            View::Hash(hash) => hash.for_each(Want::KeysAndValues, |snapshot, number| {
                visits += 1;
                self.hide_lock(snapshot.value_mut(number));
                visit(snapshot.key(number), snapshot.value(number))
            })?,
        }
        Ok(visits)
    }

    fn visit_indices(
        &self,
        indices: RangeInclusive<u32>,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Tried<u64> {
        let View::Array(array) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        let cpu = if self.spec().map_type.is_per_cpu() { ALL_CPUS } else { 0 };
        let mut value = vec![0; self.value_bytes()];
        let mut visits = 0;
        for index in indices {
            array.lookup(index, cpu, &mut value)?;
            self.hide_lock(&mut value);
            visits += 1;
            if !visit(&index.to_ne_bytes(), &value) {
                break;
            }
        }
        Ok(visits)
    }

    /// The indices of an array's range, as far as the array goes.
    fn indices(&self, first: &[u8], last: &[u8]) -> Tried<RangeInclusive<u32>> {
        Ok(self.index(first)?..=self.index(last)?.min(self.spec().max_entries - 1))
    }

    /// The keys of a hash's range in byte order, with their values if they are wanted.
    fn sorted(&self, first: &[u8], last: &[u8], want: Want) -> Tried<Vec<(Vec<u8>, Vec<u8>)>> {
        let View::Hash(hash) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        self.check_key(first)?;
        self.check_key(last)?;
        let mut entries = Vec::new();
        hash.for_each(want, |snapshot, number| {
            let key = snapshot.key(number);
            if first <= key && key <= last {
                let value = match want {
                    Want::Keys => Vec::new(),
                    Want::KeysAndValues => snapshot.value(number).to_vec(),
                };
                entries.push((key.to_vec(), value));
            }
            true
        })?;
        entries.sort_unstable();
        Ok(entries)
    }

    /// Calls `visit` with the entries from key `first` to key `last`, both included, until it gives
    /// false; gives the number of calls. Arrays: by index. Hashes: in the order of the keys' bytes;
    /// all entries are looked at for that, and those of the range copied first.
    ///
    /// # Errors
    ///
    /// EINVAL (key sizes; queues and stacks), EPERM.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 1, 1, 8))?;
    /// for key in *b"dbca" {
    ///     map.update(&[key], &[key], 0)?;
    /// }
    /// let mut keys = Vec::new();
    /// map.lookup_range(b"b", b"c", |key, _| { keys.push(key[0]); true })?;
    /// assert_eq!(keys, b"bc");
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn lookup_range(
        &self,
        first: &[u8],
        last: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<u64> {
        let mut lookup = || {
            self.may_read()?;
            if let View::Array(_) = self.inner.view() {
                return self.visit_indices(self.indices(first, last)?, &mut visit);
            }
            let mut visits = 0;
            for (key, mut value) in self.sorted(first, last, Want::KeysAndValues)? {
                self.hide_lock(&mut value);
                visits += 1;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(visits)
        };
        lookup().map_err(|reason| self.error("lookup_range", reason))
    }

    /// Sets the value of every entry that is there from key `first` to key `last`, both included;
    /// gives how many it set.
    ///
    /// # Errors
    ///
    /// As [`lookup_range`](Map::lookup_range) and [`update`](Map::update).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 1, 8))?;
    /// let index = |index: u32| index.to_ne_bytes();
    /// assert_eq!(map.update_range(&index(2), &index(4), b"x")?, 3);
    /// assert_eq!(map.delete_range(&index(3), &index(7))?, 5);
    /// let mut value = [1];
    /// map.lookup(&index(3), &mut value, 0)?;
    /// assert_eq!(value, [0]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn update_range(&self, first: &[u8], last: &[u8], value: &[u8]) -> Result<u64> {
        let update = || {
            self.change_range(first, last, |key| match self.inner.view() {
                View::Array(_) => self.try_update(key, value, crate::abi::BPF_ANY),
                _ => self.try_update(key, value, crate::abi::BPF_EXIST),
            })
        };
        update().map_err(|reason| self.error("update_range", reason))
    }

    /// Deletes every entry from key `first` to key `last`, both included (arrays: sets its value
    /// to 0); gives how many.
    ///
    /// # Errors
    ///
    /// As [`lookup_range`](Map::lookup_range) and [`delete`](Map::delete).
    pub fn delete_range(&self, first: &[u8], last: &[u8]) -> Result<u64> {
        let zero = vec![0; self.value_bytes()];
        let delete = || {
            self.change_range(first, last, |key| match self.inner.view() {
                View::Array(_) => self.try_update(key, &zero, crate::abi::BPF_ANY),
                _ => self.try_delete(key),
            })
        };
        delete().map_err(|reason| self.error("delete_range", reason))
    }

    fn change_range(
        &self,
        first: &[u8],
        last: &[u8],
        change: impl Fn(&[u8]) -> Tried<()>,
    ) -> Tried<u64> {
        self.may_write()?;
        if let View::Array(_) = self.inner.view() {
            let mut changed = 0;
            for index in self.indices(first, last)? {
                change(&index.to_ne_bytes())?;
                changed += 1;
            }
            return Ok(changed);
        }
        change_all(self.sorted(first, last, Want::Keys)?.iter().map(|(key, _)| key), change)
    }

    /// Deletes the entries for which `keep` gives false (arrays: sets them to 0); gives how many.
    /// An entry whose value changes after `keep` saw it is deleted all the same.
    ///
    /// # Errors
    ///
    /// EPERM, EINVAL for queues and stacks.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 1, 1, 8))?;
    /// for key in *b"abcd" {
    ///     map.update(&[key], &[key], 0)?;
    /// }
    /// assert_eq!(map.retain(|key, _| key < b"c".as_slice())?, 2);
    /// assert_eq!(map.len(), 2);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Result<u64> {
        let mut retain = || {
            self.may_write()?;
            let zero = vec![0; self.value_bytes()];
            let mut keys = Vec::new();
            self.try_for_each(|key, value| {
                if !keep(key, value) {
                    keys.push(key.to_vec());
                }
                true
            })?;
            change_all(keys.iter(), |key| match self.inner.view() {
                View::Array(_) => self.try_update(key, &zero, crate::abi::BPF_ANY),
                _ => self.try_delete(key),
            })
        };
        retain().map_err(|reason| self.error("retain", reason))
    }

    /// Removes every entry (arrays: sets all values to 0; queues and stacks: pops what they hold,
    /// all slots'); gives how many.
    ///
    /// # Errors
    ///
    /// EPERM.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Stack, 0, 8, 8))?;
    /// map.push(&[1; 8], 0)?;
    /// assert_eq!((map.clear()?, map.len()), (1, 0));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn clear(&self) -> Result<u64> {
        let clear = || {
            self.may_write()?;
            match self.inner.view() {
                View::Rings(_) => self.try_drain(|_, _| {}),
                View::Array(_) => {
                    let zero = vec![0; self.value_bytes()];
                    for index in 0..self.spec().max_entries {
                        self.try_update(&index.to_ne_bytes(), &zero, crate::abi::BPF_ANY)?;
                    }
                    Ok(self.spec().max_entries.into())
                }
                View::Hash(hash) => {
                    let mut cleared = 0;
                    let mut outcome = Ok(());
                    hash.for_each(Want::Keys, |snapshot, number| {
                        match self.try_delete(snapshot.key(number)) {
                            Ok(()) => cleared += 1,
                            Err(Reason::NotFound) => {}
                            Err(reason) => outcome = Err(reason),
                        }
                        outcome.is_ok()
                    })?;
                    outcome.map(|()| cleared)
                }
            }
        };
        clear().map_err(|reason| self.error("clear", reason))
    }

    /// Pops what a queue or stack holds, of every CPU slot, and calls `take` with the slot and the
    /// value; gives how many. What is pushed meanwhile may stay.
    ///
    /// # Errors
    ///
    /// EPERM, EINVAL for other kinds.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::cpu_flags};
    /// let map = Map::create(&Spec::new(MapType::PerCpuQueue, 0, 1, 8).cpus(2))?;
    /// map.push(b"x", cpu_flags(1))?;
    /// map.push(b"y", cpu_flags(0))?;
    /// let mut all = Vec::new();
    /// map.drain(|cpu, value| all.push((cpu, value[0])))?;
    /// assert_eq!(all, [(0, b'y'), (1, b'x')]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn drain(&self, take: impl FnMut(u32, &[u8])) -> Result<u64> {
        let drain = || {
            self.may_read()?;
            self.may_write()?;
            self.try_drain(take)
        };
        drain().map_err(|reason| self.error("drain", reason))
    }

    fn try_drain(&self, mut take: impl FnMut(u32, &[u8])) -> Tried<u64> {
        let View::Rings(rings) = self.inner.view() else {
            return Err(self.unsupported(errno::EINVAL));
        };
        let mut value = vec![0; self.value_bytes()];
        let mut taken = 0;
        for ring in 0..rings.count() {
            for _ in 0..rings.len(ring)? {
                match rings.pop(|| self.inner.writer(), ring, &mut value) {
                    Ok(()) => take(ring, &value),
                    Err(Reason::NotFound) => break,
                    Err(reason) => return Err(reason),
                }
                taken += 1;
            }
        }
        Ok(taken)
    }
}

/// Changes each key's entry that is still there; gives how many there were.
fn change_all<'k>(
    keys: impl Iterator<Item = &'k Vec<u8>>,
    change: impl Fn(&[u8]) -> Tried<()>,
) -> Tried<u64> {
    let mut changed = 0;
    for key in keys {
        match change(key) {
            Ok(()) => changed += 1,
            Err(Reason::NotFound) => {}
            Err(reason) => return Err(reason),
        }
    }
    Ok(changed)
}
