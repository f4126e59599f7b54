//! Internet checksums (RFC 1071): `bpf_csum_diff`, `bpf_l3_csum_replace`, `bpf_l4_csum_replace`,
//! and the notes on whether a packet's are right.

use super::arguments::{Called, context, copy, errno, fail, size, spend_on_bytes};
use crate::context::{Kind, Summed};
use crate::run::Run;
use usermap::abi::errno::ENOTSUPP;

/// Which of the flags say how many bytes the field has that was changed.
const FIELD: u64 = 0xf;
/// The field is in the pseudo header.
const PSEUDO: u64 = 0x10;
/// A checksum of 0 means that there is none, and one that becomes 0 is written as 0xffff.
const MANGLED: u64 = 0x20;
/// There is to be one, even so.
const ENFORCE: u64 = 0x40;
/// The packet is of IPv6.
const IPV6: u64 = 0x80;
/// `SKB_MAX_CSUM_LEVEL`
const MOST_LEVELS: u8 = 3;

/// Adds with the carry put back in.
pub(super) fn add(sum: u32, other: u32) -> u32 {
    let (sum, carry) = sum.overflowing_add(other);
    sum + u32::from(carry)
}

/// Takes away.
pub(super) fn sub(sum: u32, other: u32) -> u32 {
    add(sum, !other)
}

/// The sum of bytes, as words of the host's order; an odd one is filled up with 0.
pub(super) fn partial(bytes: &[u8], sum: u32) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain(std::iter::once(&last));
    words.fold(sum, |sum, word| add(sum, u32::from_ne_bytes(*word)))
}

/// Both halves in one, with the carry.
pub(super) fn halves(sum: u32) -> u16 {
    let (high, low) = ((sum >> 16) as u16, sum as u16);
    let (sum, carry) = high.overflowing_add(low);
    sum + u16::from(carry)
}

/// The checksum that a sum makes.
pub(super) fn fold(sum: u32) -> u16 {
    !halves(sum)
}

/// A checksum after `from` became `to` in what it covers.
fn replace(checksum: u16, from: u32, to: u32) -> u16 {
    fold(add(sub(!u32::from(checksum), from), to))
}

/// The same where the difference is known.
fn replace_by_difference(checksum: u16, difference: u32) -> u16 {
    fold(add(difference, !u32::from(checksum)))
}

/// A header's checksum after two bytes changed; the same in 16 bits, which differs in how it
/// writes 0.
fn replace_two(checksum: u16, from: u16, to: u16) -> u16 {
    let add = |sum: u16, other: u16| {
        let (sum, carry) = sum.overflowing_add(other);
        sum + u16::from(carry)
    };
    !add(add(!checksum, !from), to)
}

/// `bpf_csum_diff(from, size, to, size, seed)`
pub(super) fn diff(run: &mut Run<'_>, [from, from_bytes, to, to_bytes, seed]: [u64; 5]) -> Called {
    const NAME: &str = "bpf_csum_diff";
    let (from_bytes, to_bytes) = (size(NAME, from_bytes)?, size(NAME, to_bytes)?);
    if !(from_bytes | to_bytes).is_multiple_of(4) {
        return fail(libc::EINVAL);
    }
    spend_on_bytes(run, (from_bytes + to_bytes) as u64)?;
    let bytes = |address, size| match size {
        0 => Ok(Vec::new()),
        size => copy(run.memory, address, size),
    };
    let (from, to) = (bytes(from, from_bytes)?, bytes(to, to_bytes)?);
    let seed = seed as u32;
    let sum = match (from.is_empty(), to.is_empty()) {
        (false, false) => sub(partial(&to, seed), partial(&from, 0)),
        (true, false) => partial(&to, seed),
        (false, true) => !partial(&from, !seed),
        (true, true) => seed,
    };
    Ok(halves(sum).into())
}

/// `bpf_l3_csum_replace(skb, offset, from, to, flags)`
pub(super) fn replace_network(
    run: &mut Run<'_>,
    [skb, offset, from, to, flags]: [u64; 5],
) -> Called {
    context(run, "bpf_l3_csum_replace", skb, Kind::Skb)?;
    if flags & !FIELD != 0 {
        return fail(libc::EINVAL);
    }
    replace_at(run, offset, |checksum| match flags & FIELD {
        0 if from != 0 => Err(libc::EINVAL),
        0 => Ok(replace_by_difference(checksum, to as u32)),
        2 => Ok(replace_two(checksum, from as u16, to as u16)),
        4 => Ok(replace(checksum, from as u32, to as u32)),
        _ => Err(libc::EINVAL),
    })
}

/// `bpf_l4_csum_replace(skb, offset, from, to, flags)`
pub(super) fn replace_transport(
    run: &mut Run<'_>,
    [skb, offset, from, to, flags]: [u64; 5],
) -> Called {
    context(run, "bpf_l4_csum_replace", skb, Kind::Skb)?;
    if flags & !(FIELD | PSEUDO | MANGLED | ENFORCE | IPV6) != 0 {
        return fail(libc::EINVAL);
    }
    let mangled = flags & MANGLED != 0;
    replace_at(run, offset, |checksum| {
        if mangled && flags & ENFORCE == 0 && checksum == 0 {
            return Ok(0);
        }
        let changed = match flags & FIELD {
            0 if from != 0 => return Err(libc::EINVAL),
            0 => replace_by_difference(checksum, to as u32),
            2 => replace(checksum, (from as u16).into(), (to as u16).into()),
            4 => replace(checksum, from as u32, to as u32),
            _ => return Err(libc::EINVAL),
        };
        Ok(if mangled && changed == 0 { 0xffff } else { changed })
    })
}

/// Changes the checksum at an offset of the packet, by what both functions check alike.
fn replace_at(run: &Run<'_>, offset: u64, change: impl FnOnce(u16) -> Result<u16, i32>) -> Called {
    let offset = u64::from(offset as u32);
    if offset > 0xffff || offset & 1 != 0 {
        return fail(libc::EFAULT);
    }
    let Some(at) = run.packet.at(offset, 2) else { return fail(libc::EFAULT) };
    match change(run.memory.load(at, 2)? as u16) {
        Ok(checksum) => {
            run.memory.store(at, 2, checksum.into())?;
            Ok(0)
        }
        Err(number) => fail(number),
    }
}

/// `bpf_csum_update(skb, sum)`: of a sum over all of the packet, which no packet here comes with.
pub(super) fn update(run: &mut Run<'_>, [skb, ..]: [u64; 5]) -> Called {
    context(run, "bpf_csum_update", skb, Kind::Skb)?;
    fail(ENOTSUPP)
}

/// `bpf_csum_level(skb, level)`: ask how many checksums are known to be right, or say so.
pub(super) fn level(run: &mut Run<'_>, [skb, level, ..]: [u64; 5]) -> Called {
    context(run, "bpf_csum_level", skb, Kind::Skb)?;
    let summed = &mut run.packet.summed;
    match (level, *summed) {
        (0, Summed::Right(level)) => return Ok(level.into()),
        (0, Summed::Unknown) => return Ok(errno(libc::EACCES)),
        (1, Summed::Unknown) => *summed = Summed::Right(0),
        (1, Summed::Right(level)) => *summed = Summed::Right((level + 1).min(MOST_LEVELS)),
        (2, Summed::Right(level @ 1..)) => *summed = Summed::Right(level - 1),
        (2 | 3, _) => *summed = Summed::Unknown,
        _ => return fail(libc::EINVAL),
    }
    Ok(0)
}
