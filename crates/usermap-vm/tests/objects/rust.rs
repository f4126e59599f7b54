//! What aya-ebpf's macros expand to, for rustc alone: a map in section `maps`, a variable, a
//! program, and a function in a section of its own. Its parts of `core` are spelled out, as there
//! are none built for this target.
#![feature(auto_traits, intrinsics, lang_items, no_core, rustc_attrs)]
#![no_core]
#![crate_type = "lib"]
#![allow(internal_features, non_camel_case_types)]

#[lang = "pointee_sized"]
trait PointeeSized {}
#[lang = "meta_sized"]
trait MetaSized: PointeeSized {}
#[lang = "sized"]
trait Sized: MetaSized {}
#[lang = "destruct"]
trait Destruct: PointeeSized {}
#[lang = "drop_in_place"]
unsafe fn drop_in_place<T: PointeeSized>(_: *mut T) {}
#[lang = "copy"]
trait Copy {}
#[lang = "sync"]
trait Sync {}
#[lang = "freeze"]
unsafe auto trait Freeze {}
#[lang = "legacy_receiver"]
trait LegacyReceiver {}
impl Copy for u32 {}
impl Copy for u64 {}
impl<T: PointeeSized> Copy for *const T {}
impl<T: PointeeSized> Copy for *mut T {}
impl Sync for u32 {}
impl Sync for bpf_map_def {}
#[rustc_intrinsic]
unsafe fn volatile_load<T>(place: *const T) -> T;
#[rustc_intrinsic]
const unsafe fn transmute<A, B>(a: A) -> B;

#[repr(C)]
pub struct bpf_map_def {
    type_: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    id: u32,
    pinning: u32,
}

#[unsafe(link_section = "maps")]
#[unsafe(export_name = "COUNTERS")]
static COUNTERS: bpf_map_def = bpf_map_def {
    type_: 1,
    key_size: 4,
    value_size: 8,
    max_entries: 1024,
    map_flags: 0,
    id: 0,
    pinning: 0,
};

#[unsafe(no_mangle)]
static LIMIT: u32 = 9;

#[inline(never)]
fn limit() -> u32 {
    unsafe { volatile_load(&raw const LIMIT) }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn drop_all(_ctx: *mut u32) -> u32 {
    unsafe {
        let lookup: extern "C" fn(*const bpf_map_def, *const u32) -> *const u64 = transmute(1u64);
        let key = limit();
        lookup(&raw const COUNTERS, &raw const key);
    }
    limit()
}
