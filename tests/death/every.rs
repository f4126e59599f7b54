//! Each mutating operation of each kind, killed after each of its instructions.

use crate::points::kill_everywhere;
use crate::subject::{Act, Killed, Parts, Scenario, slot_flags};
use std::sync::Arc;
use std::time::Duration;
use usermap::abi::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, map_flags};
use usermap::{Map, MapType, Result as Done, Spec};
use usermap_tests::check::Watchdog;
use usermap_tests::keys::jhash;
use usermap_tests::trace::pin;

/// A map, and keys for it of which some are there.
#[derive(Clone)]
struct Base {
    name: &'static str,
    spec: Spec,
    keys: Arc<Vec<Vec<u8>>>,
    start: usize,
}

impl Base {
    fn new(name: &'static str, spec: Spec, start: usize) -> Base {
        let is_array = spec.map_type.is_array();
        let count = if is_array { spec.max_entries } else { 2 * spec.max_entries + 8 };
        let keys = (0..count).map(|i| i.to_le_bytes().to_vec()).collect();
        Base { name, spec, keys: Arc::new(keys), start }
    }

    fn scenario(&self, name: &str, act: Act, parts: Parts) -> Scenario {
        Scenario {
            name: format!("{}: {name}", self.name),
            spec: self.spec.clone(),
            keys: self.keys.to_vec(),
            start: self.start,
            act,
            parts,
            used: true,
            sole: false,
        }
    }

    /// An operation that is one change.
    fn one<F>(&self, name: &str, act: F) -> Scenario
    where
        F: Fn(&Map, &[Vec<u8>]) -> Done<()> + Send + Sync + 'static,
    {
        let keys = self.keys.clone();
        let act: Act = Arc::new(move |map| act(map, &keys));
        let part = act.clone();
        self.scenario(name, act, Box::new(move |_| vec![part.clone()]))
    }

    /// An operation that changes one key after the other: those that `changed` names, as `part` does.
    fn many<F, C, P>(&self, name: &str, act: F, changed: C, part: P) -> Scenario
    where
        F: Fn(&Map, &[Vec<u8>]) -> Done<()> + Send + Sync + 'static,
        C: Fn(&Map, &[Vec<u8>]) -> Vec<Vec<u8>> + 'static,
        P: Fn(&Map, &[u8]) -> Done<()> + Clone + Send + Sync + 'static,
    {
        let (keys, same) = (self.keys.clone(), self.keys.clone());
        let parts = move |map: &Map| {
            let changed = changed(map, &same).into_iter();
            let part = |key: Vec<u8>| -> Act {
                let part = part.clone();
                Arc::new(move |map| part(map, &key))
            };
            changed.map(part).collect()
        };
        self.scenario(name, Arc::new(move |map| act(map, &keys)), Box::new(parts))
    }
}

fn run(scenarios: Vec<Scenario>) {
    pin();
    let (mut points, mut kills) = (0, 0);
    for scenario in scenarios {
        let name = scenario.name.clone();
        if std::env::var("USERMAP_OPERATION").is_ok_and(|wanted| !name.contains(&wanted)) {
            continue;
        }
        let _watchdog = Watchdog::new(name.clone(), Duration::from_secs(300));
        match kill_everywhere(&name, &mut Killed::new(scenario)) {
            Ok(seen) => {
                println!("death: {name:<52} {seen}");
                points += seen.points;
                kills += seen.kills;
            }
            Err(why) => return println!("skipped: {why}"),
        }
    }
    println!("death: {points} kill points, {kills} kills");
}

/// So many new values, which take no instructions to make.
fn new(map: &Map, count: usize) -> &'static [u8] {
    &[0x5b; 256][..map.value_bytes() * count]
}

fn same(done: usermap::Batch) -> Done<()> {
    if done.is_end() { Ok(()) } else { done.result }
}

/// The keys of a walk, in its order.
fn walk(map: &Map, _: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    map.for_each(|key, _| {
        keys.push(key.to_vec());
        true
    })
    .expect("for_each");
    keys
}

fn first<const N: usize>(_: &Map, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    keys[..N].to_vec()
}

/// What maps with keys can do.
fn keyed(base: &Base) -> Vec<Scenario> {
    let last = base.start - 1;
    let mut all = vec![
        base.one("update", |map, keys| map.update(&keys[1], new(map, 1), BPF_EXIST)),
        base.one("update of the last", move |map, keys| {
            map.update(&keys[last], new(map, 1), BPF_ANY)
        }),
        base.many(
            "update_batch",
            |map, keys| same(map.update_batch(&keys[..3].concat(), new(map, 3), BPF_ANY)),
            first::<3>,
            |map, key| map.update(key, new(map, 1), BPF_ANY),
        ),
        base.many(
            "update_range",
            |map, keys| map.update_range(&keys[0], &keys[2], new(map, 1)).map(drop),
            first::<3>,
            |map, key| map.update(key, new(map, 1), BPF_ANY),
        ),
    ];
    if base.spec.value_size == 8 {
        all.push(base.one("inc", |map, keys| map.inc(&keys[1], 5, BPF_ANY)));
    }
    if base.spec.map_type.is_per_cpu() {
        all.push(base.one("update of one slot by a program", |map, keys| {
            let one = &[7; 64][..map.spec().value_size as usize];
            map.on_cpu(1)?.update(&keys[1], one, BPF_EXIST)
        }));
    }
    all
}

fn hash(base: &Base) -> Vec<Scenario> {
    let (next, last) = (base.start, base.start - 1);
    let mut all = keyed(base);
    all.extend([
        base.one("insert", move |map, keys| map.update(&keys[next], new(map, 1), BPF_NOEXIST)),
        base.one("delete", |map, keys| map.delete(&keys[1])),
        base.one("delete of the last", move |map, keys| map.delete(&keys[last])),
        base.one("lookup_and_delete", |map, keys| {
            map.lookup_and_delete(&keys[1], &mut [0; 64][..map.value_bytes()], 0)
        }),
        base.many(
            "delete_batch",
            |map, keys| same(map.delete_batch(&keys[..3].concat(), 0)),
            first::<3>,
            Map::delete,
        ),
        base.many(
            "lookup_and_delete_batch",
            |map, keys| {
                let (mut keys, mut values) =
                    (keys.concat(), vec![0; map.value_bytes() * keys.len()]);
                same(map.lookup_and_delete_batch(None, &mut keys, &mut values, 0))
            },
            walk,
            Map::delete,
        ),
        base.many(
            "delete_range",
            |map, keys| map.delete_range(&keys[0], &keys[2]).map(drop),
            first::<3>,
            Map::delete,
        ),
        base.many("retain", |map, _| map.retain(|_, _| false).map(drop), walk, Map::delete),
        base.many("clear", |map, _| map.clear().map(drop), walk, Map::delete),
    ]);
    if base.spec.value_size == 8 {
        all.push(
            base.one("inc of an absent key", move |map, keys| map.inc(&keys[next], 5, BPF_ANY)),
        );
    }
    let full = Base { start: base.spec.max_entries as usize, ..base.clone() };
    all.push(full.one("insert into a full map", |map, keys| {
        map.update(&keys[map.spec().max_entries as usize], new(map, 1), BPF_NOEXIST)
    }));
    let first =
        base.one("a thread's first update", |map, keys| map.update(&keys[1], new(map, 1), BPF_ANY));
    all.push(Scenario { used: false, ..first });
    all
}

fn array(base: &Base) -> Vec<Scenario> {
    let mut all = keyed(base);
    all.push(base.many(
        "clear",
        |map, _| map.clear().map(drop),
        walk,
        |map, key| map.update(key, &vec![0; map.value_bytes()], BPF_ANY),
    ));
    all
}

fn ring(base: &Base) -> Vec<Scenario> {
    let with = |start: usize| Base { start, ..base.clone() };
    let max = base.spec.max_entries as usize;
    let push = |map: &Map, _: &[Vec<u8>]| map.push(new(map, 1), BPF_ANY);
    let over = |map: &Map, _: &[Vec<u8>]| map.push(new(map, 1), BPF_EXIST);
    let pop = |map: &Map, _: &[Vec<u8>]| map.pop(&mut [0; 64][..map.value_bytes()], 0);
    let first = base.one("a thread's first push", push);
    vec![
        base.one("push", push),
        with(0).one("push to an empty one", push),
        with(max).one("push to a full one", push),
        with(max).one("push over a full one", over),
        base.one("pop", pop),
        with(1).one("pop of the only one", pop),
        base.many(
            "drain",
            |map, _| map.drain(|_, _| {}).map(drop),
            values,
            |map, flags| {
                let flags = u64::from_le_bytes(flags.try_into().expect("eight bytes"));
                map.pop(&mut [0; 64][..map.value_bytes()], flags)
            },
        ),
        Scenario { used: false, ..first },
    ]
}

/// For each value that is there the flags that pop it, as a drain does.
fn values(map: &Map, _: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut flags = Vec::new();
    for cpu in 0..map.cpus() {
        let len = map.len_on(cpu).expect("a slot") as usize;
        flags.extend(vec![slot_flags(map, cpu).to_le_bytes().to_vec(); len]);
    }
    flags
}

/// A hash all of whose keys meet in one bucket, with some entries in its chain.
fn chain(name: &'static str, kind: MapType, value_size: u32) -> Base {
    let spec = Spec::new(kind, 4, value_size, 24).flags(map_flags::ZERO_SEED);
    let spec = if kind.is_per_cpu() { spec.cpus(2) } else { spec };
    let mut base = Base::new(name, spec, 23);
    // Of two of the kernel's 32 buckets, which are in one of usermap's however many places that has.
    let keys = (0_u32..).map(|i| i.to_le_bytes().to_vec());
    let mut keys: Vec<_> = keys.filter(|key| jhash(key) % 32 < 2).take(60).collect();
    keys.sort();
    base.keys = Arc::new(keys);
    let map = Map::create(&base.spec).expect("a map");
    for key in &base.keys[..base.start] {
        map.update(key, new(&map, 1), BPF_ANY).expect("room");
    }
    let check = map.check().expect("a check");
    assert!(check.chains == 1 && check.chained > 4, "they are in no chain: {check:?}");
    base
}

fn spec(kind: MapType, value_size: u32, max_entries: u32) -> Spec {
    let key_size = if kind.is_ring() { 0 } else { 4 };
    let spec = Spec::new(kind, key_size, value_size, max_entries);
    if kind.is_per_cpu() { spec.cpus(2) } else { spec }
}

#[test]
fn hash_of_words() {
    run(hash(&Base::new("hash 4/8", spec(MapType::Hash, 8, 12), 8)));
}

#[test]
fn hash_of_long_values() {
    run(hash(&Base::new("hash 4/40", spec(MapType::Hash, 40, 12), 8)));
}

#[test]
fn hash_with_chains() {
    run(hash(&chain("hash 4/8 in one bucket", MapType::Hash, 8)));
}

#[test]
fn percpu_hash_of_words() {
    run(hash(&Base::new("per-CPU hash 4/8", spec(MapType::PerCpuHash, 8, 12), 8)));
}

#[test]
fn percpu_hash_of_long_values() {
    run(hash(&Base::new("per-CPU hash 4/24", spec(MapType::PerCpuHash, 24, 12), 8)));
}

#[test]
fn percpu_hash_with_chains() {
    run(hash(&chain("per-CPU hash 4/8 in one bucket", MapType::PerCpuHash, 8)));
}

#[test]
fn arrays() {
    run(array(&Base::new("array 8", spec(MapType::Array, 8, 4), 4)));
    run(array(&Base::new("array 40", spec(MapType::Array, 40, 4), 4)));
}

#[test]
fn percpu_arrays() {
    run(array(&Base::new("per-CPU array 8", spec(MapType::PerCpuArray, 8, 4), 4)));
    run(array(&Base::new("per-CPU array 24", spec(MapType::PerCpuArray, 24, 4), 4)));
}

#[test]
fn queue_and_stack() {
    run(ring(&Base::new("queue 24", spec(MapType::Queue, 24, 5), 3)));
    run(ring(&Base::new("stack 24", spec(MapType::Stack, 24, 5), 3)));
}

#[test]
fn percpu_queue_and_stack() {
    run(ring(&Base::new("per-CPU queue 24", spec(MapType::PerCpuQueue, 24, 5), 3)));
    run(ring(&Base::new("per-CPU stack 24", spec(MapType::PerCpuStack, 24, 5), 3)));
}

/// Operations that are one change, each by a process that is the only one to have written to the map.
#[test]
fn sole_writers() {
    let one = |scenario: &Scenario| {
        let name = scenario.name.rsplit(": ").next().unwrap_or_default();
        let many = ["batch", "range", "retain", "clear", "drain", "first", "program"];
        !many.iter().any(|many| name.contains(many))
    };
    let all = [
        hash(&Base::new("hash 4/8", spec(MapType::Hash, 8, 12), 8)),
        hash(&chain("hash 4/40 in one bucket", MapType::Hash, 40)),
        hash(&Base::new("per-CPU hash 4/24", spec(MapType::PerCpuHash, 24, 12), 8)),
        array(&Base::new("array 40", spec(MapType::Array, 40, 4), 4)),
        ring(&Base::new("queue 24", spec(MapType::Queue, 24, 5), 3)),
        ring(&Base::new("stack 24", spec(MapType::Stack, 24, 5), 3)),
    ];
    let sole = all.into_iter().flatten().filter(one).map(Scenario::by_the_sole_writer);
    run(sole.collect());
}
