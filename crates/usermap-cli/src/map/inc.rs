//! inc: adds to a value atomically.

use super::element::{required, shown};
use super::operands::{Takes, parse};
use crate::failure::{Failure, Result};
use crate::output::entries::{Entries, Shape, Slots};
use crate::output::typed::Typed;
use crate::session::Session;
use crate::words::Words;
use usermap::Access;

/// `inc`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadWrite)?;
    let takes = Takes { key: true, flags: true, by: true, ..Takes::default() };
    let operands = parse(words, &target, takes)?;
    let delta = operands.by.unwrap_or(1);
    let new = target
        .map
        .inc_and_return(&operands.key, delta, operands.flags)
        .map_err(|error| Failure::on("inc failed", &error, &shown("key", &operands.key)))?;
    // The new value has the map's width: 1, 2, 4 or 8 bytes, which inc has checked.
    let shape = Shape { slots: Slots::Plain, ..Shape::of(&target.map) };
    let size = shape.value_size.min(8);
    let value = if cfg!(target_endian = "big") {
        new.to_be_bytes()[8 - size..].to_vec()
    } else {
        new.to_le_bytes()[..size].to_vec()
    };
    let typed = Typed::of(session, &target)?;
    let mut entries = Entries::new(session, shape, typed)?;
    entries.entry(&mut session.out, &operands.key, &value)?;
    Ok(entries.end_single(&mut session.out)?)
}
