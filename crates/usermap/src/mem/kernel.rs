//! Maps of the running kernel, by bpf(2): what usermap's maps are compared with.

use crate::abi::{MapType, command, errno};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::io;

/// A map of the running kernel: to measure usermap against, or to see the same calls answered.
///
/// It needs a kernel that lets this process make maps (root, CAP_BPF); errors are bpf(2)'s.
///
/// ```
/// use usermap::{KernelMap, MapType};
/// let map = match KernelMap::create(MapType::Hash, 4, 8, 16) {
///     Ok(map) => map,
///     Err(error) => return println!("no maps of the kernel here: {error}"),
/// };
/// map.update(&[1; 4], &[2; 8], 0).unwrap();
/// let mut value = [0; 8];
/// map.lookup(&[1; 4], &mut value).unwrap();
/// assert_eq!(value, [2; 8]);
/// ```
#[derive(Debug)]
pub struct KernelMap {
    fd: OwnedFd,
    key_size: usize,
    value_bytes: usize,
}

/// The start of `union bpf_attr`, as long as these commands need it.
#[repr(C, align(8))]
struct Attr([u32; 32]);

impl Attr {
    fn new(fields: &[u32]) -> Attr {
        let mut attr = Attr([0; 32]);
        attr.0[..fields.len()].copy_from_slice(fields);
        attr
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        let bytes = value.to_ne_bytes();
        for (word, bytes) in self.0[at..].iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(core::array::from_fn(|index| bytes[index]));
        }
    }

    /// # Safety
    ///
    /// The addresses in the attribute lead to as much memory as the command reads or writes there,
    /// and nothing else uses what it writes.
    unsafe fn call(&mut self, command: u32) -> io::Result<i32> {
        let size = size_of::<Attr>();
        // SAFETY: the attribute is `size` bytes of this frame; for what it points to the caller
        // answers.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size) };
        match i32::try_from(result) {
            Ok(result) if result >= 0 => Ok(result),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl KernelMap {
    /// A new map of the kernel, without flags.
    ///
    /// # Errors
    ///
    /// bpf(2)'s: EPERM where this process may not, ENOSYS where there is no bpf(2).
    pub fn create(
        map_type: MapType,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    ) -> io::Result<KernelMap> {
        let mut attr = Attr::new(&[map_type as u32, key_size, value_size, max_entries]);
        // SAFETY: the attribute holds no address.
        let fd = unsafe { attr.call(command::MAP_CREATE) }?;
        // SAFETY: the kernel just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let value_bytes = match map_type.is_per_cpu() {
            false => value_size as usize,
            true => {
                value_size.next_multiple_of(8) as usize * super::process::possible_cpus() as usize
            }
        };
        Ok(KernelMap { fd, key_size: key_size as usize, value_bytes })
    }

    /// Bytes of a value as calls move it.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// `BPF_MAP_LOOKUP_ELEM`: copies the value out. For queues and stacks (no key): peeks.
    ///
    /// # Errors
    ///
    /// bpf(2)'s; EINVAL if key or value have another size.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        self.check(key, value)?;
        // SAFETY: as long as the kernel reads and writes, just checked; the value is borrowed for us.
        unsafe { self.element(command::MAP_LOOKUP_ELEM, key.as_ptr(), value.as_mut_ptr(), 0) }
    }

    /// `BPF_MAP_UPDATE_ELEM`. For queues and stacks (no key): pushes.
    ///
    /// # Errors
    ///
    /// As [`lookup`](KernelMap::lookup).
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        self.check(key, value)?;
        let value = value.as_ptr().cast_mut();
        // SAFETY: as long as the kernel reads, just checked; it writes nothing.
        unsafe { self.element(command::MAP_UPDATE_ELEM, key.as_ptr(), value, flags) }
    }

    /// `BPF_MAP_DELETE_ELEM`
    ///
    /// # Errors
    ///
    /// As [`lookup`](KernelMap::lookup).
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        let null = core::ptr::null_mut();
        self.check_key(key)?;
        // SAFETY: as long as the kernel reads, just checked; it looks at no value.
        unsafe { self.element(command::MAP_DELETE_ELEM, key.as_ptr(), null, 0) }
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`. For queues and stacks (no key): pops.
    ///
    /// # Errors
    ///
    /// As [`lookup`](KernelMap::lookup).
    pub fn lookup_and_delete(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        self.check(key, value)?;
        let operation = command::MAP_LOOKUP_AND_DELETE_ELEM;
        // SAFETY: as long as the kernel reads and writes, just checked; the value is borrowed for us.
        unsafe { self.element(operation, key.as_ptr(), value.as_mut_ptr(), 0) }
    }

    /// `BPF_MAP_UPDATE_BATCH`: keys and values one behind the other.
    ///
    /// # Errors
    ///
    /// As [`lookup`](KernelMap::lookup).
    pub fn update_batch(&self, keys: &[u8], values: &[u8]) -> io::Result<()> {
        let count = keys.len().checked_div(self.key_size).unwrap_or(0);
        if keys.len() != count * self.key_size || values.len() != count * self.value_bytes {
            return Err(io::Error::from_raw_os_error(errno::EINVAL));
        }
        let mut attr = Attr::new(&[]);
        attr.set_u64(4, keys.as_ptr().addr() as u64);
        attr.set_u64(6, values.as_ptr().addr() as u64);
        attr.0[8] = count as u32;
        attr.0[9] = self.fd.as_raw_fd() as u32;
        // SAFETY: `count` keys and values are there, just checked; the kernel writes only `count`.
        unsafe { attr.call(command::MAP_UPDATE_BATCH) }.map(|_| ())
    }

    fn check_key(&self, key: &[u8]) -> io::Result<()> {
        let fits = key.len() == self.key_size;
        if fits { Ok(()) } else { Err(io::Error::from_raw_os_error(errno::EINVAL)) }
    }

    fn check(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check_key(key)?;
        let fits = value.len() == self.value_bytes;
        if fits { Ok(()) } else { Err(io::Error::from_raw_os_error(errno::EINVAL)) }
    }

    /// # Safety
    ///
    /// Key and value are as long as the map's, and what the command writes is the caller's alone.
    unsafe fn element(
        &self,
        operation: u32,
        key: *const u8,
        value: *mut u8,
        flags: u64,
    ) -> io::Result<()> {
        let mut attr = Attr::new(&[self.fd.as_raw_fd() as u32]);
        // The kernel wants no pointer where there is no key.
        let key = if self.key_size == 0 { 0 } else { key.addr() as u64 };
        attr.set_u64(2, key);
        attr.set_u64(4, value.addr() as u64);
        attr.set_u64(6, flags);
        // SAFETY: by the contract of this function.
        unsafe { attr.call(operation) }.map(|_| ())
    }
}
