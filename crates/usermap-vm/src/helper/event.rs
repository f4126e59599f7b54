//! `bpf_perf_event_output`, and what it puts events into: `PERF_EVENT_ARRAY`, a queue for each CPU
//! slot, of this process.

use super::arguments::{Called, MOST, context, copy, fail, spend_on_bytes};
use crate::context::Kind;
use crate::run::{Run, Stop, Storage, wrong};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which of the flags say which queue.
const INDEX: u64 = 0xffff_ffff;
/// The queue of the CPU slot that the program runs on (`BPF_F_CURRENT_CPU`).
const CURRENT_CPU: u64 = INDEX;
/// Which of the flags say how much of the packet is put behind the data.
const PACKET: u64 = 0xf_ffff << 32;
/// Bytes that a queue holds; each event counts with `EACH` more.
const QUEUE_BYTES: usize = 1 << 20;
const EACH: usize = 64;
/// The most queues.
const QUEUES: u32 = usermap::abi::limit::CPUS;

/// What a program put out.
///
/// ```
/// fn show(event: &usermap_vm::Event) {
///     println!("slot {}: {} bytes", event.cpu, event.data.len());
/// }
/// # let _ = show;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The CPU slot that the program ran on.
    pub cpu: u32,
    /// The program's bytes; then as much of the packet as it asked for.
    pub data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Queue {
    /// With the numbers of their order.
    events: VecDeque<(u64, Event)>,
    bytes: usize,
    lost: u64,
}

#[derive(Debug)]
struct Queues {
    queues: Vec<Mutex<Queue>>,
    /// Events so far, in all queues.
    sequence: AtomicU64,
}

/// `PERF_EVENT_ARRAY`: events that programs put out.
#[derive(Debug)]
pub(crate) struct EventArray {
    shared: Arc<Queues>,
    max_entries: u32,
}

/// Reads the events of a `PERF_EVENT_ARRAY`, oldest first. Readers of one map share its events:
/// each event goes to one of them.
#[derive(Clone, Debug)]
pub struct Events {
    shared: Arc<Queues>,
}

impl EventArray {
    /// One with so many queues.
    pub(crate) fn new(max_entries: u32) -> EventArray {
        let queues = (0..max_entries.min(QUEUES)).map(|_| Mutex::default()).collect();
        let shared = Arc::new(Queues { queues, sequence: AtomicU64::new(0) });
        EventArray { shared, max_entries }
    }

    /// One that nobody reads, as the kernel's is before a program of the host opens its queues.
    pub(crate) fn unread(max_entries: u32) -> EventArray {
        EventArray { max_entries, ..EventArray::new(0) }
    }

    /// Puts an event into a queue.
    ///
    /// # Errors
    ///
    /// ENOSPC if that is full, which counts as lost.
    pub(crate) fn output(&self, cpu: u32, data: Vec<u8>) -> Result<(), i32> {
        let Some(mut queue) = self.shared.queue(cpu as usize) else { return Err(libc::ENOENT) };
        let bytes = data.len() + EACH;
        if queue.bytes + bytes > QUEUE_BYTES {
            queue.lost += 1;
            return Err(libc::ENOSPC);
        }
        let number = self.shared.sequence.fetch_add(1, Ordering::Relaxed);
        queue.bytes += bytes;
        queue.events.push_back((number, Event { cpu, data }));
        Ok(())
    }

    /// A reader of them.
    pub(crate) fn reader(&self) -> Events {
        Events { shared: self.shared.clone() }
    }
}

impl Queues {
    fn queue(&self, index: usize) -> Option<MutexGuard<'_, Queue>> {
        let queue = self.queues.get(index)?;
        Some(queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&self) -> impl Iterator<Item = (usize, MutexGuard<'_, Queue>)> {
        (0..self.queues.len()).filter_map(|index| Some((index, self.queue(index)?)))
    }
}

impl Events {
    /// The oldest event; nothing if there is none.
    ///
    /// Not an iterator, as there may be another one later.
    pub fn next(&self) -> Option<Event> {
        let oldest = self.shared.all().filter_map(|(index, queue)| {
            let (number, _) = queue.events.front()?;
            Some((*number, index))
        });
        let (_, index) = oldest.min()?;
        let mut queue = self.shared.queue(index)?;
        let (_, event) = queue.events.pop_front()?;
        queue.bytes -= event.data.len() + EACH;
        Some(event)
    }

    /// All events that there are now, oldest first.
    pub fn drain(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (_, mut queue) in self.shared.all() {
            queue.bytes = 0;
            events.extend(std::mem::take(&mut queue.events));
        }
        events.sort_by_key(|(number, _)| *number);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// How many events found no room, so far.
    pub fn lost(&self) -> u64 {
        self.shared.all().map(|(_, queue)| queue.lost).sum()
    }
}

/// `bpf_perf_event_output(context, map, flags, data, size)`
pub(super) fn output(run: &mut Run<'_>, arguments: [u64; 5]) -> Called {
    const NAME: &str = "bpf_perf_event_output";
    let [own, map, flags, data, bytes] = arguments;
    let kind = run.packet.kind;
    context(run, NAME, own, kind)?;
    let loaded = run.map(NAME, map)?;
    let Storage::Events(events) = &loaded.storage else {
        return Err(wrong(NAME, format!("map {} takes no events", loaded.name)).into());
    };
    let has_packet = matches!(kind, Kind::Xdp | Kind::Skb);
    let taken = if has_packet { INDEX | PACKET } else { INDEX };
    if flags & !taken != 0 {
        return fail(libc::EINVAL);
    }
    let of_packet = (flags & PACKET) >> 32;
    if of_packet > run.packet.length() {
        return fail(libc::EFAULT);
    }
    let index = match flags & INDEX {
        CURRENT_CPU => run.cpu,
        index => index as u32,
    };
    if index >= events.max_entries {
        return fail(libc::E2BIG);
    }
    if events.shared.queues.is_empty() {
        return fail(libc::ENOENT);
    }
    if index != run.cpu {
        return fail(libc::EOPNOTSUPP);
    }
    let event = event_data(run, data, bytes, of_packet)?;
    match event.map(|event| events.output(index, event)) {
        Some(Ok(())) => Ok(0),
        Some(Err(number)) => fail(number),
        None => fail(libc::E2BIG),
    }
}

/// The program's bytes and the packet's; nothing if they are too many.
fn event_data(
    run: &mut Run<'_>,
    data: u64,
    bytes: u64,
    of_packet: u64,
) -> Result<Option<Vec<u8>>, Stop> {
    if bytes > MOST || bytes + of_packet > MOST {
        return Ok(None);
    }
    spend_on_bytes(run, bytes + of_packet)?;
    let mut event = match bytes {
        0 => Vec::new(),
        bytes => copy(run.memory, data, bytes as usize)?,
    };
    if of_packet > 0 {
        event.extend(copy(run.memory, run.packet.data, of_packet as usize)?);
    }
    Ok(Some(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_first_and_no_more_than_fit() {
        let array = EventArray::new(2);
        let events = array.reader();
        for (cpu, byte) in [(1, 10), (0, 11), (1, 12)] {
            array.output(cpu, vec![byte]).unwrap();
        }
        assert_eq!(array.output(2, vec![0]), Err(libc::ENOENT));
        assert_eq!(events.next(), Some(Event { cpu: 1, data: vec![10] }));
        let rest: Vec<_> = events.drain().into_iter().map(|event| event.data[0]).collect();
        assert_eq!((rest, events.next(), events.lost()), (vec![11, 12], None, 0));
        let large = vec![0; 1 << 16];
        while array.output(0, large.clone()).is_ok() {}
        assert_eq!(array.output(0, large.clone()), Err(libc::ENOSPC));
        assert_eq!(array.output(1, large), Ok(()));
        assert_eq!((events.lost(), events.drain().len()), (2, 16));
    }
}
