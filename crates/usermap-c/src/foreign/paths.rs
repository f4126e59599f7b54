//! The functions that take paths. For a wrapped program the paths below a bpf file system are in
//! the default folder, and what /proc says of descriptors of usermap's is what it would say of
//! the kernel's. Everything else goes to the C library's own function.

use super::interpose::{Mode, mode};
use super::system::set_errno;
use crate::{bpffs, process};
use libc::{c_char, c_int, c_long, c_uint, c_void, dev_t, mode_t, size_t, ssize_t};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The next function of a name, behind this library: the C library's.
struct Next {
    /// Ends with a NUL.
    name: &'static str,
    address: AtomicUsize,
}

impl Next {
    const fn new(name: &'static str) -> Next {
        Next { name, address: AtomicUsize::new(0) }
    }

    fn address(&self) -> usize {
        match self.address.load(Relaxed) {
            0 => {
                // SAFETY: the name ends with a NUL.
                let found =
                    unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr().cast()) } as usize;
                // Nobody calls a function that the C library lacks.
                assert!(found != 0, "the C library has no {:?}", self.name);
                self.address.store(found, Relaxed);
                found
            }
            known => known,
        }
    }
}

/// The path that is meant, if it is another one.
///
/// # Safety
///
/// `path` is NULL or a string that ends with a NUL.
unsafe fn elsewhere(path: *const c_char) -> Option<CString> {
    if mode() == Mode::Linked || path.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    CString::new(bpffs::place(path)?.into_os_string().into_vec()).ok()
}

/// Functions that do with another path what they do with any.
macro_rules! follow {
    ($(fn $name:ident($([$first:ident: $first_type:ty])? path $(, $rest:ident: $type:ty)*) -> $result:ty;)*) => {$(
        /// The C library's, for a wrapped program with its own folder for bpf file systems.
        ///
        /// # Safety
        ///
        /// That of the C library's function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($first: $first_type,)? path: *const c_char $(, $rest: $type)*) -> $result {
            static NEXT: Next = Next::new(concat!(stringify!($name), "\0"));
            type Function = unsafe extern "C" fn($($first_type,)? *const c_char $(, $type)*) -> $result;
            // SAFETY: the C library's function of this name has this type, and gets what the caller
            // gave, or another string for the path.
            unsafe {
                let next: Function = std::mem::transmute(NEXT.address());
                let other = elsewhere(path);
                next($($first,)? other.as_deref().map_or(path, CStr::as_ptr) $(, $rest)*)
            }
        }
    )*};
}

follow! {
    fn opendir(path) -> *mut c_void;
    fn stat(path, buffer: *mut c_void) -> c_int;
    fn stat64(path, buffer: *mut c_void) -> c_int;
    fn lstat(path, buffer: *mut c_void) -> c_int;
    fn lstat64(path, buffer: *mut c_void) -> c_int;
    fn fstatat([folder: c_int] path, buffer: *mut c_void, flags: c_int) -> c_int;
    fn fstatat64([folder: c_int] path, buffer: *mut c_void, flags: c_int) -> c_int;
    fn statx([folder: c_int] path, flags: c_int, mask: c_uint, buffer: *mut c_void) -> c_int;
    fn access(path, mode: c_int) -> c_int;
    fn faccessat([folder: c_int] path, mode: c_int, flags: c_int) -> c_int;
    fn mkdir(path, mode: mode_t) -> c_int;
    fn mkdirat([folder: c_int] path, mode: mode_t) -> c_int;
    fn mknod(path, mode: mode_t, device: dev_t) -> c_int;
    fn rmdir(path) -> c_int;
    fn unlink(path) -> c_int;
    fn unlinkat([folder: c_int] path, flags: c_int) -> c_int;
    fn remove(path) -> c_int;
    fn chmod(path, mode: mode_t) -> c_int;
    fn chdir(path) -> c_int;
    fn realpath(path, resolved: *mut c_char) -> *mut c_char;
    fn __realpath_chk(path, resolved: *mut c_char, length: size_t) -> *mut c_char;
    fn pathconf(path, name: c_int) -> c_long;
}

/// Functions that open files: by a path in another place, or what /proc says of a descriptor.
macro_rules! open {
    ($(fn $name:ident($([$first:ident: $first_type:ty])? path, flags $(, $rest:ident: $type:ty)?);)*) => {$(
        /// The C library's, for a wrapped program with its own folder for bpf file systems.
        ///
        /// # Safety
        ///
        /// That of the C library's function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($first: $first_type,)? path: *const c_char, flags: c_int $(, $rest: $type)?) -> c_int {
            static NEXT: Next = Next::new(concat!(stringify!($name), "\0"));
            // What C declares as variable arguments goes into the same registers.
            type Function = unsafe extern "C" fn($($first_type,)? *const c_char, c_int $(, $type)?) -> c_int;
            // SAFETY: as for the functions above.
            unsafe {
                if let Some(fd) = described(path) {
                    return fd;
                }
                let next: Function = std::mem::transmute(NEXT.address());
                let other = elsewhere(path);
                next($($first,)? other.as_deref().map_or(path, CStr::as_ptr), flags $(, $rest)?)
            }
        }
    )*};
}

open! {
    fn open(path, flags, mode: mode_t);
    fn open64(path, flags, mode: mode_t);
    fn openat([folder: c_int] path, flags, mode: mode_t);
    fn openat64([folder: c_int] path, flags, mode: mode_t);
    fn __open_2(path, flags);
    fn __open64_2(path, flags);
    fn __openat_2([folder: c_int] path, flags);
    fn __openat64_2([folder: c_int] path, flags);
}

/// A descriptor to read what /proc would say of an object of usermap's.
///
/// # Safety
///
/// `path` is NULL or a string that ends with a NUL.
unsafe fn described(path: *const c_char) -> Option<c_int> {
    if mode() == Mode::Linked || path.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let fd = process::named_fd(unsafe { CStr::from_ptr(path) }.to_bytes(), b"fdinfo/")?;
    process::description(fd)
}

type Fopen = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut libc::FILE;

/// # Safety
///
/// That of fopen(3).
unsafe fn fopen_by(next: &Next, path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    // SAFETY: as the caller says; `next` is one of the two functions of this type.
    unsafe {
        if let Some(fd) = described(path) {
            return libc::fdopen(fd, mode);
        }
        let other = elsewhere(path);
        let next: Fopen = std::mem::transmute(next.address());
        next(other.as_deref().map_or(path, CStr::as_ptr), mode)
    }
}

/// fopen(3)
///
/// # Safety
///
/// That of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    static NEXT: Next = Next::new("fopen\0");
    // SAFETY: as the caller says.
    unsafe { fopen_by(&NEXT, path, mode) }
}

/// fopen64(3)
///
/// # Safety
///
/// That of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    static NEXT: Next = Next::new("fopen64\0");
    // SAFETY: as the caller says.
    unsafe { fopen_by(&NEXT, path, mode) }
}

type Rename = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;

/// rename(2)
///
/// # Safety
///
/// That of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(old: *const c_char, new: *const c_char) -> c_int {
    static NEXT: Next = Next::new("rename\0");
    // SAFETY: the C library's function has this type, and gets strings.
    unsafe {
        let next: Rename = std::mem::transmute(NEXT.address());
        let (from, to) = (elsewhere(old), elsewhere(new));
        let or = |other: &Option<CString>, path| other.as_deref().map_or(path, CStr::as_ptr);
        next(or(&from, old), or(&to, new))
    }
}

/// What a link of /proc says of a descriptor of usermap's.
///
/// # Safety
///
/// `path` is NULL or a string that ends with a NUL; there is room for `size` bytes at `buffer`.
unsafe fn link(path: *const c_char, buffer: *mut c_char, size: size_t) -> Option<ssize_t> {
    if mode() == Mode::Linked || path.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let fd = process::named_fd(unsafe { CStr::from_ptr(path) }.to_bytes(), b"fd/")?;
    let name = process::link(fd)?.as_bytes();
    if size == 0 {
        set_errno(libc::EINVAL);
        return Some(-1);
    }
    let length = name.len().min(size);
    // SAFETY: as the caller says.
    unsafe { buffer.copy_from_nonoverlapping(name.as_ptr().cast(), length) };
    Some(length as ssize_t)
}

/// Functions that read links.
macro_rules! readlink {
    ($(fn $name:ident($([$first:ident: $first_type:ty])? path, buffer, size $(, $rest:ident: $type:ty)?);)*) => {$(
        /// The C library's, and for a wrapped program what the kernel says of objects.
        ///
        /// # Safety
        ///
        /// That of the C library's function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($first: $first_type,)? path: *const c_char, buffer: *mut c_char, size: size_t $(, $rest: $type)?) -> ssize_t {
            static NEXT: Next = Next::new(concat!(stringify!($name), "\0"));
            type Function = unsafe extern "C" fn($($first_type,)? *const c_char, *mut c_char, size_t $(, $type)?) -> ssize_t;
            // SAFETY: as for the functions above.
            unsafe {
                if let Some(length) = link(path, buffer, size) {
                    return length;
                }
                let next: Function = std::mem::transmute(NEXT.address());
                let other = elsewhere(path);
                next($($first,)? other.as_deref().map_or(path, CStr::as_ptr), buffer, size $(, $rest)?)
            }
        }
    )*};
}

readlink! {
    fn readlink(path, buffer, size);
    fn readlinkat([folder: c_int] path, buffer, size);
    fn __readlink_chk(path, buffer, size, room: size_t);
    fn __readlinkat_chk([folder: c_int] path, buffer, size, room: size_t);
}

/// Functions that tell a file system's kind.
macro_rules! statfs {
    ($(fn $name:ident($path:ident: $type:ty), $of:ty, $is_bpf:expr;)*) => {$(
        /// The C library's; for a wrapped program the default folder is a bpf file system.
        ///
        /// # Safety
        ///
        /// That of the C library's function.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($path: $type, buffer: *mut $of) -> c_int {
            static NEXT: Next = Next::new(concat!(stringify!($name), "\0"));
            type Function = unsafe extern "C" fn($type, *mut $of) -> c_int;
            // SAFETY: the C library's function has this type; it fills the buffer in where it gives 0.
            unsafe {
                let next: Function = std::mem::transmute(NEXT.address());
                let (place, is_bpf, _other): ($type, bool, Option<CString>) = $is_bpf($path);
                let result = next(place, buffer);
                if result == 0 && is_bpf {
                    (*buffer).f_type = bpffs::MAGIC as _;
                }
                result
            }
        }
    )*};
}

/// # Safety
///
/// `path` is NULL or a string that ends with a NUL.
unsafe fn by_path(path: *const c_char) -> (*const c_char, bool, Option<CString>) {
    // SAFETY: as the caller says.
    let other = unsafe { elsewhere(path) };
    (other.as_deref().map_or(path, CStr::as_ptr), other.is_some(), other)
}

fn by_fd(fd: c_int) -> (c_int, bool, Option<CString>) {
    let is_bpf = mode() != Mode::Linked
        && rustix::fs::readlink(format!("/proc/self/fd/{fd}"), Vec::new()).is_ok_and(|path| {
            bpffs::is_inside(std::path::Path::new(&std::ffi::OsString::from_vec(path.into_bytes())))
        });
    (fd, is_bpf, None)
}

statfs! {
    fn statfs(path: *const c_char), libc::statfs, by_path;
    fn statfs64(path: *const c_char), libc::statfs64, by_path;
    fn fstatfs(fd: c_int), libc::statfs, by_fd;
    fn fstatfs64(fd: c_int), libc::statfs64, by_fd;
}
