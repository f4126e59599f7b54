//! The programs of this crate run on usermap, as any user would run them: `USERMAP_LIB` says where
//! libusermap.so is. Run as root, they run as an ordinary user without capabilities.

use std::path::PathBuf;
use std::process::Command;

/// What a program printed.
fn wrapped(name: &str, program: &str) -> String {
    let library = std::env::var("USERMAP_LIB").expect("USERMAP_LIB: where libusermap.so is");
    let folder = std::env::temp_dir().join(format!("usermap-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Others may not look at where these were built.
    let copies = ["program", "libusermap.so"].map(|name| folder.join(name));
    for (from, to) in [PathBuf::from(program), library.into()].iter().zip(&copies) {
        std::fs::copy(from, to).unwrap();
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|about| {
        use std::os::unix::fs::MetadataExt;
        about.uid() == 0
    });
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).unwrap();
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["--inh-caps=-all", "--bounding-set=-all", "env"]);
    }
    let output = command
        .arg(format!("LD_PRELOAD={}", copies[1].display()))
        .arg("USERMAP_WRAP=1")
        .arg(format!("USERMAP_DIR={}", folder.display()))
        .arg(&copies[0])
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn aya() {
    assert_eq!(
        wrapped("aya", env!("CARGO_BIN_EXE_aya")),
        "hash: 99 entries, sum 14829\n\
         hash: 0 left\n\
         per CPU: every CPU has its own value\n\
         queue 1 stack 3\nqueue 2 stack 2\nqueue 3 stack 1\n"
    );
}

#[test]
fn libbpf_rs() {
    assert_eq!(
        wrapped("libbpf-rs", env!("CARGO_BIN_EXE_libbpf_rs")),
        "hash: 99 entries, sum 14829\n\
         info: flows key 4\n\
         batch: 99 drained, 0 left\n\
         per CPU: every CPU has its own value\n\
         queue 1 stack 3\nqueue 2 stack 2\nqueue 3 stack 1\n"
    );
}
