//! Memory that other processes may change at any time, and the locks in it that survive the
//! death of whoever holds them. All `unsafe` code of this crate is below here.

#![allow(unsafe_code)]

pub(crate) mod barrier;
pub(crate) mod bias;
pub(crate) mod buckets;
pub(crate) mod bytes;
pub(crate) mod count;
pub(crate) mod first;
pub(crate) mod huge;
#[cfg(not(loom))]
pub(crate) mod kernel;
pub(crate) mod lanes;
pub(crate) mod lent;
#[cfg(test)]
pub(crate) mod mortal;
pub(crate) mod owner;
pub(crate) mod process;
pub(crate) mod region;
pub(crate) mod sync;
pub(crate) mod tags;

pub(crate) use region::Region;
