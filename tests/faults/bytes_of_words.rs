//! Wrong on purpose, for Miri: bytes of a region seen as a slice, while another thread stores to it.
//! That is what `mem/bytes.rs` is there to avoid.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static REGION: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

fn main() {
    let writer = std::thread::spawn(|| REGION.iter().for_each(|word| word.store(7, Relaxed)));
    // SAFETY: there is none: somebody stores to what the slice promises to be constant.
    let bytes = unsafe { std::slice::from_raw_parts(REGION.as_ptr().cast::<u8>(), 64) };
    println!("{}", bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    writer.join().unwrap();
}
