//! The interpreter.

use crate::error::Trap;
use crate::run::Run;

/// Runs a function of the current program in a frame; gives r0.
pub(crate) fn run(
    run: &mut Run<'_>,
    _function: usize,
    _frame: u64,
    _arguments: [u64; 5],
) -> Result<u64, Trap> {
    let _ = run;
    unreachable!()
}
