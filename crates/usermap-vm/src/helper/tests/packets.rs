//! Packets: what Linux 6.18 answered to the same calls on the same packets, and copies.

use super::*;
use crate::context::{ETH_HLEN, Skb, Xdp, field};
use std::collections::HashMap;

const RECORDED: &str = include_str!("../../../tests/data/helpers-6.18.txt");

fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Calls as the line says, and gives what the line ends with.
fn replay(program: &str, packet: &[u8], calls: &str) -> String {
    let bench = Bench::new(&[]);
    let (program_type, mut context): (_, Context) = match program {
        "xdp" => (ProgramType::Xdp, Xdp::new(packet).into()),
        _ => (ProgramType::SchedCls, Skb::new(packet).into()),
    };
    let mut run = bench.run(program_type, context.clone());
    let mut given = Vec::new();
    for step in calls.split_whitespace() {
        let (id, arguments) = step.split_once(':').unwrap();
        let arguments = arguments.split(',').filter_map(|number| number.parse::<u64>().ok());
        let arguments: Vec<u64> = std::iter::once(CONTEXT).chain(arguments).collect();
        given.push(give(&mut run, id.parse().unwrap(), &arguments).to_string());
    }
    let fields: &[usize] = match program_type {
        ProgramType::Xdp => &[],
        _ => &[
            field::LEN,
            field::PKT_TYPE,
            field::PROTOCOL,
            field::VLAN_PRESENT,
            field::VLAN_TCI,
            field::VLAN_PROTO,
        ],
    };
    let load = |field: &usize| bench.cage.load(CONTEXT + *field as u64, 4).unwrap().to_string();
    let fields: Vec<String> = fields.iter().map(load).collect();
    context.collect(&bench.cage, &run.packet).unwrap();
    let out = match context {
        Context::Xdp(xdp) => [xdp.metadata, xdp.packet].concat(),
        other => other.into_packet().unwrap(),
    };
    format!("{} | {} | {} {:016x}", given.join(" "), fields.join(" "), out.len(), hash(&out))
}

#[test]
fn as_the_kernel() {
    let mut packets = HashMap::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (program, name) = (words.next().unwrap(), words.next().unwrap());
        if program == "packet" {
            let hex = words.next().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            packets.insert(name, (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>());
            continue;
        }
        let (call, expected) = line.split_once(" = ").unwrap();
        let calls = call.splitn(3, ' ').nth(2).unwrap();
        let given = replay(program, &packets[name], calls);
        cases += 1;
        if given != expected {
            wrong.push(format!("{call}\n  linux {expected}\n  here  {given}"));
        }
    }
    assert!(cases > 300);
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}

fn packet() -> Vec<u8> {
    [&[2; 12][..], &[0x08, 0x00, 0x45], &(0..49).collect::<Vec<u8>>()].concat()
}

#[test]
fn contexts_suit_programs() {
    let bench = Bench::new(&[]);
    let place = |context: Context, program: ProgramType| {
        context.place(program, &bench.cage).map_err(|error| error.to_string())
    };
    assert!(place(Xdp::new(packet()).into(), ProgramType::SchedCls).is_err());
    assert!(place(Skb::new(packet()).into(), ProgramType::Xdp).is_err());
    assert!(place(vec![0].into(), ProgramType::CgroupSkb).is_err());
    assert!(place(Skb::new(packet()).into(), ProgramType::Tracepoint).is_err());
    let error = place(Xdp::new(vec![0; 13]).into(), ProgramType::Xdp).unwrap_err();
    assert_eq!(error, "a packet of 13 bytes: an XDP program's packet has 14 to 130816 bytes");
    assert!(place(Xdp::new(vec![0; 130_816]).into(), ProgramType::Xdp).is_ok());
    assert!(place(Xdp::new(vec![0; 130_817]).into(), ProgramType::Xdp).is_err());
    assert!(place(Xdp::new(packet()).metadata([0; 6]).into(), ProgramType::Xdp).is_err());
    assert!(place(Xdp::new(packet()).metadata([0; 220]).into(), ProgramType::Xdp).is_err());
    assert!(place(Xdp::new(packet()).metadata([0; 216]).into(), ProgramType::Xdp).is_ok());
    assert!(place(Skb::new(vec![0; 65_551]).into(), ProgramType::SchedCls).is_err());
    assert!(place(Skb::new(packet()).wire_len(9).into(), ProgramType::SchedCls).is_err());
    assert!(place(vec![0; 0x1_0001].into(), ProgramType::Syscall).is_err());
}

#[test]
fn fields_of_an_skb() {
    let bench = Bench::new(&[]);
    let mut skb = Skb::new(packet()).mark(7).ifindex(3);
    skb.cb = [1, 2, 3, 4, 5];
    let mut context = Context::from(skb);
    let packet_known = context.place(ProgramType::CgroupSkb, &bench.cage).unwrap();
    let load = |field: usize| bench.cage.load(CONTEXT + field as u64, 4).unwrap();
    assert_eq!(load(field::LEN), 64 - ETH_HLEN);
    assert_eq!(load(field::DATA), packet_known.network);
    assert_eq!(load(field::DATA_END) - load(field::DATA), 64 - ETH_HLEN);
    assert_eq!((load(field::PROTOCOL), load(field::PKT_TYPE)), (8, 3));
    assert_eq!((load(field::FAMILY), load(field::LOCAL_IP4)), (2, 0x0e0d_0c0b));
    assert_eq!((load(field::CB + 16), load(field::IFINDEX)), (5, 3));
    for (field, value) in [
        (field::MARK, 9),
        (field::QUEUE_MAPPING, 0xffff),
        (field::TC_INDEX, 0x1_0002),
        (field::DATA, 0),
        (field::LEN, 1 << 31),
    ] {
        bench.cage.store(CONTEXT + field as u64, 4, value).unwrap();
    }
    context.collect(&bench.cage, &packet_known).unwrap();
    let Context::Skb(skb) = context else { panic!() };
    assert_eq!((skb.mark, skb.queue_mapping, skb.tc_index), (9, 0, 2));
    assert_eq!(skb.packet, packet());
}

#[test]
fn contexts_as_bytes() {
    let mut context = Context::from(Xdp::new(packet()).metadata([9; 4]));
    let bytes = context.to_bytes();
    assert_eq!((bytes[0], bytes[4], bytes[12]), (4, 68, 1));
    context.set_bytes(&bytes).unwrap();
    assert_eq!(context.packet(), Some(&packet()[..]));
    let mut bad = bytes.clone();
    bad[8] = 1;
    assert!(context.set_bytes(&bad).is_err());
    assert!(context.set_bytes(&[bytes.clone(), vec![0; 9]].concat()).is_ok());
    assert!(context.set_bytes(&[bytes, vec![1]].concat()).is_err());
    let mut context = Context::from(Skb::new(packet()));
    let mut bytes = context.to_bytes();
    assert_eq!(bytes[160], 64);
    bytes[field::HASH] = 1;
    let error = context.set_bytes(&bytes).unwrap_err().to_string();
    assert!(error.starts_with("byte 68 of the __sk_buff: must be 0"), "{error}");
}

#[test]
fn copies() {
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::SchedCls, Skb::new(packet()));
    let stack = |length: usize| {
        let mut bytes = vec![0; length];
        bench.cage.read(STACK, &mut bytes).unwrap();
        bytes
    };
    bench.cage.store(STACK, 8, u64::MAX).unwrap();
    assert_eq!(give(&mut run, 26, &[CONTEXT, 12, STACK, 4]), 0);
    assert_eq!(stack(5), [8, 0, 0x45, 0, 0xff]);
    // Past the end: zeros.
    assert_eq!(give(&mut run, 26, &[CONTEXT, 61, STACK, 4]), -14);
    assert_eq!(stack(5), [0, 0, 0, 0, 0xff]);
    assert_eq!(give(&mut run, 68, &[CONTEXT, 1, STACK, 2, 1]), 0);
    assert_eq!(stack(2), [0, 1]);
    assert_eq!(give(&mut run, 68, &[CONTEXT, 0, STACK, 2, 2]), -14);
    bench.cage.store(STACK, 4, 0x0403_0201).unwrap();
    run.packet.hash = 5;
    assert_eq!(give(&mut run, 9, &[CONTEXT, 60, STACK, 4, 2]), 0);
    assert_eq!(run.packet.hash, 0);
    assert_eq!(give(&mut run, 9, &[CONTEXT, 61, STACK, 4, 0]), -14);
    assert_eq!(give(&mut run, 9, &[CONTEXT, 0, STACK, 4, 4]), -22);
    assert!(is_bad_memory(call(&mut run, 9, &[CONTEXT, 0, NOWHERE, 4, 0])));
    assert!(is_bad_memory(call(&mut run, 26, &[CONTEXT, 0, NOWHERE, 4, 0])));
    assert!(is_wrong(call(&mut run, 26, &[STACK, 0, STACK, 4, 0])));
    assert!(is_wrong(call(&mut run, 44, &[CONTEXT, 1])));
    let mut out = Context::from(Skb::new(packet()));
    out.collect(&bench.cage, &run.packet).unwrap();
    assert_eq!(out.packet().unwrap()[60..], [1, 2, 3, 4]);

    let mut run = bench.run(ProgramType::Xdp, Xdp::new(packet()));
    assert_eq!(give(&mut run, 189, &[CONTEXT, 12, STACK, 2]), 0);
    assert_eq!(stack(2), [8, 0]);
    assert_eq!(give(&mut run, 189, &[CONTEXT, 63, STACK, 2]), -22);
    assert_eq!(give(&mut run, 189, &[CONTEXT, 0x1_0000, STACK, 2]), -14);
    assert_eq!(give(&mut run, 190, &[CONTEXT, 62, STACK, 2]), 0);
    assert_eq!(bench.cage.load(run.packet.end - 2, 2), Ok(8));
    assert_eq!(give(&mut run, 188, &[CONTEXT]), 64);
}

#[test]
fn redirects() {
    use crate::context::{Redirect, RedirectKind};
    let bench = Bench::new(&[]);
    let mut run = bench.run(ProgramType::SchedCls, Skb::new(packet()));
    assert_eq!(give(&mut run, 23, &[3, 8]), 2);
    assert_eq!(run.packet.redirect, None);
    assert_eq!(give(&mut run, 23, &[3, 1]), 7);
    let kind = RedirectKind::Device;
    assert_eq!(run.packet.redirect, Some(Redirect { ifindex: 3, flags: 1, kind }));
    assert_eq!(give(&mut run, 155, &[4, 0]), 7);
    assert_eq!(run.packet.redirect.map(|to| to.kind), Some(RedirectKind::Peer));
    assert_eq!(give(&mut run, 152, &[4, 0, 0, 0]), 7);
    assert_eq!(give(&mut run, 152, &[4, STACK, 4, 0]), 2);
    assert_eq!(give(&mut run, 13, &[CONTEXT, 9, 0]), 0);
    assert_eq!(give(&mut run, 13, &[CONTEXT, 0, 0]), -22);
    assert_eq!(run.packet.clones.len(), 1);
    let mut run = bench.run(ProgramType::Xdp, Xdp::new(packet()));
    assert_eq!((give(&mut run, 23, &[3, 1]), give(&mut run, 23, &[3, 0])), (0, 4));
}

#[test]
fn hashes_are_of_flows() {
    let bench = Bench::new(&[]);
    let hash = |change: fn(&mut Vec<u8>)| {
        let mut packet = packet();
        packet[23] = 17;
        change(&mut packet);
        let mut run = bench.run(ProgramType::SchedCls, Skb::new(packet));
        give(&mut run, 34, &[CONTEXT])
    };
    let one = hash(|_| ());
    assert_eq!(one, hash(|packet| packet[22] = 9));
    assert_ne!(one, hash(|packet| packet[27] ^= 1));
    assert_ne!(one, hash(|packet| packet[35] ^= 1));
    let back = hash(|packet| {
        let (ends, ports) = (packet[26..34].to_vec(), packet[34..38].to_vec());
        packet[26..34].copy_from_slice(&[&ends[4..], &ends[..4]].concat());
        packet[34..38].copy_from_slice(&[&ports[2..], &ports[..2]].concat());
    });
    assert_eq!(one, back);
}
