//! Unit tests of an XDP program, as one would write them for one's own: packets are built here, the
//! program runs in the test's process, and its maps are looked at. No root, no kernel.
//!
//! The program is `examples/objects/firewall.bpf.c`.

use etherparse::{EtherType, TransportSlice};
use etherparse::{Icmpv4Header, Icmpv4Type, PacketBuilder, PacketBuilderStep, SlicedPacket};
use usermap::{HashMap, PerCpuArray};
use usermap_vm::{Context, Error, Loaded, Object, Options, ProgramType, Xdp};

const OBJECT: &[u8] = include_bytes!("../examples/objects/firewall.bpf.o");
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [198, 51, 100, 7];

fn firewall(options: &Options) -> Loaded {
    let object = Object::from_bytes(OBJECT, "firewall.bpf.o").unwrap();
    object.load(options).unwrap()
}

fn to_server() -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC).ipv4(CLIENT, SERVER, 64)
}

fn udp(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    to_server().udp(53_000, port).write(&mut packet, b"hello").unwrap();
    packet
}

fn ping() -> Vec<u8> {
    let mut packet = Vec::new();
    to_server().icmpv4_echo_request(7, 1).write(&mut packet, b"0123456789").unwrap();
    packet
}

/// Runs the program on a packet: its verdict's name, and the packet as it left it.
fn run(loaded: &Loaded, packet: Vec<u8>) -> (&'static str, Vec<u8>) {
    let program = loaded.program("firewall").unwrap();
    let mut context = Context::from(Xdp::new(packet));
    let outcome = program.run(&mut context).unwrap();
    let name = program.program_type().verdict_name(outcome.value).unwrap();
    (name, context.into_packet().unwrap())
}

#[test]
fn blocked_ports_are_dropped_and_counted() {
    let loaded = firewall(&Options::new());
    let blocked = HashMap::<u16, u64>::from_map(loaded.map("blocked_ports").unwrap()).unwrap();
    assert_eq!(run(&loaded, udp(1900)).0, "XDP_PASS");
    blocked.insert(&1900, &0).unwrap();
    assert_eq!(run(&loaded, udp(1900)).0, "XDP_DROP");
    assert_eq!(run(&loaded, udp(1900)).0, "XDP_DROP");
    assert_eq!(run(&loaded, udp(1901)).0, "XDP_PASS");
    assert_eq!(blocked.get(&1900).unwrap(), Some(2));
}

#[test]
fn pings_are_answered() {
    let (verdict, reply) = run(&firewall(&Options::new()), ping());
    assert_eq!(verdict, "XDP_TX");
    let reply = SlicedPacket::from_ethernet(&reply).unwrap();
    let ethernet = reply.link.unwrap().to_header().unwrap().ethernet2().unwrap();
    assert_eq!((ethernet.source, ethernet.destination), (SERVER_MAC, CLIENT_MAC));
    assert_eq!(ethernet.ether_type, EtherType::IPV4);
    let Some(TransportSlice::Icmpv4(icmp)) = reply.transport else { panic!("no ICMP") };
    assert!(matches!(icmp.icmp_type(), Icmpv4Type::EchoReply(echo) if echo.seq == 1));
    // Its checksum is right: the same as of a reply that is built anew.
    let expected = Icmpv4Header::with_checksum(icmp.icmp_type(), icmp.payload());
    assert_eq!(icmp.checksum(), expected.checksum);
}

/// Cut wherever it may be, a packet is never read past its end: that would be an error here.
#[test]
fn cut_packets_do_no_harm() {
    let loaded = firewall(&Options::new());
    for packet in [udp(1900), ping()] {
        for length in 14..packet.len() {
            let (verdict, after) = run(&loaded, packet[..length].to_vec());
            assert_eq!(after.len(), length);
            // Ethernet and IPv4 have 34 bytes, both transports' headers 8.
            match length {
                0..34 => assert_eq!(verdict, "XDP_PASS"),
                34..42 => assert_eq!(verdict, "XDP_ABORTED"),
                _ => assert_ne!(verdict, "XDP_ABORTED"),
            }
        }
    }
}

#[test]
fn verdicts_are_counted_on_all_slots() {
    let loaded = firewall(&Options::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let program = loaded.program("firewall").unwrap();
                let mut contexts: Vec<Context> =
                    (0..1000).map(|_| Xdp::new(udp(9)).into()).collect();
                let outcomes = program.run_batch(&mut contexts).unwrap();
                assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().value == 2));
            });
        }
    });
    let verdicts = PerCpuArray::<u64>::from_map(loaded.map("verdicts").unwrap()).unwrap();
    let counts: Vec<u64> = (0..5).map(|index| verdicts.sum(index).unwrap()).collect();
    assert_eq!(counts, [0, 0, 4000, 0, 0]);
}

/// The interpreter gives the same, instruction by instruction.
#[test]
fn both_engines_agree() {
    let (jit, interpreter) = (firewall(&Options::new()), firewall(&Options::new().interpret(true)));
    for packet in [udp(1900), ping(), vec![0; 14]] {
        assert_eq!(run(&jit, packet.clone()), run(&interpreter, packet));
    }
}

#[test]
fn what_it_cannot_be_run_on_is_an_error() {
    let loaded = firewall(&Options::new());
    let program = loaded.program("firewall").unwrap();
    assert_eq!(program.program_type(), ProgramType::Xdp);
    let error = program.run(&mut Context::from(vec![0; 64])).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}
