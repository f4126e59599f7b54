//! System calls past the C library, whose functions of these names are this library's own.

/// The system call of this number; gives its result, or a negative error number.
///
/// # Safety
///
/// That of the system call.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call(number: i64, arguments: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel changes these registers only, and what the caller answers for.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The system call of this number; gives its result, or a negative error number.
///
/// # Safety
///
/// That of the system call.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call(number: i64, arguments: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel changes this register only, and what the caller answers for.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// What a C function returns of a system call's result: -1, with the error in errno.
pub(crate) fn returned(result: i64) -> i32 {
    match i32::try_from(result) {
        Ok(value) if value >= 0 => value,
        _ => {
            set_errno(result.unsigned_abs() as i32);
            -1
        }
    }
}

/// Sets this thread's errno.
pub(crate) fn set_errno(errno: i32) {
    // SAFETY: the C library gives the address of this thread's own errno.
    unsafe { *libc::__errno_location() = errno };
}
