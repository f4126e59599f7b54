//! The command line.
use crate::harness::Settings;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
usage: cargo bench -- [OPTION]... [FILTER]...     measure
       cargo bench -- table [FILE]...             tables in markdown
       cargo bench -- plot [FILE]...              plots into results/plots
       cargo bench -- targets [FILE]...           how results stand against the targets

Measured is what has every FILTER in its name KIND/KEYxVALUE/KEYS/FILL/ENTRIES/THREADSt/OP,
for example: hash/4x8/ /1000000/ /1t/hit

  --quick            a small set in less than two minutes
  --entries N,...    numbers of entries (default 1000,100000,1000000,10000000)
  --threads N,...    numbers of threads (default 1,2)
  --only NAME,...    these implementations
  --json             JSON lines on standard output
  --save FILE        JSON lines into FILE (default results/latest.jsonl; - for none)
  --no-hush          leave the other CPUs alone while one thread is timed
  --list             names only
";

/// What was asked for.
pub struct Args {
    /// `table`, `targets` or `plot`, and files.
    pub render: Option<(String, Vec<String>)>,
    /// All must be in a name.
    pub filters: Vec<String>,
    /// A small set.
    pub quick: bool,
    /// Numbers of entries.
    pub entries: Vec<usize>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Implementations; none: all.
    pub only: Vec<String>,
    /// JSON lines on standard output.
    pub json: bool,
    /// Where results are saved.
    pub save: Option<PathBuf>,
    /// Names only.
    pub list: bool,
    /// Of the timing.
    pub settings: Settings,
}

/// Where results are saved unless told otherwise.
const LATEST: &str = "results/latest.jsonl";

fn numbers(text: &str) -> Result<Vec<usize>, String> {
    let number =
        |part: &str| part.replace('_', "").parse().map_err(|_| format!("{part}: no number"));
    text.split(',').map(number).collect()
}

impl Args {
    /// Reads them; an error is a sentence, empty if help was asked for.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = args.peekable();
        let mut result = Args {
            render: None,
            filters: Vec::new(),
            quick: false,
            entries: Vec::new(),
            threads: vec![1, 2],
            only: Vec::new(),
            json: false,
            save: Some(LATEST.into()),
            list: false,
            settings: Settings { run_ms: 3.0, visits: 3, runs: 3, patience: 4, hush: true },
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {}
                "--help" | "-h" => return Err(String::new()),
                "--quick" => result.quick = true,
                "--json" => result.json = true,
                "--list" => result.list = true,
                "--no-hush" => result.settings.hush = false,
                "--entries" => result.entries = numbers(&value()?)?,
                "--threads" => result.threads = numbers(&value()?)?,
                "--only" => result.only = value()?.split(',').map(str::to_string).collect(),
                "--save" => {
                    result.save = Some(value()?).filter(|path| path != "-").map(PathBuf::from)
                }
                "table" | "targets" | "plot" if result.filters.is_empty() => {
                    let mut files: Vec<String> =
                        args.by_ref().filter(|arg| arg != "--bench").collect();
                    if files.is_empty() {
                        files.push(LATEST.into());
                    }
                    result.render = Some((arg, files));
                }
                option if option.starts_with('-') => {
                    return Err(format!("unknown option {option}"));
                }
                _ => result.filters.push(arg),
            }
        }
        if result.entries.is_empty() {
            result.entries = match result.quick {
                true => vec![1_000, 1_000_000],
                false => vec![1_000, 100_000, 1_000_000, 10_000_000],
            };
        }
        if result.quick {
            (result.settings.visits, result.settings.runs) = (2, 2);
            result.settings.patience = 2;
        }
        if result.threads.contains(&0) || result.entries.iter().any(|entries| *entries < 128) {
            return Err("at least one thread, at least 128 entries".into());
        }
        Ok(result)
    }

    /// Whether this operation in this setting is wanted.
    pub fn wants(&self, setting: &crate::report::Setting, op: &str) -> bool {
        let name = setting.id() + op;
        self.filters.iter().all(|filter| name.contains(filter.as_str()))
    }

    /// Whether this implementation is wanted.
    pub fn wants_name(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}
