//! Machine code of programs.

use crate::error::Trap;
use crate::run::Run;

/// A program's machine code.
pub(crate) struct Native {}

impl Native {
    /// Runs a function.
    pub(crate) fn call(
        &self,
        run: &mut Run<'_>,
        _function: usize,
        _frame: u64,
        _arguments: [u64; 5],
    ) -> Result<u64, Trap> {
        let _ = run;
        unreachable!()
    }
}
