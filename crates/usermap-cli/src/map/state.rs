//! pin and freeze: what becomes of a map as a whole.

use super::operands::{AFTER_MAP, expect_end};
use crate::failure::{Failure, Result};
use crate::session::Session;
use crate::target::{open, resolve};
use crate::words::Words;
use usermap::Access;
use usermap::abi::errno;

/// `pin`.
pub fn pin(session: &mut Session, words: &mut Words<'_>) -> Result {
    let found = words.len();
    // bpftool's exit code here is EINVAL's. A bare name is one word, its handles are two.
    let few = |needed: u32| Failure::Message {
        text: format!("'pin' needs at least {needed} arguments, {found} found"),
        code: (errno::EINVAL as u8).wrapping_neg(),
        aside: false,
    };
    if found < 2 {
        return Err(few(2));
    }
    let target = open(words, Access::ReadOnly, AFTER_MAP)?;
    let Some(file) = words.take() else { return Err(few(3)) };
    expect_end(words)?;
    let path = resolve(file)?;
    target.map.pin(&path).map_err(|error| {
        Failure::operation(&format!("can't pin the object ({})", path.display()), &error)
    })?;
    Ok(session.out.done()?)
}

/// `freeze`.
pub fn freeze(session: &mut Session, words: &mut Words<'_>) -> Result {
    if words.is_empty() {
        return Err(Failure::new("'freeze' needs at least 1 arguments, 0 found"));
    }
    let target = open(words, Access::ReadWrite, AFTER_MAP)?;
    expect_end(words)?;
    let frozen = target.map.freeze();
    frozen.map_err(|error| Failure::operation("failed to freeze map", &error))?;
    Ok(session.out.done()?)
}
