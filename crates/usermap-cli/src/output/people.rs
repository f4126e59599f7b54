//! Values of types in tables, for people: addresses, numbers of the network's byte order and bytes
//! as one reads them. JSON and plain text have them as bpftool does.

use crate::failure::clean;
use std::net::{Ipv4Addr, Ipv6Addr};
use usermap_vm::btf::{Btf, Encoding, Kind};

/// Typedefs that are followed; hostile types refer to each other in circles.
const DEPTH: usize = 32;

/// How a type is shown, if not as its kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `struct in_addr`
    Ipv4,
    /// `struct in6_addr`
    Ipv6,
    /// `__be16`, `__be32`, `__be64`
    BigEndian,
    /// An array of bytes that are no text.
    Bytes,
}

/// A value as text.
pub fn show(btf: &Btf, id: u32, bytes: &[u8]) -> String {
    let size = btf.size_of(id).and_then(|size| bytes.get(..usize::try_from(size).ok()?));
    let special = form(btf, id).zip(size).and_then(|(form, bytes)| form.show(bytes));
    special.unwrap_or_else(|| clean(&btf.format(id, bytes).to_string()))
}

/// Whether a struct is one thing to people, and its members are not.
pub fn is_one(btf: &Btf, id: u32) -> bool {
    matches!(form(btf, id), Some(Form::Ipv4 | Form::Ipv6))
}

fn form(btf: &Btf, id: u32) -> Option<Form> {
    let mut id = id;
    for _ in 0..DEPTH {
        let size = btf.size_of(id);
        match btf.kind(id)? {
            Kind::Typedef(inner) => {
                match (btf.name(id), size) {
                    ("__be16", Some(2)) | ("__be32", Some(4)) | ("__be64", Some(8)) => {
                        return Some(Form::BigEndian);
                    }
                    _ => id = *inner,
                };
            }
            Kind::Const(inner) | Kind::Volatile(inner) | Kind::TypeTag(inner) => id = *inner,
            Kind::Variable { type_id, .. } => id = *type_id,
            Kind::Struct(_) => {
                return match (btf.name(id), size) {
                    ("in_addr", Some(4)) => Some(Form::Ipv4),
                    ("in6_addr", Some(16)) => Some(Form::Ipv6),
                    _ => None,
                };
            }
            Kind::Array { element, .. } => return bytes_of(btf, *element),
            _ => return None,
        }
    }
    None
}

fn bytes_of(btf: &Btf, element: u32) -> Option<Form> {
    match btf.resolved(element) {
        Kind::Int(int) if int.size == 1 && int.encoding == Encoding::Unsigned => Some(Form::Bytes),
        _ => None,
    }
}

impl Form {
    fn show(self, bytes: &[u8]) -> Option<String> {
        Some(match self {
            Form::Ipv4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
            Form::Ipv6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
            Form::BigEndian => {
                bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string()
            }
            Form::Bytes => {
                let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                digits.join(" ")
            }
        })
    }
}
