//! What the suites share: the real kernel behind a safe wrapper, adversarial keys, a checker of
//! histories for linearizability, deterministic randomness, and child processes.
//!
//! | variable | effect |
//! | --- | --- |
//! | `USERMAP_SEED=n` | another seed than the fixed one; a failing test prints the one it used |
//! | `USERMAP_SOAK=seconds` | each timed test runs that long, each random one tries new seeds that long |
//! | `USERMAP_REQUIRE_KERNEL=1` | the comparison with the kernel fails where bpf(2) is not allowed |

pub mod adapter;
pub mod check;
pub mod child;
pub mod history;
pub mod keys;
pub mod linear;
pub mod rng;
pub mod sys;
