//! The error of every operation: which map, what was asked, which rule or limit broke, and the
//! errno that Linux gives for it.
//!
//! Making one costs nothing but a few stores (no allocation), because a lookup that misses is
//! an ordinary answer.

use crate::abi::{MapType, errno};
use core::fmt;
use std::path::PathBuf;

/// A map's name: at most 15 bytes, as in the kernel (`BPF_OBJ_NAME_LEN` is 16 with the NUL).
///
/// ```
/// let name = usermap::Name::new("flows").unwrap();
/// assert_eq!(name.as_str(), "flows");
/// assert!(usermap::Name::new("no spaces").is_err());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Name([u8; 16]);

impl Name {
    /// A name, by the kernel's rules (`bpf_obj_name_cpy`): alphanumeric, `_` and `.`, at most 15
    /// bytes.
    pub fn new(name: &str) -> Result<Name> {
        Name::from_bytes(name.as_bytes())
    }

    /// The same from raw bytes, up to the first NUL; Latin-1's letters pass, as in the kernel.
    pub fn from_bytes(bytes: &[u8]) -> Result<Name> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let bad = |rule| Error::Spec {
            map: Name::default(),
            field: "map_name",
            value: text.len() as u64,
            rule,
            errno: errno::EINVAL,
        };
        if text.len() > 15 {
            return Err(bad("at most 15 bytes"));
        }
        // The kernel's isalnum() is Latin-1's.
        let letter = |byte: u8| {
            byte.is_ascii_alphanumeric() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
        };
        if !text.iter().all(|byte| letter(*byte) || matches!(byte, b'_' | b'.')) {
            return Err(bad("letters, digits, '_' and '.' only"));
        }
        let mut name = Name::default();
        name.0[..text.len()].copy_from_slice(text);
        Ok(name)
    }

    /// The text; empty if the map has no name, and for bytes that are no UTF-8.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.text()).unwrap_or_default()
    }

    /// The 16 bytes as `bpf_attr` and `bpf_map_info` hold them.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            [] => f.write_str("(unnamed)"),
            text => String::from_utf8_lossy(text).fmt(f),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.text()))
    }
}

/// Why an operation on a map was refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No entry has this key, or the queue or stack is empty.
    NotFound,
    /// The key is there, and `BPF_NOEXIST` was asked for.
    Exists,
    /// All `max_entries` places are taken.
    Full {
        /// The limit.
        max_entries: u32,
    },
    /// An array index past the end.
    Index {
        /// The index.
        index: u32,
        /// The limit.
        max_entries: u32,
    },
    /// Flags that this operation does not take.
    Flags {
        /// The flags.
        flags: u64,
    },
    /// The key has another length than the map's keys.
    KeySize {
        /// Bytes given.
        given: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The value has another length than the map's values (per-CPU maps: one for each slot).
    ValueSize {
        /// Bytes given.
        given: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// Increments need values of 1, 2, 4 or 8 bytes.
    Width {
        /// Bytes of a value.
        value_size: u32,
    },
    /// The map has no such CPU slot.
    Cpu {
        /// The slot.
        cpu: u32,
        /// Slots of the map.
        slots: u32,
    },
    /// A mapping of the values that this handle or map does not allow (EACCES).
    Access(&'static str),
    /// This handle was opened for reading only.
    ReadOnly,
    /// This handle was opened for writing only.
    WriteOnly,
    /// The map is frozen, or is read-only for programs.
    Frozen,
    /// The operation does not exist for this kind of map; the errno is what Linux gives.
    Unsupported {
        /// The kind.
        kind: MapType,
        /// The kernel's answer, for this operation and kind.
        errno: i32,
    },
    /// Another live thread or process holds the lock, or a writable mapping stands in the way.
    Busy,
    /// Every place in the table of writers is taken by a live thread.
    Writers {
        /// Places.
        limit: u32,
    },
    /// Another thread has been the only one to write to the map, and membarrier(2), by which it would be told
    /// that it is not any more, is refused to this process.
    SoleWriter,
    /// A batch's buffers are too small for the next bucket.
    NoSpace {
        /// Entries in the bucket.
        needed: u32,
    },
    /// The caller's memory could not be read or written (command seam only).
    Fault,
    /// A combination that the kernel refuses; the text says which.
    Invalid(&'static str),
    /// The region holds something impossible: damaged, or written to by something else.
    Corrupt(&'static str),
}

/// What went wrong. [`errno`](Error::errno) gives Linux's number for it.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 16).name("flows")?)?;
/// let error = map.lookup(&[0; 4], &mut [0; 8], 0).unwrap_err();
/// assert_eq!(error.errno(), 2); // ENOENT
/// assert_eq!(error.to_string(), "map flows: lookup: no such entry");
/// # Ok::<(), usermap::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An operation was refused or failed.
    Operation {
        /// The map.
        map: Name,
        /// The function, as bpf(2) or usermap calls it.
        operation: &'static str,
        /// Why.
        reason: Reason,
    },
    /// A map cannot be created like this.
    Spec {
        /// The name asked for.
        map: Name,
        /// The field of the specification.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The rule that it breaks.
        rule: &'static str,
        /// Linux's answer.
        errno: i32,
    },
    /// A program may not do this with the map, whatever it holds.
    Program {
        /// The map.
        map: Name,
        /// Its kind.
        kind: MapType,
        /// The helper, or the access.
        operation: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
        /// Linux's answer to loading such a program.
        errno: i32,
    },
    /// A call of the bpf(2) seam that never reached a map.
    Command {
        /// The command, as `enum bpf_cmd` calls it.
        command: &'static str,
        /// The rule that the call breaks.
        rule: &'static str,
        /// Linux's answer.
        errno: i32,
    },
    /// A file or descriptor that is no usable map.
    NotAMap {
        /// Which file or descriptor.
        what: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A map exists under this path with another specification.
    Differs {
        /// Which file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value in the file.
        found: u64,
        /// The value asked for.
        asked: u64,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file; empty if to none.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Reason {
    /// Linux's number for it.
    pub fn errno(&self) -> i32 {
        match *self {
            Reason::NotFound => errno::ENOENT,
            Reason::Exists => errno::EEXIST,
            Reason::Full { .. } | Reason::Index { .. } => errno::E2BIG,
            Reason::Flags { .. }
            | Reason::KeySize { .. }
            | Reason::ValueSize { .. }
            | Reason::Width { .. }
            | Reason::Invalid(_) => errno::EINVAL,
            Reason::Access(_) => errno::EACCES,
            Reason::Cpu { .. } => errno::ERANGE,
            Reason::ReadOnly | Reason::WriteOnly | Reason::Frozen | Reason::SoleWriter => {
                errno::EPERM
            }
            Reason::Unsupported { errno, .. } => errno,
            Reason::Busy | Reason::Writers { .. } => errno::EBUSY,
            Reason::NoSpace { .. } => errno::ENOSPC,
            Reason::Fault => errno::EFAULT,
            Reason::Corrupt(_) => errno::EUCLEAN,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::NotFound => write!(f, "no such entry"),
            Reason::Exists => write!(f, "the key exists"),
            Reason::Full { max_entries } => write!(f, "full: max_entries is {max_entries}"),
            Reason::Index { index, max_entries } => {
                write!(f, "index {index} is past the end: max_entries is {max_entries}")
            }
            Reason::Flags { flags } => write!(f, "flags {flags:#x} are not taken here"),
            Reason::KeySize { given, expected } => {
                write!(f, "the key has {given} bytes, the map's keys have {expected}")
            }
            Reason::ValueSize { given, expected } => {
                write!(f, "the value has {given} bytes, {expected} are needed")
            }
            Reason::Width { value_size } => {
                write!(f, "values of {value_size} bytes cannot be incremented, only 1, 2, 4 or 8")
            }
            Reason::Cpu { cpu, slots } => write!(f, "CPU slot {cpu} of {slots}"),
            Reason::ReadOnly => write!(f, "opened for reading only"),
            Reason::WriteOnly => write!(f, "opened for writing only"),
            Reason::Frozen => write!(f, "frozen: it can be read only"),
            Reason::Unsupported { kind, .. } => write!(f, "not supported by a {kind} map"),
            Reason::Busy => write!(f, "locked or mapped by another thread or process"),
            Reason::Writers { limit } => {
                write!(f, "{limit} live threads write to it already, which is the limit")
            }
            Reason::SoleWriter => {
                write!(
                    f,
                    "another thread has been the only writer, and membarrier(2) is refused here"
                )
            }
            Reason::NoSpace { needed } => {
                write!(f, "the buffers have no room for the next bucket's {needed} entries")
            }
            Reason::Fault => write!(f, "the caller's memory cannot be accessed"),
            Reason::Access(what) | Reason::Invalid(what) => f.write_str(what),
            Reason::Corrupt(what) => write!(f, "the region is damaged: {what}"),
        }
    }
}

impl Error {
    /// The errno that Linux gives for it, 524 (ENOTSUPP) included.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Operation { reason, .. } => reason.errno(),
            Error::Spec { errno, .. }
            | Error::Program { errno, .. }
            | Error::Command { errno, .. } => *errno,
            Error::NotAMap { .. } => errno::EINVAL,
            Error::Differs { .. } => errno::EEXIST,
            Error::Io { source, .. } => source.raw_os_error().unwrap_or(errno::EIO),
        }
    }

    /// Why an operation failed; `None` for errors of creation and opening.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Error::Operation { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// Whether it only says that there is no such entry (ENOENT).
    pub fn is_not_found(&self) -> bool {
        self.reason() == Some(Reason::NotFound)
    }

    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<std::io::Error>,
    ) -> Error {
        Error::Io { doing, path: path.into(), source: source.into() }
    }

    pub(crate) fn not_a_map(what: impl Into<PathBuf>, why: &'static str) -> Error {
        Error::NotAMap { what: what.into(), why }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Operation { map, operation, reason } => {
                write!(f, "map {map}: {operation}: {reason}")
            }
            Error::Spec { map, field, value, rule, .. } => {
                write!(f, "map {map}: {field} is {value}: {rule}")
            }
            Error::Program { map, kind, operation, rule, .. } => {
                write!(f, "map {map} ({kind}): a program's {operation}: {rule}")
            }
            Error::Command { command, rule, .. } => write!(f, "{command}: {rule}"),
            Error::NotAMap { what, why } => write!(f, "{}: not a map: {why}", what.display()),
            Error::Differs { path, field, found, asked } => write!(
                f,
                "{}: the map there has {field} {found}, not {asked}; open it as it is, or remove it",
                path.display()
            ),
            Error::Io { doing, path, source } if path.as_os_str().is_empty() => {
                write!(f, "{doing}: {source}")
            }
            Error::Io { doing, path, source } => {
                write!(f, "{}: {doing}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        std::io::Error::other(error)
    }
}
