//! Pages of 2 MiB under a region: room for them, asking for them, counting them.
//!
//! A shared mapping can have them where its addresses are multiples of 2 MiB as its places in the
//! file are; so large regions are mapped at such addresses. To take them, a word of each 2 MiB is
//! read, so that there is a page to begin with, and `MADV_COLLAPSE` (Linux 6.1) puts one large page
//! in place of each 512. That works on a tmpfs, a memfd and anonymous memory whatever
//! `/sys/kernel/mm/transparent_hugepage` says, and for all who map the same file, because it is
//! the file's memory that changes; and it takes all of the memory at once.
//!
//! None of this changes what is in the region, so it needs no lock.

use super::sync::AtomicU64;
use core::ffi::c_void;
use core::ops::Range;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes of a large page.
pub(crate) const HUGE: usize = 2 << 20;

/// Words of one.
const PAGE: usize = HUGE / 8;
/// How many are asked for in one call: each waits for all CPUs once, and so may a long time on a
/// machine that is busy.
const GROUP: usize = 64;

/// How often a page is asked for that others are at just now.
const TRIES: u32 = 4;

/// Calls `map` with an address for a mapping of this many bytes from the file's byte `offset` on, and
/// the flags that put it there: if it is large enough, one where it can have large pages.
pub(crate) fn aligned(
    bytes: usize,
    offset: usize,
    map: impl Fn(*mut c_void, MapFlags) -> rustix::io::Result<*mut c_void>,
) -> rustix::io::Result<*mut c_void> {
    if bytes < HUGE {
        return map(core::ptr::null_mut(), MapFlags::empty());
    }
    let page = rustix::param::page_size();
    let bytes = bytes.next_multiple_of(page);
    // Addresses that nobody else has, of which only the aligned part is kept.
    let reserved = bytes + HUGE - page;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address that the kernel chooses aliases nothing.
    let start =
        unsafe { mmap_anonymous(core::ptr::null_mut(), reserved, ProtFlags::empty(), flags)? };
    let before = offset.wrapping_sub(start.addr()) % HUGE;
    let mapped = map(start.wrapping_byte_add(before), MapFlags::FIXED);
    let after = reserved - before - bytes;
    let kept = if mapped.is_ok() { bytes } else { 0 };
    let unused = match kept {
        0 => [(0, reserved), (0, 0)],
        kept => [(0, before), (before + kept, after)],
    };
    for (offset, bytes) in unused.into_iter().filter(|(_, bytes)| *bytes > 0) {
        // SAFETY: these addresses were reserved above, and nothing of use is there.
        let _ = unsafe { munmap(start.wrapping_byte_add(offset), bytes) };
    }
    mapped
}

/// The pages of 2 MiB that are wholly in this mapping, one after the other.
fn pages(words: &[AtomicU64]) -> &[AtomicU64] {
    let first = words.as_ptr().addr().wrapping_neg() % HUGE / 8;
    let words = words.get(first..).unwrap_or_default();
    &words[..words.len() / PAGE * PAGE]
}

/// Asks for large pages under all of a mapping, but for those in the bytes `except`, until one
/// is refused for good.
pub(crate) fn collapse(words: &[AtomicU64], except: Range<usize>) -> rustix::io::Result<()> {
    let pages = pages(words);
    let before = pages.as_ptr().addr() - words.as_ptr().addr();
    let last = pages.len() / PAGE;
    let from = except.start.saturating_sub(before).div_ceil(HUGE).min(last);
    let to = (except.end.saturating_sub(before) / HUGE).clamp(from, last);
    for part in [&pages[..from * PAGE], &pages[to * PAGE..]] {
        for some in part.chunks(GROUP * PAGE) {
            let mut tries = TRIES;
            while let Err(refused) = collapse_pages(some) {
                tries -= 1;
                if tries == 0 || !matches!(refused, Errno::AGAIN | Errno::BUSY) {
                    return Err(refused);
                }
            }
        }
    }
    Ok(())
}

fn collapse_pages(pages: &[AtomicU64]) -> rustix::io::Result<()> {
    pages.chunks(PAGE).for_each(touch);
    let start = pages.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: the range is in a mapping of the caller's; what is in it stays as it is.
    match unsafe { libc::madvise(start, size_of_val(pages), libc::MADV_COLLAPSE) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

fn touch(page: &[AtomicU64]) {
    core::hint::black_box(page[0].load(super::sync::Ordering::Relaxed));
}

/// Bytes of a mapping that large pages are under now.
pub(crate) fn count(words: &[AtomicU64]) -> u64 {
    // What this process has not used yet it has not mapped, in whatever pages it is.
    for page in pages(words).chunks(PAGE).filter(|page| is_resident(page)) {
        touch(page);
    }
    let Ok(maps) = std::fs::File::open("/proc/self/smaps") else { return 0 };
    let start = words.as_ptr().addr();
    mapped_in(std::io::BufReader::new(maps), start..start + size_of_val(words))
}

/// Whether a page's first 4 KiB are in memory: looking at a hole in a file would fill it.
fn is_resident(page: &[AtomicU64]) -> bool {
    let mut resident = 0_u8;
    let start = page.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: the range is in a mapping of the caller's, and there is a byte for its one page.
    unsafe { libc::mincore(start, 1, &mut resident) == 0 && resident & 1 == 1 }
}

/// What a process's smaps (proc_pid_smaps(5)) say of large pages in a range of addresses.
fn mapped_in(maps: impl std::io::BufRead, range: Range<usize>) -> u64 {
    let (mut inside, mut bytes) = (false, 0);
    for line in maps.lines().map_while(Result::ok) {
        if let Some(mapping) = addresses(&line) {
            // In the order of addresses.
            if mapping.start >= range.end {
                break;
            }
            inside = mapping.end > range.start;
        } else if inside && let Some((name, value)) = line.split_once(':') {
            let kib = value.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
            if matches!(name, "ShmemPmdMapped" | "FilePmdMapped" | "AnonHugePages") {
                bytes += kib * 1024;
            }
        }
    }
    bytes.min(range.len() as u64)
}

/// The addresses that the first line of a mapping begins with.
fn addresses(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(all(test, not(any(miri, loom))))]
mod tests {
    use super::*;

    #[test]
    fn large_mappings_are_aligned_and_small_ones_reserve_nothing() {
        for bytes in [HUGE, HUGE + 4096, 3 * HUGE - 8, 17 * HUGE] {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::SHARED | MapFlags::NORESERVE;
            // SAFETY: as in `Region::anonymous`, at addresses that `aligned` reserved.
            let map = |at, place| unsafe { mmap_anonymous(at, bytes, protection, flags | place) };
            let start = aligned(bytes, 4096, map).unwrap();
            assert_eq!(start.addr() % HUGE, 4096);
            // SAFETY: just mapped.
            unsafe { munmap(start, bytes).unwrap() };
        }
        let refused = aligned(HUGE, 0, |_, _| Err(Errno::NOMEM));
        assert_eq!(refused.unwrap_err(), Errno::NOMEM);
        let small = aligned(HUGE - 8, 0, |at, place| {
            assert!(at.is_null() && place.is_empty());
            Err(Errno::NOMEM)
        });
        assert!(small.is_err());
    }

    #[test]
    fn what_is_left_out_takes_no_memory() {
        let region = crate::mem::Region::anonymous(6 * HUGE).unwrap();
        let taken = region.take_huge_pages(HUGE - 8..4 * HUGE - 8);
        let resident: Vec<bool> = region.words().chunks(PAGE).map(is_resident).collect();
        match taken {
            Ok(()) => assert_eq!(resident, [true, false, false, true, true, true]),
            // Which the system may do; a page was looked at by then.
            Err(_) => assert!(!resident[1] && !resident[2]),
        }
        assert!(region.huge() <= 4 * HUGE as u64);
    }

    #[test]
    fn smaps() {
        let text = "\
            10000000-10200000 rw-s 00000000 00:01 1 /memfd:a (deleted)\nRss:     2048 kB\n\
            ShmemPmdMapped:     2048 kB\nVmFlags: rd wr sh\n\
            20000000-20800000 rw-s 00000000 00:01 2 /memfd:b (deleted)\n\
            AnonHugePages:         0 kB\nShmemPmdMapped:     4096 kB\nFilePmdMapped:  0 kB\n\
            30000000-30200000 rw-s 00000000 00:01 2 /memfd:b (deleted)\n\
            ShmemPmdMapped:     2048 kB\n";
        let of = |range| mapped_in(text.as_bytes(), range);
        assert_eq!(of(0x2000_0000..0x2080_0000), 4 << 20);
        assert_eq!(of(0x1000_0000..0x1020_0000), 2 << 20);
        assert_eq!(of(0x4000_0000..0x4020_0000), 0);
        assert_eq!(of(0x2000_0000..0x2020_0000), 2 << 20, "no more than there are");
    }
}
