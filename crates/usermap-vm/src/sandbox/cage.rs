//! The memory of running programs: one reserved range of addresses, of which only what a program
//! may use is mapped.
//!
//! ```text
//! 0           never mapped: NULL, and what maps and functions have instead of addresses
//! STACK       8 frames of 512 bytes, the first at the top
//! CONTEXT     xdp_md, __sk_buff, or a context given as bytes
//! SCRATCH     what helpers show to callbacks: keys, counters
//! PACKET      headroom, the packet, tailroom
//! MAPS        the values of each map, mapped from the map's own region
//! ```
//!
//! A program's address is an offset here, and only its lower bits count: every access is at
//! `base + (address & mask)`. So nothing that a program computes leads out of the range; what is
//! not mapped in it is a fault. Parts are whole pages with unmapped pages between them, and both
//! engines fault at the same addresses. A thread that runs programs has a cage of its own.
//!
//! Memory here may change at any time (a map's is shared with other processes), so it is only
//! accessed by atomic operations, and never seen as a slice.

use crate::error::FaultKind;
use rustix::fd::BorrowedFd;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Bytes of a page, of which all parts are multiples.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a large page, of which the base is a multiple.
pub(crate) const HUGE: u64 = 2 << 20;
/// Bytes of a stack frame (`MAX_BPF_STACK`).
pub(crate) const FRAME: u64 = 512;
/// Frames (`MAX_CALL_FRAMES`).
pub(crate) const FRAMES: u64 = 8;
/// Where the stack starts: its lowest address.
pub(crate) const STACK: u64 = 0x10_0000;
/// The frame pointer (r10) of the first frame.
pub(crate) const STACK_TOP: u64 = STACK + FRAME * FRAMES;
/// Where the context is.
pub(crate) const CONTEXT: u64 = 0x20_0000;
/// Bytes for it.
pub(crate) const CONTEXT_BYTES: u64 = 0x1_0000;
/// What helpers show to callbacks.
pub(crate) const SCRATCH: u64 = 0x30_0000;
/// Bytes for that.
pub(crate) const SCRATCH_BYTES: u64 = 0x1_0000;
/// Where the packet's memory is, headroom first.
pub(crate) const PACKET: u64 = 0x40_0000;
/// Bytes for it.
pub(crate) const PACKET_BYTES: u64 = 0x2_0000;
/// How far apart are the parts that every cage has, which can be written to.
const ALWAYS_APART: u64 = 0x10_0000;
/// How long these are, by their number.
const ALWAYS: [u64; 5] = [0, FRAME * FRAMES, CONTEXT_BYTES, SCRATCH_BYTES, PACKET_BYTES];
const _: () = assert!(STACK == ALWAYS_APART && CONTEXT == 2 * ALWAYS_APART);
const _: () = assert!(SCRATCH == 3 * ALWAYS_APART && PACKET == 4 * ALWAYS_APART);
/// Where maps start.
pub(crate) const MAPS: u64 = 0x100_0000;
/// Bits of the smallest cage.
pub(crate) const SMALLEST: u32 = 32;
/// Bits of the largest.
pub(crate) const LARGEST: u32 = 40;
/// Unmapped bytes before the start and after the end: machine code adds an instruction's offset,
/// of 16 bits, to an address that is within.
const AROUND: u64 = 0x1_0000;
/// Where, from the base, machine code finds its run: on a page before all that an address of a
/// program leads to, so that no register is kept for it.
pub(crate) const RUN: i32 = -((AROUND + PAGE) as i32);
/// Where it finds the run's CPU slot, in 64 bits.
pub(crate) const CPU: i32 = RUN + 8;

/// A mapped part.
#[derive(Debug)]
struct Part {
    name: Arc<str>,
    start: u64,
    end: u64,
    writable: bool,
}

/// The memory of one runner of programs.
#[derive(Debug)]
pub(crate) struct Cage {
    /// Where the reservation starts.
    start: NonNull<u8>,
    base: NonNull<u8>,
    mask: u64,
    /// By address.
    parts: Vec<Part>,
}

// SAFETY: the memory stays mapped as long as the cage exists, and is accessed by atomics only.
unsafe impl Send for Cage {}
// SAFETY: as above.
unsafe impl Sync for Cage {}

/// What an atomic operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Atomic {
    Add,
    Or,
    And,
    Xor,
    Exchange,
    /// With what r0 has.
    CompareExchange(u64),
}

impl Cage {
    /// A range of `2^bits` addresses with a stack, a context, a packet and scratch memory.
    pub(crate) fn new(bits: u32) -> rustix::io::Result<Cage> {
        let mask = (1_u64 << bits.clamp(SMALLEST, LARGEST)) - 1;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address that the kernel chooses aliases nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                reserved(mask),
                ProtFlags::empty(),
                flags,
            )?
        };
        let start = NonNull::new(start.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        let before = start.addr().get() + (AROUND + PAGE) as usize;
        let before = before.next_multiple_of(HUGE as usize);
        // SAFETY: within the reservation.
        let base = unsafe { start.add(before - start.addr().get()) };
        let mut cage = Cage { start, base, mask, parts: Vec::new() };
        // SAFETY: the page is within this cage's own reservation.
        unsafe {
            let page = base.as_ptr().offset(RUN as isize);
            rustix::mm::mprotect(
                page.cast(),
                PAGE as usize,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )?;
        }
        cage.open("the stack", STACK, FRAME * FRAMES)?;
        cage.open("the context", CONTEXT, CONTEXT_BYTES)?;
        cage.open("scratch memory", SCRATCH, SCRATCH_BYTES)?;
        cage.open("the packet", PACKET, PACKET_BYTES)?;
        Ok(cage)
    }

    /// Where it starts, for machine code.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Notes where machine code finds the run.
    pub(crate) fn note_run(&self, run: usize, cpu: u32) {
        // SAFETY: both are on the page that `new` made writable, at multiples of 8, and only ever
        // accessed as atomics or by machine code.
        let [run_at, cpu_at] = [RUN, CPU]
            .map(|at| unsafe { AtomicU64::from_ptr(self.base().offset(at as isize).cast()) });
        run_at.store(run as u64, Ordering::Relaxed);
        cpu_at.store(cpu.into(), Ordering::Relaxed);
    }

    /// The bits of an address that count.
    pub(crate) fn mask(&self) -> u64 {
        self.mask
    }

    /// Makes private memory of a part.
    fn open(&mut self, name: &str, start: u64, length: u64) -> rustix::io::Result<()> {
        // SAFETY: the range is within this cage's own reservation.
        unsafe {
            rustix::mm::mprotect(
                self.base().add(start as usize).cast(),
                length as usize,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )?;
        }
        self.add(name.into(), start, start + length, true);
        Ok(())
    }

    fn add(&mut self, name: Arc<str>, start: u64, end: u64, writable: bool) {
        let place = self.parts.partition_point(|part| part.start < start);
        self.parts.insert(place, Part { name, start, end, writable });
    }

    /// Maps part of a file; `start`, `offset` and `length` are multiples of a page.
    pub(crate) fn map(
        &mut self,
        name: Arc<str>,
        start: u64,
        file: BorrowedFd<'_>,
        (offset, length): (u64, u64),
        writable: bool,
    ) -> rustix::io::Result<()> {
        let end = start.checked_add(length).filter(|end| *end <= self.mask - AROUND);
        let overlaps = |part: &Part| part.start < start + length && start < part.end;
        let bad = |bytes: u64| !bytes.is_multiple_of(PAGE);
        let Some(end) = end else { return Err(rustix::io::Errno::NOMEM) };
        if bad(start) || bad(offset) || bad(length) || self.parts.iter().any(overlaps) {
            return Err(rustix::io::Errno::INVAL);
        }
        let write = if writable { ProtFlags::WRITE } else { ProtFlags::empty() };
        // SAFETY: the range is within this cage's own reservation and overlaps nothing that is
        // mapped there yet, so it only takes the place of pages that nobody can access.
        unsafe {
            rustix::mm::mmap(
                self.base().add(start as usize).cast(),
                length as usize,
                ProtFlags::READ | write,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                offset,
            )?;
        }
        self.add(name, start, end, writable);
        Ok(())
    }

    /// What an address is in, or just before or behind.
    pub(crate) fn describe(&self, address: u64) -> String {
        let address = address & self.mask;
        let after = self.parts.partition_point(|part| part.start <= address);
        let before = after.checked_sub(1).map(|index| &self.parts[index]);
        match (before, self.parts.get(after)) {
            _ if address < PAGE => "NULL".to_owned(),
            _ if address < STACK - PAGE => "a map or function, which has no memory".to_owned(),
            (Some(part), _) if address < part.end => part.name.to_string(),
            (Some(part), _) if address - part.end < PAGE => format!("behind {}", part.name),
            (_, Some(part)) if part.start - address <= PAGE => format!("before {}", part.name),
            _ => "outside of everything".to_owned(),
        }
    }

    /// The fault of an access.
    pub(crate) fn fault(&self, address: u64, size: u64, write: bool) -> FaultKind {
        let region = self.describe(address);
        FaultKind::Memory { address, size, write, region }
    }

    /// Where `size` bytes are, if they are the program's.
    #[inline(always)]
    fn locate(&self, address: u64, size: u64, write: bool) -> Result<*mut u8, FaultKind> {
        let start = address & self.mask;
        let within = start % ALWAYS_APART;
        if let Some(length) = ALWAYS.get((start / ALWAYS_APART) as usize)
            && within < *length
            && size <= *length - within
        {
            // SAFETY: what is always there is within the reservation.
            return Ok(unsafe { self.base().add(start as usize) });
        }
        self.locate_in_parts(address, size, write)
    }

    fn locate_in_parts(&self, address: u64, size: u64, write: bool) -> Result<*mut u8, FaultKind> {
        let start = address & self.mask;
        let after = self.parts.partition_point(|part| part.start <= start);
        let part = after.checked_sub(1).map(|index| &self.parts[index]);
        match part {
            Some(part)
                if start < part.end && size <= part.end - start && (part.writable || !write) =>
            {
                // SAFETY: parts are within the reservation.
                Ok(unsafe { self.base().add(start as usize) })
            }
            _ => Err(self.fault(address, size, write)),
        }
    }

    /// Loads a number of 1, 2, 4 or 8 bytes.
    #[inline(always)]
    pub(crate) fn load(&self, address: u64, size: u8) -> Result<u64, FaultKind> {
        let at = self.locate(address, size.into(), false)?;
        if !(at as usize).is_multiple_of(size.into()) {
            let mut bytes = [0; 8];
            copy_out(at, &mut bytes[..usize::from(size)]);
            return Ok(u64::from_le_bytes(bytes));
        }
        // SAFETY: `locate` found `size` mapped bytes, which stay mapped as long as the cage; they
        // are aligned, and only ever accessed as atomics or by machine code.
        Ok(unsafe {
            match size {
                1 => AtomicU8::from_ptr(at).load(Ordering::Relaxed).into(),
                2 => AtomicU16::from_ptr(at.cast()).load(Ordering::Relaxed).into(),
                4 => AtomicU32::from_ptr(at.cast()).load(Ordering::Relaxed).into(),
                _ => AtomicU64::from_ptr(at.cast()).load(Ordering::Relaxed),
            }
        })
    }

    /// Stores the lower 1, 2, 4 or 8 bytes of a number.
    #[inline(always)]
    pub(crate) fn store(&self, address: u64, size: u8, value: u64) -> Result<(), FaultKind> {
        let at = self.locate(address, size.into(), true)?;
        if !(at as usize).is_multiple_of(size.into()) {
            copy_in(at, &value.to_le_bytes()[..usize::from(size)]);
            return Ok(());
        }
        // SAFETY: as in `load`, and the part is writable.
        unsafe {
            match size {
                1 => AtomicU8::from_ptr(at).store(value as u8, Ordering::Relaxed),
                2 => AtomicU16::from_ptr(at.cast()).store(value as u16, Ordering::Relaxed),
                4 => AtomicU32::from_ptr(at.cast()).store(value as u32, Ordering::Relaxed),
                _ => AtomicU64::from_ptr(at.cast()).store(value, Ordering::Relaxed),
            }
        }
        Ok(())
    }

    /// An atomic operation on 1, 2, 4 or 8 aligned bytes; gives what was there before.
    pub(crate) fn atomic(
        &self,
        address: u64,
        size: u8,
        operation: Atomic,
        value: u64,
    ) -> Result<u64, FaultKind> {
        if !(address & self.mask).is_multiple_of(size.into()) {
            return Err(FaultKind::Misaligned { address });
        }
        let at = self.locate(address, size.into(), true)?;
        macro_rules! on {
            ($atomic:ty, $number:ty) => {{
                // SAFETY: as in `load`; the part is writable, the address aligned.
                let word = unsafe { <$atomic>::from_ptr(at.cast()) };
                let value = value as $number;
                let old = match operation {
                    Atomic::Add => word.fetch_add(value, Ordering::SeqCst),
                    Atomic::Or => word.fetch_or(value, Ordering::SeqCst),
                    Atomic::And => word.fetch_and(value, Ordering::SeqCst),
                    Atomic::Xor => word.fetch_xor(value, Ordering::SeqCst),
                    Atomic::Exchange => word.swap(value, Ordering::SeqCst),
                    Atomic::CompareExchange(expected) => {
                        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
                        word.compare_exchange(expected as $number, value, success, failure)
                            .unwrap_or_else(|old| old)
                    }
                };
                u64::from(old)
            }};
        }
        Ok(match size {
            1 => on!(AtomicU8, u8),
            2 => on!(AtomicU16, u16),
            4 => on!(AtomicU32, u32),
            _ => on!(AtomicU64, u64),
        })
    }

    /// Loads a number and orders what comes after it.
    pub(crate) fn load_acquire(&self, address: u64, size: u8) -> Result<u64, FaultKind> {
        self.check_aligned(address, size)?;
        let value = self.load(address, size);
        std::sync::atomic::fence(Ordering::Acquire);
        value
    }

    /// Stores a number after all that came before.
    pub(crate) fn store_release(
        &self,
        address: u64,
        size: u8,
        value: u64,
    ) -> Result<(), FaultKind> {
        self.check_aligned(address, size)?;
        std::sync::atomic::fence(Ordering::Release);
        self.store(address, size, value)
    }

    fn check_aligned(&self, address: u64, size: u8) -> Result<(), FaultKind> {
        match (address & self.mask).is_multiple_of(size.into()) {
            true => Ok(()),
            false => Err(FaultKind::Misaligned { address }),
        }
    }

    /// Whether `size` bytes are the program's to read, or to write.
    pub(crate) fn check(&self, address: u64, size: u64, write: bool) -> Result<(), FaultKind> {
        self.locate(address, size, write).map(|_| ())
    }

    /// Copies bytes out.
    pub(crate) fn read(&self, address: u64, to: &mut [u8]) -> Result<(), FaultKind> {
        if !to.is_empty() {
            copy_out(self.locate(address, to.len() as u64, false)?, to);
        }
        Ok(())
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, address: u64, from: &[u8]) -> Result<(), FaultKind> {
        if !from.is_empty() {
            copy_in(self.locate(address, from.len() as u64, true)?, from);
        }
        Ok(())
    }
}

/// How much is reserved for so large a cage: what is around it, too, and enough to start anywhere.
fn reserved(mask: u64) -> usize {
    (mask + 1 + 2 * AROUND + PAGE + HUGE) as usize
}

/// Copies from memory that others may write to: whole words where it can.
fn copy_out(from: *mut u8, to: &mut [u8]) {
    let head = from.align_offset(8).min(to.len());
    let (first, rest) = to.split_at_mut(head);
    let (words, last) = rest.as_chunks_mut::<8>();
    let bytes = |offset: usize, to: &mut [u8]| {
        for (index, byte) in to.iter_mut().enumerate() {
            // SAFETY: the caller has located `to.len()` bytes from `from` on in a cage.
            *byte = unsafe { AtomicU8::from_ptr(from.add(offset + index)) }.load(Ordering::Relaxed);
        }
    };
    bytes(0, first);
    for (index, word) in words.iter_mut().enumerate() {
        // SAFETY: as above; aligned, as `head` was skipped.
        let at = unsafe { AtomicU64::from_ptr(from.add(head + index * 8).cast()) };
        *word = at.load(Ordering::Relaxed).to_ne_bytes();
    }
    bytes(head + words.len() * 8, last);
}

/// Copies to memory that others may read.
fn copy_in(to: *mut u8, from: &[u8]) {
    let head = to.align_offset(8).min(from.len());
    let (first, rest) = from.split_at(head);
    let (words, last) = rest.as_chunks::<8>();
    let bytes = |offset: usize, from: &[u8]| {
        for (index, byte) in from.iter().enumerate() {
            // SAFETY: the caller has located `from.len()` writable bytes from `to` on in a cage.
            unsafe { AtomicU8::from_ptr(to.add(offset + index)) }.store(*byte, Ordering::Relaxed);
        }
    };
    bytes(0, first);
    for (index, word) in words.iter().enumerate() {
        // SAFETY: as above; aligned, as `head` was skipped.
        let at = unsafe { AtomicU64::from_ptr(to.add(head + index * 8).cast()) };
        at.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
    }
    bytes(head + words.len() * 8, last);
}

impl Drop for Cage {
    fn drop(&mut self) {
        // SAFETY: the reservation is this cage's own, and nothing refers into it any more: all
        // accesses go through `&self`.
        let unmapped =
            unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), reserved(self.mask)) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_all_there_is() {
        let cage = Cage::new(SMALLEST).unwrap();
        cage.store(STACK_TOP - 8, 8, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(cage.load(STACK_TOP - 7, 2), Ok(0x0607));
        // Only the lower bits of an address count.
        assert_eq!(cage.load(STACK_TOP - 8 + (7 << 32), 1), Ok(8));
        for (address, region) in [
            (0, "NULL"),
            (STACK_TOP, "behind the stack"),
            (STACK - 1, "before the stack"),
            (cage.mask(), "outside of everything"),
            (0x8000, "a map or function, which has no memory"),
        ] {
            let region = region.to_owned();
            let fault = FaultKind::Memory { address, size: 8, write: true, region };
            assert_eq!(cage.store(address, 8, 1), Err(fault));
        }
        assert!(cage.load(STACK_TOP - 4, 8).is_err());
    }

    #[test]
    fn copies_of_any_alignment() {
        let cage = Cage::new(SMALLEST).unwrap();
        let bytes: Vec<u8> = (1..40).collect();
        for skip in 0..9 {
            cage.write(PACKET + skip, &bytes).unwrap();
            let mut copy = vec![0; bytes.len()];
            cage.read(PACKET + skip, &mut copy).unwrap();
            assert_eq!(copy, bytes);
            assert_eq!(cage.load(PACKET + skip + 3, 4), Ok(0x0706_0504));
        }
    }

    #[test]
    fn atomics() {
        let cage = Cage::new(SMALLEST).unwrap();
        for size in [1, 2, 4, 8] {
            cage.store(STACK, 8, 0).unwrap();
            assert_eq!(cage.atomic(STACK, size, Atomic::Add, 5), Ok(0));
            assert_eq!(cage.atomic(STACK, size, Atomic::Xor, 1), Ok(5));
            assert_eq!(cage.atomic(STACK, size, Atomic::CompareExchange(4), 9), Ok(4));
            assert_eq!(cage.atomic(STACK, size, Atomic::CompareExchange(4), 7), Ok(9));
            assert_eq!(cage.atomic(STACK, size, Atomic::Exchange, 2), Ok(9));
            assert_eq!(cage.load(STACK, 8), Ok(2));
        }
        let misaligned = Err(FaultKind::Misaligned { address: STACK + 1 });
        assert_eq!(cage.atomic(STACK + 1, 2, Atomic::Add, 1), misaligned);
    }
}
