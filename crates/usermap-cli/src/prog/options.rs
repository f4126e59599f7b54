//! The options of the prog commands: clap's definitions, and what was given.

use crate::failure::{Failure, Result};
use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, ValueHint};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the options said.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The names of the options that were given.
    pub given: Vec<&'static str>,
    /// The capture.
    pub pcap: Option<PathBuf>,
    /// The program, where there are several.
    pub prog: Option<String>,
    /// How many times.
    pub repeat: Option<u64>,
    /// Where packets that pass go.
    pub out: Option<PathBuf>,
    /// Maps, and the files they are kept in.
    pub maps: Vec<(String, PathBuf)>,
    /// Globals, and their values.
    pub set: Vec<(String, String)>,
    /// Interpreted, not translated.
    pub interpret: bool,
    /// Instructions a run.
    pub budget: Option<u64>,
    /// Print what programs print.
    pub trace: bool,
    /// Print events.
    pub events: bool,
    /// A packet to run on.
    pub data_in: Option<PathBuf>,
    /// Where the packet goes then.
    pub data_out: Option<PathBuf>,
    /// A context to run on.
    pub ctx_in: Option<PathBuf>,
    /// Where the context goes then.
    pub ctx_out: Option<PathBuf>,
}

/// All options, in the order of the help.
pub fn arguments() -> Vec<Arg> {
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str, value| Arg::new(name).long(name).value_name(value);
    let file = |name: &'static str| {
        value(name, "FILE").value_parser(OsStringValueParser::new()).value_hint(ValueHint::FilePath)
    };
    let pair = |name: &'static str, both: &'static str| {
        value(name, both).action(ArgAction::Append).value_parser(OsStringValueParser::new())
    };
    vec![
        file("pcap").help("The capture: pcap or pcapng, plain or gzip; - is the standard input"),
        value("prog", "NAME").help("Which program, if the object has several"),
        value("repeat", "N").help("Run over the capture N times; or N times on the same data"),
        file("out").help("Write the packets that pass, as the program changed them, to a pcap"),
        pair("map", "NAME=FILE").help("Keep a map in a file: the one that is there, or a new one"),
        pair("set", "VAR=VALUE").help("Set a global variable, or an extern of the configuration"),
        switch("interpret").help("Interpret the program instead of translating it"),
        value("budget", "N").help("Instructions that a run may take (1073741824)"),
        switch("trace").help("Print to stderr what bpf_printk and bpf_trace_printk say"),
        switch("events").help("Print the events that go into perf event arrays"),
        file("data-in").help("Run on one packet, from a file, instead of a capture"),
        file("data-out").help("Write that packet to a file, as the program left it; - prints it"),
        file("ctx-in").help("The context, from a file: an xdp_md, a __sk_buff, or any bytes"),
        file("ctx-out").help("Write the context to a file, as the program left it; - prints it"),
    ]
}

/// Those of one command, for its help.
pub fn arguments_of(command: &str) -> Vec<Arg> {
    arguments().into_iter().filter(|option| takes(command, option.get_id().as_str())).collect()
}

/// Whether a command takes an option.
pub fn takes(command: &str, option: &str) -> bool {
    match command {
        "run" => true,
        "dump" | "show" => option == "prog",
        _ => false,
    }
}

impl RunOptions {
    /// What was parsed.
    pub fn of(matches: &ArgMatches) -> Result<RunOptions> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let file = |name: &str| matches.get_one::<OsString>(name).map(PathBuf::from);
        let names = [
            "pcap",
            "prog",
            "repeat",
            "out",
            "map",
            "set",
            "interpret",
            "budget",
            "trace",
            "events",
            "data-in",
            "data-out",
            "ctx-in",
            "ctx-out",
        ];
        let by_hand = |name: &&str| {
            matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
        };
        Ok(RunOptions {
            given: names.into_iter().filter(by_hand).collect(),
            pcap: file("pcap"),
            prog: text("prog"),
            repeat: number("repeat", text("repeat"))?,
            out: file("out"),
            maps: pairs("map", "NAME=FILE", matches)?
                .into_iter()
                .map(|(name, file)| Ok((utf8("map", name)?, PathBuf::from(file))))
                .collect::<Result<_>>()?,
            set: pairs("set", "VAR=VALUE", matches)?
                .into_iter()
                .map(|(name, value)| Ok((utf8("set", name)?, utf8("set", value)?)))
                .collect::<Result<_>>()?,
            interpret: matches.get_flag("interpret"),
            budget: number("budget", text("budget"))?,
            trace: matches.get_flag("trace"),
            events: matches.get_flag("events"),
            data_in: file("data-in"),
            data_out: file("data-out"),
            ctx_in: file("ctx-in"),
            ctx_out: file("ctx-out"),
        })
    }

    /// Refuses options that a command does not take, and those that do not go together.
    pub fn check(&self, command: &str) -> Result {
        if let Some(option) = self.given.iter().find(|option| !takes(command, option)) {
            return Err(Failure::new(format!("option '--{option}' is one of 'prog run'")));
        }
        let single = ["data-in", "data-out", "ctx-in", "ctx-out"];
        let given = |option: &&&str| self.given.contains(*option);
        if let Some(option) = single.iter().find(given).filter(|_| self.pcap.is_some()) {
            let rule = "is for a run on one packet; it does not go with '--pcap'";
            return Err(Failure::new(format!("option '--{option}' {rule}")));
        }
        if self.out.is_some() && self.pcap.is_none() {
            return Err(Failure::new("option '--out' needs '--pcap'"));
        }
        let inputs = [&self.data_in, &self.ctx_in];
        if inputs.iter().all(|file| is_stream(file.as_deref())) {
            return Err(Failure::new("only one of '--data-in' and '--ctx-in' can be '-'"));
        }
        if is_stream(self.pcap.as_deref()) && self.repeat.is_some_and(|times| times > 1) {
            let rule = "the standard input can only be read once: '--repeat' needs a file";
            return Err(Failure::new(rule));
        }
        Ok(())
    }
}

/// Whether `-` was given: the standard input, or output.
pub fn is_stream(file: Option<&Path>) -> bool {
    file.is_some_and(|file| file.as_os_str() == "-")
}

fn number(option: &str, text: Option<String>) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    match crate::words::number(&text, 0).filter(|number| *number > 0) {
        Some(number) => Ok(Some(number)),
        None => Err(Failure::new(format!("option '--{option}': no number from 1 on: '{text}'"))),
    }
}

fn pairs(option: &str, both: &str, matches: &ArgMatches) -> Result<Vec<(OsString, OsString)>> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let pair = |given: &OsString| {
        let bytes = given.as_bytes();
        let at =
            bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or_else(|| {
                let given = given.to_string_lossy();
                Failure::new(format!("option '--{option}': expected {both}, got: {given}"))
            })?;
        let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Ok((part(&bytes[..at]), part(&bytes[at + 1..])))
    };
    matches.get_many(option).unwrap_or_default().map(pair).collect()
}

fn utf8(option: &str, text: OsString) -> Result<String> {
    text.into_string().map_err(|text| {
        let text = text.to_string_lossy();
        Failure::new(format!("option '--{option}': no text: {text}"))
    })
}
