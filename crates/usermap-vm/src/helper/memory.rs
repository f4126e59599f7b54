//! Reads of any address: of the program's own memory. All other addresses read as the kernel
//! reads a bad one: zeros, and EFAULT.

use super::arguments::{Called, clear, errno, fail, room, size, spend_on_bytes};
use crate::run::Run;

/// `bpf_probe_read(to, size, from)`, of kernel and user memory alike, and `bpf_copy_from_user`.
pub(super) fn probe_read(run: &mut Run<'_>, [to, bytes, from, ..]: [u64; 5]) -> Called {
    let bytes = size("bpf_probe_read", bytes)?;
    spend_on_bytes(run, bytes as u64)?;
    let mut copy = room(run.memory, to, bytes)?;
    let read = run.memory.read(from, &mut copy);
    if read.is_err() {
        copy.fill(0);
    }
    run.memory.write(to, &copy)?;
    Ok(read.map_or(errno(libc::EFAULT), |()| 0))
}

/// `bpf_probe_read_str(to, size, from)`: up to a NUL, or to what there is room for; gives the
/// bytes written, with the NUL.
pub(super) fn probe_read_text(run: &mut Run<'_>, [to, bytes, from, ..]: [u64; 5]) -> Called {
    let bytes = size("bpf_probe_read_str", bytes)?;
    if bytes == 0 {
        return Ok(0);
    }
    run.memory.check(to, bytes as u64, true)?;
    spend_on_bytes(run, bytes as u64)?;
    match text_at(run, from, bytes) {
        Some(text) => {
            run.memory.write(to, &text)?;
            Ok(text.len() as u64)
        }
        None => {
            clear(run.memory, to, bytes as u64)?;
            fail(libc::EFAULT)
        }
    }
}

/// A text with its NUL, cut to `room` bytes; nothing if it leads out of the program's memory.
pub(super) fn text_at(run: &Run<'_>, from: u64, room: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() + 1 < room {
        let byte = run.memory.load(from.wrapping_add(text.len() as u64), 1).ok()? as u8;
        text.push(byte);
        if byte == 0 {
            return Some(text);
        }
    }
    text.push(0);
    Some(text)
}
