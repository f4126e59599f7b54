//! Files that are no maps, damaged ones, and regions that somebody scribbles over while they are
//! in use: wrong data or an error, but never a crash, a hang or a panic.
//!
//! What could crash runs in a child process with a time limit.

mod access;
mod checked;
mod damaged;
mod exercise;
mod not_maps;
mod programs;
mod scribbled;

use usermap_tests::child;

#[test]
fn child_entry() {
    child::run(&[
        ("busy", checked::busy),
        ("damaged", damaged::child),
        ("not-maps", not_maps::child),
        ("descriptors", not_maps::descriptors),
        ("scribbled", scribbled::child),
        ("shrunk", scribbled::shrunk),
    ]);
}
