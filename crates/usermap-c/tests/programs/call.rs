//! One bpf(2) call, made to the kernel or to usermap: an attribute, and the memory that it points to.

#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};
use usermap_c::seam;

/// Every piece of memory has at least so many bytes, which is more than any call here may write.
const ROOM: usize = 1 << 18;

/// As many zeros are cut off what memory has at its end.
const ZEROS: [u8; 4096] = [0; 4096];

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Kernel,
    Usermap,
}

/// What was answered: the result or errno, the attribute and the memory afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub result: Result<i32, i32>,
    pub attr: Vec<u8>,
    pub memory: Vec<Vec<u8>>,
}

impl Answer {
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.attr[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    command: u32,
    attr: Vec<u8>,
    size: u32,
    /// Places of addresses in the attribute or in other memory, and what they are of.
    pointers: Vec<(usize, Vec<u8>)>,
}

impl Call {
    pub fn new(command: u32) -> Call {
        Call { command, attr: vec![0; 256], size: 168, pointers: Vec::new() }
    }

    /// The size that is told.
    pub fn size(mut self, size: u32) -> Call {
        self.size = size;
        self
    }

    pub fn bytes(mut self, at: usize, bytes: &[u8]) -> Call {
        self.attr[at..at + bytes.len()].copy_from_slice(bytes);
        self.pointers.retain(|(place, _)| *place != at);
        self
    }

    pub fn u32(self, at: usize, field: u32) -> Call {
        self.bytes(at, &field.to_ne_bytes())
    }

    pub fn u64(self, at: usize, field: u64) -> Call {
        self.bytes(at, &field.to_ne_bytes())
    }

    /// The address of memory with this content; zeros behind it.
    pub fn memory(mut self, at: usize, content: &[u8]) -> Call {
        self.pointers.retain(|(place, _)| *place != at);
        self.pointers.push((at, content.to_vec()));
        self
    }

    /// Makes the call.
    pub fn make(&self, side: Side) -> Answer {
        let mut attr = self.attr.clone();
        let mut memory: Vec<Vec<u8>> = Vec::new();
        for (at, content) in &self.pointers {
            let mut bytes = content.clone();
            bytes.resize(ROOM, 0);
            attr[*at..*at + 8].copy_from_slice(&(bytes.as_mut_ptr() as u64).to_ne_bytes());
            memory.push(bytes);
        }
        let address = attr.as_mut_ptr();
        let result = match side {
            Side::Kernel => {
                // SAFETY: the attribute has 256 bytes, and no call here tells a larger size; what
                // it points to has `ROOM` bytes, more than any size that the tests give.
                match unsafe { libc::syscall(libc::SYS_bpf, self.command, address, self.size) } {
                    -1 => Err(std::io::Error::last_os_error().raw_os_error().expect("an errno")),
                    result => Ok(result as i32),
                }
            }
            Side::Usermap => {
                seam::bpf(self.command, address as u64, self.size).map_err(|error| error.errno())
            }
        };
        for ((at, content), bytes) in self.pointers.iter().zip(&mut memory) {
            attr[*at..*at + 8].fill(0);
            while bytes.len() > content.len() + ZEROS.len() && bytes.ends_with(&ZEROS) {
                bytes.truncate(bytes.len() - ZEROS.len());
            }
        }
        Answer { result, attr, memory }
    }

    /// A call that gives a descriptor.
    pub fn descriptor(&self, side: Side) -> Descriptor {
        let answer = self.make(side);
        let fd = answer.result.unwrap_or_else(|errno| panic!("{side:?}: errno {errno}: {self:?}"));
        Descriptor::new(fd)
    }
}

/// A descriptor of one side's.
pub struct Descriptor {
    pub number: i32,
    /// Closed with this.
    _fd: OwnedFd,
}

impl Descriptor {
    /// Lets processes that are started from here have it.
    pub fn inherit(&self) {
        // SAFETY: only a flag of a descriptor that is open is changed.
        let done = unsafe { libc::fcntl(self.number, libc::F_SETFD, 0) };
        assert_eq!(done, 0);
    }

    /// Takes what a call gave.
    pub fn new(number: i32) -> Descriptor {
        // SAFETY: the call gave the descriptor to its caller, who gives it to nobody else.
        Descriptor { number, _fd: unsafe { OwnedFd::from_raw_fd(number) } }
    }
}

/// Whether bpf(2) is allowed; says so if it is not.
pub fn kernel() -> bool {
    let answer = Call::new(0).u32(0, 2).u32(4, 4).u32(8, 8).u32(12, 1).make(Side::Kernel);
    match answer.result {
        Ok(fd) => {
            drop(Descriptor::new(fd));
            true
        }
        Err(errno) => {
            let line = format!("comparison with the kernel skipped: bpf(2) gives errno {errno}");
            assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "{line}");
            eprintln!("{line}");
            false
        }
    }
}
