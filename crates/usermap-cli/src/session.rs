//! One run: options, the choice of the command, and how its end becomes an exit code.

use crate::args::{self, Subcommand};
use crate::failure::{BROKEN_PIPE, Failure, REFUSED, Result, clean, without_number};
use crate::map::MAP_COMMANDS;
use crate::output::{Mode, Output};
use crate::prog::PROG_COMMANDS;
use crate::prog::options::RunOptions;
use crate::types::{NAMES, Type};
use crate::words::{Words, is_prefix, text};
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;

/// What a command is run by.
pub type Run = fn(&mut Session, &mut Words<'_>) -> Result;

/// What the options said, and where output goes.
pub struct Session {
    /// The output.
    pub out: Output,
    /// Types to read keys as.
    pub key_types: Option<Vec<Type>>,
    /// Types to read values as.
    pub value_types: Option<Vec<Type>>,
    /// The options of the prog commands.
    pub run: RunOptions,
    /// Where `bench` writes its plot.
    pub plot: Option<PathBuf>,
    /// The option of `map check`.
    pub repair: bool,
    /// The option of `wrap`.
    pub passthrough: bool,
    /// The command that `wrap` is to run.
    pub wrapped: Vec<OsString>,
    /// The map or prog command that runs.
    pub command: &'static str,
    help: bool,
}

/// Runs the command line; gives the exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    // The name we were called by can be missing (execve with an empty argv).
    let arguments = std::iter::once(OsString::from("usermap")).chain(arguments.skip(1)).collect();
    let (arguments, wrapped) = crate::wrap::split(arguments);
    let matches = match args::flat().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return refuse_options(&error),
    };
    let terminal = io::stdout().is_terminal();
    let mode = if matches.get_flag("pretty") {
        Mode::Json { pretty: true }
    } else if matches.get_flag("json") {
        Mode::Json { pretty: false }
    } else if matches.get_flag("table") || terminal && !matches.get_flag("plain") {
        Mode::Table
    } else {
        Mode::Plain
    };
    let mut session = Session {
        out: Output::new(mode, terminal),
        key_types: None,
        value_types: None,
        run: RunOptions::default(),
        plot: matches.get_one::<OsString>("plot").map(PathBuf::from),
        repair: matches.get_flag("repair"),
        passthrough: matches.get_flag("passthrough"),
        wrapped,
        command: "",
        help: matches.get_flag("help"),
    };
    let words: Vec<OsString> =
        matches.get_many("WORDS").map(|words| words.cloned().collect()).unwrap_or_default();
    let result = types(matches.get_one("key-type"))
        .and_then(|some| {
            session.key_types = some;
            session.value_types = types(matches.get_one("value-type"))?;
            session.run = RunOptions::of(&matches)?;
            Ok(())
        })
        .and_then(|()| {
            if matches.get_flag("version") {
                return version(&mut session, &mut Words::new(&[]));
            }
            session.select(&mut Words::new(&words), true)
        });
    session.end(result)
}

impl Session {
    /// Runs one command: of the command line, or of a batch.
    pub fn select(&mut self, words: &mut Words<'_>, top: bool) -> Result {
        let Some(word) = words.take() else { return help(self, words) };
        // In the order in which a shortened word is looked for.
        let commands: [(&str, Run); 9] = [
            ("help", help),
            ("batch", crate::batch::run),
            ("prog", prog),
            ("map", map),
            ("version", version),
            ("completions", crate::manual::completions),
            ("man", crate::manual::man),
            ("bench", crate::bench::run),
            ("wrap", crate::wrap::run),
        ];
        let known = commands.into_iter().find(|(name, _)| is_prefix(word, name));
        let Some((name, run)) = known else {
            return Err(Failure::Usage(format!("unknown command '{}'", text(word)), ""));
        };
        if self.help && !matches!(name, "map" | "prog") {
            return self.help_on(&[name]);
        }
        if let Some(option) = self.run.given.first().filter(|_| name != "prog") {
            return Err(Failure::new(format!("option '--{option}' is one of 'usermap prog'")));
        }
        if self.plot.is_some() && name != "bench" {
            return Err(Failure::new("option '--plot' is one of 'usermap bench'"));
        }
        if self.passthrough && name != "wrap" {
            return Err(Failure::new("option '--passthrough' is one of 'usermap wrap'"));
        }
        if self.repair && name != "map" {
            return Err(stray_repair());
        }
        if !top && name == "batch" {
            // bpftool would recurse until the stack ends if a file named itself.
            return Err(Failure::new("batch: a batch cannot run another batch"));
        }
        if !top && name == "prog" {
            return self.prog_of_batch(words);
        }
        run(self, words)
    }

    /// In a batch, the options of a prog command stand in its line.
    fn prog_of_batch(&mut self, words: &mut Words<'_>) -> Result {
        let mut line = vec![OsString::from("usermap")];
        line.extend(std::iter::from_fn(|| words.take()).map(OsString::from));
        let matches = args::flat()
            .try_get_matches_from(line)
            .map_err(|error| Failure::new(explain_options(&error)))?;
        let words: Vec<OsString> =
            matches.get_many("WORDS").map(|words| words.cloned().collect()).unwrap_or_default();
        let before = std::mem::replace(&mut self.run, RunOptions::of(&matches)?);
        let result = prog(self, &mut Words::new(&words));
        self.run = before;
        result
    }

    fn help_on(&mut self, path: &[&str]) -> Result {
        if self.out.is_json() {
            return Ok(self.out.json().null()?);
        }
        Ok(self.out.text(&args::help(path))?)
    }

    /// Says what went wrong, writes everything out, and gives the exit code.
    fn end(&mut self, result: Result) -> u8 {
        let code = match result {
            Ok(()) => 0,
            Err(failure) => match self.report(failure) {
                Ok(code) => code,
                Err(error) => return self.write_failed(&error),
            },
        };
        match self.out.finish() {
            Ok(()) => code,
            Err(error) => self.write_failed(&error),
        }
    }

    /// Says why a command failed, and gives its exit code.
    fn report(&mut self, failure: Failure) -> io::Result<u8> {
        match failure {
            Failure::Answered(code) => Ok(code),
            Failure::Write(error) => Err(error),
            Failure::Message { text, code, aside } => {
                if self.out.is_json() && !aside {
                    self.out.json().error(&text)?;
                } else {
                    if self.out.is_json() {
                        self.out.json().finish()?;
                    }
                    self.complain(&format!("Error: {}\n", clean(&text)))?;
                }
                Ok(code)
            }
            Failure::Usage(text, command) => {
                if self.out.is_json() {
                    self.out.json().error(&text)?;
                } else {
                    let usage = args::usage(command);
                    self.complain(&format!("Error: {}\n{usage}", clean(&text)))?;
                }
                Ok(REFUSED)
            }
        }
    }

    /// Writes to stderr, after what was printed before. That stderr is closed is no reason to fail.
    pub fn complain(&mut self, text: &str) -> io::Result<()> {
        self.out.flush()?;
        let _ = io::stderr().write_all(text.as_bytes());
        Ok(())
    }

    fn write_failed(&mut self, error: &io::Error) -> u8 {
        // What is still buffered cannot be written either; it must not be tried again.
        self.out.abandon();
        if error.kind() == ErrorKind::BrokenPipe {
            return BROKEN_PIPE;
        }
        let text = format!("Error: writing the output: {}\n", without_number(error));
        let _ = io::stderr().write_all(text.as_bytes());
        REFUSED
    }
}

fn refuse_options(error: &clap::Error) -> u8 {
    // Whether -j was given is not known: the options could not be read.
    let text = explain_options(error);
    let line = format!("Error: {}\nSee 'usermap --help'.\n", clean(&text));
    let _ = io::stderr().write_all(line.as_bytes());
    REFUSED
}

fn explain_options(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue, ErrorKind as Kind};
    let offending = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    match error.kind() {
        Kind::UnknownArgument => format!("unrecognized option '{offending}'"),
        Kind::InvalidValue | Kind::TooFewValues | Kind::WrongNumberOfValues => {
            format!("option '{offending}' needs a value")
        }
        Kind::ArgumentConflict => format!("option '{offending}' was given twice"),
        _ => error.to_string().trim_end().trim_start_matches("error: ").to_owned(),
    }
}

/// The types of `--key-type` and `--value-type`.
fn types(list: Option<&String>) -> Result<Option<Vec<Type>>> {
    let Some(list) = list else { return Ok(None) };
    let read = |name: &str| {
        Type::from_name(name)
            .ok_or_else(|| Failure::new(format!("no such type: '{name}'; there are {NAMES}")))
    };
    list.split(',').map(read).collect::<Result<Vec<Type>>>().map(Some)
}

fn help(session: &mut Session, words: &mut Words<'_>) -> Result {
    if words.take_keyword("prog") {
        return prog_help(session, words);
    }
    if words.take_keyword("map") {
        return map_help(session, words);
    }
    session.help_on(&[])
}

fn version(session: &mut Session, _: &mut Words<'_>) -> Result {
    let version = env!("CARGO_PKG_VERSION");
    if session.out.is_json() {
        let json = session.out.json();
        json.object()?;
        json.name("version")?;
        json.string(version)?;
        return Ok(json.end()?);
    }
    Ok(session.out.text(&format!("usermap {version}\n"))?)
}

fn map(session: &mut Session, words: &mut Words<'_>) -> Result {
    if words.is_empty() && !session.help {
        return crate::map::show::run(session, words);
    }
    group(session, words, "map", MAP_COMMANDS)
}

fn prog(session: &mut Session, words: &mut Words<'_>) -> Result {
    if words.is_empty() && !session.help {
        return Err(Failure::Usage("expected a command".to_owned(), "prog"));
    }
    group(session, words, "prog", PROG_COMMANDS)
}

/// Runs the command of a group that the next word selects.
fn group(
    session: &mut Session,
    words: &mut Words<'_>,
    name: &'static str,
    commands: &'static [Subcommand],
) -> Result {
    let Some(word) = words.take() else { return session.help_on(&[name]) };
    let Some(command) = commands.iter().find(|command| is_prefix(word, command.name)) else {
        return Err(Failure::Usage(format!("unknown {name} command '{}'", text(word)), name));
    };
    if session.help {
        return session.help_on(&[name, command.name]);
    }
    if session.repair && command.name != "check" {
        return Err(stray_repair());
    }
    session.command = command.name;
    (command.run)(session, words)
}

fn stray_repair() -> Failure {
    Failure::new("option '--repair' is one of 'usermap map check'")
}

/// `map help [COMMAND]`.
pub fn map_help(session: &mut Session, words: &mut Words<'_>) -> Result {
    group_help(session, words, "map", MAP_COMMANDS)
}

/// `prog help [COMMAND]`.
pub fn prog_help(session: &mut Session, words: &mut Words<'_>) -> Result {
    group_help(session, words, "prog", PROG_COMMANDS)
}

fn group_help(
    session: &mut Session,
    words: &mut Words<'_>,
    group: &str,
    commands: &[Subcommand],
) -> Result {
    let named = words.take().and_then(|word| {
        commands.iter().map(|command| command.name).find(|name| is_prefix(word, name))
    });
    match named {
        Some(name) => session.help_on(&[group, name]),
        None => session.help_on(&[group]),
    }
}
