//! usermap's own targets, and how a set of results stands against them.
use crate::report::Row;

/// One operation's targets: key and value size, nanoseconds at 1k, 1M and 10M entries, and at 1M
/// the time divided by hashbrown's and papaya's.
type Target = (&'static str, usize, usize, [f64; 3], [Option<f64>; 2]);

const SIZES: [usize; 3] = [1_000, 1_000_000, 10_000_000];
const PEERS: [&str; 2] = ["hashbrown", "papaya"];

/// Hash maps, one thread, on the machine that they were set on: a Zen 4 EPYC. On another machine
/// the ratios tell more.
const HASH: [Target; 15] = [
    ("hit", 4, 8, [4.0, 30.0, 36.0], [Some(0.6), Some(0.2)]),
    ("hit_dependent", 4, 8, [10.0, 150.0, 175.0], [Some(0.5), None]),
    ("miss", 4, 8, [4.0, 22.0, 36.0], [Some(1.3), Some(0.5)]),
    ("update", 4, 8, [6.0, 36.0, 42.0], [Some(0.7), Some(0.1)]),
    ("remove_insert", 4, 8, [22.0, 100.0, 120.0], [Some(0.65), Some(0.2)]),
    ("counter", 4, 8, [6.0, 34.0, 40.0], [Some(0.8), Some(0.2)]),
    ("batch16", 4, 8, [5.0, 15.0, 20.0], [None, None]),
    ("batch64", 4, 8, [5.0, 15.0, 20.0], [None, None]),
    ("hit", 16, 64, [9.0, 75.0, 130.0], [Some(0.6), Some(0.2)]),
    ("hit_dependent", 16, 64, [15.0, 230.0, 400.0], [Some(0.5), None]),
    ("miss", 16, 64, [7.0, 20.0, 65.0], [Some(1.3), Some(0.5)]),
    ("update", 16, 64, [11.0, 85.0, 145.0], [Some(0.7), Some(0.1)]),
    ("remove_insert", 16, 64, [32.0, 200.0, 330.0], [Some(0.65), Some(0.2)]),
    ("counter", 16, 64, [9.0, 55.0, 115.0], [Some(0.8), Some(0.2)]),
    ("batch64", 16, 64, [9.0, 35.0, 48.0], [None, None]),
];

/// Of another kind: kind, operation, value size, threads, nanoseconds at 1k, 1M and 10M entries.
type Other = (&'static str, &'static str, usize, usize, [Option<f64>; 3]);

const OTHERS: [Other; 11] = [
    ("array", "get", 8, 1, [Some(1.6), Some(11.0), Some(22.0)]),
    ("array", "add", 8, 1, [Some(2.6), Some(11.0), Some(22.0)]),
    ("percpu_array", "add", 8, 1, [Some(2.5), None, None]),
    ("queue", "push_pop", 8, 1, [Some(3.0), None, None]),
    ("queue", "push_pop", 64, 1, [Some(4.5), None, None]),
    ("queue", "push_pop", 8, 2, [Some(12.0), None, None]),
    ("queue", "push_pop", 64, 2, [Some(12.0), None, None]),
    ("stack", "push_pop", 8, 1, [Some(2.5), None, None]),
    ("stack", "push_pop", 64, 1, [Some(4.0), None, None]),
    ("stack", "push_pop", 8, 2, [Some(12.0), None, None]),
    ("stack", "push_pop", 64, 2, [Some(12.0), None, None]),
];

/// Finds results.
struct Results<'a>(&'a [Row]);

/// Which result: kind, operation, sizes, entries, keys, fill, threads.
#[derive(Clone, Copy)]
struct Which<'a> {
    kind: &'a str,
    op: &'a str,
    value: usize,
    entries: usize,
    keys: &'a str,
    fill: &'a str,
    threads: usize,
}

impl Results<'_> {
    fn find(&self, name: &str, which: Which<'_>) -> Option<&Row> {
        self.0.iter().find(|row| {
            let setting = &row.setting;
            row.name == name
                && row.op == which.op
                && setting.kind == which.kind
                && setting.value_size == which.value
                && setting.entries == which.entries
                && setting.keys == which.keys
                && setting.fill == which.fill
                && setting.threads == which.threads
        })
    }

    /// usermap's time, typed where it was measured typed.
    fn ours(&self, which: Which<'_>) -> Option<f64> {
        let row = self.find("usermap", which).or_else(|| self.find("usermap_map", which));
        row.map(|row| row.timing.ns)
    }
}

fn verdict(good: bool) -> &'static str {
    if good { "met" } else { "missed" }
}

/// A table in markdown: each target for which there are results.
pub fn summary(rows: &[Row]) -> String {
    let results = Results(rows);
    let (mut lines, mut huge) = (Vec::new(), Vec::new());
    let mut line = |what: String, measured: String, target: String, good: bool| {
        lines.push(format!("| {what} | {measured} | {target} | {} |", verdict(good)));
    };
    let mut line_huge = |what: &str, measured: f64, target: f64, unit: &str| {
        let verdict = verdict(measured <= target);
        huge.push(format!("| {what} | {measured:.2}{unit} | {target}{unit} | {verdict} |"));
    };
    let which = |kind, op, value, entries, threads| {
        let keys = if matches!(kind, "queue" | "stack") { "none" } else { "random" };
        Which { kind, op, value, entries, keys, fill: "full", threads }
    };
    for (op, key, value, targets, ratios) in HASH {
        for (entries, target) in SIZES.into_iter().zip(targets) {
            let which = which("hash", op, value, entries, 1);
            let Some(ns) = results.ours(which) else { continue };
            let what = format!("hash {op} {key}/{value}, {entries}");
            let huge = results.find("usermap_2m", which).map(|row| row.timing.ns);
            if let Some(ns) = huge {
                line_huge(&what, ns, target, " ns");
            }
            line(what, format!("{ns:.1} ns"), format!("{target} ns"), ns <= target);
            let peers = PEERS.into_iter().zip(ratios);
            for (peer, target) in peers.filter(|_| entries == 1_000_000) {
                let (Some(target), Some(row)) = (target, results.find(peer, which)) else {
                    continue;
                };
                let Some(ratio) = row.ratio else { continue };
                let what = format!("hash {op} {key}/{value}, {entries}, against {peer}");
                if let Some(ns) = huge {
                    line_huge(&what, ns / row.timing.ns, target, "×");
                }
                line(what, format!("{ratio:.2}×"), format!("{target}×"), ratio <= target);
            }
        }
    }
    for (kind, op, value, threads, targets) in OTHERS {
        for (entries, target) in SIZES.into_iter().zip(targets) {
            let ns = results.ours(which(kind, op, value, entries, threads));
            if let (Some(target), Some(ns)) = (target, ns) {
                let what = format!("{kind} {op} {value}, {entries}, threads: {threads}");
                line(what, format!("{ns:.1} ns"), format!("{target} ns"), ns <= target);
            }
        }
    }
    for value in [8, 64] {
        for entries in SIZES {
            let one = which("hash", "hit", value, entries, 1);
            let hit = |threads| results.ours(Which { threads, ..one });
            if let (Some(one), Some(two)) = (hit(1), hit(2)) {
                let gain = 2.0 * one / two;
                let what =
                    format!("hash hit, {value}-byte values, {entries}, two threads' throughput");
                line(what, format!("{gain:.2}×"), "1.9×".into(), gain >= 1.9);
            }
            for op in ["hit", "miss", "update", "remove_insert"] {
                let half = Which { op, fill: "half", ..one };
                let Some(base) = results.ours(half) else { continue };
                let consecutive = if value == 8 { "ipv4" } else { "5tuple" };
                for (keys, fill) in [("random", "full"), (consecutive, "full")] {
                    let Some(ns) = results.ours(Which { op, keys, fill, ..one }) else { continue };
                    let ratio = ns / base;
                    let what = format!(
                        "hash {op}, {value}-byte values, {entries}, {fill} with {keys} keys, against \
                         half full with random keys"
                    );
                    line(what, format!("{ratio:.2}×"), "1.5×".into(), ratio <= 1.5);
                }
            }
        }
        let [one, batch] =
            ["hit", "batch64"].map(|op| results.ours(which("hash", op, value, 1_000_000, 1)));
        if let (Some(one), Some(batch)) = (one, batch) {
            let gain = one / batch;
            let what = format!("hash batch64, {value}-byte values, 1000000, against one by one");
            line(what, format!("{gain:.2}× faster"), "2× faster".into(), gain >= 2.0);
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let table = |lines: &[String]| {
        let met = lines.iter().filter(|line| line.ends_with("| met |")).count();
        let head = "| | measured | target | |\n|---|---:|---:|---|";
        format!("{met} of {} targets met.\n\n{head}\n{}\n", lines.len(), lines.join("\n"))
    };
    match huge.is_empty() {
        true => table(&lines),
        false => format!("{}\nIn pages of 2 MiB: {}", table(&lines), table(&huge)),
    }
}
