//! Contexts: what programs get, and the packet behind it.
//!
//! A context is laid out in the cage as the kernel's own structure (`struct xdp_md`,
//! `struct __sk_buff`), so that programs read it as they are; the packet has its own part, with
//! the room before and behind it that the kernel's `BPF_PROG_TEST_RUN` gives. What is true of the
//! packet is kept in [`Packet`], on the host's side: a program can write over its context, but
//! where the packet starts and ends is never read back from there.

mod packet;
mod raw;
mod skb;
mod verdict;
mod xdp;

pub use packet::{Redirect, RedirectKind};
pub use skb::{Skb, Vlan};
pub use xdp::Xdp;

pub(crate) use packet::{Kind, Packet, Summed};
pub(crate) use skb::{field, protocol_of, publish as publish_skb};
pub(crate) use verdict::{TC_ACT_REDIRECT, TC_ACT_SHOT, XDP_ABORTED, XDP_REDIRECT};
pub(crate) use xdp::{XDP_FRAME, is_metadata, publish as publish_xdp};

use crate::error::{Error, FaultKind, Result};
use crate::program_type::ProgramType;
use crate::sandbox::cage::Cage;

/// Bytes of an Ethernet header (`ETH_HLEN`).
pub(crate) const ETH_HLEN: u64 = 14;

/// What a program is run on.
///
/// ```
/// use usermap_vm::{Context, Skb, Xdp};
/// let packet = vec![0; 64];
/// let context = Context::from(Xdp::new(packet.clone()));
/// assert_eq!(context.packet(), Some(&packet[..]));
/// let context = Context::from(Skb::new(packet).mark(7));
/// assert_eq!(context.to_bytes().len(), 192); // sizeof(struct __sk_buff)
/// assert_eq!(Context::from(vec![1, 2, 3]).packet(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Context {
    /// Of XDP programs: an `xdp_md`.
    Xdp(Xdp),
    /// Of tc, socket filter and cgroup programs: a `__sk_buff`.
    Skb(Skb),
    /// Of all others: bytes, as they are.
    Bytes(Vec<u8>),
}

impl From<Xdp> for Context {
    fn from(xdp: Xdp) -> Context {
        Context::Xdp(xdp)
    }
}

impl From<Skb> for Context {
    fn from(skb: Skb) -> Context {
        Context::Skb(skb)
    }
}

impl From<Vec<u8>> for Context {
    fn from(bytes: Vec<u8>) -> Context {
        Context::Bytes(bytes)
    }
}

impl From<&[u8]> for Context {
    fn from(bytes: &[u8]) -> Context {
        Context::Bytes(bytes.to_vec())
    }
}

impl Context {
    /// The context that programs of a type get for a packet of the link layer, if they get one
    /// for a packet.
    ///
    /// ```
    /// use usermap_vm::{Context, ProgramType};
    /// let context = Context::of_packet(ProgramType::SchedCls, vec![0; 60]);
    /// assert!(matches!(context, Some(Context::Skb(_))));
    /// assert_eq!(Context::of_packet(ProgramType::Kprobe, vec![0; 60]), None);
    /// ```
    pub fn of_packet(program_type: ProgramType, packet: impl Into<Vec<u8>>) -> Option<Context> {
        match program_type {
            ProgramType::Xdp => Some(Xdp::new(packet).into()),
            other if other.has_skb() => Some(Skb::new(packet).into()),
            _ => None,
        }
    }

    /// The packet, from its link layer on; after a run as the program left it.
    pub fn packet(&self) -> Option<&[u8]> {
        match self {
            Context::Xdp(xdp) => Some(&xdp.packet),
            Context::Skb(skb) => Some(&skb.packet),
            Context::Bytes(_) => None,
        }
    }

    /// The packet of a context that has one, to keep.
    pub fn into_packet(self) -> Option<Vec<u8>> {
        match self {
            Context::Xdp(xdp) => Some(xdp.packet),
            Context::Skb(skb) => Some(skb.packet),
            Context::Bytes(_) => None,
        }
    }

    /// The context as the kernel's test run takes and gives it (`ctx_in`, `ctx_out`): a
    /// `struct xdp_md`, a `struct __sk_buff`, or the bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Context::Xdp(xdp) => xdp.to_bytes().to_vec(),
            Context::Skb(skb) => skb.to_bytes().to_vec(),
            Context::Bytes(bytes) => bytes.clone(),
        }
    }

    /// Sets the fields from such bytes, by the rules of the kernel's test run: fewer bytes than
    /// the structure has are filled up with zeros, more must be zeros.
    ///
    /// # Errors
    ///
    /// A field is set that the kernel does not take.
    ///
    /// ```
    /// use usermap_vm::{Context, Skb};
    /// let mut context = Context::from(Skb::new(vec![0; 64]));
    /// let mut bytes = context.to_bytes();
    /// bytes[8] = 5; // mark
    /// context.set_bytes(&bytes)?;
    /// assert!(matches!(context, Context::Skb(skb) if skb.mark == 5));
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn set_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Context::Xdp(xdp) => xdp.set_bytes(bytes),
            Context::Skb(skb) => skb.set_bytes(bytes),
            Context::Bytes(own) => {
                *own = bytes.to_vec();
                Ok(())
            }
        }
    }

    /// Lays it out in a cage, for a program of a type.
    pub(crate) fn place(&self, program_type: ProgramType, cage: &Cage) -> Result<Packet> {
        match self {
            Context::Xdp(xdp) if program_type == ProgramType::Xdp => xdp.place(cage),
            Context::Skb(skb) if program_type.has_skb() => skb.place(program_type, cage),
            Context::Bytes(bytes)
                if program_type != ProgramType::Xdp && !program_type.has_skb() =>
            {
                raw::place(bytes, program_type, cage)
            }
            _ => Err(self.unsuited(program_type)),
        }
    }

    fn unsuited(&self, program_type: ProgramType) -> Error {
        let what = match self {
            Context::Xdp(_) => "an xdp_md",
            Context::Skb(_) => "a __sk_buff",
            Context::Bytes(_) => "bytes",
        };
        let wanted = match program_type {
            ProgramType::Xdp => "an xdp_md: give Context::Xdp",
            other if other.has_skb() => "a __sk_buff: give Context::Skb",
            _ => "bytes: give Context::Bytes",
        };
        let rule = format!("a program of type {program_type} gets {wanted}");
        Error::Invalid { what: format!("{what} as context"), rule }
    }

    /// Takes it back after a run: the packet as the program left it, and the fields that a
    /// program may write.
    pub(crate) fn collect(&mut self, cage: &Cage, packet: &Packet) -> Result<()> {
        let collected = match self {
            Context::Xdp(xdp) => xdp.collect(cage, packet),
            Context::Skb(skb) => skb.collect(cage, packet),
            Context::Bytes(bytes) => raw::collect(bytes, cage, packet),
        };
        // Helpers keep the packet within its part of the cage.
        collected.map_err(misplaced)
    }
}

/// What is said of a context for which the cage has no room.
fn misplaced(fault: FaultKind) -> Error {
    Error::Invalid { what: "the context".to_owned(), rule: fault.to_string() }
}

/// `given` bytes as a structure of `N`, by the kernel's rule for both lengths
/// (`bpf_check_uarg_tail_zero`).
fn structure<const N: usize>(given: &[u8], name: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let (known, rest) = given.split_at(given.len().min(N));
    bytes[..known.len()].copy_from_slice(known);
    match rest.iter().all(|byte| *byte == 0) {
        true => Ok(bytes),
        false => Err(Error::Invalid {
            what: format!("a context of {} bytes", given.len()),
            rule: format!("a struct {name} has {N}, and what is behind them must be 0"),
        }),
    }
}

/// The number of 4 bytes at an offset of a structure.
fn word(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_ne_bytes(*word))
}

/// Sets such a number.
fn set_word(bytes: &mut [u8], offset: usize, value: u32) {
    if let Some(place) = bytes.get_mut(offset..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value.to_ne_bytes();
    }
}
