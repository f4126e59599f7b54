//! Programs run over the committed capture: what they return, and what is in their maps then.

mod common;

use common::Maps;
use common::examples::{capture, example, formatted, map, object, results, run, without_cpus};
use serde_json::{Value, json};

const PACKETS: u64 = 3893;

fn total(run: &Value, protocol: &str) -> (u64, u64) {
    let totals = formatted(run, "totals");
    let found = totals.iter().find(|entry| entry["key"] == protocol).unwrap();
    let sum = |name: &str| {
        let values = found["values"].as_array().unwrap();
        values.iter().map(|slot| slot["value"][name].as_u64().unwrap()).sum()
    };
    (sum("packets"), sum("bytes"))
}

#[test]
fn flows_are_those_that_tshark_counts() {
    let maps = Maps::new();
    let run = run(&maps, "flow_stats", "");
    assert_eq!((&run["program"], &run["type"]), (&json!("flow_stats"), &json!("xdp")));
    assert_eq!((&run["packets"], &run["refused"]), (&json!(PACKETS), &json!(0)));
    assert_eq!(run["verdicts"], json!([{"value": 2, "name": "XDP_PASS", "packets": PACKETS}]));
    // tshark -q -z io,phs; bytes without the 14 of each Ethernet header.
    let (tcp, udp, icmp) = (total(&run, "TCP"), total(&run, "UDP"), total(&run, "ICMP"));
    assert_eq!([tcp.0, udp.0, icmp.0], [332 + 3289, 80 + 141, 20 + 31]);
    assert_eq!(tcp.1 + udp.1 + icmp.1, 1_367_504 - 14 * PACKETS);
    let flows = formatted(&run, "flows");
    let sum = |name: &str| flows.iter().map(|flow| flow["value"][name].as_u64().unwrap()).sum();
    assert_eq!((PACKETS, tcp.1 + udp.1 + icmp.1), (sum("packets"), sum("bytes")));
    let services: Vec<&str> =
        flows.iter().map(|flow| flow["value"]["service"].as_str().unwrap()).collect();
    for service in ["http", "https", "dns", "redis", ""] {
        assert!(services.contains(&service), "{service}");
    }
    assert_eq!(map(&run, "flows")["entries"], json!(flows.len()));
}

#[test]
fn both_engines_give_the_same() {
    let maps = Maps::new();
    let same = |object: &str, options: &str| {
        let translated = run(&maps, object, options);
        let interpreted = run(&maps, object, &format!("{options} --interpret"));
        assert_eq!(translated["engine"], json!("jit"));
        assert_eq!(interpreted["engine"], json!("interpreter"));
        for member in ["packets", "verdicts", "redirects", "maps"] {
            let (one, other) = (&translated[member], &interpreted[member]);
            assert_eq!(without_cpus(one), without_cpus(other), "{object} {options}: {member}");
        }
    };
    same("flow_stats", "--set packet_ns=1000");
    same("rate_limit", "--set packet_ns=100000 --set rate=500");
    same("top_talkers", "");
    same("sampler", "--set every=7");
    same("exercise/xdp", "--prog verdicts");
    same("exercise/skb", "--prog verdicts");
    same("exercise/tail_calls", "--prog call_by_length");
    same("exercise/checksums", "--prog nat");
}

#[test]
fn rates_are_limited_by_the_packets_clock() {
    let maps = Maps::new();
    // A packet each millisecond: 3.9 seconds, and the burst, of 100 packets a second of a source.
    let run = run(&maps, "rate_limit", "--set packet_ns=1000000 --set rate=100 --set burst=10");
    let buckets = formatted(&run, "buckets");
    let mut passed = 0;
    for bucket in &buckets {
        let (pass, drop) = (&bucket["value"]["passed"], &bucket["value"]["dropped"]);
        let pass = pass.as_u64().unwrap();
        assert!(pass <= 10 + 390 && (drop == &json!(0) || pass >= 10), "{bucket}");
        passed += pass;
    }
    let pass = json!({"value": 2, "name": "XDP_PASS", "packets": passed});
    let drop = json!({"value": 1, "name": "XDP_DROP", "packets": PACKETS - passed});
    assert_eq!(run["verdicts"], json!([drop, pass]));
    assert!(passed > 400 && passed < PACKETS, "{passed}");
}

#[test]
fn talkers_are_in_order() {
    let maps = Maps::new();
    let run = run(&maps, "top_talkers", "");
    let mut bytes: Vec<u64> =
        formatted(&run, "sources").iter().map(|source| source["value"].as_u64().unwrap()).collect();
    assert_eq!(bytes.iter().sum::<u64>(), 1_367_504 - 14 * PACKETS);
    bytes.sort_by(|a, b| b.cmp(a));
    let top: Vec<u64> = formatted(&run, "top")
        .iter()
        .map(|talker| talker["value"]["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(top, bytes[..8]);
}

#[test]
fn samples_and_events_come_out_of_rings() {
    let maps = Maps::new();
    let run = run(&maps, "sampler", "--set every=1000");
    let samples = formatted(&run, "samples");
    let numbers: Vec<u64> =
        samples.iter().map(|sample| sample["value"]["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1000, 2000, 3000]);
    let events = formatted(&run, "events");
    let numbers: Vec<u64> =
        events.iter().map(|event| event["value"]["number"].as_u64().unwrap()).collect();
    assert_eq!(events.len(), 16);
    assert!(numbers.is_sorted_by(|a, b| a > b), "the last comes first: {numbers:?}");
}

#[test]
fn what_passes_is_written() {
    let maps = Maps::new();
    let out = maps.folder().join("out.pcap.gz").display().to_string();
    let all = run(&maps, "flow_stats", "");
    let rest = run(&maps, "flow_stats", &format!("--set drop_port=53 --out {out}"));
    let again = maps.json(&format!("prog run {} --pcap {out}", object("flow_stats"))).0;
    assert_eq!(again["packets"], json!(PACKETS - 220));
    assert_eq!(rest["verdicts"][0], json!({"value": 1, "name": "XDP_DROP", "packets": 220}));
    // The one question to a port where nobody listens.
    assert_eq!(total(&again, "UDP").0, 1);
    assert_eq!(total(&again, "TCP"), total(&all, "TCP"));
    let line = format!("prog run {} --pcap {out} --out {out}", object("flow_stats"));
    let rest = maps.fails(&line, 255, &out);
    assert_eq!(rest, ": is the capture that is read; it would be lost");
    assert_eq!(maps.json(&format!("prog run {} --pcap {out}", object("flow_stats"))).1, 0);
}

#[test]
fn packets_are_written_as_the_program_changed_them() {
    let maps = Maps::new();
    let out = maps.folder().join("out.pcap").display().to_string();
    run(&maps, "exercise/xdp", &format!("--prog push_vlan --out {out}"));
    let tagged = maps.json(&format!("prog run {} --pcap {out}", object("flow_stats"))).0;
    let plain = run(&maps, "flow_stats", "");
    assert_eq!(tagged["packets"], plain["packets"]);
    assert_eq!(tagged["bytes"].as_u64(), plain["bytes"].as_u64().map(|bytes| bytes + 4 * PACKETS));
    assert_eq!(total(&tagged, "TCP"), total(&plain, "TCP"));
    let flows = formatted(&tagged, "flows");
    assert!(flows.iter().all(|flow| flow["key"]["vlan"] == 42));
    run(&maps, "exercise/skb", &format!("--prog keep_half --out {out}"));
    let half = maps.json(&format!("prog run {} --pcap {out}", object("flow_stats"))).0;
    assert!(half["bytes"].as_u64() < plain["bytes"].as_u64());
}

#[test]
fn a_pinned_map_is_there_for_others() {
    let maps = Maps::new();
    let line = "--map flows=flows --set packet_ns=5";
    let first = run(&maps, "flow_stats", line);
    let flows = map(&first, "flows");
    assert_eq!(flows["pinned"], json!([maps.folder().join("flows").display().to_string()])[0]);
    // With its types, from another process.
    let (dump, _) = maps.json("map dump flows");
    assert_eq!(dump.as_array().unwrap().len() as u64, flows["entries"].as_u64().unwrap());
    assert!(dump[0]["formatted"]["value"]["service"].is_string(), "{}", dump[0]);
    let second = run(&maps, "flow_stats", line);
    let packets = |run: &Value| -> u64 {
        let flows = formatted(run, "flows");
        flows.iter().map(|flow| flow["value"]["packets"].as_u64().unwrap()).sum()
    };
    assert_eq!((packets(&first), packets(&second)), (PACKETS, 2 * PACKETS));
    // A ring that others may read is not emptied.
    let sampled = run(&maps, "sampler", "--map samples=samples --set every=1000");
    assert_eq!(map(&sampled, "samples")["elements"], Value::Null);
    assert_eq!(maps.json("map count samples").0["entries"], json!(4));
    assert!(maps.ok("map pop samples").contains("\"number\": 0"));
    // Another object's map of this name is not this one's.
    let line =
        format!("prog run {} --pcap {} --map buckets=flows", object("rate_limit"), capture());
    assert_eq!(maps.run(&line).code, 255);
}

#[test]
fn runs_are_repeated() {
    let maps = Maps::new();
    let run = run(&maps, "flow_stats", "--repeat 3");
    assert_eq!((&run["packets"], &run["repeat"]), (&json!(3 * PACKETS), &json!(3)));
    assert_eq!(total(&run, "UDP").0, 3 * 221);
    let line = format!("prog run {} --pcap - --repeat 2", object("flow_stats"));
    maps.fails(&line, 255, "the standard input can only be read once: '--repeat' needs a file");
}

#[test]
fn captures_come_in_both_formats_and_from_stdin() {
    let maps = Maps::new();
    let part = example("captures/part.pcapng.gz");
    let (of_file, _) =
        maps.json(&format!("prog run {} --pcap {part} --set packet_ns=1", object("flow_stats")));
    assert_eq!(of_file["packets"], json!(200));
    let mut command =
        maps.command(&format!("-j prog run {} --pcap - --set packet_ns=1", object("flow_stats")));
    let stdin = std::fs::File::open(part).unwrap();
    let output = command.stdin(stdin).output().unwrap();
    let of_stdin: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(without_cpus(&of_stdin["maps"]), without_cpus(&of_file["maps"]));
}

#[test]
fn what_programs_print_goes_to_stderr() {
    let maps = Maps::new();
    let line = format!(
        "prog run {} --prog print --pcap {}",
        object("exercise/strings"),
        example("captures/part.pcapng.gz")
    );
    assert_eq!(maps.run(&line).err, "");
    let ran = maps.run(&format!("{line} --trace"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.err.lines().count(), 400);
    assert!(ran.err.contains("four: 1 2 3 4\n") && ran.err.contains(" bytes, word\n"), "{ran:?}");
}

#[test]
fn events_are_counted_and_printed() {
    let maps = Maps::new();
    let counted = run(&maps, "exercise/events", "--prog report");
    assert_eq!(map(&counted, "events")["count"], json!(PACKETS));
    assert_eq!(map(&counted, "events")["events"], Value::Null);
    let printed = run(&maps, "exercise/events", "--prog report_head --events");
    let events = map(&printed, "events")["events"].as_array().unwrap();
    assert_eq!(events.len() as u64, PACKETS);
    // The number, the length, the text; and 16 bytes of the packet.
    let bytes = events[3]["data"].as_array().unwrap();
    assert!(bytes.len() >= 32 && bytes[0] == "0x03", "{bytes:?}");
}

#[test]
fn redirects_and_unknown_verdicts_are_counted() {
    let maps = Maps::new();
    let run = run(&maps, "exercise/xdp", "--prog verdicts");
    let verdicts = run["verdicts"].as_array().unwrap();
    let names: Vec<&Value> = verdicts.iter().map(|verdict| &verdict["name"]).collect();
    let known = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"].map(Value::from);
    assert_eq!(names[..5], known.iter().collect::<Vec<_>>());
    assert_eq!((&verdicts[5]["value"], names[5]), (&json!(77), &Value::Null));
    let redirected = json!([{"ifindex": 1, "packets": verdicts[4]["packets"]}]);
    assert_eq!(run["redirects"], redirected);
}

#[test]
fn tail_calls_find_the_objects_programs() {
    let maps = Maps::new();
    let run = run(&maps, "exercise/tail_calls", "--prog call_again");
    assert_eq!(run["verdicts"], json!([{"value": 22, "packets": PACKETS}]));
    // The first is not by a tail call, and 33 are.
    assert_eq!(results(&run)[1] as u64, 33 * PACKETS);
    let programs = json!([{"index": 1, "program": "first"}, {"index": 2, "program": "again"}]);
    assert_eq!(map(&run, "programs")["programs"], programs);
}

#[test]
fn the_text_is_for_people() {
    let maps = Maps::new();
    let line = format!(
        "--table prog run {} --pcap {} --set packet_ns=1000000",
        object("flow_stats"),
        capture()
    );
    let text = maps.ok(&line);
    assert!(text.starts_with("flow_stats (xdp): 3,893 packets, 377,"), "{text}");
    for part in [
        "\nVERDICT   PACKETS\nXDP_PASS    3,893\n\n",
        " ns per packet\n",
        "\nflows (hash, 436 of 10240 entries)\n",
        "\n2001:db8::14       2001:db8::1  ",
        "\nUDP                  sum      221 ",
        "\nGLOBAL     TYPE                  VALUE\n",
        "\nclock_ns    __u64  3893000000\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let plain = maps.ok(&line.replace("--table", "--plain"));
    assert!(plain.contains("\"service\": \"https\""));
    // Neither the speed, nor the CPU slot of the totals.
    let flows = |text: &str| -> String {
        let from = text.split("\nflows (").nth(1).unwrap();
        from.split("\ntotals (").next().unwrap().to_owned()
    };
    assert_eq!(flows(&maps.ok(&line)), flows(&text));
}

#[test]
fn kernel_configuration_is_given() {
    let maps = Maps::new();
    let line = format!("prog run {} --pcap {}", object("exercise/kconfig"), capture());
    let given = "--set CONFIG_HZ=250 --set CONFIG_IPV6=m --set LINUX_KERNEL_VERSION=7";
    let (run, code) = maps.json(&format!("{line} {given}"));
    assert_eq!(code, 0, "{run}");
    assert_eq!(results(&run)[..4], [7, 0, 250, 2]);
}

#[test]
fn a_batch_runs_programs_too() {
    let maps = Maps::new();
    let line = format!(
        "prog run {} --pcap {} --map buckets=b --set rate=1\nmap count b\n",
        object("rate_limit"),
        capture()
    );
    let ran = maps.run_with("batch file -", &line);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.ends_with("processed 2 commands\n"), "{}", ran.out);
    let ran = maps.run_with("batch file -", "prog run x --frob\n");
    assert!(ran.err.contains("unrecognized option '--frob'"), "{ran:?}");
}
