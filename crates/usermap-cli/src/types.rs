//! Types that bytes can be written and read as: `u32:7`, `be16:443`, `ip:10.0.0.1`, `str:abc`.

use crate::words::number;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How some bytes are written or shown. Numbers without a named order are native endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Unsigned, of so many bytes.
    Unsigned(usize, Order),
    /// Signed, of so many bytes, native endian.
    Signed(usize),
    /// Text, padded with NULs, to so many bytes or to all that are left.
    Text(Option<usize>),
    /// Hexadecimal digits, of so many bytes or as many as are written.
    Hex(Option<usize>),
    /// An IPv4 address.
    Ip,
    /// An IPv6 address.
    Ip6,
    /// An Ethernet address.
    Mac,
}

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// This machine's.
    Native,
    /// Network order.
    Big,
    /// Lowest byte first.
    Little,
}

/// For messages.
pub const NAMES: &str =
    "u8 u16 u32 u64 i8 i16 i32 i64 be16 be32 be64 le16 le32 le64 str[N] hex[N] ip ip6 mac";

impl Type {
    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Type> {
        let bits = |rest: &str, least: usize| match rest {
            "8" if least <= 1 => Some(1),
            "16" => Some(2),
            "32" => Some(4),
            "64" => Some(8),
            _ => None,
        };
        // A length of 0 would match nothing and loop nowhere: refuse it.
        let length = |rest: &str| match rest {
            "" => Some(None),
            digits => number(digits, 10)
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n > 0)
                .map(Some),
        };
        Some(match name {
            "ip" | "ip4" => Type::Ip,
            "ip6" => Type::Ip6,
            "mac" => Type::Mac,
            _ => {
                if let Some(rest) = name.strip_prefix("be") {
                    Type::Unsigned(bits(rest, 2)?, Order::Big)
                } else if let Some(rest) = name.strip_prefix("le") {
                    Type::Unsigned(bits(rest, 2)?, Order::Little)
                } else if let Some(rest) = name.strip_prefix("str") {
                    Type::Text(length(rest)?)
                } else if let Some(rest) = name.strip_prefix("hex") {
                    Type::Hex(length(rest)?)
                } else if let Some(rest) = name.strip_prefix('u') {
                    Type::Unsigned(bits(rest, 1)?, Order::Native)
                } else {
                    Type::Signed(bits(name.strip_prefix('i')?, 1)?)
                }
            }
        })
    }

    /// The name that [`from_name`](Type::from_name) takes.
    pub fn name(self) -> String {
        match self {
            Type::Unsigned(size, Order::Native) => format!("u{}", size * 8),
            Type::Unsigned(size, Order::Big) => format!("be{}", size * 8),
            Type::Unsigned(size, Order::Little) => format!("le{}", size * 8),
            Type::Signed(size) => format!("i{}", size * 8),
            Type::Text(None) => "str".to_owned(),
            Type::Text(Some(size)) => format!("str{size}"),
            Type::Hex(None) => "hex".to_owned(),
            Type::Hex(Some(size)) => format!("hex{size}"),
            Type::Ip => "ip".to_owned(),
            Type::Ip6 => "ip6".to_owned(),
            Type::Mac => "mac".to_owned(),
        }
    }

    /// Its bytes, if they are always as many.
    pub fn size(self) -> Option<usize> {
        match self {
            Type::Unsigned(size, _) | Type::Signed(size) => Some(size),
            Type::Text(size) | Type::Hex(size) => size,
            Type::Ip => Some(4),
            Type::Ip6 => Some(16),
            Type::Mac => Some(6),
        }
    }

    /// Whether it is a number, which a table shows at the right.
    pub fn is_number(self) -> bool {
        matches!(self, Type::Unsigned(..) | Type::Signed(_))
    }

    /// The bytes of a text; `left` is what a text without a length fills. The error is the rule.
    pub fn parse(self, text: &[u8], left: usize) -> Result<Vec<u8>, String> {
        if let Type::Text(size) = self {
            let size = size.unwrap_or(left);
            if text.len() > size {
                return Err(format!("{} bytes of text, {size} at most", text.len()));
            }
            // A length can be written larger than any memory.
            if size > left {
                return Err(format!("{size} bytes, only {left} are left"));
            }
            let mut bytes = text.to_vec();
            bytes.resize(size, 0);
            return Ok(bytes);
        }
        let text = str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
        match self {
            Type::Unsigned(size, order) => {
                let n = number(text, 0).ok_or("not an unsigned number")?;
                if size < 8 && n >> (size * 8) != 0 {
                    return Err(format!("past {}", (1u64 << (size * 8)) - 1));
                }
                Ok(to_bytes(n, size, order))
            }
            Type::Signed(size) => {
                let (negative, digits) = match text.strip_prefix('-') {
                    Some(digits) => (true, digits),
                    None => (false, text),
                };
                let n = number(digits, 0).ok_or("not a number")?;
                let least = 1u64 << (size * 8 - 1);
                if n > least - u64::from(!negative) {
                    return Err(format!("not within -{least} to {}", least - 1));
                }
                let n = if negative { n.wrapping_neg() } else { n };
                Ok(to_bytes(n, size, Order::Native))
            }
            Type::Ip => {
                Ok(text.parse::<Ipv4Addr>().map_err(|_| "not an IPv4 address")?.octets().to_vec())
            }
            Type::Ip6 => {
                Ok(text.parse::<Ipv6Addr>().map_err(|_| "not an IPv6 address")?.octets().to_vec())
            }
            Type::Mac => {
                let bytes: Option<Vec<u8>> = text
                    .split([':', '-'])
                    .map(|pair| digits(pair).filter(|_| pair.len() <= 2))
                    .collect();
                bytes.filter(|bytes| bytes.len() == 6).ok_or("not an Ethernet address".to_owned())
            }
            Type::Hex(size) => {
                if text.len() % 2 != 0 {
                    return Err("an odd number of hexadecimal digits".to_owned());
                }
                let bytes: Option<Vec<u8>> = text
                    .as_bytes()
                    .chunks(2)
                    .map(|pair| str::from_utf8(pair).ok().and_then(digits))
                    .collect();
                let bytes = bytes.ok_or("not hexadecimal digits")?;
                match size {
                    Some(size) if size != bytes.len() => {
                        Err(format!("{} bytes, not {size}", bytes.len()))
                    }
                    _ => Ok(bytes),
                }
            }
            Type::Text(_) => Err("text".to_owned()),
        }
    }

    /// Bytes as text; they are as many as [`size`](Type::size) says.
    pub fn show(self, bytes: &[u8]) -> String {
        match self {
            Type::Unsigned(_, order) => unsigned(bytes, order).to_string(),
            Type::Signed(_) => signed(bytes).to_string(),
            Type::Text(_) => format!("{:?}", String::from_utf8_lossy(without_padding(bytes))),
            Type::Ip => match <[u8; 4]>::try_from(bytes) {
                Ok(octets) => Ipv4Addr::from(octets).to_string(),
                Err(_) => Type::Hex(None).show(bytes),
            },
            Type::Ip6 => match <[u8; 16]>::try_from(bytes) {
                Ok(octets) => Ipv6Addr::from(octets).to_string(),
                Err(_) => Type::Hex(None).show(bytes),
            },
            Type::Mac => joined(bytes, ":"),
            Type::Hex(_) => joined(bytes, ""),
        }
    }

    /// The number that the bytes are, if the type is one.
    pub fn number(self, bytes: &[u8]) -> Option<i128> {
        match self {
            Type::Unsigned(_, order) => Some(i128::from(unsigned(bytes, order))),
            Type::Signed(_) => Some(i128::from(signed(bytes))),
            _ => None,
        }
    }
}

/// Bytes without the NULs at their end.
pub fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn joined(bytes: &[u8], separator: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator)
}

/// One byte of hexadecimal digits, without a prefix.
fn digits(text: &str) -> Option<u8> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(text, 16).ok()
}

fn to_bytes(n: u64, size: usize, order: Order) -> Vec<u8> {
    let size = size.min(8);
    match order {
        Order::Big => n.to_be_bytes()[8 - size..].to_vec(),
        Order::Little => n.to_le_bytes()[..size].to_vec(),
        Order::Native if cfg!(target_endian = "big") => to_bytes(n, size, Order::Big),
        Order::Native => to_bytes(n, size, Order::Little),
    }
}

fn unsigned(bytes: &[u8], order: Order) -> u64 {
    let big = match order {
        Order::Big => true,
        Order::Little => false,
        Order::Native => cfg!(target_endian = "big"),
    };
    let push = |n: u64, byte: &u8| n << 8 | u64::from(*byte);
    if big { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) }
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    (unsigned(bytes, Order::Native) << unused) as i64 >> unused
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_become_bytes() {
        let parse = |name: &str, text: &str, left| {
            Type::from_name(name).unwrap().parse(text.as_bytes(), left)
        };
        assert_eq!(parse("u32", "7", 4), Ok(7u32.to_ne_bytes().to_vec()));
        assert_eq!(parse("be16", "443", 2), Ok(vec![1, 0xbb]));
        assert_eq!(parse("le32", "0x10", 4), Ok(vec![16, 0, 0, 0]));
        assert_eq!(parse("i8", "-128", 1), Ok(vec![0x80]));
        assert_eq!(parse("i64", "-1", 8), Ok(vec![255; 8]));
        assert_eq!(parse("ip", "10.0.0.1", 4), Ok(vec![10, 0, 0, 1]));
        assert_eq!(parse("mac", "02:0:5e:00:53:ff", 6), Ok(vec![2, 0, 0x5e, 0, 0x53, 0xff]));
        assert_eq!(parse("str", "abc", 5), Ok(b"abc\0\0".to_vec()));
        assert_eq!(parse("str4", "abc", 9), Ok(b"abc\0".to_vec()));
        assert_eq!(parse("hex", "0a0B", 2), Ok(vec![10, 11]));
        assert_eq!(parse("ip6", "::1", 16).unwrap()[15], 1);
        for (name, text) in [
            ("u8", "256"),
            ("u64", "-1"),
            ("i8", "128"),
            ("i8", "-129"),
            ("be16", "65536"),
            ("ip", "10.0.0"),
            ("mac", "1:2:3"),
            ("mac", "001:2:3:4:5:6"),
            ("str", "abcdef"),
            ("hex", "abc"),
            ("hex", "zz"),
            ("hex2", "ab"),
            ("u32", ""),
            ("i32", "--1"),
            ("str99999999999", "x"),
        ] {
            assert!(parse(name, text, 5).is_err(), "{name}:{text}");
        }
    }

    #[test]
    fn names_come_back() {
        for name in NAMES.replace("[N]", "").split(' ').chain(["str16", "hex3"]) {
            assert_eq!(Type::from_name(name).unwrap().name(), name);
        }
        for name in ["", "u", "u7", "be8", "str0", "strx", "x", "i128", "hex-1"] {
            assert_eq!(Type::from_name(name), None, "{name}");
        }
    }

    fn any_type() -> impl Strategy<Value = Type> {
        let names: Vec<String> = NAMES.replace("[N]", "5").split(' ').map(str::to_owned).collect();
        proptest::sample::select(names).prop_map(|name| Type::from_name(&name).unwrap())
    }

    proptest! {
        #[test]
        fn shown_bytes_parse_again(
            kind in any_type().prop_filter("text is quoted", |kind| !matches!(kind, Type::Text(_))),
            bytes in proptest::collection::vec(any::<u8>(), 16),
        ) {
            let size = kind.size().unwrap();
            let text = kind.show(&bytes[..size]);
            prop_assert_eq!(kind.parse(text.as_bytes(), 16), Ok(bytes[..size].to_vec()));
        }

        #[test]
        fn no_text_panics(kind in any_type(), text: Vec<u8>, left in 0usize..40) {
            if let Ok(bytes) = kind.parse(&text, left) {
                kind.show(&bytes);
            }
        }

        #[test]
        fn no_name_panics(name: String) {
            Type::from_name(&name);
        }

        #[test]
        fn no_bytes_panic(kind in any_type(), bytes: Vec<u8>) {
            kind.show(&bytes);
            kind.number(&bytes);
        }
    }
}
