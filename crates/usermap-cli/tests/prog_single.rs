//! Programs run on one packet or context, as `bpftool prog run` does it; show and dump; help.

mod common;

use common::Maps;
use common::examples::{file, object, packet, results};
use serde_json::{Value, json};

fn bytes(value: &Value) -> Vec<u8> {
    let byte = |value: &Value| u8::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap();
    value.as_array().unwrap().iter().map(byte).collect()
}

#[test]
fn a_packet_goes_in_and_comes_out() {
    let maps = Maps::new();
    let given = file(&maps, "packet", &packet()).display().to_string();
    let line = format!("prog run {} --prog push_vlan --data-in {given}", object("exercise/xdp"));
    let (run, code) = maps.json(&format!("{line} --data-out -"));
    assert_eq!((code, &run["retval"], &run["verdict"]), (0, &json!(3), &json!("XDP_TX")));
    let tagged = [&packet()[..12], &[0x81, 0, 0, 42], &packet()[12..]].concat();
    assert_eq!(bytes(&run["data_out"]), tagged);
    let out = maps.folder().join("out");
    maps.ok(&format!("{line} --data-out {}", out.display()));
    assert_eq!(std::fs::read(&out).unwrap(), tagged);
    // As bpftool prints it.
    let text = maps.ok(&format!("{line} --data-out -"));
    assert!(
        text.starts_with("0000000\t0000 0000 0000 0000 0000 0000 8100 002a | ........ .......*\n")
    );
    assert!(text.contains("\nReturn value: 3, duration: "), "{text}");
    let text = maps.ok(&format!("--table {line} --repeat 1"));
    assert!(text.starts_with("Return value: 3 (XDP_TX), duration: "), "{text}");
    // Run after run on what was left, as the kernel does.
    let (run, _) = maps.json(&format!("{line} --data-out - --repeat 3"));
    assert_eq!(bytes(&run["data_out"]).len(), packet().len() + 3 * 4);
}

#[test]
fn metadata_comes_before_the_packet() {
    let maps = Maps::new();
    let given = file(&maps, "packet", &packet()).display().to_string();
    let xdp = object("exercise/xdp");
    let line = format!("prog run {xdp} --prog meta --data-in {given} --data-out -");
    let (run, _) = maps.json(&line);
    let expected = [&0x1122_3344_5566_7788u64.to_le_bytes()[..], &packet()].concat();
    assert_eq!(bytes(&run["data_out"]), expected, "{run}");
}

#[test]
fn programs_of_the_network_layer_leave_no_ethernet_header() {
    let maps = Maps::new();
    let given = file(&maps, "packet", &packet()).display().to_string();
    let line = format!("prog run {} --prog keep_half --data-in {given}", object("exercise/skb"));
    let (run, _) = maps.json(&format!("{line} --data-out -"));
    assert_eq!(bytes(&run["data_out"]), [&[0; 14], &packet()[14..]].concat(), "{run}");
}

#[test]
fn a_context_goes_in_and_comes_out() {
    let maps = Maps::new();
    let contexts = object("exercise/contexts");
    let words: Vec<u8> = [5u64, 37, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let given = file(&maps, "words", &words).display().to_string();
    let line = format!("prog run {contexts} --prog add_up --ctx-in {given} --ctx-out -");
    let (run, code) = maps.json(&line);
    assert_eq!((code, &run["retval"]), (0, &json!(0)), "{run}");
    assert_eq!(bytes(&run["ctx_out"])[16..], 42u64.to_le_bytes());
    let line = format!("prog run {contexts} --prog raw --ctx-in {given}");
    assert_eq!(results(&maps.json(&line).0)[..2], [5, 37]);
    let line = format!("prog run {contexts} --prog raw --ctx-in {given} --data-out -");
    maps.fails(&line, 255, "option '--data-out': a program of type raw_tracepoint has none");
    let line = format!("prog run {contexts} --prog raw --ctx-in {given} --data-in {given}");
    maps.fails(&line, 255, "option '--data-in': a program of type raw_tracepoint takes no packet");
    let skb = object("exercise/skb");
    let line = format!("prog run {skb} --prog fields --ctx-in {given}");
    maps.fails(&line, 255, "option '--data-in': a program of type sched_cls needs a packet");
}

#[test]
fn fields_of_a_packet_are_set_by_its_context() {
    let maps = Maps::new();
    let given = file(&maps, "packet", &packet()).display().to_string();
    let mut skb = vec![0; 192];
    skb[8..12].copy_from_slice(&99u32.to_le_bytes()); // mark
    skb[32..36].copy_from_slice(&3u32.to_le_bytes()); // priority
    let context = file(&maps, "skb", &skb).display().to_string();
    let program = format!("prog run {} --prog fields", object("exercise/skb"));
    let (run, code) =
        maps.json(&format!("{program} --data-in {given} --ctx-in {context} --ctx-out -"));
    assert_eq!(code, 0, "{run}");
    assert_eq!(results(&run)[30..34], [66, 8, 99, 3]);
    // The program set it.
    assert_eq!(bytes(&run["ctx_out"])[8..12], 7u32.to_le_bytes());
    skb.extend([1; 8]);
    let context = file(&maps, "long", &skb).display().to_string();
    let line = format!("{program} --data-in {given} --ctx-in {context}");
    maps.fails(&line, 255, "a context of 200 bytes: ");
}

#[test]
fn show_says_what_is_in_an_object() {
    let maps = Maps::new();
    let (shown, code) = maps.json(&format!("prog show {}", object("flow_stats")));
    assert_eq!((code, &shown["supported"]), (0, &json!(true)));
    let program = &shown["programs"][0];
    assert_eq!((&program["name"], &program["type"]), (&json!("flow_stats"), &json!("xdp")));
    assert_eq!(program["helpers"][0], json!({"id": 1, "name": "bpf_map_lookup_elem"}));
    assert_eq!(program["maps"], json!(["flows", "totals", ".rodata", ".bss"]));
    let flows = json!({
        "name": "flows", "type": "hash", "bytes_key": 40, "bytes_value": 40,
        "max_entries": 10240, "flags": 0,
        "key_type": "struct flow_key", "value_type": "struct flow",
    });
    assert_eq!(shown["maps"][0], flows);
    let globals = shown["globals"].as_array().unwrap();
    let global = globals.iter().find(|global| global["name"] == "drop_port").unwrap();
    assert_eq!((&global["section"], &global["value"]), (&json!(".rodata"), &json!("0")));
    let plain = maps.ok(&format!("prog show {}", object("flow_stats")));
    assert!(plain.starts_with("program flow_stats  type xdp  section xdp  instructions "));
    assert!(plain.contains("\n\thelpers bpf_map_lookup_elem, bpf_map_update_elem, "), "{plain}");
    let table = maps.ok(&format!("--table prog show {}", object("flow_stats")));
    assert!(table.starts_with("PROGRAM     TYPE  SECTION  INSTRUCTIONS  RUNS  HELPERS\n"));
    let own = maps.ok(&format!("prog show {} --prog increments", object("exercise/own")));
    assert!(own.contains("\thelpers ") && own.contains("bpf_map_inc_and_return"), "{own}");
    assert!(own.contains("map queues  type percpu_queue  key 0B  value 8B (__u64)"), "{own}");
    let external = maps.ok(&format!("prog show {}", object("exercise/kconfig")));
    assert!(external.contains("extern CONFIG_HZ  type int  weak\n"), "{external}");
}

#[test]
fn all_examples_can_be_run() {
    let maps = Maps::new();
    let folder = common::examples::example("");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let Ok(files) = std::fs::read_dir(entry.unwrap().path()) else { continue };
        for file in files.map(|file| file.unwrap().path()) {
            let name = file.display().to_string();
            if !name.ends_with(".bpf.o") {
                continue;
            }
            let (shown, _) = maps.json(&format!("prog show {name}"));
            assert_eq!(shown["supported"], json!(true), "{name}: {}", shown["programs"]);
            count += 1;
        }
    }
    assert!(count >= 27, "{count}");
}

#[test]
fn dump_disassembles_with_source_lines() {
    let maps = Maps::new();
    let text = maps.ok(&format!("prog dump {}", object("flow_stats")));
    assert!(text.starts_with("program flow_stats  section xdp\nflow_stats:\n; "), "{text}");
    assert!(
        text.contains("flow_stats.bpf.c:") && text.contains("(85) call bpf_map_lookup_elem#1\n")
    );
    assert!(text.ends_with("(95) exit\n"));
    let (dumped, _) = maps.json(&format!("prog dump {} --prog deep", object("exercise/functions")));
    assert_eq!(dumped.as_array().unwrap().len(), 1);
    let instructions = dumped[0]["instructions"].as_array().unwrap();
    let functions: Vec<&str> =
        instructions.iter().filter_map(|one| one["function"].as_str()).collect();
    assert_eq!(functions[0], "deep");
    assert!(functions.contains(&"level7"), "{functions:?}");
    assert!(instructions.iter().any(|one| one["src"].is_string() && one["line_num"].is_u64()));
    let all = maps.ok(&format!("prog dump {}", object("exercise/functions")));
    assert!(all.contains("\n\nprogram deep  section tc\n"), "{all}");
}

#[test]
fn help_completions_and_man_page_have_prog() {
    let maps = Maps::new();
    for line in ["prog help", "prog --help", "help prog"] {
        assert!(maps.ok(line).contains("usermap prog dump OBJECT [--prog NAME]"), "{line}");
    }
    let help = maps.ok("prog run --help");
    let page = maps.ok("man");
    let scripts = ["bash", "zsh", "fish"].map(|shell| maps.ok(&format!("completions {shell}")));
    for option in [
        "pcap",
        "prog",
        "repeat",
        "out",
        "map",
        "set",
        "interpret",
        "budget",
        "trace",
        "events",
        "data-in",
        "data-out",
        "ctx-in",
        "ctx-out",
    ] {
        assert!(help.contains(&format!("--{option}")), "{option}: {help}");
        assert!(page.replace('\\', "").contains(&format!("--{option}")), "{option}");
        assert!(scripts.iter().all(|script| script.contains(option)), "{option}");
    }
    assert!(!maps.ok("prog show --help").contains("--pcap"));
    assert!(!maps.ok("map dump --help").contains("--pcap"));
}
