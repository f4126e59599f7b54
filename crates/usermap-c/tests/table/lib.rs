//! The table of descriptors and its tests, as they are in the library. `.ci/run miri address thread`
//! runs them; so does, by hand, in this folder:
//!
//! ```text
//! MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-many-seeds=0..8' cargo +nightly miri test
//! RUSTFLAGS=-Zsanitizer=thread cargo +nightly test --release -Zbuild-std --target x86_64-unknown-linux-gnu
//! ```
//!
//! Miri looks at readers with fences, as it has no membarrier(2); the sanitizers at those without.

#[path = "../../src/foreign/hazard.rs"]
mod hazard;
#[path = "../../src/foreign/table.rs"]
pub mod table;
