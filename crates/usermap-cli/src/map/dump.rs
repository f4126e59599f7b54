//! dump: all entries, or those of a range.

use super::element::required;
use super::operands::{expect_end, parse_range};
use crate::failure::{Failure, Result};
use crate::output::entries::{Entries, Shape};
use crate::output::typed::Typed;
use crate::progress;
use crate::session::Session;
use crate::target::Target;
use crate::words::Words;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use usermap::Access;

/// `dump`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadOnly)?;
    if words.take_keyword("range") {
        let (first, last) = parse_range(words, &target)?;
        expect_end(words)?;
        return entries(session, &target, Some((&first, &last)));
    }
    if let Some(word) = words.peek() {
        let text = format!("unexpected operand: '{}'", crate::words::text(word));
        return Err(Failure::Usage(text, "dump"));
    }
    entries(session, &target, None)
}

/// Prints the entries, of a range or all.
pub fn entries(session: &mut Session, target: &Target, range: Option<(&[u8], &[u8])>) -> Result {
    let map = &target.map;
    let typed = Typed::of(session, target)?;
    let mut entries = Entries::new(session, Shape::of(map), typed)?;
    entries.start(&mut session.out)?;
    let seen = AtomicU64::new(0);
    let mut written: io::Result<()> = Ok(());
    let quiet = session.out.terminal;
    let result = {
        let out = &mut session.out;
        let mut each = |key: &[u8], value: &[u8]| {
            seen.fetch_add(1, Relaxed);
            written = entries.entry(out, key, value);
            written.is_ok()
        };
        progress::during(
            "dumping",
            map.len(),
            quiet,
            || seen.load(Relaxed),
            || match range {
                Some((first, last)) => map.lookup_range(first, last, &mut each),
                // A queue's answer is that of its first key, as bpftool asks for it.
                None if map.spec().map_type.is_ring() => {
                    map.get_next_key(None, &mut []).map(|()| 0)
                }
                None => map.for_each(&mut each),
            },
        )
    };
    written?;
    entries.end(&mut session.out, "Found")?;
    // The list above is complete in every form, so the reason is told beside it.
    result.map(|_| ()).map_err(|error| Failure::operation("can't dump", &error).aside())
}
