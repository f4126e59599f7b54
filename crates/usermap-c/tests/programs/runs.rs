//! `BPF_PROG_TEST_RUN` of each type of program.

use super::*;

/// A packet of IPv4 and so many bytes.
fn packet(length: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
    if length >= 15 {
        packet[12..15].copy_from_slice(&[8, 0, 0x45]);
    }
    packet
}

fn run_on(packet: &[u8]) -> Call {
    Call::new(TEST_RUN).u32(8, packet.len() as u32).memory(16, packet)
}

/// Contexts and sizes of packets, that are good and bad for programs on packets.
fn packet_calls() -> Vec<(String, Call)> {
    let good = run_on(&packet(64)).memory(24, &[]);
    let out = |size: u32| good.clone().u32(12, size);
    let mut calls = vec![
        ("no packet".to_owned(), Call::new(TEST_RUN)),
        ("good".into(), good.clone()),
        ("nothing out".into(), run_on(&packet(64))),
        ("out of 64".into(), out(64)),
        ("out of 63".into(), out(63)),
        ("out of 1000".into(), out(1000)),
        ("room but no place".into(), run_on(&packet(64)).u32(12, 10)),
        ("out nowhere".into(), good.clone().u64(24, 8)),
        ("packet nowhere".into(), good.clone().u64(16, 8)),
        ("repeated".into(), good.clone().u32(32, 100)),
        ("flag 1".into(), good.clone().u32(64, 1)),
        ("flag 2 and a batch".into(), good.clone().u32(64, 2).u32(72, 1000)),
        ("flag 8".into(), good.clone().u32(64, 8)),
        ("cpu 1".into(), good.clone().u32(68, 1)),
        ("batch".into(), good.clone().u32(72, 1)),
        ("a field too many".into(), good.clone().u32(80, 1)),
        ("short attribute".into(), good.clone().size(32)),
        ("shorter attribute".into(), good.clone().size(16)),
        ("context without size".into(), good.clone().memory(48, &[])),
        ("size without context".into(), good.clone().u32(40, 8)),
        ("out context without size".into(), good.clone().memory(56, &[])),
        ("out size without context".into(), good.clone().u32(44, 8)),
        ("context nowhere".into(), good.clone().u32(40, 8).u64(48, 8)),
        ("context of 5000".into(), good.clone().u32(40, 5000).memory(48, &[])),
        ("long context".into(), good.clone().u32(40, 400).memory(48, &[])),
        ("long context, not zero".into(), good.clone().u32(40, 400).memory(48, &[1; 400])),
        ("out context alone".into(), good.clone().u32(44, 400).memory(56, &[])),
        ("short out context".into(), good.clone().u32(44, 8).memory(56, &[])),
    ];
    for length in [0, 1, 13, 14, 15, 34, 1500, 3518, 3519, 3520, 3521, 3600, 3712, 3713, 9000] {
        calls.push((format!("{length} bytes"), run_on(&packet(length)).memory(24, &[])));
    }
    calls
}

/// A context's words, set one by one.
fn with_word(call: &Call, bytes: usize, at: usize, value: u32) -> Call {
    let mut context = vec![0; bytes];
    context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    let size = bytes as u32;
    call.clone().u32(40, size).memory(48, &context).u32(44, size).memory(56, &[])
}

#[test]
fn xdp_runs() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    let pass = Pair::new(|side| program(side, XDP, &returns(2)));
    for (what, call) in packet_calls() {
        pass.compare(&mut comparison, &what, &call);
    }
    let good = run_on(&packet(64)).memory(24, &[]);
    for at in (0..24).step_by(4) {
        for value in [1, 2, 4, 13, 14, 50, 60, 64, 65, 216, 220, 1 << 31] {
            let call = with_word(&good, 24, at, value);
            pass.compare(&mut comparison, &format!("word {at} is {value}"), &call);
        }
    }
    for (data, end) in
        [(0, 64), (4, 64), (3, 64), (8, 64), (48, 64), (52, 64), (64, 64), (4, 40), (4, 16)]
    {
        let mut context = [0_u8; 24];
        context[..4].copy_from_slice(&u32::to_ne_bytes(data));
        context[4..8].copy_from_slice(&u32::to_ne_bytes(end));
        let call = good.clone().u32(40, 24).memory(48, &context).u32(44, 24).memory(56, &[]);
        pass.compare(&mut comparison, &format!("data {data}, end {end}"), &call);
    }
    for attach in [33, 35, 36, 37] {
        let pair = Pair::new(|side| load(XDP, &returns(2)).u32(68, attach).descriptor(side));
        pair.compare(&mut comparison, &format!("attach type {attach}"), &good);
    }
    // bpf_xdp_adjust_head(ctx, -20), adjust_tail(ctx, -10), adjust_meta(ctx, -8); XDP_TX
    let change = |helper: i32, by: i32| {
        [
            op(0xbf, 6, 1, 0, 0),
            op(0xb7, 2, 0, 0, by),
            op(0x85, 0, 0, 0, helper),
            op(0xbf, 1, 6, 0, 0),
        ]
    };
    let changes =
        [change(44, -20), change(65, -10), change(54, -8)].concat().into_iter().chain(returns(3));
    let changes: Vec<Bytes> = changes.collect();
    let pair = Pair::new(|side| program(side, XDP, &changes));
    pair.compare(&mut comparison, "a changed packet", &good);
    let with_context = with_word(&good, 24, 4, 64);
    pair.compare(&mut comparison, "a changed packet and its context", &with_context);
    pair.compare(&mut comparison, "changed, no room", &with_context.clone().u32(12, 81));
    pair.compare(&mut comparison, "changed, room", &with_context.clone().u32(12, 82));
    pair.compare(&mut comparison, "changed often", &with_context.u32(32, 5));
}

#[test]
fn skb_runs() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    // skb->mark += 1; skb->cb[0] = 7; skb->tstamp = 5; r0 = skb->len
    let body = |program_type| {
        let mut body = vec![
            op(0x61, 2, 1, 8, 0),
            op(0x07, 2, 0, 0, 1),
            op(0x63, 1, 2, 8, 0),
            op(0xb7, 2, 0, 0, 7),
            op(0x63, 1, 2, 48, 0),
        ];
        match program_type {
            SOCKET_FILTER => body.drain(..3).for_each(drop),
            CGROUP_SKB => {}
            _ => body.extend([op(0xb7, 2, 0, 0, 5), op(0x7b, 1, 2, 152, 0)]),
        }
        body.push(match program_type {
            CGROUP_SKB => op(0xb7, 0, 0, 0, 1),
            _ => op(0x61, 0, 1, 0, 0),
        });
        body.push(exit());
        body
    };
    for program_type in [SOCKET_FILTER, SCHED_CLS, CGROUP_SKB] {
        let pair = Pair::new(|side| program(side, program_type, &body(program_type)));
        for (what, call) in packet_calls() {
            pair.compare(&mut comparison, &format!("type {program_type}: {what}"), &call);
        }
        let good = run_on(&packet(64)).memory(24, &[]);
        for at in (0..192).step_by(4) {
            for value in [1, 50, 64, 65, 1 << 31] {
                let call = with_word(&good, 192, at, value);
                let what = format!("type {program_type}: word {at} is {value}");
                pair.compare(&mut comparison, &what, &call);
            }
        }
    }
}

#[test]
fn other_runs() {
    if !kernel() {
        return;
    }
    let mut comparison = Comparison::default();
    // r0 = ctx[0] + 1; of syscall programs ctx[0] = 9, too
    let body = |program_type| {
        let mut body = vec![op(0x79, 0, 1, 0, 0), op(0x07, 0, 0, 0, 1)];
        if program_type == SYSCALL {
            body.push(op(0x7a, 1, 0, 0, 9));
        }
        body.push(exit());
        body
    };
    let on = |context: &[u8]| Call::new(TEST_RUN).u32(40, context.len() as u32).memory(48, context);
    for program_type in [RAW_TP, SYSCALL] {
        let pair = Pair::new(|side| program(side, program_type, &body(program_type)));
        let good = on(&[5; 16]);
        let mut calls = vec![
            ("good".to_owned(), good.clone()),
            ("short attribute".into(), good.clone().size(56)),
            ("context nowhere".into(), good.clone().u64(48, 8)),
            ("context without size".into(), good.clone().u32(40, 0)),
            ("packet".into(), good.clone().memory(16, &[])),
            ("packet out".into(), good.clone().memory(24, &[])),
            ("packet's size".into(), good.clone().u32(8, 5)),
            ("packet's room".into(), good.clone().u32(12, 5)),
            ("context out".into(), good.clone().u32(44, 16).memory(56, &[])),
            ("duration".into(), good.clone().u32(36, 1)),
            ("repeat".into(), good.clone().u32(32, 1)),
            ("batch".into(), good.clone().u32(72, 1)),
            ("cpu without flag".into(), good.clone().u32(68, 1)),
            ("cpu 0".into(), good.clone().u32(64, 1)),
            ("cpu 1".into(), good.clone().u32(64, 1).u32(68, 1)),
            ("cpu 100000".into(), good.clone().u32(64, 1).u32(68, 100_000)),
            ("flag 2".into(), good.clone().u32(64, 2)),
        ];
        for length in [8, 12, 95, 96, 97, 4096, 65535, 65536] {
            calls.push((format!("context of {length}"), on(&vec![3; length])));
        }
        for (what, call) in calls {
            pair.compare(&mut comparison, &format!("type {program_type}: {what}"), &call);
        }
    }
    let kprobe = Pair::new(|side| program(side, KPROBE, &returns(0)));
    kprobe.compare(&mut comparison, "a kprobe", &Call::new(TEST_RUN));
    for fd in [0, 999, u32::MAX] {
        let call = Call::new(TEST_RUN).u32(0, fd);
        comparison.same(&format!("descriptor {fd}"), &[], |side| call.make(side));
    }
    comparison.same("a map", &[0], |side| {
        let (map, _) = array(side, 1, 1);
        Call::new(TEST_RUN).u32(0, map.number as u32).make(side)
    });
}

/// A per-CPU array of one number.
fn counter() -> Descriptor {
    Call::new(0).u32(0, 6).u32(4, 4).u32(8, 8).u32(12, 1).descriptor(Side::Usermap)
}

/// A program that adds 1 to this CPU slot's number, and returns 2.
fn counting(map: &Descriptor) -> Vec<Bytes> {
    // value = bpf_map_lookup_elem(map, &0); if (value) *value += 1;
    vec![
        op(0x62, 10, 0, -4, 0),
        op(0x18, 1, 1, 0, map.number),
        [0; 8],
        op(0xbf, 2, 10, 0, 0),
        op(0x07, 2, 0, 0, -4),
        op(0x85, 0, 0, 0, 1),
        op(0x15, 0, 0, 3, 0),
        op(0x79, 1, 0, 0, 0),
        op(0x07, 1, 0, 0, 1),
        op(0x7b, 0, 1, 0, 0),
        op(0xb7, 0, 0, 0, 2),
        exit(),
    ]
}

/// The sum over all slots.
fn counted(map: &Descriptor) -> u64 {
    let lookup = Call::new(1).u32(0, map.number as u32).memory(8, &[0; 4]);
    let values = lookup.memory(16, &[]).make(Side::Usermap);
    let (values, _) = values.memory[1].as_chunks::<8>();
    values.iter().map(|value| u64::from_ne_bytes(*value)).sum()
}

/// Threads that load, run and close programs of their own, which count in the slots of one map.
#[test]
fn threads() {
    const RUNS: u32 = 500;
    const LOADS: u64 = 5;
    let side = Side::Usermap;
    let map = counter();
    let count = counting(&map);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..LOADS {
                    let program = program(side, XDP, &count);
                    let call = run_on(&packet(64)).u32(0, program.number as u32).u32(32, RUNS);
                    let answer = call.make(side);
                    assert_eq!((answer.result, answer.u32(4)), (Ok(0), 2));
                }
            });
        }
    });
    assert_eq!(counted(&map), 4 * LOADS * u64::from(RUNS));
}

/// Processes that inherit a program's descriptor over exec run it, all at once, on the same maps.
#[test]
fn inherited() {
    const VARIABLE: &str = "USERMAP_TEST_INHERITED_PROGRAM";
    let run = |fd: u32| {
        let answer = run_on(&packet(64)).u32(0, fd).u32(32, 1000).make(Side::Usermap);
        assert_eq!((answer.result, answer.u32(4)), (Ok(0), 2));
    };
    if let Some(fd) = std::env::var(VARIABLE).ok().and_then(|fd| fd.parse().ok()) {
        return run(fd);
    }
    let map = counter();
    let program = program(Side::Usermap, XDP, &counting(&map));
    program.inherit();
    let children = (0..3).map(|_| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
        child.args(["--exact", "runs::inherited"]).env(VARIABLE, program.number.to_string());
        child.stdout(std::process::Stdio::null()).spawn().expect("a child")
    });
    let children: Vec<_> = children.collect();
    run(program.number as u32);
    for mut child in children {
        assert!(child.wait().expect("a child").success());
    }
    assert_eq!(counted(&map), 4000);
}
