//! The README says what is true: its table of kinds and functions is tried, cell by cell, and its
//! Korean translation has the same programs, transcripts and numbers. (Its programs are run as
//! doctests, with the tutorial's.)

use std::path::Path;
use usermap::{Error, Map, MapType, Spec, abi::errno, abi::map_flags};

/// A file at the top of the repository; nothing in a packaged crate, which has only its own files.
fn document(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if !path.with_file_name("README.ko.md").exists() {
        println!("skipped: not in the repository, so there is no {name}");
        return None;
    }
    Some(std::fs::read_to_string(path).unwrap())
}

/// The rows of the table of kinds and functions: the functions, and a cell for each kind.
fn rows(readme: &str) -> Vec<(&str, Vec<&str>)> {
    let lines = readme.lines().skip_while(|line| !line.contains("`HashMap` | `Array`"));
    let rows = lines.take_while(|line| line.starts_with('|')).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        (cells.next().unwrap().trim_end_matches(" *"), cells.collect())
    });
    rows.collect()
}

/// The errno that a cell says, 0 if it says that the function works.
fn verdict(cell: &str) -> i32 {
    match cell {
        "EINVAL" => errno::EINVAL,
        "524" | "ENOTSUPP" => errno::ENOTSUPP,
        _ => 0,
    }
}

const COLUMNS: [&[MapType]; 6] = [
    &[MapType::Hash],
    &[MapType::Array],
    &[MapType::PerCpuHash],
    &[MapType::PerCpuArray],
    &[MapType::Queue, MapType::Stack],
    &[MapType::PerCpuQueue, MapType::PerCpuStack],
];

/// A map of this kind that has the entry 1.
fn map(kind: MapType) -> Map {
    let key_size = if kind.is_ring() { 0 } else { 4 };
    let flags = if kind == MapType::Array { map_flags::MMAPABLE } else { 0 };
    let map = Map::create(&Spec::new(kind, key_size, 8, 4).flags(flags)).unwrap();
    match kind.is_ring() {
        true => map.push(&[1; 8], 0).unwrap(),
        false => map.update(&[1, 0, 0, 0], &vec![1; map.value_bytes()], 0).unwrap(),
    }
    map
}

fn run(function: &str, map: &Map) -> Option<Result<(), Error>> {
    let ring = map.spec().map_type.is_ring();
    let key: &[u8] = if ring { &[] } else { &[1, 0, 0, 0] };
    let mut value = vec![0; map.value_bytes()];
    let none = |_: &[u8], _: &[u8]| true;
    let (mut keys, mut values) = ([0; 16], vec![0; 4 * map.value_bytes()]);
    Some(match function {
        "lookup" => map.lookup(key, &mut value, 0),
        "update" => map.update(key, &value, 0),
        "delete" => map.delete(key),
        "lookup_and_delete" => map.lookup_and_delete(key, &mut value, 0),
        "push" => map.push(&value, 0),
        "pop" => map.pop(&mut value, 0),
        "peek" => map.peek(&mut value, 0),
        "get_next_key" => map.get_next_key(None, &mut [0; 4]),
        "for_each" => map.for_each(none).map(drop),
        "inc" => map.inc(key, 1, 0),
        "inc_and_return" => map.inc_and_return(key, 1, 0).map(drop),
        "lookup_batch" => map.lookup_batch(None, &mut keys, &mut values, 0).advance().map(drop),
        "lookup_and_delete_batch" => {
            map.lookup_and_delete_batch(None, &mut keys, &mut values, 0).advance().map(drop)
        }
        "update_batch" => map.update_batch(key, &value, 0).result,
        "delete_batch" => map.delete_batch(key, 0).result,
        "lookup_range" => map.lookup_range(key, key, none).map(drop),
        "update_range" => map.update_range(key, key, &value).map(drop),
        "delete_range" => map.delete_range(key, key).map(drop),
        "retain" => map.retain(none).map(drop),
        "clear" => map.clear().map(drop),
        "drain" => map.drain(|_, _| {}).map(drop),
        "check" => map.check().map(|check| assert!(check.is_clean())),
        "repair" => map.repair().map(drop),
        "mapped values (`MMAPABLE`)" => map.map_values(true, 4096, 0).map(drop),
        "len" => {
            assert_ne!(map.len(), 0);
            Ok(())
        }
        "info" => {
            assert_eq!(map.info().entries, map.len());
            Ok(())
        }
        "sync" => map.sync(),
        "freeze" => map.freeze(),
        _ => return None,
    })
}

#[test]
fn the_table_of_kinds_and_functions_is_true() {
    let Some(readme) = document("README.md") else { return };
    let mut tried = 0;
    for (functions, cells) in rows(&readme) {
        for function in functions.split(", ") {
            for (kinds, cell) in COLUMNS.iter().zip(&cells) {
                for kind in *kinds {
                    let Some(result) = run(function, &map(*kind)) else { continue };
                    let found = result.map_or_else(|error| error.errno(), |()| 0);
                    assert_eq!(found, verdict(cell), "{function} of {kind}: {cell:?}");
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 28 * MapType::ALL.len(), "every function of the table was tried");
}

fn blocks(text: &str) -> Vec<&str> {
    text.split("```").skip(1).step_by(2).collect()
}

#[test]
fn the_korean_readme_is_the_same() {
    let (Some(english), Some(korean)) = (document("README.md"), document("README.ko.md")) else {
        return;
    };
    assert_eq!(blocks(&english).len(), blocks(&korean).len());
    for (english, korean) in blocks(&english).into_iter().zip(blocks(&korean)) {
        assert_eq!(english, korean);
    }
    for ((english, cells), (korean, translated)) in rows(&english).into_iter().zip(rows(&korean)) {
        let verdicts = |cells: &[&str]| cells.iter().map(|cell| verdict(cell)).collect::<Vec<_>>();
        assert_eq!(verdicts(&cells), verdicts(&translated), "{english}, {korean}");
    }
    assert_eq!(rows(&english).len(), rows(&korean).len());
}
