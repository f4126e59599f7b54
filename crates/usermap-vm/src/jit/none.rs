//! Machines that there is no JIT for: everything is interpreted.

use crate::code::Code;
use crate::error::Trap;
use crate::run::{LoadedMap, Run};

/// Machine code, of which there is none.
pub(crate) enum Native {}

impl Native {
    pub(crate) fn call(
        &self,
        _run: &mut Run<'_>,
        _function: usize,
        _frame: u64,
        _arguments: [u64; 5],
        _times: u64,
    ) -> Result<u64, Trap> {
        match *self {}
    }
}

/// No machine code.
pub(crate) fn compile(
    _: &Code,
    _: &[LoadedMap],
    _: u64,
    _: &dyn Fn(u32) -> bool,
) -> Result<Option<Native>, String> {
    Ok(None)
}
