//! Promise 5: a process that dies at any instruction of any operation, or is stopped there, leaves
//! a map on which every other process carries on, with all that was committed and nothing half-done.
//! docs/reliability.md has the figures.

mod every;
mod other;
mod points;
mod random;
mod stopped;
mod subject;
mod toy;
