//! Runs eBPF objects that clang built for the kernel, in user space.

#![allow(dead_code, unused_imports)]

pub mod bare;
mod blocks;
pub mod btf;
mod code;
mod context;
pub mod disassemble;
mod error;
mod helper;
mod helper_names;
pub mod instruction;
mod interpret;
mod jit;
mod load;
mod object;
mod places;
mod program;
mod program_type;
mod run;
mod sandbox;
mod slots;
mod validate;

pub use code::{Code, Function, Line};
pub use context::{Context, Redirect, RedirectKind, Skb, Vlan, Xdp};
pub use error::{Error, Fault, FaultKind, Result};
pub use helper::{Event, Events, helper_name};
pub use load::{Loaded, Options};
pub use object::{Extern, Global, MapDefinition, Object, Obstacle};
pub use program::{Outcome, Program, Runner};
pub use program_type::ProgramType;
pub use run::HelperCall;
