//! The command itself: batch, help, version, completions, the man page, and odd surroundings.

mod common;

use common::Maps;
use serde_json::json;
use std::io::Read;
use std::process::Stdio;

#[test]
fn batches_run_until_one_fails() {
    let maps = Maps::new();
    let batch = "# a map\nmap create a type array \\\n key 4 value 1 entries 1 name a\n\n\
                 map update 'a' key 0 0 0 0 value 3 # three\nmap dump a\n";
    let ran = maps.run_with("batch file -", batch);
    assert_eq!(ran.code, 0, "{ran:?}");
    let dumped = "key: 00 00 00 00  value: 03\nFound 1 element\n";
    assert_eq!(ran.out, format!("{dumped}processed 3 commands\n"));
    let ran =
        maps.run_with("-j batch file -", "map count a\nmap delete a key 0 0 0 0\nmap dump a\n");
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.code, 234);
    assert_eq!(value[0]["command"], json!(["map", "count", "a"]));
    assert_eq!(value[0]["output"]["entries"], json!(1));
    assert!(value[1]["output"]["error"].is_string());
    assert_eq!(value.as_array().unwrap().len(), 2);
    maps.fails("batch", 255, "too few parameters for batch");
    maps.fails("batch foo x", 255, "expected 'file', got: foo");
    maps.fails("batch file a b", 255, "too many parameters for batch");
    maps.fails("batch file /nonexistent", 255, "Can't open file (/nonexistent): No such file");
    let ran = maps.run_with("batch file -", "batch file -\n");
    assert_eq!(ran.code, 255);
}

#[test]
fn help_and_version() {
    let maps = Maps::new();
    let version = format!("usermap {}\n", env!("CARGO_PKG_VERSION"));
    for line in ["--version", "-V", "version", "map show --version"] {
        assert_eq!(maps.ok(line), version);
    }
    assert_eq!(maps.json("version").0["version"], json!(env!("CARGO_PKG_VERSION")));
    for line in ["", "help", "--help", "-h"] {
        assert!(maps.ok(line).contains("usermap [OPTIONS] map COMMAND"), "{line}");
    }
    for line in ["map help", "map --help", "help map"] {
        assert!(maps.ok(line).contains("usermap map getnext MAP [key DATA]"), "{line}");
    }
    for line in ["map update --help", "map help update", "-h map up"] {
        assert!(maps.ok(line).starts_with("Create or replace an entry"), "{line}");
    }
    assert_eq!(maps.json("map help"), (json!(null), 0));
    maps.fails("frob", 255, "unknown command 'frob'");
    assert_eq!(maps.json("frob"), (json!({"error": "unknown command 'frob'"}), 255));
}

#[test]
fn short_commands_are_bpftools() {
    let maps = Maps::new();
    maps.ok("m c a t array k 4 v 1 e 1 n a");
    assert_eq!(maps.ok("m d a"), maps.ok("map dump a"));
    assert_eq!(maps.ok("m s a"), maps.ok("map show a"));
    assert_eq!(maps.ok("m l a"), maps.ok("map list a"));
    maps.ok("m p a b");
}

#[test]
fn completions_and_man_page_know_every_command() {
    let maps = Maps::new();
    let page = maps.ok("man");
    let scripts = ["bash", "zsh", "fish"].map(|shell| maps.ok(&format!("completions {shell}")));
    let help = maps.ok("map help");
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let mut count = 0;
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        assert!(page.contains(&format!("usermap map {name}")), "{name}");
        for script in &scripts {
            assert!(script.contains(name), "{name}");
        }
        count += 1;
    }
    assert_eq!(count, 23);
    maps.fails("completions tcsh", 255, "no completions for 'tcsh'");
    maps.fails("completions", 255, "expected a shell");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let maps = Maps::new();
    maps.ok("map create a type array key 4 value 8 entries 20000 name a");
    for options in ["", "-j ", "--table "] {
        let mut child = maps
            .command(&format!("{options}map dump a"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(141));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn a_full_disk_is_told() {
    let maps = Maps::new();
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = maps.command("map help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(String::from_utf8(output.stderr).unwrap().contains("No space left on device"));
}

#[test]
fn odd_words_are_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let maps = Maps::new();
    maps.ok("map create h type hash key 1 value 1 entries 1 name h");
    let odd: &[&[u8]] = &[b"", b"\xff", b"-", b"--", b"-1", b"key", b"u8:", b"hex:", b"\x1b[2J"];
    for command in ["show", "lookup", "update", "create", "range", "pop", "pin", "sum", "inc"] {
        for word in odd {
            for before in ["", "h", "h key", "id", "lookup h first"] {
                let mut run = maps.command(&format!("map {command} {before}"));
                run.arg(std::ffi::OsStr::from_bytes(word));
                let output = run.stdin(Stdio::null()).output().unwrap();
                let err = String::from_utf8_lossy(&output.stderr);
                assert!(!err.contains("panicked"), "{run:?}: {err}");
                assert!(output.status.code().is_some(), "{run:?}: {err}");
                assert!(!err.contains('\x1b'), "{run:?}: {err}");
            }
        }
    }
}
