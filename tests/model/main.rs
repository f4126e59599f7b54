//! usermap against std's collections, single thread: random operations, each result and the whole
//! contents compared. It needs no kernel and runs everywhere.

mod full;
mod keyed;
mod rings;
mod typed;
