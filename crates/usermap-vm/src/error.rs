//! Errors: of objects that cannot be read or run, and of programs that went wrong.

use crate::code::Line;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the functions of this crate give.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an object was refused, or a run ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    Io {
        /// What was being done, such as "reading the object".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The object is damaged, or is no eBPF object.
    Object {
        /// The object's name.
        object: String,
        /// What is wrong, with the section, symbol or offset.
        problem: String,
    },
    /// A program does what the kernel refuses with an errno of its own.
    Refused {
        /// The object's name.
        object: String,
        /// What is wrong, with the program and the instruction.
        problem: String,
        /// The kernel's errno.
        errno: i32,
    },
    /// The object asks for what there is not.
    Unsupported {
        /// The object's name.
        object: String,
        /// What it is: a section, symbol, map, helper or instruction, by name.
        what: String,
        /// Where in the source, where that is known.
        line: Option<Line>,
    },
    /// There is nothing of that name.
    Unknown {
        /// "program", "map" or "global".
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A value that cannot be: of an option, a global or a context.
    Invalid {
        /// What was given.
        what: String,
        /// Why it cannot be.
        rule: String,
    },
    /// A map refused.
    Map(usermap::Error),
    /// A program went wrong; nothing else did.
    Fault(Box<Fault>),
    /// No CPU slot became free.
    Busy {
        /// The map whose slots are all taken.
        map: String,
        /// How many there are.
        slots: u32,
    },
}

/// Where and how a program went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The program.
    pub program: String,
    /// The function in it.
    pub function: String,
    /// The instruction's number.
    pub instruction: usize,
    /// The source line, if the object has lines.
    pub line: Option<Line>,
    /// What happened.
    pub kind: FaultKind,
}

/// What went wrong in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access to memory that the program has not got.
    Memory {
        /// The address, as the program sees addresses.
        address: u64,
        /// Bytes, if known.
        size: u64,
        /// Whether it was a store.
        write: bool,
        /// What the address is in or next to: "NULL", "the stack", "the packet", "map flows", ...
        region: String,
    },
    /// An atomic access to an address that is no multiple of its width.
    Misaligned {
        /// The address.
        address: u64,
    },
    /// The budget of instructions is spent.
    Budget {
        /// Instructions that were allowed.
        limit: u64,
    },
    /// More calls in one another than there are stack frames.
    CallDepth {
        /// Frames that there are.
        limit: u32,
    },
    /// A helper was called in a way that the kernel's verifier would have refused.
    Helper {
        /// The helper's name.
        helper: &'static str,
        /// What was wrong with the call.
        problem: String,
    },
}

/// A fault without the names: what an engine knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    /// The program's number among the loaded ones.
    pub(crate) program: usize,
    /// The instruction.
    pub(crate) instruction: usize,
    /// What happened.
    pub(crate) kind: FaultKind,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, error: std::io::Error) -> Error {
        Error::Io { action, path: path.to_owned(), error }
    }

    /// The number Linux would give: of a map's refusal its own; EINVAL, ENOENT, EFAULT, ... else.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Io { error, .. } => error.raw_os_error().unwrap_or(libc::EIO),
            Error::Object { .. } | Error::Invalid { .. } => libc::EINVAL,
            Error::Refused { errno, .. } => *errno,
            Error::Unsupported { .. } => libc::ENOTSUP,
            Error::Unknown { .. } => libc::ENOENT,
            Error::Map(error) => error.errno(),
            Error::Fault(_) => libc::EFAULT,
            Error::Busy { .. } => libc::EBUSY,
        }
    }
}

fn at(f: &mut fmt::Formatter<'_>, line: Option<&Line>) -> fmt::Result {
    match line {
        Some(line) if line.text.is_empty() => write!(f, " ({}:{})", line.file, line.line),
        Some(line) => write!(f, " ({}:{}: {})", line.file, line.line, line.text),
        None => Ok(()),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { action, path, error } => {
                write!(f, "{action} {}: {error}", path.display())
            }
            Error::Object { object, problem } | Error::Refused { object, problem, .. } => {
                write!(f, "{object}: {problem}")
            }
            Error::Unsupported { object, what, line } => {
                write!(f, "{object}: {what} is not supported")?;
                at(f, line.as_ref())
            }
            Error::Unknown { kind, name, known } if known.is_empty() => {
                write!(f, "there is no {kind} {name}: the object has none")
            }
            Error::Unknown { kind, name, known } => {
                write!(f, "there is no {kind} {name}; there is {}", known.join(", "))
            }
            Error::Invalid { what, rule } => write!(f, "{what}: {rule}"),
            Error::Map(error) => error.fmt(f),
            Error::Fault(fault) => fault.fmt(f),
            Error::Busy { map, slots } => {
                write!(f, "all {slots} CPU slots of map {map} are taken by running programs")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {}", self.program)?;
        if self.function != self.program {
            write!(f, ", function {}", self.function)?;
        }
        write!(f, ", instruction {}", self.instruction)?;
        at(f, self.line.as_ref())?;
        write!(f, ": {}", self.kind)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Memory { address, size, write, region } => {
                f.write_str(if *write { "store" } else { "load" })?;
                if *size > 0 {
                    write!(f, " of {size} bytes")?;
                }
                write!(f, " at {address:#x}, {region}: not the program's to use")
            }
            FaultKind::Misaligned { address } => {
                write!(f, "atomic access at {address:#x}, which is not a multiple of its width")
            }
            FaultKind::Budget { limit } => {
                write!(f, "the budget of {limit} instructions is spent")
            }
            FaultKind::CallDepth { limit } => {
                write!(f, "more than {limit} calls in one another")
            }
            FaultKind::Helper { helper, problem } => write!(f, "{helper}: {problem}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { error, .. } => Some(error),
            Error::Map(error) => Some(error),
            _ => None,
        }
    }
}

impl From<usermap::Error> for Error {
    fn from(error: usermap::Error) -> Error {
        Error::Map(error)
    }
}
