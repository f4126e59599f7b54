//! The operands that follow MAP: `key DATA`, `value VALUE`, `cpu N`, `by N`, update flags, in any
//! order, each once.

use crate::failure::{Failure, Result};
use crate::target::Target;
use crate::value::parse_data;
use crate::words::{Words, number, text};
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST};

/// Keywords that may follow MAP, for telling a map's bare name from a shortened handle.
pub const AFTER_MAP: &[&str] =
    &["key", "value", "cpu", "by", "any", "noexist", "exist", "range", "first"];

/// What a command takes after MAP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Takes {
    /// A key: required if the map has keys.
    pub key: bool,
    /// The key may be missing.
    pub key_optional: bool,
    /// A value.
    pub value: bool,
    /// Update flags.
    pub flags: bool,
    /// A CPU slot.
    pub cpu: bool,
    /// An increment.
    pub by: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operands {
    /// The key; empty if the map has none or it was not given.
    pub key: Vec<u8>,
    /// Whether a key was given.
    pub has_key: bool,
    /// The value, for all slots of a per-CPU map.
    pub value: Vec<u8>,
    /// Update flags.
    pub flags: u64,
    /// The CPU slot.
    pub cpu: Option<u32>,
    /// The increment, two's complement.
    pub by: Option<u64>,
}

/// How long keys and values are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of a key.
    pub key: usize,
    /// Bytes of one value.
    pub value: usize,
    /// CPU slots, if an update takes a value for each.
    pub slots: Option<usize>,
}

impl Sizes {
    /// A map's.
    pub fn of(target: &Target) -> Sizes {
        let spec = target.map.spec();
        let slots = spec.map_type.is_per_cpu() && !spec.map_type.is_ring();
        Sizes {
            key: spec.key_size as usize,
            value: spec.value_size as usize,
            slots: slots.then(|| target.map.cpus() as usize),
        }
    }
}

/// Reads the operands for a map; a refusal names it.
pub fn parse(words: &mut Words<'_>, target: &Target, takes: Takes) -> Result<Operands> {
    parse_sized(words, Sizes::of(target), takes).map_err(|error| error.of_map(&target.label()))
}

/// Refuses words that are left.
pub fn expect_end(words: &Words<'_>) -> Result {
    match words.peek() {
        None => Ok(()),
        Some(word) => Err(Failure::new(format!("unexpected operand: '{}'", text(word)))),
    }
}

fn parse_sized(words: &mut Words<'_>, sizes: Sizes, takes: Takes) -> Result<Operands> {
    let mut found = Operands::default();
    let mut has_value = false;
    let mut has_flags = false;
    while let Some(word) = words.peek() {
        if words.at_keyword(&["key"]) && takes.key {
            words.take();
            once(found.has_key, "key", sizes.key)?;
            found.key = parse_data(words, "key", sizes.key)?;
            found.has_key = true;
        } else if words.at_keyword(&["value"]) && takes.value {
            words.take();
            once(has_value, "value", sizes.value)?;
            found.value = parse_value(words, sizes)?;
            has_value = true;
        } else if words.at_keyword(&["any", "noexist", "exist"]) && takes.flags {
            if has_flags {
                return Err(Failure::new(format!(
                    "flags specified multiple times: {}",
                    text(word)
                )));
            }
            found.flags = [("any", BPF_ANY), ("noexist", BPF_NOEXIST), ("exist", BPF_EXIST)]
                .into_iter()
                .find(|(name, _)| words.at_keyword(&[name]))
                .map_or(BPF_ANY, |(_, flag)| flag);
            words.take();
            has_flags = true;
        } else if words.at_keyword(&["cpu"]) && takes.cpu {
            words.take();
            once(found.cpu.is_some(), "cpu", 1)?;
            found.cpu = Some(parse_cpu(words)?);
        } else if words.at_keyword(&["by"]) && takes.by {
            words.take();
            once(found.by.is_some(), "by", 1)?;
            found.by = Some(parse_by(words)?);
        } else {
            return Err(Failure::new(format!(
                "expected key or value, got: {}{}",
                text(word),
                also(takes)
            )));
        }
    }
    if takes.key && !takes.key_optional && sizes.key > 0 && !found.has_key {
        return Err(Failure::new("did not find key"));
    }
    if takes.value && !has_value {
        return Err(Failure::new("did not find value"));
    }
    Ok(found)
}

fn once(already: bool, name: &str, size: usize) -> Result {
    match (already, size) {
        (true, _) => Err(Failure::new(format!("duplicate {name}"))),
        (false, 0) => Err(Failure::new(format!("unnecessary {name}"))),
        (false, _) => Ok(()),
    }
}

/// What bpftool's message about an unexpected word does not tell.
fn also(takes: Takes) -> String {
    let names: Vec<&str> =
        [(takes.cpu, "cpu"), (takes.by, "by"), (takes.flags, "any, exist and noexist")]
            .into_iter()
            .filter_map(|(taken, name)| taken.then_some(name))
            .collect();
    if names.is_empty() { String::new() } else { format!("; {} also fit", names.join(", ")) }
}

/// VALUE: one DATA, which all slots of a per-CPU map get, or one DATA for each slot.
pub fn parse_value(words: &mut Words<'_>, sizes: Sizes) -> Result<Vec<u8>> {
    let Some(slots) = sizes.slots else { return parse_data(words, "value", sizes.value) };
    let step = sizes.value.next_multiple_of(8);
    let mut bytes = vec![0; step * slots];
    if !words.at_keyword(&["cpu"]) {
        let one = parse_data(words, "value", sizes.value)?;
        for slot in bytes.chunks_mut(step.max(1)) {
            slot[..one.len()].copy_from_slice(&one);
        }
        return Ok(bytes);
    }
    let mut given = vec![false; slots];
    while words.take_keyword("cpu") {
        let cpu = parse_cpu(words)? as usize;
        match given.get_mut(cpu) {
            None => return Err(Failure::new(format!("there is no cpu {cpu}, only {slots} slots"))),
            Some(true) => return Err(Failure::new(format!("duplicate value of cpu {cpu}"))),
            Some(seen) => *seen = true,
        }
        let one = parse_data(words, "value", sizes.value)?;
        bytes[cpu * step..][..one.len()].copy_from_slice(&one);
    }
    match given.iter().position(|given| !given) {
        // To leave a slot as it is, it would have to be read first: others write meanwhile.
        Some(cpu) => Err(Failure::new(format!("did not find value of cpu {cpu}: all are written"))),
        None => Ok(bytes),
    }
}

/// `[first] DATA [last] DATA`.
pub fn parse_range(words: &mut Words<'_>, target: &Target) -> Result<(Vec<u8>, Vec<u8>)> {
    let size = Sizes::of(target).key;
    let mut read = |name: &str| {
        words.take_keyword(name);
        parse_data(words, &format!("{name} key"), size)
            .map_err(|error| error.of_map(&target.label()))
    };
    Ok((read("first")?, read("last")?))
}

fn parse_cpu(words: &mut Words<'_>) -> Result<u32> {
    let Some(word) = words.take() else { return Err(Failure::new("what is 'cpu'?")) };
    number(&text(word), 0)
        .and_then(|cpu| u32::try_from(cpu).ok())
        .ok_or_else(|| Failure::new(format!("can't parse {} as CPU number", text(word))))
}

fn parse_by(words: &mut Words<'_>) -> Result<u64> {
    let Some(word) = words.take() else { return Err(Failure::new("what is 'by'?")) };
    let shown = text(word);
    let parsed = match shown.strip_prefix('-') {
        Some(digits) => number(digits, 0).filter(|n| *n <= 1 << 63).map(u64::wrapping_neg),
        None => number(&shown, 0),
    };
    parsed.ok_or_else(|| Failure::new(format!("can't parse {shown} as increment")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;

    const ALL: Takes =
        Takes { key: true, key_optional: false, value: true, flags: true, cpu: true, by: true };

    fn read(line: &str, sizes: Sizes, takes: Takes) -> std::result::Result<Operands, String> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        match parse_sized(&mut Words::new(&words), sizes, takes) {
            Ok(operands) => Ok(operands),
            Err(Failure::Message { text, .. }) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    const HASH: Sizes = Sizes { key: 2, value: 1, slots: None };

    #[test]
    fn operands_in_any_order() {
        let found = read("val 7 noe k 1 2 cpu 3 by -2", HASH, ALL).unwrap();
        assert_eq!((found.key, found.value, found.flags), (vec![1, 2], vec![7], BPF_NOEXIST));
        assert_eq!((found.cpu, found.by), (Some(3), Some(-2i64 as u64)));
    }

    #[test]
    fn refusals_are_bpftools() {
        let update = Takes { key: true, value: true, flags: true, ..Takes::default() };
        let error = |line| read(line, HASH, update).unwrap_err();
        assert_eq!(error(""), "did not find key");
        assert_eq!(error("key 1 2"), "did not find value");
        assert_eq!(error("key 1 2 key 1 2"), "duplicate key");
        assert_eq!(error("value 1 any any"), "flags specified multiple times: any");
        assert_eq!(
            error("key 1 2 value 1 foo"),
            "expected key or value, got: foo; any, exist and noexist also fit"
        );
        let queue = Sizes { key: 0, value: 1, slots: None };
        assert_eq!(read("key 1 value 1", queue, update).unwrap_err(), "unnecessary key");
        assert!(read("value 1", queue, update).is_ok());
        let by = |line| read(line, HASH, ALL).unwrap_err();
        assert_eq!(by("key 1 2 value 1 by x"), "can't parse x as increment");
        assert_eq!(by("key 1 2 value 1 cpu 4294967296"), "can't parse 4294967296 as CPU number");
        assert_eq!(by("cpu"), "what is 'cpu'?");
    }

    #[test]
    fn values_of_slots() {
        let sizes = Sizes { key: 2, value: 4, slots: Some(2) };
        let all = read("key 0 0 value 1 2 3 4", sizes, ALL).unwrap().value;
        assert_eq!(all, [1, 2, 3, 4, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
        let each = read("key 0 0 value cpu 1 hex 01 0 0 0 cpu 0 9 8 7 6", sizes, ALL).unwrap();
        assert_eq!(each.value, [9, 8, 7, 6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let error = |line| read(line, sizes, ALL).unwrap_err();
        assert!(error("key 0 0 value cpu 1 0 0 0 0").contains("cpu 0"));
        assert!(error("key 0 0 value cpu 2 0 0 0 0").contains("only 2 slots"));
        assert!(error("value cpu 0 0 0 0 0 cpu 0 0 0 0 0").contains("duplicate"));
    }

    proptest! {
        #[test]
        fn no_words_panic(
            words in proptest::collection::vec("(key|value|cpu|by|any|exist|hex|-?[0-9]{1,3}|u16:9|\\PC{0,5})", 0..16),
            key in 0usize..4,
            value in 0usize..4,
            slots in proptest::option::of(0usize..4),
        ) {
            let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
            let sizes = Sizes { key, value, slots };
            if let Ok(found) = parse_sized(&mut Words::new(&words), sizes, ALL) {
                prop_assert_eq!(found.key.len(), key);
            }
        }
    }
}
