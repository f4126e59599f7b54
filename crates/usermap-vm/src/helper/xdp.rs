//! XDP: move the packet's ends, copy to and from it.

use super::arguments::{Called, clear, context, copy, errno, fail, room, spend_on_bytes};
use crate::context::{ETH_HLEN, Kind, XDP_FRAME, is_metadata, publish_xdp};
use crate::run::{Run, Stop};

/// An address moved by a signed offset of 32 bits.
fn moved(address: u64, offset: u64) -> u64 {
    address.wrapping_add(i64::from(offset as i32) as u64)
}

fn publish(run: &Run<'_>) -> Called {
    publish_xdp(run.memory, &run.packet)?;
    Ok(0)
}

/// `bpf_xdp_adjust_head(xdp, offset)`: metadata moves along.
pub(super) fn adjust_head(run: &mut Run<'_>, [xdp, offset, ..]: [u64; 5]) -> Called {
    context(run, "bpf_xdp_adjust_head", xdp, Kind::Xdp)?;
    let (packet, data) = (&run.packet, moved(run.packet.data, offset));
    let metadata = packet.metadata();
    let first = packet.first + XDP_FRAME + metadata;
    if data < first || data + ETH_HLEN > packet.end {
        return fail(libc::EINVAL);
    }
    if metadata > 0 {
        let bytes = copy(run.memory, packet.meta, metadata as usize)?;
        run.memory.write(data - metadata, &bytes)?;
    }
    run.packet.data = data;
    run.packet.meta = data - metadata;
    publish(run)
}

/// `bpf_xdp_adjust_tail(xdp, offset)`: what is added is zeros.
pub(super) fn adjust_tail(run: &mut Run<'_>, [xdp, offset, ..]: [u64; 5]) -> Called {
    context(run, "bpf_xdp_adjust_tail", xdp, Kind::Xdp)?;
    let end = moved(run.packet.end, offset);
    if end > run.packet.last || end < run.packet.data + ETH_HLEN {
        return fail(libc::EINVAL);
    }
    if end > run.packet.end {
        clear(run.memory, run.packet.end, end - run.packet.end)?;
    }
    run.packet.end = end;
    publish(run)
}

/// `bpf_xdp_adjust_meta(xdp, offset)`
pub(super) fn adjust_meta(run: &mut Run<'_>, [xdp, offset, ..]: [u64; 5]) -> Called {
    context(run, "bpf_xdp_adjust_meta", xdp, Kind::Xdp)?;
    let meta = moved(run.packet.meta, offset);
    if meta < run.packet.first + XDP_FRAME || meta > run.packet.data {
        return fail(libc::EINVAL);
    }
    if !is_metadata(run.packet.data - meta) {
        return fail(libc::EACCES);
    }
    run.packet.meta = meta;
    publish(run)
}

/// `bpf_xdp_get_buff_len(xdp)`
pub(super) fn length(run: &mut Run<'_>, [xdp, ..]: [u64; 5]) -> Called {
    context(run, "bpf_xdp_get_buff_len", xdp, Kind::Xdp)?;
    Ok(run.packet.length() + run.packet.fragments)
}

/// Where bytes of the packet are, or the error that the kernel gives (`bpf_xdp_pointer`).
fn bytes_at(run: &Run<'_>, offset: u64, bytes: u64) -> Result<u64, i32> {
    let (offset, bytes) = (u64::from(offset as u32), u64::from(bytes as u32));
    if offset > 0xffff || bytes > 0xffff {
        return Err(libc::EFAULT);
    }
    run.packet.at(offset, bytes).ok_or(libc::EINVAL)
}

/// `bpf_xdp_load_bytes(xdp, offset, to, size)`
pub(super) fn load_bytes(run: &mut Run<'_>, [xdp, offset, to, bytes, _]: [u64; 5]) -> Called {
    context(run, "bpf_xdp_load_bytes", xdp, Kind::Xdp)?;
    match bytes_at(run, offset, bytes) {
        Ok(at) => copy_across(run, at, to, (bytes as u32).into()),
        Err(number) => Ok(errno(number)),
    }
}

/// `bpf_xdp_store_bytes(xdp, offset, from, size)`
pub(super) fn store_bytes(run: &mut Run<'_>, [xdp, offset, from, bytes, _]: [u64; 5]) -> Called {
    context(run, "bpf_xdp_store_bytes", xdp, Kind::Xdp)?;
    match bytes_at(run, offset, bytes) {
        Ok(at) => copy_across(run, from, at, (bytes as u32).into()),
        Err(number) => Ok(errno(number)),
    }
}

/// Copies bytes within the program's memory: no more than a packet has.
pub(super) fn copy_across(run: &mut Run<'_>, from: u64, to: u64, bytes: u64) -> Called {
    spend_on_bytes(run, bytes)?;
    copy_bytes(run, from, to, bytes as usize)?;
    Ok(0)
}

fn copy_bytes(run: &Run<'_>, from: u64, to: u64, bytes: usize) -> Result<(), Stop> {
    let mut small = [0; 64];
    if let Some(small) = small.get_mut(..bytes) {
        run.memory.read(from, small)?;
        return Ok(run.memory.write(to, small)?);
    }
    let mut copied = room(run.memory, to, bytes)?;
    run.memory.read(from, &mut copied)?;
    Ok(run.memory.write(to, &copied)?)
}
