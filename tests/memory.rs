//! What maps cost: bytes an entry, pages of what is not used, and many maps in one process. The
//! figures are printed (`cargo test -p usermap-tests --test memory -- --nocapture`).

use std::time::Instant;
use usermap::{Access, Map, MapType, Spec};

/// Bytes that Linux 6.18 counts for a preallocated hash (`htab_map_mem_usage`), but for its fixed
/// part: 48 of `struct htab_elem` and the key and value of each entry, 16 of each bucket.
fn kernel_bytes(key_size: u32, value_size: u32, max_entries: u32) -> u64 {
    let entry = 48 + u64::from(key_size.next_multiple_of(8) + value_size.next_multiple_of(8));
    u64::from(max_entries) * entry + u64::from(max_entries.next_power_of_two()) * 16
}

/// A key of 4 or 16 bytes; different for different numbers.
fn key(number: u32, size: usize) -> Vec<u8> {
    let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match size {
        4 => number.wrapping_mul(0x9e37_79b1).to_ne_bytes().to_vec(),
        _ => [spread.to_ne_bytes(), (!spread).to_ne_bytes()].concat(),
    }
}

#[test]
fn a_full_map_takes_less_than_the_kernels() {
    for (key_size, value_size) in [(4, 8), (16, 64)] {
        let max_entries = 100_000;
        let map =
            Map::create(&Spec::new(MapType::Hash, key_size, value_size, max_entries)).unwrap();
        let value = vec![1; value_size as usize];
        for number in 0..max_entries {
            map.update(&key(number, key_size as usize), &value, 0).unwrap();
        }
        let info = map.info();
        assert_eq!(info.entries, u64::from(max_entries));
        let (own, kernel) = (map.bytes_used(), kernel_bytes(key_size, value_size, max_entries));
        let each = |bytes| bytes as f64 / f64::from(max_entries);
        println!(
            "{key_size}/{value_size}: {:.1} bytes an entry, Linux {:.1}",
            each(own),
            each(kernel)
        );
        assert!(own < kernel, "{own} bytes, Linux takes {kernel}");
    }
}

#[test]
fn a_hundred_million_entries_take_pages_when_they_are_used() {
    let start = Instant::now();
    let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 100_000_000)).unwrap();
    let took = start.elapsed();
    let (bytes, empty) = (map.info().bytes, map.bytes_used());
    println!("created in {took:?}: {empty} of {bytes} bytes used");
    assert!(bytes > 1 << 31, "{bytes} bytes in all");
    assert!(empty <= 64 << 10, "{empty} bytes used when empty");
    for number in 0..100 {
        map.update(&key(number, 4), &[1; 8], 0).unwrap();
    }
    assert_eq!(map.len(), 100);
    // A page for the head and one for the entry, each, at most.
    let used = map.bytes_used();
    assert!(used <= empty + 100 * 2 * 4096 + (64 << 10), "{used} bytes for 100 entries");
}

#[test]
fn opening_reads_no_entries() {
    let folder = std::env::temp_dir().join(format!("usermap-memory-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("large");
    let spec =
        Spec::new(MapType::Hash, 4, 8, 1_000_000).flags(usermap::abi::map_flags::NO_PREALLOC);
    let map = Map::create_pinned(&path, &spec).unwrap();
    map.update(&key(1, 4), &[1; 8], 0).unwrap();
    let before = map.bytes_used();
    let start = Instant::now();
    let other = Map::open(&path, Access::ReadWrite).unwrap();
    println!("opened in {:?}", start.elapsed());
    assert_eq!(other.len(), 1);
    assert_eq!(other.bytes_used(), before);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Where the system refuses them, which it may, there are fewer of them and all else is the same.
#[test]
fn huge_pages() {
    let folder = usermap::default_folder().unwrap();
    let path = folder.join(format!("huge-{}", std::process::id()));
    let spec = Spec::new(MapType::Hash, 4, 8, 300_000).huge_pages(true);
    let start = Instant::now();
    let map = Map::create_pinned(&path, &spec).unwrap();
    let took = start.elapsed();
    let other = Map::open(&path, Access::ReadWrite).unwrap();
    let read_only = Map::open(&path, Access::ReadOnly).unwrap();
    std::fs::remove_file(&path).unwrap();
    for number in 0..300_000 {
        map.update(&key(number, 4), &[number as u8; 8], 0).unwrap();
    }
    let mut value = [0; 8];
    other.lookup(&key(259, 4), &mut value, 0).unwrap();
    assert_eq!(value, [3; 8]);
    for map in [&map, &other, &read_only] {
        assert!(map.spec().huge_pages);
        let pages = map.huge_pages();
        println!("created in {took:?}: {pages:?} of {}", map.info().bytes);
        assert!(pages.wanted && pages.bytes <= pages.possible);
        assert_eq!(pages.why_not().is_some(), pages.bytes < pages.possible);
        if pages.refused.is_none() {
            assert!(map.bytes_used() >= pages.possible, "all of it is taken at once");
        }
    }
    let anonymous = Map::create_anonymous(&spec).unwrap();
    assert!(anonymous.huge_pages().wanted && anonymous.is_empty());
    let usual = Map::create(&spec.huge_pages(false)).unwrap();
    assert_eq!(usual.huge_pages().why_not().unwrap(), "they were not asked for");
    assert!(usual.bytes_used() < 1 << 20);
}

#[test]
fn ten_thousand_maps_in_one_process() {
    const MAPS: u32 = 10_000;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Each has a descriptor.
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, wanted).unwrap();
    let descriptors = limit.maximum.is_none_or(|most| most > u64::from(MAPS) + 100);
    let spec = Spec::new(MapType::Hash, 4, 8, 100);
    let start = Instant::now();
    let maps: Vec<Map> = (0..MAPS)
        .map(|number| {
            let map = if descriptors { Map::create(&spec) } else { Map::create_anonymous(&spec) };
            let map = map.unwrap();
            map.update(&number.to_ne_bytes(), &u64::from(number).to_ne_bytes(), 0).unwrap();
            map
        })
        .collect();
    let used: u64 = maps.iter().map(|map| map.bytes_used()).sum();
    println!("{MAPS} maps in {:?}, {} bytes each", start.elapsed(), used / u64::from(MAPS));
    for (number, map) in (0..MAPS).zip(&maps) {
        let mut value = [0; 8];
        map.lookup(&number.to_ne_bytes(), &mut value, 0).unwrap();
        assert_eq!(u64::from_ne_bytes(value), u64::from(number));
        assert_eq!(map.len(), 1);
    }
    assert!(used <= u64::from(MAPS) * (32 << 10), "{used} bytes");
}
