//! The kinds of types (`BTF_KIND_*`).

/// A type. Other types are given by their ids, names by their offsets in the strings
/// ([`Btf::string`](super::Btf::string)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `void`, the type with id 0.
    Void,
    /// An integer.
    Int(Int),
    /// A pointer to a type.
    Pointer(u32),
    /// An array.
    Array {
        /// The type of its elements.
        element: u32,
        /// The type of its index.
        index: u32,
        /// How many elements it has.
        count: u32,
    },
    /// A struct.
    Struct(Composite),
    /// A union.
    Union(Composite),
    /// An enum, of up to 64 bits.
    Enum(Enumeration),
    /// A struct, or a union, that is only declared.
    Forward {
        /// Whether it is a union.
        union: bool,
    },
    /// Another name of a type.
    Typedef(u32),
    /// `volatile`
    Volatile(u32),
    /// `const`
    Const(u32),
    /// `restrict`
    Restrict(u32),
    /// A function.
    Function {
        /// Its prototype.
        prototype: u32,
        /// Whether others see it.
        linkage: Linkage,
    },
    /// What a function takes and gives.
    Prototype {
        /// What it gives.
        result: u32,
        /// What it takes.
        parameters: Vec<Parameter>,
    },
    /// A global variable.
    Variable {
        /// Its type.
        type_id: u32,
        /// Whether others see it.
        linkage: Linkage,
    },
    /// A section, with its variables.
    Section {
        /// Its bytes.
        size: u32,
        /// The variables.
        variables: Vec<SectionVariable>,
    },
    /// A floating-point number.
    Float {
        /// Its bytes.
        size: u32,
    },
    /// `btf_decl_tag`, on something else.
    DeclTag {
        /// What it is on.
        target: u32,
        /// On which member or parameter of it.
        component: Option<u32>,
    },
    /// `btf_type_tag`
    TypeTag(u32),
}

/// An integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int {
    /// Bytes that it takes.
    pub size: u32,
    /// Bits that it has; fewer than its bytes have in bitfields of old compilers.
    pub bits: u8,
    /// The first of these bits.
    pub offset: u8,
    /// How it is read.
    pub encoding: Encoding,
}

/// How an integer is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As a number from 0 on.
    #[default]
    Unsigned,
    /// As a number with a sign.
    Signed,
    /// As a character.
    Char,
    /// As true or false.
    Bool,
}

/// A struct or a union.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Composite {
    /// Its bytes.
    pub size: u32,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member of a struct or a union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: u32,
    /// Its type.
    pub type_id: u32,
    /// Its first bit.
    pub bit_offset: u32,
    /// Bits of a bitfield; 0 if it is none.
    pub bits: u32,
}

/// An enum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enumeration {
    /// Its bytes.
    pub size: u32,
    /// Whether its numbers have a sign.
    pub signed: bool,
    /// Whether it is an `ENUM64`, whose numbers have 64 bits.
    pub wide: bool,
    /// Its names.
    pub values: Vec<Enumerator>,
}

/// A name of an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator {
    /// The name.
    pub name: u32,
    /// Its number, extended to 64 bits as the enum's sign has it.
    pub value: u64,
}

impl Enumeration {
    /// The number of one of its names.
    pub fn number(&self, enumerator: &Enumerator) -> i128 {
        match self.signed {
            true => i128::from(enumerator.value as i64),
            false => i128::from(enumerator.value),
        }
    }
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: u32,
    /// Its type.
    pub type_id: u32,
}

/// A variable in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionVariable {
    /// The variable's type, of kind [`Kind::Variable`]; or a function.
    pub type_id: u32,
    /// Where it starts.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
}

/// Whether others see a variable or function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Only its own file.
    Static,
    /// All.
    Global,
    /// It is somewhere else.
    Extern,
}

impl Kind {
    /// The type that a modifier or typedef is of.
    pub(crate) fn modified(&self) -> Option<u32> {
        match self {
            Kind::Typedef(id) | Kind::Volatile(id) | Kind::Const(id) | Kind::Restrict(id) => {
                Some(*id)
            }
            Kind::TypeTag(id) => Some(*id),
            _ => None,
        }
    }

    /// Bytes, of those that have their own size.
    pub(super) fn size(&self) -> Option<u32> {
        match self {
            Kind::Int(int) => Some(int.size),
            Kind::Pointer(_) => Some(8),
            Kind::Struct(composite) | Kind::Union(composite) => Some(composite.size),
            Kind::Enum(enumeration) => Some(enumeration.size),
            Kind::Section { size, .. } | Kind::Float { size } => Some(*size),
            _ => None,
        }
    }
}
