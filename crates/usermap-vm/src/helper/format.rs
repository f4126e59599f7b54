//! Format strings as the kernel's helpers take them (`bpf_bprintf_prepare`, `bstr_printf`).
//!
//! Taken are `%d %i %u %x %X`, each with `l` or `ll` and a width with the flags `0 + -` and
//! space; `%c`, `%s %pks %pus`, `%p %px %pK %ps %pS %pB` and `%pi4 %pI4 %pi6 %pI6`. Arguments are
//! put into a buffer of 512 bytes first, and one that does not fit any more is refused. Pointers
//! are shown as the program sees them; the kernel shows `%p` and `%pK` hashed.

use std::net::Ipv6Addr;

/// Bytes that the arguments of one call may take (`MAX_BPRINTF_BIN_ARGS`).
const ARGUMENT_BYTES: usize = 512;
/// The largest width (`FIELD_WIDTH_MAX`).
const WIDEST: usize = (1 << 23) - 1;

/// Reads the program's memory for `%s` and addresses.
pub(super) trait Source {
    /// A text with its NUL, cut to `room` bytes.
    fn text(&self, address: u64, room: usize) -> Option<Vec<u8>>;
    /// So many bytes; false if they are not there.
    fn bytes(&self, address: u64, to: &mut [u8]) -> bool;
}

/// What was printed: as much of it as fits, and how long all of it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Printed {
    pub(super) bytes: Vec<u8>,
    pub(super) length: u64,
    most: usize,
}

impl Printed {
    fn put(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let left = self.most.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(left)]);
    }

    fn fill(&mut self, byte: u8, count: usize) {
        self.length += count as u64;
        let left = self.most.saturating_sub(self.bytes.len());
        self.bytes.resize(self.bytes.len() + count.min(left), byte);
    }

    /// Text in a field.
    fn field(&mut self, text: &[u8], flags: &Flags) {
        let pad = flags.width.saturating_sub(text.len());
        if !flags.left {
            self.fill(b' ', pad);
        }
        self.put(text);
        if flags.left {
            self.fill(b' ', pad);
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: usize,
}

/// What of `isspace` and `ispunct` ends a `%p` or `%s`.
fn ends(byte: u8) -> bool {
    byte == 0 || byte.is_ascii_whitespace() || byte == 0x0b || byte.is_ascii_punctuation()
}

struct Formatter<'a, S: Source> {
    format: &'a [u8],
    at: usize,
    arguments: &'a [u64],
    next: usize,
    /// Bytes of the arguments' buffer that are taken.
    used: usize,
    source: &'a S,
    out: Printed,
}

/// Prints `arguments` as `format`, which has no NUL, says; keeps at most `most` bytes.
///
/// # Errors
///
/// EINVAL for what is not taken, and for more conversions than arguments; ENOSPC.
pub(super) fn print<S: Source>(
    format: &[u8],
    arguments: &[u64],
    source: &S,
    most: usize,
) -> Result<Printed, i32> {
    let out = Printed { most, ..Printed::default() };
    let mut formatter = Formatter { format, at: 0, arguments, next: 0, used: 0, source, out };
    while formatter.at < format.len() {
        formatter.step()?;
    }
    Ok(formatter.out)
}

impl<S: Source> Formatter<'_, S> {
    /// The byte so far ahead; NUL at the end.
    fn peek(&self, ahead: usize) -> u8 {
        self.format.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn argument(&mut self) -> u64 {
        let value = self.arguments.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        value
    }

    fn step(&mut self) -> Result<(), i32> {
        let byte = self.peek(0);
        let printable = byte.is_ascii() && (!byte.is_ascii_control() || ends(byte));
        if !printable {
            return Err(libc::EINVAL);
        }
        if byte != b'%' {
            self.at += 1;
            self.out.put(&[byte]);
            return Ok(());
        }
        if self.peek(1) == b'%' {
            self.at += 2;
            self.out.put(b"%");
            return Ok(());
        }
        if self.next >= self.arguments.len() {
            return Err(libc::EINVAL);
        }
        self.at += 1;
        let flags = self.flags();
        match self.peek(0) {
            b'p' => self.pointer(&flags),
            b's' => {
                self.at += 1;
                self.text(&flags)
            }
            b'c' => self.character(&flags),
            _ => self.number(&flags),
        }
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.peek(0) {
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.left = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        while self.peek(0).is_ascii_digit() {
            let digit = usize::from(self.peek(0) - b'0');
            flags.width = (flags.width * 10 + digit).min(WIDEST);
            self.at += 1;
        }
        flags
    }

    /// Takes room in the arguments' buffer for a number.
    fn take(&mut self, size: usize) -> Result<(), i32> {
        self.used = self.used.next_multiple_of(4);
        match ARGUMENT_BYTES.checked_sub(self.used).is_some_and(|left| left >= size) {
            true => {
                self.used += size;
                Ok(())
            }
            false => Err(libc::ENOSPC),
        }
    }

    fn number(&mut self, flags: &Flags) -> Result<(), i32> {
        let mut size = 4;
        for _ in 0..2 {
            if self.peek(0) == b'l' {
                size = 8;
                self.at += 1;
            }
        }
        let conversion = self.peek(0);
        if !matches!(conversion, b'i' | b'd' | b'u' | b'x' | b'X') {
            return Err(libc::EINVAL);
        }
        self.at += 1;
        self.take(size)?;
        let value = self.argument();
        let signed = if size == 4 { i64::from(value as i32) } else { value as i64 };
        let unsigned = if size == 4 { u64::from(value as u32) } else { value };
        let (sign, digits) = match conversion {
            b'x' => ("", format!("{unsigned:x}")),
            b'X' => ("", format!("{unsigned:X}")),
            b'u' => ("", unsigned.to_string()),
            _ if signed < 0 => ("-", signed.unsigned_abs().to_string()),
            _ if flags.plus => ("+", signed.to_string()),
            _ if flags.space => (" ", signed.to_string()),
            _ => ("", signed.to_string()),
        };
        let pad = flags.width.saturating_sub(sign.len() + digits.len());
        match (flags.left, flags.zero) {
            (true, _) => {
                self.out.put(sign.as_bytes());
                self.out.put(digits.as_bytes());
                self.out.fill(b' ', pad);
            }
            (_, true) => {
                self.out.put(sign.as_bytes());
                self.out.fill(b'0', pad);
                self.out.put(digits.as_bytes());
            }
            _ => {
                self.out.fill(b' ', pad);
                self.out.put(sign.as_bytes());
                self.out.put(digits.as_bytes());
            }
        }
        Ok(())
    }

    fn character(&mut self, flags: &Flags) -> Result<(), i32> {
        self.at += 1;
        if self.used >= ARGUMENT_BYTES {
            return Err(libc::ENOSPC);
        }
        self.used += 1;
        let character = self.argument() as u8;
        self.out.field(&[character], flags);
        Ok(())
    }

    /// The rest of `%s`, `%pks` and `%pus`.
    fn text(&mut self, flags: &Flags) -> Result<(), i32> {
        if !ends(self.peek(0)) {
            return Err(libc::EINVAL);
        }
        let text = self.read_text()?;
        self.out.field(&text, flags);
        Ok(())
    }

    fn read_text(&mut self) -> Result<Vec<u8>, i32> {
        let room = ARGUMENT_BYTES.saturating_sub(self.used);
        if room == 0 {
            return Err(libc::ENOSPC);
        }
        let address = self.argument();
        let mut text = self.source.text(address, room).unwrap_or_else(|| vec![0]);
        self.used += text.len();
        text.pop();
        Ok(text)
    }

    fn pointer(&mut self, flags: &Flags) -> Result<(), i32> {
        self.at += 1;
        match (self.peek(0), self.peek(1)) {
            (b'k' | b'u', b's') => {
                self.at += 2;
                if !ends(self.peek(0)) {
                    return Err(libc::EINVAL);
                }
                // Printed as it was copied: without a width.
                let text = self.read_text()?;
                self.out.put(&text);
            }
            (b'K' | b'x', _) => self.address(flags, true)?,
            (b's' | b'S', _) => self.address(flags, false)?,
            // Printed as it was copied, as well.
            (b'B', _) => self.address(&Flags::default(), false)?,
            (kind @ (b'i' | b'I'), version @ (b'4' | b'6')) => {
                self.at += 2;
                self.internet(kind, version)?;
            }
            (end, _) if ends(end) => return self.address_here(flags, true),
            _ => return Err(libc::EINVAL),
        }
        // The kernel skips whatever looks like more of the conversion.
        while self.peek(0).is_ascii_alphanumeric() {
            self.at += 1;
        }
        Ok(())
    }

    fn address(&mut self, flags: &Flags, padded: bool) -> Result<(), i32> {
        self.at += 1;
        self.address_here(flags, padded)
    }

    /// A pointer with all its digits, or as the name of a place that has none.
    fn address_here(&mut self, flags: &Flags, padded: bool) -> Result<(), i32> {
        self.take(8)?;
        let value = self.argument();
        let text = match (padded, flags.width) {
            (false, _) => format!("{value:#x}"),
            (_, 0) if flags.left => format!("{value:<16x}"),
            (_, 0) => format!("{value:016x}"),
            (_, width) if flags.zero && !flags.left => format!("{value:0>width$x}"),
            _ => format!("{value:x}"),
        };
        self.out.field(text.as_bytes(), flags);
        Ok(())
    }

    /// An Internet address, at the address that the argument is.
    fn internet(&mut self, kind: u8, version: u8) -> Result<(), i32> {
        let mut bytes = [0; 16];
        let length = if version == b'4' { 4 } else { 16 };
        if ARGUMENT_BYTES.saturating_sub(self.used) < length {
            return Err(libc::ENOSPC);
        }
        let address = self.argument();
        if !self.source.bytes(address, &mut bytes[..length]) {
            bytes.fill(0);
        }
        let text = internet(kind, version, bytes);
        self.used += text.len() + 1;
        self.out.put(text.as_bytes());
        Ok(())
    }
}

/// `%pI4` has no leading zeros, `%pi4` has; `%pI6` has colons, `%pi6` has not.
fn internet(kind: u8, version: u8, bytes: [u8; 16]) -> String {
    let [a, b, c, d, ..] = bytes;
    match (kind, version) {
        (b'I', b'4') => format!("{a}.{b}.{c}.{d}"),
        (_, b'4') => format!("{a:03}.{b:03}.{c:03}.{d:03}"),
        (kind, _) => {
            let parts = Ipv6Addr::from(bytes).segments().map(|part| format!("{part:04x}"));
            parts.join(if kind == b'I' { ":" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At address 1 "text", at 2 an address; nothing elsewhere.
    struct Memory;

    impl Source for Memory {
        fn text(&self, address: u64, room: usize) -> Option<Vec<u8>> {
            let text = b"text\0";
            (address == 1).then(|| {
                let mut text = text[..text.len().min(room)].to_vec();
                text.pop();
                text.push(0);
                text
            })
        }

        fn bytes(&self, address: u64, to: &mut [u8]) -> bool {
            let bytes = [192, 168, 1, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd];
            to.copy_from_slice(&bytes[..to.len()]);
            address == 2
        }
    }

    fn printed(format: &str, arguments: &[u64]) -> Result<String, i32> {
        print(format.as_bytes(), arguments, &Memory, 1000)
            .map(|printed| String::from_utf8_lossy(&printed.bytes).into_owned())
    }

    #[test]
    fn conversions() {
        let minus = -5_i64 as u64;
        for (format, argument, expected) in [
            ("plain 100%%", 0, "plain 100%"),
            ("%d|", minus, "-5|"),
            ("%i", 0xffff_ffff, "-1"),
            ("%u", minus, "4294967291"),
            ("%lu", minus, "18446744073709551611"),
            ("%lld", minus, "-5"),
            ("%x", 0x1_0000_00ab, "ab"),
            ("%lX", 0x1_0000_00ab, "1000000AB"),
            ("[%5d]", 42, "[   42]"),
            ("[%-5d]", 42, "[42   ]"),
            ("[%05d]", minus, "[-0005]"),
            ("[%+d]", 42, "[+42]"),
            ("[% d]", 42, "[ 42]"),
            ("[%+ 06d]", 42, "[+00042]"),
            ("[%-05d]", 42, "[42   ]"),
            ("[%c]", b'x'.into(), "[x]"),
            ("[%3c]", b'x'.into(), "[  x]"),
            ("%s.", 1, "text."),
            ("[%6s]", 1, "[  text]"),
            ("[%-6s]", 1, "[text  ]"),
            ("[%s]", 77, "[]"),
            ("%pks", 1, "text"),
            ("%px", 0x10_0ff8, "0000000000100ff8"),
            ("%p ", 0x10_0ff8, "0000000000100ff8 "),
            ("%p%%", 0x10_0ff8, "0000000000100ff8%"),
            ("[%20px]", 0x10_0ff8, "[              100ff8]"),
            ("[%020px]", 0x10_0ff8, "[00000000000000100ff8]"),
            ("[%-px]", 0xff8, "[ff8             ]"),
            ("[%20pB]", 0, "[0x0]"),
            ("[%03c]", b'x'.into(), "[  x]"),
            ("[%06s]", 1, "[  text]"),
            ("[%6pks]", 1, "[text]"),
            ("[%20pI4]", 2, "[192.168.1.20]"),
            ("[%0-+ 5d]", 7, "[+7   ]"),
            ("%+x", 5, "5"),
            ("%pSx", 16, "0x10"),
            ("%pI6c", 2, "c0a8:0114:0000:0000:0000:0000:0000:abcd"),
            ("%pS", 0x10_0ff8, "0x100ff8"),
            ("%pI4", 2, "192.168.1.20"),
            ("%pi4", 2, "192.168.001.020"),
            ("%pI4", 3, "0.0.0.0"),
            ("%pI6", 2, "c0a8:0114:0000:0000:0000:0000:0000:abcd"),
            ("%pi6", 2, "c0a8011400000000000000000000abcd"),
            // What the kernel takes for more of the conversion.
            ("%pI4port", 2, "192.168.1.20"),
        ] {
            assert_eq!(printed(format, &[argument]), Ok(expected.to_owned()), "{format}");
        }
    }

    #[test]
    fn refusals() {
        for format in [
            "%", "%z", "%o", "%f", "%n", "%.3d", "%*d", "%#x", "%hd", "%llld", "%sx", "%pz",
            "%pI5", "%p%", "%d %d", "\u{1}", "\u{e9}", "%pI", "%ld%c",
        ] {
            assert_eq!(printed(format, &[1]), Err(libc::EINVAL), "{format}");
        }
    }

    #[test]
    fn room() {
        let printed = print(b"%100d|%s", &[7, 1], &Memory, 10).unwrap();
        assert_eq!((printed.bytes, printed.length), (vec![b' '; 10], 105));
        let wide = print(b"%99999999999d", &[7], &Memory, 10).unwrap();
        assert_eq!(wide.length, WIDEST as u64);
        // Arguments have 512 bytes: 4 of 4 and 62 of 8 leave none.
        let format = ["%d"; 4].concat() + &["%ld"; 63].concat();
        assert_eq!(super::print(format.as_bytes(), &[0; 67], &Memory, 9), Err(libc::ENOSPC));
    }
}
