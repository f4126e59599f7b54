//! What the host knows of the packet while a program runs.

use crate::sandbox::cage::{CONTEXT, PACKET, PACKET_BYTES};

/// Where a packet is in the cage while a program runs, and what else only the host may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Its first byte, as the program sees it.
    pub(crate) data: u64,
    /// Behind its last byte.
    pub(crate) end: u64,
    /// The first byte of its metadata, which is before it.
    pub(crate) meta: u64,
    /// The first byte of the room that it has.
    pub(crate) first: u64,
    /// Behind the last byte of that room.
    pub(crate) last: u64,
    /// What the context is.
    pub(crate) kind: Kind,
    /// Bytes that are in other pages, out of the program's reach: of an `xdp_md`.
    pub(crate) fragments: u64,
    /// Its link layer's header: of a `__sk_buff`.
    pub(crate) mac: u64,
    /// Its network layer's header.
    pub(crate) network: u64,
    /// Its transport layer's header, once a helper has said where that is.
    pub(crate) transport: Option<u64>,
    /// The network layer's protocol, as the packet has the two bytes.
    pub(crate) protocol: [u8; 2],
    /// The VLAN tag that is kept beside the packet: protocol and control information.
    pub(crate) vlan: Option<([u8; 2], u16)>,
    /// The flow's hash.
    pub(crate) hash: u32,
    /// Whether somebody has checked the checksums.
    pub(crate) summed: Summed,
    /// Whether a helper has put a tunnel's header before it.
    pub(crate) encapsulated: bool,
    /// Where the last redirecting helper sends it to; it counts if the verdict says so.
    pub(crate) redirect: Option<Redirect>,
    /// Where clones of it were sent.
    pub(crate) clones: Vec<Redirect>,
}

/// What a context is, and what of it is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `xdp_md`
    Xdp,
    /// `__sk_buff`
    Skb,
    /// Bytes, which the program may write.
    #[default]
    Writable,
    /// Bytes that it only reads.
    ReadOnly,
}

/// What is known of a packet's checksums (`ip_summed`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Summed {
    /// Nothing: `CHECKSUM_NONE`.
    #[default]
    Unknown,
    /// So many more than one are right: `CHECKSUM_UNNECESSARY`.
    Right(u8),
}

/// Where a program sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirect {
    /// The network device's number.
    pub ifindex: u32,
    /// The helper's flags, such as `BPF_F_INGRESS`.
    pub flags: u64,
    /// Which helper it was.
    pub kind: RedirectKind,
}

/// How a packet is sent somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectKind {
    /// `bpf_redirect`, `bpf_clone_redirect`: to a device.
    Device,
    /// `bpf_redirect_peer`: to the other end of a device, in its own namespace.
    Peer,
    /// `bpf_redirect_neigh`: to a device, with the neighbour's address filled in.
    Neighbour,
}

impl Default for Packet {
    fn default() -> Packet {
        Packet::of(Kind::default())
    }
}

impl Packet {
    /// An empty one, with all the room.
    pub(crate) fn of(kind: Kind) -> Packet {
        Packet {
            data: PACKET,
            end: PACKET,
            meta: PACKET,
            first: PACKET,
            last: PACKET + PACKET_BYTES,
            kind,
            fragments: 0,
            mac: PACKET,
            network: PACKET,
            transport: None,
            protocol: [0; 2],
            vlan: None,
            hash: 0,
            summed: Summed::Unknown,
            encapsulated: false,
            redirect: None,
            clones: Vec::new(),
        }
    }

    /// Its bytes, as the program sees it.
    pub(crate) fn length(&self) -> u64 {
        self.end.saturating_sub(self.data)
    }

    /// Bytes of metadata before it.
    pub(crate) fn metadata(&self) -> u64 {
        self.data.saturating_sub(self.meta)
    }

    /// Where `size` bytes at an offset are, if they are within it.
    pub(crate) fn at(&self, offset: u64, size: u64) -> Option<u64> {
        let end = offset.checked_add(size)?;
        (end <= self.length()).then_some(self.data + offset)
    }

    /// The context's address.
    pub(crate) const fn context() -> u64 {
        CONTEXT
    }
}
