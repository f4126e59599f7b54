//! `.BTF.ext`: what is known of instructions: their functions, their source lines, and where
//! offsets of types are to be filled in (CO-RE).

use super::parse::{Reader, header, part};
use super::{Btf, BtfError};

/// Reads `.BTF.ext`.
#[derive(Clone, Debug, Default)]
pub struct BtfExt {
    /// Functions, by sections.
    pub functions: Vec<SectionInfo<FunctionInfo>>,
    /// Source lines, by sections.
    pub lines: Vec<SectionInfo<LineInfo>>,
    /// CO-RE relocations, by sections.
    pub relocations: Vec<SectionInfo<CoreRelocation>>,
}

/// What is known of the instructions of a section.
#[derive(Clone, Debug)]
pub struct SectionInfo<T> {
    /// The section's name, as an offset in the strings of the `.BTF`.
    pub section: u32,
    /// What is known.
    pub records: Vec<T>,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its first byte in the section.
    pub offset: u32,
    /// Its type, of kind [`Kind::Function`](super::Kind::Function).
    pub type_id: u32,
}

/// A source line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Its first byte in the section.
    pub offset: u32,
    /// The file's name, as an offset in the strings.
    pub file: u32,
    /// The line's text, as an offset in the strings.
    pub text: u32,
    /// The line's number, from 1 on.
    pub line: u32,
    /// The column, from 1 on.
    pub column: u32,
}

/// A place in an instruction that depends on a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRelocation {
    /// The instruction's first byte in the section.
    pub offset: u32,
    /// The type.
    pub type_id: u32,
    /// Which member or name of it, as an offset in the strings: indices such as `0:1:2`.
    pub access: u32,
    /// What of it; the number as it is in the file, if that is not a known one.
    pub kind: Result<CoreKind, u32>,
}

/// What of a type an instruction depends on (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum CoreKind {
    FieldByteOffset = 0,
    FieldByteSize = 1,
    FieldExists = 2,
    FieldSigned = 3,
    FieldLeftShift = 4,
    FieldRightShift = 5,
    TypeIdLocal = 6,
    TypeIdTarget = 7,
    TypeExists = 8,
    TypeSize = 9,
    EnumeratorExists = 10,
    EnumeratorValue = 11,
    TypeMatches = 12,
}

impl CoreKind {
    fn from_number(number: u32) -> Result<CoreKind, u32> {
        use CoreKind::*;
        let all = [
            FieldByteOffset,
            FieldByteSize,
            FieldExists,
            FieldSigned,
            FieldLeftShift,
            FieldRightShift,
            TypeIdLocal,
            TypeIdTarget,
            TypeExists,
            TypeSize,
            EnumeratorExists,
            EnumeratorValue,
            TypeMatches,
        ];
        all.get(number as usize).copied().ok_or(number)
    }
}

impl BtfExt {
    /// Reads the contents of a section `.BTF.ext`.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn parse(bytes: &[u8]) -> Result<BtfExt, BtfError> {
        let (length, numbers) = header(bytes, "BTF.ext", 24)?;
        let part = |index: usize| -> Result<&[u8], BtfError> {
            // Older compilers wrote shorter headers, without the last parts.
            let number = |index: usize| numbers.get(index).copied().unwrap_or(0);
            let (offset, length_of) = (number(index), number(index + 1));
            let range = part(bytes, "BTF.ext", length, offset, length_of)?;
            Ok(bytes.get(range).unwrap_or_default())
        };
        Ok(BtfExt {
            functions: sections(part(0)?, 2, |words| {
                let [offset, type_id, ..] = *words else { return None };
                Some(FunctionInfo { offset, type_id })
            })?,
            lines: sections(part(2)?, 4, |words| {
                let [offset, file, text, place, ..] = *words else { return None };
                Some(LineInfo { offset, file, text, line: place >> 10, column: place & 0x3ff })
            })?,
            relocations: sections(part(4)?, 4, |words| {
                let [offset, type_id, access, kind, ..] = *words else { return None };
                let kind = CoreKind::from_number(kind);
                Some(CoreRelocation { offset, type_id, access, kind })
            })?,
        })
    }
}

/// Records, behind their size, by sections.
fn sections<T>(
    bytes: &[u8],
    words: usize,
    record: impl Fn(&[u32]) -> Option<T>,
) -> Result<Vec<SectionInfo<T>>, BtfError> {
    let mut all = Vec::new();
    if bytes.is_empty() {
        return Ok(all);
    }
    let mut reader = Reader { bytes, position: 0 };
    let size = reader.u32()? as usize;
    if !size.is_multiple_of(4) || !(words * 4..=256).contains(&size) {
        return Err(BtfError(format!("BTF.ext: records of {size} bytes")));
    }
    let mut numbers = Vec::with_capacity(size / 4);
    while reader.position < bytes.len() {
        let (section, count) = (reader.u32()?, reader.u32()?);
        let mut records = Vec::new();
        for _ in 0..count {
            numbers.clear();
            for _ in 0..size / 4 {
                numbers.push(reader.u32()?);
            }
            records.extend(record(&numbers));
        }
        all.push(SectionInfo { section, records });
    }
    Ok(all)
}

impl Btf {
    /// The records of a section.
    pub(crate) fn records<'e, T>(&self, all: &'e [SectionInfo<T>], section: &str) -> &'e [T] {
        let found = all.iter().find(|info| self.is_string(info.section, section));
        found.map_or(&[], |info| &info.records)
    }
}
