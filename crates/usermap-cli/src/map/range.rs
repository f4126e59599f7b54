//! range: lookup, update and delete of all entries between two keys.

use super::count::removed_elements;
use super::dump;
use super::element::{required, shown};
use super::operands::{Sizes, expect_end, parse_range, parse_value};
use crate::failure::{Failure, Result};
use crate::progress;
use crate::session::Session;
use crate::words::{Words, text};
use usermap::Access;

/// `range`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    if words.take_keyword("lookup") {
        let target = required(session, words, Access::ReadOnly)?;
        let (first, last) = parse_range(words, &target)?;
        expect_end(words)?;
        return dump::entries(session, &target, Some((&first, &last)));
    }
    let update = words.at_keyword(&["update"]);
    if !update && !words.at_keyword(&["delete"]) {
        let got = words.peek().map(text).unwrap_or_default();
        return Err(Failure::Usage(
            format!("expected 'lookup', 'update' or 'delete', got: '{got}'"),
            "range",
        ));
    }
    words.take();
    let target = required(session, words, Access::ReadWrite)?;
    let map = &target.map;
    let (first, last) = parse_range(words, &target)?;
    let failed = |doing: &str, error: usermap::Error| {
        Failure::on(
            doing,
            &error,
            &format!("first {}, last {}", shown("key", &first), shown("key", &last)),
        )
    };
    let total = map.len();
    if update {
        if !words.take_keyword("value") {
            return Err(Failure::new("did not find value").of_map(&target.label()));
        }
        let value = parse_value(words, Sizes::of(&target))
            .map_err(|error| error.of_map(&target.label()))?;
        expect_end(words)?;
        let work = || map.update_range(&first, &last, &value);
        // How far an update is cannot be seen from outside.
        let updated = progress::during("updating", total, false, || 0, work)
            .map_err(|error| failed("update failed", error))?;
        return removed_elements(session, "Updated", "updated", updated);
    }
    expect_end(words)?;
    let done = || total.saturating_sub(map.len());
    let deleted =
        progress::during("deleting", total, false, done, || map.delete_range(&first, &last))
            .map_err(|error| failed("delete failed", error))?;
    removed_elements(session, "Deleted", "deleted", deleted)
}
