//! `PROG_ARRAY`: programs by index, of this process.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU32, Ordering};

/// The most entries: each takes memory from the start.
const MOST: u32 = 1 << 20;

/// Programs by index. They may be changed while programs run.
#[derive(Debug)]
pub(crate) struct ProgramArray {
    /// Numbers of programs, from 1 on; 0 where there is none.
    programs: Box<[AtomicU32]>,
}

impl ProgramArray {
    /// An empty one.
    pub(crate) fn new(max_entries: u32) -> Result<ProgramArray> {
        if !(1..=MOST).contains(&max_entries) {
            let rule = format!("an array of programs has 1 to {MOST} entries");
            return Err(Error::Invalid { what: format!("max_entries {max_entries}"), rule });
        }
        Ok(ProgramArray { programs: (0..max_entries).map(|_| AtomicU32::new(0)).collect() })
    }

    /// How many entries it has.
    pub(crate) fn max_entries(&self) -> u32 {
        self.programs.len() as u32
    }

    /// The number of the program at an index.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<usize> {
        let program = self.programs.get(index as usize)?.load(Ordering::Relaxed);
        program.checked_sub(1).map(|program| program as usize)
    }

    /// Puts a program at an index; false if there is no such index.
    pub(crate) fn set(&self, index: u32, program: usize) -> bool {
        let number = u32::try_from(program).ok().and_then(|program| program.checked_add(1));
        match (self.programs.get(index as usize), number) {
            (Some(entry), Some(number)) => {
                entry.store(number, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

    /// Takes the program at an index away; false if there was none.
    pub(crate) fn delete(&self, index: u32) -> bool {
        let entry = self.programs.get(index as usize);
        entry.is_some_and(|entry| entry.swap(0, Ordering::Relaxed) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_by_index() {
        let array = ProgramArray::new(3).unwrap();
        assert!(array.set(2, 0) && !array.set(3, 0));
        assert_eq!((array.get(2), array.get(1), array.get(9)), (Some(0), None, None));
        assert!(array.delete(2) && !array.delete(2) && !array.delete(3));
        assert_eq!((array.get(2), array.max_entries()), (None, 3));
        assert!(ProgramArray::new(0).is_err() && ProgramArray::new(u32::MAX).is_err());
    }
}
