//! The C library's functions that close descriptors, so that a number that is closed and used
//! again for another file never reaches the map that it was.
//!
//! A call that fails, or closes nothing after all, costs no more than a second look at the number.
//! A program that makes the system call itself goes past all this.

use super::system::{call, returned};
use crate::descriptor;
use libc::{c_int, c_uint};
use std::ops::RangeInclusive;

/// Runs a system call that closes these numbers.
///
/// # Safety
///
/// That of the system call.
unsafe fn closing(numbers: RangeInclusive<i32>, number: i64, arguments: [u64; 6]) -> c_int {
    // SAFETY: as the caller says.
    returned(descriptor::while_closing(numbers, || unsafe { call(number, arguments) }))
}

fn words<const N: usize>(arguments: [i64; N]) -> [u64; 6] {
    let mut words = [0; 6];
    for (word, argument) in words.iter_mut().zip(arguments) {
        *word = argument as u64;
    }
    words
}

/// close(2)
#[unsafe(no_mangle)]
pub extern "C" fn close(fd: c_int) -> c_int {
    // SAFETY: whose descriptor that is, is for the caller to know.
    unsafe { closing(fd..=fd, libc::SYS_close, words([fd.into()])) }
}

/// close_range(2), but for the descriptors that maps which stay open keep for themselves.
#[unsafe(no_mangle)]
pub extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    // SAFETY: whose descriptors these are, is for the caller to know.
    let close = |first: u32, last: u32| unsafe {
        call(libc::SYS_close_range, words([first.into(), last.into(), flags.into()]))
    };
    let number = |number: c_uint| i32::try_from(number).unwrap_or(i32::MAX);
    returned(descriptor::while_closing(number(first)..=number(last), || {
        let mut next = first;
        for kept in descriptor::kept().into_iter().filter(|kept| (first..=last).contains(kept)) {
            if next < kept && close(next, kept - 1) < 0 {
                break;
            }
            next = kept + 1;
        }
        // The end also tells of what is wrong with the arguments.
        if next <= last || next == first { close(next, last) } else { 0 }
    }))
}

/// closefrom(3), with what it does where the kernel cannot close ranges.
#[unsafe(no_mangle)]
pub extern "C" fn closefrom(first: c_int) {
    let first = first.max(0);
    if close_range(first as c_uint, c_uint::MAX, 0) == 0 {
        return;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let end = limit.and_then(|limit| i32::try_from(limit).ok()).unwrap_or(i32::MAX);
    (first..end).for_each(|fd| {
        close(fd);
    });
}

/// dup2(2)
#[unsafe(no_mangle)]
pub extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if old == new {
        // dup3 refuses what is nothing to do here.
        let arguments = words([old.into(), libc::F_GETFD.into()]);
        // SAFETY: it changes nothing.
        let found = returned(unsafe { call(libc::SYS_fcntl, arguments) });
        return if found < 0 { found } else { new };
    }
    dup3(old, new, 0)
}

/// dup3(2)
#[unsafe(no_mangle)]
pub extern "C" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    let arguments = words([old.into(), new.into(), flags.into()]);
    // SAFETY: whose descriptors these are, is for the caller to know.
    unsafe { closing(new..=new, libc::SYS_dup3, arguments) }
}

/// fclose(3), of a stream on a map's descriptor.
///
/// # Safety
///
/// `stream` is an open stream.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fclose(stream: *mut libc::FILE) -> c_int {
    unsafe extern "C" {
        /// What fclose(3) is called besides.
        fn _IO_fclose(stream: *mut libc::FILE) -> c_int;
    }
    // SAFETY: the stream is open, as the caller says.
    let fd = unsafe { libc::fileno(stream) };
    // SAFETY: as above; it is not used after this.
    descriptor::while_closing(fd..=fd, || unsafe { _IO_fclose(stream) })
}
