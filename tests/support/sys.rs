//! The real kernel's maps through bpf(2), and fork(2), behind safe functions: the only unsafe
//! code of the tests.
//!
//! Every buffer's length is checked here against what the kernel will read or write for that
//! map, so a test cannot hand it memory that is too small. No program is ever attached.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use usermap::abi::command;

/// An errno, or success.
pub type Status = Result<(), i32>;

/// `union bpf_attr`, larger than any kernel's that this was written for; the rest stays zero.
#[repr(C, align(8))]
struct Attr([u8; 192]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 192])
    }

    fn u32(mut self, offset: usize, value: u32) -> Attr {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Attr {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn read(self, offset: usize, bytes: Option<&[u8]>) -> Attr {
        self.u64(offset, bytes.map_or(0, |bytes| bytes.as_ptr() as u64))
    }

    fn write(self, offset: usize, bytes: &mut [u8]) -> Attr {
        let pointer = if bytes.is_empty() { 0 } else { bytes.as_mut_ptr() as u64 };
        self.u64(offset, pointer)
    }

    fn get(&self, offset: usize) -> u32 {
        u32::from_le_bytes([
            self.0[offset],
            self.0[offset + 1],
            self.0[offset + 2],
            self.0[offset + 3],
        ])
    }

    /// # Safety
    ///
    /// Every pointer in the attribute must be null or point to as much memory, readable or
    /// writable, as the kernel uses there for this command and map.
    unsafe fn call(&mut self, command: u32) -> Result<i32, i32> {
        // SAFETY: the attribute is ours and as large as we say; the caller vouches for what it
        // points to.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len() as u32)
        };
        match result {
            0.. => Ok(result as i32),
            _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// What a kernel map is asked to be: the fields of `BPF_MAP_CREATE`, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelSpec {
    /// `map_type`
    pub map_type: u32,
    /// `key_size`
    pub key_size: u32,
    /// `value_size`
    pub value_size: u32,
    /// `max_entries`
    pub max_entries: u32,
    /// `map_flags`
    pub flags: u32,
    /// `numa_node`
    pub numa_node: u32,
    /// `map_extra`
    pub map_extra: u64,
    /// `map_name`
    pub name: [u8; 16],
}

/// `struct bpf_map_info`, as far as it concerns these maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelInfo {
    /// The spec as the kernel keeps it; the NUMA node is not told.
    pub spec: KernelSpec,
    /// The id; never 0.
    pub id: u32,
}

/// A map of the real kernel.
pub struct KernelMap {
    fd: OwnedFd,
    key_size: usize,
    value_bytes: usize,
    per_bucket_tokens: bool,
}

/// What a batch command left behind.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The errno; 0 for success.
    pub errno: i32,
    /// `count` as the call left it.
    pub count: u32,
    /// The token for the next call: the buffer after the call, 0xAA where it wasn't written.
    pub token: Vec<u8>,
    /// The first `count` keys of a lookup that read any.
    pub keys: Vec<u8>,
    /// Their values.
    pub values: Vec<u8>,
}

/// The number of possible CPUs, which decides how large the values of per-CPU maps are.
pub fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs");
    let last = text.trim().rsplit([',', '-']).next().expect("a range of numbers");
    last.parse::<usize>().expect("a CPU number") + 1
}

/// Why bpf(2) cannot be used here; `None` if it can.
pub fn refusal() -> Option<String> {
    let spec = KernelSpec {
        map_type: 1,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..Default::default()
    };
    let errno = match KernelMap::create(&spec).and_then(|map| map.reopen(0)) {
        Ok(_) => return None,
        Err(errno) => errno,
    };
    Some(std::io::Error::from_raw_os_error(errno).to_string())
}

impl KernelMap {
    /// `BPF_MAP_CREATE`
    pub fn create(spec: &KernelSpec) -> Result<KernelMap, i32> {
        let mut attr = Attr::new()
            .u32(0, spec.map_type)
            .u32(4, spec.key_size)
            .u32(8, spec.value_size)
            .u32(12, spec.max_entries)
            .u32(16, spec.flags)
            .u32(24, spec.numa_node)
            .u64(64, spec.map_extra);
        attr.0[28..44].copy_from_slice(&spec.name);
        // SAFETY: creation without BTF reads nothing but the attribute.
        let fd = unsafe { attr.call(command::MAP_CREATE) }?;
        let per_cpu = matches!(spec.map_type, 5 | 6);
        let slots = if per_cpu { possible_cpus() } else { 1 };
        let value = spec.value_size as usize;
        Ok(KernelMap {
            // SAFETY: the kernel has just made this descriptor for us alone.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            key_size: spec.key_size as usize,
            value_bytes: if per_cpu { value.next_multiple_of(8) * slots } else { value },
            per_bucket_tokens: matches!(spec.map_type, 1 | 5),
        })
    }

    /// Another descriptor of the same map: `BPF_MAP_GET_FD_BY_ID` with these `open_flags`.
    pub fn reopen(&self, open_flags: u32) -> Result<KernelMap, i32> {
        let mut attr = Attr::new().u32(0, self.info()?.id).u32(8, open_flags);
        // SAFETY: the command reads nothing but the attribute.
        let fd = unsafe { attr.call(command::MAP_GET_FD_BY_ID) }?;
        Ok(KernelMap {
            // SAFETY: the kernel has just made this descriptor for us alone.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            ..*self
        })
    }

    /// The map that is pinned there: `BPF_OBJ_GET`.
    pub fn pinned(path: &Path) -> Result<KernelMap, i32> {
        let unsized_map = KernelMap {
            fd: get_pinned(path)?,
            key_size: 0,
            value_bytes: 0,
            per_bucket_tokens: false,
        };
        let spec = unsized_map.info()?.spec;
        let value = spec.value_size as usize;
        let per_cpu = matches!(spec.map_type, 5 | 6);
        let slots = if per_cpu { possible_cpus() } else { 1 };
        Ok(KernelMap {
            fd: unsized_map.fd,
            key_size: spec.key_size as usize,
            value_bytes: if per_cpu { value.next_multiple_of(8) * slots } else { value },
            per_bucket_tokens: matches!(spec.map_type, 1 | 5),
        })
    }

    /// All entries, by key; of a queue or stack all values, which are then taken out. Empty for
    /// kinds whose values are not bytes.
    pub fn everything(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut value = vec![0; self.value_bytes];
        if self.key_size == 0 {
            while self.lookup_and_delete(&[], &mut value, 0).is_ok() {
                entries.push((Vec::new(), value.clone()));
            }
            return entries;
        }
        let mut last: Option<Vec<u8>> = None;
        let mut next = vec![0; self.key_size];
        while self.next_key(last.as_deref(), &mut next).is_ok() {
            if self.lookup(&next, &mut value, 0).is_ok() {
                entries.push((next.clone(), value.clone()));
            }
            last = Some(next.clone());
        }
        entries.sort();
        entries
    }

    /// Bytes that a lookup gives: for per-CPU maps all slots, each rounded up to eight.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Bytes of a batch's token.
    pub fn token_bytes(&self) -> usize {
        if self.per_bucket_tokens { 4 } else { self.key_size.max(4) }
    }

    fn element(&self, command: u32, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        assert_eq!(key.len(), self.key_size);
        let key = (!key.is_empty()).then_some(key);
        let mut attr = Attr::new().u32(0, self.raw()).read(8, key).write(16, value).u64(24, flags);
        // SAFETY: the key has key_size bytes; our callers have checked that the value has the
        // bytes that the command reads or writes (value_bytes, or key_size for the next key).
        unsafe { attr.call(command) }.map(drop)
    }

    fn raw(&self) -> u32 {
        self.fd.as_raw_fd() as u32
    }

    /// `BPF_MAP_LOOKUP_ELEM`
    pub fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        assert_eq!(value.len(), self.value_bytes);
        self.element(command::MAP_LOOKUP_ELEM, key, value, flags)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`
    pub fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        assert_eq!(value.len(), self.value_bytes);
        self.element(command::MAP_LOOKUP_AND_DELETE_ELEM, key, value, flags)
    }

    /// `BPF_MAP_UPDATE_ELEM`
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Status {
        assert_eq!(value.len(), self.value_bytes);
        self.element(command::MAP_UPDATE_ELEM, key, &mut value.to_vec(), flags)
    }

    /// `BPF_MAP_DELETE_ELEM`
    pub fn delete(&self, key: &[u8]) -> Status {
        self.element(command::MAP_DELETE_ELEM, key, &mut [], 0)
    }

    /// `BPF_MAP_GET_NEXT_KEY`
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Status {
        assert_eq!(next.len(), self.key_size);
        assert!(key.is_none_or(|key| key.len() == self.key_size));
        let key = key.filter(|key| !key.is_empty());
        let mut attr = Attr::new().u32(0, self.raw()).read(8, key).write(16, next);
        // SAFETY: both keys have key_size bytes.
        unsafe { attr.call(command::MAP_GET_NEXT_KEY) }.map(drop)
    }

    /// `BPF_MAP_FREEZE`
    pub fn freeze(&self) -> Status {
        // SAFETY: the command reads nothing but the attribute.
        unsafe { Attr::new().u32(0, self.raw()).call(command::MAP_FREEZE) }.map(drop)
    }

    /// `BPF_OBJ_GET_INFO_BY_FD`
    pub fn info(&self) -> Result<KernelInfo, i32> {
        let mut info = [0_u8; 128];
        let mut attr = Attr::new().u32(0, self.raw()).u32(4, info.len() as u32);
        attr = attr.write(8, &mut info);
        // SAFETY: the kernel writes at most the 128 bytes that we say `info` has.
        unsafe { attr.call(command::OBJ_GET_INFO_BY_FD) }?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| info[at + i]));
        let mut name = [0; 16];
        name.copy_from_slice(&info[24..40]);
        Ok(KernelInfo {
            spec: KernelSpec {
                map_type: word(0),
                key_size: word(8),
                value_size: word(12),
                max_entries: word(16),
                flags: word(20),
                numa_node: 0,
                map_extra: u64::from(word(80)) | u64::from(word(84)) << 32,
                name,
            },
            id: word(4),
        })
    }

    /// `BPF_MAP_LOOKUP_BATCH`, or `BPF_MAP_LOOKUP_AND_DELETE_BATCH` if `delete`.
    pub fn lookup_batch(
        &self,
        token: Option<&[u8]>,
        count: u32,
        delete: bool,
        elem_flags: u64,
        flags: u64,
    ) -> Batch {
        assert!(token.is_none_or(|token| token.len() == self.token_bytes()));
        let mut out = vec![0xAA; self.token_bytes()];
        let mut keys = vec![0xAA; self.key_size * count as usize];
        let mut values = vec![0xAA; self.value_bytes * count as usize];
        let mut attr = Attr::new()
            .read(0, token)
            .write(8, &mut out)
            .write(16, &mut keys)
            .write(24, &mut values)
            .u32(32, count)
            .u32(36, self.raw())
            .u64(40, elem_flags)
            .u64(48, flags);
        let command = match delete {
            false => command::MAP_LOOKUP_BATCH,
            true => command::MAP_LOOKUP_AND_DELETE_BATCH,
        };
        // SAFETY: the tokens have the map's token size, keys and values room for `count`.
        let errno = unsafe { attr.call(command) }.err().unwrap_or(0);
        Batch { errno, count: attr.get(32), token: out, keys, values }
    }

    /// `BPF_MAP_UPDATE_BATCH`, or without values `BPF_MAP_DELETE_BATCH`.
    pub fn write_batch(
        &self,
        keys: &[u8],
        values: Option<&[u8]>,
        count: u32,
        elem_flags: u64,
        flags: u64,
    ) -> Batch {
        assert_eq!(keys.len(), self.key_size * count as usize);
        assert!(values.is_none_or(|values| values.len() == self.value_bytes * count as usize));
        let mut attr = Attr::new()
            .read(16, Some(keys))
            .read(24, values)
            .u32(32, count)
            .u32(36, self.raw())
            .u64(40, elem_flags)
            .u64(48, flags);
        let command = match values {
            Some(_) => command::MAP_UPDATE_BATCH,
            None => command::MAP_DELETE_BATCH,
        };
        // SAFETY: there are `count` keys and values to read.
        let errno = unsafe { attr.call(command) }.err().unwrap_or(0);
        Batch { errno, count: attr.get(32), ..Batch::default() }
    }
}

/// What is pinned there: `BPF_OBJ_GET`.
fn get_pinned(path: &Path) -> Result<OwnedFd, i32> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)?;
    let mut attr = Attr::new().read(0, Some(path.as_bytes_with_nul()));
    // SAFETY: the path ends with a NUL.
    let fd = unsafe { attr.call(command::OBJ_GET) }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A program of the real kernel, which is attached to nothing.
pub struct KernelProgram {
    fd: OwnedFd,
    program_type: u32,
}

/// `BPF_PROG_TEST_RUN`
const PROG_TEST_RUN: u32 = 10;
/// The largest packet that a run gives back.
const LARGEST_OUTPUT: usize = 1 << 16;

impl KernelProgram {
    /// The program that is pinned there.
    pub fn pinned(path: &Path) -> Result<KernelProgram, i32> {
        let fd = get_pinned(path)?;
        let mut info = [0_u8; 16];
        let mut attr = Attr::new().u32(0, fd.as_raw_fd() as u32).u32(4, info.len() as u32);
        attr = attr.write(8, &mut info);
        // SAFETY: the kernel writes at most the bytes that we say `info` has.
        unsafe { attr.call(command::OBJ_GET_INFO_BY_FD) }?;
        let program_type = u32::from_le_bytes([info[0], info[1], info[2], info[3]]);
        Ok(KernelProgram { fd, program_type })
    }

    /// Whether it is of a type that gets packets.
    pub fn takes_packets(&self) -> bool {
        // Socket filters, tc's two, XDP, cgroup_skb.
        matches!(self.program_type, 1 | 3 | 4 | 6 | 8)
    }

    /// Whether its context is a `__sk_buff`.
    pub fn takes_skb(&self) -> bool {
        self.takes_packets() && self.program_type != 6
    }

    /// Whether its packets start at the network layer: of socket filters and cgroup_skb.
    pub fn hides_link_layer(&self) -> bool {
        matches!(self.program_type, 1 | 8)
    }

    /// Whether the kernel runs its type without its being attached.
    pub fn can_run(&self) -> bool {
        // And raw tracepoints, and programs of type syscall.
        self.takes_packets() || matches!(self.program_type, 17 | 31)
    }

    /// `BPF_PROG_TEST_RUN`: gives what it returned, and the packet as it left it.
    pub fn run(&self, packet: &[u8], context: &[u8]) -> Result<(u32, Vec<u8>), i32> {
        let mut out = vec![0; if packet.is_empty() { 0 } else { LARGEST_OUTPUT }];
        let mut attr = Attr::new()
            .u32(0, self.fd.as_raw_fd() as u32)
            .u32(8, packet.len() as u32)
            .u32(12, out.len() as u32)
            .read(16, (!packet.is_empty()).then_some(packet))
            .write(24, &mut out)
            .u32(40, context.len() as u32)
            .read(48, (!context.is_empty()).then_some(context));
        // SAFETY: the packets and the context are as long as we say.
        unsafe { attr.call(PROG_TEST_RUN) }?;
        out.truncate(attr.get(12) as usize);
        Ok((attr.get(4), out))
    }
}

/// Runs `child` in a forked copy of this process and gives its exit code (101 if it panicked,
/// 128 and the signal if one killed it).
///
/// Other threads don't exist in the copy, so `child` must not wait for any of them.
pub fn fork(child: impl FnOnce() -> u8) -> i32 {
    // SAFETY: the child runs on with this thread alone. glibc makes its allocator usable there;
    // nothing else is called that another thread could have held a lock of, and the process
    // ends by _exit, which runs no handlers of the parent's.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: _exit takes any number and does not come back.
            unsafe { libc::_exit(i32::from(code.unwrap_or(101))) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` is ours to write to.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(waited, pid, "waitpid: {}", std::io::Error::last_os_error());
            match libc::WIFEXITED(status) {
                true => libc::WEXITSTATUS(status),
                false => 128 + libc::WTERMSIG(status),
            }
        }
    }
}

/// Lets the kernel refuse a system call to this thread from now on, with EPERM; false if it does not let us.
pub fn refuse(syscall: libc::c_long) -> bool {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The number of the call.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, syscall as u32)
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes numbers only; the second one reads the program, which is as long as it
    // says, and lives until the call is over.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}
