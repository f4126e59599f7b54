//! `PROG_ARRAY`: programs by index, of this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The entries that are kept in one piece; an array of more keeps the rest one by one, so that
/// what an object says takes no memory on its own.
const DENSE: u32 = 1 << 16;

/// Programs by index. They may be changed while programs run.
#[derive(Debug)]
pub(crate) struct ProgramArray {
    max_entries: u32,
    /// Numbers of programs, from 1 on; 0 where there is none.
    first: Box<[AtomicU32]>,
    rest: Mutex<BTreeMap<u32, u32>>,
}

impl ProgramArray {
    /// An empty one.
    pub(crate) fn new(max_entries: u32) -> ProgramArray {
        let first = (0..max_entries.min(DENSE)).map(|_| AtomicU32::new(0)).collect();
        ProgramArray { max_entries, first, rest: Mutex::default() }
    }

    /// The number of the program at an index.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<usize> {
        let program = match self.first.get(index as usize) {
            Some(entry) => entry.load(Ordering::Relaxed),
            None if index < self.max_entries => *self.rest().get(&index)?,
            None => return None,
        };
        program.checked_sub(1).map(|program| program as usize)
    }

    /// Puts a program at an index; false if there is no such index.
    pub(crate) fn set(&self, index: u32, program: usize) -> bool {
        let number = u32::try_from(program).ok().and_then(|program| program.checked_add(1));
        let Some(number) = number.filter(|_| index < self.max_entries) else { return false };
        match self.first.get(index as usize) {
            Some(entry) => entry.store(number, Ordering::Relaxed),
            None => drop(self.rest().insert(index, number)),
        }
        true
    }

    fn rest(&self) -> MutexGuard<'_, BTreeMap<u32, u32>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_by_index() {
        for (entries, last) in [(3, 2), (u32::MAX, u32::MAX - 1)] {
            let array = ProgramArray::new(entries);
            assert!(array.set(last, 0) && !array.set(last + 1, 0));
            assert_eq!((array.get(last), array.get(1), array.get(last + 1)), (Some(0), None, None));
            assert!(array.set(last, 4));
            assert_eq!(array.get(last), Some(4));
        }
    }
}
