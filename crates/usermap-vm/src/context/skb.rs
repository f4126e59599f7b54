//! `struct __sk_buff`: laid out, kept up to date while helpers change the packet, taken back.
//!
//! As the kernel's test run has it: tc programs see the packet from its Ethernet header on, all
//! others from the network layer on; `protocol`, `pkt_type` and a socket's addresses (which only
//! cgroup programs may read) come from the packet. The Ethernet header of packets that are seen
//! without it is given back as it was, where the kernel gives back 14 zeros.

use super::packet::{Kind, Packet};
use super::{ETH_HLEN, misplaced, set_word, structure, word};
use crate::error::{Error, FaultKind, Result};
use crate::program_type::ProgramType;
use crate::sandbox::cage::{CONTEXT, Cage, PACKET};

/// `sizeof(struct __sk_buff)`
pub(crate) const BYTES: usize = 192;
/// Bytes before a packet, so that headers can be put before it without moving it.
const HEADROOM: u64 = 0x4000;
/// The longest packet: the loopback device's MTU and an Ethernet header.
const MAX_LENGTH: u64 = 65536 + ETH_HLEN;
/// `GSO_LEGACY_MAX_SIZE`
const MAX_WIRE_LENGTH: u32 = 65536;
/// `GSO_MAX_SEGS`
const MAX_SEGMENTS: u32 = 65535;
/// The first number that a two-byte field of Ethernet is a protocol with, not a length.
const ETH_P_802_3_MIN: u16 = 0x0600;

/// Offsets in `struct __sk_buff`.
pub(crate) mod field {
    pub(crate) const LEN: usize = 0;
    pub(crate) const PKT_TYPE: usize = 4;
    pub(crate) const MARK: usize = 8;
    pub(crate) const QUEUE_MAPPING: usize = 12;
    pub(crate) const PROTOCOL: usize = 16;
    pub(crate) const VLAN_PRESENT: usize = 20;
    pub(crate) const VLAN_TCI: usize = 24;
    pub(crate) const VLAN_PROTO: usize = 28;
    pub(crate) const PRIORITY: usize = 32;
    pub(crate) const INGRESS_IFINDEX: usize = 36;
    pub(crate) const IFINDEX: usize = 40;
    pub(crate) const TC_INDEX: usize = 44;
    pub(crate) const CB: usize = 48;
    pub(crate) const HASH: usize = 68;
    pub(crate) const TC_CLASSID: usize = 72;
    pub(crate) const DATA: usize = 76;
    pub(crate) const DATA_END: usize = 80;
    pub(crate) const NAPI_ID: usize = 84;
    pub(crate) const FAMILY: usize = 88;
    pub(crate) const REMOTE_IP4: usize = 92;
    pub(crate) const LOCAL_IP4: usize = 96;
    pub(crate) const REMOTE_IP6: usize = 100;
    pub(crate) const LOCAL_IP6: usize = 116;
    pub(crate) const DATA_META: usize = 140;
    pub(crate) const TSTAMP: usize = 152;
    pub(crate) const WIRE_LEN: usize = 160;
    pub(crate) const GSO_SEGS: usize = 164;
    pub(crate) const GSO_SIZE: usize = 176;
    pub(crate) const TSTAMP_TYPE: usize = 180;
    pub(crate) const HWTSTAMP: usize = 184;
}

/// What a test run of the kernel takes of a `__sk_buff`; all else must be 0.
const TAKEN: [(usize, usize); 10] = [
    (field::MARK, 4),
    (field::PRIORITY, 4),
    (field::INGRESS_IFINDEX, 4),
    (field::IFINDEX, 4),
    (field::CB, 20),
    (field::DATA_END, 4),
    (field::TSTAMP, 8),
    (field::WIRE_LEN, 8),
    (field::GSO_SIZE, 4),
    (field::HWTSTAMP, 8),
];

/// What tc, socket filter and cgroup programs are run on: a packet with the kernel's notes on it.
///
/// ```
/// use usermap_vm::Skb;
/// let skb = Skb::new(vec![0; 64]).mark(0x10).ifindex(3);
/// assert_eq!((skb.mark, skb.ifindex, skb.cb), (0x10, 3, [0; 5]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skb {
    /// The packet, from its Ethernet header on; after a run as the program left it.
    pub packet: Vec<u8>,
    /// The mark; programs may change it.
    pub mark: u32,
    /// The priority; programs may change it.
    pub priority: u32,
    /// The queue; tc programs may change it.
    pub queue_mapping: u16,
    /// The device that received it.
    pub ingress_ifindex: u32,
    /// The device that it is at; 1, the loopback device, if not said.
    pub ifindex: u32,
    /// The traffic control index; tc programs may change it.
    pub tc_index: u16,
    /// The traffic control class; tc programs may change it.
    pub tc_classid: u16,
    /// What programs pass to one another.
    pub cb: [u32; 5],
    /// The flow's hash, 0 if there is none yet.
    pub hash: u32,
    /// The VLAN tag that is kept beside the packet, not in it.
    pub vlan: Option<Vlan>,
    /// Whom it is for (`PACKET_HOST`, ...); from the packet's address if not said.
    pub pkt_type: Option<u32>,
    /// The time stamp, in nanoseconds; programs may change it.
    pub tstamp: u64,
    /// The length on the wire; 0 means the packet's.
    pub wire_len: u32,
    /// Segments to come.
    pub gso_segs: u32,
    /// Bytes of each segment.
    pub gso_size: u32,
    /// The device's time stamp.
    pub hwtstamp: u64,
    /// The receiving queue's number for busy polling.
    pub napi_id: u32,
}

/// A VLAN tag beside a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The tag's protocol, such as 0x8100.
    pub protocol: u16,
    /// Priority and VLAN number.
    pub tci: u16,
}

impl Default for Skb {
    fn default() -> Skb {
        Skb::new(Vec::new())
    }
}

impl Skb {
    /// A packet at the loopback device.
    pub fn new(packet: impl Into<Vec<u8>>) -> Skb {
        Skb {
            packet: packet.into(),
            mark: 0,
            priority: 0,
            queue_mapping: 0,
            ingress_ifindex: 0,
            ifindex: 1,
            tc_index: 0,
            tc_classid: 0,
            cb: [0; 5],
            hash: 0,
            vlan: None,
            pkt_type: None,
            tstamp: 0,
            wire_len: 0,
            gso_segs: 0,
            gso_size: 0,
            hwtstamp: 0,
            napi_id: 0,
        }
    }

    /// Sets the mark.
    pub fn mark(mut self, mark: u32) -> Skb {
        self.mark = mark;
        self
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: u32) -> Skb {
        self.priority = priority;
        self
    }

    /// Sets the device that it is at.
    pub fn ifindex(mut self, ifindex: u32) -> Skb {
        self.ifindex = ifindex;
        self
    }

    /// Sets the device that received it.
    pub fn ingress_ifindex(mut self, ifindex: u32) -> Skb {
        self.ingress_ifindex = ifindex;
        self
    }

    /// Sets the time stamp.
    pub fn tstamp(mut self, nanoseconds: u64) -> Skb {
        self.tstamp = nanoseconds;
        self
    }

    /// Sets the length that it had on the wire.
    pub fn wire_len(mut self, bytes: u32) -> Skb {
        self.wire_len = bytes;
        self
    }

    /// The fields that a test run takes and gives.
    fn layout(&self, wire_len: u32) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (offset, value) in [
            (field::MARK, self.mark),
            (field::PRIORITY, self.priority),
            (field::INGRESS_IFINDEX, self.ingress_ifindex),
            (field::IFINDEX, self.ifindex),
            (field::WIRE_LEN, wire_len),
            (field::GSO_SEGS, self.gso_segs),
            (field::GSO_SIZE, self.gso_size),
        ] {
            set_word(&mut bytes, offset, value);
        }
        for (index, value) in self.cb.into_iter().enumerate() {
            set_word(&mut bytes, field::CB + index * 4, value);
        }
        set_long(&mut bytes, field::TSTAMP, self.tstamp);
        set_long(&mut bytes, field::HWTSTAMP, self.hwtstamp);
        bytes
    }

    pub(super) fn to_bytes(&self) -> [u8; BYTES] {
        let length = self.packet.len() as u32;
        self.layout(if self.wire_len == 0 { length } else { self.wire_len })
    }

    pub(super) fn set_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes: [u8; BYTES] = structure(bytes, "__sk_buff")?;
        let mut others = bytes;
        for (offset, length) in TAKEN {
            others[offset..offset + length].fill(0);
        }
        if let Some(offset) = others.iter().position(|byte| *byte != 0) {
            return Err(Error::Invalid {
                what: format!("byte {offset} of the __sk_buff"),
                rule: "must be 0: only mark, priority, ingress_ifindex, ifindex, cb, tstamp, \
                       wire_len, gso_segs, gso_size and hwtstamp are taken"
                    .to_owned(),
            });
        }
        self.mark = word(&bytes, field::MARK);
        self.priority = word(&bytes, field::PRIORITY);
        self.ingress_ifindex = word(&bytes, field::INGRESS_IFINDEX);
        self.ifindex = word(&bytes, field::IFINDEX).max(1);
        for (index, value) in self.cb.iter_mut().enumerate() {
            *value = word(&bytes, field::CB + index * 4);
        }
        self.tstamp = long(&bytes, field::TSTAMP);
        self.wire_len = word(&bytes, field::WIRE_LEN);
        self.gso_segs = word(&bytes, field::GSO_SEGS);
        self.gso_size = word(&bytes, field::GSO_SIZE);
        self.hwtstamp = long(&bytes, field::HWTSTAMP);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: String, rule: String| Err(Error::Invalid { what, rule });
        let length = self.packet.len() as u64;
        if !(ETH_HLEN..=MAX_LENGTH).contains(&length) {
            let rule = format!("a __sk_buff's packet has {ETH_HLEN} to {MAX_LENGTH} bytes");
            return refuse(format!("a packet of {length} bytes"), rule);
        }
        let wire = self.wire_len;
        if wire != 0 && (u64::from(wire) < length || wire > MAX_WIRE_LENGTH) {
            let rule = format!("from the packet's {length} to {MAX_WIRE_LENGTH}, or 0");
            return refuse(format!("wire_len {wire}"), rule);
        }
        if self.gso_segs > MAX_SEGMENTS {
            let rule = format!("at most {MAX_SEGMENTS}");
            return refuse(format!("gso_segs {}", self.gso_segs), rule);
        }
        Ok(())
    }

    pub(super) fn place(&self, program_type: ProgramType, cage: &Cage) -> Result<Packet> {
        self.check()?;
        let mut packet = Packet::of(Kind::Skb);
        packet.mac = PACKET + HEADROOM;
        packet.network = packet.mac + ETH_HLEN;
        packet.end = packet.mac + self.packet.len() as u64;
        packet.data = match sees_link_layer(program_type) {
            true => packet.mac,
            false => packet.network,
        };
        packet.meta = packet.data;
        packet.protocol = protocol_of(&self.packet);
        packet.vlan = self.vlan.map(|vlan| (vlan.protocol.to_be_bytes(), vlan.tci));
        packet.hash = self.hash;
        let wire_len = if self.wire_len == 0 { packet.length() as u32 } else { self.wire_len };
        let mut bytes = self.layout(wire_len);
        self.lay_out_rest(program_type, &packet, &mut bytes);
        let placed =
            cage.write(packet.mac, &self.packet).and_then(|()| cage.write(CONTEXT, &bytes));
        placed.map(|()| packet).map_err(misplaced)
    }

    /// The fields that no test run takes.
    fn lay_out_rest(&self, program_type: ProgramType, packet: &Packet, bytes: &mut [u8; BYTES]) {
        let pkt_type = self.pkt_type.unwrap_or_else(|| pkt_type_of(&self.packet));
        set_word(bytes, field::PKT_TYPE, pkt_type);
        for (offset, value) in changing(packet) {
            set_word(bytes, offset, value as u32);
        }
        set_word(bytes, field::QUEUE_MAPPING, self.queue_mapping.into());
        set_word(bytes, field::TC_INDEX, self.tc_index.into());
        set_word(bytes, field::NAPI_ID, self.napi_id);
        if sees_link_layer(program_type) {
            set_word(bytes, field::TC_CLASSID, self.tc_classid.into());
        }
        if program_type == ProgramType::CgroupSkb {
            lay_out_socket(packet.protocol, &self.packet, bytes);
        }
    }

    pub(super) fn collect(
        &mut self,
        cage: &Cage,
        packet: &Packet,
    ) -> std::result::Result<(), FaultKind> {
        self.packet.resize(packet.end.saturating_sub(packet.mac) as usize, 0);
        let mut bytes = [0; BYTES];
        cage.read(packet.mac, &mut self.packet)?;
        cage.read(CONTEXT, &mut bytes)?;
        self.hash = packet.hash;
        self.vlan =
            packet.vlan.map(|(protocol, tci)| Vlan { protocol: u16::from_be_bytes(protocol), tci });
        for (index, value) in self.cb.iter_mut().enumerate() {
            *value = word(&bytes, field::CB + index * 4);
        }
        self.mark = word(&bytes, field::MARK);
        self.priority = word(&bytes, field::PRIORITY);
        self.tstamp = long(&bytes, field::TSTAMP);
        self.tc_index = word(&bytes, field::TC_INDEX) as u16;
        self.tc_classid = word(&bytes, field::TC_CLASSID) as u16;
        // The kernel ignores a program that writes a larger one (`NO_QUEUE_MAPPING`).
        let queue = word(&bytes, field::QUEUE_MAPPING);
        if queue < 0xffff {
            self.queue_mapping = queue as u16;
        }
        Ok(())
    }
}

/// Whether programs see the Ethernet header: those of traffic control.
fn sees_link_layer(program_type: ProgramType) -> bool {
    matches!(program_type, ProgramType::SchedCls | ProgramType::SchedAct)
}

fn bytes_at<const N: usize>(packet: &[u8], offset: usize) -> Option<[u8; N]> {
    packet.get(offset..)?.first_chunk().copied()
}

/// The protocol that an Ethernet packet is of (`eth_type_trans`), as two bytes of a packet.
pub(crate) fn protocol_of(packet: &[u8]) -> [u8; 2] {
    let kind = bytes_at(packet, 12).unwrap_or_default();
    if u16::from_be_bytes(kind) >= ETH_P_802_3_MIN {
        return kind;
    }
    // A length: of raw 802.3 if what comes then is no service access point.
    match bytes_at(packet, ETH_HLEN as usize) {
        Some([0xff, 0xff]) => [0, 1],
        _ => [0, 4],
    }
}

/// Whom an Ethernet packet is for, at the loopback device, whose address is all zeros.
fn pkt_type_of(packet: &[u8]) -> u32 {
    let address: [u8; 6] = bytes_at(packet, 0).unwrap_or_default();
    match address {
        [0, 0, 0, 0, 0, 0] => 0,
        [first, ..] if first & 1 == 1 => 2,
        _ => 3,
    }
}

/// The socket that the kernel's test run makes up: as if it had sent the packet.
fn lay_out_socket(protocol: [u8; 2], packet: &[u8], bytes: &mut [u8; BYTES]) {
    let header = packet.get(ETH_HLEN as usize..).unwrap_or_default();
    let mut copy = |field: usize, from: usize, length: usize| {
        if let (Some(to), Some(from)) =
            (bytes.get_mut(field..field + length), header.get(from..from + length))
        {
            to.copy_from_slice(from);
        }
    };
    let family = match protocol {
        [0x08, 0x00] if header.len() >= 20 => {
            copy(field::LOCAL_IP4, 12, 4);
            copy(field::REMOTE_IP4, 16, 4);
            libc::AF_INET
        }
        [0x86, 0xdd] if header.len() >= 40 => {
            copy(field::LOCAL_IP6, 8, 16);
            copy(field::REMOTE_IP6, 24, 16);
            libc::AF_INET6
        }
        _ => libc::AF_UNSPEC,
    };
    set_word(bytes, field::FAMILY, family as u32);
}

/// What helpers change of the fields.
fn changing(packet: &Packet) -> [(usize, u64); 9] {
    let (vlan_protocol, tci) = packet.vlan.unwrap_or_default();
    [
        (field::LEN, packet.length()),
        (field::DATA, packet.data),
        (field::DATA_END, packet.end),
        (field::DATA_META, packet.meta),
        (field::PROTOCOL, u16::from_ne_bytes(packet.protocol).into()),
        (field::VLAN_PRESENT, packet.vlan.is_some().into()),
        (field::VLAN_TCI, tci.into()),
        (field::VLAN_PROTO, u16::from_ne_bytes(vlan_protocol).into()),
        (field::HASH, packet.hash.into()),
    ]
}

/// Tells the program where its packet is now, and what else helpers change.
pub(crate) fn publish(cage: &Cage, packet: &Packet) -> std::result::Result<(), FaultKind> {
    for (offset, value) in changing(packet) {
        cage.store(CONTEXT + offset as u64, 4, value)?;
    }
    Ok(())
}

fn long(bytes: &[u8; BYTES], offset: usize) -> u64 {
    u64::from(word(bytes, offset)) | u64::from(word(bytes, offset + 4)) << 32
}

fn set_long(bytes: &mut [u8; BYTES], offset: usize, value: u64) {
    set_word(bytes, offset, value as u32);
    set_word(bytes, offset + 4, (value >> 32) as u32);
}
