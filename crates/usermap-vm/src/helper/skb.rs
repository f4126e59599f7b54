//! `__sk_buff`: copy to and from the packet, and its notes that programs may set.

use super::arguments::{Called, clear, context, fail};
use super::checksum;
use super::resize::{VLAN, is_vlan};
use super::xdp::copy_across;
use crate::context::{ETH_HLEN, Kind, Packet, field, publish_skb};
use crate::error::FaultKind;
use crate::run::{Run, Stop, wrong};

/// Flags of `bpf_skb_store_bytes`.
const RECOMPUTE_CHECKSUM: u64 = 1;
const INVALIDATE_HASH: u64 = 2;
/// Headers that `bpf_skb_load_bytes_relative` counts from.
const FROM_MAC: u64 = 0;
const FROM_NETWORK: u64 = 1;
/// `PACKET_HOST` to `PACKET_OTHERHOST`
const PACKET_TYPES: u64 = 3;
/// Offsets of legacy loads from here on count from the network layer's header (`SKF_NET_OFF`).
const NETWORK: i64 = -0x10_0000;
/// And from here on, below those, from the link layer's (`SKF_LL_OFF`).
const LINK: i64 = -0x20_0000;
/// Clocks of time stamps (`BPF_SKB_CLOCK_*`).
const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;
const TAI: u64 = 2;

/// Tells the program what has become of its packet.
pub(super) fn publish(run: &Run<'_>) -> Called {
    publish_skb(run.memory, &run.packet)?;
    Ok(0)
}

/// `bpf_skb_load_bytes(skb, offset, to, size)`
pub(super) fn load_bytes(run: &mut Run<'_>, [skb, offset, to, bytes, _]: [u64; 5]) -> Called {
    context(run, "bpf_skb_load_bytes", skb, Kind::Skb)?;
    let (offset, bytes) = (u64::from(offset as u32), u64::from(bytes as u32));
    match run.packet.at(offset, bytes).filter(|_| offset <= i32::MAX as u64) {
        Some(at) => copy_across(run, at, to, bytes),
        None => bad_load(run, to, bytes),
    }
}

/// What a load gives that is not within the packet: zeros, and EFAULT.
fn bad_load(run: &mut Run<'_>, to: u64, bytes: u64) -> Called {
    clear(run.memory, to, bytes)?;
    fail(libc::EFAULT)
}

/// `bpf_skb_load_bytes_relative(skb, offset, to, size, start)`
pub(super) fn load_bytes_relative(
    run: &mut Run<'_>,
    [skb, offset, to, bytes, start]: [u64; 5],
) -> Called {
    context(run, "bpf_skb_load_bytes_relative", skb, Kind::Skb)?;
    let (offset, bytes) = (u64::from(offset as u32), u64::from(bytes as u32));
    let start = match u64::from(start as u32) {
        _ if offset > 0xffff => None,
        FROM_MAC => Some(run.packet.mac),
        FROM_NETWORK => Some(run.packet.network),
        _ => None,
    };
    let at = start.map(|start| start + offset).filter(|at| at + bytes <= run.packet.end);
    match at {
        Some(at) => copy_across(run, at, to, bytes),
        None => bad_load(run, to, bytes),
    }
}

/// A legacy load from a packet (`LD_ABS`, `LD_IND`): a number in network order, or nothing if it is
/// not all within the packet, which ends the function.
pub(crate) fn load_packet(
    run: &Run<'_>,
    skb: u64,
    offset: i32,
    width: u8,
) -> Result<Option<u64>, FaultKind> {
    let packet = &run.packet;
    if packet.kind != Kind::Skb || skb != Packet::context() {
        return Err(wrong("a load from the packet", "r6 is not a __sk_buff".to_owned()));
    }
    let offset = i64::from(offset);
    let from = match offset {
        0.. => packet.data as i64 + offset,
        NETWORK.. => packet.network as i64 + (offset - NETWORK),
        LINK.. => packet.mac as i64 + (offset - LINK),
        _ => return Ok(None),
    };
    let from = u64::try_from(from).unwrap_or(u64::MAX);
    if from.saturating_add(width.into()) > packet.end {
        return Ok(None);
    }
    let value = run.memory.load(from, width)?;
    Ok(Some(value.swap_bytes() >> (64 - u32::from(width) * 8)))
}

/// `bpf_skb_store_bytes(skb, offset, from, size, flags)`. Checksums over all of a packet are not
/// kept here, so there is none to compute again.
pub(super) fn store_bytes(
    run: &mut Run<'_>,
    [skb, offset, from, bytes, flags]: [u64; 5],
) -> Called {
    context(run, "bpf_skb_store_bytes", skb, Kind::Skb)?;
    if flags & !(RECOMPUTE_CHECKSUM | INVALIDATE_HASH) != 0 {
        return fail(libc::EINVAL);
    }
    let (offset, bytes) = (u64::from(offset as u32), u64::from(bytes as u32));
    let at = run.packet.at(offset, bytes).filter(|_| offset <= i32::MAX as u64);
    let Some(at) = at else { return fail(libc::EFAULT) };
    copy_across(run, from, at, bytes)?;
    if flags & INVALIDATE_HASH != 0 {
        run.packet.hash = 0;
        return publish(run);
    }
    Ok(0)
}

/// `bpf_skb_pull_data(skb, length)`: all of a packet is in one piece here.
pub(super) fn pull_data(run: &mut Run<'_>, [skb, length, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_pull_data", skb, Kind::Skb)?;
    match u64::from(length as u32) > run.packet.length() {
        true => fail(libc::ENOMEM),
        false => Ok(0),
    }
}

/// `bpf_get_hash_recalc(skb)`: of addresses and ports, the same for both directions of a flow.
/// The kernel's depends on a secret.
pub(super) fn hash(run: &mut Run<'_>, [skb, ..]: [u64; 5]) -> Called {
    context(run, "bpf_get_hash_recalc", skb, Kind::Skb)?;
    if run.packet.hash == 0 {
        run.packet.hash = flow_hash(run);
        publish(run)?;
    }
    Ok(run.packet.hash.into())
}

/// Both ends are put together by what does not depend on their order.
fn flow_hash(run: &Run<'_>) -> u32 {
    let packet = &run.packet;
    let load = |offset: u64, size: u8| match packet.network + offset + u64::from(size) {
        end if end <= packet.end => run.memory.load(packet.network + offset, size).unwrap_or(0),
        _ => 0,
    };
    let (ends, protocol, transport) = match packet.protocol {
        [0x08, 0x00] => (load(12, 4) ^ load(16, 4), load(9, 1), (load(0, 1) & 0xf) * 4),
        [0x86, 0xdd] => {
            let ends = [8, 16, 24, 32].map(|offset| load(offset, 8));
            (ends[0] ^ ends[2] ^ (ends[1] ^ ends[3]).rotate_left(32), load(6, 1), 40)
        }
        _ => (0, 0, 0),
    };
    let ports = match protocol as i32 {
        libc::IPPROTO_TCP | libc::IPPROTO_UDP => load(transport, 2) ^ load(transport + 2, 2),
        _ => 0,
    };
    let word = ends ^ ports.rotate_left(17) ^ protocol << 56;
    let mixed = (word ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd);
    // 0 means that there is none.
    ((mixed >> 32) as u32).max(1)
}

/// `bpf_set_hash_invalid(skb)`
pub(super) fn set_hash_invalid(run: &mut Run<'_>, [skb, ..]: [u64; 5]) -> Called {
    context(run, "bpf_set_hash_invalid", skb, Kind::Skb)?;
    run.packet.hash = 0;
    publish(run)
}

/// `bpf_set_hash(skb, hash)`
pub(super) fn set_hash(run: &mut Run<'_>, [skb, hash, ..]: [u64; 5]) -> Called {
    context(run, "bpf_set_hash", skb, Kind::Skb)?;
    run.packet.hash = hash as u32;
    publish(run)
}

/// `bpf_skb_change_type(skb, type)`
pub(super) fn change_type(run: &mut Run<'_>, [skb, packet_type, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_change_type", skb, Kind::Skb)?;
    let packet_type = u64::from(packet_type as u32);
    let at = Packet::context() + field::PKT_TYPE as u64;
    if packet_type > PACKET_TYPES || run.memory.load(at, 4)? > PACKET_TYPES {
        return fail(libc::EINVAL);
    }
    run.memory.store(at, 4, packet_type)?;
    Ok(0)
}

/// `bpf_skb_set_tstamp(skb, time, clock)`
pub(super) fn set_tstamp(run: &mut Run<'_>, [skb, time, kind, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_set_tstamp", skb, Kind::Skb)?;
    if !matches!(run.packet.protocol, [0x08, 0x00] | [0x86, 0xdd]) {
        return fail(libc::EOPNOTSUPP);
    }
    let kind = u64::from(kind as u32);
    let valid = match kind {
        REALTIME => true,
        MONOTONIC | TAI => time != 0,
        _ => false,
    };
    if !valid {
        return fail(libc::EINVAL);
    }
    run.memory.store(Packet::context() + field::TSTAMP as u64, 8, time)?;
    run.memory.store(Packet::context() + field::TSTAMP_TYPE as u64, 1, kind)?;
    Ok(0)
}

/// `bpf_skb_ecn_set_ce(skb)`: sets "congestion experienced"; gives 1 if it is set now. As in the
/// kernel the protocol is that behind all VLAN tags, but the header is where the network layer's
/// is taken to be: at the first of them.
pub(super) fn set_congestion(run: &mut Run<'_>, [skb, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_ecn_set_ce", skb, Kind::Skb)?;
    let (header, end) = (run.packet.network, run.packet.end);
    match protocol_behind_tags(run)? {
        [0x08, 0x00] if header + 20 <= end => set_congestion_ipv4(run, header),
        [0x86, 0xdd] if header + 40 <= end => set_congestion_ipv6(run, header),
        _ => Ok(0),
    }
}

fn protocol_behind_tags(run: &Run<'_>) -> Result<[u8; 2], Stop> {
    let mut protocol = run.packet.protocol;
    let mut at = run.packet.mac + ETH_HLEN;
    while is_vlan(protocol) {
        if at + VLAN > run.packet.end {
            return Ok([0; 2]);
        }
        run.memory.read(at + 2, &mut protocol)?;
        at += VLAN;
    }
    Ok(protocol)
}

/// Of the type of service; the header's checksum covers it.
fn set_congestion_ipv4(run: &Run<'_>, header: u64) -> Called {
    let service = run.memory.load(header + 1, 1)? as u8;
    match service & 3 {
        0 => return Ok(0),
        3 => return Ok(1),
        _ => run.memory.store(header + 1, 1, (service | 3).into())?,
    }
    // As two bytes of the packet, of which only the second changed.
    let word = |service: u8| u32::from(u16::from_ne_bytes([0, service]));
    let checksum = !(run.memory.load(header + 10, 2)? as u16);
    let sum = checksum::sub(checksum.into(), word(service));
    let sum = checksum::add(sum, word(service | 3));
    run.memory.store(header + 10, 2, checksum::fold(sum).into())?;
    Ok(1)
}

/// Of the traffic class, which straddles the first two bytes.
fn set_congestion_ipv6(run: &Run<'_>, header: u64) -> Called {
    let second = run.memory.load(header + 1, 1)? as u8;
    match second >> 4 & 3 {
        0 => return Ok(0),
        3 => {}
        _ => run.memory.store(header + 1, 1, (second | 0x30).into())?,
    }
    Ok(1)
}
