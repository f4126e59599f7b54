//! Wrong on purpose, for AddressSanitizer: an index that was read from a region is used as it is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn main() {
    let region: Vec<AtomicU64> = (0..8).map(AtomicU64::new).collect();
    let hostile = std::env::args().count() as u64 + 7;
    region[0].store(hostile, Relaxed);
    let index = region[0].load(Relaxed) as usize;
    // SAFETY: there is none: nobody compared the index with the length.
    println!("{}", unsafe { &*region.as_ptr().add(index) }.load(Relaxed));
}
