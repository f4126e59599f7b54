//! The short ways for callers that have keys and values as bytes: common lengths get code of their
//! own, the same as in typed maps, others loops. In functions of their own, because that is much.

use super::{Hash, Presence, Slot};
use crate::mem::bytes;
use crate::mem::owner::Writer;
use crate::mem::sync::AtomicU64;
use core::slice::from_ref;

impl Hash<'_> {
    /// [`get_quickly`](Hash::get_quickly)
    #[inline(never)]
    pub(crate) fn get_sized(&self, key: &[u8], value: &mut [u8]) -> Option<bool> {
        match (key.len(), value.len()) {
            (4, 8) => self.get_quickly(&key[..4], &mut value[..8]),
            (8, 8) => self.get_quickly(&key[..8], &mut value[..8]),
            (16, 8) => self.get_quickly(&key[..16], &mut value[..8]),
            (16, 64) => self.get_quickly(&key[..16], &mut value[..64]),
            _ => self.get_of_any_size(key, value),
        }
    }

    // Apart, because its loops take registers that all callers would have to keep for it.
    #[inline(never)]
    fn get_of_any_size(&self, key: &[u8], value: &mut [u8]) -> Option<bool> {
        self.get_quickly(key, value)
    }

    /// [`locate_quickly`](Hash::locate_quickly)
    #[inline(never)]
    pub(crate) fn locate_sized(&self, key: &[u8]) -> Option<Option<Slot>> {
        match key.len() {
            4 => self.locate_quickly(&key[..4]),
            8 => self.locate_quickly(&key[..8]),
            16 => self.locate_quickly(&key[..16]),
            _ => self.locate_of_any_size(key),
        }
    }

    #[inline(never)]
    fn locate_of_any_size(&self, key: &[u8]) -> Option<Option<Slot>> {
        self.locate_quickly(key)
    }

    /// [`put_quickly`](Hash::put_quickly)
    #[inline(never)]
    pub(crate) fn put_sized(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value: &[u8],
        presence: Presence,
        in_place: bool,
    ) -> Option<()> {
        match (key.len(), value.len()) {
            (4, 8) => self.put_quickly(writer, &key[..4], &value[..8], presence, in_place),
            (8, 8) => self.put_quickly(writer, &key[..8], &value[..8], presence, in_place),
            (16, 8) => self.put_quickly(writer, &key[..16], &value[..8], presence, in_place),
            (16, 64) => self.put_quickly(writer, &key[..16], &value[..64], presence, in_place),
            _ => self.put_quickly(writer, key, value, presence, in_place),
        }
    }

    /// [`add_quickly`](Hash::add_quickly)
    #[inline(never)]
    pub(crate) fn add_sized(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        width: usize,
        delta: u64,
    ) -> Option<u64> {
        match (key.len(), width) {
            (4, 8) => self.add_quickly(writer, &key[..4], 8, delta),
            (8, 8) => self.add_quickly(writer, &key[..8], 8, delta),
            (16, 8) => self.add_quickly(writer, &key[..16], 8, delta),
            _ => self.add_quickly(writer, key, width, delta),
        }
    }

    /// Adds to a key's value on one CPU slot, as [`add_quickly`](Hash::add_quickly).
    #[inline(never)]
    pub(crate) fn add_on_sized(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        cpu: u32,
        width: usize,
        delta: u64,
    ) -> Option<u64> {
        let add = |word: &AtomicU64| self.add_to(word, width, delta);
        match key.len() {
            4 => self.change_on(writer, &key[..4], cpu, add),
            8 => self.change_on(writer, &key[..8], cpu, add),
            16 => self.change_on(writer, &key[..16], cpu, add),
            _ => self.change_on(writer, key, cpu, add),
        }
    }

    /// Sets a key's value, of up to a word, on one CPU slot.
    #[inline(never)]
    pub(crate) fn set_on_sized(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        cpu: u32,
        value: &[u8],
    ) -> Option<()> {
        let set = |word: &AtomicU64| bytes::store(from_ref(word), value);
        match (key.len(), value.len()) {
            (_, 9..) => None,
            (4, _) => self.change_on(writer, &key[..4], cpu, set),
            (16, _) => self.change_on(writer, &key[..16], cpu, set),
            _ => self.change_on(writer, key, cpu, set),
        }
    }

    /// [`remove_quickly`](Hash::remove_quickly)
    #[inline(never)]
    pub(crate) fn remove_sized(
        &self,
        writer: Writer<'_>,
        key: &[u8],
        value: Option<&mut [u8]>,
    ) -> Option<bool> {
        let length = self.geometry.value_bytes;
        match (key.len(), length) {
            (4, 8) => self.remove_quickly(writer, &key[..4], 8, value),
            (8, 8) => self.remove_quickly(writer, &key[..8], 8, value),
            (16, 64) => self.remove_quickly(writer, &key[..16], 64, value),
            _ => self.remove_quickly(writer, key, length, value),
        }
    }
}
