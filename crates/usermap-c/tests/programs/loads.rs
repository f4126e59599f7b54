//! `BPF_PROG_LOAD`: what is refused, the log, and records of functions and lines.

use super::*;

#[test]
fn loading() {
    if !kernel() {
        return;
    }
    let pass = returns(2);
    let two = load(XDP, &pass);
    let text = |text: &str| op(0x85, 0, 0, 0, text.parse().expect("a number"));
    let calls = |number: &str| [vec![text(number)], returns(0)].concat();
    let cases: Vec<(&str, Call)> = vec![
        ("good", two.clone()),
        ("named", two.clone().bytes(48, b"a_name.2")),
        ("name of 16", two.clone().bytes(48, b"0123456789abcdef")),
        ("name of 15", two.clone().bytes(48, b"0123456789abcde")),
        ("bad name", two.clone().bytes(48, b"a-b")),
        ("bytes behind the name", two.clone().bytes(48, b"a\0b")),
        ("no instructions", load(XDP, &[])),
        ("a million and one", two.clone().u32(4, 1_000_001)),
        ("instructions nowhere", two.clone().u64(8, 0)),
        ("instructions at 8", two.clone().u64(8, 8)),
        ("license nowhere", two.clone().u64(16, 0)),
        ("license at 8", two.clone().u64(16, 8)),
        ("both nowhere, bad type", load(99, &pass).u64(8, 0).u64(16, 0)),
        ("short attribute", two.clone().size(48)),
        ("shorter attribute", two.clone().size(24)),
        ("too short for a license", two.clone().size(16)),
        ("attribute of 0", two.clone().size(0)),
        ("long attribute", two.clone().size(200)),
        ("long attribute, not zero", two.clone().u32(190, 1).size(200)),
        ("flag that there is not", two.clone().u32(44, 1 << 20)),
        ("flags of the verifier", two.clone().u32(44, 0xf & !4)),
        ("frags", two.clone().u32(44, 1 << 5)),
        ("device bound to none", two.clone().u32(44, 1 << 6)),
        ("interface", two.clone().u32(64, 1)),
        ("token", two.clone().u32(44, 1 << 16).u32(144, 999)),
        ("token of a file", two.clone().u32(44, 1 << 16)),
        ("sleepable", two.clone().u32(44, SLEEPABLE)),
        ("sleepable kprobe", load(KPROBE, &returns(0)).u32(44, SLEEPABLE)),
        ("syscall that is not", load(SYSCALL, &pass).u32(44, 0)),
        ("syscall", load(SYSCALL, &pass)),
        ("syscall attached", load(SYSCALL, &pass).u32(68, 1)),
        ("cgroup_skb", load(CGROUP_SKB, &returns(1))),
        ("cgroup_skb egress", load(CGROUP_SKB, &returns(1)).u32(68, 1)),
        ("cgroup_skb elsewhere", load(CGROUP_SKB, &returns(1)).u32(68, 2)),
        ("xdp attach type", two.clone().u32(68, 37)),
        ("attach_btf_id", two.clone().u32(108, 1)),
        ("attach_prog_fd", two.clone().u32(112, 999)),
        ("type 0", load(0, &pass)),
        ("type 33", load(33, &pass)),
        ("type 16 of nothing", load(1 << 20, &pass)),
        ("kernel version", two.clone().u32(40, 1)),
        ("unknown helper", load(XDP, &calls("9999"))),
        ("helper of others", load(XDP, &calls("174"))),
        ("GPL helper", load(XDP, &calls("6")).memory(16, b"MIT")),
        ("not GPL", two.clone().memory(16, b"MIT")),
        (
            "unknown opcode",
            load(XDP, &[[vec![op(0xff, 0, 0, 0, 0)], pass.clone()].concat()].concat()),
        ),
        ("no exit", load(XDP, &pass[..1])),
        ("jump out", load(XDP, &[op(0x05, 0, 0, 5, 0), exit()])),
        ("jump before", load(XDP, &[op(0x05, 0, 0, -5, 0), exit()])),
        (
            "jump into a load",
            load(XDP, &[op(0x05, 0, 0, 1, 0), op(0x18, 0, 0, 0, 1), [0; 8], exit()]),
        ),
        ("half a load", load(XDP, &[op(0xb7, 0, 0, 0, 0), op(0x18, 0, 0, 0, 1)])),
        ("a bad half", load(XDP, &[op(0x18, 0, 0, 0, 1), op(0, 1, 0, 0, 0), exit()])),
        ("register 11", load(XDP, &[op(0xb7, 11, 0, 0, 0), op(0xb7, 0, 0, 0, 0), exit()])),
        ("a write to r10", load(XDP, &[op(0xb7, 10, 0, 0, 0), op(0xb7, 0, 0, 0, 0), exit()])),
        ("division by 0", load(XDP, &[op(0xb7, 0, 0, 0, 1), op(0x37, 0, 0, 0, 0), exit()])),
        ("shift by 64", load(XDP, &[op(0xb7, 0, 0, 0, 1), op(0x67, 0, 0, 0, 64), exit()])),
        ("call of nothing", load(XDP, &[op(0x85, 0, 1, 0, 9), exit()])),
        (
            "a map that is no descriptor",
            load(XDP, &[vec![op(0x18, 1, 1, 0, 999), [0; 8]], pass.clone()].concat()),
        ),
        (
            "a map that is a file",
            load(XDP, &[vec![op(0x18, 1, 1, 0, 0), [0; 8]], pass.clone()].concat()),
        ),
        (
            "an index without array",
            load(XDP, &[vec![op(0x18, 1, 5, 0, 0), [0; 8]], pass.clone()].concat()),
        ),
        (
            "an index of nowhere",
            load(XDP, &[vec![op(0x18, 1, 5, 0, 0), [0; 8]], pass.clone()].concat()).u64(120, 8),
        ),
        ("an array of files", two.clone().memory(120, &[0; 4]).u32(148, 1)),
        ("an array of no descriptors", two.clone().memory(120, &999_u32.to_ne_bytes()).u32(148, 1)),
        ("an array of nowhere", two.clone().u32(148, 1)),
        (
            "a map's address and offset",
            load(XDP, &[vec![op(0x18, 1, 1, 0, 999), op(0, 0, 0, 0, 4)], pass.clone()].concat()),
        ),
        (
            "kind 7 of loads",
            load(XDP, &[vec![op(0x18, 1, 7, 0, 0), [0; 8]], pass.clone()].concat()),
        ),
        ("log without level", two.clone().memory(32, &[]).u32(28, 100)),
        ("level without log", two.clone().u32(24, 1)),
        ("log without size", two.clone().u32(24, 1).memory(32, &[])),
        ("size without log", two.clone().u32(24, 1).u32(28, 100)),
        ("level 16", two.clone().u32(24, 16).memory(32, &[]).u32(28, 100)),
        ("a huge log", two.clone().u32(24, 1).memory(32, &[]).u32(28, 1 << 30)),
        ("log nowhere", two.clone().u32(24, 1).u64(32, 8).u32(28, 1000)),
        ("func_info without BTF", two.clone().u32(88, 1).u32(76, 8).memory(80, &[0; 8])),
        ("line_info without BTF", two.clone().u32(104, 1).u32(92, 16).memory(96, &[0; 16])),
        ("BTF that is no descriptor", two.clone().u32(72, 999)),
        ("func_info, no descriptor", two.clone().u32(72, 999).u32(88, 1)),
        ("signature", two.clone().memory(152, &[0; 8]).u32(160, 8)),
        ("relocations", two.clone().u32(116, 1)),
        ("keyring", two.clone().u32(164, 1)),
    ];
    let mut comparison = Comparison::default();
    for (what, call) in cases {
        // The log's text is another; its true size therefore, too.
        comparison.same(what, &[140], |side| {
            let mut answer = call.make(side);
            if let Ok(fd) = answer.result {
                drop(Descriptor::new(fd));
            }
            answer.memory.clear();
            answer
        });
    }
}

#[test]
fn logs() {
    if !kernel() {
        return;
    }
    let good = load(XDP, &returns(2));
    let bad = load(XDP, &[op(0x18, 1, 1, 0, 999), [0; 8], exit()]);
    let mut comparison = Comparison::default();
    for call in [good, bad] {
        for (level, size) in [(0, 0), (1, 0), (1, 4096), (2, 4096), (4, 4096), (1, 16), (9, 16)] {
            let call = call.clone().u32(24, level).u32(28, size);
            let call = if size == 0 { call } else { call.memory(32, &[]) };
            // What there is to say differs: how much of it is given, and that it ends, does not.
            comparison.same(&format!("level {level}, {size} bytes"), &[140], |side| {
                let mut answer = call.make(side);
                if let Ok(fd) = answer.result {
                    drop(Descriptor::new(fd));
                }
                let log = answer.memory.pop().filter(|_| size != 0).unwrap_or_default();
                let said = answer.u32(140);
                let full = log.len() as u32 == size - u32::from(size != 0);
                let whole = said == 0 || said == log.len() as u32 + 1;
                answer.memory = vec![vec![u8::from(whole), u8::from(full), u8::from(said != 0)]];
                answer
            });
        }
    }
}

/// Types: int (1), its function type (2), functions main (3) and other (4), and a struct (5).
fn types() -> Vec<u8> {
    let strings = b"\0int\0main\0other\0file.c\0return 2;\0";
    let types: [u32; 16] = [
        1,
        0x0100_0000,
        4,
        0x0100_0020, // INT "int"
        0,
        0x0d00_0000,
        1, // FUNC_PROTO: int (void)
        5,
        0x0c00_0001,
        2, // FUNC "main", global
        10,
        0x0c00_0000,
        2, // FUNC "other", static
        0,
        0x0400_0000,
        4, // STRUCT
    ];
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let header: [u32; 6] =
        [0x0001_eb9f, 24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    [header, types, strings.to_vec()].concat()
}

#[test]
fn records() {
    if !kernel() {
        return;
    }
    let btf = types();
    let load_btf = Call::new(BTF_LOAD).u32(16, btf.len() as u32).memory(0, &btf).size(32);
    let types = Pair::new(|side| load_btf.descriptor(side));
    // main calls other, and both have two instructions.
    let program = [op(0x85, 0, 1, 0, 1), exit(), op(0xb7, 0, 0, 0, 2), exit()];
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let functions = |records: &[[u32; 2]]| {
        let bytes = words(&records.concat());
        load(XDP, &program).u32(76, 8).memory(80, &bytes).u32(88, records.len() as u32)
    };
    let good = functions(&[[0, 3], [2, 4]]);
    let lines = |records: &[[u32; 4]]| {
        let bytes = words(&records.concat());
        good.clone().u32(92, 16).memory(96, &bytes).u32(104, records.len() as u32)
    };
    let both = [[0, 16, 23, 1 << 10], [2, 16, 23, 2 << 10 | 5]];
    let cases = [
        ("functions", good.clone()),
        ("lines", lines(&both)),
        ("one function", functions(&[[0, 3]])),
        ("three functions", functions(&[[0, 3], [2, 4], [3, 4]])),
        ("not from the start", functions(&[[1, 3], [2, 4]])),
        ("backwards", functions(&[[0, 3], [0, 4]])),
        ("elsewhere", functions(&[[0, 3], [1, 4]])),
        ("no type", functions(&[[0, 3], [2, 99]])),
        ("no function's type", functions(&[[0, 1], [2, 4]])),
        ("type 0", functions(&[[0, 0], [2, 4]])),
        ("records of 4", good.clone().u32(76, 4)),
        ("records of 10", good.clone().u32(76, 10)),
        ("records of 256", good.clone().u32(76, 256)),
        ("records of 0", good.clone().u32(76, 0)),
        (
            "longer records",
            load(XDP, &program).u32(76, 12).u32(88, 2).memory(80, &words(&[0, 3, 0, 2, 4, 0])),
        ),
        (
            "longer, not zero",
            load(XDP, &program).u32(76, 12).u32(88, 2).memory(80, &words(&[0, 3, 1, 2, 4, 0])),
        ),
        ("functions nowhere", good.clone().u64(80, 8)),
        ("one line", lines(&both[..1])),
        ("line 2 only", lines(&both[1..])),
        ("a line within", lines(&[both[0], [1, 16, 23, 0], both[1], [3, 16, 23, 0]])),
        ("a line twice", lines(&[both[0], both[0], both[1]])),
        ("a line behind the end", lines(&[both[0], both[1], [4, 16, 23, 0]])),
        ("a text of nowhere", lines(&[both[0], [2, 16, 9999, 0]])),
        ("a file of nowhere", lines(&[both[0], [2, 9999, 23, 0]])),
        ("lines of 12", lines(&both).u32(92, 12)),
        ("lines of 15", lines(&both).u32(92, 15)),
        ("lines nowhere", lines(&both).u64(96, 8)),
        ("too many lines", lines(&both).u32(104, 1 << 30)),
        ("BTF that is a file", good.clone().u32(72, 0)),
    ];
    let mut comparison = Comparison::default();
    for (what, call) in cases {
        comparison.same(what, &[72, 140], |side| {
            let fd = if what == "BTF that is a file" { 0 } else { types.of(side) };
            let answer = call.clone().u32(72, fd).make(side);
            if let Ok(fd) = answer.result {
                drop(Descriptor::new(fd));
            }
            answer
        });
    }
    let pair = Pair::new(|side| lines(&both).u32(72, types.of(side)).descriptor(side));
    comparison.same("info", &[0], |side| told(info(&[0; 232]).u32(0, pair.of(side)).make(side)));
}
