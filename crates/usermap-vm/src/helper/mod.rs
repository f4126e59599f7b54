//! Helpers: what programs call by number. Each gets the run and r1 to r5, and gives r0; or stops
//! the program if it was called in a way that the kernel's verifier would have refused.
//!
//! Which programs may call which helper is as Linux 6.18 has it. A helper never sees the program's
//! memory but through the cage, which checks all addresses, and copies it before looking at it.

mod arguments;
mod checksum;
mod control;
mod event;
mod format;
mod map;
mod memory;
mod ours;
mod print;
mod program_array;
mod redirect;
mod resize;
mod skb;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod xdp;

pub(crate) use arguments::{FEW_BYTES, outcome, with_bytes};
pub(crate) use control::release;
pub(crate) use event::EventArray;
pub use event::{Event, Events};
pub(crate) use program_array::ProgramArray;
pub(crate) use skb::load_packet;

use crate::helper_names::NAMES;
use crate::program_type::ProgramType;
use crate::run::{Run, Stop};
use usermap::abi::helper as own;

/// `BPF_MAP_TYPE_PROG_ARRAY`
pub(crate) const PROG_ARRAY: u32 = 3;
/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
pub(crate) const PERF_EVENT_ARRAY: u32 = 4;

/// A helper's code.
pub(crate) type Function = fn(&mut Run<'_>, [u64; 5]) -> Result<u64, Stop>;

/// A helper.
pub(crate) struct Helper {
    /// Its number.
    pub(crate) id: u32,
    /// Its name, as programs have it.
    pub(crate) name: &'static str,
    /// Which programs may call it.
    pub(crate) allowed: fn(ProgramType) -> bool,
    pub(crate) function: Function,
}

fn any(_: ProgramType) -> bool {
    true
}

/// Of traffic control.
fn tc(program: ProgramType) -> bool {
    matches!(program, ProgramType::SchedCls | ProgramType::SchedAct)
}

fn xdp(program: ProgramType) -> bool {
    program == ProgramType::Xdp
}

fn tc_or_xdp(program: ProgramType) -> bool {
    tc(program) || xdp(program)
}

fn skb(program: ProgramType) -> bool {
    program.has_skb()
}

/// Of a network.
fn network(program: ProgramType) -> bool {
    skb(program) || xdp(program)
}

fn tc_or_cgroup(program: ProgramType) -> bool {
    tc(program) || program == ProgramType::CgroupSkb
}

/// Tracing, which may happen while a lock is held.
fn tracing(program: ProgramType) -> bool {
    use ProgramType::*;
    matches!(program, Kprobe | Tracepoint | RawTracepoint)
}

fn tracing_or_syscall(program: ProgramType) -> bool {
    tracing(program) || program == ProgramType::Syscall
}

/// What may take locks.
fn locking(program: ProgramType) -> bool {
    !tracing(program) && program != ProgramType::SocketFilter
}

/// A helper that Linux has.
const fn linux(id: u32, allowed: fn(ProgramType) -> bool, function: Function) -> Helper {
    Helper { id, name: NAMES[id as usize - 1], allowed, function }
}

/// A helper of usermap's own.
const fn ours(id: u32, name: &'static str, function: Function) -> Helper {
    Helper { id, name, allowed: any, function }
}

/// All helpers, by number.
static HELPERS: [Helper; 73] = [
    linux(1, any, map::lookup),
    linux(2, any, map::update),
    linux(3, any, map::delete),
    linux(4, tracing_or_syscall, memory::probe_read),
    linux(5, any, time::ktime),
    linux(6, any, print::printk),
    linux(7, any, time::random),
    linux(8, any, time::cpu),
    linux(9, tc, skb::store_bytes),
    linux(10, tc, checksum::replace_network),
    linux(11, tc, checksum::replace_transport),
    linux(12, any, control::tail_call),
    linux(13, tc, redirect::clone),
    linux(14, any, time::process),
    linux(15, any, time::user),
    linux(16, any, time::comm),
    linux(18, tc, resize::vlan_push),
    linux(19, tc, resize::vlan_pop),
    linux(23, tc_or_xdp, redirect::device),
    linux(25, any, event::output),
    linux(26, skb, skb::load_bytes),
    linux(28, tc_or_xdp, checksum::diff),
    linux(32, tc, skb::change_type),
    linux(34, tc, skb::hash),
    linux(38, tc, resize::change_tail),
    linux(39, tc, skb::pull_data),
    linux(40, tc, checksum::update),
    linux(41, tc, skb::set_hash_invalid),
    linux(42, any, time::node),
    linux(43, tc, resize::change_head),
    linux(44, xdp, xdp::adjust_head),
    linux(45, tracing_or_syscall, memory::probe_read_text),
    linux(48, tc, skb::set_hash),
    linux(50, tc, resize::adjust_room),
    linux(54, xdp, xdp::adjust_meta),
    linux(65, xdp, xdp::adjust_tail),
    linux(68, skb, skb::load_bytes_relative),
    linux(87, any, map::push),
    linux(88, any, map::pop),
    linux(89, any, map::peek),
    linux(93, locking, control::lock),
    linux(94, locking, control::unlock),
    linux(97, tc_or_cgroup, skb::set_congestion),
    linux(105, any, text::strtol),
    linux(106, any, text::strtoul),
    linux(112, any, memory::probe_read),
    linux(113, any, memory::probe_read),
    linux(114, any, memory::probe_read_text),
    linux(115, any, memory::probe_read_text),
    linux(118, any, time::jiffies),
    linux(125, any, time::boot),
    linux(135, tc, checksum::level),
    linux(148, any, memory::probe_read),
    linux(152, tc, redirect::neighbour),
    linux(155, tc, redirect::peer),
    linux(160, network, time::coarse),
    linux(164, any, map::for_each),
    linux(165, any, print::snprintf),
    linux(177, any, print::vprintk),
    linux(181, any, control::repeat),
    linux(182, any, text::compare),
    linux(188, xdp, xdp::length),
    linux(189, xdp, xdp::load_bytes),
    linux(190, xdp, xdp::store_bytes),
    linux(192, tc, skb::set_tstamp),
    linux(195, any, map::lookup_percpu),
    linux(208, any, time::tai),
    ours(own::MAP_INC, "bpf_map_inc", ours::inc),
    ours(own::MAP_INC_AND_RETURN, "bpf_map_inc_and_return", ours::inc_and_return),
    ours(
        own::MAP_LOOKUP_AND_DELETE_ELEM,
        "bpf_map_lookup_and_delete_elem",
        ours::lookup_and_delete,
    ),
    ours(own::MAP_LOOKUP_BATCH, "bpf_map_lookup_batch", ours::lookup_batch),
    ours(own::MAP_UPDATE_BATCH, "bpf_map_update_batch", ours::update_batch),
    ours(own::MAP_DELETE_BATCH, "bpf_map_delete_batch", ours::delete_batch),
];

/// How many numbers there are up to the last of Linux's.
const NUMBERS: usize = NAMES.len() + 1;

/// Where in the list each of Linux's helpers is, plus 1; 0 where there is none.
static INDEX: [u8; NUMBERS] = {
    let mut index = [0; NUMBERS];
    let mut at = 0;
    while at < HELPERS.len() {
        let id = HELPERS[at].id as usize;
        if id < NUMBERS {
            index[id] = at as u8 + 1;
        }
        at += 1;
    }
    index
};

/// The helper with a number, if it is one that there is.
#[inline]
pub(crate) fn by_id(id: u32) -> Option<&'static Helper> {
    match INDEX.get(id as usize) {
        Some(at) => HELPERS.get(usize::from(*at).checked_sub(1)?),
        None => HELPERS.iter().rev().find(|helper| helper.id == id),
    }
}

/// The name of the helper with a number, whether it can be called here or only in Linux.
///
/// ```
/// assert_eq!(usermap_vm::helper_name(1), Some("bpf_map_lookup_elem"));
/// assert_eq!(usermap_vm::helper_name(0), None);
/// ```
pub fn helper_name(id: u32) -> Option<&'static str> {
    name_of(id)
}

/// The name of a helper, whether it is here or only in Linux.
pub(crate) fn name_of(id: u32) -> Option<&'static str> {
    let linux = id.checked_sub(1).and_then(|index| NAMES.get(index as usize));
    linux.copied().or_else(|| by_id(id).map(|helper| helper.name))
}

/// All helpers that there are, by number.
#[cfg(test)]
pub(crate) fn all() -> &'static [Helper] {
    &HELPERS
}
