//! Runs eBPF objects that clang built for the kernel, in user space.

#![allow(dead_code, unused_imports)]

mod blocks;
pub mod btf;
mod code;
mod context;
mod error;
mod helper;
pub mod instruction;
mod interpret;
mod jit;
mod object;
mod program_type;
mod run;
mod sandbox;

pub use code::{Code, Function, Line};
pub use error::{Error, Fault, FaultKind, Result};
pub use object::{Extern, Global, MapDefinition, Object, Obstacle};
pub use program_type::ProgramType;
pub use run::HelperCall;
