//! What a lookup by descriptor costs: the Rust call, the C function (linked statically, and of the
//! shared library), bpf(2) as a preloaded program makes it, and bpf(2) of the running kernel, in one run.
//!
//! `cargo bench -p usermap-c --bench descriptor`. Each figure is the least of several rounds, which
//! take turns; a machine that does other things meanwhile shows in all of them.
#![allow(unsafe_code)]

use rustix::time::{ClockId, clock_gettime};
use std::arch::asm;
use std::ffi::{CStr, CString, c_void};
use std::hint::black_box;
use std::os::unix::ffi::OsStringExt;
use usermap::{Map, MapType, Spec};
use usermap_c::descriptor;
use usermap_c::foreign::element::{bpf_map_lookup_elem, bpf_map_update_elem};
use usermap_c::foreign::interpose::syscall;

const ENTRIES: u32 = 1024;
/// Few, so that a round is mostly over before something else runs on its CPU.
const LOOKUPS: u32 = 5_000;
const ROUNDS: u32 = 400;

const MAP_CREATE: u64 = 0;
const MAP_LOOKUP_ELEM: u64 = 1;
const MAP_UPDATE_ELEM: u64 = 2;

/// What the benchmark says of one way.
struct Way<'a> {
    name: &'static str,
    lookup: Box<dyn Fn(u32) -> u64 + 'a>,
    best: f64,
}

fn main() {
    // Cargo runs benchmarks as tests, too.
    let quick = std::env::args().any(|argument| argument == "--test");
    for (kind, name) in [(MapType::Array, "array"), (MapType::Hash, "hash")] {
        measure(kind, name, if quick { 1 } else { ROUNDS });
    }
}

fn measure(kind: MapType, name: &str, rounds: u32) {
    let map = Map::create(&Spec::new(kind, 4, 8, ENTRIES)).expect("a map");
    let fd = descriptor::install_map(map.clone()).expect("a descriptor");
    for key in 0..ENTRIES {
        let value = u64::from(key) + 1;
        let (key, value) = (&raw const key, &raw const value);
        assert_eq!(bpf_map_update_elem(fd, key.cast(), value.cast(), 0), 0);
    }
    let mut ways = vec![
        Way { name: "Map::lookup", lookup: Box::new(|key| by_rust(&map, key)), best: f64::MAX },
        Way { name: "sizes unknown", lookup: Box::new(|key| by_slices(&map, key)), best: f64::MAX },
        Way { name: "C function", lookup: Box::new(move |key| by_c(fd, key)), best: f64::MAX },
        Way { name: "in the library", lookup: Box::new(by_library(kind)), best: f64::MAX },
        Way {
            name: "bpf(2), wrapped",
            lookup: Box::new(move |key| by_wrapped(fd, key)),
            best: f64::MAX,
        },
    ];
    match kernel_map(kind) {
        Ok(fd) => ways.push(Way {
            name: "bpf(2), kernel",
            lookup: Box::new(move |key| by_kernel(fd, key)),
            best: f64::MAX,
        }),
        Err(errno) => println!("skipped: the kernel's bpf(2) is not allowed here (errno {errno})"),
    }
    for _ in 0..rounds {
        for way in &mut ways {
            way.best = way.best.min(nanoseconds(&way.lookup));
        }
    }
    report(name, &ways);
}

fn nanoseconds(lookup: &dyn Fn(u32) -> u64) -> f64 {
    // The thread's own time: that of others is not counted.
    let start = clock_gettime(ClockId::ThreadCPUTime);
    let mut key = 1_u32;
    for _ in 0..LOOKUPS {
        key = key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let index = (key >> 16) % ENTRIES;
        assert_eq!(lookup(black_box(index)), u64::from(index) + 1);
    }
    let end = clock_gettime(ClockId::ThreadCPUTime);
    let passed = (end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec;
    passed as f64 / f64::from(LOOKUPS)
}

fn report(name: &str, ways: &[Way<'_>]) {
    let rust = ways[0].best;
    println!("{name}: 4-byte keys, 8-byte values, {ENTRIES} entries");
    for way in ways {
        println!(
            "    {:<16} {:7.1} ns   {:+7.1} ns   {:6.2} x Map::lookup",
            way.name,
            way.best,
            way.best - rust,
            way.best / rust
        );
    }
    if let [.., wrapped, kernel] = ways
        && kernel.name == "bpf(2), kernel"
    {
        println!(
            "    the kernel's bpf(2) takes {:.1} x the wrapped one",
            kernel.best / wrapped.best
        );
    }
}

fn by_rust(map: &Map, key: u32) -> u64 {
    let mut value = [0; 8];
    map.lookup(&key.to_ne_bytes(), &mut value, 0).expect("an entry");
    u64::from_ne_bytes(value)
}

/// As `by_rust`, without telling the compiler how long keys and values are: C does not, either.
fn by_slices(map: &Map, key: u32) -> u64 {
    let (key, mut value) = (key.to_ne_bytes(), [0; 8]);
    map.lookup(black_box(&key[..]), black_box(&mut value[..]), 0).expect("an entry");
    u64::from_ne_bytes(value)
}

fn by_c(fd: i32, key: u32) -> u64 {
    let mut value = 0_u64;
    bpf_map_lookup_elem(fd, (&raw const key).cast(), (&raw mut value).cast());
    value
}

/// By the function of the shared library, which has tables and maps of its own.
fn by_library(kind: MapType) -> impl Fn(u32) -> u64 {
    type Create =
        extern "C" fn(u32, *const libc::c_char, u32, u32, u32, *const c_void) -> libc::c_int;
    type Update = extern "C" fn(i32, *const u32, *const u64, u64) -> libc::c_int;
    type Lookup = extern "C" fn(i32, *const u32, *mut u64) -> libc::c_int;
    // Cargo builds it with the library that this is linked with, and puts it beside this.
    let path = std::env::current_exe().expect("a path").with_file_name("libusermap_c.so");
    let path = CString::new(path.into_os_string().into_vec()).expect("a path without zeros");
    // SAFETY: the library's own start does nothing that this would have to know of.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!library.is_null(), "{path:?} cannot be loaded");
    let function = |name: &CStr| {
        // SAFETY: the library was loaded, and the name is a C string.
        let function = unsafe { libc::dlsym(library, name.as_ptr()) };
        assert!(!function.is_null(), "no {name:?}");
        function
    };
    // SAFETY: the types are those of `bpf/bpf.h`.
    let (create, update, lookup) = unsafe {
        (
            std::mem::transmute::<*mut c_void, Create>(function(c"bpf_map_create")),
            std::mem::transmute::<*mut c_void, Update>(function(c"bpf_map_update_elem")),
            std::mem::transmute::<*mut c_void, Lookup>(function(c"bpf_map_lookup_elem")),
        )
    };
    let fd = create(kind as u32, c"".as_ptr(), 4, 8, ENTRIES, std::ptr::null());
    for key in 0..ENTRIES {
        assert_eq!(update(fd, &key, &(u64::from(key) + 1), 0), 0);
    }
    move |key| {
        let mut value = 0;
        lookup(fd, &key, &mut value);
        value
    }
}

/// The attribute of the commands on an element.
fn attribute(fd: i32, key: *const u32, value: *mut u64) -> [u64; 4] {
    [fd as u64, key as u64, value as u64, 0]
}

fn by_wrapped(fd: i32, key: u32) -> u64 {
    let mut value = 0_u64;
    let attr = attribute(fd, &raw const key, &raw mut value);
    // SAFETY: the attribute's addresses are of this program's own variables.
    unsafe { syscall(libc::SYS_bpf, MAP_LOOKUP_ELEM, attr.as_ptr() as u64, 32, 0, 0, 0) };
    value
}

fn by_kernel(fd: i32, key: u32) -> u64 {
    let mut value = 0_u64;
    kernel(MAP_LOOKUP_ELEM, &attribute(fd, &raw const key, &raw mut value));
    value
}

/// The same map in the kernel.
fn kernel_map(kind: MapType) -> Result<i32, i64> {
    let spec = [kind as u64 | 4 << 32, 8 | u64::from(ENTRIES) << 32, 0, 0];
    let fd = kernel(MAP_CREATE, &spec);
    if fd < 0 {
        return Err(-fd);
    }
    for key in 0..ENTRIES {
        let mut value = u64::from(key) + 1;
        let attr = attribute(fd as i32, &raw const key, &raw mut value);
        assert_eq!(kernel(MAP_UPDATE_ELEM, &attr), 0);
    }
    Ok(fd as i32)
}

/// bpf(2) of the running kernel, past this library's `syscall`.
fn kernel(command: u64, attr: &[u64; 4]) -> i64 {
    let result: i64;
    let attr: *const c_void = attr.as_ptr().cast();
    // SAFETY: the attribute's addresses are of this program's own variables.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") 321_i64 => result,
            in("rdi") command,
            in("rsi") attr,
            in("rdx") 32,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}
