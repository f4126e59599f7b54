//! `union bpf_attr`: its fields by their offsets, what is written back, and the caller's memory.

use crate::host::Process;
use usermap::abi::errno;
use usermap::command::{ATTR_BYTES, Fault, Host, attribute, name};
use usermap::{Error, Result};

/// Where the last field of any command ends.
pub(crate) const BYTES: usize = ATTR_BYTES;
/// The kernel takes structures of at most a page.
const PAGE: u64 = 4096;

/// A copy of the caller's attribute; what the caller left out is zero.
pub(crate) struct Attr {
    bytes: [u8; BYTES],
    address: u64,
    size: u32,
    command: u32,
}

impl Attr {
    /// Copies the attribute of a command whose last field ends at `end`: the rest must be zero.
    pub(crate) fn read(command: u32, address: u64, size: u32, end: usize) -> Result<Attr> {
        let bytes = attribute(&Process, command, address, size)?;
        let attr = Attr { bytes, address, size, command };
        match bytes[end..].iter().all(|byte| *byte == 0) {
            true => Ok(attr),
            false => Err(attr.invalid("fields are set that the command does not have")),
        }
    }

    /// Where the caller has it.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        word(&self.bytes, at)
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        long(&self.bytes, at)
    }

    pub(crate) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        core::array::from_fn(|index| self.bytes[at + index])
    }

    /// Whether the caller's attribute has a field that ends there.
    pub(crate) fn reaches(&self, end: u32) -> bool {
        self.size >= end
    }

    /// Writes a field back, however short the caller's attribute is.
    pub(crate) fn put(&self, at: u64, field: u32) -> Result<()> {
        self.copy_out(self.address.wrapping_add(at), &field.to_ne_bytes())
    }

    /// Reads the caller's memory. Of no bytes every address is good.
    pub(crate) fn copy_in(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        match bytes.is_empty() {
            true => Ok(()),
            false => Process.read(address, bytes).map_err(|Fault| self.fault()),
        }
    }

    /// The same, of so many bytes.
    pub(crate) fn bytes_in(&self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.copy_in(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the caller's memory.
    pub(crate) fn copy_out(&self, address: u64, bytes: &[u8]) -> Result<()> {
        match bytes.is_empty() {
            true => Ok(()),
            false => Process.write(address, bytes).map_err(|Fault| self.fault()),
        }
    }

    /// A string that ends with a NUL, or after so many bytes (`strncpy_from_user`); read piece by
    /// piece, since what is behind it may not be there.
    pub(crate) fn string(&self, address: u64, most: usize) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        while string.len() < most {
            let at = address.wrapping_add(string.len() as u64);
            let piece = (16 - at as usize % 16).min(most - string.len());
            let bytes = self.bytes_in(at, piece)?;
            let end = bytes.iter().position(|byte| *byte == 0);
            string.extend_from_slice(&bytes[..end.unwrap_or(piece)]);
            if end.is_some() {
                break;
            }
        }
        Ok(string)
    }

    /// A structure of which `known` bytes are known and `given` are there: shorter ones are filled up
    /// with zeros, of longer ones the rest must be zero (`bpf_check_uarg_tail_zero`).
    pub(crate) fn structure(&self, address: u64, known: usize, given: u32) -> Result<Vec<u8>> {
        let given = u64::from(given);
        if given > PAGE {
            return Err(self.error("a structure of more than 4096 bytes", errno::E2BIG));
        }
        let tail = given.saturating_sub(known as u64) as usize;
        let tail = self.bytes_in(address.wrapping_add(known as u64), tail)?;
        if tail.iter().any(|byte| *byte != 0) {
            return Err(self.error("fields that this version does not know", errno::E2BIG));
        }
        let mut bytes = self.bytes_in(address, known.min(given as usize))?;
        bytes.resize(known, 0);
        Ok(bytes)
    }

    pub(crate) fn error(&self, rule: &'static str, errno: i32) -> Error {
        Error::Command { command: name(self.command), rule, errno }
    }

    pub(crate) fn invalid(&self, rule: &'static str) -> Error {
        self.error(rule, errno::EINVAL)
    }

    pub(crate) fn fault(&self) -> Error {
        self.error("the caller's memory cannot be accessed", errno::EFAULT)
    }
}

/// A number of four bytes.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_ne_bytes(*word))
}

/// One of eight.
pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |long| u64::from_ne_bytes(*long))
}

/// Sets one of four.
pub(crate) fn set_word(bytes: &mut [u8], at: usize, field: u32) {
    bytes[at..at + 4].copy_from_slice(&field.to_ne_bytes());
}
