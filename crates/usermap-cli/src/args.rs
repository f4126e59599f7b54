//! clap's definitions: the options, and one table of commands. The help, the completions and the
//! man page are made from them.
//!
//! A run itself parses only the options with clap, and then selects the command by bpftool's rule
//! (the first in the table that begins with the word), so that `map d` stays `map dump` whatever
//! commands are added, and a start does not pay for building the whole tree.

use crate::map::MAP_COMMANDS;
use crate::prog::{PROG_COMMANDS, options as prog_options};
use clap::{Arg, ArgAction, Command, ValueHint, builder::OsStringValueParser};

/// One `usermap map` or `usermap prog` command.
pub struct Subcommand {
    /// `map` or `prog`.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its operands, for the usage line.
    pub operands: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The rest of its help; may be empty.
    pub more: &'static str,
    /// What runs it.
    pub run: crate::session::Run,
}

/// The groups, with their commands.
pub const GROUPS: [(&str, &[Subcommand]); 2] = [("prog", PROG_COMMANDS), ("map", MAP_COMMANDS)];

/// What the capital words of the map commands' usage lines stand for.
pub const GRAMMAR: &str = "\
MAP := { id N | name NAME | pinned FILE | FILE | NAME }
      a bare NAME is a file in the default folder: $USERMAP_DIR, or one of your own on a tmpfs
DATA := { [hex] BYTE ... | TYPE:TEXT ... }
      as many bytes as the key or value has; a BYTE is decimal, 0x hexadecimal or 0 octal
TYPE := { u8 u16 u32 u64 | i8 i16 i32 i64 | be16 be32 be64 | le16 le32 le64
        | str | strN | hex | hexN | ip | ip6 | mac }
      u and i are of this machine's byte order; str is padded with NULs to the key's or value's
      end, strN to N bytes
VALUE := { DATA | cpu N DATA cpu N DATA ... }
      per-CPU maps: one DATA for all slots, or one for each
UPDATE_FLAGS := { any | exist | noexist }
KIND := { hash | array | percpu_hash | percpu_array | queue | stack
        | percpu_queue | percpu_stack }";

const USAGE: &str = "usermap [OPTIONS] prog { run | show | dump } OBJECT ...
       usermap [OPTIONS] map COMMAND ...
       usermap [OPTIONS] batch file { FILE | - }
       usermap [OPTIONS] bench [--plot FILE]
       usermap wrap [--passthrough] [--] COMMAND ...
       usermap { help | version | completions SHELL | man }";

/// The options, which may stand anywhere.
fn options() -> [Arg; 9] {
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let types = |name: &'static str| Arg::new(name).long(name).value_name("TYPE,...");
    [
        switch("json").short('j').help("Print JSON"),
        switch("pretty").short('p').help("Print JSON that people can read; implies -j"),
        switch("table").help("Print tables (the default on a terminal)").overrides_with("plain"),
        switch("plain")
            .help("Print bpftool's plain text (the default elsewhere)")
            .overrides_with("table"),
        types("key-type").help("Types that tables and sums read keys as, such as ip,be16"),
        types("value-type").help("Types that tables and sums read values as, such as u64,u64"),
        switch("bpffs")
            .short('f')
            .help("Show the files of pinned maps (always done; here for bpftool's sake)"),
        switch("help").short('h').help("Print help"),
        switch("version").short('V').help("Print the version"),
    ]
    .map(|option| option.global(true))
}

/// The option of `bench`.
fn plot() -> Arg {
    Arg::new("plot")
        .long("plot")
        .value_name("FILE")
        .value_parser(OsStringValueParser::new())
        .value_hint(ValueHint::FilePath)
        .help("Write a plot of the table to a file (SVG)")
}

/// The option of `usermap map check`.
fn repair() -> Arg {
    let help = "Make a damaged map usable again; nobody else may have it open";
    Arg::new("repair").long("repair").action(ArgAction::SetTrue).help(help)
}

/// The option of `usermap wrap`.
fn passthrough() -> Arg {
    let help = "Hand what usermap refuses to the kernel";
    Arg::new("passthrough").long("passthrough").action(ArgAction::SetTrue).help(help)
}

fn words(name: &'static str) -> Arg {
    Arg::new(name)
        .num_args(0..)
        .value_parser(OsStringValueParser::new())
        .value_hint(ValueHint::AnyPath)
        .allow_negative_numbers(true)
}

/// What a run parses: the options, and all other words.
pub fn flat() -> Command {
    bare(Command::new("usermap"))
        .infer_long_args(true)
        .args(options())
        .args(prog_options::arguments())
        .arg(plot())
        .arg(repair())
        .arg(passthrough())
        .arg(words("WORDS"))
}

/// Without what clap would add by itself: help and version are options of ours.
fn bare(command: Command) -> Command {
    command.disable_help_flag(true).disable_version_flag(true).disable_help_subcommand(true)
}

/// All commands, for help, completions and the man page.
pub fn tree() -> Command {
    let shells = ["bash", "zsh", "fish"];
    let root = bare(Command::new("usermap"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("eBPF in user space: run programs over captures; create, read and change maps")
        .args(options())
        .override_usage(USAGE)
        .after_help(
            "'usermap prog help' and 'usermap map help' list the commands and their operands.",
        );
    let single = |name: &'static str, about: &'static str| bare(Command::new(name)).about(about);
    root.subcommand(prog_tree())
        .subcommand(map_tree())
        .subcommand(
            single("batch", "Run the commands of a file, one a line; stop at the first that fails")
                .override_usage("usermap [OPTIONS] batch file { FILE | - }")
                .arg(words("WORDS").hide(true)),
        )
        .subcommand(
            single("bench", "Measure maps on this machine, beside the kernel's and its limit")
                .override_usage("usermap [OPTIONS] bench [--plot FILE]")
                .arg(plot())
                .after_help(crate::bench::HELP),
        )
        .subcommand(
            single("wrap", "Run a command whose bpf(2) calls usermap answers")
                .override_usage("usermap wrap [--passthrough] [--] COMMAND [ARGUMENT...]")
                .arg(passthrough())
                .arg(words("COMMAND").hide(true))
                .after_help(crate::wrap::HELP),
        )
        .subcommand(single("help", "Print help"))
        .subcommand(single("version", "Print the version"))
        .subcommand(
            single("completions", "Print completions for a shell")
                .arg(Arg::new("SHELL").required(true).value_parser(shells)),
        )
        .subcommand(single("man", "Print the man page"))
}

fn map_tree() -> Command {
    let mut map = bare(Command::new("map"))
        .about("Inspect and change maps")
        .override_usage(group_usage(MAP_COMMANDS))
        .after_help(GRAMMAR);
    for command in MAP_COMMANDS {
        let options = (command.name == "check").then(repair);
        map = map.subcommand(
            leaf(command)
                .args(options)
                .after_help(format!("{}\n\n{GRAMMAR}", command.more).trim_start().to_owned()),
        );
    }
    map
}

fn prog_tree() -> Command {
    let mut prog = bare(Command::new("prog"))
        .about("Run the programs of an object file, and inspect them")
        .override_usage(group_usage(PROG_COMMANDS));
    for command in PROG_COMMANDS {
        let options = prog_options::arguments_of(command.name);
        prog = prog.subcommand(leaf(command).after_help(command.more).args(options));
    }
    prog
}

fn leaf(command: &Subcommand) -> Command {
    bare(Command::new(command.name))
        .about(command.about)
        .override_usage(usage_line(command))
        .arg(words("WORDS").hide(true))
}

/// `usermap map NAME OPERANDS`.
pub fn usage_line(command: &Subcommand) -> String {
    let Subcommand { group, name, operands, .. } = command;
    format!("usermap {group} {name} {operands}").trim_end().to_owned()
}

/// The help of `usermap`, of a group, or of one command of it.
pub fn help(path: &[&str]) -> String {
    let mut command = tree();
    command.build();
    let mut at = &mut command;
    for name in path {
        match at.find_subcommand_mut(name) {
            Some(_) => {}
            None => break,
        }
        at = at.find_subcommand_mut(name).unwrap_or_else(|| unreachable!("found just before"));
    }
    at.render_help().to_string()
}

/// The usage lines alone: of a command (`prog run`, or just `dump` if it is one of map's), of a
/// group (`prog`), or of `usermap`, for no name.
pub fn usage(path: &str) -> String {
    let commands =
        |group: &str| GROUPS.iter().find(|(name, _)| *name == group).map(|(_, all)| *all);
    let (group, name) = match path.split_once(' ') {
        Some(parts) => parts,
        None if path == "wrap" => {
            return "Usage: usermap wrap [--passthrough] [--] COMMAND [ARGUMENT...]\n".to_owned();
        }
        None if path.is_empty() || commands(path).is_some() => (path, ""),
        None => ("map", path),
    };
    let known = commands(group).and_then(|all| all.iter().find(|command| command.name == name));
    if let Some(command) = known {
        return format!("Usage: {}\n", usage_line(command));
    }
    let lines = commands(group).map_or_else(|| USAGE.to_owned(), group_usage);
    format!("Usage: {lines}\n\n'usermap {group} help' says more.\n").replace("  help", " help")
}

fn group_usage(commands: &[Subcommand]) -> String {
    let lines: Vec<String> = commands.iter().map(usage_line).collect();
    lines.join("\n       ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sound() {
        tree().debug_assert();
        flat().debug_assert();
    }

    #[test]
    fn options_may_stand_anywhere() {
        let parse = |line: &str| flat().try_get_matches_from(line.split(' ')).unwrap();
        let matches = parse("usermap map dump x -j --value-type u64 key -5");
        assert!(matches.get_flag("json"));
        assert_eq!(matches.get_many::<std::ffi::OsString>("WORDS").unwrap().len(), 5);
        assert!(parse("usermap --pret map").get_flag("pretty"));
        assert!(parse("usermap --table --plain").get_flag("plain"));
        assert!(!parse("usermap --table --plain").get_flag("table"));
    }

    #[test]
    fn every_command_has_help() {
        for command in GROUPS.iter().flat_map(|(_, commands)| commands.iter()) {
            let help = help(&[command.group, command.name]);
            assert!(help.contains(&usage_line(command)), "{help}");
            assert!(!command.about.is_empty());
        }
    }
}
