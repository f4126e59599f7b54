//! Values of types, decoded from bytes as bpftool shows them.

use super::types::*;
use super::{Btf, DEPTH};
use std::fmt;

/// A decoded value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Int {
        /// The number; an unsigned one of 128 bits is the same bits.
        value: i128,
        /// How it is to be shown.
        encoding: Encoding,
    },
    /// A value of an enum.
    Enum {
        /// Its name, if it is one of the enum's.
        name: Option<String>,
        /// The number.
        value: i128,
    },
    /// A struct or union, or a section: members by name. Unnamed ones have empty names.
    Struct(Vec<(String, Value)>),
    /// An array.
    Array(Vec<Value>),
    /// An array of `char`: printable text up to its NUL.
    Text(String),
    /// A floating-point number.
    Float(f64),
    /// A pointer.
    Pointer(u64),
    /// What the type does not say, or has not enough bytes for.
    Bytes(Vec<u8>),
}

impl Btf {
    /// Decodes a value of a type. Bytes that the type does not fit are given as they are. Of values
    /// of more than four million parts the rest is left out.
    ///
    /// ```
    /// # use usermap_vm::btf::{Btf, Value};
    /// # fn show(btf: &Btf, flow_key: u32, key: &[u8]) {
    /// println!("{}", btf.format(flow_key, key)); // {source: 16777343, port: 53, name: "dns"}
    /// # }
    /// ```
    pub fn format(&self, type_id: u32, bytes: &[u8]) -> Value {
        // Unions can show a byte many times over; hostile ones must not do it without end.
        let mut decoder = Decoder { btf: self, left: (1024 + bytes.len() * 64).min(1 << 22) };
        decoder.value(type_id, bytes, DEPTH)
    }
}

struct Decoder<'b> {
    btf: &'b Btf,
    /// How many values, and parts of names, may still be given.
    left: usize,
}

impl Decoder<'_> {
    fn take(&mut self, count: usize) -> bool {
        let enough = self.left >= count;
        self.left = self.left.saturating_sub(count);
        enough
    }

    /// Bytes as they are.
    fn rest(&mut self, bytes: &[u8]) -> Value {
        match self.take(1 + bytes.len() / 16) {
            true => Value::Bytes(bytes.to_vec()),
            false => Value::Bytes(Vec::new()),
        }
    }

    fn value(&mut self, id: u32, bytes: &[u8], depth: usize) -> Value {
        let size = self.btf.size_of(id).and_then(|size| usize::try_from(size).ok());
        let Some(exact) = size.and_then(|size| bytes.get(..size)) else {
            return self.rest(bytes);
        };
        if depth == 0 || !self.take(1) {
            return self.rest(bytes);
        }
        let btf = self.btf;
        let resolved = btf.resolve(id);
        match btf.resolved(resolved) {
            Kind::Int(int) => self.int(resolved, int, exact),
            Kind::Pointer(_) => Value::Pointer(unsigned(exact) as u64),
            Kind::Array { element, count, .. } => self.array(*element, *count, exact, depth),
            Kind::Struct(composite) | Kind::Union(composite) => {
                self.composite(composite, exact, depth)
            }
            Kind::Enum(enumeration) => self.enumeration(enumeration, unsigned(exact) as u64),
            Kind::Variable { type_id, .. } => self.value(*type_id, exact, depth - 1),
            Kind::Section { variables, .. } => self.section(variables, exact, depth),
            Kind::Float { size: 4 } => Value::Float(f32::from_bits(unsigned(exact) as u32).into()),
            Kind::Float { size: 8 } => Value::Float(f64::from_bits(unsigned(exact) as u64)),
            _ => self.rest(bytes),
        }
    }

    fn int(&self, id: u32, int: &Int, bytes: &[u8]) -> Value {
        let bits = u32::from(int.bits);
        let raw = unsigned(bytes) >> u32::from(int.offset).min(127);
        let encoding = match int.encoding {
            Encoding::Signed if self.btf.is_char(id) => Encoding::Char,
            encoding => encoding,
        };
        number(raw, bits, encoding)
    }

    fn array(&mut self, element: u32, count: u32, bytes: &[u8], depth: usize) -> Value {
        if let Some(text) = self.text(element, bytes) {
            return Value::Text(text);
        }
        let size = bytes.len() / (count as usize).max(1);
        if size == 0 {
            return Value::Array(Vec::new());
        }
        let mut values = Vec::new();
        for bytes in bytes.chunks_exact(size) {
            if self.left == 0 {
                break;
            }
            values.push(self.value(element, bytes, depth - 1));
        }
        Value::Array(values)
    }

    /// The text in an array of `char`, if it is printable and ends in NUL. As bpftool has it, a
    /// typedef of `char` is a number.
    fn text(&self, element: u32, bytes: &[u8]) -> Option<String> {
        let mut element = element;
        for _ in 0..DEPTH {
            match self.btf.kind(element)? {
                Kind::Typedef(_) => return None,
                kind => match kind.modified() {
                    Some(inner) => element = inner,
                    None => break,
                },
            }
        }
        if !self.btf.is_char(element) {
            return None;
        }
        let length = bytes.iter().position(|byte| *byte == 0)?;
        let text = bytes.get(..length)?;
        let printable = text.iter().all(|byte| matches!(byte, 0x20..=0x7e));
        printable.then(|| text.iter().map(|byte| char::from(*byte)).collect())
    }

    fn composite(&mut self, composite: &Composite, bytes: &[u8], depth: usize) -> Value {
        let mut members = Vec::new();
        for member in &composite.members {
            let name = self.btf.string(member.name);
            if !self.take(1 + name.len() / 16) {
                break;
            }
            let value = self.member(member, bytes, depth);
            members.push((name.to_owned(), value));
        }
        Value::Struct(members)
    }

    fn member(&mut self, member: &Member, bytes: &[u8], depth: usize) -> Value {
        let byte = member.bit_offset as usize / 8;
        if member.bits == 0 && member.bit_offset.is_multiple_of(8) {
            let rest = bytes.get(byte..).unwrap_or_default();
            let size = self.btf.size_of(member.type_id).and_then(|size| usize::try_from(size).ok());
            // A flexible array at the end has no size of its own, and nothing to show.
            let bytes = size.and_then(|size| rest.get(..size)).unwrap_or_default();
            return self.value(member.type_id, bytes, depth - 1);
        }
        self.bitfield(member, bytes)
    }

    fn bitfield(&mut self, member: &Member, bytes: &[u8]) -> Value {
        let bits = match (member.bits, self.btf.int(member.type_id)) {
            (0, Some(int)) => u32::from(int.bits),
            (bits, _) => bits,
        };
        let start = member.bit_offset as usize / 8;
        let shift = member.bit_offset % 8;
        let length = (shift + bits).div_ceil(8) as usize;
        let window = bytes.get(start..).and_then(|bytes| bytes.get(..length));
        let Some(window) = window.filter(|_| (1..=64).contains(&bits)) else {
            return Value::Bytes(Vec::new());
        };
        let raw = unsigned(window) >> shift;
        match self.btf.resolved(member.type_id) {
            Kind::Enum(enumeration) => {
                let mask = u64::MAX >> (64 - bits);
                let value = raw as u64 & mask;
                let negative = enumeration.signed && value >> (bits - 1) & 1 != 0;
                self.named(enumeration, if negative { value | !mask } else { value })
            }
            Kind::Int(int) => number(raw, bits, int.encoding),
            _ => number(raw, bits, Encoding::Unsigned),
        }
    }

    fn enumeration(&mut self, enumeration: &Enumeration, raw: u64) -> Value {
        let unused = 64u32.saturating_sub(enumeration.size * 8);
        let value = match enumeration.signed {
            true => ((raw << unused) as i64 >> unused) as u64,
            false => raw,
        };
        self.named(enumeration, value)
    }

    fn named(&mut self, enumeration: &Enumeration, value: u64) -> Value {
        let found = match self.take(enumeration.values.len() / 64) {
            true => enumeration.values.iter().find(|one| one.value == value),
            false => None,
        };
        let name = found.map(|one| self.btf.string(one.name));
        let name = name.filter(|name| self.take(name.len() / 16)).map(str::to_owned);
        Value::Enum { name, value: enumeration.number(&Enumerator { name: 0, value }) }
    }

    fn section(&mut self, variables: &[SectionVariable], bytes: &[u8], depth: usize) -> Value {
        let mut values = Vec::new();
        for variable in variables {
            let name = self.btf.name(variable.type_id);
            if !self.take(1 + name.len() / 16) {
                break;
            }
            let bytes = bytes.get(variable.offset as usize..).unwrap_or_default();
            let bytes = bytes.get(..variable.size as usize).unwrap_or_default();
            values.push((name.to_owned(), self.value(variable.type_id, bytes, depth - 1)));
        }
        Value::Struct(values)
    }
}

/// Up to 16 bytes, little endian.
fn unsigned(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The lowest bits of a number.
fn number(raw: u128, bits: u32, encoding: Encoding) -> Value {
    let unused = 128 - bits.clamp(1, 128);
    let value = match encoding {
        Encoding::Signed | Encoding::Char => (raw << unused) as i128 >> unused,
        Encoding::Unsigned | Encoding::Bool => (raw << unused >> unused) as i128,
    };
    Value::Int { value, encoding }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int { value, encoding: Encoding::Bool } => write!(f, "{}", *value != 0),
            Value::Int { value, encoding: Encoding::Unsigned } => write!(f, "{}", *value as u128),
            Value::Int { value: value @ 0x20..=0x7e, encoding: Encoding::Char } => {
                write!(f, "'{}'", char::from(*value as u8))
            }
            Value::Int { value, .. } => write!(f, "{value}"),
            Value::Enum { name: Some(name), .. } => f.write_str(name),
            Value::Enum { name: None, value } => write!(f, "{value}"),
            Value::Struct(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    match name.is_empty() {
                        true => write!(f, "{value}")?,
                        false => write!(f, "{name}: {value}")?,
                    }
                }
                f.write_str("}")
            }
            Value::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Pointer(value) => write!(f, "{value:#x}"),
            Value::Bytes(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    write!(f, "{}{byte:02x}", if index > 0 { " " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}
