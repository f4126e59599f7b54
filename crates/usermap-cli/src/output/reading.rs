//! How the bytes of keys and values are read for people, and for sums: as `--key-type` and
//! `--value-type` say, else by their size.

use super::plain::hex;
use crate::failure::{Failure, Result};
use crate::types::{Type, without_padding};

/// Bytes cut into typed fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Each field with its size; none for bytes that are text or hexadecimal, as they look.
    fields: Vec<(Type, usize)>,
}

impl Reading {
    /// For bytes of this size, by these types if they were given. `what` they are, for messages.
    pub fn new(types: Option<&[Type]>, size: usize, what: &str) -> Result<Reading> {
        let Some(types) = types else { return Ok(Reading::by_size(size)) };
        let mut fields = Vec::new();
        let mut left = size;
        for kind in types {
            let size_here = kind.size().unwrap_or(left);
            if size_here > left || size_here == 0 {
                let names: Vec<String> = types.iter().map(|kind| kind.name()).collect();
                return Err(Failure::new(format!(
                    "--{what}-type {} is longer than a {what} of {size} bytes",
                    names.join(",")
                )));
            }
            fields.push((*kind, size_here));
            left -= size_here;
        }
        if left > 0 {
            fields.push((Type::Hex(Some(left)), left));
        }
        Ok(Reading { fields })
    }

    fn by_size(size: usize) -> Reading {
        let fields = match size {
            1 | 2 | 4 | 8 => vec![(Type::Unsigned(size, crate::types::Order::Native), size)],
            _ => Vec::new(),
        };
        Reading { fields }
    }

    /// For sums: all fields are numbers. Values of several times eight bytes are several counters.
    pub fn counters(types: Option<&[Type]>, size: usize) -> Result<Reading> {
        let mut reading = Reading::new(types, size, "value")?;
        if types.is_none() && reading.fields.is_empty() && size > 0 && size.is_multiple_of(8) {
            let counter = Type::Unsigned(8, crate::types::Order::Native);
            reading.fields = vec![(counter, 8); size / 8];
        }
        if reading.fields.is_empty() || !reading.fields.iter().all(|(kind, _)| kind.is_number()) {
            return Err(Failure::new(match types {
                Some(_) => format!(
                    "{}: sums need numbers in all {size} bytes of a value",
                    reading.head("--value-type")
                ),
                None => format!(
                    "values of {size} bytes are no numbers by themselves: say which with --value-type"
                ),
            }));
        }
        Ok(reading)
    }

    /// The head of a column: `KEY`, `KEY (ip,be16)`.
    pub fn head(&self, name: &str) -> String {
        if self.fields.is_empty() {
            return name.to_owned();
        }
        let names: Vec<String> = self.fields.iter().map(|(kind, _)| kind.name()).collect();
        format!("{name} ({})", names.join(","))
    }

    /// Whether it is one number.
    pub fn is_number(&self) -> bool {
        matches!(self.fields[..], [(kind, _)] if kind.is_number())
    }

    /// Whether it is numbers only, so that sums make sense.
    pub fn is_numbers(&self) -> bool {
        !self.fields.is_empty() && self.fields.iter().all(|(kind, _)| kind.is_number())
    }

    /// Whether it is more than one field.
    pub fn is_several(&self) -> bool {
        self.fields.len() > 1
    }

    /// The bytes for people, on one line.
    pub fn show(&self, bytes: &[u8]) -> String {
        if self.fields.is_empty() {
            let text = without_padding(bytes);
            let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
            if !text.is_empty() && text.iter().all(printable) {
                return Type::Text(None).show(bytes);
            }
            return hex(bytes).replace('\n', "  ");
        }
        let shown: Vec<String> = self.cut(bytes).map(|(kind, part)| kind.show(part)).collect();
        shown.join(" ")
    }

    /// The numbers among the fields.
    pub fn numbers(&self, bytes: &[u8]) -> Vec<i128> {
        self.cut(bytes).filter_map(|(kind, part)| kind.number(part)).collect()
    }

    fn cut<'a>(&'a self, mut bytes: &'a [u8]) -> impl Iterator<Item = (Type, &'a [u8])> {
        self.fields.iter().map(move |(kind, size)| {
            let (part, rest) = bytes.split_at((*size).min(bytes.len()));
            bytes = rest;
            (*kind, part)
        })
    }
}

/// Numbers on one line.
pub fn join(numbers: &[i128]) -> String {
    numbers.iter().map(i128::to_string).collect::<Vec<_>>().join(" ")
}

/// Sum, least and greatest of some numbers, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sums.
    pub sum: Vec<i128>,
    /// Least.
    pub min: Vec<i128>,
    /// Greatest.
    pub max: Vec<i128>,
}

impl Totals {
    /// Adds one slot's or entry's numbers.
    pub fn add(&mut self, numbers: &[i128]) {
        if self.sum.is_empty() {
            self.sum = numbers.to_vec();
            self.min = numbers.to_vec();
            self.max = numbers.to_vec();
            return;
        }
        for (at, number) in numbers.iter().enumerate() {
            // 64-bit numbers of less than 2^63 entries cannot overflow 128 bits.
            self.sum[at] = self.sum[at].saturating_add(*number);
            self.min[at] = self.min[at].min(*number);
            self.max[at] = self.max[at].max(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn types(list: &str) -> Vec<Type> {
        list.split(',').map(|name| Type::from_name(name).unwrap()).collect()
    }

    #[test]
    fn bytes_are_read_by_size_or_type() {
        let by_size = |size| Reading::new(None, size, "key").unwrap();
        assert_eq!(by_size(4).show(&7u32.to_ne_bytes()), "7");
        assert_eq!(by_size(4).head("KEY"), "KEY (u32)");
        assert_eq!(by_size(6).show(b"eth0\0\0"), "\"eth0\"");
        assert_eq!(by_size(3).show(&[0, 1, 2]), "00 01 02");
        assert_eq!(by_size(3).show(&[0; 3]), "00 00 00");
        assert_eq!(by_size(3).head("KEY"), "KEY");
        let flow = Reading::new(Some(&types("ip,be16")), 8, "key").unwrap();
        assert_eq!(flow.show(&[10, 0, 0, 1, 1, 187, 0, 6]), "10.0.0.1 443 0006");
        assert_eq!(flow.head("KEY"), "KEY (ip,be16,hex2)");
        assert!(Reading::new(Some(&types("ip,ip")), 4, "key").is_err());
        assert!(Reading::new(Some(&types("str,str")), 4, "key").is_err());
    }

    #[test]
    fn counters_are_numbers() {
        let two = Reading::counters(None, 16).unwrap();
        let mut totals = Totals::default();
        for n in [5u64, 2] {
            let bytes: Vec<u8> = [n, u64::MAX].iter().flat_map(|n| n.to_ne_bytes()).collect();
            totals.add(&two.numbers(&bytes));
        }
        assert_eq!(totals.sum, [7, 2 * i128::from(u64::MAX)]);
        assert_eq!((totals.min[0], totals.max[0]), (2, 5));
        assert!(Reading::counters(None, 12).is_err());
        assert!(Reading::counters(Some(&types("ip")), 4).is_err());
        assert!(Reading::counters(Some(&types("u32,u32,i32")), 12).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, size in 0usize..32) {
            let reading = Reading::new(None, size, "key").unwrap();
            reading.show(&bytes);
            reading.numbers(&bytes);
        }
    }
}
