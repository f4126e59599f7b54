//! The operand words of a command, read one after the other as bpftool reads them: keywords may
//! be shortened, and the first keyword that starts so is meant.

use std::ffi::{OsStr, OsString};

/// A cursor over the words.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    words: &'a [OsString],
}

impl<'a> Words<'a> {
    /// At the first word.
    pub fn new(words: &'a [OsString]) -> Words<'a> {
        Words { words }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The next word, which stays the next one.
    pub fn peek(&self) -> Option<&'a OsStr> {
        self.words.first().map(OsString::as_os_str)
    }

    /// The next word, which is used up.
    pub fn take(&mut self) -> Option<&'a OsStr> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// Uses up the last word if it is this one.
    pub fn take_last(&mut self, last: &str) -> bool {
        match self.words.split_last() {
            Some((word, rest)) if word == last => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    /// Uses up the next word if it is this keyword, or a beginning of it.
    pub fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| is_prefix(word, keyword));
        if found {
            self.take();
        }
        found
    }

    /// Whether the next word is one of these keywords, or a beginning of one.
    pub fn at_keyword(&self, keywords: &[&str]) -> bool {
        self.peek().is_some_and(|word| keywords.iter().any(|keyword| is_prefix(word, keyword)))
    }
}

/// Whether `word` is `keyword` or a beginning of it (an empty word is none).
pub fn is_prefix(word: &OsStr, keyword: &str) -> bool {
    !word.is_empty() && keyword.as_bytes().starts_with(word.as_encoded_bytes())
}

/// A word as text, for messages and for what must be text anyway.
pub fn text(word: &OsStr) -> std::borrow::Cow<'_, str> {
    word.to_string_lossy()
}

/// A number as C's `strtoul(.., 0)` takes it: decimal, `0x` hexadecimal or `0` octal; `base` 16
/// makes the `0x` needless. `None` for anything else, and past 64 bits.
pub fn number(text: &str, base: u32) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, base) = match hex {
        Some(digits) => (digits, 16),
        None if base == 0 && text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, if base == 0 { 10 } else { base }),
    };
    // from_str_radix would take a sign.
    if !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    u64::from_str_radix(digits, base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_in_c() {
        assert_eq!(number("300", 0), Some(300));
        assert_eq!(number("0x2c", 0), Some(44));
        assert_eq!(number("017", 0), Some(15));
        assert_eq!(number("0", 0), Some(0));
        assert_eq!(number("2c", 16), Some(44));
        assert_eq!(number("0x2c", 16), Some(44));
        for bad in ["", "0x", "2c", "08", "-1", "+1", " 1", "1 ", "18446744073709551616", "١"] {
            assert_eq!(number(bad, 0), None, "{bad:?}");
        }
    }

    #[test]
    fn keywords_may_be_shortened() {
        let words = ["ke".into(), "1".into(), "".into()];
        let mut words = Words::new(&words);
        assert!(words.at_keyword(&["value", "key"]));
        assert!(!words.take_keyword("value"));
        assert!(words.take_keyword("key"));
        assert!(!words.take_keyword("key"));
        assert_eq!(words.take(), Some(OsStr::new("1")));
        assert!(!words.take_keyword("key"), "an empty word is no keyword");
        words.take();
        assert_eq!((words.take(), words.len()), (None, 0));
    }

    #[test]
    fn the_last_word() {
        let words = ["map".into(), "--repair".into()];
        let mut words = Words::new(&words);
        assert!(!words.take_last("--rep"));
        assert!(words.take_last("--repair") && !words.take_last("--repair"));
        assert_eq!((words.take(), words.take_last("map")), (Some(OsStr::new("map")), false));
    }

    proptest! {
        #[test]
        fn numbers_come_back(n: u64) {
            prop_assert_eq!(number(&n.to_string(), 0), Some(n));
            prop_assert_eq!(number(&format!("{n:#x}"), 0), Some(n));
            prop_assert_eq!(number(&format!("{n:x}"), 16), Some(n));
            prop_assert_eq!(number(&format!("0{n:o}"), 0), Some(n));
        }

        #[test]
        fn no_text_panics(text: String, base in prop_oneof![Just(0u32), Just(16)]) {
            number(&text, base);
        }
    }
}
