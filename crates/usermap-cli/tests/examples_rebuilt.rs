//! The examples' objects, built anew from their sources, do what the committed ones do.

mod common;

use common::Maps;
use common::examples::{capture, example, object, without_cpus};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Objects, and options that make every run the same.
const RUNS: [(&str, &str); 16] = [
    ("flow_stats", "--set packet_ns=1000"),
    ("rate_limit", "--set packet_ns=100000 --set rate=500"),
    ("top_talkers", ""),
    ("sampler", "--set every=7"),
    ("exercise/arithmetic.v1", "--prog arithmetic"),
    ("exercise/arithmetic.v4", "--prog arithmetic"),
    ("exercise/atomics", "--prog of_8_bytes"),
    ("exercise/checksums", "--prog nat"),
    ("exercise/functions", "--prog calls"),
    ("exercise/globals", ""),
    ("exercise/loops", "--prog for_each"),
    ("exercise/maps", "--prog keyed_maps"),
    ("exercise/own", "--prog increments"),
    ("exercise/skb", "--prog load_and_store"),
    ("exercise/strings", "--prog print"),
    ("exercise/tail_calls", "--prog call_by_length"),
];

/// Builds all examples into a folder; false if there is nothing to build them with.
fn build(folder: &Path) -> bool {
    let clang = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if !(clang("clang-19") || clang("clang")) || !Path::new("/usr/include/bpf").exists() {
        let required = std::env::var_os("USERMAP_REQUIRE_KERNEL").is_some();
        assert!(!required, "there is no clang, or no header of libbpf");
        eprintln!("skipped: there is no clang, or no header of libbpf");
        return false;
    }
    let output = Command::new(example("build")).arg("-o").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn objects_do_what_their_sources_say() {
    let maps = Maps::new();
    let folder = maps.folder().join("built");
    if !build(&folder) {
        return;
    }
    for (name, options) in RUNS {
        let committed = object(name);
        let below = committed.split("/examples/").last().unwrap();
        let built = folder.join(below).display().to_string();
        let run = |object: &str| -> Value {
            let line = format!("prog run {object} --pcap {} {options}", capture());
            let (run, code) = maps.json(&line);
            assert_eq!(code, 0, "{line}: {run}");
            run
        };
        let (committed, built) = (run(&committed), run(&built));
        for member in ["packets", "verdicts", "redirects", "maps"] {
            let (one, other) = (&committed[member], &built[member]);
            assert_eq!(without_cpus(one), without_cpus(other), "{name}: {member}");
        }
    }
}

/// All four versions of the instruction set give the same results.
#[test]
fn instruction_sets_agree() {
    let maps = Maps::new();
    for program in ["arithmetic", "comparisons"] {
        let results = [1, 2, 3, 4].map(|version| {
            let name = format!("exercise/arithmetic.v{version}");
            let run = common::examples::run(&maps, &name, &format!("--prog {program}"));
            common::examples::results(&run)
        });
        assert!(results.windows(2).all(|two| two[0] == two[1]), "{program}: {results:?}");
        assert!(results[0].iter().any(|result| *result != 0));
    }
}
