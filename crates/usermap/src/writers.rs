//! Which record of a region's table of writers each thread of this process has.
//!
//! A thread claims its record with its first write to a map and keeps it; a thread that comes
//! after its end, and gets its number, takes it over. Records are given back when the map is
//! closed. A forked child has none of its parent's.

use crate::error::Reason;
use crate::mem::first::First;
use crate::mem::owner::{Owners, Repair, Writer};
use crate::mem::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const CHUNK: usize = 32;

/// For each thread's number: `fork generation << 16 | record`, 0 for none.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    chunks: [First<[AtomicU64; CHUNK]>; process::THREADS / CHUNK],
}

impl Writers {
    /// This thread's record. What is asked for often is kept where it is found sooner
    /// (`process::kept`).
    pub(crate) fn get<'r>(
        &self,
        owners: Owners<'r>,
        repair: &impl Repair,
    ) -> Result<Writer<'r>, Reason> {
        let number = process::thread_number() as usize;
        if let Some(chunk) = self.chunks.get(number / CHUNK).and_then(First::get) {
            let kept = chunk[number % CHUNK].load(Relaxed);
            if kept >> 16 == process::generation()
                && let Some(writer) = owners.writer(kept as u32 & 0xffff)
            {
                return Ok(writer);
            }
        }
        self.claim(number, owners, repair)
    }

    #[cold]
    fn claim<'r>(
        &self,
        number: usize,
        owners: Owners<'r>,
        repair: &impl Repair,
    ) -> Result<Writer<'r>, Reason> {
        let limit = Reason::Writers { limit: crate::mem::owner::LIMIT };
        let chunk = self.chunks.get(number / CHUNK).ok_or(limit)?;
        let record = owners.claim(repair)?;
        // The identity was taken by now, so the generation is that of this very process.
        let kept = process::generation() << 16 | u64::from(record);
        chunk.get_or_make(Box::default)[number % CHUNK].store(kept, Relaxed);
        owners.writer(record).ok_or(limit)
    }

    /// Gives all records back that this process took.
    pub(crate) fn release(&self, owners: Owners<'_>) {
        self.records().for_each(|record| owners.release(record));
    }

    /// The records that this process has.
    pub(crate) fn records(&self) -> impl Iterator<Item = u32> {
        let chunks = self.chunks.iter().filter_map(First::get);
        let kept = chunks.flat_map(|chunk| chunk.iter()).map(|kept| kept.load(Relaxed));
        kept.filter(|kept| kept >> 16 == process::generation()).map(|kept| kept as u32 & 0xffff)
    }
}
