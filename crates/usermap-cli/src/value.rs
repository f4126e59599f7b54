//! DATA: the bytes of a key or value, as bpftool takes them (`hex 0a 00`, `10 0 0x1f`) and typed
//! (`u32:7`), mixed as one likes, until the key or value is full.

use crate::failure::{Failure, Result};
use crate::types::{NAMES, Type};
use crate::words::{Words, number, text};
use std::ffi::OsStr;

/// Reads `size` bytes of `name` ("key" or "value").
pub fn parse_data(words: &mut Words<'_>, name: &str, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut base = 0;
    if words.take_keyword("hex") {
        base = 16;
    }
    while bytes.len() < size {
        let Some(word) = words.peek() else {
            return Err(Failure::new(format!(
                "{name} expected {size} bytes got {}{}",
                bytes.len(),
                hint(bytes.len(), size),
            )));
        };
        match typed(word) {
            Some((kind, rest)) => {
                let left = size - bytes.len();
                let bad = |rule: String| {
                    Failure::new(format!("error parsing {name}: {}: {rule}", text(word)))
                };
                let some = kind.parse(rest, left).map_err(bad)?;
                if some.len() > left {
                    return Err(bad(format!(
                        "{} bytes, only {left} of the {name}'s {size} are left",
                        some.len()
                    )));
                }
                bytes.extend(some);
            }
            None => bytes.push(byte(word, base, name, bytes.len(), size)?),
        }
        words.take();
    }
    Ok(bytes)
}

/// `TYPE:REST`, if the word is such a one.
fn typed(word: &OsStr) -> Option<(Type, &[u8])> {
    let bytes = word.as_encoded_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = str::from_utf8(&bytes[..colon]).ok()?;
    Some((Type::from_name(name)?, &bytes[colon + 1..]))
}

/// One byte. bpftool cuts larger numbers to their low eight bits; that only hides mistakes.
fn byte(word: &OsStr, base: u32, name: &str, got: usize, size: usize) -> Result<u8> {
    let shown = text(word);
    match number(&shown, base).map(u8::try_from) {
        Some(Ok(byte)) => Ok(byte),
        Some(Err(_)) => Err(Failure::new(format!(
            "error parsing byte: {shown}: past 255; a number of several bytes is u32:{shown} or the like"
        ))),
        None if shown.contains(':') => Err(Failure::new(format!(
            "error parsing byte: {shown}: no such type; there are {NAMES}"
        ))),
        None => Err(Failure::new(format!(
            "error parsing byte: {shown}: {name} expected {size} bytes got {got}"
        ))),
    }
}

/// What a person who wrote one number for a longer key probably wants.
fn hint(got: usize, size: usize) -> String {
    match (got, size) {
        (1, 2 | 4 | 8) => format!("; one number is written u{}:N", size * 8),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;

    fn parse(line: &str, size: usize) -> std::result::Result<(Vec<u8>, usize), String> {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let mut words = Words::new(&words);
        match parse_data(&mut words, "key", size) {
            Ok(bytes) => Ok((bytes, words.len())),
            Err(Failure::Message { text, .. }) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_as_bpftool_takes_them() {
        assert_eq!(parse("1 0x2c 017 255", 4), Ok((vec![1, 44, 15, 255], 0)));
        assert_eq!(parse("hex 0a 0b 0xc 10 value", 4), Ok((vec![10, 11, 12, 16], 1)));
        assert_eq!(parse("hex", 0), Ok((vec![], 0)));
    }

    #[test]
    fn typed_bytes_mix_with_plain_ones() {
        assert_eq!(
            parse("ip:10.0.0.1 be16:80 6 0 any", 8),
            Ok((vec![10, 0, 0, 1, 0, 80, 6, 0], 1))
        );
        assert_eq!(
            parse("str2:a hex 01", 3).unwrap_err().split(':').next(),
            Some("error parsing byte")
        );
        assert_eq!(parse("hex ff str:b", 3), Ok((vec![255, b'b', 0], 0)));
    }

    #[test]
    fn refusals_name_the_word_and_the_rule() {
        let error = |line, size| parse(line, size).unwrap_err();
        assert_eq!(error("1 2 3", 4), "key expected 4 bytes got 3");
        assert_eq!(error("7", 4), "key expected 4 bytes got 1; one number is written u32:N");
        assert_eq!(
            error("1 2 3 value", 4),
            "error parsing byte: value: key expected 4 bytes got 3"
        );
        assert!(error("300 0", 2).starts_with("error parsing byte: 300: past 255"));
        assert!(error("u33:1", 4).starts_with("error parsing byte: u33:1: no such type"));
        assert_eq!(error("u32:x", 4), "error parsing key: u32:x: not an unsigned number");
        assert_eq!(
            error("0 0 u32:1", 4),
            "error parsing key: u32:1: 4 bytes, only 2 of the key's 4 are left"
        );
    }

    proptest! {
        #[test]
        fn no_words_panic(words: Vec<Vec<u8>>, size in 0usize..100) {
            use std::os::unix::ffi::OsStringExt;
            let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
            let _ = parse_data(&mut Words::new(&words), "key", size);
        }

        #[test]
        fn likely_words_never_give_another_length(
            words in proptest::collection::vec("(hex|[0-9a-fx]{1,3}|(u8|u16|be32|i64|str|str3|hex|mac|ip):[0-9a-f.:-]{0,12}|value)", 0..12),
            size in 0usize..20,
        ) {
            let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
            if let Ok(bytes) = parse_data(&mut Words::new(&words), "key", size) {
                prop_assert_eq!(bytes.len(), size);
            }
        }
    }
}
