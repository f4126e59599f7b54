//! The `usermap prog` commands: programs of objects, run over captures.

mod capture;
mod dump;
mod kinds;
pub mod options;
mod report;
mod run;
mod show;
mod single;

use crate::args::Subcommand;
use crate::failure::{Failure, Result};
use crate::words::{Words, text};
use std::path::Path;
use usermap_vm::{Code, Object};

const fn command(
    name: &'static str,
    operands: &'static str,
    about: &'static str,
    more: &'static str,
    run: crate::session::Run,
) -> Subcommand {
    Subcommand { group: "prog", name, operands, about, more, run }
}

/// All commands, in the order in which a shortened word is looked for.
pub const PROG_COMMANDS: &[Subcommand] = &[
    command(
        "show",
        "OBJECT [--prog NAME]",
        "Show an object's programs, maps and variables, and whether all of it can be run",
        "",
        show::run,
    ),
    command("list", "OBJECT [--prog NAME]", "The same as show", "", show::run),
    command(
        "dump",
        "OBJECT [--prog NAME]",
        "Print the instructions of an object's programs, with their source lines",
        "",
        dump::run,
    ),
    command(
        "run",
        "OBJECT { --pcap FILE | --data-in FILE | --ctx-in FILE } ...",
        "Run a program over all packets of a capture, or on one packet or context",
        "Prints how often each verdict was given, how long it took, and then all maps. A program \
         that goes wrong ends the run: what there is until then is printed, and why on stderr. \
         With --data-in or --ctx-in the program is run on that, as 'bpftool prog run' does it.",
        run::run,
    ),
    command(
        "help",
        "[COMMAND]",
        "Print this help, or that of a command",
        "",
        crate::session::prog_help,
    ),
];

/// Reads OBJECT, which is all that follows.
fn open(words: &mut Words<'_>, command: &'static str) -> Result<Object> {
    let usage = |text: String| Failure::Usage(text, command);
    let Some(file) = words.take() else { return Err(usage("expected an object file".into())) };
    if let Some(word) = words.peek() {
        return Err(usage(format!("unexpected operand: '{}'", text(word))));
    }
    Object::open(Path::new(file)).map_err(|error| failed(&error))
}

/// The programs that are meant: of a name, or all.
fn chosen<'o>(object: &'o Object, name: Option<&str>) -> Result<Vec<&'o Code>> {
    let programs = object.programs();
    let Some(name) = name else { return Ok(programs.iter().collect()) };
    match programs.iter().find(|program| program.name == name) {
        Some(program) => Ok(vec![program]),
        None => Err(Failure::new(format!("no program '{name}'; {}", names(object)))),
    }
}

/// What programs there are.
fn names(object: &Object) -> String {
    let names: Vec<&str> = object.programs().iter().map(|program| program.name.as_str()).collect();
    match names[..] {
        [] => format!("{} has none", object.name()),
        _ => format!("{} has {}", object.name(), names.join(", ")),
    }
}

/// What the engine refuses is refused here.
fn failed(error: &usermap_vm::Error) -> Failure {
    Failure::new(error.to_string())
}
