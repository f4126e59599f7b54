//! The structures with options of libbpf's functions, which grow from version to version: each
//! begins with its size as its user was compiled. What is longer than is known here must be zero
//! there, and what is shorter is zero where it ends (libbpf's `OPTS_VALID` and `OPTS_GET`).

use super::memory;
use crate::attr::{long, word};
use libc::c_void;
use usermap::abi::errno;

/// A copy of the caller's options.
pub(super) struct Options<const N: usize> {
    bytes: [u8; N],
}

/// The size comes first.
const SIZE: usize = size_of::<usize>();

impl<const N: usize> Options<N> {
    /// Options whose last field ends at byte `N`; NULL is none of them.
    pub(super) fn read(options: *const c_void) -> Result<Options<N>, i32> {
        let mut known = Options { bytes: [0; N] };
        if options.is_null() {
            return Ok(known);
        }
        let address = options as u64;
        let fault = |_| errno::EFAULT;
        let mut size = [0; SIZE];
        memory::read(address, &mut size).map_err(fault)?;
        let size = usize::from_ne_bytes(size);
        if size < SIZE {
            return Err(errno::EINVAL);
        }
        memory::read(address, &mut known.bytes[..size.min(N)]).map_err(fault)?;
        let mut at = N;
        while at < size {
            let mut rest = [0; 64];
            let rest = &mut rest[..(size - at).min(64)];
            memory::read(address + at as u64, rest).map_err(fault)?;
            if rest.iter().any(|byte| *byte != 0) {
                return Err(errno::EINVAL);
            }
            at += rest.len();
        }
        Ok(known)
    }

    /// A field at its offset.
    pub(super) fn u32(&self, offset: usize) -> u32 {
        word(&self.bytes, offset)
    }

    /// A field at its offset.
    pub(super) fn u64(&self, offset: usize) -> u64 {
        long(&self.bytes, offset)
    }
}
