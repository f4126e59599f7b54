//! libbpf's functions on maps as a whole: making, freezing, pinning, ids and info.

use super::attr::{Attr, answer};
use super::memory;
use super::options::Options;
use libc::{c_char, c_int, c_void};
use usermap::abi::{command, errno};
use usermap::command::Fault;

/// Bytes of a name with its NUL.
const NAME: usize = 16;

/// What the kernel takes of a map's name, as libbpf cuts it: up to its NUL, at most 15 bytes.
pub(super) fn read_name(name: *const c_char) -> Result<[u8; NAME], i32> {
    let mut own = [0; NAME];
    if name.is_null() {
        return Ok(own);
    }
    for (at, byte) in own[..NAME - 1].iter_mut().enumerate() {
        let mut one = [0];
        memory::read(name as u64 + at as u64, &mut one).map_err(|Fault| errno::EFAULT)?;
        if one == [0] {
            break;
        }
        *byte = one[0];
    }
    Ok(own)
}

/// `bpf_map_create` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_create(
    map_type: u32,
    map_name: *const c_char,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    opts: *const c_void,
) -> c_int {
    let create = || {
        // struct bpf_map_create_opts { size_t sz; __u32 btf_fd, btf_key_type_id,
        // btf_value_type_id, btf_vmlinux_value_type_id, inner_map_fd, map_flags; __u64 map_extra;
        // __u32 numa_node, map_ifindex; __s32 value_type_btf_obj_fd; __u32 token_fd; }
        let opts = Options::<56>::read(opts)?;
        Attr::new()
            .u32(0, map_type)
            .u32(4, key_size)
            .u32(8, value_size)
            .u32(12, max_entries)
            .u32(16, opts.u32(28))
            .u32(20, opts.u32(24))
            .u32(24, opts.u32(40))
            .bytes(28, &read_name(map_name)?)
            .u32(44, opts.u32(44))
            .u32(48, opts.u32(8))
            .u32(52, opts.u32(12))
            .u32(56, opts.u32(16))
            .u32(60, opts.u32(20))
            .u64(64, opts.u64(32))
            .u32(72, opts.u32(48))
            .u32(76, opts.u32(52))
            .call(command::MAP_CREATE)
    };
    answer(create())
}

/// `bpf_map_freeze` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_freeze(fd: c_int) -> c_int {
    answer(Attr::new().u32(0, fd as u32).call(command::MAP_FREEZE))
}

/// `bpf_obj_pin` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_obj_pin(fd: c_int, pathname: *const c_char) -> c_int {
    bpf_obj_pin_opts(fd, pathname, std::ptr::null())
}

/// `bpf_obj_pin_opts` of `bpf/bpf.h`, since libbpf 1.2
#[unsafe(no_mangle)]
pub extern "C" fn bpf_obj_pin_opts(
    fd: c_int,
    pathname: *const c_char,
    opts: *const c_void,
) -> c_int {
    answer(path_attr(pathname, opts).and_then(|attr| attr.u32(8, fd as u32).call(command::OBJ_PIN)))
}

/// `bpf_obj_get` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_obj_get(pathname: *const c_char) -> c_int {
    bpf_obj_get_opts(pathname, std::ptr::null())
}

/// `bpf_obj_get_opts` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_obj_get_opts(pathname: *const c_char, opts: *const c_void) -> c_int {
    answer(path_attr(pathname, opts).and_then(|mut attr| attr.call(command::OBJ_GET)))
}

/// `struct bpf_obj_pin_opts { size_t sz; __u32 file_flags; int path_fd; }`; that of getting is
/// the same.
fn path_attr(pathname: *const c_char, opts: *const c_void) -> Result<Attr, i32> {
    let opts = Options::<16>::read(opts)?;
    Ok(Attr::new().pointer(0, pathname.cast()).u32(12, opts.u32(8)).u32(16, opts.u32(12)))
}

/// `bpf_obj_get_info_by_fd` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_obj_get_info_by_fd(
    fd: c_int,
    info: *mut c_void,
    info_len: *mut u32,
) -> c_int {
    let get = || -> Result<Result<i32, i32>, Fault> {
        let mut given = [0; 4];
        memory::read(info_len as u64, &mut given)?;
        let mut attr = Attr::new().u32(0, fd as u32).bytes(4, &given).pointer(8, info);
        let result = attr.call(command::OBJ_GET_INFO_BY_FD);
        if result.is_ok() {
            memory::write(info_len as u64, &attr.field(4).to_ne_bytes())?;
        }
        Ok(result)
    };
    answer(get().unwrap_or(Err(errno::EFAULT)))
}

/// `bpf_map_get_info_by_fd` of `bpf/bpf.h`, since libbpf 1.2
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_get_info_by_fd(
    fd: c_int,
    info: *mut c_void,
    info_len: *mut u32,
) -> c_int {
    bpf_obj_get_info_by_fd(fd, info, info_len)
}

/// `bpf_map_get_next_id` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_get_next_id(start_id: u32, next_id: *mut u32) -> c_int {
    let mut attr = Attr::new().u32(0, start_id);
    let found = attr.call(command::MAP_GET_NEXT_ID).and_then(|_| {
        let told = memory::write(next_id as u64, &attr.field(4).to_ne_bytes());
        told.map(|()| 0).map_err(|Fault| errno::EFAULT)
    });
    answer(found)
}

/// `bpf_map_get_fd_by_id` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_get_fd_by_id(id: u32) -> c_int {
    bpf_map_get_fd_by_id_opts(id, std::ptr::null())
}

/// `bpf_map_get_fd_by_id_opts` of `bpf/bpf.h`
#[unsafe(no_mangle)]
pub extern "C" fn bpf_map_get_fd_by_id_opts(id: u32, opts: *const c_void) -> c_int {
    // struct bpf_get_fd_by_id_opts { size_t sz; __u32 open_flags; }
    let get = || {
        let opts = Options::<12>::read(opts)?;
        Attr::new().u32(0, id).u32(8, opts.u32(8)).call(command::MAP_GET_FD_BY_ID)
    };
    answer(get())
}

/// `libbpf_num_possible_cpus` of `bpf/libbpf.h`: values of a per-CPU map's element.
#[unsafe(no_mangle)]
pub extern "C" fn libbpf_num_possible_cpus() -> c_int {
    usermap::possible_cpus() as c_int
}
