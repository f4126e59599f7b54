//! `--passthrough`: what usermap refuses goes to the kernel.

use crate::libbpf::compile;
use crate::wrapped::{Folder, has};
use std::process::{Command, Output};

fn said(output: Output) -> String {
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Whether the kernel makes maps for this user; says that the test is skipped if it does not.
fn kernel_allows(program: &std::path::Path) -> bool {
    let alone = said(Command::new(program).output().unwrap());
    if alone.contains("LRU hash: update done") {
        return true;
    }
    println!("skipped: the kernel's bpf(2) is not allowed here: {alone}");
    assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "bpf(2) is needed");
    false
}

#[test]
fn what_usermap_refuses_is_the_kernels() {
    if !has("cc") {
        return;
    }
    let folder = Folder::new("passthrough");
    let program = compile(&folder, "passthrough.c", ("passthrough", &[]));
    let wrapped = said(folder.run(&program, &[]));
    let expected = "hash: update done, lookup done 42, first key done 7, usermap's\n\
                    LRU hash: Invalid argument\n\
                    no key: No such file or directory\n\
                    no descriptor: Bad file descriptor\n";
    assert_eq!(wrapped, expected, "without it nothing gets there");
    if !kernel_allows(&program) {
        return;
    }
    let mut command = folder.passed_through(&program);
    let expected = "hash: update done, lookup done 42, first key done 7, usermap's\n\
                    LRU hash: update done, lookup done 42, first key done 7, the kernel's\n\
                    no key: No such file or directory\n\
                    no descriptor: Bad file descriptor\n";
    assert_eq!(said(command.output().unwrap()), expected);

    let log = said(command.env("USERMAP_LOG", "1").output().unwrap());
    let refused =
        "usermap: BPF_MAP_CREATE type 9 key 4 value 8 entries 16 flags 0x0 name \"\" = -22:";
    assert!(log.contains(refused), "{log}");
}
