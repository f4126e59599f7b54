//! The ways to a map's entries.

use std::arch::asm;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::os::unix::ffi::OsStringExt;
use usermap::{Map, MapType, Spec};
use usermap_c::foreign::element::{bpf_map_delete_elem, bpf_map_lookup_elem, bpf_map_update_elem};
use usermap_c::foreign::interpose::syscall;
use usermap_c::foreign::object::bpf_map_create;
use usermap_c::foreign::own::usermap_map_inc;

/// What is done to the entry with this number.
pub type Way = Box<dyn Fn(u32)>;

pub const WAYS: [&str; 6] =
    ["Map", "sizes unknown", "C function", "in the library", "bpf(2), wrapped", "bpf(2), kernel"];

#[derive(Clone, Copy, PartialEq)]
pub enum Operation {
    Lookup,
    Update,
    Inc,
    /// A deletion, and an insertion.
    Replace,
}

impl Operation {
    pub const ALL: [Operation; 4] =
        [Operation::Lookup, Operation::Update, Operation::Inc, Operation::Replace];

    pub fn name(self) -> &'static str {
        match self {
            Operation::Lookup => "lookup",
            Operation::Update => "update",
            Operation::Inc => "increment",
            Operation::Replace => "delete, insert",
        }
    }
}

/// A way to do an operation on a new map with all entries; nothing if it cannot be done so.
pub fn of(shape: (MapType, usize, usize), operation: Operation, way: usize) -> Option<Way> {
    match shape {
        (MapType::Array, ..) if operation == Operation::Replace => None,
        (.., 9..) if operation == Operation::Inc => None,
        (kind, 4, 8) => sized::<4, 8>(kind, operation, way),
        (kind, 8, 8) => sized::<8, 8>(kind, operation, way),
        (kind, 16, 8) => sized::<16, 8>(kind, operation, way),
        (kind, 8, 32) => sized::<8, 32>(kind, operation, way),
        (kind, 16, 64) => sized::<16, 64>(kind, operation, way),
        _ => None,
    }
}

fn sized<const K: usize, const V: usize>(
    kind: MapType,
    operation: Operation,
    way: usize,
) -> Option<Way> {
    match way {
        0 => Some(by_rust::<K, V>(kind, operation)),
        1 => Some(by_slices::<K, V>(kind, operation)),
        2 => Some(by_c::<K, V>(kind, operation, &LINKED)),
        3 => Some(by_c::<K, V>(kind, operation, &Functions::of_the_library())),
        4 => by_attribute::<K, V>(LINKED.map(kind, K, V).into(), operation, wrapped),
        _ => by_attribute::<K, V>(kernel_map(kind, K, V), operation, kernel),
    }
}

/// In whole words, so that they can be read back at once.
fn key<const K: usize>(index: u32) -> [u8; K] {
    std::array::from_fn(|at| u128::from(index).to_ne_bytes()[at])
}

fn value<const V: usize>(index: u32) -> [u8; V] {
    let mut value = [0; V];
    value[..4].copy_from_slice(&(index + 1).to_ne_bytes());
    value
}

fn check<const V: usize>(index: u32, found: &[u8; V]) {
    assert_eq!(found[..4], (index + 1).to_ne_bytes());
}

fn filled<const K: usize, const V: usize>(kind: MapType) -> Map {
    let map = Map::create(&Spec::new(kind, K as u32, V as u32, crate::ENTRIES)).expect("a map");
    for index in 0..crate::ENTRIES {
        map.update(&key::<K>(index), &value::<V>(index), 0).expect("there is room");
    }
    map
}

fn by_rust<const K: usize, const V: usize>(kind: MapType, operation: Operation) -> Way {
    let map = filled::<K, V>(kind);
    match operation {
        Operation::Lookup => Box::new(move |index| {
            let mut found = [0; V];
            map.lookup(&key::<K>(index), &mut found, 0).expect("an entry");
            check(index, &found);
        }),
        Operation::Update => Box::new(move |index| {
            map.update(&key::<K>(index), &value::<V>(index), 0).expect("an entry");
        }),
        Operation::Inc => Box::new(move |index| map.inc(&key::<K>(index), 1, 0).expect("one")),
        Operation::Replace => Box::new(move |index| {
            map.delete(&key::<K>(index)).expect("an entry");
            map.update(&key::<K>(index), &value::<V>(index), 0).expect("there is room");
        }),
    }
}

/// As `by_rust`, without telling the compiler how long keys and values are: C does not, either.
fn by_slices<const K: usize, const V: usize>(kind: MapType, operation: Operation) -> Way {
    let map = filled::<K, V>(kind);
    match operation {
        Operation::Lookup => Box::new(move |index| {
            let mut found = [0; V];
            map.lookup(black_box(&key::<K>(index)[..]), black_box(&mut found[..]), 0)
                .expect("an entry");
            check(index, &found);
        }),
        Operation::Update => Box::new(move |index| {
            let (key, value) = (key::<K>(index), value::<V>(index));
            map.update(black_box(&key[..]), black_box(&value[..]), 0).expect("an entry");
        }),
        Operation::Inc => Box::new(move |index| {
            map.inc(black_box(&key::<K>(index)[..]), 1, 0).expect("an entry");
        }),
        Operation::Replace => Box::new(move |index| {
            let (key, value) = (key::<K>(index), value::<V>(index));
            map.delete(black_box(&key[..])).expect("an entry");
            map.update(black_box(&key[..]), black_box(&value[..]), 0).expect("there is room");
        }),
    }
}

type Create = extern "C" fn(u32, *const c_char, u32, u32, u32, *const c_void) -> c_int;
type Lookup = extern "C" fn(c_int, *const c_void, *mut c_void) -> c_int;
type Update = extern "C" fn(c_int, *const c_void, *const c_void, u64) -> c_int;
type Delete = extern "C" fn(c_int, *const c_void) -> c_int;
type Inc = extern "C" fn(c_int, *const c_void, u64, u64) -> c_int;

/// The functions for C.
#[derive(Clone, Copy)]
struct Functions {
    create: Create,
    lookup: Lookup,
    update: Update,
    delete: Delete,
    inc: Inc,
}

/// Those that are linked statically.
static LINKED: Functions = Functions {
    create: bpf_map_create,
    lookup: bpf_map_lookup_elem,
    update: bpf_map_update_elem,
    delete: bpf_map_delete_elem,
    inc: usermap_map_inc,
};

impl Functions {
    /// A descriptor of a new map.
    fn map(&self, kind: MapType, key_size: usize, value_size: usize) -> c_int {
        let (key, value) = (key_size as u32, value_size as u32);
        (self.create)(kind as u32, c"".as_ptr(), key, value, crate::ENTRIES, std::ptr::null())
    }

    /// Those of the shared library, which has tables and maps of its own.
    fn of_the_library() -> Functions {
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
        // SAFETY: the types are those of `bpf/bpf.h` and `usermap.h`.
        unsafe {
            use std::mem::transmute;
            Functions {
                create: transmute::<*mut c_void, Create>(function(c"bpf_map_create")),
                lookup: transmute::<*mut c_void, Lookup>(function(c"bpf_map_lookup_elem")),
                update: transmute::<*mut c_void, Update>(function(c"bpf_map_update_elem")),
                delete: transmute::<*mut c_void, Delete>(function(c"bpf_map_delete_elem")),
                inc: transmute::<*mut c_void, Inc>(function(c"usermap_map_inc")),
            }
        }
    }
}

fn by_c<const K: usize, const V: usize>(
    kind: MapType,
    operation: Operation,
    functions: &Functions,
) -> Way {
    let Functions { lookup, update, delete, inc, .. } = *functions;
    let fd = functions.map(kind, K, V);
    let set = move |index| {
        let (key, value) = (key::<K>(index), value::<V>(index));
        assert_eq!(update(fd, key.as_ptr().cast(), value.as_ptr().cast(), 0), 0);
    };
    (0..crate::ENTRIES).for_each(set);
    match operation {
        Operation::Lookup => Box::new(move |index| {
            let mut found = [0; V];
            lookup(fd, key::<K>(index).as_ptr().cast(), found.as_mut_ptr().cast());
            check(index, &found);
        }),
        Operation::Update => Box::new(set),
        Operation::Inc => Box::new(move |index| {
            assert_eq!(inc(fd, key::<K>(index).as_ptr().cast(), 1, 0), 0);
        }),
        Operation::Replace => Box::new(move |index| {
            assert_eq!(delete(fd, key::<K>(index).as_ptr().cast()), 0);
            set(index);
        }),
    }
}

const MAP_CREATE: u64 = 0;
const MAP_LOOKUP_ELEM: u64 = 1;
const MAP_UPDATE_ELEM: u64 = 2;
const MAP_DELETE_ELEM: u64 = 3;

/// bpf(2) by an attribute of four words.
type Bpf = fn(u64, &[u64; 4]) -> i64;

fn by_attribute<const K: usize, const V: usize>(
    fd: i64,
    operation: Operation,
    bpf: Bpf,
) -> Option<Way> {
    if fd < 0 || operation == Operation::Inc {
        // The kernel's may not be allowed here. bpf(2) has no increments.
        return None;
    }
    let run = move |command, key: &[u8; K], value: *const u8| {
        let attr = [fd as u64, key.as_ptr() as u64, value as u64, 0];
        assert_eq!(bpf(command, &attr), 0);
    };
    let set = move |index| run(MAP_UPDATE_ELEM, &key::<K>(index), value::<V>(index).as_ptr());
    (0..crate::ENTRIES).for_each(set);
    Some(match operation {
        Operation::Lookup => Box::new(move |index| {
            let mut found = [0; V];
            run(MAP_LOOKUP_ELEM, &key::<K>(index), found.as_mut_ptr());
            check(index, &found);
        }),
        Operation::Replace => Box::new(move |index| {
            run(MAP_DELETE_ELEM, &key::<K>(index), std::ptr::null());
            set(index);
        }),
        _ => Box::new(set),
    })
}

fn wrapped(command: u64, attr: &[u64; 4]) -> i64 {
    // SAFETY: the attribute's addresses are of this program's own variables.
    unsafe { syscall(libc::SYS_bpf, command, attr.as_ptr() as u64, 32, 0, 0, 0) }
}

/// A descriptor of a new map of the kernel's, or an error number below 0.
fn kernel_map(kind: MapType, key_size: usize, value_size: usize) -> i64 {
    let sizes = kind as u64 | (key_size as u64) << 32;
    kernel(MAP_CREATE, &[sizes, value_size as u64 | u64::from(crate::ENTRIES) << 32, 0, 0])
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
