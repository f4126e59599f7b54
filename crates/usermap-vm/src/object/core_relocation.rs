//! CO-RE relocations: places in instructions that depend on types. The kernel that they are
//! meant for is not here; the object's own types stand in, so that offsets are those that the
//! compiler saw.

use crate::btf::{Btf, CoreKind, CoreRelocation, Encoding, Kind, Member};
use crate::instruction::{Instruction, opcode};

/// The most indices of an access, as in libbpf.
const MOST: usize = 64;

/// A place in a type that an access such as `0:1:2` leads to.
struct Field<'b> {
    /// Its first bit.
    bit: u64,
    /// Its type.
    type_id: u32,
    /// The member, if it is one.
    member: Option<&'b Member>,
}

/// Fills in an instruction; `wide` is its second half, if it has one.
pub(super) fn apply(
    btf: &Btf,
    relocation: &CoreRelocation,
    instruction: &mut Instruction,
    wide: Option<&mut Instruction>,
) -> Result<(), String> {
    let value = value(btf, relocation)?;
    match instruction.class() {
        opcode::ALU | opcode::ALU64 if instruction.opcode & opcode::X == 0 => {
            instruction.imm = value as i32;
        }
        opcode::LDX | opcode::ST | opcode::STX => match i16::try_from(value) {
            Ok(offset) => instruction.offset = offset,
            Err(_) => return Err(format!("an offset of {value} does not fit")),
        },
        opcode::LD if instruction.is_wide() => {
            instruction.imm = value as i32;
            if let Some(second) = wide {
                second.imm = (value >> 32) as i32;
            }
        }
        _ => return Err(format!("instruction {:#04x} has no place for it", instruction.opcode)),
    }
    Ok(())
}

fn value(btf: &Btf, relocation: &CoreRelocation) -> Result<u64, String> {
    let id = relocation.type_id;
    let kind = relocation.kind.map_err(|number| format!("kind {number} is not known"))?;
    let indices = indices(btf.string(relocation.access))?;
    if btf.kind(id).is_none() {
        return Err(format!("there is no type {id}"));
    }
    match kind {
        CoreKind::TypeIdLocal | CoreKind::TypeIdTarget => Ok(u64::from(id)),
        CoreKind::TypeExists | CoreKind::TypeMatches => Ok(1),
        CoreKind::TypeSize => {
            btf.size_of(id).ok_or_else(|| format!("{} has no size", btf.describe(id)))
        }
        CoreKind::EnumeratorExists | CoreKind::EnumeratorValue => {
            let Kind::Enum(enumeration) = btf.resolved(id) else {
                return Err(format!("{} is no enum", btf.describe(id)));
            };
            let index = indices.first().copied().unwrap_or(0);
            let found = enumeration.values.get(index as usize);
            let found = found.ok_or_else(|| format!("{} has no {index}", btf.describe(id)))?;
            Ok(if kind == CoreKind::EnumeratorExists { 1 } else { found.value })
        }
        _ => field_value(btf, kind, &field(btf, id, &indices)?),
    }
}

fn indices(access: &str) -> Result<Vec<u32>, String> {
    let indices: Result<Vec<u32>, _> =
        access.split(':').take(MOST + 1).map(str::parse::<u32>).collect();
    match indices {
        Ok(indices) if indices.len() <= MOST => Ok(indices),
        _ => Err("its access is no list of indices".into()),
    }
}

/// Follows the indices: the first is one of an array of the type, the others are of members or
/// elements.
fn field<'b>(btf: &'b Btf, root: u32, indices: &[u32]) -> Result<Field<'b>, String> {
    let [first, rest @ ..] = indices else { return Err("it has no indices".into()) };
    let size = |id: u32| btf.size_of(id).ok_or_else(|| format!("{} has no size", btf.describe(id)));
    let too_far = || "it is too far away".to_owned();
    let step = |id: u32, index: u32| -> Result<u64, String> {
        let bits = size(id)?.checked_mul(8).and_then(|bits| bits.checked_mul(index.into()));
        bits.ok_or_else(too_far)
    };
    let start = if *first > 0 { step(root, *first)? } else { 0 };
    let mut field = Field { bit: start, type_id: root, member: None };
    for index in rest {
        let more;
        match btf.resolved(field.type_id) {
            Kind::Array { element, .. } => {
                more = step(*element, *index)?;
                field.type_id = *element;
                field.member = None;
            }
            Kind::Struct(composite) | Kind::Union(composite) => {
                let Some(member) = composite.members.get(*index as usize) else {
                    return Err(format!("{} has no {index}", btf.describe(field.type_id)));
                };
                more = u64::from(member.bit_offset);
                field.type_id = member.type_id;
                field.member = Some(member);
            }
            _ => return Err(format!("{} has no members", btf.describe(field.type_id))),
        }
        field.bit = field.bit.checked_add(more).ok_or_else(too_far)?;
    }
    Ok(field)
}

fn field_value(btf: &Btf, kind: CoreKind, field: &Field<'_>) -> Result<u64, String> {
    let described = || btf.describe(field.type_id);
    let size = || btf.size_of(field.type_id).ok_or_else(|| format!("{} has no size", described()));
    let bits = match field.member {
        Some(member) if member.bits > 0 => Some(u64::from(member.bits)),
        _ => None,
    };
    match kind {
        CoreKind::FieldExists => return Ok(1),
        CoreKind::FieldSigned => {
            return Ok(match btf.resolved(field.type_id) {
                Kind::Enum(enumeration) => enumeration.signed.into(),
                Kind::Int(int) => u64::from(int.encoding == Encoding::Signed),
                _ => 0,
            });
        }
        _ => {}
    }
    let (byte, size, used) = match bits {
        Some(bits) => {
            let (byte, size) = window(field.bit, bits, size()?)?;
            (byte, size, bits)
        }
        None => {
            let size = size()?;
            (field.bit / 8, size, size.saturating_mul(8))
        }
    };
    match kind {
        CoreKind::FieldByteOffset => Ok(byte),
        CoreKind::FieldByteSize => Ok(size),
        _ if used > 64 => Err(format!("{} is wider than 64 bits", described())),
        // As for a load of `size` bytes at `byte` into 64 bits.
        CoreKind::FieldLeftShift => Ok(64u64.saturating_sub(field.bit + used - byte * 8)),
        _ => Ok(64 - used),
    }
}

/// The aligned bytes that hold a bitfield: where, and how many.
fn window(bit: u64, bits: u64, size: u64) -> Result<(u64, u64), String> {
    let mut size = size.max(1);
    loop {
        let byte = bit / 8 / size * size;
        if bit + bits <= (byte + size) * 8 {
            return Ok((byte, size));
        }
        if size >= 8 {
            return Err("a bitfield that no load can hold".into());
        }
        size *= 2;
    }
}
