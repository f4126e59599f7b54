//! `bpf_strncmp`, `bpf_strtol`, `bpf_strtoul`.

use super::arguments::{Called, copy, errno, size, spend_on_bytes};
use crate::run::{Run, Stop};

/// Flags that are a base (`BPF_STRTOX_BASE_MASK`).
const BASE: u64 = 0x1f;
/// Digits that are looked at.
const DIGITS: usize = 63;

/// `bpf_strncmp(text, size, other)`: 0, -1 or 1.
pub(super) fn compare(run: &mut Run<'_>, [text, bytes, other, ..]: [u64; 5]) -> Called {
    let bytes = size("bpf_strncmp", bytes)?;
    spend_on_bytes(run, bytes as u64)?;
    let text = copy(run.memory, text, bytes)?;
    for (index, byte) in text.iter().enumerate() {
        let other = run.memory.load(other.wrapping_add(index as u64), 1)? as u8;
        match byte.cmp(&other) {
            std::cmp::Ordering::Less => return Ok(-1_i64 as u64),
            std::cmp::Ordering::Greater => return Ok(1),
            std::cmp::Ordering::Equal if *byte == 0 => return Ok(0),
            std::cmp::Ordering::Equal => {}
        }
    }
    Ok(0)
}

/// `bpf_strtol(text, size, base, number)`: gives how many bytes it read.
pub(super) fn strtol(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    number(run, arguments, |magnitude, negative| match negative {
        true if magnitude > 1 << 63 => Err(libc::ERANGE),
        true => Ok(magnitude.wrapping_neg()),
        false if magnitude >= 1 << 63 => Err(libc::ERANGE),
        false => Ok(magnitude),
    })
}

/// `bpf_strtoul(text, size, base, number)`
pub(super) fn strtoul(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    number(run, arguments, |magnitude, negative| match negative {
        true => Err(libc::EINVAL),
        false => Ok(magnitude),
    })
}

fn number(
    run: &mut Run<'_>,
    [text, bytes, flags, result, _]: [u64; 5],
    fit: impl Fn(u64, bool) -> Result<u64, i32>,
) -> Called {
    let bytes = size("bpf_strtol", bytes)?;
    run.memory.check(result, 8, true)?;
    let text = match bytes {
        0 => Vec::new(),
        _ => copy(run.memory, text, bytes)?,
    };
    spend_on_bytes(run, bytes as u64)?;
    let parsed = parse(&text, flags)
        .and_then(|(magnitude, negative, read)| Ok((fit(magnitude, negative)?, read)));
    store(run, result, parsed.map_or(0, |(number, _)| number))?;
    match parsed {
        Ok((_, read)) => Ok(read as u64),
        Err(number) => Ok(errno(number)),
    }
}

fn store(run: &Run<'_>, result: u64, number: u64) -> Result<(), Stop> {
    Ok(run.memory.store(result, 8, number)?)
}

/// A number, whether it had a minus, and how many bytes it took (`__bpf_strtoull`).
fn parse(text: &[u8], flags: u64) -> Result<(u64, bool, usize), i32> {
    let base = match flags {
        0 | 8 | 10 | 16 => flags & BASE,
        _ => return Err(libc::EINVAL),
    };
    // The kernel's isspace() is Latin-1's.
    let space = |byte: &u8| matches!(byte, 9..=13 | b' ' | 0xa0);
    let spaces = text.iter().take_while(|byte| space(byte)).count();
    let negative = text.get(spaces) == Some(&b'-');
    let start = spaces + usize::from(negative);
    let digits = text.get(start..).unwrap_or_default();
    if digits.is_empty() {
        return Err(libc::EINVAL);
    }
    let digits = &digits[..digits.len().min(DIGITS)];
    let (base, prefix) = base_of(digits, base);
    let (magnitude, length) = magnitude(&digits[prefix..], base)?;
    match length {
        0 => Err(libc::EINVAL),
        _ => Ok((magnitude, negative, start + prefix + length)),
    }
}

/// The base, and the length of the prefix that says so (`_parse_integer_fixup_radix`).
fn base_of(digits: &[u8], base: u64) -> (u64, usize) {
    let hexadecimal = matches!(digits, [b'0', b'x' | b'X', ..]);
    match base {
        0 if hexadecimal && digits.get(2).is_some_and(u8::is_ascii_hexdigit) => (16, 2),
        0 if digits.first() == Some(&b'0') => (8, 0),
        0 => (10, 0),
        16 if hexadecimal => (16, 2),
        base => (base, 0),
    }
}

fn magnitude(digits: &[u8], base: u64) -> Result<(u64, usize), i32> {
    let mut number = 0_u64;
    let mut length = 0;
    let mut overflow = false;
    for byte in digits {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => break,
        };
        if u64::from(digit) >= base {
            break;
        }
        let next = number.checked_mul(base).and_then(|next| next.checked_add(digit.into()));
        overflow |= next.is_none();
        number = next.unwrap_or(0);
        length += 1;
    }
    if overflow { Err(libc::ERANGE) } else { Ok((number, length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, flags, expected) in [
            ("42", 0, Ok((42, false, 2))),
            (" \t-42x", 10, Ok((42, true, 5))),
            ("0x1F", 0, Ok((31, false, 4))),
            ("0x1f", 16, Ok((31, false, 4))),
            ("1f", 16, Ok((31, false, 2))),
            ("017", 0, Ok((15, false, 3))),
            ("0x", 0, Ok((0, false, 1))),
            ("0x", 16, Err(libc::EINVAL)),
            ("9", 8, Err(libc::EINVAL)),
            ("", 0, Err(libc::EINVAL)),
            ("-", 0, Err(libc::EINVAL)),
            ("+1", 0, Err(libc::EINVAL)),
            ("1", 7, Err(libc::EINVAL)),
            ("1", 0x20, Err(libc::EINVAL)),
            ("18446744073709551615", 10, Ok((u64::MAX, false, 20))),
            ("18446744073709551616", 10, Err(libc::ERANGE)),
        ] {
            assert_eq!(parse(text.as_bytes(), flags), expected, "{text:?} {flags}");
        }
    }
}
