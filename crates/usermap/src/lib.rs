//! eBPF maps for user space: hash, array, per-CPU hash and array, queue and stack, in memory that
//! processes share, with the results, errors and bytes of Linux 6.18.
//!
//! A map is one region of memory behind a file or a descriptor. Whoever opens it has the whole
//! map: there is no daemon, and nothing in the region points out of it. A process that dies in the
//! middle of a change does no harm to the others.
//!
//! ```
//! use usermap::HashMap;
//!
//! let visits = HashMap::<[u8; 4], u64>::create(1024)?;
//! visits.insert(&[10, 0, 0, 1], &7)?;
//! assert_eq!(visits.inc_and_return(&[10, 0, 0, 1], 3)?, 10);
//! assert_eq!(visits.get(&[10, 0, 0, 2])?, None);
//! # Ok::<(), usermap::Error>(())
//! ```
//!
//! # The maps
//!
//! | kind ([`MapType`]) | typed | what it is |
//! |---|---|---|
//! | `Hash` | [`HashMap`] | at most `max_entries` keys with a value each |
//! | `Array` | [`Array`] | `max_entries` values by index, 0 at first |
//! | `PerCpuHash` | [`PerCpuHashMap`] | a hash with a value for each CPU slot |
//! | `PerCpuArray` | [`PerCpuArray`] | an array with a value for each CPU slot |
//! | `Queue`, `Stack` | [`Queue`], [`Stack`] | at most `max_entries` values; the oldest, or the newest, goes first |
//! | `PerCpuQueue`, `PerCpuStack` | [`PerCpuQueue`], [`PerCpuStack`] | one of them for each CPU slot; Linux has none |
//!
//! Typed maps take keys and values of [plain bytes](Plain). Below them is the untyped [`Map`], bytes
//! in and bytes out, with every function and flag: it is made by a [`Spec`], and
//! [`HashMap::map`] and [`HashMap::from_map`] go from one to the other.
//!
//! | | functions |
//! |---|---|
//! | make and find | [`Map::create`], [`create_anonymous`](Map::create_anonymous), [`create_pinned`](Map::create_pinned), [`open_or_create`](Map::open_or_create), [`open`](Map::open), [`from_fd`](Map::from_fd), [`pin`](Map::pin), [`default_folder`] |
//! | one entry | [`lookup`](Map::lookup), [`update`](Map::update), [`delete`](Map::delete), [`lookup_and_delete`](Map::lookup_and_delete), [`inc`](Map::inc), [`inc_and_return`](Map::inc_and_return) |
//! | queues and stacks | [`push`](Map::push), [`pop`](Map::pop), [`peek`](Map::peek), [`drain`](Map::drain), [`len_on`](Map::len_on) |
//! | all entries | [`get_next_key`](Map::get_next_key), [`for_each`](Map::for_each), [`retain`](Map::retain), [`clear`](Map::clear), [`len`](Map::len) |
//! | ranges | [`lookup_range`](Map::lookup_range), [`update_range`](Map::update_range), [`delete_range`](Map::delete_range) |
//! | batches | [`lookup_batch`](Map::lookup_batch), [`lookup_and_delete_batch`](Map::lookup_and_delete_batch), [`update_batch`](Map::update_batch), [`delete_batch`](Map::delete_batch) |
//! | the map itself | [`info`](Map::info), [`types`](Map::types), [`freeze`](Map::freeze), [`sync`](Map::sync), [`map_values`](Map::map_values), [`reopen`](Map::reopen) |
//!
//! Two more views of the same maps: [`Map::on_cpu`] is a map as an eBPF program on one CPU sees it
//! ([`Program`]: pointers to values, this CPU's slot, which [`Map::lease`] gives to one at a time), and [`command::bpf`] is the system call,
//! which takes a `bpf_attr` in memory. [`abi`] has the numbers, [`Helper`] says which helpers of
//! programs a map allows.
//!
//! # Sharing
//!
//! ```
//! use usermap::{Access, HashMap, Map};
//! # let path = std::env::temp_dir().join(format!("usermap-doc-lib-{}", std::process::id()));
//!
//! // In every process: the first makes it, the others open it. A bare name is a file in the
//! // default folder, everything else a path.
//! let visits = HashMap::<u32, u64>::open_or_create(&path, 1024)?;
//! visits.inc(&7, 1)?;
//!
//! // In one that shall only read.
//! let reader = HashMap::<u32, u64>::from_map(Map::open(&path, Access::ReadOnly)?)?;
//! assert_eq!(reader.get(&7)?, Some(1));
//! assert!(reader.insert(&7, &0).is_err());
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), usermap::Error>(())
//! ```
//!
//! A forked child has its parent's maps; [`Map::as_fd`] and [`Map::from_fd`] hand a map on as a
//! descriptor.
//!
//! # Guarantees
//!
//! - Lookups take no lock and write nothing to shared memory. What one copies is a value as it was
//!   at one moment (per-CPU maps: each slot's value), never half of it and never another key's.
//! - Writers lock a bucket (a stripe of an array, a ring), never the map. A wait for a live thread
//!   ends after a second with EBUSY and nothing done.
//! - Every change is made by one store. If its process dies before that, nothing happened; if after,
//!   all of it did. The next who needs its lock cleans up.
//! - A map takes `max_entries` entries whatever their keys are, and refuses one more.
//! - An entry that is there from a walk's start to its end is met exactly once.
//! - Every index in a region is checked before use and every walk is bounded: what others write into
//!   it can make data wrong or give [`Reason::Corrupt`], no more. [`Map::check`] says what is damaged,
//!   and [`Map::repair`] makes the map usable again. Two exceptions: the system answers
//!   with SIGBUS where a file was cut short while it was mapped, or where there is no memory left for
//!   a page; and whoever changes a bucket without pause can hold its readers up.
//!
//! Ranges, walks, `retain` and `clear` work entry by entry: each entry's change is whole, the
//! operation as a whole is not one moment.
//!
//! # Errors
//!
//! Every [`Error`] names the map, the operation and the rule that was broken, and has Linux's number
//! for it, [`Error::errno`]. [`Error::reason`] tells what happened as a [`Reason`]. Typed maps give
//! `None` where a missing key is an ordinary answer.
//!
//! # Features
//!
//! The crate has no Cargo features. It runs on Linux; `--cfg loom` builds it for the model checker.
pub mod abi;
mod batch;
mod check;
pub mod command;
mod create;
mod element;
mod error;
mod header;
mod helper;
mod increment;
mod info;
mod kind;
mod layout;
mod lease;
mod map;
mod mapping;
mod mem;
#[cfg(test)]
mod model;
mod next_key;
mod program;
mod push_pop;
mod range;
mod spec;
mod storage;
mod typed;
mod types;
mod writers;

pub use abi::MapType;
pub use batch::{Batch, Token};
pub use check::{Check, Finding, Repaired};
pub use error::{Error, Name, Reason, Result};
pub use helper::Helper;
pub use info::{HugePages, Info, possible_cpus};
pub use kind::hash::HashLayout;
pub use lease::SlotLease;
pub use map::{Access, Map};
pub use mapping::Mapping;
#[cfg(not(loom))]
pub use mem::kernel::KernelMap;
pub use program::{Program, ValueMemory, ValuePointer};
pub use spec::Spec;
pub use storage::default_folder;
pub use typed::{
    Array, HashMap, Iter, Number, PerCpuArray, PerCpuHashMap, PerCpuQueue, PerCpuStack,
    PerCpuValues, Plain, Queue, Stack, ValueRef,
};
pub use types::MapTypes;

/// The documents' programs, run as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/tutorial.md")]
    mod tutorial {}
    #[doc = include_str!("../README.md")]
    mod crate_readme {}
}
