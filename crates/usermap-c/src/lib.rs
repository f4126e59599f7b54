//! libusermap: usermap's maps for C, and bpf(2) for programs that know nothing of usermap.
//!
//! Linked (`-lusermap`), it has the map functions of libbpf's `bpf/bpf.h` by their own names and
//! usermap's own functions (`usermap.h`). Loaded by `LD_PRELOAD`, it answers a program's bpf(2)
//! calls. A map's descriptor is a real one: closing, dup, fork, exec and sending it over a socket do
//! what they do with every file.
//!
//! | file | what it does |
//! |---|---|
//! | [`descriptor`] | from a descriptor's number to the object behind it |
//! | [`host`] | what the bpf(2) seam needs of this process: its memory and its descriptors |
//! | [`registry`] | objects by id, for all processes that share the default folder |
//! | [`program`] | programs that are loaded: their commands, their files |
//! | [`fd_array`] | `PROG_ARRAY` and `PERF_EVENT_ARRAY` |
//! | [`btf`] | BTF that programs load, and the types of maps |
//! | [`seam`] | bpf(2) as programs call it: which command is whose |
//! | `attr` | a command's attribute and the caller's memory, as the kernel reads them |
//! | `bpffs` | where pins are: names below a bpf file system stand for names in the default folder |
//! | `process` | what /proc says of descriptors |
//! | `foreign/` | all `unsafe` code: the functions that C calls, memory that C points at |
//!
//! From Rust, use the crate `usermap`; this one's Rust functions are for its own tests.

mod attr;
mod bpffs;
pub mod btf;
pub mod descriptor;
pub mod fd_array;
pub mod foreign;
pub mod host;
mod process;
pub mod program;
pub mod registry;
pub mod seam;
