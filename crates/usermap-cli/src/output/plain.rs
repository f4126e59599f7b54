//! bpftool's plain text: bytes in hexadecimal, sixteen a line.

use std::io::{self, Write};

/// The hexadecimal digits.
pub const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes as bpftool shows them: a space between, two after eight, a new line after sixteen.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        text.push_str(match at {
            0 => "",
            _ if at % 16 == 0 => "\n",
            _ if at % 8 == 0 => "  ",
            _ => " ",
        });
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

/// One entry with one value.
pub fn entry(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    let below = key.len() > 16 || value.len() > 16;
    let name_end = if below { '\n' } else { ' ' };
    if !key.is_empty() {
        let between = if key.len() + value.len() <= 24 && !below { "  " } else { "\n" };
        write!(out, "key:{name_end}{}{between}", hex(key))?;
    }
    if !value.is_empty() {
        write!(out, "value:{name_end}{}", hex(value))?;
    }
    out.write_all(b"\n")
}

/// One entry with a value for each of some CPU slots.
pub fn per_cpu_entry<'a>(
    out: &mut impl Write,
    key: &[u8],
    values: impl Iterator<Item = (u32, &'a [u8])>,
) -> io::Result<()> {
    if !key.is_empty() {
        writeln!(out, "key:\n{}", hex(key))?;
    }
    for (cpu, value) in values {
        let name_end = if value.len() > 16 { '\n' } else { ' ' };
        writeln!(out, "value (CPU {cpu:02}):{name_end}{}", hex(value))?;
    }
    Ok(())
}

/// `1 element`, `2 elements`.
pub fn elements(count: u64) -> String {
    format!("{count} element{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &[u8], value: &[u8]) -> String {
        let mut out = Vec::new();
        entry(&mut out, key, value).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries_as_bpftool_shows_them() {
        assert_eq!(
            shown(&[1, 0, 0, 0], &[7; 8]),
            "key: 01 00 00 00  value: 07 07 07 07 07 07 07 07\n"
        );
        assert_eq!(shown(&[1; 16], &[7; 9]), {
            "key: 01 01 01 01 01 01 01 01  01 01 01 01 01 01 01 01\n\
             value: 07 07 07 07 07 07 07 07  07\n"
        });
        assert_eq!(shown(&[1], &[7; 17]), {
            "key:\n01\nvalue:\n07 07 07 07 07 07 07 07  07 07 07 07 07 07 07 07\n07\n"
        });
        assert_eq!(shown(&[], &[1, 2]), "value: 01 02\n");
    }

    #[test]
    fn slots_as_bpftool_shows_them() {
        let mut out = Vec::new();
        let values = [(0, &[1u8, 2][..]), (11, &[3; 2])];
        per_cpu_entry(&mut out, &[9], values.into_iter()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "key:\n09\nvalue (CPU 00): 01 02\nvalue (CPU 11): 03 03\n");
    }
}
