//! Results: JSON lines, tables while it runs, tables in markdown.
use crate::harness::Timing;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

/// What was measured, but for the operation and the implementation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The kind of map.
    pub kind: String,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// Which keys, or in which order they are asked for: random, ipv4, 5tuple, zipf.
    pub keys: String,
    /// full or half.
    pub fill: String,
    /// `max_entries`.
    pub entries: usize,
    /// Threads at once.
    pub threads: usize,
}

impl Setting {
    /// One line, as filters see it.
    pub fn id(&self) -> String {
        format!(
            "{}/{}x{}/{}/{}/{}/{}t/",
            self.kind,
            self.key_size,
            self.value_size,
            self.keys,
            self.fill,
            self.entries,
            self.threads
        )
    }

    /// The same for people.
    pub fn title(&self) -> String {
        let Setting { kind, key_size, value_size, keys, fill, entries, threads } = self;
        let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        let sizes = match key_size {
            0 => format!("{value_size}-byte values"),
            _ => format!("{key_size}-byte keys, {value_size}-byte values"),
        };
        let keys = if *key_size == 0 { String::new() } else { format!(", {keys} keys, {fill}") };
        format!("{kind}, {} entries, {sizes}{keys}, {threads}", grouped(*entries))
    }
}

fn grouped(n: usize) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", grouped(n / 1000), n % 1000),
    }
}

/// One result.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where.
    pub setting: Setting,
    /// Which operation.
    pub op: String,
    /// Whose.
    pub name: String,
    /// How long: nanoseconds that one thread spends on one operation.
    pub timing: Timing,
    /// usermap's time in the same contest over this one's.
    pub ratio: Option<f64>,
}

impl Row {
    fn json(&self) -> Value {
        let Setting { kind, key_size, value_size, keys, fill, entries, threads } = &self.setting;
        let round = |ns: f64| (ns * 1000.0).round() / 1000.0;
        json!({
            "kind": kind, "op": self.op, "impl": self.name, "threads": threads,
            "entries": entries, "key_size": key_size, "value_size": value_size,
            "keys": keys, "fill": fill, "ns": round(self.timing.ns),
            "min": round(self.timing.min), "max": round(self.timing.max),
            "runs": self.timing.runs, "ratio": self.ratio.map(round),
        })
    }

    fn from_json(line: &Value) -> Option<Row> {
        let text = |key: &str| line[key].as_str().map(str::to_string);
        let number = |key: &str| line[key].as_u64().map(|n| n as usize);
        Some(Row {
            setting: Setting {
                kind: text("kind")?,
                key_size: number("key_size")?,
                value_size: number("value_size")?,
                keys: text("keys")?,
                fill: text("fill")?,
                entries: number("entries")?,
                threads: number("threads")?,
            },
            op: text("op")?,
            name: text("impl")?,
            timing: Timing {
                ns: line["ns"].as_f64()?,
                min: line["min"].as_f64()?,
                max: line["max"].as_f64()?,
                runs: number("runs")?,
            },
            ratio: line["ratio"].as_f64(),
        })
    }
}

/// Where results go as they come.
pub struct Report {
    file: Option<std::fs::File>,
    json: bool,
    last: Option<Setting>,
    /// All of them.
    pub rows: Vec<Row>,
}

impl Report {
    /// Into a file, and to standard output as JSON lines or as tables.
    pub fn new(path: Option<&std::path::Path>, json: bool) -> std::io::Result<Report> {
        if let Some(folder) = path.and_then(|path| path.parent()) {
            std::fs::create_dir_all(folder)?;
        }
        let file = path.map(std::fs::File::create).transpose()?;
        let mut report = Report { file, json, last: None, rows: Vec::new() };
        report.line(&machine());
        Ok(report)
    }

    fn line(&mut self, value: &Value) {
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{value}");
        }
        if self.json {
            println!("{value}");
        }
    }

    /// The results of one contest: usermap's first, if it took part.
    pub fn add(&mut self, setting: &Setting, op: &str, results: &[(&str, Timing)]) {
        self.add_from(setting, op, results, 0);
    }

    /// The same without the first few, which were there for the ratios of the others.
    pub fn add_from(
        &mut self,
        setting: &Setting,
        op: &str,
        results: &[(&str, Timing)],
        from: usize,
    ) {
        let ours = results.iter().find(|(name, _)| *name == "usermap" || *name == "usermap_map");
        let ours = ours.map(|(name, timing)| (*name, timing.ns));
        let mut text = String::new();
        for (name, timing) in &results[from..] {
            let ratio = ours.filter(|(our, _)| our != name).map(|(_, ns)| ns / timing.ns);
            let row = Row {
                setting: setting.clone(),
                op: op.into(),
                name: name.to_string(),
                timing: *timing,
                ratio,
            };
            self.line(&row.json());
            let _ = write!(text, "  {name} {}", cell(&row));
            self.rows.push(row);
        }
        if self.json || results.is_empty() {
            return;
        }
        if self.last.as_ref() != Some(setting) {
            println!("\n{}", setting.title());
            self.last = Some(setting.clone());
        }
        println!("  {op:26}{text}");
    }
}

fn digits(ns: f64) -> String {
    if ns < 99.95 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}

fn cell(row: &Row) -> String {
    match row.ratio {
        Some(ratio) => format!("{} ({ratio:.2}×)", digits(row.timing.ns)),
        None => digits(row.timing.ns),
    }
}

/// What the results were measured on.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    json!({ "machine": {
        "cpu": model.map(|model| model.trim_start_matches([' ', '\t', ':'])),
        "cpus": crate::harness::cpus().len(),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "thp": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "thp_shmem": read("/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
        "l2": read("/sys/devices/system/cpu/cpu0/cache/index2/size"),
        "l3": read("/sys/devices/system/cpu/cpu0/cache/index3/size"),
    }})
}

/// Reads files of JSON lines: what the machine was, and the rows; later ones replace earlier ones.
pub fn read(paths: &[String]) -> std::io::Result<(Value, Vec<Row>)> {
    let (mut machine, mut rows) = (Value::Null, Vec::<Row>::new());
    for path in paths {
        for line in std::fs::read_to_string(path)?.lines() {
            let value: Value = serde_json::from_str(line)?;
            if let Some(row) = Row::from_json(&value) {
                let same = |old: &Row| {
                    (&old.setting, &old.op, &old.name) == (&row.setting, &row.op, &row.name)
                };
                rows.retain(|old| !same(old));
                rows.push(row);
            } else if !value["machine"].is_null() {
                machine = value["machine"].clone();
            }
        }
    }
    Ok((machine, rows))
}

/// Tables in markdown: one for each setting, a line for each operation, a column for each
/// implementation; beside a peer's time usermap's over it.
pub fn markdown(machine: &Value, rows: &[Row]) -> String {
    let mut text = String::new();
    if let Some(fields) = machine.as_object() {
        let fields = fields.iter().map(|(key, value)| {
            format!("{} {}", key.replace('_', " "), value.to_string().trim_matches('"'))
        });
        let _ = writeln!(text, "Machine: {}.", fields.collect::<Vec<_>>().join("; "));
    }
    let _ = writeln!(
        text,
        "Nanoseconds that one thread spends on one operation (median); in brackets usermap's time \
         divided by this one's."
    );
    let settings: BTreeSet<&Setting> = rows.iter().map(|row| &row.setting).collect();
    for setting in settings {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.setting == *setting).collect();
        let (mut ops, mut names) = (Vec::new(), Vec::new());
        for row in &rows {
            if !ops.contains(&&row.op) {
                ops.push(&row.op);
            }
            if !names.contains(&&row.name) {
                names.push(&row.name);
            }
        }
        let head = names.iter().map(|name| format!(" {name} |")).collect::<String>();
        let _ = writeln!(text, "\n### {}\n\n| |{head}", setting.title());
        let _ = writeln!(text, "|---|{}", "---:|".repeat(names.len()));
        for op in ops {
            let _ = write!(text, "| {op} |");
            for name in &names {
                let row = rows.iter().find(|row| row.op == *op && row.name == **name);
                let _ = write!(text, " {} |", row.map(|row| cell(row)).unwrap_or_default());
            }
            let _ = writeln!(text);
        }
    }
    text
}
