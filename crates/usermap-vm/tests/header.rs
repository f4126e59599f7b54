//! `include/usermap_helpers.h`: its numbers are those of the library, and it compiles, for here and
//! for the kernel.

use std::path::Path;
use std::process::{Command, Stdio};
use usermap::MapType;
use usermap::abi::{PRIVATE_BASE, helper};

const HEADER: &str = include_str!("../../../include/usermap_helpers.h");

#[test]
fn numbers() {
    assert!(HEADER.contains(
        &format!("#define USERMAP_PRIVATE_BASE {PRIVATE_BASE:#010X}\n").replace("0X", "0x")
    ));
    let number_of = |name: &str| {
        let (_, rest) = HEADER.split_once(name).unwrap_or_else(|| panic!("no {name}"));
        let (_, rest) = rest.split_once("(USERMAP_PRIVATE_BASE + ").unwrap();
        PRIVATE_BASE + rest.split(')').next().and_then(|digit| digit.parse::<u32>().ok()).unwrap()
    };
    for (name, number) in [
        ("(*bpf_map_inc)", helper::MAP_INC),
        ("(*bpf_map_inc_and_return)", helper::MAP_INC_AND_RETURN),
        ("(*bpf_map_lookup_and_delete_elem)", helper::MAP_LOOKUP_AND_DELETE_ELEM),
        ("(*bpf_map_lookup_batch)", helper::MAP_LOOKUP_BATCH),
        ("(*bpf_map_update_batch)", helper::MAP_UPDATE_BATCH),
        ("(*bpf_map_delete_batch)", helper::MAP_DELETE_BATCH),
        ("#define BPF_MAP_TYPE_PERCPU_STACK", MapType::PerCpuStack as u32),
        ("#define BPF_MAP_TYPE_PERCPU_QUEUE", MapType::PerCpuQueue as u32),
    ] {
        assert_eq!(number_of(name), number, "{name}");
    }
}

/// Increments, which compile for both.
const SOURCE: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "usermap_helpers.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

SEC("xdp") int count(struct xdp_md *xdp)
{
    __u32 key = xdp->rx_queue_index;
    __u64 sum = 0;
    bpf_map_inc(&counts, &key, 1, BPF_ANY);
    return bpf_map_inc_and_return(&counts, &key, 2, &sum, BPF_EXIST) ? 0 : sum;
}
"#;

#[test]
fn compiles() {
    let clang = ["clang", "clang-19"].into_iter().find(|name| {
        let tried = Command::new(name).arg("--version").stdout(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    let headers = Path::new("/usr/include/bpf/bpf_helpers.h").exists();
    let Some(clang) = clang.filter(|_| headers) else {
        assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "clang and libbpf's headers");
        println!("skipped: clang or libbpf's headers are not installed");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = folder.join("header.bpf.c");
    std::fs::write(&source, SOURCE).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let machine = std::env::consts::ARCH;
    for target in ["-UUSERMAP_KERNEL", "-DUSERMAP_KERNEL"] {
        for cpu in ["v1", "v3"] {
            let status = Command::new(clang)
                .args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", target])
                .arg(format!("-mcpu={cpu}"))
                .arg(format!("-I/usr/include/{machine}-linux-gnu"))
                .arg("-I")
                .arg(&include)
                .arg("-c")
                .arg(&source)
                .arg("-o")
                .arg(folder.join("header.bpf.o"))
                .status();
            assert!(status.unwrap().success(), "{target} {cpu}");
        }
    }
}
