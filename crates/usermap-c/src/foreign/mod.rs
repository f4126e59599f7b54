//! The only place of this crate with `unsafe` code: functions that C calls by name, and memory that
//! C points at.
//!
//! | file | what it does |
//! |---|---|
//! | `memory` | copies from and to the caller's addresses; a bad one is a [`Fault`], not a crash |
//! | `number` | descriptors as C gives them |
//!
//! [`Fault`]: usermap::command::Fault
#![allow(unsafe_code)]

pub mod memory;
pub mod number;
