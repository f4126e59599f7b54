//! What is measured, in which order.
use crate::args::Args;
use crate::functions::{Function, Subject, functions};
use crate::harness::{PauseLoops, Run, Timing, contest, cpus, spans};
use crate::kernel::Kernel;
use crate::keys::{FiveTuple, Ipv4, Keys, NUMBER, Random4, Random16, Sequence};
use crate::raw::{Bytes, Kind, Raw};
use crate::report::{Report, Row, Setting};
use crate::ring::Ring;
use crate::table::{At, Entrant, Op, Table, Workload, enter};
use crate::{adapter, array, peers, ring};
use std::io::Result;
use usermap::Map;

/// The kernel fills slowly: its maps are not made larger.
const KERNEL_ENTRIES: usize = 1_000_000;
/// Above this the quick set has no mixed workloads, no other orders of keys, no single functions.
const QUICK_WHOLE: usize = 1_000;

struct Plan<'a> {
    args: &'a Args,
    loops: PauseLoops,
    report: Report,
}

/// How an implementation comes to a contest: its name and how it is made, given `max_entries`, how
/// many of them are there, and threads.
type Maker = (&'static str, fn(usize, usize, usize) -> Option<Box<dyn Entrant>>);

fn maker<F: Keys, T: Table<F::Key, W> + 'static, const W: usize>() -> Maker {
    (T::NAME, enter::<F, T, W>)
}

/// usermap, typed and not, the kernel, and who takes any key and value.
fn makers<F: Keys, const W: usize>() -> Vec<Maker> {
    vec![
        maker::<F, adapter::Hash<F::Key, W, false>, W>(),
        maker::<F, adapter::Hash<F::Key, W, true>, W>(),
        maker::<F, Bytes<Map, false>, W>(),
        maker::<F, peers::Hashbrown<F::Key, W>, W>(),
        maker::<F, peers::Papaya<F::Key, W>, W>(),
        maker::<F, peers::Dashmap<F::Key, W>, W>(),
        maker::<F, peers::Scc<F::Key, W>, W>(),
        maker::<F, Bytes<Kernel, false>, W>(),
    ]
}

/// The same and leapfrog, which takes integers only.
fn makers_of_integers<F: Keys<Key = u32>>() -> Vec<Maker> {
    let mut makers = makers::<F, 1>();
    makers.insert(7, maker::<F, peers::Leapfrog, 1>());
    makers
}

fn makers_per_cpu<F: Keys, const W: usize>() -> Vec<Maker> {
    vec![maker::<F, Bytes<Map, true>, W>(), maker::<F, Bytes<Kernel, true>, W>()]
}

/// Memory that can be had, in bytes.
fn available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib * 1024)
}

/// Measures everything that is wanted.
pub fn perform(args: &Args, report: Report) -> Result<Vec<Row>> {
    if let Some(entries) = args.entries.iter().find(|entries| **entries > NUMBER as usize) {
        return Err(std::io::Error::other(format!("{entries} entries: at most {NUMBER}")));
    }
    // One benchmark at a time on a machine.
    let lock = std::env::var_os("BENCH_LOCK").map(std::path::PathBuf::from);
    let lock = lock.unwrap_or_else(|| std::env::temp_dir().join("usermap-bench.lock"));
    let lock = std::fs::File::create(lock)?;
    if !args.list {
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    }
    let mut plan =
        Plan { args, loops: PauseLoops::start(args.settings.hush && !args.list), report };
    for entries in &args.entries {
        plan.size(*entries);
    }
    Ok(plan.report.rows)
}

impl Plan<'_> {
    fn size(&mut self, entries: usize) {
        self.hashes::<Random4, 1>("hash", entries, entries, &makers_of_integers::<Random4>());
        self.hashes::<Random16, 8>("hash", entries, entries, &makers::<Random16, 8>());
        self.hashes::<Ipv4, 1>("hash", entries, entries, &makers_of_integers::<Ipv4>());
        self.hashes::<FiveTuple, 8>("hash", entries, entries, &makers::<FiveTuple, 8>());
        let half = entries / 2;
        self.hashes::<Random4, 1>("hash", entries, half, &makers::<Random4, 1>()[..2]);
        self.hashes::<Random16, 8>("hash", entries, half, &makers::<Random16, 8>()[..2]);
        self.hashes::<Random4, 1>("percpu_hash", entries, entries, &makers_per_cpu::<Random4, 1>());
        self.hashes::<Random16, 8>(
            "percpu_hash",
            entries,
            entries,
            &makers_per_cpu::<Random16, 8>(),
        );
        self.arrays::<1>(entries);
        self.arrays::<8>(entries);
        for lifo in [false, true] {
            self.rings::<1>(entries, lifo);
            self.rings::<8>(entries, lifo);
        }
        for kind in Kind::ALL {
            self.functions(kind, 4, 8, entries);
            self.functions(kind, 16, 64, entries);
        }
    }

    /// Whether it is wanted, and not only to be listed.
    fn wants(&self, setting: &Setting, op: &str) -> bool {
        let wanted = self.args.wants(setting, op);
        if wanted && self.args.list {
            println!("{}{op}", setting.id());
        }
        wanted && !self.args.list
    }

    fn hashes<F: Keys, const W: usize>(
        &mut self,
        kind: &str,
        entries: usize,
        present: usize,
        makers: &[Maker],
    ) {
        let mut setting = Setting {
            kind: kind.into(),
            key_size: size_of::<F::Key>(),
            value_size: W * 8,
            keys: F::NAME.into(),
            fill: if present == entries { "full" } else { "half" }.into(),
            entries,
            threads: 1,
        };
        let quick = self.args.quick && entries > QUICK_WHOLE;
        let mut wanted: Vec<(Setting, Op)> = Vec::new();
        for keys in [F::NAME, "zipf"] {
            let once = F::NAME == "random" && present == entries && kind == "hash";
            if keys == "zipf" && (!once || quick) {
                continue;
            }
            for threads in self.args.threads.clone() {
                if self.args.quick && threads > 1 && (!once || keys == "zipf") {
                    continue;
                }
                (setting.keys, setting.threads) = (keys.into(), threads);
                for op in Op::ALL {
                    let rare = matches!(op, Op::Mix95 | Op::Mix50 | Op::CounterReturn) && quick;
                    if !rare && self.wants(&setting, op.name()) {
                        wanted.push((setting.clone(), op));
                    }
                }
            }
        }
        (setting.keys, setting.threads) = (F::NAME.into(), 1);
        let fill = self.wants(&setting, "fill");
        if wanted.is_empty() && !fill {
            return;
        }
        let makers: Vec<&Maker> = makers
            .iter()
            .filter(|(name, _)| self.args.wants_name(name))
            .filter(|(name, _)| *name != Kernel::NAME || entries <= KERNEL_ENTRIES)
            .collect();
        let slots = if kind == "percpu_hash" { cpus().len() } else { 1 };
        let each = entries * (2 * (setting.key_size + setting.value_size * slots) + 48);
        let groups = match makers.len() * each < available() / 4 * 3 {
            true => vec![makers],
            // Not enough memory for all at once: usermap with each of the others.
            false => makers[1..].iter().map(|peer| vec![makers[0], *peer]).collect(),
        };
        for (number, group) in groups.into_iter().enumerate() {
            if group.len() * each > available() / 5 * 4 {
                eprintln!("{}: not enough memory", setting.id());
                continue;
            }
            self.hash_contest(&setting, &group, present, &wanted, fill, number > 0);
        }
    }

    fn hash_contest(
        &mut self,
        setting: &Setting,
        makers: &[&Maker],
        present: usize,
        wanted: &[(Setting, Op)],
        fill: bool,
        again: bool,
    ) {
        let most = self.args.threads.iter().copied().max().unwrap_or(1);
        let entrants: Vec<Box<dyn Entrant>> =
            makers.iter().filter_map(|(_, make)| make(setting.entries, present, most)).collect();
        if fill {
            let results: Vec<(&str, Timing)> = entrants
                .iter()
                .map(|entrant| (entrant.name(), Timing::of(vec![entrant.fill_ns()])))
                .collect();
            self.report.add_from(setting, "fill", &results, usize::from(again));
        }
        let mut sequences = (String::new(), Vec::new());
        for (setting, op) in wanted {
            if sequences.0 != setting.keys {
                let sequence = |seed| match setting.keys.as_str() {
                    "zipf" => Sequence::zipf(present, seed),
                    _ => Sequence::uniform(present, seed),
                };
                sequences = (setting.keys.clone(), (0..most as u64).map(sequence).collect());
            }
            let work = Workload { present: present as u32, sequences: &sequences.1 };
            let threads = setting.threads;
            let able: Vec<&dyn Entrant> =
                entrants.iter().map(|entrant| &**entrant).filter(|e| e.has(*op, threads)).collect();
            let runs: Vec<Run<'_>> = able
                .iter()
                .map(|entrant| {
                    let (entrant, work) = (*entrant, &work);
                    Box::new(move |thread, first, count| {
                        entrant.run(*op, At { work, thread, threads }, first, count)
                    }) as Run<'_>
                })
                .collect();
            let timings = contest(&self.args.settings, &self.loops, threads, &runs);
            if *op == Op::Churn {
                able.iter().for_each(|entrant| entrant.settle(&work, threads));
            }
            let results: Vec<(&str, Timing)> =
                able.iter().map(|entrant| entrant.name()).zip(timings).collect();
            let from = usize::from(again).min(results.len());
            self.report.add_from(setting, op.name(), &results, from);
        }
    }

    /// One contest of anything that has only a name and a run.
    fn simple(&mut self, setting: &Setting, op: &str, entrants: Vec<(&str, Option<Run<'_>>)>) {
        let able = entrants.into_iter().filter_map(|(name, run)| Some((name, run?)));
        let (names, runs): (Vec<&str>, Vec<Run<'_>>) =
            able.filter(|(name, _)| self.args.wants_name(name)).unzip();
        let timings = contest(&self.args.settings, &self.loops, setting.threads, &runs);
        let results: Vec<_> = names.into_iter().zip(timings).collect();
        self.report.add(setting, op, &results);
    }

    /// The settings and operations that are wanted of an array or a ring.
    fn wanted(&self, setting: &Setting, ops: &[&'static str]) -> Vec<(Setting, &'static str)> {
        let mut wanted = Vec::new();
        for threads in &self.args.threads {
            let setting = Setting { threads: *threads, ..setting.clone() };
            let ops = ops.iter().filter(|op| self.wants(&setting, op));
            wanted.extend(ops.map(|op| (setting.clone(), *op)));
        }
        wanted
    }

    fn arrays<const W: usize>(&mut self, entries: usize) {
        use array::run;
        let mut setting = Setting {
            kind: "array".into(),
            key_size: 4,
            value_size: W * 8,
            keys: "random".into(),
            fill: "full".into(),
            entries,
            threads: 1,
        };
        let wanted = self.wanted(&setting, &array::OPS);
        setting.kind = "percpu_array".into();
        let wanted_per_cpu = if W == 1 { self.wanted(&setting, &["add"]) } else { Vec::new() };
        if wanted.is_empty() && wanted_per_cpu.is_empty() {
            return;
        }
        let most = self.args.threads.iter().copied().max().unwrap_or(1);
        let sequences: Vec<_> =
            (0..most as u64).map(|seed| Sequence::uniform(entries, seed)).collect();
        if !wanted.is_empty() {
            let typed = array::filled::<adapter::Array<W>, W>(entries);
            let untyped = array::filled::<Bytes<Map, false>, W>(entries);
            let atomics = array::filled::<array::Atomics<W>, W>(entries);
            let kernel = (entries <= KERNEL_ENTRIES)
                .then(|| array::filled::<Bytes<Kernel, false>, W>(entries))
                .flatten();
            for (setting, op) in wanted {
                let s = &sequences[..];
                let entrants = vec![
                    ("usermap", typed.as_ref().and_then(|slots| run(slots, op, s))),
                    (Map::NAME, untyped.as_ref().and_then(|slots| run::<_, W>(slots, op, s))),
                    ("vec_of_atomics", atomics.as_ref().and_then(|slots| run(slots, op, s))),
                    (Kernel::NAME, kernel.as_ref().and_then(|slots| run::<_, W>(slots, op, s))),
                ];
                self.simple(&setting, op, entrants);
            }
        }
        if !wanted_per_cpu.is_empty() {
            let untyped = array::filled::<Bytes<Map, true>, 1>(entries);
            for (setting, op) in wanted_per_cpu {
                let run = untyped.as_ref().and_then(|slots| run::<_, 1>(slots, op, &sequences));
                self.simple(&setting, op, vec![(Map::NAME, run)]);
            }
        }
    }

    fn rings<const W: usize>(&mut self, entries: usize, lifo: bool) {
        let most = self.args.threads.iter().copied().max().unwrap_or(1);
        for per_cpu in [false, true] {
            let setting = Setting {
                kind: match (per_cpu, lifo) {
                    (false, false) => Kind::Queue,
                    (false, true) => Kind::Stack,
                    (true, false) => Kind::PerCpuQueue,
                    (true, true) => Kind::PerCpuStack,
                }
                .name()
                .into(),
                key_size: 0,
                value_size: W * 8,
                keys: "none".into(),
                fill: "full".into(),
                entries,
                threads: 1,
            };
            // Where each CPU has its own, there is nobody to hand anything to.
            let ops = if per_cpu { &ring::OPS[..2] } else { &ring::OPS };
            let wanted = self.wanted(&setting, ops);
            if wanted.is_empty() {
                continue;
            }
            let mut entrants = Entrants::<W> { list: Vec::new(), entries, lifo };
            if per_cpu {
                // Each thread pops what it pushed: every slot needs its half.
                entrants.add::<Bytes<Map, true>>(most);
            } else {
                entrants.add::<adapter::QueueOrStack<W>>(1);
                entrants.add::<Bytes<Map, false>>(1);
                entrants.add::<ring::ArrayQueue<W>>(1);
                entrants.add::<ring::SpinLocked<W>>(1);
                entrants.add::<ring::MutexDeque<W>>(1);
                if entries <= KERNEL_ENTRIES {
                    entrants.add::<Bytes<Kernel, false>>(1);
                }
            }
            for (setting, op) in wanted {
                let runs =
                    entrants.list.iter().map(|(name, ring)| (*name, ring.run(op, setting.threads)));
                self.simple(&setting, op, runs.collect());
            }
        }
    }

    fn functions(&mut self, kind: Kind, key_size: usize, value_size: usize, entries: usize) {
        let setting = Setting {
            kind: kind.name().into(),
            key_size: if kind.is_ring() {
                0
            } else if kind.is_array() {
                4
            } else {
                key_size
            },
            value_size,
            keys: if kind.is_ring() { "none" } else { "random" }.into(),
            fill: "full".into(),
            entries,
            threads: 1,
        };
        if self.args.quick && entries > QUICK_WHOLE {
            return;
        }
        let ours: Vec<Function<Map>> = functions();
        let theirs: Vec<Function<Kernel>> = functions();
        let pairs: Vec<_> = ours
            .into_iter()
            .zip(theirs)
            .filter(|(ours, _)| (ours.on)(kind) && (!ours.counts || value_size <= 8))
            .map(|pair| (format!("map.{}", pair.0.name), pair))
            .filter(|(op, _)| self.wants(&setting, op))
            .collect();
        if pairs.is_empty() {
            return;
        }
        let mut map = self.subject::<Map>(kind, key_size, value_size, entries, usize::MAX);
        let mut kernel =
            self.subject::<Kernel>(kind, key_size, value_size, entries, KERNEL_ENTRIES);
        for (op, (ours, theirs)) in pairs {
            let (settings, loops) = (&self.args.settings, &self.loops);
            let ours = map.as_mut().and_then(|map| spans(settings, loops, |n| (ours.run)(map, n)));
            let theirs =
                kernel.as_mut().and_then(|map| spans(settings, loops, |n| (theirs.run)(map, n)));
            let results = [(Map::NAME, ours), (Kernel::NAME, theirs)];
            let results: Vec<_> =
                results.into_iter().filter_map(|(name, timing)| Some((name, timing?))).collect();
            self.report.add(&setting, &op, &results);
        }
    }

    fn subject<M: Raw>(
        &self,
        kind: Kind,
        key_size: usize,
        value_size: usize,
        entries: usize,
        most: usize,
    ) -> Option<Subject<M>> {
        let wanted = self.args.wants_name(M::NAME) && entries <= most;
        wanted.then(|| Subject::new(kind, key_size, value_size, entries)).flatten()
    }
}

/// A ring, whatever its type.
trait AnyRing {
    fn run(&self, op: &str, threads: usize) -> Option<Run<'_>>;
}

struct OneRing<R, const W: usize>(R);

impl<R: Ring<W>, const W: usize> AnyRing for OneRing<R, W> {
    fn run(&self, op: &str, threads: usize) -> Option<Run<'_>> {
        ring::run(&self.0, op, threads)
    }
}

struct Entrants<const W: usize> {
    list: Vec<(&'static str, Box<dyn AnyRing>)>,
    entries: usize,
    lifo: bool,
}

impl<const W: usize> Entrants<W> {
    /// Makes one and fills it half, from each of so many CPUs.
    fn add<R: Ring<W> + 'static>(&mut self, threads: usize) {
        let Some(ring) = R::create(self.entries, self.lifo) else { return };
        for thread in (0..threads).rev() {
            crate::harness::pin(thread);
            ring::prepare(&ring, self.entries);
        }
        self.list.push((R::NAME, Box::new(OneRing(ring))));
    }
}
