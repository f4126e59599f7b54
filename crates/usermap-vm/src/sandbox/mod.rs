//! All unsafe code that running programs needs: their memory, and the machine code's entry.

#![allow(unsafe_code)]

pub(crate) mod cage;
#[cfg(target_arch = "x86_64")]
pub(crate) mod native;
