//! Captures: pcap and pcapng, plain or gzip, read as a stream in memory of bounded size.
//!
//! Whatever a file says, a packet is at most [`MOST`] long and nothing else of it is kept. A
//! capture that ends within a packet gives all packets before, and then says so.

mod link;
mod writer;

pub use writer::Writer;

use flate2::read::MultiGzDecoder;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, PcapHeader, create_reader};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a file is in memory, for packets of usual sizes.
const BUFFER: usize = 1 << 16;

/// The largest block of a file that is read: more than Wireshark's largest packet.
const MOST: usize = 1 << 20;

/// Interfaces that a file may have: each takes memory.
const MOST_INTERFACES: usize = 1 << 16;

/// What gzip files start with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Blocks that old pcapng files have packets in.
const OBSOLETE_PACKET: u32 = 2;

const NANOSECONDS: u128 = 1_000_000_000;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number, from 1 on.
    pub number: u64,
    /// When it was captured, in nanoseconds since 1970.
    pub time: u64,
    /// How long it was, on the wire.
    pub length: u32,
    /// Its captured bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// A capture that is being read.
pub struct Capture {
    name: String,
    reader: Box<dyn PcapReaderIterator + Send>,
    trouble: Trouble,
    format: Format,
    /// Packets read.
    read: u64,
    /// Whether the buffer has been made as large as it may be.
    grown: bool,
}

/// What was said before the packets, and they need to be understood.
enum Format {
    /// pcap: one interface, and how many nanoseconds are a unit of its times.
    Pcap { link: Linktype, unit: u64 },
    /// pcapng: the interfaces so far.
    PcapNg(Vec<Interface>),
}

struct Interface {
    link: Linktype,
    longest: u32,
    /// Units a second.
    resolution: u64,
    /// Seconds to be added.
    offset: i64,
}

/// Why a capture cannot be read, or not to its end.
pub type Problem = String;

impl Capture {
    /// Opens a file, or the standard input for `-`. `progress` is told how much of the file has
    /// been read.
    pub fn open(path: &Path, progress: &Arc<AtomicU64>) -> Result<Capture, Problem> {
        let name = path.display().to_string();
        if path.as_os_str() == "-" {
            return Capture::new(io::stdin(), "standard input", progress);
        }
        let file = File::open(path).map_err(|error| problem(&name, &error))?;
        if file.metadata().is_ok_and(|about| about.is_dir()) {
            return Err(format!("{name}: is a folder, not a capture"));
        }
        Capture::new(file, &name, progress)
    }

    fn new(
        source: impl Read + Send + 'static,
        name: &str,
        progress: &Arc<AtomicU64>,
    ) -> Result<Capture, Problem> {
        let mut counted = Counted { source, progress: Arc::clone(progress) };
        let mut start = [0; 2];
        let read = fill(&mut counted, &mut start).map_err(|error| problem(name, &error))?;
        let whole = Cursor::new(start).take(read as u64).chain(counted);
        let trouble = Trouble::default();
        let plain: Box<dyn Read + Send> =
            if start == GZIP { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        let full = Full { source: plain, trouble: trouble.clone() };
        let reader = create_reader(BUFFER, full).map_err(|_| match trouble.take() {
            Some(error) => problem(name, &error),
            None if read == 0 => format!("{name}: is empty, not a capture"),
            None => format!("{name}: neither pcap nor pcapng, plain or gzip"),
        })?;
        let format = Format::PcapNg(Vec::new());
        Ok(Capture { name: name.to_owned(), reader, trouble, format, read: 0, grown: false })
    }

    /// The next packet; `None` after the last.
    pub fn next(&mut self) -> Result<Option<Packet>, Problem> {
        loop {
            let at = self.read + 1;
            let (taken, found) = match self.reader.next() {
                Ok((taken, block)) => (taken, self.format.block(block, at)),
                Err(PcapError::Eof) => {
                    return match self.trouble.take() {
                        Some(error) => Err(self.cut(&error.to_string())),
                        None => Ok(None),
                    };
                }
                Err(PcapError::Incomplete(_)) => {
                    self.refill()?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) if !self.grown => {
                    self.grown = true;
                    self.reader.grow(MOST);
                    self.refill()?;
                    continue;
                }
                Err(error) => {
                    let why = explain(&error);
                    return Err(self.cut(&why));
                }
            };
            self.reader.consume(taken);
            let found = found.map_err(|why| format!("{}: {why}", self.name))?;
            if found.is_some() {
                self.read = at;
                return Ok(found);
            }
        }
    }

    fn refill(&mut self) -> Result<(), Problem> {
        let before = self.reader.data().len();
        if self.reader.refill().is_err() {
            let error = self.trouble.take().map_or("cannot be read".to_owned(), |e| e.to_string());
            return Err(self.cut(&error));
        }
        if self.reader.data().len() == before && !self.reader.reader_exhausted() {
            return Err(self.cut(&explain(&PcapError::BufferTooSmall)));
        }
        Ok(())
    }

    /// After how many packets it goes wrong, and why.
    fn cut(&self, why: &str) -> Problem {
        // A gzip file that ends early is told by the decoder, and only then by the parser.
        let why = self.trouble.take().map_or(why.to_owned(), |error| error.to_string());
        format!("{}: after packet {}: {why}", self.name, self.read)
    }
}

impl Format {
    /// What a block has to say: a packet, or something of the file.
    fn block(&mut self, block: PcapBlockOwned<'_>, number: u64) -> Result<Option<Packet>, Problem> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                *self = Format::of(&header)?;
                Ok(None)
            }
            PcapBlockOwned::Legacy(block) => {
                let Format::Pcap { link, unit } = self else { return Ok(None) };
                let time = u64::from(block.ts_sec) * NANOSECONDS as u64;
                let time = time.saturating_add(u64::from(block.ts_usec) * *unit);
                packet(*link, block.data, number, time, block.origlen).map(Some)
            }
            PcapBlockOwned::NG(block) => match self {
                Format::PcapNg(interfaces) => newer(interfaces, &block, number),
                Format::Pcap { .. } => Ok(None),
            },
        }
    }

    fn of(header: &PcapHeader) -> Result<Format, Problem> {
        link::known(header.network)?;
        let unit = if header.is_nanosecond_precision() { 1 } else { 1000 };
        Ok(Format::Pcap { link: header.network, unit })
    }
}

fn newer(
    interfaces: &mut Vec<Interface>,
    block: &Block<'_>,
    number: u64,
) -> Result<Option<Packet>, Problem> {
    match block {
        Block::SectionHeader(_) => interfaces.clear(),
        Block::InterfaceDescription(about) => {
            if interfaces.len() == MOST_INTERFACES {
                return Err(format!("more than {MOST_INTERFACES} interfaces"));
            }
            interfaces.push(Interface {
                link: about.linktype,
                longest: about.snaplen,
                resolution: about.ts_resolution().filter(|units| *units > 0).unwrap_or(1_000_000),
                offset: about.ts_offset(),
            });
        }
        Block::EnhancedPacket(block) => {
            let interface = interfaces.get(block.if_id as usize).ok_or_else(|| {
                format!("packet {number}: of interface {}, which there is not", block.if_id)
            })?;
            let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
            let time = interface.time(units);
            return packet(interface.link, block.packet_data(), number, time, block.origlen)
                .map(Some);
        }
        Block::SimplePacket(block) => {
            let Some(interface) = interfaces.first() else {
                return Err(format!("packet {number}: of an interface that there is not"));
            };
            let longest = if interface.longest == 0 { u32::MAX } else { interface.longest };
            let data = block.packet_data();
            let data = data.get(..longest as usize).unwrap_or(data);
            return packet(interface.link, data, number, 0, block.origlen).map(Some);
        }
        Block::Unknown(block) if block.block_type == OBSOLETE_PACKET => {
            let rule = "has packets in obsolete blocks; editcap -F pcapng rewrites it";
            return Err(rule.to_owned());
        }
        _ => {}
    }
    Ok(None)
}

impl Interface {
    fn time(&self, units: u64) -> u64 {
        let since = u128::from(units) * NANOSECONDS / u128::from(self.resolution);
        let offset = i128::from(self.offset) * NANOSECONDS as i128;
        u64::try_from((since as i128).saturating_add(offset).max(0)).unwrap_or(u64::MAX)
    }
}

fn packet(
    link: Linktype,
    data: &[u8],
    number: u64,
    time: u64,
    length: u32,
) -> Result<Packet, Problem> {
    let bytes = link::ethernet(link, data).map_err(|why| format!("packet {number}: {why}"))?;
    // As much longer or shorter as the Ethernet header is than what was there before.
    let more = bytes.len() as i64 - data.len() as i64;
    let length = (i64::from(length) + more).clamp(0, u32::MAX.into()) as u32;
    let length = length.max(bytes.len() as u32);
    Ok(Packet { number, time, length, bytes })
}

fn problem(name: &str, error: &io::Error) -> Problem {
    format!("{name}: {}", crate::failure::without_number(error))
}

fn explain(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => "the file ends within a packet",
        PcapError::BufferTooSmall => "a packet of more than 1 MiB: the file is damaged",
        _ => "the file is damaged",
    }
    .to_owned()
}

/// Tells how much was read.
struct Counted<R> {
    source: R,
    progress: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.progress.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

/// Keeps the error that the parser does not hand on.
#[derive(Clone, Default)]
struct Trouble(Arc<Mutex<Option<io::Error>>>);

impl Trouble {
    fn put(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads as much as was asked for, unless the source ends: the parser takes less for the end. An
/// error ends it too, so that what came before is still read.
struct Full<R> {
    source: R,
    trouble: Trouble,
}

impl<R: Read> Read for Full<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.source.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.trouble.put(error);
                    break;
                }
            }
        }
        Ok(filled)
    }
}

fn fill(source: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let trouble = Trouble::default();
    let read = Full { source, trouble: trouble.clone() }.read(bytes)?;
    trouble.take().map_or(Ok(read), Err)
}

#[cfg(test)]
mod tests;
