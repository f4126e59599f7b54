//! The table of descriptors and its tests, as they are in the library. `.ci/run loom miri address thread`
//! runs them; so does, by hand, in this folder:
//!
//! ```text
//! LOOM_MAX_PREEMPTIONS=2 RUSTFLAGS='--cfg loom' cargo test --release
//! MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-many-seeds=0..8' cargo +nightly miri test
//! RUSTFLAGS=-Zsanitizer=thread cargo +nightly test --release -Zbuild-std --target x86_64-unknown-linux-gnu
//! ```
//!
//! loom and Miri look at readers with fences, as they have no membarrier(2); the sanitizers at those
//! without.

#[path = "../../src/foreign/hazard.rs"]
mod hazard;
#[cfg(all(loom, test))]
mod models;
#[cfg(not(loom))]
#[path = "../../src/foreign/sync.rs"]
mod sync;
#[cfg(loom)]
mod sync;
#[path = "../../src/foreign/table.rs"]
pub mod table;
