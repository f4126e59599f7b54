//! `struct xdp_md`, and its packet with the head- and tailroom of the kernel's test run.

use super::packet::{Kind, Packet};
use super::{ETH_HLEN, misplaced, set_word, structure, word};
use crate::error::{Error, FaultKind, Result};
use crate::sandbox::cage::{CONTEXT, Cage, PACKET, PACKET_BYTES};

/// Bytes before the packet (`XDP_PACKET_HEADROOM`).
const HEADROOM: u64 = 256;
/// Bytes of those that a program never gets (`sizeof(struct xdp_frame)`).
pub(crate) const XDP_FRAME: u64 = 40;
/// Where the tailroom of a packet that fits into a page ends: the rest of the page is the
/// kernel's (`SKB_DATA_ALIGN(sizeof(struct skb_shared_info))`).
const PAGE_END: u64 = 4096 - 320;
/// The most metadata (`xdp_metalen_invalid`).
pub(crate) const MAX_METADATA: u64 = 255;
/// `sizeof(struct xdp_md)`
const BYTES: usize = 24;

/// Offsets in `struct xdp_md`.
mod field {
    pub(super) const DATA: usize = 0;
    pub(super) const DATA_END: usize = 4;
    pub(super) const DATA_META: usize = 8;
    pub(super) const INGRESS_IFINDEX: usize = 12;
    pub(super) const RX_QUEUE_INDEX: usize = 16;
    pub(super) const EGRESS_IFINDEX: usize = 20;
}

/// What XDP programs are run on: a packet, and where it came from.
///
/// ```
/// use usermap_vm::Xdp;
/// let xdp = Xdp::new(vec![0; 64]).ingress_ifindex(2).metadata(vec![1, 2, 3, 4]);
/// assert_eq!((xdp.packet.len(), xdp.ingress_ifindex), (64, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Xdp {
    /// The packet, from its Ethernet header on; after a run as the program left it.
    pub packet: Vec<u8>,
    /// What is before it (`data_meta` to `data`): a multiple of 4 bytes, at most 252.
    pub metadata: Vec<u8>,
    /// What of the packet is in other pages, behind `data_end`: programs cannot get at it.
    pub fragments: Vec<u8>,
    /// The network device that received it; 1, the loopback device, if not said.
    pub ingress_ifindex: u32,
    /// The device's queue.
    pub rx_queue_index: u32,
    /// The device that it goes out of: only of programs in a device map.
    pub egress_ifindex: u32,
}

impl Default for Xdp {
    fn default() -> Xdp {
        Xdp::new(Vec::new())
    }
}

impl Xdp {
    /// A packet from the loopback device.
    pub fn new(packet: impl Into<Vec<u8>>) -> Xdp {
        Xdp {
            packet: packet.into(),
            metadata: Vec::new(),
            fragments: Vec::new(),
            ingress_ifindex: 1,
            rx_queue_index: 0,
            egress_ifindex: 0,
        }
    }

    /// Sets the metadata.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Xdp {
        self.metadata = metadata.into();
        self
    }

    /// Sets what of the packet is in other pages.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// # let loaded = Object::open(path)?.load(&Options::new())?;
    /// # let program = loaded.program("firewall")?;
    /// let xdp = Xdp::new(vec![0; 10]).fragments(vec![0; 50]);
    /// assert_eq!(program.run(&mut xdp.into())?.value, 2); // it sees 10 bytes
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn fragments(mut self, fragments: impl Into<Vec<u8>>) -> Xdp {
        self.fragments = fragments.into();
        self
    }

    /// Sets the network device that received it.
    pub fn ingress_ifindex(mut self, ifindex: u32) -> Xdp {
        self.ingress_ifindex = ifindex;
        self
    }

    /// Sets that device's queue.
    pub fn rx_queue_index(mut self, queue: u32) -> Xdp {
        self.rx_queue_index = queue;
        self
    }

    /// The `xdp_md` for packets and metadata at these places.
    fn layout(&self, data: u64, end: u64, meta: u64) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        set_word(&mut bytes, field::DATA, data as u32);
        set_word(&mut bytes, field::DATA_END, end as u32);
        set_word(&mut bytes, field::DATA_META, meta as u32);
        set_word(&mut bytes, field::INGRESS_IFINDEX, self.ingress_ifindex);
        set_word(&mut bytes, field::RX_QUEUE_INDEX, self.rx_queue_index);
        set_word(&mut bytes, field::EGRESS_IFINDEX, self.egress_ifindex);
        bytes
    }

    /// As the kernel's test run gives it: places are counted from the metadata's start.
    pub(super) fn to_bytes(&self) -> [u8; BYTES] {
        let data = self.metadata.len() as u64;
        self.layout(data, data + self.packet.len() as u64, 0)
    }

    /// As the kernel's test run takes it: what is before `data` is metadata, and it is the first
    /// part of the packet given.
    pub(super) fn set_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes: [u8; BYTES] = structure(bytes, "xdp_md")?;
        let refuse = |what: &str, rule: &str| {
            Err(Error::Invalid { what: format!("{what} of the xdp_md"), rule: rule.to_owned() })
        };
        let data = word(&bytes, field::DATA) as usize;
        let end = word(&bytes, field::DATA_END) as usize;
        let (interface, queue) =
            (word(&bytes, field::INGRESS_IFINDEX), word(&bytes, field::RX_QUEUE_INDEX));
        let all = self.metadata.len() + self.packet.len();
        if word(&bytes, field::DATA_META) != 0 {
            return refuse("data_meta", "must be 0");
        }
        if word(&bytes, field::EGRESS_IFINDEX) != 0 {
            return refuse("egress_ifindex", "must be 0");
        }
        if end > all || data > end {
            return refuse("data and data_end", "must be within the packet given");
        }
        if interface == 0 && queue != 0 {
            return refuse("rx_queue_index", "needs an ingress_ifindex");
        }
        let mut given = std::mem::take(&mut self.metadata);
        given.append(&mut self.packet);
        self.packet = given.split_off(data);
        self.metadata = given;
        self.ingress_ifindex = if interface == 0 { 1 } else { interface };
        self.rx_queue_index = queue;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let (first, most) = (self.packet.len() as u64, PACKET_BYTES - HEADROOM);
        let length = first + self.fragments.len() as u64;
        if length < ETH_HLEN || first > most {
            let rule = format!("an XDP program's packet has {ETH_HLEN} to {most} bytes");
            return Err(Error::Invalid { what: format!("a packet of {length} bytes"), rule });
        }
        let metadata = self.metadata.len() as u64;
        if metadata > HEADROOM - XDP_FRAME || !is_metadata(metadata) {
            let most = HEADROOM - XDP_FRAME;
            let rule = format!("a multiple of 4 bytes, and at most {most}");
            return Err(Error::Invalid { what: format!("metadata of {metadata} bytes"), rule });
        }
        Ok(())
    }

    pub(super) fn place(&self, cage: &Cage) -> Result<Packet> {
        self.check()?;
        let data = PACKET + HEADROOM;
        let mut packet = Packet::of(Kind::Xdp);
        packet.data = data;
        packet.end = data + self.packet.len() as u64;
        packet.meta = data - self.metadata.len() as u64;
        packet.fragments = self.fragments.len() as u64;
        if packet.end <= PACKET + PAGE_END {
            packet.last = PACKET + PAGE_END;
        }
        let write = || -> std::result::Result<(), FaultKind> {
            // Room that an earlier packet's program had is as clean as the kernel's.
            cage.write(PACKET, &[0; HEADROOM as usize])?;
            cage.write(packet.meta, &self.metadata)?;
            cage.write(data, &self.packet)?;
            cage.write(CONTEXT, &self.layout(packet.data, packet.end, packet.meta))
        };
        write().map_err(misplaced)?;
        Ok(packet)
    }

    pub(super) fn collect(
        &mut self,
        cage: &Cage,
        packet: &Packet,
    ) -> std::result::Result<(), FaultKind> {
        self.packet.resize(packet.length() as usize, 0);
        self.metadata.resize(packet.metadata() as usize, 0);
        cage.read(packet.data, &mut self.packet)?;
        cage.read(packet.meta, &mut self.metadata)
    }
}

/// Whether metadata may have so many bytes.
pub(crate) fn is_metadata(length: u64) -> bool {
    length.is_multiple_of(4) && length <= MAX_METADATA
}

/// Tells the program where its packet is now.
pub(crate) fn publish(cage: &Cage, packet: &Packet) -> std::result::Result<(), FaultKind> {
    cage.store(CONTEXT + field::DATA as u64, 4, packet.data)?;
    cage.store(CONTEXT + field::DATA_END as u64, 4, packet.end)?;
    cage.store(CONTEXT + field::DATA_META as u64, 4, packet.meta)
}
