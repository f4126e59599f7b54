//! BTF, the types that clang stores beside eBPF programs
//! (Documentation/bpf/btf.rst): read, looked up, cut down to what a map needs, and used to print
//! values.
//!
//! Types have ids, from 1 on; 0 is `void`. Everything is bounds-checked when it is read, and every
//! walk along ids is bounded, so that a blob from anywhere is safe to use: at worst its types make
//! no sense.
//!
//! ```
//! use usermap_vm::btf::Btf;
//! // A blob with no types and one empty string.
//! let bytes = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
//! let btf = Btf::parse(&bytes)?;
//! assert_eq!(btf.len(), 1);
//! assert_eq!(btf.describe(0), "void");
//! # Ok::<(), usermap_vm::btf::BtfError>(())
//! ```

mod describe;
mod ext;
mod parse;
mod sections;
mod subset;
mod types;
mod value;

pub use ext::{BtfExt, CoreKind};
pub use ext::{CoreRelocation, FunctionInfo, LineInfo, SectionInfo};
pub use types::{
    Composite, Encoding, Enumeration, Enumerator, Int, Kind, Linkage, Member, Parameter,
    SectionVariable,
};
pub use value::Value;

use std::fmt;
use std::ops::Range;

/// How many modifiers, typedefs or arrays in one another are followed. The kernel's limit is 32.
const DEPTH: usize = 64;
/// As many bytes of a string are given.
const STRING: usize = 512;

/// Why BTF cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfError(pub(crate) String);

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BtfError {}

/// The types of an object, or of a map.
#[derive(Clone, Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where the strings are.
    strings: Range<usize>,
    types: Vec<Type>,
}

#[derive(Clone, Debug)]
struct Type {
    /// The name's offset in the strings.
    name: u32,
    /// Where the type is in the bytes.
    position: usize,
    kind: Kind,
}

impl Btf {
    /// Reads a blob, such as the contents of a section `.BTF`.
    ///
    /// # Errors
    ///
    /// It is not BTF of this machine's byte order, or damaged.
    pub fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
        parse::parse(bytes)
    }

    /// The blob itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many types there are, `void` counted.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there is nothing but `void`.
    pub fn is_empty(&self) -> bool {
        self.types.len() <= 1
    }

    /// What a type is, if there is one of this id.
    pub fn kind(&self, id: u32) -> Option<&Kind> {
        self.types.get(id as usize).map(|entry| &entry.kind)
    }

    /// A type's name; empty if it has none.
    pub fn name(&self, id: u32) -> &str {
        self.types.get(id as usize).map_or("", |entry| self.string(entry.name))
    }

    /// The string at an offset, up to where it is no UTF-8, and no more than 512 bytes of it:
    /// longer ones the kernel does not take, and many types could share one of megabytes.
    pub fn string(&self, offset: u32) -> &str {
        let bytes = self.bytes.get(self.strings.clone()).unwrap_or_default();
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        let bytes = bytes.get(..STRING).unwrap_or(bytes);
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let bytes = bytes.get(..length).unwrap_or_default();
        match str::from_utf8(bytes) {
            Ok(string) => string,
            Err(error) => {
                str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or("")
            }
        }
    }

    /// Whether there is a string at an offset, if only an empty one.
    ///
    /// ```
    /// # use usermap_vm::btf::Btf;
    /// # let bytes = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    /// let btf = Btf::parse(&bytes)?;
    /// assert!(btf.has_string(0) && !btf.has_string(1));
    /// # Ok::<(), usermap_vm::btf::BtfError>(())
    /// ```
    pub fn has_string(&self, offset: u32) -> bool {
        (offset as usize) < self.strings.len()
    }

    /// Whether the string at an offset is this one. Takes no longer than the shorter of the two.
    fn is_string(&self, offset: u32, string: &str) -> bool {
        let bytes = self.bytes.get(self.strings.clone()).unwrap_or_default();
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        bytes.strip_prefix(string.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// All types with their ids, `void` left out.
    pub fn types(&self) -> impl Iterator<Item = (u32, &Kind)> {
        (0..).zip(&self.types).skip(1).map(|(id, entry)| (id, &entry.kind))
    }

    /// The first type of a name and a kind.
    ///
    /// ```
    /// # use usermap_vm::btf::{Btf, Kind};
    /// # fn of(btf: &Btf) -> Option<u32> {
    /// btf.find("flow_key", |kind| matches!(kind, Kind::Struct(_)))
    /// # }
    /// ```
    pub fn find(&self, name: &str, kind: impl Fn(&Kind) -> bool) -> Option<u32> {
        let mut types = (0..).zip(&self.types).skip(1);
        let found = types.find(|(_, entry)| kind(&entry.kind) && self.is_string(entry.name, name));
        found.map(|(id, _)| id)
    }

    /// The variables of a section (`.maps`, `.data`, ...): the id of its `DATASEC`, and them.
    pub fn section(&self, name: &str) -> Option<(u32, &[SectionVariable])> {
        let id = self.find(name, |kind| matches!(kind, Kind::Section { .. }))?;
        match self.kind(id)? {
            Kind::Section { variables, .. } => Some((id, variables)),
            _ => None,
        }
    }

    /// The type behind typedefs, `const`, `volatile`, `restrict` and type tags; `void` if there are
    /// too many of them, or they go round in a circle.
    pub fn resolve(&self, id: u32) -> u32 {
        let mut id = id;
        for _ in 0..DEPTH {
            match self.kind(id).and_then(Kind::modified) {
                Some(inner) => id = inner,
                None => return if (id as usize) < self.types.len() { id } else { 0 },
            }
        }
        0
    }

    /// What the type is, behind typedefs and the like.
    pub fn resolved(&self, id: u32) -> &Kind {
        self.kind(self.resolve(id)).unwrap_or(&Kind::Void)
    }

    /// Bytes of a value of the type; `None` of `void`, functions, forward declarations, arrays and
    /// typedefs of such, and of what would not fit into memory.
    pub fn size_of(&self, id: u32) -> Option<u64> {
        let mut id = id;
        let mut count = 1u64;
        for _ in 0..DEPTH {
            let size = match self.resolved(id) {
                Kind::Array { element, count: more, .. } => {
                    count = count.checked_mul(u64::from(*more))?;
                    id = *element;
                    continue;
                }
                Kind::Variable { type_id, .. } => {
                    id = *type_id;
                    continue;
                }
                kind => kind.size()?,
            };
            return count.checked_mul(u64::from(size)).filter(|size| *size <= 1 << 46);
        }
        None
    }

    /// Bytes that values of the type are aligned to; 1 where that is not known.
    pub fn align_of(&self, id: u32) -> u64 {
        self.align(id, &mut 256)
    }

    fn align(&self, id: u32, budget: &mut u32) -> u64 {
        let mut id = id;
        for _ in 0..DEPTH {
            match self.resolved(id) {
                Kind::Array { element, .. } => id = *element,
                Kind::Variable { type_id, .. } => id = *type_id,
                Kind::Struct(composite) | Kind::Union(composite) => {
                    let mut most = 1;
                    for member in &composite.members {
                        if *budget == 0 {
                            break;
                        }
                        *budget -= 1;
                        most = self.align(member.type_id, budget).max(most);
                    }
                    return most;
                }
                kind => return u64::from(kind.size().unwrap_or(1)).clamp(1, 8),
            }
        }
        1
    }

    /// The members of a struct or union, behind typedefs and the like.
    pub fn members(&self, id: u32) -> Option<&[Member]> {
        match self.resolved(id) {
            Kind::Struct(composite) | Kind::Union(composite) => Some(&composite.members),
            _ => None,
        }
    }

    /// Whether it is an integer that clang calls `char`.
    fn is_char(&self, id: u32) -> bool {
        match self.kind(id) {
            Some(Kind::Int(int)) if int.size == 1 => {
                int.encoding == Encoding::Char
                    || self.types.get(id as usize).is_some_and(|t| self.is_string(t.name, "char"))
            }
            _ => false,
        }
    }
}
