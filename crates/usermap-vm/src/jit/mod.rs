//! The JIT: a program's functions as machine code, by way of Cranelift.
//!
//! Every function becomes one of (run, frame, base, r1 to r5) that gives r0. Registers are variables.
//! An access to memory is at `base + (address & mask)`, where what a program has not got is not
//! mapped; faults and traps come back as errors with the instruction's number (`sandbox::native`).
//! Cranelift does not optimise here: with that it merges loads that a program means to be two, and
//! was slower.

#[cfg(target_arch = "x86_64")]
mod arguments;
#[cfg(target_arch = "x86_64")]
mod call;
#[cfg(target_arch = "x86_64")]
mod compile;
#[cfg(target_arch = "x86_64")]
mod compute;
#[cfg(target_arch = "x86_64")]
mod facts;
#[cfg(target_arch = "x86_64")]
mod hash;
#[cfg(target_arch = "x86_64")]
mod jump;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(target_arch = "x86_64")]
mod translate;

#[cfg(target_arch = "x86_64")]
pub(crate) use compile::{Native, compile};

#[cfg(not(target_arch = "x86_64"))]
mod none;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use none::{Native, compile};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
