//! The `usermap prog` commands: programs of objects, run over captures.

mod capture;
