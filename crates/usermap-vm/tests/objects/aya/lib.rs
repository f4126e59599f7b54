//! Counts packets, and those of each UDP or TCP port that they are for, with aya-ebpf's maps.
#![no_std]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{HashMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;

#[map]
static PORTS: HashMap<u16, u64> = HashMap::with_max_entries(1024, 0);
#[map]
static TOTAL: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where the port is, behind headers of Ethernet and of IPv4 without options.
const PORT: usize = 14 + 20 + 2;

#[xdp]
pub fn count(context: XdpContext) -> u32 {
    if let Some(total) = TOTAL.get_ptr_mut(0) {
        unsafe { *total += 1 };
    }
    if context.data() + PORT + 2 > context.data_end() {
        return xdp_action::XDP_DROP;
    }
    let port = u16::from_be(unsafe { *((context.data() + PORT) as *const u16) });
    match PORTS.get_ptr_mut(&port) {
        Some(count) => unsafe { *count += 1 },
        None => drop(PORTS.insert(&port, &1, 0)),
    }
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
