//! The functions of `usermap.h` on entries: what Linux lacks. The header says what each does.

use super::attr::{answer, fail};
use super::element::with_buffer;
use super::memory;
use crate::descriptor;
use libc::{c_int, c_void};
use usermap::abi::errno;
use usermap::command::Fault;
use usermap::{Error, Map};

/// The error number of whatever went wrong.
pub(super) struct Errno(pub(super) i32);

impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        Errno(error.errno())
    }
}

impl From<Fault> for Errno {
    fn from(Fault: Fault) -> Errno {
        Errno(errno::EFAULT)
    }
}

/// Does something short with a map.
#[inline]
fn short(fd: c_int, run: impl Fn(&Map) -> Result<(), Errno>) -> c_int {
    match descriptor::with_map(fd, run) {
        Ok(Ok(())) => 0,
        Ok(Err(Errno(errno))) => fail(errno),
        Err(bad) => fail(bad.errno()),
    }
}

/// Does what may take long, or call back, with a handle of its own.
fn long(fd: c_int, run: impl FnOnce(&Map) -> Result<u64, Errno>) -> i64 {
    let result = descriptor::map(fd).map_err(|bad| Errno(bad.errno())).and_then(|map| run(&map));
    match result {
        Ok(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Err(Errno(errno)) => fail(errno).into(),
    }
}

/// Runs with a copy of the caller's key. For common sizes the compiler knows them.
#[inline(always)]
fn with_key<R>(
    map: &Map,
    key: *const c_void,
    run: impl FnOnce(&[u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    match map.spec().key_size {
        4 => run(&memory::load::<4>(key as u64)?),
        8 => run(&memory::load::<8>(key as u64)?),
        16 => run(&memory::load::<16>(key as u64)?),
        size => with_copy(size as usize, key, run),
    }
}

/// Runs with a copy of the caller's bytes.
#[inline]
fn with_copy<R>(
    bytes: usize,
    from: *const c_void,
    run: impl FnOnce(&[u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    with_buffer(bytes, |own| {
        memory::read(from as u64, own)?;
        run(own)
    })
}

/// `usermap_map_inc` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_inc(fd: c_int, key: *const c_void, delta: u64, flags: u64) -> c_int {
    short(fd, |map| with_key(map, key, |key| Ok(map.inc(key, delta, flags)?)))
}

/// `usermap_map_inc_and_return` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_inc_and_return(
    fd: c_int,
    key: *const c_void,
    delta: u64,
    value: *mut u64,
    flags: u64,
) -> c_int {
    short(fd, |map| {
        with_key(map, key, |key| {
            let sum = map.inc_and_return(key, delta, flags)?;
            Ok(memory::write(value as u64, &sum.to_ne_bytes())?)
        })
    })
}

/// `usermap_map_push` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_push(fd: c_int, value: *const c_void, flags: u64) -> c_int {
    short(fd, |map| with_copy(map.value_bytes(), value, |value| Ok(map.push(value, flags)?)))
}

/// `usermap_map_pop` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_pop(fd: c_int, value: *mut c_void, flags: u64) -> c_int {
    short(fd, |map| take(map, value, |own| map.pop(own, flags)))
}

/// `usermap_map_peek` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_peek(fd: c_int, value: *mut c_void, flags: u64) -> c_int {
    short(fd, |map| take(map, value, |own| map.peek(own, flags)))
}

fn take(
    map: &Map,
    value: *mut c_void,
    take: impl FnOnce(&mut [u8]) -> usermap::Result<()>,
) -> Result<(), Errno> {
    with_buffer(map.value_bytes(), |own| {
        take(own)?;
        Ok(memory::write(value as u64, own)?)
    })
}

/// `usermap_map_len_on` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_len_on(fd: c_int, cpu: u32) -> i64 {
    long(fd, |map| Ok(map.len_on(cpu)?))
}

/// `usermap_visit_fn` of `usermap.h`
pub type Visit = extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int;

/// Calls C for an entry; says whether to go on.
fn visit_by(visit: Visit, context: *mut c_void) -> impl FnMut(&[u8], &[u8]) -> bool {
    move |key, value| visit(key.as_ptr().cast(), value.as_ptr().cast(), context) == 0
}

/// `usermap_map_for_each` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_for_each(
    fd: c_int,
    visit: Option<Visit>,
    context: *mut c_void,
) -> i64 {
    long(fd, |map| {
        let visit = visit.ok_or(Errno(errno::EFAULT))?;
        Ok(map.for_each(visit_by(visit, context))?)
    })
}

/// `usermap_map_lookup_range` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_lookup_range(
    fd: c_int,
    first: *const c_void,
    last: *const c_void,
    visit: Option<Visit>,
    context: *mut c_void,
) -> i64 {
    long(fd, |map| {
        let visit = visit.ok_or(Errno(errno::EFAULT))?;
        with_key(map, first, |first| {
            with_key(map, last, |last| {
                Ok(map.lookup_range(first, last, visit_by(visit, context))?)
            })
        })
    })
}

/// `usermap_map_update_range` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_update_range(
    fd: c_int,
    first: *const c_void,
    last: *const c_void,
    value: *const c_void,
) -> i64 {
    long(fd, |map| {
        with_key(map, first, |first| {
            with_key(map, last, |last| {
                with_copy(map.value_bytes(), value, |value| {
                    Ok(map.update_range(first, last, value)?)
                })
            })
        })
    })
}

/// `usermap_map_delete_range` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_delete_range(
    fd: c_int,
    first: *const c_void,
    last: *const c_void,
) -> i64 {
    long(fd, |map| {
        with_key(map, first, |first| with_key(map, last, |last| Ok(map.delete_range(first, last)?)))
    })
}

/// `usermap_map_clear` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_clear(fd: c_int) -> i64 {
    long(fd, |map| Ok(map.clear()?))
}

/// `usermap_map_len` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_len(fd: c_int) -> i64 {
    long(fd, |map| Ok(map.len()))
}

/// `usermap_map_value_bytes` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_value_bytes(fd: c_int) -> i64 {
    long(fd, |map| Ok(map.value_bytes() as u64))
}

/// `usermap_map_cpus` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_cpus(fd: c_int) -> c_int {
    answer(descriptor::map(fd).map(|map| map.cpus() as c_int).map_err(|bad| bad.errno()))
}

/// `usermap_map_huge_bytes` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_huge_bytes(fd: c_int) -> i64 {
    long(fd, |map| Ok(map.huge_pages().bytes))
}

/// `usermap_map_sync` of `usermap.h`
#[unsafe(no_mangle)]
pub extern "C" fn usermap_map_sync(fd: c_int) -> c_int {
    long(fd, |map| map.sync().map(|()| 0).map_err(Errno::from)) as c_int
}
