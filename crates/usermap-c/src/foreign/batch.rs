//! libbpf's functions on batches: `count` is given and told, whatever the result.

use super::attr::{Attr, answer};
use super::memory;
use super::options::Options;
use libc::{c_int, c_void};
use usermap::abi::{command, errno};

/// Where in the attribute the number of entries is.
const COUNT: usize = 32;

/// Pointers of one batch, in the order of the attribute's fields.
struct Pointers {
    in_batch: *const c_void,
    out_batch: *mut c_void,
    keys: *const c_void,
    values: *const c_void,
}

/// `struct bpf_map_batch_opts { size_t sz; __u64 elem_flags, flags; }`
fn batch(
    command: u32,
    fd: c_int,
    pointers: &Pointers,
    count: *mut u32,
    opts: *const c_void,
) -> Result<i32, i32> {
    let opts = Options::<24>::read(opts)?;
    let mut given = [0; 4];
    memory::read(count as u64, &mut given).map_err(|_| errno::EFAULT)?;
    let mut attr = Attr::new()
        .pointer(0, pointers.in_batch)
        .pointer(8, pointers.out_batch)
        .pointer(16, pointers.keys)
        .pointer(24, pointers.values)
        .bytes(COUNT, &given)
        .u32(36, fd as u32)
        .u64(40, opts.u64(8))
        .u64(48, opts.u64(16));
    let result = attr.call(command);
    memory::write(count as u64, &attr.field(COUNT).to_ne_bytes()).map_err(|_| errno::EFAULT)?;
    result
}

const NOWHERE: *mut c_void = std::ptr::null_mut();

/// `bpf_map_lookup_batch` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_batch(
    fd: c_int,
    in_batch: *mut c_void,
    out_batch: *mut c_void,
    keys: *mut c_void,
    values: *mut c_void,
    count: *mut u32,
    opts: *const c_void,
) -> c_int {
    let pointers = Pointers { in_batch, out_batch, keys, values };
    answer(batch(command::MAP_LOOKUP_BATCH, fd, &pointers, count, opts))
}

/// `bpf_map_lookup_and_delete_batch` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_lookup_and_delete_batch(
    fd: c_int,
    in_batch: *mut c_void,
    out_batch: *mut c_void,
    keys: *mut c_void,
    values: *mut c_void,
    count: *mut u32,
    opts: *const c_void,
) -> c_int {
    let pointers = Pointers { in_batch, out_batch, keys, values };
    answer(batch(command::MAP_LOOKUP_AND_DELETE_BATCH, fd, &pointers, count, opts))
}

/// `bpf_map_update_batch` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_update_batch(
    fd: c_int,
    keys: *const c_void,
    values: *const c_void,
    count: *mut u32,
    opts: *const c_void,
) -> c_int {
    let pointers = Pointers { in_batch: NOWHERE, out_batch: NOWHERE, keys, values };
    answer(batch(command::MAP_UPDATE_BATCH, fd, &pointers, count, opts))
}

/// `bpf_map_delete_batch` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_delete_batch(
    fd: c_int,
    keys: *const c_void,
    count: *mut u32,
    opts: *const c_void,
) -> c_int {
    let pointers = Pointers { in_batch: NOWHERE, out_batch: NOWHERE, keys, values: NOWHERE };
    answer(batch(command::MAP_DELETE_BATCH, fd, &pointers, count, opts))
}
