//! Reads the bytes of `.BTF`.

use super::types::*;
use super::{Btf, BtfError, Type};

/// Bytes of the header that are known (`struct btf_header`).
const HEADER: usize = 24;
const MAGIC: u16 = 0xeb9f;

/// Reads numbers, one after the other, and never behind the end.
pub(super) struct Reader<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) position: usize,
}

impl Reader<'_> {
    pub(super) fn u32(&mut self) -> Result<u32, BtfError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let (bytes, _) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| BtfError(format!("BTF: cut off at byte {}", self.position)))?;
        self.position += 4;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// `count` records of `words` numbers, of which there are enough bytes.
    fn check(&self, count: usize, words: usize) -> Result<usize, BtfError> {
        let left = self.bytes.len().saturating_sub(self.position);
        match count.checked_mul(words * 4) {
            Some(bytes) if bytes <= left => Ok(count),
            _ => Err(BtfError(format!("BTF: cut off at byte {}", self.bytes.len()))),
        }
    }
}

/// A header's parts: its length, and the numbers behind that.
pub(super) fn header(
    bytes: &[u8],
    what: &str,
    least: usize,
) -> Result<(usize, Vec<u32>), BtfError> {
    let mut reader = Reader { bytes, position: 0 };
    let cut_off = |_| BtfError(format!("{what}: cut off in its header"));
    let first = reader.u32().map_err(cut_off)?;
    let (magic, version) = (first as u16, (first >> 16) as u8);
    if magic == MAGIC.swap_bytes() {
        return Err(BtfError(format!("{what}: big endian; build with -target bpf")));
    }
    if magic != MAGIC {
        return Err(BtfError(format!("{what}: starts with {magic:#x}, not with {MAGIC:#x}")));
    }
    if version != 1 {
        return Err(BtfError(format!("{what}: version {version}, not 1")));
    }
    let length = reader.u32().map_err(cut_off)? as usize;
    if length < least || length > bytes.len() {
        return Err(BtfError(format!("{what}: a header of {length} bytes")));
    }
    let mut numbers = Vec::new();
    while reader.position + 4 <= length && numbers.len() < 16 {
        numbers.push(reader.u32()?);
    }
    Ok((length, numbers))
}

/// A part of the bytes behind the header.
pub(super) fn part(
    bytes: &[u8],
    what: &str,
    header: usize,
    offset: u32,
    length: u32,
) -> Result<std::ops::Range<usize>, BtfError> {
    let start = header.checked_add(offset as usize);
    let end = start.and_then(|start| start.checked_add(length as usize));
    match (start, end) {
        (Some(start), Some(end)) if end <= bytes.len() => Ok(start..end),
        _ => Err(BtfError(format!("{what}: a part of it is behind its end"))),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
    let (length, numbers) = header(bytes, "BTF", HEADER)?;
    let [types_at, types_length, strings_at, strings_length, ..] = numbers[..] else {
        return Err(BtfError("BTF: a short header".into()));
    };
    let types = part(bytes, "BTF", length, types_at, types_length)?;
    let strings = part(bytes, "BTF", length, strings_at, strings_length)?;
    let text = bytes.get(strings.clone()).unwrap_or_default();
    if text.first() != Some(&0) || text.last() != Some(&0) {
        return Err(BtfError("BTF: its strings do not start and end with NUL".into()));
    }
    let mut reader = Reader { bytes: bytes.get(..types.end).unwrap_or_default(), position: 0 };
    reader.position = types.start;
    let mut all = vec![Type { name: 0, position: 0, kind: Kind::Void }];
    while reader.position < types.end {
        let position = reader.position;
        let (name, kind) = one(&mut reader)
            .map_err(|BtfError(problem)| BtfError(format!("{problem}, type {}", all.len())))?;
        if name as usize >= text.len() {
            return Err(BtfError(format!("BTF: type {}: its name is behind the end", all.len())));
        }
        all.push(Type { name, position, kind });
    }
    Ok(Btf { bytes: bytes.to_vec(), strings, types: all })
}

/// One type, with its name.
fn one(reader: &mut Reader<'_>) -> Result<(u32, Kind), BtfError> {
    let name = reader.u32()?;
    let info = reader.u32()?;
    // The size, or the id of another type.
    let third = reader.u32()?;
    let length = (info & 0xffff) as usize;
    let flag = info >> 31 != 0;
    let number = info >> 24 & 0x1f;
    let kind = match number {
        1 => Kind::Int(int(reader.u32()?, third)?),
        2 => Kind::Pointer(third),
        3 => Kind::Array { element: reader.u32()?, index: reader.u32()?, count: reader.u32()? },
        4 => Kind::Struct(Composite { size: third, members: members(reader, length, flag)? }),
        5 => Kind::Union(Composite { size: third, members: members(reader, length, flag)? }),
        6 => Kind::Enum(enumeration(reader, length, third, flag, false)?),
        7 => Kind::Forward { union: flag },
        8 => Kind::Typedef(third),
        9 => Kind::Volatile(third),
        10 => Kind::Const(third),
        11 => Kind::Restrict(third),
        12 => Kind::Function { prototype: third, linkage: linkage(length as u32) },
        13 => Kind::Prototype { result: third, parameters: parameters(reader, length)? },
        14 => Kind::Variable { type_id: third, linkage: linkage(reader.u32()?) },
        15 => Kind::Section { size: third, variables: variables(reader, length)? },
        16 => Kind::Float { size: third },
        17 => {
            let component = reader.u32()?;
            Kind::DeclTag { target: third, component: (component as i32 >= 0).then_some(component) }
        }
        18 => Kind::TypeTag(third),
        19 => Kind::Enum(enumeration(reader, length, third, flag, true)?),
        _ => return Err(BtfError(format!("BTF: unknown kind {number} of a type"))),
    };
    Ok((name, kind))
}

fn int(word: u32, size: u32) -> Result<Int, BtfError> {
    let encoding = match word >> 24 & 0x0f {
        0 => Encoding::Unsigned,
        1 => Encoding::Signed,
        4 => Encoding::Bool,
        other if other & 2 != 0 => Encoding::Char,
        other => return Err(BtfError(format!("BTF: unknown encoding {other} of an integer"))),
    };
    let (bits, offset) = (word as u8, (word >> 16) as u8);
    if !matches!(size, 1..=16) || u32::from(bits) + u32::from(offset) > size * 8 {
        return Err(BtfError(format!("BTF: an integer of {size} bytes and {bits} bits")));
    }
    Ok(Int { size, bits, offset, encoding })
}

fn members(reader: &mut Reader<'_>, count: usize, flag: bool) -> Result<Vec<Member>, BtfError> {
    let mut members = Vec::with_capacity(reader.check(count, 3)?);
    for _ in 0..count {
        let (name, type_id, offset) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (bit_offset, bits) = match flag {
            true => (offset & 0xff_ffff, offset >> 24),
            false => (offset, 0),
        };
        members.push(Member { name, type_id, bit_offset, bits });
    }
    Ok(members)
}

fn enumeration(
    reader: &mut Reader<'_>,
    count: usize,
    size: u32,
    signed: bool,
    wide: bool,
) -> Result<Enumeration, BtfError> {
    if !matches!(size, 1 | 2 | 4 | 8) {
        return Err(BtfError(format!("BTF: an enum of {size} bytes")));
    }
    let mut values = Vec::with_capacity(reader.check(count, if wide { 3 } else { 2 })?);
    for _ in 0..count {
        let (name, low) = (reader.u32()?, reader.u32()?);
        let value = match (wide, signed) {
            (true, _) => u64::from(reader.u32()?) << 32 | u64::from(low),
            (false, true) => low as i32 as u64,
            (false, false) => u64::from(low),
        };
        values.push(Enumerator { name, value });
    }
    Ok(Enumeration { size, signed, wide, values })
}

fn parameters(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Parameter>, BtfError> {
    let mut parameters = Vec::with_capacity(reader.check(count, 2)?);
    for _ in 0..count {
        parameters.push(Parameter { name: reader.u32()?, type_id: reader.u32()? });
    }
    Ok(parameters)
}

fn variables(reader: &mut Reader<'_>, count: usize) -> Result<Vec<SectionVariable>, BtfError> {
    let mut variables = Vec::with_capacity(reader.check(count, 3)?);
    for _ in 0..count {
        let (type_id, offset, size) = (reader.u32()?, reader.u32()?, reader.u32()?);
        variables.push(SectionVariable { type_id, offset, size });
    }
    Ok(variables)
}

fn linkage(number: u32) -> Linkage {
    match number {
        0 => Linkage::Static,
        2 => Linkage::Extern,
        _ => Linkage::Global,
    }
}
