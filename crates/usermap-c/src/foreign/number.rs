//! Descriptors by number, as C gives them: nobody owns them here, and each may be closed at any
//! time. The kernel says of one that is not open EBADF.

use rustix::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use rustix::io::{Errno, Result};

/// A copy of a descriptor, with a number of at least `least`, closed on exec.
///
/// ```
/// use std::os::fd::AsRawFd;
/// use usermap_c::foreign::number::duplicate;
/// assert!(duplicate(1, 100).unwrap().as_raw_fd() >= 100);
/// assert!(duplicate(-1, 0).is_err());
/// ```
pub fn duplicate(fd: i32, least: i32) -> Result<OwnedFd> {
    with(fd, |fd| rustix::io::fcntl_dupfd_cloexec(fd, least))
}

/// Runs a system call with a descriptor that C named.
///
/// ```
/// use usermap_c::foreign::number::with;
/// let status = with(1, |fd| rustix::fs::fstat(fd));
/// assert!(status.is_ok());
/// ```
pub fn with<T>(fd: i32, call: impl FnOnce(BorrowedFd<'_>) -> Result<T>) -> Result<T> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the number is given to the kernel only, which says EBADF if it is not open, and is
    // not kept.
    call(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Gives a descriptor away to C: it is open until C closes it.
///
/// ```
/// use usermap_c::foreign::number::{duplicate, give};
/// let fd = give(duplicate(1, 0).unwrap());
/// assert!(duplicate(fd, 0).is_ok());
/// ```
pub fn give(fd: OwnedFd) -> i32 {
    fd.into_raw_fd()
}
