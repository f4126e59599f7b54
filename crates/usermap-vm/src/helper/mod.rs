//! Helpers: what programs call by number. Each gets the run and r1 to r5, and gives r0; or stops
//! the program if it was called in a way that the kernel's verifier would have refused.

use crate::program_type::ProgramType;
use crate::run::{Run, Stop};

/// A helper's code.
pub(crate) type Function = fn(&mut Run<'_>, [u64; 5]) -> Result<u64, Stop>;

/// A helper.
pub(crate) struct Helper {
    /// Its number.
    pub(crate) id: u32,
    /// Its name, as programs have it.
    pub(crate) name: &'static str,
    /// Which programs may call it.
    pub(crate) allowed: fn(ProgramType) -> bool,
    pub(crate) function: Function,
}

/// The helper with a number, if it is one that there is.
pub(crate) fn by_id(_id: u32) -> Option<&'static Helper> {
    None
}

/// `PROG_ARRAY`: programs by index.
pub(crate) struct ProgramArray {}

impl ProgramArray {
    /// The number of the program at an index.
    pub(crate) fn get(&self, _index: u32) -> Option<usize> {
        None
    }
}

/// `PERF_EVENT_ARRAY`: events that programs put out.
pub(crate) struct EventArray {}
