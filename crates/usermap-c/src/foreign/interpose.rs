//! The system calls that make an unmodified program's bpf(2) usermap's: `syscall` itself, and mmap
//! and its like on maps' descriptors.
//!
//! Linked into a program (which is the default), usermap answers for its own descriptors only, and
//! everything else goes to the kernel as if this were not here. With `USERMAP_WRAP` in the
//! environment, as `usermap wrap` sets it, it answers every bpf(2) call. Which it is is decided
//! when the library is loaded.
//!
//! These functions may be called at any time: by the loader, in signal handlers, after a fork. What
//! is not usermap's goes straight to the kernel, without a lock and without taking memory.

use super::system::{call, set_errno};
use super::{element, mappings};
use crate::seam;
use libc::{c_int, c_long, c_void, off_t, size_t};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whose bpf(2) is usermap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only what concerns usermap's own descriptors.
    Linked,
    /// All of it.
    Wrapped,
    /// All that usermap does not refuse.
    PassThrough,
}

/// 0 is undecided.
static MODE: AtomicU8 = AtomicU8::new(0);

/// What this process was started as.
///
/// ```
/// use usermap_c::foreign::interpose::{Mode, mode};
/// assert_eq!(mode(), Mode::Linked);
/// ```
#[inline]
pub fn mode() -> Mode {
    match MODE.load(Relaxed) {
        0 => decide(),
        1 => Mode::Linked,
        2 => Mode::Wrapped,
        _ => Mode::PassThrough,
    }
}

#[cold]
fn decide() -> Mode {
    // SAFETY: the name ends with a NUL; what is found is read at once. The loader calls this before
    // the program has threads that could change the environment.
    let value = unsafe {
        let value = libc::getenv(c"USERMAP_WRAP".as_ptr());
        (!value.is_null()).then(|| std::ffi::CStr::from_ptr(value).to_bytes())
    };
    let (number, mode) = match value {
        None | Some(b"" | b"0") => (1, Mode::Linked),
        Some(b"passthrough") => (3, Mode::PassThrough),
        Some(_) => (2, Mode::Wrapped),
    };
    MODE.store(number, Relaxed);
    mode
}

/// Run by the loader, before the program.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn at_start() {
        decide();
    }
    at_start
};

/// syscall(2): bpf(2) is usermap's, everything else the kernel's.
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    f: u64,
) -> c_long {
    match number {
        libc::SYS_bpf => return bpf(a as u32, b, c as u32),
        libc::SYS_close => return super::interpose_close::close(a as c_int).into(),
        _ => {}
    }
    // SAFETY: as the caller says.
    result(unsafe { call(number, [a, b, c, d, e, f]) })
}

/// What a C function returns of a system call's result.
fn result(value: i64) -> c_long {
    match value {
        -4095..=-1 => {
            set_errno(-value as i32);
            -1
        }
        value => value,
    }
}

#[inline]
fn bpf(command: u32, attr: u64, size: u32) -> c_long {
    // What programs do most, if nothing about it is unusual and nobody wants to read of it.
    if !seam::is_logged()
        && let Some(answer) = element::by_attribute(command, attr, size)
    {
        return answer.map_or_else(|errno| result((-errno).into()), c_long::from);
    }
    any(mode(), command, attr, size)
}

fn any(mode: Mode, command: u32, attr: u64, size: u32) -> c_long {
    if mode == Mode::Linked && !seam::is_ours(command, attr, size) {
        return to_kernel(command, attr, size);
    }
    match seam::bpf(command, attr, size) {
        Ok(value) => value.into(),
        Err(_) if mode == Mode::PassThrough && !seam::is_ours(command, attr, size) => {
            to_kernel(command, attr, size)
        }
        Err(error) => {
            set_errno(error.errno());
            -1
        }
    }
}

fn to_kernel(command: u32, attr: u64, size: u32) -> c_long {
    // SAFETY: the caller of bpf(2) answers for its attribute, and the kernel checks its addresses.
    result(unsafe { call(libc::SYS_bpf, [command.into(), attr, size.into(), 0, 0, 0]) })
}

/// mmap(2), which gives the values of a map's descriptor.
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    let request = mappings::Request {
        address: address as u64,
        length: length as u64,
        protection,
        flags,
        fd,
        offset: offset as u64,
    };
    // SAFETY: as the caller says.
    let mapped = unsafe { mappings::map(&request) };
    result(mapped) as *mut c_void
}

/// mmap64(3)
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap64(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: as the caller says.
    unsafe { mmap(address, length, protection, flags, fd, offset) }
}

/// munmap(2)
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn munmap(address: *mut c_void, length: size_t) -> c_int {
    // SAFETY: as the caller says.
    let done = unsafe { call(libc::SYS_munmap, [address as u64, length as u64, 0, 0, 0, 0]) };
    if done == 0 {
        mappings::unmapped(address as u64, length as u64);
    }
    result(done) as c_int
}

/// mremap(2)
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mremap(
    address: *mut c_void,
    length: size_t,
    new_length: size_t,
    flags: c_int,
    target: *mut c_void,
) -> *mut c_void {
    let arguments =
        [address as u64, length as u64, new_length as u64, flags as u64, target as u64, 0];
    // SAFETY: as the caller says.
    let moved = unsafe { call(libc::SYS_mremap, arguments) };
    if !(-4095..0).contains(&moved) {
        mappings::moved(address as u64, length as u64, moved as u64, new_length as u64);
    }
    result(moved) as *mut c_void
}
