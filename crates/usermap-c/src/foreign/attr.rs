//! `union bpf_attr`, filled in by a function that C called, for the bpf(2) seam.

use super::system::set_errno;
use crate::attr::{BYTES, word};
use crate::seam;
use libc::c_void;

/// The attribute of one call.
#[repr(align(8))]
pub(super) struct Attr([u8; BYTES]);

impl Attr {
    pub(super) fn new() -> Attr {
        Attr([0; BYTES])
    }

    pub(super) fn bytes(mut self, offset: usize, bytes: &[u8]) -> Attr {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(super) fn u32(self, offset: usize, field: u32) -> Attr {
        self.bytes(offset, &field.to_ne_bytes())
    }

    pub(super) fn u64(self, offset: usize, field: u64) -> Attr {
        self.bytes(offset, &field.to_ne_bytes())
    }

    pub(super) fn pointer(self, offset: usize, field: *const c_void) -> Attr {
        self.u64(offset, field as u64)
    }

    /// A field, after the call may have written it.
    pub(super) fn field(&self, offset: usize) -> u32 {
        word(&self.0, offset)
    }

    /// Runs the command; gives a descriptor or 0, or an error number.
    pub(super) fn call(&mut self, command: u32) -> Result<i32, i32> {
        // By way of a pointer to all of it, through which the command may write to it.
        let address = (&raw mut self.0) as u64;
        seam::bpf(command, address, BYTES as u32).map_err(|error| error.errno())
    }
}

/// What libbpf's functions return: a result, or a negative error number that errno gets, too.
pub(super) fn answer(result: Result<i32, i32>) -> i32 {
    result.unwrap_or_else(fail)
}

/// An error number to be returned.
#[cold]
pub(super) fn fail(errno: i32) -> i32 {
    set_errno(errno);
    -errno
}
