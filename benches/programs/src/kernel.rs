//! The kernel's side: bpftool loads and pins an object, `BPF_PROG_TEST_RUN` runs its programs.
//! Nothing is attached to anything.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

const PROG_TEST_RUN: u32 = 10;
const OBJ_GET: u32 = 7;

/// `union bpf_attr`, larger than any kernel's; what is not set is zero.
#[repr(C, align(8))]
struct Attr([u8; 192]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 192])
    }

    fn u32(mut self, offset: usize, value: u32) -> Attr {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Attr {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn get(&self, offset: usize) -> u32 {
        let bytes = [0, 1, 2, 3].map(|at| self.0[offset + at]);
        u32::from_ne_bytes(bytes)
    }

    /// # Safety
    ///
    /// What the attribute points to is as large as it says.
    unsafe fn call(&mut self, command: u32) -> std::io::Result<i32> {
        // SAFETY: the attribute is as large as we say; the caller vouches for the rest.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len() as u32)
        };
        match result {
            0.. => Ok(result as i32),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

/// A program in the kernel.
pub struct Program(OwnedFd);

impl Program {
    fn pinned(path: &Path) -> std::io::Result<Program> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attr = Attr::new().u64(0, path.as_ptr() as u64);
        // SAFETY: the path ends with a NUL.
        let fd = unsafe { attr.call(OBJ_GET) }?;
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(Program(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Runs it so many times on one packet, and copies the packet to `out`; gives what it
    /// returned, and nanoseconds a run as the kernel took the time.
    pub fn run(&self, packet: &[u8], out: &mut [u8], times: u32) -> std::io::Result<(u32, u32)> {
        let mut attr = Attr::new()
            .u32(0, self.0.as_raw_fd() as u32)
            .u32(8, packet.len() as u32)
            .u32(12, out.len() as u32)
            .u64(16, packet.as_ptr() as u64)
            .u64(24, out.as_mut_ptr() as u64)
            .u32(32, times);
        // SAFETY: the packet, and the room for it, are as long as we say.
        unsafe { attr.call(PROG_TEST_RUN) }?;
        Ok((attr.get(4), attr.get(36)))
    }
}

/// An object in the kernel; its maps live as long as the programs.
pub struct Kernel {
    programs: Vec<(String, Program)>,
}

impl Kernel {
    /// Loads it, or says why that cannot be.
    pub fn load(file: &Path, names: &[&str]) -> Result<Kernel, String> {
        let pins = format!("/sys/fs/bpf/usermap-bench-{}", std::process::id());
        let pins = Path::new(&pins);
        let tools = ["bpftool", "/usr/sbin/bpftool"];
        let found = tools.iter().find(|name| Command::new(name).arg("version").output().is_ok());
        let tool = found.ok_or("there is no bpftool")?;
        let mut load = Command::new(tool);
        let output = load.args(["prog", "loadall"]).arg(file).arg(pins).output();
        let output = output.map_err(|error| error.to_string())?;
        let open = |name: &&str| Ok(((*name).to_owned(), Program::pinned(&pins.join(name))?));
        let programs: std::io::Result<Vec<_>> = names.iter().map(open).collect();
        let _ = std::fs::remove_dir_all(pins);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(said.lines().last().unwrap_or("bpftool failed").to_owned());
        }
        Ok(Kernel { programs: programs.map_err(|error| error.to_string())? })
    }

    /// A program of those that were asked for.
    pub fn program(&self, name: &str) -> &Program {
        let found = self.programs.iter().find(|(known, _)| known == name);
        &found.expect("it was asked for").1
    }
}
