//! `bpf_trace_printk`, `bpf_trace_vprintk`, `bpf_snprintf`.

use super::arguments::{Called, errno, fail, room, size, spend_on_bytes, text, with_bytes};
use super::format::{self, Source};
use super::memory::text_at;
use crate::run::{Run, Stop};

/// The longest line (`MAX_BPRINTF_BUF`, with its NUL).
const LINE: usize = 1024 - 1;
/// The most arguments (`MAX_BPRINTF_VARARGS`).
const ARGUMENTS: usize = 12;

impl Source for Run<'_> {
    fn text(&self, address: u64, room: usize) -> Option<Vec<u8>> {
        text_at(self, address, room)
    }

    fn bytes(&self, address: u64, to: &mut [u8]) -> bool {
        self.memory.read(address, to).is_ok()
    }
}

/// `bpf_trace_printk(format, size, ...)`, with up to three arguments in registers.
pub(super) fn printk(run: &mut Run<'_>, [format, bytes, one, two, three]: [u64; 5]) -> Called {
    line(run, format, bytes, &[one, two, three])
}

/// `bpf_trace_vprintk(format, size, arguments, size)`
pub(super) fn vprintk(run: &mut Run<'_>, [format, bytes, data, data_bytes, _]: [u64; 5]) -> Called {
    match arguments(run, data, data_bytes)? {
        Some((array, count)) => line(run, format, bytes, &array[..count]),
        None => fail(libc::EINVAL),
    }
}

/// Prints a line; gives how long it is, even where not all of it is shown.
fn line(run: &mut Run<'_>, format: u64, bytes: u64, arguments: &[u64]) -> Called {
    let Some(format) = text(run.memory, format, u64::from(bytes as u32))? else {
        return fail(libc::EINVAL);
    };
    spend_on_bytes(run, format.len() as u64)?;
    match format::print(&format, arguments, run, LINE) {
        Ok(printed) => {
            if let Some(trace) = &run.vm.trace {
                let mut line = String::from_utf8_lossy(&printed.bytes).into_owned();
                if !line.ends_with('\n') {
                    line.push('\n');
                }
                trace(&line);
            }
            Ok(printed.length)
        }
        Err(number) => fail(number),
    }
}

/// `bpf_snprintf(to, size, format, arguments, size)`: gives the length with the NUL, of all of it.
pub(super) fn snprintf(
    run: &mut Run<'_>,
    [to, bytes, format, data, data_bytes]: [u64; 5],
) -> Called {
    let bytes = size("bpf_snprintf", bytes)?;
    let Some((array, count)) = arguments(run, data, data_bytes)? else {
        return fail(libc::EINVAL);
    };
    let Some(format) = text(run.memory, format, super::arguments::MOST)? else {
        return fail(libc::EINVAL);
    };
    spend_on_bytes(run, (format.len() + bytes) as u64)?;
    // Room first, so that a bad address is a fault whatever is printed.
    drop(room(run.memory, to, bytes)?);
    match format::print(&format, &array[..count], run, bytes.saturating_sub(1)) {
        Ok(mut printed) => {
            printed.bytes.push(0);
            let kept = printed.bytes.len().min(bytes);
            run.memory.write(to, &printed.bytes[..kept])?;
            Ok(printed.length + 1)
        }
        Err(number) => Ok(errno(number)),
    }
}

/// Arguments in memory, 8 bytes each; nothing if the kernel refuses their size.
fn arguments(
    run: &Run<'_>,
    data: u64,
    bytes: u64,
) -> Result<Option<([u64; ARGUMENTS], usize)>, Stop> {
    let bytes = u64::from(bytes as u32) as usize;
    let count = bytes / 8;
    if !bytes.is_multiple_of(8) || count > ARGUMENTS || bytes > 0 && data == 0 {
        return Ok(None);
    }
    with_bytes(run.memory, data, bytes, |bytes| {
        let mut array = [0; ARGUMENTS];
        for (value, bytes) in array.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *value = u64::from_ne_bytes(*bytes);
        }
        Some((array, count))
    })
}
