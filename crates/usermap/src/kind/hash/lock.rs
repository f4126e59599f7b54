//! Taking a bucket's lock for a change of a key, and releasing it. The bucket's word is the lock
//! (`mem::owner`): the short way finds first and locks the word that it found, the long way waits.

use super::bucket::{LINK, may_lead_to};
use super::{Hash, Slot, hashing};
use crate::error::Reason;
use crate::mem::buckets::Head;
use crate::mem::owner::{Intent, Writer, holder};
use crate::mem::sync::{Ordering::*, fence};

/// The thread that writes, and the bucket that it has locked.
pub(super) struct Locked<'w> {
    pub(super) writer: Writer<'w>,
    pub(super) intent: Intent,
    pub(super) head: &'w Head,
    pub(super) bucket: u32,
    /// The lock word as it was when free.
    pub(super) word: u64,
}

/// Where a key is, in a bucket that is locked.
#[derive(Clone, Copy)]
pub(super) enum Found {
    Nowhere,
    Place(u32),
    Node(Slot),
}

impl<'r> Hash<'r> {
    /// Finds a key among the places and locks its bucket, in this order: what takes
    /// the lock checks at the same time that nothing changed since, and its wait for the memory
    /// overlaps the find's. Nothing where that is not all: the key may be in a node, or others
    /// are at the bucket.
    #[inline(always)]
    pub(super) fn find_and_lock<'w>(
        &self,
        writer: Writer<'w>,
        hash: hashing::Hash,
        key: &[u8],
    ) -> Option<(Locked<'w>, Found)>
    where
        'r: 'w,
    {
        let head = self.head(hash.bucket);
        let word = head[0].load(Acquire);
        let found = match self.find_place(head, hash, key, word) {
            Some(place) => Found::Place(place),
            None if !may_lead_to(head[LINK].load(Acquire), hash.whole) => Found::Nowhere,
            None => return None,
        };
        let intent = self.lock_quickly(writer, head, hash.bucket, word)?;
        Some((Locked { writer, intent, head, word, bucket: hash.bucket }, found))
    }

    /// Takes a lock that nobody held when its word was `word`, unless that has changed since.
    #[inline(always)]
    pub(super) fn lock_quickly(
        &self,
        writer: Writer<'_>,
        head: &Head,
        bucket: u32,
        word: u64,
    ) -> Option<Intent> {
        if holder(word) != 0 {
            return None;
        }
        let intent = writer.begin_quickly(bucket)?;
        if !writer.lock_quickly(&head[0], word) {
            writer.end(intent);
            return None;
        }
        // For readers that see a store to a place that was freed, or used anew, since they looked:
        // they see the version that it got by that, too.
        fence(Release);
        Some(intent)
    }

    /// Locks a key's bucket, with a wait for others, and finds the key.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_and_find<'w>(
        &self,
        writer: Writer<'w>,
        hash: hashing::Hash,
        key: &[u8],
    ) -> Result<(Locked<'w>, Found), Reason>
    where
        'r: 'w,
    {
        let head = self.head(hash.bucket);
        let intent = writer.begin(hash.bucket)?;
        let word = match self.owners().lock(&head[0], writer, self) {
            Ok(word) => word,
            Err(reason) => {
                writer.end(intent);
                return Err(reason);
            }
        };
        fence(Release);
        let locked = Locked { writer, intent, head, word, bucket: hash.bucket };
        if let Some(place) = self.find_place(head, hash, key, word) {
            return Ok((locked, Found::Place(place)));
        }
        match self.find_node(hash, key) {
            Ok(None) => Ok((locked, Found::Nowhere)),
            Ok(Some(slot)) => Ok((locked, Found::Node(slot))),
            Err(reason) => {
                self.unlock(locked);
                Err(reason)
            }
        }
    }

    /// Releases the lock; nothing that readers compare has changed.
    #[inline(always)]
    pub(super) fn unlock(&self, locked: Locked<'_>) {
        locked.head[0].store(locked.word, Release);
        locked.writer.end(locked.intent);
    }
}
