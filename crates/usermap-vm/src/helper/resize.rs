//! `__sk_buff`: make the packet longer or shorter, at its end, its start or in between.
//!
//! A packet that has no more room before it is moved within its part of the cage, as the kernel
//! moves it to a larger buffer; programs get its place anew in any case.

use super::arguments::{Called, clear, context, copy, fail, spend_on_bytes};
use super::skb::publish;
use crate::context::{ETH_HLEN, Kind, Summed};
use crate::run::{Run, Stop};
use usermap::abi::errno::ENOTSUPP;

/// Bytes of a VLAN tag.
pub(super) const VLAN: u64 = 4;
/// Protocols of VLAN tags.
const ETH_P_8021Q: [u8; 2] = [0x81, 0x00];
const ETH_P_8021AD: [u8; 2] = [0x88, 0xa8];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// The longest that a packet is made (`BPF_SKB_MAX_LEN`, of 4 pages and 320 bytes that are the
/// kernel's); one that is longer already stays as long as it is.
const MAX_LENGTH: u64 = 4 * 4096 - 320;
/// The most that `bpf_skb_adjust_room` changes.
const ROOM_MOST: u32 = 0xfff;

/// Flags of `bpf_skb_adjust_room`.
mod room {
    pub(super) const FIXED_GSO: u64 = 1 << 0;
    pub(super) const ENCAP_L3_IPV4: u64 = 1 << 1;
    pub(super) const ENCAP_L3_IPV6: u64 = 1 << 2;
    pub(super) const ENCAP_L3: u64 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6;
    pub(super) const ENCAP_L4_GRE: u64 = 1 << 3;
    pub(super) const ENCAP_L4_UDP: u64 = 1 << 4;
    pub(super) const NO_CSUM_RESET: u64 = 1 << 5;
    pub(super) const ENCAP_L2_ETH: u64 = 1 << 6;
    pub(super) const DECAP_L3_IPV4: u64 = 1 << 7;
    pub(super) const DECAP_L3_IPV6: u64 = 1 << 8;
    pub(super) const DECAP_L3: u64 = DECAP_L3_IPV4 | DECAP_L3_IPV6;
    pub(super) const ENCAP_L2_SHIFT: u32 = 56;
    pub(super) const ENCAP_L2: u64 = 0xff << ENCAP_L2_SHIFT;
    pub(super) const ALL: u64 = FIXED_GSO
        | ENCAP_L3
        | ENCAP_L4_GRE
        | ENCAP_L4_UDP
        | NO_CSUM_RESET
        | ENCAP_L2_ETH
        | DECAP_L3
        | ENCAP_L2;
    pub(super) const OF_SHRINKING: u64 = FIXED_GSO | DECAP_L3 | NO_CSUM_RESET;
    pub(super) const MODE_NET: u32 = 0;
    pub(super) const MODE_MAC: u32 = 1;
}

/// `bpf_skb_change_tail(skb, length, flags)`: what is added is zeros.
pub(super) fn change_tail(run: &mut Run<'_>, [skb, length, flags, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_change_tail", skb, Kind::Skb)?;
    let length = u64::from(length as u32);
    let packet = &run.packet;
    // Down to the last header that is known.
    let last_header = packet.transport.unwrap_or(packet.network);
    let least = last_header.saturating_sub(packet.data);
    if flags != 0 || length > MAX_LENGTH || length < least {
        return fail(libc::EINVAL);
    }
    if packet.encapsulated {
        return fail(ENOTSUPP);
    }
    if length > packet.length() {
        let more = length - packet.length();
        if packet.last - packet.end < more {
            let up = packet.data - packet.first;
            shift(run, up)?;
        }
        clear(run.memory, run.packet.end, more)?;
    }
    run.packet.end = run.packet.data + length;
    publish(run)
}

/// `bpf_skb_change_head(skb, bytes, flags)`: zeros before the packet, as the start of a new
/// Ethernet header.
pub(super) fn change_head(run: &mut Run<'_>, [skb, bytes, flags, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_change_head", skb, Kind::Skb)?;
    let bytes = u64::from(bytes as u32);
    if flags != 0 || bytes > i32::MAX as u64 || run.packet.length() + bytes > MAX_LENGTH {
        return fail(libc::EINVAL);
    }
    make_room(run, bytes)?;
    run.packet.data -= bytes;
    run.packet.meta = run.packet.data;
    run.packet.mac = run.packet.data;
    clear(run.memory, run.packet.data, bytes)?;
    publish(run)
}

/// Moves the packet up if there are fewer bytes before it.
fn make_room(run: &mut Run<'_>, bytes: u64) -> Result<(), Stop> {
    let packet = &run.packet;
    if packet.data - packet.first >= bytes {
        return Ok(());
    }
    // To the end of the room, so that all that is left is before it.
    let down = packet.last - packet.end;
    move_by(run, down as i64)
}

/// Moves the packet towards the start of its room.
fn shift(run: &mut Run<'_>, bytes: u64) -> Result<(), Stop> {
    move_by(run, -(bytes as i64))
}

fn move_by(run: &mut Run<'_>, bytes: i64) -> Result<(), Stop> {
    let length = run.packet.length();
    spend_on_bytes(run, length)?;
    let content = copy(run.memory, run.packet.data, length as usize)?;
    let packet = &mut run.packet;
    let places =
        [&mut packet.data, &mut packet.end, &mut packet.meta, &mut packet.mac, &mut packet.network];
    for place in places.into_iter().chain(packet.transport.as_mut()) {
        *place = place.wrapping_add_signed(bytes);
    }
    run.memory.write(run.packet.data, &content)?;
    Ok(())
}

/// Puts zeros in, so far behind the start of the packet; what is before them moves.
fn push(run: &mut Run<'_>, offset: u64, bytes: u64) -> Result<(), Stop> {
    make_room(run, bytes)?;
    let before = copy_before(run, run.packet.data, offset)?;
    run.packet.data -= bytes;
    run.packet.meta = run.packet.data;
    run.memory.write(run.packet.data, &before)?;
    clear(run.memory, run.packet.data + offset, bytes)
}

/// Takes bytes out, so far behind the start of the packet.
fn pop(run: &mut Run<'_>, offset: u64, bytes: u64) -> Result<(), Stop> {
    let before = copy_before(run, run.packet.data, offset)?;
    run.packet.data += bytes;
    run.packet.meta = run.packet.data;
    Ok(run.memory.write(run.packet.data, &before)?)
}

fn copy_before(run: &Run<'_>, address: u64, bytes: u64) -> Result<Vec<u8>, Stop> {
    match bytes {
        0 => Ok(Vec::new()),
        bytes => copy(run.memory, address, bytes as usize),
    }
}

pub(super) fn is_vlan(protocol: [u8; 2]) -> bool {
    matches!(protocol, ETH_P_8021Q | ETH_P_8021AD)
}

/// `bpf_skb_vlan_push(skb, protocol, tci)`: a tag that is beside the packet goes into it first.
pub(super) fn vlan_push(run: &mut Run<'_>, [skb, protocol, tci, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_vlan_push", skb, Kind::Skb)?;
    let protocol = (protocol as u16).to_ne_bytes();
    let protocol = if is_vlan(protocol) { protocol } else { ETH_P_8021Q };
    if let Some((inner, tci)) = run.packet.vlan {
        if run.packet.length() + VLAN > run.packet.last - run.packet.first {
            return fail(libc::ENOMEM);
        }
        // Between the addresses and the protocol.
        push(run, ETH_HLEN - 2, VLAN)?;
        let at = run.packet.data + ETH_HLEN - 2;
        run.memory.write(at, &inner)?;
        run.memory.write(at + 2, &tci.to_be_bytes())?;
        run.packet.mac = run.packet.data;
        run.packet.network -= VLAN;
        run.packet.protocol = inner;
    }
    run.packet.vlan = tag(protocol, tci as u16);
    publish(run)
}

/// A tag; none if there is nothing in it.
fn tag(protocol: [u8; 2], tci: u16) -> Option<([u8; 2], u16)> {
    (protocol != [0; 2] || tci != 0).then_some((protocol, tci))
}

/// `bpf_skb_vlan_pop(skb)`: the outermost tag goes, and the next one is put beside the packet.
pub(super) fn vlan_pop(run: &mut Run<'_>, [skb, ..]: [u64; 5]) -> Called {
    context(run, "bpf_skb_vlan_pop", skb, Kind::Skb)?;
    if run.packet.vlan.take().is_none() {
        if !is_vlan(run.packet.protocol) {
            return Ok(0);
        }
        if vlan_take(run)?.is_none() {
            return fail(libc::ENOMEM);
        }
    }
    if is_vlan(run.packet.protocol) {
        let protocol = run.packet.protocol;
        let Some(tci) = vlan_take(run)? else {
            publish(run)?;
            return fail(libc::ENOMEM);
        };
        run.packet.vlan = tag(protocol, tci);
    }
    publish(run)
}

/// Takes the tag out of the packet; nothing if it is too short for one.
fn vlan_take(run: &mut Run<'_>) -> Result<Option<u16>, Stop> {
    let Some(at) = run.packet.at(ETH_HLEN, VLAN) else { return Ok(None) };
    let mut header = [0; 4];
    run.memory.read(at, &mut header)?;
    let [high, low, protocol @ ..] = header;
    // What `protocol_of` makes of a header that looks like this and what comes then.
    let mut start = [0; 16];
    start[12..14].copy_from_slice(&protocol);
    if let Some(next) = run.packet.at(ETH_HLEN + VLAN, 2) {
        run.memory.read(next, &mut start[14..])?;
    }
    pop(run, ETH_HLEN - 2, VLAN)?;
    run.packet.protocol = crate::context::protocol_of(&start);
    run.packet.mac = run.packet.data;
    run.packet.network = run.packet.network.max(run.packet.data + ETH_HLEN);
    Ok(Some(u16::from_be_bytes([high, low])))
}

/// The shortest header of the network layer.
fn network_header(protocol: [u8; 2]) -> Option<u64> {
    match protocol {
        IPV4 => Some(20),
        IPV6 => Some(40),
        _ => None,
    }
}

/// `bpf_skb_adjust_room(skb, difference, mode, flags)`
pub(super) fn adjust_room(
    run: &mut Run<'_>,
    [skb, difference, mode, flags, _]: [u64; 5],
) -> Called {
    context(run, "bpf_skb_adjust_room", skb, Kind::Skb)?;
    let difference = difference as i32;
    if flags & !room::ALL != 0 {
        return fail(libc::EINVAL);
    }
    if difference.unsigned_abs() > ROOM_MOST {
        return fail(libc::EFAULT);
    }
    let bytes = u64::from(difference.unsigned_abs());
    match change_room(run, bytes, difference < 0, mode as u32, flags)? {
        Ok(()) => {
            if flags & room::NO_CSUM_RESET == 0 {
                run.packet.summed = Summed::Unknown;
            }
            publish(run)
        }
        Err(number) => fail(number),
    }
}

fn change_room(
    run: &mut Run<'_>,
    bytes: u64,
    shrink: bool,
    mode: u32,
    flags: u64,
) -> Result<Result<(), i32>, Stop> {
    let packet = &run.packet;
    let Some(header) = network_header(packet.protocol) else { return Ok(Err(ENOTSUPP)) };
    let mac = packet.network.saturating_sub(packet.mac);
    let offset = match mode {
        room::MODE_NET => mac + header,
        room::MODE_MAC => mac,
        _ => return Ok(Err(ENOTSUPP)),
    };
    let least = match flags & room::DECAP_L3 {
        0 => header,
        _ if !shrink => return Ok(Err(libc::EINVAL)),
        room::DECAP_L3_IPV4 => 20,
        room::DECAP_L3_IPV6 => 40,
        _ => return Ok(Err(libc::EINVAL)),
    };
    let current = packet.end.saturating_sub(packet.network);
    let too_much = match shrink {
        true => bytes >= current || current - bytes < least,
        false => packet.length() + bytes > MAX_LENGTH,
    };
    // The kernel's packets are never shorter than the header that their protocol says.
    if too_much || offset > packet.length() {
        return Ok(Err(ENOTSUPP));
    }
    match shrink {
        true => shrink_room(run, offset, bytes, flags),
        false => grow_room(run, offset, bytes, flags),
    }
}

fn shrink_room(
    run: &mut Run<'_>,
    offset: u64,
    bytes: u64,
    flags: u64,
) -> Result<Result<(), i32>, Stop> {
    if flags & !room::OF_SHRINKING != 0 {
        return Ok(Err(libc::EINVAL));
    }
    if run.packet.at(offset, bytes).is_none() {
        return Ok(Err(libc::ENOMEM));
    }
    pop(run, offset, bytes)?;
    move_headers(run, bytes as i64);
    match run.packet.protocol {
        IPV4 if flags & room::DECAP_L3_IPV6 != 0 => run.packet.protocol = IPV6,
        IPV6 if flags & room::DECAP_L3_IPV4 != 0 => run.packet.protocol = IPV4,
        _ => {}
    }
    Ok(Ok(()))
}

fn grow_room(
    run: &mut Run<'_>,
    offset: u64,
    bytes: u64,
    flags: u64,
) -> Result<Result<(), i32>, Stop> {
    let encap = flags & room::ENCAP_L3 != 0;
    if encap && let Err(number) = check_encapsulation(run, bytes, flags) {
        return Ok(Err(number));
    }
    let mac = run.packet.network.saturating_sub(run.packet.mac);
    push(run, offset, bytes)?;
    move_headers(run, -(bytes as i64));
    if encap {
        run.packet.encapsulated = true;
        run.packet.network = run.packet.data + mac;
        let ipv6 = flags & room::ENCAP_L3_IPV6 != 0;
        run.packet.protocol = if ipv6 { IPV6 } else { IPV4 };
        run.packet.transport = Some(run.packet.network + if ipv6 { 40 } else { 20 });
    }
    Ok(Ok(()))
}

fn check_encapsulation(run: &Run<'_>, bytes: u64, flags: u64) -> Result<(), i32> {
    let all = |bits: u64| flags & bits == bits;
    let inner_mac = flags >> room::ENCAP_L2_SHIFT;
    if all(room::ENCAP_L3) || all(room::ENCAP_L4_GRE | room::ENCAP_L4_UDP) {
        return Err(libc::EINVAL);
    }
    if all(room::ENCAP_L2_ETH) && inner_mac < ETH_HLEN {
        return Err(libc::EINVAL);
    }
    if run.packet.encapsulated {
        return Err(libc::EALREADY);
    }
    if inner_mac > bytes { Err(libc::EINVAL) } else { Ok(()) }
}

/// Lets the headers' places follow the start of the packet.
fn move_headers(run: &mut Run<'_>, bytes: i64) {
    let packet = &mut run.packet;
    let same = packet.transport == Some(packet.network);
    packet.mac = packet.mac.wrapping_add_signed(bytes);
    packet.network = packet.network.wrapping_add_signed(bytes);
    if same {
        packet.transport = Some(packet.network);
    }
}
