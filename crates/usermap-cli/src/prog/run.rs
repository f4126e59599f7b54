//! run: a program over all packets of a capture; what it returned, how long it took, its maps.

use super::capture::{Capture, Packet, Writer};
use super::options::RunOptions;
use super::report::{self, Summary};
use super::{chosen, failed, names, open, single};
use crate::failure::{Failure, Result};
use crate::progress;
use crate::session::Session;
use crate::words::Words;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use usermap_vm::{Context, Error, Loaded, Object, Options, Program, ProgramType, Runner, Skb, Xdp};

/// Packets that are run one after the other, and timed together.
const BATCH: usize = 1024;
/// Bytes that are enough for a batch: packets can be long.
const BATCH_BYTES: usize = 4 << 20;
/// What a `__sk_buff` may say of a packet's length on the wire.
const WIRE_LENGTH: u32 = 65536;

/// `run`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    let options = session.run.clone();
    let mut object = open(words, "prog run")?;
    options.check("run")?;
    let name = program_name(&object, &options)?;
    configure(&mut object, &options)?;
    let Some(pcap) = &options.pcap else {
        if options.data_in.is_none() && options.ctx_in.is_none() {
            let text = "expected '--pcap FILE', or '--data-in' or '--ctx-in'".to_owned();
            return Err(Failure::Usage(text, "prog run"));
        }
        let (loaded, program) = load(&object, &name, &options)?;
        return single::run(session, &options, &loaded, &program);
    };
    takes_packets(&object, &name)?;
    // What cannot be read is told before a map is made.
    let read = Arc::new(AtomicU64::new(0));
    let capture = Capture::open(pcap, &read).map_err(Failure::new)?;
    let writer = options.out.as_deref().map(|out| Writer::create(out, pcap)).transpose();
    let writer = writer.map_err(Failure::new)?;
    let (loaded, program) = load(&object, &name, &options)?;
    let times = options.repeat.unwrap_or(1);
    let size = std::fs::metadata(pcap).map_or(0, |about| about.len());
    let mut pass = Pass { summary: Summary::new(&loaded, &program, &options), writer };
    let quiet = session.out.terminal && options.trace;
    let ended = progress::during_bytes(
        "running",
        size.saturating_mul(times),
        quiet,
        || read.load(Relaxed),
        || pass.all(&loaded, &program, capture, times, || Capture::open(pcap, &read)),
    );
    let ended = pass.finish(ended);
    report::print(session, &loaded, &pass.summary)?;
    // The report is complete in every form, so what went wrong is told beside it.
    ended.map_err(|problem| Failure::new(problem).aside())
}

/// The program that is meant: it must be said where there are several.
fn program_name(object: &Object, options: &RunOptions) -> Result<String> {
    match &chosen(object, options.prog.as_deref())?[..] {
        [program] => Ok(program.name.clone()),
        [] => Err(Failure::new(format!("there is no program: {}", names(object)))),
        _ => Err(Failure::new(format!("which program? {}: give '--prog'", names(object)))),
    }
}

fn takes_packets(object: &Object, name: &str) -> Result {
    for program in chosen(object, Some(name))? {
        let kind = program.program_type;
        if kind != ProgramType::Xdp && !kind.has_skb() {
            let rule = "takes no packets: give it a context with '--ctx-in'";
            return Err(Failure::new(format!("program {name}, of type {kind}, {rule}")));
        }
    }
    Ok(())
}

/// Sets what the options set before loading.
fn configure(object: &mut Object, options: &RunOptions) -> Result {
    for (name, value) in &options.set {
        let external = object.externs().iter().any(|external| external.name == *name);
        let set = match external {
            true => object.set_kconfig(name, value),
            false => object.set_global_text(name, value),
        };
        set.map_err(|error| failed(&error))?;
    }
    for (name, file) in &options.maps {
        let path = crate::target::resolve(file.as_os_str())?;
        object.pin(name, path).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn load(object: &Object, name: &str, options: &RunOptions) -> Result<(Loaded, Program)> {
    let mut how = Options::new().interpret(options.interpret).only([name]);
    if let Some(budget) = options.budget {
        how = how.budget(budget);
    }
    if options.trace {
        how = how.trace(|line| {
            use std::io::Write;
            // That nobody reads it is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{}", crate::failure::clean(line.trim_end()));
        });
    }
    let loaded = object.load(&how).map_err(|error| failed(&error))?;
    let program = loaded.program(name).map_err(|error| failed(&error))?;
    Ok((loaded, program))
}

/// The context of a packet, with what the capture says of it.
fn context(program_type: ProgramType, packet: &mut Packet) -> Context {
    let bytes = std::mem::take(&mut packet.bytes);
    match program_type {
        ProgramType::Xdp => Xdp::new(bytes).into(),
        _ => {
            let wire = packet.length.min(WIRE_LENGTH).max(bytes.len() as u32);
            Skb::new(bytes).tstamp(packet.time).wire_len(wire).into()
        }
    }
}

/// A run over a capture.
struct Pass {
    summary: Summary,
    writer: Option<Writer>,
}

impl Pass {
    /// All packets, as many times as was asked for.
    fn all(
        &mut self,
        loaded: &Loaded,
        program: &Program,
        capture: Capture,
        times: u64,
        again: impl Fn() -> std::result::Result<Capture, String>,
    ) -> std::result::Result<(), String> {
        let mut runner = program.runner().map_err(|error| error.to_string())?;
        let mut capture = Some(capture);
        for _ in 0..times {
            let mut source = capture.take().map_or_else(&again, Ok)?;
            loop {
                let (mut packets, ended) = batch(&mut source);
                self.batch(program.program_type(), &mut runner, &mut packets)?;
                self.summary.collect_events(loaded);
                match ended {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(problem) => return Err(problem),
                }
            }
        }
        Ok(())
    }

    /// Some packets, timed together.
    fn batch(
        &mut self,
        program_type: ProgramType,
        runner: &mut Runner<'_>,
        packets: &mut [Packet],
    ) -> std::result::Result<(), String> {
        let lengths: Vec<usize> = packets.iter().map(|packet| packet.bytes.len()).collect();
        let mut contexts: Vec<Context> =
            packets.iter_mut().map(|packet| context(program_type, packet)).collect();
        let mut outcomes = Vec::with_capacity(contexts.len());
        let start = Instant::now();
        for context in &mut contexts {
            let outcome = runner.run(context);
            let fatal = outcome.as_ref().is_err_and(is_fatal);
            outcomes.push(outcome);
            if fatal {
                break;
            }
        }
        self.summary.elapsed += start.elapsed();
        for (((packet, context), outcome), length) in
            packets.iter_mut().zip(contexts).zip(outcomes).zip(lengths)
        {
            match outcome {
                Ok(outcome) => {
                    self.summary.count(&outcome, length);
                    self.write(program_type, packet, context, outcome.value, length)?;
                }
                Err(error) if is_fatal(&error) => {
                    return Err(format!("packet {}: {error}", packet.number));
                }
                Err(error) => self.summary.refuse(packet.number, &error),
            }
        }
        Ok(())
    }

    /// Writes a packet, if it passes, as the program left it.
    fn write(
        &mut self,
        program_type: ProgramType,
        packet: &mut Packet,
        context: Context,
        verdict: u64,
        before: usize,
    ) -> std::result::Result<(), String> {
        let Some(writer) = self.writer.as_mut().filter(|_| program_type.lets_pass(verdict)) else {
            return Ok(());
        };
        packet.bytes = context.into_packet().unwrap_or_default();
        if program_type == ProgramType::SocketFilter {
            packet.bytes.truncate(verdict as u32 as usize);
        }
        // Longer or shorter on the wire by as much as the program made it.
        let more = packet.bytes.len() as i64 - before as i64;
        let length = (i64::from(packet.length) + more).clamp(0, u32::MAX.into()) as u32;
        packet.length = length.max(packet.bytes.len() as u32);
        self.summary.passed += 1;
        writer.packet(packet)
    }

    /// Ends the file that packets go to.
    fn finish(
        &mut self,
        ended: std::result::Result<(), String>,
    ) -> std::result::Result<(), String> {
        let written = self.writer.take().map_or(Ok(()), Writer::finish);
        ended.and(written)
    }
}

/// Whether the run ends with it: all but what is wrong with a packet alone, as that it is too short.
fn is_fatal(error: &Error) -> bool {
    !matches!(error, Error::Invalid { .. })
}

/// The next packets, and whether they are the last; or why no more can be read.
fn batch(source: &mut Capture) -> (Vec<Packet>, std::result::Result<bool, String>) {
    let mut packets = Vec::new();
    let mut bytes = 0;
    while packets.len() < BATCH && bytes < BATCH_BYTES {
        match source.next() {
            Ok(Some(packet)) => {
                bytes += packet.bytes.len();
                packets.push(packet);
            }
            Ok(None) => return (packets, Ok(true)),
            Err(problem) => return (packets, Err(problem)),
        }
    }
    (packets, Ok(false))
}

/// All of a file, or of the standard input.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let (name, source): (String, Box<dyn Read>) = match path.as_os_str() == "-" {
        true => ("standard input".to_owned(), Box::new(std::io::stdin())),
        false => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|error| unreadable(&name, &error))?;
            (name, Box::new(file))
        }
    };
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&name, &error))?;
    match bytes.len() as u64 > limit {
        true => Err(Failure::new(format!("{name}: more than {limit} bytes"))),
        false => Ok(bytes),
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("{name}: {}", crate::failure::without_number(error)))
}
