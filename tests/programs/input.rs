//! What programs are run on, and objects as these tests want them.

use flate2::read::GzDecoder;
use object::{Object, ObjectSection, ObjectSymbol};
use std::io::Read;
use usermap_tests::rng::Rng;

/// What one run gets.
#[derive(Clone, Debug)]
pub struct Input {
    /// A packet, for programs that take one.
    pub packet: Vec<u8>,
    /// The context's bytes, for programs that take these.
    pub bytes: Vec<u8>,
}

/// Packets of the capture, and random ones; fewer for objects that only try things out.
pub fn inputs(object: &str) -> Vec<Input> {
    let examples = ["flow_stats", "rate_limit", "sampler", "top_talkers"];
    let many = examples.iter().any(|example| object.starts_with(example));
    let captured = captured();
    let step = if many { 1 } else { captured.len() / 100 };
    let mut rng = Rng::new(usermap_tests::rng::seed());
    let mut packets: Vec<_> = captured.into_iter().step_by(step.max(1)).collect();
    for _ in 0..if many { 500 } else { 50 } {
        // The kernel takes none that its IP header does not fit into.
        let length = 60 + rng.below(1440) as usize;
        let mut packet: Vec<u8> = (0..length).map(|_| rng.below(256) as u8).collect();
        // Most look like what programs know.
        if rng.below(4) > 0 {
            packet[12..14].copy_from_slice(&rng.pick(&[[8, 0], [0x86, 0xdd], [0x81, 0]])[..]);
        }
        packets.push(packet);
    }
    let mut input = |packet: Vec<u8>| {
        let bytes = (0..64).map(|_| rng.below(256) as u8).collect();
        Input { packet, bytes }
    };
    packets.into_iter().map(&mut input).collect()
}

/// The packets of the committed capture: plain pcap, little endian.
fn captured() -> Vec<Vec<u8>> {
    let path = super::examples().join("captures/loopback.pcap.gz");
    let file = std::fs::File::open(path).expect("the capture");
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("a whole capture");
    let mut rest = bytes.split_off(24);
    let mut packets = Vec::new();
    while rest.len() > 16 {
        let length = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let after = rest.split_off(16 + length);
        packets.push(rest.split_off(16));
        rest = after;
    }
    assert!(packets.len() > 1000, "too few packets");
    packets.retain(|packet| packet.len() >= 14);
    packets
}

/// The object with its variable `packet_ns`, if it has one, set: its time then only depends on
/// how many packets it has seen.
pub fn without_time(mut bytes: Vec<u8>) -> Vec<u8> {
    let file = object::File::parse(&*bytes).expect("an object");
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok("packet_ns"));
    let place = symbol.and_then(|symbol| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        Some((section.file_range()?.0 + symbol.address()) as usize)
    });
    if let Some(place) = place {
        bytes[place..place + 8].copy_from_slice(&1_000_000_u64.to_le_bytes());
    }
    bytes
}
