//! `union bpf_attr` as bytes: its size, its tail, its fields by offset.

use super::{Fault, Host, copy_in};
use crate::abi::errno;
use crate::error::{Error, Result};

/// `sizeof(union bpf_attr)` in Linux 6.18.
pub const ATTR_BYTES: usize = 168;

/// The kernel takes structures of at most a page.
const PAGE: usize = 4096;

/// A copy of the caller's attribute; what the caller left out is zero.
pub(super) struct Attr {
    bytes: [u8; ATTR_BYTES],
    address: u64,
    command: &'static str,
}

impl Attr {
    /// Copies the attribute, unless it is longer than this version knows and not zero there.
    pub(super) fn read<H: Host + ?Sized>(
        host: &H,
        command: u32,
        address: u64,
        size: u32,
    ) -> Result<Attr> {
        let mut attr = Attr { bytes: [0; ATTR_BYTES], address, command: name(command) };
        attr.check_tail(host, address, ATTR_BYTES, size)?;
        let size = ATTR_BYTES.min(size as usize);
        match copy_in(host, address, &mut attr.bytes[..size]) {
            Ok(()) => Ok(attr),
            Err(Fault) => Err(attr.fault()),
        }
    }

    /// `bpf_check_uarg_tail_zero`: what lies behind the `known` bytes of a structure must be zero.
    pub(super) fn check_tail<H: Host + ?Sized>(
        &self,
        host: &H,
        address: u64,
        known: usize,
        size: u32,
    ) -> Result<()> {
        let size = size as usize;
        if size > PAGE {
            return Err(self.refuse("a structure of more than 4096 bytes", errno::E2BIG));
        }
        let longer = size.saturating_sub(known);
        if longer == 0 {
            return Ok(());
        }
        let mut tail = vec![0; longer];
        match copy_in(host, address.wrapping_add(known as u64), &mut tail) {
            Err(Fault) => Err(self.fault()),
            Ok(()) if is_zero(&tail) => Ok(()),
            Ok(()) => Err(self.refuse("fields that this version does not know", errno::E2BIG)),
        }
    }

    /// `CHECK_ATTR`: the command's last field ends here, and the rest must be zero.
    pub(super) fn ends_at(&self, end: usize) -> Result<()> {
        match is_zero(&self.bytes[end..]) {
            true => Ok(()),
            false => {
                Err(self.refuse("fields are set that the command does not have", errno::EINVAL))
            }
        }
    }

    pub(super) fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.array(offset))
    }

    pub(super) fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.array(offset))
    }

    pub(super) fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        core::array::from_fn(|index| self.bytes[offset + index])
    }

    /// Writes a field back into the caller's attribute (`put_user`), however short that is.
    pub(super) fn put<H: Host + ?Sized>(
        &self,
        host: &H,
        offset: u64,
        field: u32,
    ) -> Result<(), Fault> {
        host.write(self.address.wrapping_add(offset), &field.to_ne_bytes())
    }

    pub(super) fn refuse(&self, rule: &'static str, errno: i32) -> Error {
        Error::Command { command: self.command, rule, errno }
    }

    pub(super) fn invalid(&self, rule: &'static str) -> Error {
        self.refuse(rule, errno::EINVAL)
    }

    pub(super) fn fault(&self) -> Error {
        self.refuse("the caller's memory cannot be accessed", errno::EFAULT)
    }
}

/// Copies a command's attribute from the caller's memory, as [`bpf`](super::bpf) does for its own
/// commands: what the caller left out is zero.
///
/// # Errors
///
/// EFAULT, and E2BIG for an attribute that is longer than this version knows and not zero there.
///
/// ```
/// use usermap::command::{ATTR_BYTES, BadFd, Fault, Host, attribute};
/// use usermap::{Map, Result};
///
/// /// Memory that is 7 everywhere.
/// struct Sevens;
///
/// impl Host for Sevens {
///     fn read(&self, _: u64, bytes: &mut [u8]) -> Result<(), Fault> {
///         bytes.fill(7);
///         Ok(())
///     }
///     fn write(&self, _: u64, _: &[u8]) -> Result<(), Fault> {
///         Err(Fault)
///     }
///     fn map(&self, _: i32) -> Result<Map, BadFd> {
///         Err(BadFd::NotOpen)
///     }
///     fn install(&self, _: Map) -> Result<i32> {
///         unreachable!("nothing here creates maps")
///     }
/// }
///
/// let attr = attribute(&Sevens, 18, 4096, 4)?;
/// assert_eq!(attr[..5], [7, 7, 7, 7, 0]);
/// assert_eq!(attribute(&Sevens, 18, 4096, ATTR_BYTES as u32 + 1).unwrap_err().errno(), 7); // E2BIG
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn attribute<H: Host + ?Sized>(
    host: &H,
    command: u32,
    address: u64,
    size: u32,
) -> Result<[u8; ATTR_BYTES]> {
    Ok(Attr::read(host, command, address, size)?.bytes)
}

/// A command's name in `enum bpf_cmd`; `bpf(2)` for a number that has none.
///
/// ```
/// assert_eq!(usermap::command::name(0), "BPF_MAP_CREATE");
/// assert_eq!(usermap::command::name(1000), "bpf(2)");
/// ```
pub fn name(command: u32) -> &'static str {
    NAMES.get(command as usize).copied().unwrap_or("bpf(2)")
}

/// `enum bpf_cmd`, in its order.
const NAMES: [&str; 38] = [
    "BPF_MAP_CREATE",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_UPDATE_ELEM",
    "BPF_MAP_DELETE_ELEM",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_PROG_LOAD",
    "BPF_OBJ_PIN",
    "BPF_OBJ_GET",
    "BPF_PROG_ATTACH",
    "BPF_PROG_DETACH",
    "BPF_PROG_TEST_RUN",
    "BPF_PROG_GET_NEXT_ID",
    "BPF_MAP_GET_NEXT_ID",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_MAP_GET_FD_BY_ID",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_PROG_QUERY",
    "BPF_RAW_TRACEPOINT_OPEN",
    "BPF_BTF_LOAD",
    "BPF_BTF_GET_FD_BY_ID",
    "BPF_TASK_FD_QUERY",
    "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    "BPF_MAP_FREEZE",
    "BPF_BTF_GET_NEXT_ID",
    "BPF_MAP_LOOKUP_BATCH",
    "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
    "BPF_MAP_UPDATE_BATCH",
    "BPF_MAP_DELETE_BATCH",
    "BPF_LINK_CREATE",
    "BPF_LINK_UPDATE",
    "BPF_LINK_GET_FD_BY_ID",
    "BPF_LINK_GET_NEXT_ID",
    "BPF_ENABLE_STATS",
    "BPF_ITER_CREATE",
    "BPF_LINK_DETACH",
    "BPF_PROG_BIND_MAP",
    "BPF_TOKEN_CREATE",
    "BPF_PROG_STREAM_READ_BY_FD",
];

/// Without a branch for every byte: an attribute is mostly zeros.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |any, byte| any | byte) == 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::bpf;
    use super::super::tests::{BASE, Mock};
    use super::*;
    use crate::abi::command::{MAP_CREATE, MAP_DELETE_ELEM, MAP_FREEZE, OBJ_GET_INFO_BY_FD};

    /// The errno of a command whose attribute has one byte set.
    fn verdict(command: u32, size: u32, set: Option<usize>) -> i32 {
        let host = Mock::new(8192);
        if let Some(set) = set {
            host.write(BASE + set as u64, &[1]).unwrap();
        }
        bpf(&host, command, BASE, size).unwrap_err().errno()
    }

    #[test]
    fn sizes_and_tails() {
        // An all-zero attribute: descriptor 0 is not open.
        for (size, set, errno) in [
            (0, None, errno::EBADF),
            (4, None, errno::EBADF),
            (168, None, errno::EBADF),
            (4096, None, errno::EBADF),
            (4097, None, errno::E2BIG),
            (u32::MAX, None, errno::E2BIG),
            (168, Some(168), errno::EBADF),
            (169, Some(168), errno::E2BIG),
            (4096, Some(4095), errno::E2BIG),
            (168, Some(4), errno::EINVAL),
            (168, Some(167), errno::EINVAL),
            (8, Some(8), errno::EBADF),
        ] {
            assert_eq!(verdict(MAP_FREEZE, size, set), errno, "size {size}, byte {set:?}");
        }
        assert_eq!(verdict(MAP_DELETE_ELEM, 168, Some(16)), errno::EINVAL);
        assert_eq!(verdict(MAP_DELETE_ELEM, 168, Some(4)), errno::EBADF, "padding");
        assert_eq!(verdict(OBJ_GET_INFO_BY_FD, 168, None), errno::EBADFD);
    }

    #[test]
    fn sizes_come_before_commands() {
        for command in [5, 40, u32::MAX] {
            assert_eq!(verdict(command, 168, None), errno::EINVAL);
            assert_eq!(verdict(command, 5000, None), errno::E2BIG);
        }
    }

    #[test]
    fn attributes_out_of_reach() {
        let host = Mock::new(128);
        for (address, size) in [(0, 4), (BASE + 100, 64), (BASE, 168), (u64::MAX, 168)] {
            let error = bpf(&host, MAP_CREATE, address, size).unwrap_err();
            assert_eq!(error.errno(), errno::EFAULT, "{address:#x}");
            assert!(error.to_string().starts_with("BPF_MAP_CREATE: "), "{error}");
        }
    }
}
