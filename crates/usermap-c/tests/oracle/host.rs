//! This very process, and the functions that C calls in it.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::IntoRawFd;
use usermap::abi::command;
use usermap::command::{BadFd, Fault, Host, Types};
use usermap::{Error, Map, Result};
use usermap_c::foreign::interpose::{self, Mode};
use usermap_c::foreign::{batch, element, interpose_close, memory, object};

/// An address where nothing is.
pub const BAD_ADDRESS: u64 = 8;

const PAGE: usize = 4096;

/// A mapping with a buffer at its end, and a page behind it that cannot be accessed.
struct Buffer {
    start: *mut c_void,
    mapped: usize,
    length: usize,
}

/// What one case has made in this process.
pub struct Process {
    buffers: RefCell<BTreeMap<u64, Buffer>>,
    open: RefCell<Vec<i32>>,
}

impl Process {
    pub fn new() -> Process {
        Process { buffers: RefCell::default(), open: RefCell::default() }
    }

    /// A buffer with these bytes; its address.
    pub fn buffer(&self, bytes: Vec<u8>) -> u64 {
        let mapped = bytes.len().next_multiple_of(PAGE) + PAGE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses, and its own last page.
        let start = unsafe {
            let start =
                rustix::mm::mmap_anonymous(std::ptr::null_mut(), mapped, access, MapFlags::PRIVATE)
                    .expect("memory");
            let guard = start.byte_add(mapped - PAGE);
            rustix::mm::mprotect(guard, PAGE, MprotectFlags::empty()).expect("a guard");
            start
        };
        let address = start as u64 + (mapped - PAGE - bytes.len()) as u64;
        if !bytes.is_empty() {
            memory::write(address, &bytes).expect("the mapping");
        }
        let buffer = Buffer { start, mapped, length: bytes.len() };
        self.buffers.borrow_mut().insert(address, buffer);
        address
    }

    /// What is in a buffer now; empty if it is none.
    pub fn bytes(&self, address: u64) -> Vec<u8> {
        let buffers = self.buffers.borrow();
        let mut bytes = vec![0; buffers.get(&address).map_or(0, |buffer| buffer.length)];
        if !bytes.is_empty() {
            memory::read(address, &mut bytes).expect("the mapping");
        }
        bytes
    }

    /// A descriptor of a file that is no map.
    pub fn open_other(&self) -> i32 {
        let fd = File::open("/dev/null").expect("a file").into_raw_fd();
        self.open.borrow_mut().push(fd);
        fd
    }

    /// A descriptor of BTF with these types, by the numbers that the cases give them.
    pub fn open_types(&self, types: Types) -> i32 {
        let btf = self.buffer(btf(types));
        let size = self.bytes(btf).len() as u64;
        // struct { u64 btf, btf_log_buf; u32 btf_size, ...; }
        let attr = [btf, 0, size, 0];
        let fd = usermap_c::seam::bpf(command::BTF_LOAD, attr.as_ptr() as u64, 28).expect("BTF");
        self.open.borrow_mut().push(fd);
        fd
    }

    pub fn close(&self, fd: i32) -> bool {
        self.open.borrow_mut().retain(|open| *open != fd);
        interpose_close::close(fd) == 0
    }

    /// The system call, by the function that C has for it.
    pub fn bpf(&self, command: u32, attr: u64, size: u32) -> Result<i32> {
        let bytes = self.bytes(attr);
        let returned = match Call::of(command, &bytes, size) {
            _ if interpose::mode() == Mode::Wrapped => {
                // SAFETY: bpf(2) checks the attribute's addresses.
                let returned = unsafe {
                    interpose::syscall(libc::SYS_bpf, command.into(), attr, size.into(), 0, 0, 0)
                };
                let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
                if returned < 0 { -errno } else { returned as i32 }
            }
            Some(call) => call.run(command, attr),
            None => {
                usermap_c::seam::bpf(command, attr, size).unwrap_or_else(|error| -error.errno())
            }
        };
        match returned {
            errno if errno < 0 => {
                Err(Error::Command { command: "C", rule: "refused", errno: -errno })
            }
            fd => {
                if command == command::MAP_CREATE || command == command::MAP_GET_FD_BY_ID {
                    self.open.borrow_mut().push(fd);
                }
                Ok(fd)
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for fd in self.open.borrow().iter() {
            interpose_close::close(*fd);
        }
        for buffer in self.buffers.borrow().values() {
            // SAFETY: the mapping is this process's own, and nobody uses it any more.
            let _ = unsafe { rustix::mm::munmap(buffer.start, buffer.mapped) };
        }
    }
}

/// What the replay itself looks at.
impl Host for Process {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        memory::read(address, bytes)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        memory::write(address, bytes)
    }

    fn map(&self, fd: i32) -> Result<Map, BadFd> {
        usermap_c::descriptor::map(fd)
    }

    fn install(&self, map: Map) -> Result<i32> {
        usermap_c::descriptor::install_map(map)
    }
}

/// Type 1 is an int, for keys; 2 a spin lock; 3 and 4 nothing; 5 a struct with the lock.
fn btf(types: Types) -> Vec<u8> {
    const NAMES: &[u8] = b"\0int\0bpf_spin_lock\0val\0value\0lock\0";
    let [int_name, spin_lock, val, value, lock_name] = [1, 5, 19, 23, 29];
    let (int, structure) = (1 << 24, 4 << 24 | 1);
    let mut words = Vec::new();
    words.extend([int_name, int, 4, 32]);
    words.extend([spin_lock, structure, 4, val, 1, 0]);
    words.extend([int_name, int, 4, 32]);
    words.extend([int_name, int, 4, 32]);
    let lock = types.spin_lock.unwrap_or(0) * 8;
    words.extend([value, structure, types.value.1, lock_name, 2, lock]);
    let length = words.len() as u32 * 4;
    let header = [0x0001_EB9F, 24, 0, length, length, NAMES.len() as u32];
    let bytes = header.iter().chain(&words).flat_map(|word| word.to_le_bytes());
    bytes.chain(NAMES.iter().copied()).collect()
}

/// A call that a function of libbpf makes: an attribute with nothing in it but the fields that the
/// function has.
struct Call<'a> {
    attr: &'a [u8],
}

/// The last field of each command's attribute ends here.
const END: [(u32, usize); 11] = [
    (command::MAP_CREATE, 72),
    (command::MAP_LOOKUP_ELEM, 32),
    (command::MAP_UPDATE_ELEM, 32),
    (command::MAP_DELETE_ELEM, 16),
    (command::MAP_GET_NEXT_KEY, 24),
    (command::MAP_LOOKUP_AND_DELETE_ELEM, 32),
    (command::MAP_FREEZE, 4),
    (command::MAP_LOOKUP_BATCH, 56),
    (command::MAP_LOOKUP_AND_DELETE_BATCH, 56),
    (command::MAP_UPDATE_BATCH, 56),
    (command::MAP_DELETE_BATCH, 56),
];

impl<'a> Call<'a> {
    fn of(number: u32, attr: &'a [u8], size: u32) -> Option<Call<'a>> {
        let (_, end) = END.into_iter().find(|(command, _)| *command == number)?;
        let whole = attr.len() >= 160 && (160..=4096).contains(&size);
        let call = Call { attr };
        // A name that fills its field has no NUL, which C strings have.
        let name = number != command::MAP_CREATE || attr.get(28 + 15) == Some(&0);
        (whole && name && attr[end..].iter().all(|byte| *byte == 0)).then_some(call)
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.attr[offset..offset + 4].try_into().expect("4 bytes"))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.attr[offset..offset + 8].try_into().expect("8 bytes"))
    }

    fn pointer(&self, offset: usize) -> *mut c_void {
        self.u64(offset) as *mut c_void
    }

    /// Calls the function; `attr` is where the count of a batch is written back to.
    fn run(&self, number: u32, attr: u64) -> i32 {
        let returned = match number {
            command::MAP_CREATE => self.create(),
            command::MAP_FREEZE => object::bpf_map_freeze(self.u32(0) as c_int),
            command::MAP_LOOKUP_BATCH..=command::MAP_DELETE_BATCH => self.batch(number, attr),
            _ => self.element(number),
        };
        if returned < 0 {
            let errno = std::io::Error::last_os_error().raw_os_error();
            assert_eq!(errno, Some(-returned), "errno is what is returned");
        }
        returned
    }

    fn create(&self) -> i32 {
        let mut opts = [0_u8; 48];
        opts[..8].copy_from_slice(&48_u64.to_ne_bytes());
        // btf_fd and three types, inner_map_fd, map_flags, map_extra, numa_node, map_ifindex
        for (to, from, length) in
            [(8, 48, 16), (24, 20, 4), (28, 16, 4), (32, 64, 8), (40, 24, 4), (44, 44, 4)]
        {
            opts[to..to + length].copy_from_slice(&self.attr[from..from + length]);
        }
        let (name, opts) = (self.attr[28..].as_ptr().cast(), opts.as_ptr().cast());
        let [kind, key, value, entries] = [0, 4, 8, 12].map(|offset| self.u32(offset));
        object::bpf_map_create(kind, name, key, value, entries, opts)
    }

    fn element(&self, number: u32) -> i32 {
        let (fd, key, value) = (self.u32(0) as c_int, self.pointer(8), self.pointer(16));
        let flags = if number == command::MAP_DELETE_ELEM { 0 } else { self.u64(24) };
        match (number, flags) {
            (command::MAP_LOOKUP_ELEM, 0) => element::bpf_map_lookup_elem(fd, key, value),
            (command::MAP_LOOKUP_ELEM, _) => {
                element::bpf_map_lookup_elem_flags(fd, key, value, flags)
            }
            (command::MAP_UPDATE_ELEM, _) => element::bpf_map_update_elem(fd, key, value, flags),
            (command::MAP_DELETE_ELEM, _) => element::bpf_map_delete_elem(fd, key),
            (command::MAP_GET_NEXT_KEY, _) => element::bpf_map_get_next_key(fd, key, value),
            (_, 0) => element::bpf_map_lookup_and_delete_elem(fd, key, value),
            _ => element::bpf_map_lookup_and_delete_elem_flags(fd, key, value, flags),
        }
    }

    fn batch(&self, number: u32, attr: u64) -> i32 {
        let fd = self.u32(36) as c_int;
        let [from, out, keys, values] = [0, 8, 16, 24].map(|offset| self.pointer(offset));
        let opts = [24, self.u64(40), self.u64(48)];
        let (count, opts) = ((attr + 32) as *mut u32, opts.as_ptr().cast());
        match number {
            command::MAP_LOOKUP_BATCH => {
                batch::bpf_map_lookup_batch(fd, from, out, keys, values, count, opts)
            }
            command::MAP_LOOKUP_AND_DELETE_BATCH => {
                batch::bpf_map_lookup_and_delete_batch(fd, from, out, keys, values, count, opts)
            }
            command::MAP_UPDATE_BATCH => batch::bpf_map_update_batch(fd, keys, values, count, opts),
            _ => batch::bpf_map_delete_batch(fd, keys, count, opts),
        }
    }
}
