//! Programs in the real kernel, through bpf(2): the only unsafe code of these tests. Programs are
//! loaded and run by `BPF_PROG_TEST_RUN`; none is ever attached to anything.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use usermap_vm::instruction::Instruction;

const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;
const PROG_TEST_RUN: u32 = 10;
/// A type whose context is any bytes.
const TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;

/// `union bpf_attr`; the rest stays zero.
#[repr(C, align(8))]
struct Attributes([u8; 160]);

impl Attributes {
    fn new() -> Attributes {
        Attributes([0; 160])
    }

    fn u32(mut self, offset: usize, value: u32) -> Attributes {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Attributes {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// # Safety
    ///
    /// Pointers in it must be good for what the command does with them.
    unsafe fn call(&mut self, command: u32) -> std::io::Result<i32> {
        // SAFETY: the attributes are as long as we say; the caller vouches for the rest.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len() as u32)
        };
        match result {
            0.. => Ok(result as i32),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

/// Why the kernel took no program.
pub struct Refused {
    pub error: std::io::Error,
    /// What the verifier said.
    pub log: String,
}

/// A program in the kernel.
pub struct Loaded {
    fd: OwnedFd,
    /// What the verifier said: all instructions that it went through, if it was asked for.
    pub log: String,
}

/// A map in the kernel: type, sizes of keys and values, entries, flags.
pub fn map(numbers: [u32; 5]) -> std::io::Result<OwnedFd> {
    let mut attributes = Attributes::new();
    for (place, number) in numbers.into_iter().enumerate() {
        attributes = attributes.u32(place * 4, number);
    }
    // SAFETY: there are no pointers in it.
    let fd = unsafe { attributes.call(MAP_CREATE) }?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a program; with `verbose`, the verifier tells all.
pub fn load(instructions: &[Instruction], verbose: bool) -> Result<Loaded, Refused> {
    let bytes: Vec<u8> = instructions.iter().flat_map(|each| each.to_bytes()).collect();
    let mut log = vec![0; 1 << 20];
    let mut attributes = Attributes::new()
        .u32(0, TYPE_SYSCALL)
        .u32(4, instructions.len() as u32)
        .u64(8, bytes.as_ptr() as u64)
        .u64(16, c"GPL".as_ptr() as u64)
        .u32(24, if verbose { 2 } else { 1 })
        .u32(28, log.len() as u32)
        .u64(32, log.as_mut_ptr() as u64)
        .u32(44, SLEEPABLE);
    // SAFETY: the instructions, the license and the log are as long as the attributes say, and live
    // until the call is over.
    let loaded = unsafe { attributes.call(PROG_LOAD) };
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]).into_owned();
    match loaded {
        // SAFETY: a new descriptor that nobody else has.
        Ok(fd) => Ok(Loaded { fd: unsafe { OwnedFd::from_raw_fd(fd) }, log }),
        Err(error) => Err(Refused { error, log }),
    }
}

impl Loaded {
    /// Runs it once on a context, which it may change; gives the lower half of r0.
    pub fn run(&self, context: &mut [u8]) -> std::io::Result<u32> {
        let mut attributes = Attributes::new()
            .u32(0, self.fd.as_raw_fd() as u32)
            .u32(40, context.len() as u32)
            .u64(48, context.as_mut_ptr() as u64);
        // SAFETY: the context is as long as the attributes say.
        unsafe { attributes.call(PROG_TEST_RUN) }?;
        Ok(u32::from_le_bytes([4, 5, 6, 7].map(|at| attributes.0[at])))
    }
}
