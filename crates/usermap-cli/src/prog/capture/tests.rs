use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use std::path::PathBuf;

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/captures").join(name)
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = File::open(committed(name)).unwrap();
    MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// All packets, and what went wrong then.
fn read(bytes: &[u8]) -> (Vec<Packet>, Option<Problem>) {
    let source = Cursor::new(bytes.to_vec());
    match Capture::new(source, "it", &Arc::default()) {
        Ok(capture) => drain(capture),
        Err(problem) => (Vec::new(), Some(problem)),
    }
}

fn drain(mut capture: Capture) -> (Vec<Packet>, Option<Problem>) {
    let mut packets = Vec::new();
    loop {
        match capture.next() {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => return (packets, None),
            Err(problem) => return (packets, Some(problem)),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn both_formats_give_the_same_packets() {
    let progress = Arc::default();
    let all = Capture::open(&committed("loopback.pcap.gz"), &progress).unwrap();
    let (all, problem) = drain(all);
    assert_eq!((all.len(), problem), (3893, None));
    let size = std::fs::metadata(committed("loopback.pcap.gz")).unwrap().len();
    assert_eq!(progress.load(Relaxed), size);
    let (part, problem) = read(&unpacked("part.pcapng.gz"));
    assert_eq!((part.len(), problem), (200, None));
    assert_eq!(part, all[..200]);
    assert!(all.iter().all(|packet| packet.bytes.len() <= 256));
    assert_eq!(all[5].number, 6);
}

#[test]
fn what_is_written_reads_back() {
    let (packets, _) = read(&unpacked("part.pcapng.gz"));
    for name in ["out.pcap", "out.pcap.gz"] {
        let path = std::env::temp_dir().join(format!("usermap-{}-{name}", std::process::id()));
        let mut writer = Writer::create(&path, Path::new("-")).unwrap();
        packets.iter().for_each(|packet| writer.packet(packet).unwrap());
        writer.finish().unwrap();
        let again = drain(Capture::open(&path, &Arc::default()).unwrap());
        assert_eq!(again, (packets.clone(), None));
        let error = Writer::create(&path, &path).err().unwrap();
        assert!(error.ends_with("is the capture that is read; it would be lost"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
    assert!(Writer::create(Path::new("/nonexistent/x"), Path::new("-")).is_err());
}

#[test]
fn what_is_cut_short_gives_what_is_before() {
    let pcap = unpacked("loopback.pcap.gz");
    let pcap = &pcap[..3000];
    let (whole, problem) = read(pcap);
    assert!(problem.unwrap().starts_with(&format!("it: after packet {}: ", whole.len())));
    let mut ends = 24;
    let mut complete = 0;
    for length in 0..pcap.len() {
        let next = whole.get(complete).map_or(usize::MAX, |next| ends + 16 + next.bytes.len());
        if length == next {
            (ends, complete) = (next, complete + 1);
        }
        let (packets, problem) = read(&pcap[..length]);
        assert_eq!(packets, whole[..complete], "{length}");
        let expected = match length {
            0 => Some("it: is empty, not a capture".to_owned()),
            1..24 => Some("it: neither pcap nor pcapng, plain or gzip".to_owned()),
            _ if length == ends => None,
            _ => Some(format!("it: after packet {complete}: the file ends within a packet")),
        };
        assert_eq!(problem, expected, "{length}");
    }
}

#[test]
fn newer_files_and_gzip_ones_are_cut_anywhere() {
    let newer = unpacked("part.pcapng.gz");
    let (whole, _) = read(&newer);
    for length in (0..2500).chain(newer.len() - 200..newer.len()) {
        let (packets, _) = read(&newer[..length]);
        assert_eq!(packets, whole[..packets.len()], "{length}");
    }
    let packed = gzip(&newer[..4000]);
    for length in 2..packed.len() {
        let (packets, problem) = read(&packed[..length]);
        assert_eq!(packets, whole[..packets.len()]);
        assert!(problem.is_some(), "{length}");
    }
}

#[test]
fn what_is_no_capture_is_told() {
    let none = Some("it: neither pcap nor pcapng, plain or gzip".to_owned());
    for bytes in [&b"#!/bin/sh\nexit\n and more of it"[..], &[0; 100], &[0x7f; 24]] {
        assert_eq!(read(bytes), (Vec::new(), none.clone()));
    }
    let (_, problem) = read(&gzip(b"just text, for somebody else to read"));
    assert_eq!(problem, none);
    let (_, problem) = read(&[&GZIP[..], b"damaged, all of it"].concat());
    assert!(problem.is_some());
    let open = |path: &str| Capture::open(Path::new(path), &Arc::default()).err().unwrap();
    assert_eq!(open("/nonexistent"), "/nonexistent: No such file or directory");
    assert_eq!(open("/"), "/: is a folder, not a capture");
}

#[test]
fn links_and_lengths_that_cannot_be_are_told() {
    let mut header = unpacked("loopback.pcap.gz");
    header.truncate(24);
    let with = |link: u32, record: &[u32]| {
        let mut bytes = header.clone();
        bytes[20..24].copy_from_slice(&link.to_le_bytes());
        record.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        read(&bytes)
    };
    let (_, problem) = with(127, &[]);
    assert!(problem.unwrap().starts_with("it: packets of link type 127 "));
    let (_, problem) = with(1, &[&[0, 0, u32::MAX, u32::MAX], &[5; 300_000][..]].concat());
    let damaged = "it: after packet 0: a packet of more than 1 MiB: the file is damaged";
    assert_eq!(problem.as_deref(), Some(damaged));
    let (packets, problem) = with(113, &[1, 2, 4, 4, 0]);
    assert!(packets.is_empty());
    assert_eq!(problem.as_deref(), Some("it: packet 1: ends within its link's header"));
    let (packets, problem) = with(101, &[1, 2, 4, 40, 0x45]);
    assert_eq!(problem, None);
    let made = (packets[0].bytes.len(), packets[0].length, packets[0].time);
    assert_eq!(made, (18, 54, 1_000_002_000));
}

proptest! {
    #[test]
    fn damage_is_no_panic(at in 0usize..4000, byte: u8, newer: bool) {
        let name = if newer { "part.pcapng.gz" } else { "loopback.pcap.gz" };
        let mut bytes = unpacked(name);
        bytes.truncate(4000);
        bytes[at] = byte;
        read(&bytes);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, start in 0usize..4) {
        let starts: [&[u8]; 4] = [
            &[0xd4, 0xc3, 0xb2, 0xa1], &[0x0a, 0x0d, 0x0d, 0x0a], &[0x1f, 0x8b], &[],
        ];
        read(&[starts[start], &bytes].concat());
    }
}
