//! Writes captures: pcap with nanoseconds, of Ethernet frames; gzip where the file's name says so.

use super::Packet;
use crate::failure::without_number;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// pcap, with times in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// The longest packet that may be in it, as tcpdump has it.
const LONGEST: u32 = 262_144;
const ETHERNET: u32 = 1;

/// A capture that is being written.
pub struct Writer {
    name: String,
    to: To,
}

enum To {
    Plain(BufWriter<File>),
    Gzip(BufWriter<GzEncoder<File>>),
}

impl Writer {
    /// Creates the file, or empties it; unless it is the one that is read.
    pub fn create(path: &Path, source: &Path) -> Result<Writer, String> {
        let name = path.display().to_string();
        let same = |a: &Path, b: &Path| {
            let (a, b) = (std::fs::metadata(a).ok()?, std::fs::metadata(b).ok()?);
            Some(a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        if same(path, source) == Some(true) {
            return Err(format!("{name}: is the capture that is read; it would be lost"));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path);
        let file = file.map_err(|error| format!("{name}: {}", without_number(&error)))?;
        let to = match path.extension().is_some_and(|end| end == "gz") {
            true => To::Gzip(BufWriter::new(GzEncoder::new(file, Compression::default()))),
            false => To::Plain(BufWriter::with_capacity(1 << 16, file)),
        };
        let mut writer = Writer { name, to };
        writer.write(&header())?;
        Ok(writer)
    }

    /// Writes a packet.
    pub fn packet(&mut self, packet: &Packet) -> Result<(), String> {
        let mut record = Vec::with_capacity(16 + packet.bytes.len());
        let seconds = (packet.time / 1_000_000_000) as u32;
        let nanoseconds = (packet.time % 1_000_000_000) as u32;
        for word in [seconds, nanoseconds, packet.bytes.len() as u32, packet.length] {
            record.extend_from_slice(&word.to_le_bytes());
        }
        record.extend_from_slice(&packet.bytes);
        self.write(&record)
    }

    /// Writes what is still buffered.
    pub fn finish(self) -> Result<(), String> {
        let name = self.name;
        let ended = match self.to {
            To::Plain(mut file) => file.flush(),
            To::Gzip(file) => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|gzip| gzip.finish().map(|_| ())),
        };
        ended.map_err(|error| format!("{name}: {}", without_number(&error)))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = match &mut self.to {
            To::Plain(file) => file.write_all(bytes),
            To::Gzip(file) => file.write_all(bytes),
        };
        written.map_err(|error| format!("{}: {}", self.name, without_number(&error)))
    }
}

fn header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..6].copy_from_slice(&VERSION[0].to_le_bytes());
    header[6..8].copy_from_slice(&VERSION[1].to_le_bytes());
    header[16..20].copy_from_slice(&LONGEST.to_le_bytes());
    header[20..].copy_from_slice(&ETHERNET.to_le_bytes());
    header
}
