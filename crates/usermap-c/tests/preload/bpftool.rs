//! bpftool's commands on maps.

use crate::wrapped::{Folder, has};
use serde_json::{Value, json};

fn folder(name: &str) -> Option<Folder> {
    has("bpftool").then(|| Folder::new(name))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn creates_shows_and_changes_a_hash() {
    let Some(folder) = folder("bpftool-hash") else { return };
    let pin = "/sys/fs/bpf/flows";
    folder.bpftool(&format!("map create {pin} type hash key 4 value 8 entries 3 name flows"));
    assert!(folder.maps().join("flows").is_file(), "the pin is a file in the folder of maps");
    folder.bpftool("map update name flows key 1 0 0 0 value 2 0 0 0 0 0 0 0");
    folder.bpftool(&format!("map update pinned {pin} key 7 0 0 0 value 9 0 0 0 0 0 0 1 noexist"));
    let line = "map update name flows key 7 0 0 0 value 0 0 0 0 0 0 0 0 noexist";
    let (code, text) = folder.try_bpftool(line);
    assert_eq!((code, text.as_str()), (239, "Error: update failed: File exists\n"));

    let shown = json(&folder.bpftool("-j map show"));
    let shown = &shown[0];
    let id = shown["id"].as_u64().unwrap();
    for (name, value) in [("type", json!("hash")), ("name", json!("flows")), ("flags", json!(0))] {
        assert_eq!(shown[name], value, "{shown}");
    }
    for (name, value) in [("bytes_key", 4), ("bytes_value", 8), ("max_entries", 3), ("frozen", 0)] {
        assert_eq!(shown[name], value, "{shown}");
    }
    let plain = folder.bpftool(&format!("map show id {id}"));
    assert!(plain.starts_with(&format!("{id}: hash  name flows  flags 0x0\n")), "{plain}");
    assert!(plain.contains("key 4B  value 8B  max_entries 3  memlock "), "{plain}");

    assert_eq!(
        folder.bpftool("map lookup name flows key 7 0 0 0"),
        "key: 07 00 00 00  value: 09 00 00 00 00 00 00 01\n"
    );
    let (code, text) = folder.try_bpftool("map lookup name flows key 8 0 0 0");
    assert_eq!((code, text.as_str()), (254, "key:\n08 00 00 00\n\nNot found\n"));
    let dump = folder.bpftool("map dump name flows");
    assert!(dump.contains("key: 01 00 00 00  value: 02 00 00 00 00 00 00 00\n"), "{dump}");
    assert!(dump.ends_with("Found 2 elements\n"), "{dump}");
    assert_eq!(json(&folder.bpftool("-j map dump name flows")).as_array().unwrap().len(), 2);

    let first = folder.bpftool("-j map getnext name flows");
    let first = json(&first)["next_key"].clone();
    let key = first.as_array().unwrap().iter().map(|byte| byte.as_str().unwrap());
    let key = key.collect::<Vec<_>>().join(" ");
    let second = json(&folder.bpftool(&format!("-j map getnext name flows key {key}")));
    assert_ne!(second["next_key"], first);
    folder.bpftool("map delete name flows key 7 0 0 0");
    assert_eq!(folder.try_bpftool("map delete name flows key 7 0 0 0").0, 254);
    assert_eq!(json(&folder.bpftool("-j map dump name flows")).as_array().unwrap().len(), 1);
}

#[test]
fn pins_and_freezes() {
    let Some(folder) = folder("bpftool-pins") else { return };
    folder.bpftool("map create /sys/fs/bpf/one type array key 4 value 4 entries 2 name one");
    folder.bpftool("map pin name one /sys/fs/bpf/two");
    let (code, text) = folder.try_bpftool("map pin name one /sys/fs/bpf/two");
    assert_ne!(code, 0);
    assert!(text.contains("File exists"), "{text}");
    std::fs::remove_file(folder.maps().join("one")).unwrap();
    folder.bpftool("map update pinned /sys/fs/bpf/two key 1 0 0 0 value 5 5 5 5");
    folder.bpftool("map freeze name one");
    assert_eq!(json(&folder.bpftool("-j map show pinned /sys/fs/bpf/two"))["frozen"], 1);
    let line = "map update pinned /sys/fs/bpf/two key 1 0 0 0 value 6 6 6 6";
    assert!(folder.try_bpftool(line).1.contains("Operation not permitted"));
    assert_eq!(
        folder.bpftool("map lookup name one key 1 0 0 0"),
        "key: 01 00 00 00  value: 05 05 05 05\n"
    );
    std::fs::remove_file(folder.maps().join("two")).unwrap();
    assert_eq!(json(&folder.bpftool("-j map show")), json!([]), "nobody has it any more");
    let (code, text) = folder.try_bpftool("map show pinned /sys/fs/bpf/two");
    assert_ne!(code, 0);
    assert!(text.contains("No such file or directory"), "{text}");
}

#[test]
fn pushes_and_pops() {
    let Some(folder) = folder("bpftool-rings") else { return };
    folder.bpftool("map create /sys/fs/bpf/q type queue key 0 value 4 entries 2 name q");
    folder.bpftool("map create /sys/fs/bpf/s type stack key 0 value 4 entries 2 name s");
    for value in ["1 0 0 0", "2 0 0 0"] {
        folder.bpftool(&format!("map enqueue name q value {value}"));
        folder.bpftool(&format!("map push name s value {value}"));
    }
    assert!(
        folder.try_bpftool("map push name s value 3 0 0 0").1.contains("Argument list too long")
    );
    assert_eq!(folder.bpftool("map peek name q"), "value: 01 00 00 00\n");
    assert_eq!(folder.bpftool("map dequeue name q"), "value: 01 00 00 00\n");
    assert_eq!(folder.bpftool("map pop name s"), "value: 02 00 00 00\n");
    assert_eq!(json(&folder.bpftool("-j map dequeue name q"))["value"][0], "0x02");
    let (code, text) = folder.try_bpftool("map dequeue name q");
    assert_eq!((code, text.as_str()), (254, "Error: empty map\n"));
}

#[test]
fn shows_every_cpus_value() {
    let Some(folder) = folder("bpftool-percpu") else { return };
    folder.bpftool("map create /sys/fs/bpf/t type percpu_array key 4 value 8 entries 1 name t");
    folder.bpftool("map update name t key 0 0 0 0 value 7 0 0 0 0 0 0 0");
    let dump = json(&folder.bpftool("-j map dump name t"));
    let values = dump[0]["values"].as_array().unwrap();
    assert_eq!(values.len() as u32, usermap::possible_cpus());
    assert!(values.iter().all(|value| value["value"][0] == "0x07"), "{dump}");
}

#[test]
fn runs_batches() {
    let Some(folder) = folder("bpftool-batch") else { return };
    let lines = "map create /sys/fs/bpf/b type hash key 4 value 4 entries 4 name b\n\
                 map update name b key 1 0 0 0 value 1 1 1 1\n\
                 # and one more\n\
                 map update name b key 2 0 0 0 value 2 2 2 2\n\
                 map lookup name b key 2 0 0 0\n";
    std::fs::write(folder.file("lines"), lines).unwrap();
    let text = folder.bpftool("batch file lines");
    assert_eq!(text, "key: 02 00 00 00  value: 02 02 02 02\nprocessed 4 commands\n");
}

#[test]
fn folders_of_pins() {
    let Some(folder) = folder("bpftool-folders") else { return };
    let line = "map create /sys/fs/bpf/sub/m type hash key 4 value 4 entries 4 name m";
    assert_ne!(folder.try_bpftool(line).0, 0, "there is no such folder");
    assert!(folder.run("mkdir", &["/sys/fs/bpf/sub"]).status.success());
    folder.bpftool(line);
    let listed = folder.run("ls", &["/sys/fs/bpf/sub"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "m\n");
    assert!(folder.run("rm", &["/sys/fs/bpf/sub/m"]).status.success());
    assert!(folder.run("rmdir", &["/sys/fs/bpf/sub"]).status.success());
    assert!(!folder.maps().join("sub").exists());
}

#[test]
fn nothing_reaches_the_kernel() {
    let Some(folder) = folder("bpftool-kernel") else { return };
    // What usermap does not have is what a kernel does not have that lacks it.
    let line = "map create /sys/fs/bpf/l type lru_hash key 4 value 4 entries 4 name l";
    let (code, text) = folder.try_bpftool(line);
    assert_ne!(code, 0);
    assert!(text.contains("Invalid argument"), "{text}");
    let log = folder
        .command("bpftool".as_ref(), &["map", "show"])
        .env("USERMAP_LOG", "1")
        .output()
        .unwrap();
    let log = String::from_utf8(log.stderr).unwrap();
    let said =
        "usermap: BPF_MAP_GET_NEXT_ID id 0 = -2: BPF_MAP_GET_NEXT_ID: no map has a larger id";
    assert!(log.contains(said), "{log}");
}
