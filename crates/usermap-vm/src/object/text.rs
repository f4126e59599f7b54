//! Values of variables, written as text.

use crate::btf::{Btf, Encoding, Enumeration, Int, Kind};

/// The bytes of a value of a type; without a type, of a number of that size.
pub(super) fn parse(types: Option<(&Btf, u32)>, size: u32, text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let Some((btf, id)) = types else { return number(size, None, text) };
    let id = match btf.kind(id) {
        Some(Kind::Variable { type_id, .. }) => *type_id,
        _ => id,
    };
    if btf.size_of(id) != Some(u64::from(size)) {
        return Err(format!("{} has not the {size} bytes of the variable", btf.describe(id)));
    }
    match btf.resolved(id) {
        Kind::Int(int) => integer(int, text),
        Kind::Enum(enumeration) => enumerator(btf, enumeration, text),
        Kind::Float { size: 4 } => match text.parse::<f32>() {
            Ok(value) => Ok(value.to_le_bytes().to_vec()),
            Err(error) => Err(error.to_string()),
        },
        Kind::Float { size: 8 } => match text.parse::<f64>() {
            Ok(value) => Ok(value.to_le_bytes().to_vec()),
            Err(error) => Err(error.to_string()),
        },
        Kind::Array { element, .. } if is_byte(btf, *element) => characters(size, text),
        _ => Err(format!("{} cannot be set from text; give its bytes", btf.describe(id))),
    }
}

/// The same as a kernel's `.config` has it.
pub(super) fn parse_kconfig(
    types: Option<(&Btf, u32)>,
    size: u32,
    text: &str,
) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let tristate = match text {
        "n" => 0u8,
        "y" => 1,
        "m" => 2,
        _ => return parse(types, size, text),
    };
    let Some((btf, id)) = types else { return parse(types, size, text) };
    match btf.resolved(id) {
        Kind::Int(Int { encoding: Encoding::Bool, .. }) if tristate == 2 => {
            Err("a bool is y or n".into())
        }
        Kind::Int(Int { encoding: Encoding::Bool, .. }) => Ok(vec![tristate]),
        Kind::Int(Int { size: 1, .. }) => Ok(text.as_bytes().to_vec()),
        Kind::Enum(enumeration) if btf.name(btf.resolve(id)) == "libbpf_tristate" => {
            Ok(enlarged(tristate.into(), enumeration.size))
        }
        _ => parse(types, size, text),
    }
}

/// Whether it is a byte that text can be made of.
fn is_byte(btf: &Btf, id: u32) -> bool {
    matches!(btf.resolved(id), Kind::Int(int) if int.size == 1 && int.encoding != Encoding::Bool)
}

fn characters(size: u32, text: &str) -> Result<Vec<u8>, String> {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if text.len() >= size as usize {
        return Err(format!("is longer than {} bytes", size.saturating_sub(1)));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(size as usize, 0);
    Ok(bytes)
}

fn integer(int: &Int, text: &str) -> Result<Vec<u8>, String> {
    match (int.encoding, text) {
        (Encoding::Bool, "true" | "1" | "y") => return Ok(enlarged(1, int.size)),
        (Encoding::Bool, "false" | "0" | "n") => return Ok(enlarged(0, int.size)),
        (Encoding::Bool, _) => return Err("is neither true nor false".into()),
        _ => {}
    }
    let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    if let Some([byte]) = quoted.map(str::as_bytes) {
        return Ok(enlarged(i128::from(*byte), int.size));
    }
    // Clang calls `char` a signed number; as a byte it may be any.
    let signed = match int.encoding {
        Encoding::Unsigned => Some(false),
        _ if int.size > 1 => Some(true),
        _ => None,
    };
    number(int.size, signed, text)
}

fn enumerator(btf: &Btf, enumeration: &Enumeration, text: &str) -> Result<Vec<u8>, String> {
    let named = enumeration.values.iter().find(|value| btf.string(value.name) == text);
    if let Some(value) = named {
        return Ok(enlarged(enumeration.number(value), enumeration.size));
    }
    number(enumeration.size, Some(enumeration.signed), text).map_err(|problem| {
        let names = enumeration.values.iter().take(16).map(|value| btf.string(value.name));
        let names: Vec<&str> = names.collect();
        format!("{problem}, and none of {}", names.join(", "))
    })
}

/// A number that fits, with a sign or not; `None`: either.
fn number(size: u32, signed: Option<bool>, text: &str) -> Result<Vec<u8>, String> {
    if !matches!(size, 1 | 2 | 4 | 8 | 16) {
        return Err(format!("a variable of {size} bytes is no number; give its bytes"));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with(['+', '-']) => u128::from_str_radix(digits, 16),
        _ => digits.parse::<u128>(),
    };
    let value = parsed.ok().filter(|_| !digits.starts_with(['+', '-']));
    let value = value.ok_or("is no number")?;
    let bits = size * 8;
    let half = 1u128 << (bits - 1);
    let most = match (negative, signed) {
        (true, Some(false)) => 0,
        (true, _) => half,
        (false, Some(true)) => half - 1,
        (false, _) => half - 1 + half,
    };
    if value > most {
        let sign = if signed == Some(false) { "without a sign" } else { "with a sign" };
        return Err(format!("does not fit into {bits} bits {sign}"));
    }
    let value = value as i128;
    Ok(enlarged(if negative { value.wrapping_neg() } else { value }, size))
}

/// A number's bytes.
fn enlarged(value: i128, size: u32) -> Vec<u8> {
    value.to_le_bytes().into_iter().take(size as usize).collect()
}
