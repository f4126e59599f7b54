//! Runs the example `share`: two processes on three maps.

use std::path::PathBuf;
use std::process::Command;

/// The example's program: beside this test's, where `cargo test` builds both.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(name);
    if !path.exists() {
        // Only this test was asked for, so cargo has not built the examples.
        let profile = profile.file_name().unwrap().to_str().unwrap();
        let profile = if profile == "debug" { "dev" } else { profile };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--package", "usermap", "--example", name, "--profile", profile]);
        assert!(cargo.status().unwrap().success());
    }
    path
}

#[test]
fn share_loses_nothing() {
    let folder = std::env::temp_dir().join(format!("usermap-share-{}", std::process::id()));
    for run in 0..2 {
        let output =
            Command::new(example("share")).env("USERMAP_DIR", &folder).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "run {run}: {output:?}");
        for line in
            ["10.0.0.1     2500000", "all         10000000 of 10000000", "sum 10000000", "queue: 0"]
        {
            assert!(text.contains(line), "run {run}, {line}: {text}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
