//! Completions and the man page, both from the definitions in [`args`].

use crate::args::{self, GRAMMAR, Subcommand, usage_line};
use crate::failure::{Failure, Result};
use crate::map::MAP_COMMANDS;
use crate::prog::{PROG_COMMANDS, options as prog_options};
use crate::session::Session;
use crate::words::{Words, text};
use clap_complete::{Shell, generate};
use clap_mangen::{Man, roff::Roff, roff::bold, roff::roman};

/// `completions SHELL`.
pub fn completions(session: &mut Session, words: &mut Words<'_>) -> Result {
    let shell = match words.take().map(text).as_deref() {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        Some(other) => {
            return Err(Failure::new(format!("no completions for '{other}': bash, zsh or fish")));
        }
        None => return Err(Failure::new("expected a shell: bash, zsh or fish")),
    };
    let mut script = Vec::new();
    generate(shell, &mut args::tree(), "usermap", &mut script);
    Ok(session.out.text(&String::from_utf8_lossy(&script))?)
}

/// `man`: one page with all commands.
pub fn man(session: &mut Session, _: &mut Words<'_>) -> Result {
    let mut page = Vec::new();
    let man = Man::new(args::tree()).date("");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for line in [
        "usermap [OPTIONS] prog { run | show | dump } OBJECT ...",
        "usermap [OPTIONS] map COMMAND ...",
        "usermap [OPTIONS] batch file { FILE | - }",
        "usermap completions { bash | zsh | fish }",
        "usermap { help | version | man }",
    ] {
        roff.text([roman(line)]).control("br", []);
    }
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "usermap runs eBPF programs in user space: objects that clang built for the kernel, over \
         captured packets, without privileges. It creates, reads and changes eBPF maps: files that \
         any process maps into its memory, with the behaviour of the Linux kernel's maps. The grammar, the plain \
         and JSON output, the messages and the exit codes are bpftool's; inc, count, clear, check, \
         sum, range and drain are additions.",
    )]);
    roff.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    commands().to_writer(&mut page)?;
    Ok(session.out.text(&String::from_utf8_lossy(&page))?)
}

fn listing(roff: &mut Roff, commands: &[Subcommand]) {
    for command in commands {
        roff.control("TP", [])
            .text([bold(usage_line(command).replace("\\\n", ""))])
            .text([roman(command.about)]);
        if !command.more.is_empty() {
            roff.control("IP", []).text([roman(command.more)]);
        }
    }
}

fn commands() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["PROG COMMANDS"]);
    listing(&mut roff, PROG_COMMANDS);
    roff.control("SH", ["PROG OPTIONS"]);
    for option in prog_options::arguments() {
        let (name, help) = (option.get_long().unwrap_or_default(), option.get_help());
        let value = option.get_value_names().and_then(|names| names.first());
        let value = value.map(|value| format!(" {value}")).unwrap_or_default();
        roff.control("TP", [])
            .text([bold(format!("--{name}{value}"))])
            .text([roman(help.map(|help| help.to_string()).unwrap_or_default())]);
    }
    roff.control("SH", ["MAP COMMANDS"]);
    listing(&mut roff, MAP_COMMANDS);
    roff.control("SH", ["GRAMMAR"]).control("nf", []);
    for line in GRAMMAR.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("SH", ["BATCH"]).text([roman(
        "A batch file has one command a line, without \"usermap\"; # begins a comment, a backslash \
         at the end continues the line, words may stand in quotes. The first command that fails \
         ends the batch with its exit code.",
    )]);
    roff.control("SH", ["EXIT STATUS"]).text([roman(
        "0 on success; a failed map operation ends with 256 less its errno (254 for ENOENT, 239 \
         for EEXIST, 249 for E2BIG), everything else that is refused with 255; 1 if check finds \
         damage; 141 if the reader of the output went away.",
    )]);
    roff.control("SH", ["ENVIRONMENT"]);
    roff.control("TP", [])
        .text([bold("USERMAP_DIR")])
        .text([roman("The default folder, where maps are that are given by their bare names.")]);
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in [
        "usermap prog run flow_stats.bpf.o --pcap capture.pcap.gz",
        "usermap prog run rate_limit.bpf.o --pcap capture.pcap --set rate=100 --out passed.pcap",
        "usermap map create flows type hash key 4 value 8 entries 1024 name flows",
        "usermap map update flows key ip:10.0.0.1 value u64:7",
        "usermap map inc flows key ip:10.0.0.1 by 3",
        "usermap --key-type ip map dump flows",
        "usermap -j map dump flows",
        "usermap map create work type percpu_queue value 4 entries 64 name work",
        "usermap map push work cpu 1 value 1 2 3 4",
        "usermap map drain work",
    ] {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("SH", ["SEE ALSO"]).text([roman("bpftool-map(8), bpf(2)")]);
    roff
}
