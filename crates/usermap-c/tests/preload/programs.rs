//! bpftool's commands on programs, and typed dumps of their maps: what one process loads, others
//! find, run and look at.

use crate::wrapped::{Folder, has, repository};
use serde_json::{Value, json};

/// A folder with an example's object in it, which is loaded and pinned.
fn loaded(name: &str, example: &str) -> Option<Folder> {
    if !has("bpftool") {
        return None;
    }
    let folder = Folder::new(name);
    let object = repository().join("examples").join(example).join(format!("{example}.bpf.o"));
    std::fs::copy(object, folder.file("object.o")).unwrap();
    // A frame of no protocol that the example knows.
    std::fs::write(folder.file("packet"), [0; 60]).unwrap();
    folder.bpftool("prog load object.o /sys/fs/bpf/prog");
    Some(folder)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn programs_are_loaded_shown_and_run() {
    let Some(folder) = loaded("programs", "flow_stats") else { return };
    let shown = json(&folder.bpftool("-j prog show"));
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "probes left nothing: {shown}");
    let shown = &shown[0];
    assert_eq!((&shown["type"], &shown["name"]), (&json!("xdp"), &json!("flow_stats")));
    assert_eq!(shown["gpl_compatible"], true);
    assert!(shown["map_ids"].as_array().unwrap().len() >= 3, "{shown}");
    let id = shown["id"].as_u64().unwrap();
    let same = json(&folder.bpftool("-j prog show pinned /sys/fs/bpf/prog"));
    assert_eq!(same["id"].as_u64(), Some(id));

    for _ in 0..2 {
        let run = folder.bpftool("prog run pinned /sys/fs/bpf/prog data_in packet repeat 3");
        assert!(run.starts_with("Return value: 2, duration (average): "), "{run}");
    }
    let run = json(&folder.bpftool(&format!("-j prog run id {id} data_in packet data_out -")));
    assert_eq!(run["retval"], 2);

    // The kernel's BTF has names for the map's types, and so has usermap's.
    let totals = json(&folder.bpftool("-j map dump name totals"));
    let odd = totals.as_array().unwrap().iter();
    let odd = odd.map(|entry| &entry["formatted"]).find(|entry| entry["key"] == "NOT_AN_IP");
    let values = odd.unwrap()["values"].as_array().unwrap();
    let packets: u64 = values.iter().map(|cpu| cpu["value"]["packets"].as_u64().unwrap()).sum();
    let bytes: u64 = values.iter().map(|cpu| cpu["value"]["bytes"].as_u64().unwrap()).sum();
    assert_eq!((packets, bytes), (7, 7 * 60));
}

#[test]
fn globals_and_sections_are_typed() {
    let Some(folder) = loaded("globals", "flow_stats") else { return };
    let maps = json(&folder.bpftool("-j map show"));
    let named = |suffix: &str| {
        let maps = maps.as_array().unwrap().iter();
        let mut found =
            maps.filter(|map| map["name"].as_str().is_some_and(|name| name.ends_with(suffix)));
        found.next().unwrap_or_else(|| panic!("no {suffix} in {maps:?}", maps = found)).clone()
    };
    let bss = named(".bss");
    assert!(bss["btf_id"].as_u64().unwrap() > 0);
    assert_eq!(named(".rodata")["frozen"], 1);
    let dump = json(&folder.bpftool(&format!("-j map dump id {}", bss["id"])));
    let variables = dump[0]["formatted"]["value"][".bss"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["flows_lost"] == 0), "{dump}");
}

#[test]
fn programs_and_maps_end_with_their_pin() {
    let Some(folder) = loaded("ends", "sampler") else { return };
    assert_ne!(json(&folder.bpftool("-j map show")), json!([]));
    assert_ne!(json(&folder.bpftool("-j btf show")), json!([]));
    std::fs::remove_file(folder.maps().join("prog")).unwrap();
    // In this order: nobody has looked at programs since.
    assert_eq!(json(&folder.bpftool("-j map show")), json!([]));
    assert_eq!(json(&folder.bpftool("-j prog show")), json!([]));
    let objects = folder.maps().join(".objects");
    for kind in ["map", "prog"] {
        assert_eq!(std::fs::read_dir(objects.join(kind)).unwrap().count(), 0, "{kind}");
    }
}

#[test]
fn maps_of_other_tools_are_typed_too() {
    if !has("bpftool") {
        return;
    }
    use usermap::{Map, MapType, MapTypes, Spec};
    use usermap_vm::Object;
    let folder = Folder::new("typed");
    let object = repository().join("examples/top_talkers/top_talkers.bpf.o");
    let object = Object::open(object).unwrap();
    let sources = object.maps().iter().find(|map| map.name == "sources").unwrap();
    let ids = [sources.key_type.unwrap(), sources.value_type.unwrap()];
    let (blob, ids) = object.btf().unwrap().subset(&ids);
    let kind = MapType::from_id(sources.map_type).unwrap();
    let spec = Spec::new(kind, sources.key_size, sources.value_size, 4);
    let spec = spec.name("sources").unwrap().types(MapTypes::new(blob, ids[0], ids[1]));
    let path = folder.maps().join("sources");
    let map = Map::create_pinned(&path, &spec).unwrap();
    let key = vec![1; sources.key_size as usize];
    map.update(&key, &vec![2; sources.value_size as usize], 0).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let dump = json(&folder.bpftool("-j map dump pinned /sys/fs/bpf/sources"));
    assert!(dump[0]["formatted"]["value"].is_object() || dump[0]["formatted"]["value"].is_u64());
}

/// libbpf fills the array of programs; other processes run what is in it.
#[test]
fn tail_calls_and_events() {
    if !has("bpftool") {
        return;
    }
    let folder = Folder::new("tail-calls");
    std::fs::write(folder.file("packet"), [0; 64]).unwrap();
    for object in ["tail_calls", "events"] {
        let path = repository().join(format!("examples/exercise/{object}.bpf.o"));
        std::fs::copy(path, folder.file("object.o")).unwrap();
        folder.bpftool(&format!("prog loadall object.o /sys/fs/bpf/{object}"));
    }
    let verdict = |program: &str| {
        let run = format!("-j prog run pinned /sys/fs/bpf/{program} data_in packet");
        json(&folder.bpftool(&run))["retval"].as_u64().unwrap()
    };
    let called = ["call_first", "call_again", "call_nothing", "call_from_function"];
    let verdicts = called.map(|program| verdict(&format!("tail_calls/{program}")));
    assert_eq!(verdicts, [21, 22, 3, 6]);
    assert_eq!(verdict("events/report"), 0);

    let maps = json(&folder.bpftool("-j map show"));
    let maps = maps.as_array().unwrap().iter();
    let kinds: Vec<_> = maps.map(|map| (map["name"].as_str(), map["type"].as_str())).collect();
    for kind in [("programs", "prog_array"), ("events", "perf_event_array")] {
        assert!(kinds.contains(&(Some(kind.0), Some(kind.1))), "{kinds:?}");
    }
    let first = json(&folder.bpftool("-j prog show pinned /sys/fs/bpf/tail_calls/first"));
    let id = first["id"].as_u64().unwrap();
    let held = json(&folder.bpftool("-j map lookup name programs key 1 0 0 0"));
    let bytes = held["value"].as_array().unwrap().iter().rev();
    let bytes = bytes.map(|byte| byte.as_str().unwrap().trim_start_matches("0x").to_owned());
    assert_eq!(u64::from_str_radix(&bytes.collect::<String>(), 16), Ok(id), "{held}");
    folder.bpftool("map delete name programs key 1 0 0 0");
    assert_eq!(verdict("tail_calls/call_first"), 1);
    folder
        .bpftool("map update name programs key 1 0 0 0 value pinned /sys/fs/bpf/tail_calls/again");
    assert_eq!(verdict("tail_calls/call_first"), 22);
}
