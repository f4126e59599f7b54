//! The only place of this crate with `unsafe` code: functions that C calls by name, and memory that
//! C points at.
//!
//! | file | what it does |
//! |---|---|
//! | `memory` | copies from and to the caller's addresses; a bad one is a [`Fault`], not a crash |
//! | `table` | values by number that are read without a lock; `hazard` says which of them are in use |
//! | `element`, `batch`, `object` | libbpf's functions; `options` reads what they are given, `attr` calls the seam |
//! | `own`, `own_create` | the functions of `usermap.h` |
//! | `interpose_close` | close(2) and its like |
//! | `system` | system calls past the C library |
//! | `interpose` | the system calls of unmodified programs |
//! | `mappings` | maps' values, mapped where a program asked for them |
//! | `paths` | the functions that take paths |
//! | `number` | descriptors as C gives them |
//!
//! [`Fault`]: usermap::command::Fault
#![allow(unsafe_code)]

mod attr;
pub mod batch;
pub mod element;
mod hazard;
pub mod interpose;
pub mod interpose_close;
mod mappings;
pub mod memory;
pub mod number;
pub mod object;
mod options;
pub mod own;
pub mod own_create;
mod paths;
mod sync;
pub(crate) mod system;
pub mod table;
