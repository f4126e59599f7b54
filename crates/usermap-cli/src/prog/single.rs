//! run on one packet or context, as `bpftool prog run` does it, and its output.

use super::options::{RunOptions, is_stream};
use super::run::read;
use super::{failed, report};
use crate::failure::{Failure, Result, without_number};
use crate::output::Output;
use crate::session::Session;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use usermap_vm::{Context, Loaded, Outcome, Program, ProgramType};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// The most that can be given to a program.
const MOST: u64 = 1 << 20;

/// Runs it, and prints what it returned and left.
pub fn run(
    session: &mut Session,
    options: &RunOptions,
    loaded: &Loaded,
    program: &Program,
) -> Result {
    let mut context = context(options, program.program_type())?;
    let times = options.repeat.unwrap_or(1);
    let mut runner = program.runner().map_err(|error| failed(&error))?;
    let mut summary = report::Summary::new(loaded, program, options);
    // As the kernel does, on what the run before has left.
    let mut last = None;
    for _ in 0..times {
        let start = Instant::now();
        let outcome = runner.run(&mut context);
        summary.elapsed += start.elapsed();
        let outcome = outcome.map_err(|error| failed(&error))?;
        summary.count(&outcome, 0);
        summary.collect_events(loaded);
        last = Some(outcome);
    }
    drop(runner);
    let Some(outcome) = last else { return Ok(()) };
    let packet = data(&context, program.program_type());
    let left = context.to_bytes();
    if options.data_out.is_some() && packet.is_none() {
        let rule = format!("a program of type {} has none", program.program_type());
        return Err(Failure::new(format!("option '--data-out': {rule}")));
    }
    let parts = [
        ("data_out", options.data_out.as_deref(), packet.unwrap_or_default()),
        ("ctx_out", options.ctx_out.as_deref(), left),
    ];
    let mut shown = Vec::new();
    for (name, to, bytes) in parts {
        match to {
            Some(_) if is_stream(to) => shown.push((name, bytes)),
            Some(path) => write(path, &bytes)?,
            None => {}
        }
    }
    let average = average(summary.elapsed, times);
    let program_type = program.program_type();
    if session.out.is_json() {
        json(&mut session.out, program_type, &outcome, average, &shown)?;
        report::maps(session, loaded, &summary)?;
        return Ok(session.out.json().end()?);
    }
    plain(&mut session.out, program_type, &outcome, average, times, &shown)?;
    report::maps(session, loaded, &summary)
}

fn context(options: &RunOptions, program_type: ProgramType) -> Result<Context> {
    let data = options.data_in.as_deref().map(|path| read(path, MOST)).transpose()?;
    let given = options.ctx_in.as_deref().map(|path| read(path, MOST)).transpose()?;
    let of_packet = Context::of_packet(program_type, data.clone().unwrap_or_default());
    let Some(mut context) = of_packet else {
        if data.is_some() {
            let rule = format!("a program of type {program_type} takes no packet");
            return Err(Failure::new(format!("option '--data-in': {rule}")));
        }
        return Ok(Context::from(given.unwrap_or_default()));
    };
    if data.is_none() {
        let rule = format!("a program of type {program_type} needs a packet");
        return Err(Failure::new(format!("option '--data-in': {rule}")));
    }
    if let Some(given) = given {
        context.set_bytes(&given).map_err(|error| failed(&error))?;
    }
    Ok(context)
}

/// The packet as `BPF_PROG_TEST_RUN` hands it out: with XDP's metadata before it; and of programs
/// that get it from its network layer on, with zeros for its Ethernet header.
fn data(context: &Context, program_type: ProgramType) -> Option<Vec<u8>> {
    let metadata = if let Context::Xdp(xdp) = context { &xdp.metadata[..] } else { &[] };
    let mut data = [metadata, context.packet()?].concat();
    if matches!(program_type, ProgramType::SocketFilter | ProgramType::CgroupSkb) {
        data.iter_mut().take(ETHERNET).for_each(|byte| *byte = 0);
    }
    Some(data)
}

fn average(elapsed: Duration, times: u64) -> u128 {
    elapsed.as_nanos() / u128::from(times.max(1))
}

fn write(path: &Path, bytes: &[u8]) -> Result {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::new(format!("{}: {}", path.display(), without_number(&error))))
}

type Shown = [(&'static str, Vec<u8>)];

fn json(
    out: &mut Output,
    program_type: ProgramType,
    outcome: &Outcome,
    average: u128,
    shown: &Shown,
) -> io::Result<()> {
    let json = out.json();
    json.object()?;
    for (name, bytes) in shown {
        json.name(name)?;
        json.bytes(bytes)?;
    }
    json.name("retval")?;
    json.number(outcome.value as u32)?;
    if let Some(verdict) = program_type.verdict_name(outcome.value) {
        json.name("verdict")?;
        json.string(verdict)?;
    }
    json.name("duration")?;
    json.number(average)
}

fn plain(
    out: &mut Output,
    program_type: ProgramType,
    outcome: &Outcome,
    average: u128,
    times: u64,
    shown: &Shown,
) -> io::Result<()> {
    for (_, bytes) in shown {
        out.text(&dump(bytes))?;
    }
    // The plain line is bpftool's, for scripts that read it.
    let verdict = program_type.verdict_name(outcome.value).filter(|_| out.is_table());
    let verdict = verdict.map(|name| format!(" ({name})")).unwrap_or_default();
    let word = if times > 1 { " (average)" } else { "" };
    let value = outcome.value as u32;
    out.text(&format!("Return value: {value}{verdict}, duration{word}: {average}ns\n"))
}

/// Bytes as bpftool prints data: sixteen a line, with their text.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, bytes) in bytes.chunks(16).enumerate() {
        text.push_str(&format!("{:07x}\t", row * 16));
        for at in 0..16 {
            match bytes.get(at) {
                Some(byte) => text.push_str(&format!("{byte:02x}")),
                None => text.push_str("  "),
            }
            if at % 2 == 1 {
                text.push(' ');
            }
        }
        text.push_str("| ");
        for (at, byte) in bytes.iter().enumerate() {
            text.push(if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' });
            if at == 7 {
                text.push(' ');
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_as_bpftool_prints_it() {
        let bytes: Vec<u8> = (0x38..0x4a).collect();
        let first = "0000000\t3839 3a3b 3c3d 3e3f 4041 4243 4445 4647 | 89:;<=>? @ABCDEFG\n";
        let second = format!("0000010\t4849 {}| HI\n", "     ".repeat(7));
        assert_eq!(dump(&bytes), first.to_owned() + &second);
        assert_eq!(dump(&[]), "");
    }
}
