//! The kernel's own maps, through bpf(2), where it lets us.
#![expect(unsafe_code, reason = "there is no other way to a system call that libc does not wrap")]
use crate::raw::{Kind, Raw, Walk};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A map in the kernel.
pub struct Kernel {
    fd: OwnedFd,
    key_size: usize,
    value_bytes: usize,
}

const CREATE: i64 = 0;
const LOOKUP: i64 = 1;
const UPDATE: i64 = 2;
const DELETE: i64 = 3;
const NEXT_KEY: i64 = 4;
const TAKE: i64 = 21;
const LOOKUP_BATCH: i64 = 24;
const TAKE_BATCH: i64 = 25;
const UPDATE_BATCH: i64 = 26;
const DELETE_BATCH: i64 = 27;

/// `bpf_attr` of the commands on one element.
#[repr(C)]
struct Element {
    fd: u32,
    pad: u32,
    key: *const u8,
    value: *mut u8,
    flags: u64,
}

/// `bpf_attr` of the commands on many.
#[repr(C)]
struct Batch {
    token_in: *const u8,
    token_out: *mut u8,
    keys: *mut u8,
    values: *mut u8,
    count: u32,
    fd: u32,
    element_flags: u64,
    flags: u64,
}

/// # Safety
/// The pointers in `attr` are null or point to as many bytes as the command reads or writes there.
#[inline(always)]
unsafe fn bpf<T>(command: i64, attr: &mut T) -> Result<i64, i32> {
    let size = size_of::<T>();
    // SAFETY: `attr` is valid for `size` bytes, and for its pointers the caller answers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size) };
    if result >= 0 {
        return Ok(result);
    }
    Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// CPUs that the machine could have: the kernel gives a value for each.
fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    last.map_or(1, |last| last + 1)
}

impl Kernel {
    /// One element; `key` and `value` are empty or as long as the map's are.
    #[inline(always)]
    fn element(&self, command: i64, key: &[u8], value: *mut u8, size: usize, flags: u64) -> bool {
        assert!(key.is_empty() || key.len() == self.key_size);
        assert!(value.is_null() || size == self.value_bytes || command == NEXT_KEY);
        let key = if key.is_empty() { std::ptr::null() } else { key.as_ptr() };
        let fd = self.fd.as_raw_fd() as u32;
        let mut attr = Element { fd, pad: 0, key, value, flags };
        // SAFETY: the sizes were just compared; callers give a pointer that may be written to
        // wherever the command writes.
        unsafe { bpf(command, &mut attr) }.is_ok()
    }

    /// Many elements: how many, and the error.
    fn batch(
        &self,
        command: i64,
        tokens: (*const u8, *mut u8),
        keys: (*mut u8, usize),
        values: (*mut u8, usize),
        count: u32,
    ) -> (u32, Result<i64, i32>) {
        assert!(keys.1 >= count as usize * self.key_size);
        assert!(values.0.is_null() || values.1 >= count as usize * self.value_bytes);
        let mut attr = Batch {
            token_in: tokens.0,
            token_out: tokens.1,
            keys: keys.0,
            values: values.0,
            count,
            fd: self.fd.as_raw_fd() as u32,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: the sizes were just compared; tokens of these kinds of maps have 4 bytes and point
        // to 8; callers give pointers that may be written to wherever the command writes.
        let result = unsafe { bpf(command, &mut attr) };
        (attr.count, result)
    }
}

impl Raw for Kernel {
    const NAME: &'static str = "kernel_bpf";

    fn create(kind: Kind, key_size: u32, value_size: u32, max_entries: u32) -> Option<Self> {
        let map_type: u32 = match kind {
            Kind::Hash => 1,
            Kind::Array => 2,
            Kind::PerCpuHash => 5,
            Kind::PerCpuArray => 6,
            Kind::Queue => 22,
            Kind::Stack => 23,
            Kind::PerCpuQueue | Kind::PerCpuStack => return None,
        };
        let mut attr = [map_type, key_size, value_size, max_entries, 0];
        // SAFETY: this command takes no pointers.
        let fd = unsafe { bpf(CREATE, &mut attr) }.ok()? as RawFd;
        // SAFETY: the kernel has just made it for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let value_bytes = match kind {
            Kind::PerCpuHash | Kind::PerCpuArray => {
                value_size.next_multiple_of(8) as usize * possible_cpus()
            }
            _ => value_size as usize,
        };
        Some(Kernel { fd, key_size: key_size as usize, value_bytes })
    }
    fn value_bytes(&self) -> usize {
        self.value_bytes
    }
    fn lookup(&self, key: &[u8], value: &mut [u8]) -> bool {
        self.element(LOOKUP, key, value.as_mut_ptr(), value.len(), 0)
    }
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> bool {
        self.element(UPDATE, key, value.as_ptr().cast_mut(), value.len(), flags)
    }
    fn delete(&self, key: &[u8]) -> bool {
        self.element(DELETE, key, std::ptr::null_mut(), 0, 0)
    }
    fn lookup_and_delete(&self, key: &[u8], value: &mut [u8]) -> bool {
        self.element(TAKE, key, value.as_mut_ptr(), value.len(), 0)
    }
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> bool {
        assert!(next.len() >= self.key_size);
        self.element(NEXT_KEY, key.unwrap_or(&[]), next.as_mut_ptr(), next.len(), 0)
    }
    fn push(&self, value: &[u8], flags: u64) -> bool {
        self.update(&[], value, flags)
    }
    fn pop(&self, value: &mut [u8]) -> bool {
        self.lookup_and_delete(&[], value)
    }
    fn peek(&self, value: &mut [u8]) -> bool {
        self.lookup(&[], value)
    }

    fn lookup_batch(
        &self,
        walk: &mut Walk,
        keys: &mut [u8],
        values: &mut [u8],
        count: u32,
        delete: bool,
    ) -> Option<u32> {
        let command = if delete { TAKE_BATCH } else { LOOKUP_BATCH };
        let mut after = [0u8; 8];
        let before = walk.token.as_ref().map_or(std::ptr::null(), |token| token.as_ptr());
        let (keys, values) = ((keys.as_mut_ptr(), keys.len()), (values.as_mut_ptr(), values.len()));
        let (count, result) =
            self.batch(command, (before, after.as_mut_ptr()), keys, values, count);
        walk.token = Some(after);
        walk.done = result == Err(libc::ENOENT);
        (result.is_ok() || walk.done).then_some(count)
    }
    fn update_batch(&self, keys: &[u8], values: &[u8], count: u32) -> Option<u32> {
        let (keys, values) =
            ((keys.as_ptr().cast_mut(), keys.len()), (values.as_ptr().cast_mut(), values.len()));
        let none = (std::ptr::null(), std::ptr::null_mut());
        let (count, result) = self.batch(UPDATE_BATCH, none, keys, values, count);
        result.is_ok().then_some(count)
    }
    fn delete_batch(&self, keys: &[u8], count: u32) -> Option<u32> {
        let none = (std::ptr::null(), std::ptr::null_mut());
        let keys = (keys.as_ptr().cast_mut(), keys.len());
        let (count, result) =
            self.batch(DELETE_BATCH, none, keys, (std::ptr::null_mut(), 0), count);
        result.is_ok().then_some(count)
    }
}
