//! What prog refuses, and how it says so: objects, captures, options, and programs that go wrong.

mod common;

use common::Maps;
use common::examples::{capture, example, file, object, packet, unpacked};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;

fn flow_stats() -> String {
    object("flow_stats")
}

#[test]
fn what_there_is_not_is_named() {
    let maps = Maps::new();
    let over = format!("--pcap {}", capture());
    let run = |rest: &str, says: &str| {
        let line = format!("prog run {} {over} {rest}", flow_stats());
        maps.fails(&line, 255, says)
    };
    let rest = run("--prog flows", "no program 'flows'; ");
    assert!(rest.ends_with("flow_stats.bpf.o has flow_stats"), "{rest}");
    let rest = run("--set limit=3", "there is no global limit; there is ");
    assert!(rest.contains("packet_ns"), "{rest}");
    run("--set packet_ns=x", "value \"x\" of global packet_ns: ");
    run("--set drop_port=65536", "value \"65536\" of global drop_port: ");
    let rest = run("--map flow=f", "there is no map flow; there is ");
    assert!(rest.contains("flows, totals"), "{rest}");
    run("--out /nonexistent/x", "/nonexistent/x: No such file or directory");
    run("x", "unexpected operand: 'x'");
    maps.fails("prog run", 255, "expected an object file");
    maps.fails("prog", 255, "expected a command");
    maps.fails("prog frob", 255, "unknown prog command 'frob'");
    maps.fails("prog run /nonexistent", 255, "reading the object /nonexistent: No such file");
    maps.fails(&format!("prog run {}", flow_stats()), 255, "expected '--pcap FILE', or");
    let several = object("exercise/skb");
    let rest = maps.fails(&format!("prog run {several} {over}"), 255, "which program? ");
    assert!(rest.contains("load_and_store, direct, ") && rest.ends_with("give '--prog'"), "{rest}");
    let probe = format!("prog run {} --prog probe {over}", object("exercise/contexts"));
    maps.fails(&probe, 255, "program probe, of type kprobe, takes no packets");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let maps = Maps::new();
    let object = flow_stats();
    let over = capture();
    for (line, says) in [
        (format!("prog run {object} --pcap {over} --data-in x"), "option '--data-in' is for a run"),
        (format!("prog run {object} --data-in x --out y"), "option '--out' needs '--pcap'"),
        (format!("prog run {object} --data-in - --ctx-in -"), "only one of '--data-in' and"),
        (format!("prog run {object} --pcap {over} --repeat 0"), "option '--repeat': no number"),
        (format!("prog run {object} --pcap {over} --budget x"), "option '--budget': no number"),
        (format!("prog run {object} --pcap {over} --map x"), "option '--map': expected NAME=FILE"),
        (format!("prog run {object} --pcap {over} --set =1"), "option '--set': expected VAR=VALUE"),
        (format!("prog show {object} --trace"), "option '--trace' is one of 'prog run'"),
        (format!("prog dump {object} --pcap {over}"), "option '--pcap' is one of 'prog run'"),
        ("map show --pcap x".to_owned(), "option '--pcap' is one of 'usermap prog'"),
        (format!("prog run {object} --pcap"), "option '--pcap <FILE>' needs a value"),
        (format!("prog run {object} --pcap a --pcap b"), "option '--pcap <FILE>' was given twice"),
    ] {
        maps.fails(&line, 255, says);
    }
}

#[test]
fn captures_that_are_none_are_told_before_anything_runs() {
    let maps = Maps::new();
    let run = |path: &str| format!("prog run {} --map flows=flows --pcap {path}", flow_stats());
    let text = file(&maps, "text", b"#!/bin/sh\necho this is no capture\n").display().to_string();
    let rest = maps.fails(&run(&text), 255, &text);
    assert_eq!(rest, ": neither pcap nor pcapng, plain or gzip");
    let empty = file(&maps, "empty", b"").display().to_string();
    assert_eq!(maps.fails(&run(&empty), 255, &empty), ": is empty, not a capture");
    maps.fails(&run("/nonexistent"), 255, "/nonexistent: No such file or directory");
    let (error, code) = maps.json(&run(&text));
    assert_eq!((code, error["error"].is_string()), (255, true));
    assert!(!maps.folder().join("flows").exists(), "no map was made");
}

#[test]
fn a_capture_cut_short_gives_what_is_before() {
    let maps = Maps::new();
    let whole = unpacked();
    // Behind three packets, at every place of the fourth, and at its end.
    let mut ends = vec![24];
    for _ in 0..4 {
        let at = ends[ends.len() - 1];
        let length: [u8; 4] = whole[at + 8..at + 12].try_into().unwrap();
        ends.push(at + 16 + u32::from_le_bytes(length) as usize);
    }
    for length in (ends[3]..=ends[4]).step_by(9).chain([ends[4]]) {
        let path = file(&maps, "cut.pcap", &whole[..length]).display().to_string();
        let ran = maps.run(&format!("-j prog run {} --pcap {path}", flow_stats()));
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let complete = if length == ends[4] { 4 } else { 3 };
        assert_eq!(report["packets"], json!(complete), "{length}");
        let expected = match ends.contains(&length) {
            true => (0, String::new()),
            false => {
                (255, format!("Error: {path}: after packet 3: the file ends within a packet\n"))
            }
        };
        assert_eq!((ran.code, ran.err), expected, "{length}");
    }
}

#[test]
fn packets_that_no_program_takes_are_counted() {
    let maps = Maps::new();
    let mut bytes = unpacked()[..24].to_vec();
    for length in [60u32, 5, 0, 60] {
        for word in [1, 2, length, length] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend(vec![0; length as usize]);
    }
    let path = file(&maps, "short.pcap", &bytes).display().to_string();
    let line = format!("prog run {} --pcap {path}", flow_stats());
    let (report, code) = maps.json(&line);
    assert_eq!((code, &report["packets"], &report["refused"]), (0, &json!(2), &json!(2)));
    let text = maps.ok(&line);
    assert!(text.contains("not run on 2; the first is packet 2: a packet of 5 bytes: "), "{text}");
}

#[test]
fn faults_name_the_program_the_instruction_and_the_line() {
    let maps = Maps::new();
    let loops = object("exercise/loops");
    // The budget is looked at where a program could go on for ever: on the way back, in a helper.
    for (program, budget) in [("bounded", 50), ("loop", 500)] {
        for engine in ["", " --interpret"] {
            let line = format!("prog run {loops} --prog {program} --pcap {}", capture());
            let ran = maps.run(&format!("{line} --budget {budget}{engine}"));
            assert_eq!(ran.code, 255, "{ran:?}");
            let head = format!("{program} (sched_cls): 0 packets, 0 bytes\n");
            assert!(ran.out.starts_with(&head), "{}", ran.out);
            let start = format!("Error: packet 1: program {program}, ");
            assert!(ran.err.starts_with(&start), "{}", ran.err);
            let end = format!(": the budget of {budget} instructions is spent\n");
            assert!(ran.err.ends_with(&end) && ran.err.contains("loops.bpf.c:"), "{}", ran.err);
        }
    }
}

#[test]
fn objects_that_are_damaged_are_errors() {
    let maps = Maps::new();
    let packet = file(&maps, "packet", &packet()).display().to_string();
    for example in ["flow_stats", "exercise/tail_calls"] {
        let whole = std::fs::read(object(example)).unwrap();
        for length in (0..whole.len()).step_by(whole.len() / 24) {
            let path = file(&maps, "cut.o", &whole[..length]).display().to_string();
            for line in [
                format!("prog show {path}"),
                format!("-j prog dump {path}"),
                format!("prog run {path} --data-in {packet}"),
            ] {
                let ran = maps.run(&line);
                assert!(!ran.err.contains("panicked"), "{length}: {ran:?}");
                assert!(ran.code == 0 || ran.code == 255, "{length}: {ran:?}");
            }
        }
    }
    let path = example("captures/README.md");
    let rest = maps.fails(&format!("prog show {path}"), 255, &path);
    assert_eq!(rest, ": no ELF file");
}

#[test]
fn odd_words_are_no_panic() {
    let maps = Maps::new();
    let object = flow_stats();
    let odd: &[&[u8]] = &[b"", b"\xff", b"-", b"-1", b"=", b"a=", b"a=\xff", b"\xff=b", b"\x1b[2J"];
    for option in ["pcap", "prog", "repeat", "out", "map", "set", "budget", "data-in", "ctx-in"] {
        for word in odd {
            let mut run = maps.command(&format!("prog run {object}"));
            let mut given = format!("--{option}=").into_bytes();
            given.extend_from_slice(word);
            run.arg(std::ffi::OsStr::from_bytes(&given)).current_dir(maps.folder());
            let output = run.stdin(std::process::Stdio::null()).output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(!err.contains("panicked") && !err.contains('\x1b'), "{given:?}: {err}");
            assert_eq!(output.status.code(), Some(255), "{given:?}: {err}");
        }
    }
}
