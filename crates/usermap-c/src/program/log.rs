//! The log that a loader asks for: its rules, and how a text too long for it is cut
//! (`kernel/bpf/log.c`).

use crate::attr::Attr;
use usermap::Result;
use usermap::abi::errno;

/// Keep the first part of a text that does not fit; else the last one is kept.
const FIXED: u32 = 8;
/// Everything that a level may have.
const LEVELS: u32 = 0xf;
/// `log_true_size` and where it ends.
const TRUE_SIZE: (u64, u32) = (140, 144);

/// A log.
pub(super) struct Log {
    level: u32,
    size: u32,
    address: u64,
    text: String,
}

impl Log {
    /// As the attribute asks for it.
    pub(super) fn new(attr: &Attr) -> Result<Log> {
        let (level, size, address) = (attr.u32(24), attr.u32(28), attr.u64(32));
        let lone = (address == 0) != (size == 0) || address != 0 && level == 0;
        if lone || level & !LEVELS != 0 || size > u32::MAX >> 2 {
            return Err(attr.invalid("a log has an address, a size and a level, or none of them"));
        }
        Ok(Log { level, size, address, text: String::new() })
    }

    /// Says something.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// What was said.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Gives the caller what was said; ENOSPC if that was more than the log holds.
    pub(super) fn finish(&self, attr: &Attr) -> Result<()> {
        let said = self.text.len() + 1;
        let asked = self.level != 0 && !self.text.is_empty();
        let given = if asked && self.address != 0 { self.give(attr) } else { Ok(()) };
        if attr.reaches(TRUE_SIZE.1) {
            attr.put(TRUE_SIZE.0, if asked { said as u32 } else { 0 })?;
        }
        given
    }

    fn give(&self, attr: &Attr) -> Result<()> {
        let mut bytes = self.text.clone().into_bytes();
        bytes.push(0);
        let said = bytes.len();
        let size = self.size as usize;
        if said > size {
            if self.level & FIXED == 0 {
                bytes.drain(..said - size);
            }
            bytes.truncate(size);
            if let Some(last) = bytes.last_mut() {
                *last = 0;
            }
        }
        attr.copy_out(self.address, &bytes)?;
        match said > size {
            true => Err(attr.error("the log is too small", errno::ENOSPC)),
            false => Ok(()),
        }
    }
}
