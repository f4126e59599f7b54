//! Every kind damaged in every way that there is a rule about: the finding names the place, and a
//! repair makes the map usable again and keeps what is sound.

use super::*;
use crate::header::{FROZEN, HINT, STAMP};
use crate::kind::hash::{Hash, Presence, Value};
use crate::mem::mortal::live;
use crate::{MapType, MapTypes, Spec, abi::map_flags};

/// Entries of the maps here; all of them fit into three buckets and their chains.
const MAX: u32 = 22;
const HIGHEST: usize = 80;

fn spec(kind: MapType, value_size: u32) -> Spec {
    Spec::new(kind, if kind.is_ring() { 0 } else { 4 }, value_size, MAX).cpus(2)
}

/// One of each kind; values of more than a word, which are redone.
fn maps() -> Vec<Map> {
    let mut specs: Vec<Spec> = MapType::ALL.into_iter().map(|kind| spec(kind, 20)).collect();
    specs.push(spec(MapType::Hash, 8).flags(map_flags::ZERO_SEED));
    specs.into_iter().map(filled).collect()
}

fn filled(spec: Spec) -> Map {
    let map = Map::create_anonymous(&spec).unwrap();
    let value = vec![7; map.value_bytes()];
    for number in 0..if map.spec().map_type.is_hash() { MAX } else { 5 } {
        match map.spec().map_type.is_ring() {
            true => map.push(&value, 0).unwrap(),
            false => map.update(&number.to_ne_bytes(), &value, 0).unwrap(),
        }
    }
    map
}

fn hash(map: &Map) -> Hash<'_> {
    match map.inner.view() {
        View::Hash(hash) => hash,
        _ => unreachable!("it is a hash"),
    }
}

fn word(map: &Map, index: usize) -> &AtomicU64 {
    &map.inner.region.words()[index]
}

/// The words of a record of the table of writers.
fn record(map: &Map, number: usize) -> &[AtomicU64] {
    &map.inner.region.words()[512 + number * 8..][..8]
}

fn rules(map: &Map) -> Vec<&'static str> {
    let check = map.check().unwrap();
    assert_eq!(check.damages, check.findings.len() as u64);
    check.findings.iter().map(|finding| finding.rule).collect()
}

/// Checks that a map has nothing wrong and does all that it should, to the last entry.
fn is_usable(map: &Map) {
    let check = map.check().unwrap();
    assert_eq!(check.findings, [], "{:?}", map.spec());
    assert!(check.still && check.entries == check.counted && check.dead_locks == 0, "{check:?}");
    assert_eq!(map.len(), check.entries);
    let value = vec![9; map.value_bytes()];
    if map.spec().map_type.is_hash() {
        let walked = map.for_each(|_, _| true).unwrap();
        assert_eq!(walked, check.entries);
        for number in 0x5000..0x5000 + 2 * MAX {
            let full = map.len() == u64::from(MAX);
            let outcome = map.update(&number.to_ne_bytes(), &value, crate::abi::BPF_NOEXIST);
            assert_eq!(outcome.is_err(), full, "{outcome:?}");
        }
        assert_eq!(map.clear().unwrap(), u64::from(MAX));
    } else if map.spec().map_type.is_ring() {
        map.drain(|_, _| ()).unwrap();
        (0..MAX).for_each(|_| map.push(&value, 0).unwrap());
        map.push(&value, 0).unwrap_err();
    } else {
        (0..MAX).for_each(|index| map.update(&index.to_ne_bytes(), &value, 0).unwrap());
    }
    assert!(map.check().unwrap().is_clean());
}

/// What is found when entries got lost or came from nowhere, besides why.
const COUNTED: &str = "not the number of entries";

/// Damages a map, which must be found by this rule and none but it, then repairs it.
#[track_caller]
fn damaged(map: &Map, rule: &str, damage: impl FnOnce(&Map)) -> Repaired {
    damage(map);
    let mut found = rules(map);
    if rule != COUNTED {
        found.retain(|rule| *rule != COUNTED);
    }
    assert!(!found.is_empty() && found.iter().all(|other| *other == rule), "{rule}: {found:?}");
    let done = map.repair().unwrap();
    is_usable(map);
    done
}

#[test]
fn sound_maps_have_no_findings_and_stay_what_they_are() {
    for map in maps() {
        let before: Vec<u64> = map.inner.region.words().iter().map(|w| w.load(Relaxed)).collect();
        let check = map.check().unwrap();
        assert_eq!(check.findings, [], "{:?}", map.spec());
        assert_eq!((check.writers, check.dead_writers, check.unseen), (1, 0, 0));
        let after: Vec<u64> = map.inner.region.words().iter().map(|w| w.load(Relaxed)).collect();
        assert_eq!(before, after, "a check writes nothing");
        let done = map.repair().unwrap();
        assert_eq!(done, Repaired { entries: check.entries, ..Repaired::default() });
        assert_eq!(map.check().unwrap().entries, check.entries);
        is_usable(&map);
    }
}

#[test]
fn chains_and_nodes_are_counted() {
    let map = filled(spec(MapType::Hash, 8));
    let check = map.check().unwrap();
    assert_eq!((check.entries, check.counted), (MAX.into(), MAX.into()));
    let nodes = u64::from(MAX) - 15 + u64::from(MAX);
    assert_eq!(check.free_nodes + check.chained, nodes);
    // One bucket of the three has 8 or more, and a chain only from the 16th on.
    assert_eq!(check.chains > 0, check.chained > 0);
}

#[test]
fn headers() {
    for map in maps() {
        damaged(&map, "it is not what it was at the opening", |map| {
            for index in [0, 1, 4, 12, 40, 63] {
                word(map, index).fetch_add(1, Relaxed);
            }
        });
        damaged(&map, "frozen is neither 0 nor 1", |map| word(map, FROZEN).store(77, Relaxed));
        // A hint may be anything.
        word(&map, HINT).store(u64::MAX, Relaxed);
        is_usable(&map);
    }
}

#[test]
fn types() {
    let mut btf = vec![0; 100];
    btf[..2].copy_from_slice(&0xeb9f_u16.to_ne_bytes());
    let map = filled(spec(MapType::PerCpuHash, 8).types(MapTypes::new(btf, 1, 2)));
    word(&map, map.inner.types.start + 3).store(9, Relaxed);
    assert_eq!(rules(&map), ["their checksum differs"]);
    map.repair().unwrap();
    assert_eq!(rules(&map), ["their checksum differs"], "nobody knows what they were");
}

#[test]
fn records_of_writers() {
    for map in maps() {
        let all = map.inner.view();
        let locks = match all {
            View::Array(array) if array.stripes() == 0 => continue,
            _ => map.inner.locks(),
        };
        let set = |number: usize, identity: u64, intent: u64| {
            record(&map, number)[1].store(intent, Relaxed);
            record(&map, number)[0].store(identity, Relaxed);
        };
        let own = process::identity();
        damaged(&map, "no process can have this identity", |_| set(5, 77, 0));
        damaged(&map, "nobody's record has an operation", |_| set(3, 0, 1 << 60));
        damaged(&map, "a record in use is beyond the highest", |_| set(900, own, 1 << 60));
        record(&map, 900)[0].store(0, Relaxed);
        damaged(&map, "an operation's lock does not exist", |_| {
            set(2, own, 1 << 60 | u64::from(locks));
            word(&map, HIGHEST).store(2, Relaxed);
        });
        record(&map, 2)[0].store(0, Relaxed);
        // A dead one is none, whatever it was doing.
        set(2, process::of_another_image(own), 1 << 60);
        word(&map, HIGHEST).store(2, Relaxed);
        let check = map.check().unwrap();
        assert_eq!((check.findings, check.dead_writers), (vec![], 1));
        map.repair().unwrap();
        is_usable(&map);
    }
}

#[test]
fn redos_of_what_does_not_exist() {
    for kind in [MapType::Array, MapType::PerCpuArray, MapType::PerCpuHash] {
        let map = filled(spec(kind, 20));
        damaged(&map, "a redo of an entry that does not exist", |map| {
            record(map, 1)[3].store(1 << 63 | 0xffff_ffff << 16, Relaxed);
            record(map, 1)[1].store(1 << 60, Relaxed);
        });
    }
    let map = filled(spec(MapType::Hash, 20));
    damaged(&map, "an operation on a node that does not exist", |map| {
        record(map, 1)[4].store(1000, Relaxed);
        record(map, 1)[1].store(1 << 60, Relaxed);
    });
}

/// The words with locks.
fn locks(map: &Map) -> Vec<usize> {
    let base = map.inner.region.words().as_ptr() as usize;
    let place = |word: &AtomicU64| (std::ptr::from_ref(word) as usize - base) / 8;
    match map.inner.view() {
        View::Hash(hash) => (0..hash.buckets()).map(|b| place(hash.lock_word(b))).collect(),
        View::Array(array) => (0..array.stripes()).map(|s| place(array.lock_of(s))).collect(),
        View::Rings(rings) => (0..rings.count()).map(|r| place(rings.lock_of(r))).collect(),
    }
}

#[test]
fn locks_that_nobody_holds() {
    for map in maps() {
        let Some(lock) = locks(&map).pop() else { continue };
        let hold = |number: u64| {
            let lock = word(&map, lock);
            lock.store(lock.load(Relaxed) & !(0xfff << 52) | number << 52, Relaxed);
        };
        damaged(&map, "a lock is held by an impossible writer", |_| hold(4000));
        damaged(&map, "a lock is held by nobody", |_| hold(700));
        let idle = "a lock is held by a writer that is in no operation on it";
        damaged(&map, idle, |_| hold(1));
        let redoes = match map.inner.view() {
            View::Hash(_) => map.spec().map_type.is_per_cpu(),
            View::Array(_) => true,
            View::Rings(_) => false,
        };
        if map.spec().map_type.is_ring() {
            continue;
        }
        let rule = match redoes {
            true => "a redo is on and nobody holds the lock",
            false => "a redo is on where nothing is redone",
        };
        damaged(&map, rule, |_| {
            word(&map, lock).fetch_add(REDO, Relaxed);
        });
    }
}

#[test]
fn leases_that_nobody_can_have() {
    let map = filled(spec(MapType::PerCpuArray, 8));
    let own = map.lease(0).unwrap().unwrap();
    damaged(&map, "no process can have this identity", |map| {
        map.inner.lease_words().nth(1).unwrap().store(3, Relaxed);
    });
    assert_eq!(map.check().unwrap().leases, 1, "ours stays");
    drop(own);
    let dead = process::of_another_image(process::identity());
    map.inner.lease_words().nth(1).unwrap().store(dead, Relaxed);
    let check = map.check().unwrap();
    assert!(check.is_clean() && check.dead_leases == 1 && check.leases == 0, "{check:?}");
}

#[test]
fn states_of_rings() {
    // Places past the last one, positions that nobody leaves so far apart, and words that are neither.
    let (past, lap) = (u64::from(MAX) + 1, 32);
    for kind in MapType::ALL.into_iter().filter(|kind| kind.is_ring()) {
        let states: &[(usize, u64)] = match kind.is_lifo() {
            true => &[(0, past), (0, 1 << 40 | 31), (1, past), (1, u64::MAX)],
            false => {
                &[(8, past), (0, lap + past), (0, 2 * lap), (8, 7), (8, 1 << 53), (8, u64::MAX)]
            }
        };
        for (index, state) in states {
            let map = filled(spec(kind, 8));
            let rule = "the place of the oldest value, or how many there are, is out of range";
            let lock = locks(&map)[0];
            let len = map.len();
            let done = damaged(&map, rule, |map| word(map, lock + index).store(*state, Relaxed));
            assert!(done.dropped > 0 && done.entries <= len);
        }
    }
}

#[test]
fn notes_of_queues() {
    for kind in [MapType::Queue, MapType::PerCpuQueue] {
        // 5 values or none: room for no more than 22 after the first, none after the last.
        for (index, note) in [(1, 23), (1, 1 << 50), (9, 6), (9, 1 << 50)] {
            let map = filled(spec(kind, 8));
            let (lock, len) = (locks(&map)[0], map.len());
            let rule = "there is said to be more room, or more values, than there is";
            let done = damaged(&map, rule, |map| word(map, lock + index).store(note, Relaxed));
            assert_eq!((done.entries, done.dropped), (len, 0));
        }
    }
}

fn hashes() -> impl Iterator<Item = Map> {
    maps().into_iter().filter(|map| map.spec().map_type.is_hash())
}

#[test]
fn counts() {
    let max = u64::from(MAX);
    // The filler's share, without its sequence.
    for (share, rule) in [
        (3 << 32, COUNTED),
        ((max + 1) << 32, "more than max_entries"),
        (max << 32 | 1 << 20, "more room is reserved than there is"),
    ] {
        for map in hashes() {
            let map = filled(map.spec().clone());
            let own = &record(&map, 1)[2];
            let done =
                damaged(&map, rule, |_| own.store(share | own.load(Relaxed) & 0xfffff, Relaxed));
            assert_eq!((done.entries, done.dropped), (max, 0));
        }
    }
}

#[test]
fn the_lock_of_room() {
    for map in hashes() {
        for (holder, rule) in [
            (1, "a lock is held by a writer that is in no operation on it"),
            (2, "a lock is held by nobody"),
            (2000, "a lock is held by an impossible writer"),
        ] {
            let map = filled(map.spec().clone());
            let done = damaged(&map, rule, |map| word(map, 65).store(holder << 52, Relaxed));
            assert_eq!((done.entries, done.dropped), (MAX.into(), 0));
        }
    }
}

/// Where the heads start; a bucket with at least `least` places taken; its places.
fn bucket(map: &Map, least: u32) -> (usize, u32, Vec<u32>) {
    let (first, hash) = (locks(map)[0], hash(map));
    let places = |bucket: u32| {
        let taken = word(map, first + bucket as usize * 4).load(Relaxed);
        (0..16).filter(|place| taken >> place & 1 == 1).collect::<Vec<u32>>()
    };
    let bucket = (0..hash.buckets()).find(|bucket| places(*bucket).len() >= least as usize);
    let bucket = bucket.expect("a bucket with entries");
    (first + bucket as usize * 4, bucket, places(bucket))
}

#[test]
fn tags_keys_and_places() {
    for spec in hashes().map(|map| map.spec().clone()) {
        let map = filled(spec.clone());
        let done = damaged(&map, "the tag is not its key's", |map| {
            let (head, _, places) = bucket(map, 1);
            word(map, head + 2 + places[0] as usize / 8)
                .fetch_add(1 << (places[0] % 8 * 8), Relaxed);
        });
        assert_eq!((done.entries, done.dropped), (MAX.into(), 0), "the entry stays");

        let map = filled(spec.clone());
        let place = |map: &Map, number: usize| {
            let (_, bucket, places) = bucket(map, 2);
            hash(map).key_of_place(bucket, places[number]).as_ptr() as usize
        };
        let key = |map: &Map, number: usize| {
            let base = map.inner.region.words().as_ptr() as usize;
            (place(map, number) - base) / 8
        };
        damage_key(&map, key(&map, 0), key(&map, 1));

        let map = filled(spec);
        let (head, ..) = bucket(&map, 1);
        let before = word(&map, head).load(Relaxed);
        word(&map, head).store(before | 0xffff, Relaxed);
        assert!(rules(&map).contains(&"no place is free for a replacement"));
        map.repair().unwrap();
        assert_eq!(word(&map, head).load(Relaxed) >> 21, (before >> 21) + 1, "a new version");
        is_usable(&map);
    }
}

/// A key that is another's, and one that belongs elsewhere.
fn damage_key(map: &Map, key: usize, other: usize) {
    let rules_of = |value: u64| {
        let before = word(map, key).load(Relaxed);
        word(map, key).store(value, Relaxed);
        let found = rules(map);
        word(map, key).store(before, Relaxed);
        found
    };
    // If the tags differ, that is found first.
    let twice = rules_of(word(map, other).load(Relaxed));
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert!(["a key is there twice", "the tag is not its key's"].contains(&twice[0]));
    // One key in some 500 belongs just there, with the same tag.
    let wrong = (1000_u64..1100).flat_map(rules_of).find(|rule| rule.contains("not its key's"));
    assert!(wrong.is_some());
    word(map, key).store(word(map, other).load(Relaxed), Relaxed);
    let done = map.repair().unwrap();
    assert_eq!((done.entries, done.dropped), (u64::from(MAX) - 1, 1));
    is_usable(map);
}

#[test]
fn stamps() {
    let map = filled(spec(MapType::Hash, 8).flags(map_flags::ZERO_SEED));
    damaged(&map, "an entry came later than the last one", |map| {
        word(map, STAMP).store(MAX as u64 - 1, Relaxed);
    });
}

/// All are impossible, so that none of them says how late it is.
#[test]
fn impossible_stamps() {
    let map = filled(spec(MapType::Hash, 8).flags(map_flags::ZERO_SEED));
    hash(&map).stamps_of_places().iter().for_each(|stamp| stamp.store(u64::MAX, Relaxed));
    word(&map, STAMP).store(0, Relaxed);
    assert_eq!(map.repair().unwrap().entries, u64::from(MAX));
    is_usable(&map);
}

/// A map whose keys fall into one bucket, with a chain of seven.
fn chained(kind: MapType) -> (Map, Vec<[u8; 4]>) {
    let map = Map::create_anonymous(&spec(kind, 8)).unwrap();
    let all = (0_u32..).map(u32::to_ne_bytes);
    let keys: Vec<_> = {
        let hash = hash(&map);
        all.filter(|key| hash.bucket_of_key(key) == 1).take(MAX as usize).collect()
    };
    let value = vec![7; map.value_bytes()];
    keys.iter().for_each(|key| map.update(key, &value, 0).unwrap());
    let check = map.check().unwrap();
    assert_eq!((check.chains, check.chained, check.longest_chain), (1, 7, 7));
    (map, keys)
}

/// How many of the keys are there.
fn there(map: &Map, keys: &[[u8; 4]]) -> usize {
    let mut value = vec![0; map.value_bytes()];
    keys.iter().filter(|key| map.lookup(*key, &mut value, 0).is_ok()).count()
}

/// The word of the bucket's head with the link to its chain, and the words of the chain's nodes.
fn chain_words(map: &Map) -> (usize, Vec<usize>) {
    let head = locks(map)[1] + 1;
    let first_node = locks(map)[0] + hash(map).buckets() as usize * 4;
    let mut nodes = Vec::new();
    let mut next = word(map, head).load(Relaxed) >> 32;
    while next != 0 {
        nodes.push(first_node + next as usize - 1);
        next = word(map, nodes[nodes.len() - 1]).load(Relaxed) & 0xffff_ffff;
    }
    (head, nodes)
}

#[test]
fn chains() {
    let cut = "a node is in no chain, and nobody's";
    for kind in [MapType::Hash, MapType::PerCpuHash] {
        // Ways to damage the link in a node of the middle; and what is found besides what is cut off.
        for (link, rule) in [
            (0, None),
            (1_000_000, Some("a link leads out of the nodes")),
            (u64::MAX, Some("a chain runs in a circle")),
        ] {
            let (map, keys) = chained(kind);
            let (_, nodes) = chain_words(&map);
            let first = nodes[0] - (locks(&map)[0] + hash(&map).buckets() as usize * 4) + 1;
            let node = word(&map, nodes[3]);
            let link = if link == u64::MAX { first as u64 } else { link };
            node.store(node.load(Relaxed) & !0xffff_ffff | link, Relaxed);
            let mut found = rules(&map);
            found.retain(|rule| ![cut, COUNTED].contains(rule));
            assert_eq!(found, rule.into_iter().collect::<Vec<_>>());
            assert_eq!(map.check().unwrap().leaked_nodes, 3);
            let done = map.repair().unwrap();
            assert_eq!((done.entries, done.rejoined, done.dropped), (MAX.into(), 3, 0));
            assert_eq!(there(&map, &keys), keys.len(), "no entry is lost");
            is_usable(&map);
        }
    }
}

#[test]
fn nodes() {
    for kind in [MapType::Hash, MapType::PerCpuHash] {
        // States: free, taken, removed, though in the chain.
        for state in [0, 1, 3] {
            let (map, _) = chained(kind);
            let (_, nodes) = chain_words(&map);
            let node = word(&map, nodes[2]);
            node.store(node.load(Relaxed) & !(3 << 40) | state << 40, Relaxed);
            let done = damaged(&map, "in a chain, but its state is another", |_| {});
            assert_eq!((done.entries, done.dropped), (MAX.into(), 0));
        }
        // What nobody can have written into a free node.
        let (map, keys) = chained(kind);
        let (_, nodes) = chain_words(&map);
        let last = nodes.iter().max().unwrap() + 1;
        for (value, word) in [(1, 0), (1_u64 << 40, 1), (3 << 40 | 5 << 52, 2), (2 << 40, 3)] {
            self::word(&map, last + word).store(value, Relaxed);
        }
        let check = map.check().unwrap();
        assert_eq!((check.leaked_nodes, check.damages), (4, 4));
        assert_eq!(there(&map, &keys), keys.len());
        let done = map.repair().unwrap();
        assert_eq!((done.freed_nodes, done.rejoined), (4, 0));
        assert_eq!(there(&map, &keys), keys.len());
        is_usable(&map);
    }
}

#[test]
fn two_chains_share_their_nodes() {
    let (map, _) = chained(MapType::Hash);
    let (head, _) = chain_words(&map);
    let other = word(&map, head - 4);
    other.store(word(&map, head).load(Relaxed), Relaxed);
    let done = damaged(&map, "an entry is in a bucket that is not its key's", |_| {});
    assert_eq!((done.entries, done.dropped), (MAX.into(), 7), "they are in their own bucket");
}

#[test]
fn files_that_were_cut_short() {
    for map in maps() {
        let path = std::env::temp_dir().join(format!("usermap-cut-{}", process::identity()));
        let map = Map::create_pinned(&path, map.spec()).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let len = file.metadata().unwrap().len();
        for left in [0, 4096, 65536, len - 1] {
            file.set_len(left).unwrap();
            let check = map.check().unwrap();
            let [finding] = check.findings[..] else { panic!("{check:?}") };
            assert_eq!((finding.part, finding.value), ("file", len - left));
            map.repair().unwrap();
            assert_eq!(file.metadata().unwrap().len(), len);
            is_usable(&map);
        }
    }
}

#[test]
fn who_may() {
    let map = filled(spec(MapType::Hash, 8));
    assert_eq!(map.reopen(map_flags::WRONLY).unwrap().check().unwrap_err().errno(), 1);
    assert_eq!(map.reopen(map_flags::RDONLY).unwrap().repair().unwrap_err().errno(), 1);
    // A process that certainly lives and has the map open: our parent.
    let parent = std::os::unix::process::parent_id();
    record(&map, 9)[0].store(process::of(parent), Relaxed);
    assert_eq!(map.repair().unwrap_err().errno(), crate::abi::errno::EBUSY);
    assert_eq!(map.check().unwrap().writers, 2);
}

#[test]
fn a_finding_says_what_where_and_why() {
    let map = filled(spec(MapType::Queue, 8));
    let lock = locks(&map)[0];
    word(&map, lock + 8).store(999, Relaxed);
    let text = map.check().unwrap().findings[0].to_string();
    assert!(text.starts_with("ring 0 (0x3e7): the place of the oldest value"), "{text}");
}

/// A writer that dies while it becomes the sole one, takes over, or gives its record back has damaged nothing.
#[test]
fn a_sole_writer_that_died_on_its_way() {
    for (others, stores) in (0..30).flat_map(|stores| [(false, stores), (true, stores)]) {
        let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 4)).unwrap();
        let inner = &*map.inner;
        let update = |key: u8| {
            let writer = inner.writer().unwrap();
            hash(&map).update(writer, &[key; 4], Value::Whole(&[9; 8]), Presence::Any).unwrap();
            writer.number
        };
        if others {
            std::thread::scope(|scope| scope.spawn(|| update(1)).join().unwrap());
        }
        inner.writer().unwrap();
        live(stores, || inner.owners().release(update(2)));
        inner.owners().bury();
        let check = map.check().unwrap();
        assert!(check.is_clean(), "after {stores} stores: {:?}", check.findings);
    }
}
