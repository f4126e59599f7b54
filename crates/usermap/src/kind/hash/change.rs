//! Updates, deletions and increments: lock the bucket, prepare, commit with one store.

use super::bucket::{
    FREE, LINK, LINKED, Link, OCCUPIED, REMOVED, TAKEN, first_in, lead_first_to, next_in, set_tag,
    tag_in_node,
};
use super::lock::{Found, Locked};
use super::{Hash, PLACES, Presence, Slot, USED_PLACES, Value, hashing};
use crate::error::Reason;
use crate::header;
use crate::kind::redo::{ALL_CPUS, changed};
use crate::mem::bytes;
use crate::mem::owner::{self, Patience, Writer};
use crate::mem::sync::{AtomicU64, Ordering::*, fence};

/// A linked node's word. It keeps who linked it: only by that can a node that a dead writer
/// filled be told from one that it had merely found free.
fn linked_word(writer: Writer<'_>, tag: u8, next: u32) -> u64 {
    LINKED | u64::from(writer.number) << 52 | u64::from(tag) << 32 | u64::from(next)
}

impl<'r> Hash<'r> {
    /// `BPF_MAP_UPDATE_ELEM`.
    #[inline(always)]
    pub(crate) fn update(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value: Value<'_>,
        presence: Presence,
    ) -> Result<(), Reason> {
        let quick = match value {
            Value::Whole(value) => self.put_sized(writer, key, value, presence, true),
            Value::Beside(value) => self.put_sized(writer, key, value, presence, false),
            Value::OneCpu(cpu, value) if presence != Presence::Absent => {
                self.set_on_sized(writer, key, cpu, value)
            }
            _ => None,
        };
        match quick {
            Some(()) => Ok(()),
            None => self.update_by_lock(writer, key, value, presence),
        }
    }

    /// The same, for all cases.
    #[inline(never)]
    pub(crate) fn update_by_lock(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value: Value<'_>,
        presence: Presence,
    ) -> Result<(), Reason> {
        let hash = self.geometry.hash(key);
        self.refuse_new(writer, hash, key, presence)?;
        match self.find_and_lock(writer, hash, key) {
            Some((locked, found)) => self.update_locked(locked, found, hash, key, value, presence),
            None => self.update_slowly(writer, hash, key, value, presence),
        }
    }

    #[cold]
    #[inline(never)]
    fn update_slowly(
        &self,
        writer: Writer<'_>,
        hash: hashing::Hash,
        key: &[u8],
        value: Value<'_>,
        presence: Presence,
    ) -> Result<(), Reason> {
        let (locked, found) = self.wait_and_find(writer, hash, key)?;
        self.update_locked(locked, found, hash, key, value, presence)
    }

    #[inline(always)]
    fn update_locked(
        &self,
        mut locked: Locked<'_>,
        found: Found,
        hash: hashing::Hash,
        key: &[u8],
        value: Value<'_>,
        presence: Presence,
    ) -> Result<(), Reason> {
        let in_place = self.changes_in_place(value);
        let refused = match found {
            Found::Nowhere if presence == Presence::Present => Reason::NotFound,
            Found::Nowhere => match self.insert(&mut locked, hash, key, value) {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            },
            _ if presence == Presence::Absent => Reason::Exists,
            Found::Place(place) if in_place => {
                let slot = self.slot_of_place(hash.bucket, place);
                self.replace_in_place(locked, slot, key, value);
                return Ok(());
            }
            Found::Node(slot) if in_place => {
                self.replace_in_place(locked, slot, key, value);
                return Ok(());
            }
            Found::Place(place) => return self.replace(locked, hash, key, place, value),
            Found::Node(slot) => return self.replace_node(locked, hash, key, slot, value),
        };
        self.unlock(locked);
        Err(refused)
    }

    /// Whether a new value of an entry goes where the old one is: those of one word, whose store
    /// is the commit; and per CPU. An update of a `ZERO_SEED` map makes an element new, too.
    #[inline(always)]
    fn changes_in_place(&self, value: Value<'_>) -> bool {
        match value {
            Value::Whole(value) => value.len() <= 8 && self.geometry.seed.is_some(),
            Value::Beside(_) => false,
            _ => true,
        }
    }

    /// `BPF_MAP_DELETE_ELEM`, and of a map that is not per CPU `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    #[inline(always)]
    pub(crate) fn remove(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        mut value: Option<&mut [u8]>,
    ) -> Result<(), Reason> {
        match self.remove_sized(writer, key, value.as_deref_mut()) {
            Some(true) => Ok(()),
            Some(false) => Err(Reason::NotFound),
            None => self.remove_by_lock(writer, key, value),
        }
    }

    /// The same, for all cases.
    #[inline(never)]
    pub(crate) fn remove_by_lock(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value: Option<&mut [u8]>,
    ) -> Result<(), Reason> {
        self.delete(writer, key, |hash, slot| {
            if let Some(value) = value {
                bytes::load(hash.value(slot, 0), value);
            }
        })
    }

    /// Deletes a key; `take` gets the entry's slot while it is still there, and is locked.
    #[inline(always)]
    pub(crate) fn delete(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        take: impl FnOnce(&Hash<'r>, Slot),
    ) -> Result<(), Reason> {
        let hash = self.geometry.hash(key);
        match self.find_and_lock(writer, hash, key) {
            Some((locked, Found::Place(place))) => {
                take(self, self.slot_of_place(hash.bucket, place));
                self.delete_place(locked, place);
                Ok(())
            }
            Some((locked, _)) => {
                self.unlock(locked);
                Err(Reason::NotFound)
            }
            None => {
                let (locked, found) = self.wait_and_find(writer, hash, key)?;
                self.delete_slowly(locked, found, take)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn delete_slowly(
        &self,
        locked: Locked<'_>,
        found: Found,
        take: impl FnOnce(&Hash<'r>, Slot),
    ) -> Result<(), Reason> {
        match found {
            Found::Nowhere => {
                self.unlock(locked);
                Err(Reason::NotFound)
            }
            Found::Place(place) => {
                take(self, self.slot_of_place(locked.bucket, place));
                self.delete_place(locked, place);
                Ok(())
            }
            Found::Node(slot) => {
                take(self, slot);
                self.delete_node(locked, slot)
            }
        }
    }

    #[inline(always)]
    fn delete_place(&self, locked: Locked<'_>, place: u32) {
        let (writer, count) = (locked.writer, self.count());
        let announced = count.announce(writer, locked.intent);
        locked.head[0].store(changed(locked.word) & !(1 << place), Release);
        count.subtract(writer, &announced);
        writer.end(announced.intent);
    }

    #[cold]
    #[inline(never)]
    fn delete_node(&self, locked: Locked<'_>, slot: Slot) -> Result<(), Reason> {
        let (writer, count) = (locked.writer, self.count());
        let (number, node, link) = match self.node_of(&locked, slot) {
            Ok(found) => found,
            Err(reason) => {
                self.unlock(locked);
                return Err(reason);
            }
        };
        // Told before it is announced: whoever cleans up tells by it what was done.
        writer.word(owner::REMOVED).store(u64::from(number), Release);
        let announced = count.announce(writer, locked.intent);
        let unlinked = node.load(Relaxed);
        link.lead_to(next_in(unlinked));
        self.forget(locked.bucket, tag_in_node(unlinked));
        self.give_up(&locked, node);
        count.subtract(writer, &announced);
        self.free_removed(writer, node);
        writer.end(announced.intent);
        Ok(())
    }

    /// Adds to the number that is an entry's value (on one CPU slot of a map per CPU), and gives the
    /// sum. Makes an absent entry with `delta`.
    #[inline(always)]
    pub(crate) fn add(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        cpu: Option<u32>,
        width: usize,
        delta: u64,
        presence: Presence,
    ) -> Result<u64, Reason> {
        if presence != Presence::Absent {
            let quick = match cpu {
                None => self.add_sized(writer, key, width, delta),
                Some(cpu) => self.add_on_sized(writer, key, cpu, width, delta),
            };
            if let Some(sum) = quick {
                return Ok(sum);
            }
        }
        self.add_by_lock(writer, key, cpu, width, delta, presence)
    }

    /// The same, for all cases.
    #[inline(never)]
    pub(crate) fn add_by_lock(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        cpu: Option<u32>,
        width: usize,
        delta: u64,
        presence: Presence,
    ) -> Result<u64, Reason> {
        let hash = self.geometry.hash(key);
        self.refuse_new(writer, hash, key, presence)?;
        match self.find_and_lock(writer, hash, key) {
            Some((locked, Found::Place(place))) if presence != Presence::Absent => {
                let slot = self.slot_of_place(hash.bucket, place);
                let word = &self.value(slot, cpu.unwrap_or(0))[0];
                let sum = self.add_to(word, width, delta);
                // One word changed, which is its own commit: the version can stay.
                self.unlock(locked);
                Ok(sum)
            }
            Some(at) => self.add_locked(at, hash, key, (cpu, width, delta), presence),
            None => {
                let at = self.wait_and_find(writer, hash, key)?;
                self.add_locked(at, hash, key, (cpu, width, delta), presence)
            }
        }
    }

    #[inline(never)]
    fn add_locked(
        &self,
        (mut locked, found): (Locked<'_>, Found),
        hash: hashing::Hash,
        key: &[u8],
        (cpu, width, delta): (Option<u32>, usize, u64),
        presence: Presence,
    ) -> Result<u64, Reason> {
        let slot = match found {
            Found::Nowhere => None,
            Found::Place(place) => Some(self.slot_of_place(hash.bucket, place)),
            Found::Node(slot) => Some(slot),
        };
        let outcome = match slot {
            Some(_) if presence == Presence::Absent => Err(Reason::Exists),
            Some(slot) => Ok(self.add_to(&self.value(slot, cpu.unwrap_or(0))[0], width, delta)),
            None if presence == Presence::Present => Err(Reason::NotFound),
            None => {
                let mut number = [0; 8];
                bytes::narrow(delta, &mut number[..width]);
                let value = match cpu {
                    Some(cpu) => Value::OneCpu(cpu, &number[..width]),
                    None => Value::Whole(&number[..width]),
                };
                match self.insert(&mut locked, hash, key, value) {
                    Ok(()) => return Ok(bytes::widen(&number[..width])),
                    Err(reason) => Err(reason),
                }
            }
        };
        self.unlock(locked);
        outcome
    }

    /// Adds to a value's number in a bucket that this writer has locked just now.
    #[inline(always)]
    pub(super) fn add_to(&self, word: &AtomicU64, width: usize, delta: u64) -> u64 {
        match header::lent(self.words).is_lent() {
            true => bytes::add(word, 0, width, delta),
            false => bytes::add_alone(word, width, delta),
        }
    }

    /// The node that a slot is, in a bucket that is locked: its number + 1, and the link to it.
    fn node_of(
        &self,
        locked: &Locked<'_>,
        slot: Slot,
    ) -> Result<(u32, &'r AtomicU64, Link<'r>), Reason> {
        let number = slot.wrapping_sub(self.slot_of_node(1)) as u32 + 1;
        let link = self.link_to(locked.bucket, number)?;
        let link = link.ok_or(Reason::Corrupt("a node left a locked chain"))?;
        Ok((number, self.node(number)?, link))
    }

    /// Puts an entry into a slot that nobody can see yet.
    #[inline(always)]
    fn fill(&self, slot: Slot, key: &[u8], value: Value<'_>) {
        if let Some(stamp) = self.stamp(slot) {
            stamp.store(self.words[header::STAMP].fetch_add(1, Relaxed), Relaxed);
        }
        let value_on = |cpu| self.value(slot, cpu);
        match value {
            Value::Whole(value) | Value::Beside(value) => {
                let (key_words, value_words) = self.entry(slot, key.len(), value.len());
                bytes::store(key_words, key);
                bytes::store(value_words, value);
            }
            Value::AllCpus(value) => {
                bytes::store(self.key(slot), key);
                let each = self.geometry.redo.value_words * 8;
                for (cpu, value) in value.chunks(each).enumerate() {
                    bytes::store(value_on(cpu as u32), value);
                }
            }
            Value::OneCpu(own, value) => {
                bytes::store(self.key(slot), key);
                for cpu in 0..self.geometry.redo.cpus {
                    match cpu == own {
                        true => bytes::store(value_on(cpu), value),
                        false => bytes::zero(value_on(cpu), value.len()),
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn insert(
        &self,
        locked: &mut Locked<'_>,
        hash: hashing::Hash,
        key: &[u8],
        value: Value<'_>,
    ) -> Result<(), Reason> {
        let occupied = locked.word & OCCUPIED;
        if occupied.count_ones() >= USED_PLACES {
            return self.insert_node(locked, hash, key, value);
        }
        self.count_one_more(locked)?;
        let place = occupied.trailing_ones();
        self.fill(self.slot_of_place(hash.bucket, place), key, value);
        set_tag(locked.head, place, hash.tag);
        locked.head[0].store(changed(locked.word) | 1 << place, Release);
        locked.writer.end(locked.intent);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn insert_node(
        &self,
        locked: &mut Locked<'_>,
        hash: hashing::Hash,
        key: &[u8],
        value: Value<'_>,
    ) -> Result<(), Reason> {
        let writer = locked.writer;
        let (number, node) = self.take_node(locked)?;
        if let Err(reason) = self.count_one_more(locked) {
            node.store(FREE, Release);
            writer.word(owner::CREATED).store(0, Release);
            return Err(reason);
        }
        self.fill(self.slot_of_node(number), key, value);
        let next = first_in(locked.head[LINK].load(Relaxed));
        node.store(linked_word(writer, hash.tag, next), Release);
        lead_first_to(locked.head, number, hash.tag);
        locked.head[0].store(changed(locked.word), Release);
        writer.word(owner::CREATED).store(0, Release);
        writer.end(locked.intent);
        Ok(())
    }

    /// Announces an insertion and counts it, unless the map is full.
    #[inline(always)]
    fn count_one_more(&self, locked: &mut Locked<'_>) -> Result<(), Reason> {
        let (writer, count) = (locked.writer, self.count());
        locked.intent = match count.add_quickly(writer, locked.intent) {
            Some(intent) => intent,
            None => count.add(writer, locked.intent, self)?,
        };
        Ok(())
    }

    /// Replaces an entry by another one with the same key, so that pointers to the old one keep
    /// the old value (as `htab_map_update_elem` does).
    #[inline(always)]
    fn replace(
        &self,
        locked: Locked<'_>,
        hash: hashing::Hash,
        key: &[u8],
        old: u32,
        value: Value<'_>,
    ) -> Result<(), Reason> {
        // Inserts leave a place free; damage may not have.
        let free = (locked.word & OCCUPIED).trailing_ones();
        if free as usize >= PLACES {
            self.unlock(locked);
            return Err(Reason::Corrupt("a bucket has no free place"));
        }
        self.fill(self.slot_of_place(hash.bucket, free), key, value);
        set_tag(locked.head, free, hash.tag);
        locked.head[0].store(changed(locked.word) & !(1 << old) | 1 << free, Release);
        locked.writer.end(locked.intent);
        Ok(())
    }

    /// The same for an entry in a node.
    #[cold]
    #[inline(never)]
    fn replace_node(
        &self,
        locked: Locked<'_>,
        hash: hashing::Hash,
        key: &[u8],
        slot: Slot,
        value: Value<'_>,
    ) -> Result<(), Reason> {
        let writer = locked.writer;
        let taken = self.node_of(&locked, slot).and_then(|old| Ok((old, self.take_node(&locked)?)));
        let ((old, old_node, link), (number, node)) = match taken {
            Ok(taken) => taken,
            Err(reason) => {
                self.unlock(locked);
                return Err(reason);
            }
        };
        self.fill(self.slot_of_node(number), key, value);
        let next = next_in(old_node.load(Relaxed));
        node.store(linked_word(writer, hash.tag, next), Release);
        writer.word(owner::REMOVED).store(u64::from(old), Release);
        link.lead_to(number);
        self.give_up(&locked, old_node);
        self.free_removed(writer, old_node);
        writer.word(owner::CREATED).store(0, Release);
        writer.end(locked.intent);
        Ok(())
    }

    /// Changes an entry's value where it is.
    #[inline(always)]
    fn replace_in_place(&self, locked: Locked<'_>, slot: Slot, key: &[u8], value: Value<'_>) {
        match value {
            // One word, whose store is the commit.
            Value::Whole(value) => {
                bytes::store(self.entry(slot, key.len(), value.len()).1, value);
                self.unlock(locked);
            }
            value => self.replace_per_cpu(locked, slot, value),
        }
    }

    /// The same per CPU (as `pcpu_copy_value` does).
    fn replace_per_cpu(&self, locked: Locked<'_>, slot: Slot, value: Value<'_>) {
        let redo = &self.geometry.redo;
        let (cpu, value) = match value {
            Value::OneCpu(cpu, value) => (cpu, value),
            Value::AllCpus(value) if redo.cpus > 1 => (ALL_CPUS, value),
            Value::AllCpus(value) | Value::Whole(value) | Value::Beside(value) => (0, value),
        };
        if value.len() <= 8 {
            bytes::store(self.value(slot, cpu), value);
            self.unlock(locked);
            return;
        }
        let lock = &locked.head[0];
        redo.write(self.words, lock, locked.writer, slot as usize, cpu, value);
        lock.store(changed(locked.word), Release);
        locked.writer.word(owner::CREATED).store(0, Release);
        locked.writer.end(locked.intent);
    }

    /// Takes a free node, told in the writer's record before it is taken.
    #[cold]
    fn take_node(&self, locked: &Locked<'_>) -> Result<(u32, &'r AtomicU64), Reason> {
        let nodes = self.geometry.nodes;
        let mut patience = Patience::new();
        loop {
            let start = self.words[header::HINT].load(Relaxed) as u32;
            for step in 0..nodes {
                let number = ((u64::from(start) + u64::from(step)) % u64::from(nodes)) as u32 + 1;
                let node = self.node(number)?;
                if node.load(Relaxed) != FREE {
                    continue;
                }
                locked.writer.word(owner::CREATED).store(u64::from(number), Release);
                let taken = TAKEN | u64::from(locked.writer.number) << 52;
                if node.compare_exchange(FREE, taken, AcqRel, Relaxed).is_ok() {
                    // As when the lock is taken: for readers that are still on the node.
                    fence(Release);
                    self.words[header::HINT].store(u64::from(number), Relaxed);
                    return Ok((number, node));
                }
            }
            locked.writer.word(owner::CREATED).store(0, Release);
            // There is a node for every entry: what is missing, dead owners have.
            if nodes == 0 || patience.wait()? {
                for other in self.owners().taken() {
                    self.owners().recover(other, self)?;
                }
            }
            if nodes == 0 {
                return Err(Reason::Corrupt("a bucket is fuller than the map"));
            }
        }
    }

    /// Marks a node that was unlinked as its remover's to free, and releases the lock. Readers may
    /// be on the node and must not take it for the chain's end, so they get a new version first.
    fn give_up(&self, locked: &Locked<'_>, node: &AtomicU64) {
        let released = changed(locked.word);
        let owner = u64::from(locked.writer.number) << 52;
        locked.head[0].store(released | owner, Release);
        let next = next_in(node.load(Relaxed));
        node.store(REMOVED | owner | u64::from(next), Release);
        locked.head[0].store(released, Release);
    }

    /// Frees a node that was given up, unless that has been done.
    fn free_removed(&self, writer: Writer<'_>, node: &AtomicU64) {
        let word = node.load(Relaxed);
        let own = REMOVED | u64::from(writer.number) << 52;
        if word & !0xff_ffff_ffff == own {
            let _ = node.compare_exchange(word, FREE, AcqRel, Relaxed);
        }
        writer.word(owner::REMOVED).store(0, Release);
    }
}
