//! Copies between private bytes and the region's words, which others may change meanwhile.
//!
//! A byte string in a region starts at a word and fills words in memory order; the last one may
//! be filled in part. Everything is read and written as whole relaxed words, so a copy is made of
//! words that were each there at some moment; whoever needs more checks a version afterwards.

use super::sync::{AtomicU64, Ordering::Relaxed};

/// Words that `bytes` bytes take.
pub(crate) const fn words(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

/// A word from up to 8 bytes, zero-padded.
#[inline(always)]
pub(crate) fn word_of(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
        return u64::from_ne_bytes(bytes);
    }
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return u64::from(u32::from_ne_bytes(bytes).to_le()).to_le();
    }
    let mut word = [0; 8];
    word[..len].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Copies out of a region. `from` has at least `words(to.len())` words.
#[inline(always)]
pub(crate) fn load(from: &[AtomicU64], to: &mut [u8]) {
    let from = &from[..words(to.len())];
    let (pairs, last) = from.as_chunks();
    let (whole, mut rest) = to.split_at_mut(to.len() / 16 * 16);
    for (chunk, pair) in whole.chunks_exact_mut(16).zip(pairs) {
        chunk.copy_from_slice(&two(pair));
    }
    // A pair that is filled in part, or a single word.
    for word in pairs.get(whole.len() / 16).map_or(last, |pair| pair) {
        let (here, after) = rest.split_at_mut(rest.len().min(8));
        here.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[..here.len()]);
        rest = after;
    }
}

/// Two words, read with one instruction where there is one. Each is one that was there: x86-64
/// processors read every aligned half of the sixteen bytes at once.
#[inline(always)]
fn two(words: &[AtomicU64; 2]) -> [u8; 16] {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom))))]
    {
        let both: core::arch::x86_64::__m128i;
        // SAFETY: reads sixteen bytes that the reference covers, as two relaxed loads would.
        unsafe {
            core::arch::asm!(
                "movdqu {both}, xmmword ptr [{words}]",
                words = in(reg) words,
                both = lateout(xmm_reg) both,
                options(readonly, nostack, preserves_flags),
            );
        }
        // SAFETY: sixteen bytes of any value are sixteen bytes of any value.
        unsafe { core::mem::transmute(both) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom)))))]
    {
        let mut bytes = [0; 16];
        let (low, high) = bytes.split_at_mut(8);
        low.copy_from_slice(&words[0].load(Relaxed).to_ne_bytes());
        high.copy_from_slice(&words[1].load(Relaxed).to_ne_bytes());
        bytes
    }
}

/// Copies into a region; the bytes after a last, partly filled word keep what they were, as
/// the kernel's copies of `value_size` bytes leave them.
#[inline(always)]
pub(crate) fn store(to: &[AtomicU64], from: &[u8]) {
    let to = &to[..words(from.len())];
    let mut chunks = from.chunks_exact(8);
    let mut words = to.iter();
    for (chunk, word) in (&mut chunks).zip(&mut words) {
        word.store(word_of(chunk), Relaxed);
    }
    let rest = chunks.remainder();
    if let (false, Some(word)) = (rest.is_empty(), words.next()) {
        let mut merged = word.load(Relaxed).to_ne_bytes();
        merged[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_ne_bytes(merged), Relaxed);
    }
}

/// Copies into a region from byte `skip` (less than 8) of the first word on. Words that are filled
/// in part are exchanged, so that what others write to their other bytes at the same time stays.
pub(crate) fn store_at(to: &[AtomicU64], skip: usize, from: &[u8]) {
    let (first, rest) = from.split_at(from.len().min((8 - skip) % 8));
    let (to_first, to_rest) = to.split_at(usize::from(!first.is_empty()));
    if let Some(word) = to_first.first() {
        store_part(word, skip, first);
    }
    let chunks = rest.chunks_exact(8);
    let last = chunks.remainder();
    let mut words = to_rest.iter();
    for (chunk, word) in chunks.zip(&mut words) {
        word.store(word_of(chunk), Relaxed);
    }
    if let (false, Some(word)) = (last.is_empty(), words.next()) {
        store_part(word, 0, last);
    }
}

fn store_part(word: &AtomicU64, at: usize, bytes: &[u8]) {
    use super::sync::Ordering::AcqRel;
    let mut old = word.load(Relaxed);
    loop {
        let mut merged = old.to_ne_bytes();
        merged[at..at + bytes.len()].copy_from_slice(bytes);
        match word.compare_exchange_weak(old, u64::from_ne_bytes(merged), AcqRel, Relaxed) {
            Ok(_) => return,
            Err(now) => old = now,
        }
    }
}

/// Copies from one place in a region to another of the same length.
#[inline(always)]
pub(crate) fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    for (from, to) in from.iter().zip(to) {
        to.store(from.load(Relaxed), Relaxed);
    }
}

/// The same, but for the four bytes at `lock` (a `bpf_spin_lock`), which stay.
pub(crate) fn copy_around(from: &[AtomicU64], to: &[AtomicU64], lock: usize) {
    use super::sync::Ordering::AcqRel;
    for (index, (from, to)) in from.iter().zip(to).enumerate() {
        let fresh = from.load(Relaxed);
        if index != lock / 8 {
            to.store(fresh, Relaxed);
            continue;
        }
        let mut mask = [0xff_u8; 8];
        mask[lock % 8..lock % 8 + 4].fill(0);
        let mask = u64::from_ne_bytes(mask);
        let mut old = to.load(Relaxed);
        while let Err(now) =
            to.compare_exchange_weak(old, old & !mask | fresh & mask, AcqRel, Relaxed)
        {
            old = now;
        }
    }
}

/// Fills `len` bytes with zeros; what is after them in the last word stays.
#[inline(always)]
pub(crate) fn zero(words: &[AtomicU64], len: usize) {
    let (whole, rest) = (len / 8, len % 8);
    for word in &words[..whole] {
        word.store(0, Relaxed);
    }
    if rest > 0 {
        store(&words[whole..], &[0; 8][..rest]);
    }
}

/// Whether a region's bytes are these.
#[inline(always)]
pub(crate) fn equal(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let words = &words[..self::words(bytes.len())];
    let mut chunks = bytes.chunks_exact(8);
    let mut differ = 0;
    for (chunk, word) in (&mut chunks).zip(words) {
        differ |= word.load(Relaxed) ^ word_of(chunk);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        // By a mask: clearing bytes of a copy in memory and loading it again waits for both.
        let kept = (u64::MAX >> (64 - 8 * rest.len())).to_le();
        let last = words[bytes.len() / 8].load(Relaxed) & kept;
        differ |= last ^ word_of(rest);
    }
    differ == 0
}

/// Adds to the number of `width` bytes (1, 2, 4 or 8) that starts at a byte of a word, with the
/// wrap-around of the kernel's atomics; gives the sum. Always a whole-word operation, so that
/// it is atomic against every other writer of the word.
#[inline(always)]
pub(crate) fn add(word: &AtomicU64, byte: usize, width: usize, delta: u64) -> u64 {
    use super::sync::Ordering::AcqRel;
    if width == 8 {
        return word.fetch_add(delta, AcqRel).wrapping_add(delta);
    }
    let mut old = word.load(Relaxed);
    loop {
        let mut bytes = old.to_ne_bytes();
        let number = &mut bytes[byte..byte + width];
        let sum = widen(number).wrapping_add(delta);
        narrow(sum, number);
        let sum = widen(number);
        match word.compare_exchange_weak(old, u64::from_ne_bytes(bytes), AcqRel, Relaxed) {
            Ok(_) => return sum,
            Err(now) => old = now,
        }
    }
}

/// The same in a word's first bytes, by who is the only one to write to the word now.
#[inline(always)]
pub(crate) fn add_alone(word: &AtomicU64, width: usize, delta: u64) -> u64 {
    use super::sync::Ordering::Release;
    let old = word.load(Relaxed);
    if width == 8 {
        let sum = old.wrapping_add(delta);
        word.store(sum, Release);
        return sum;
    }
    let mut bytes = old.to_ne_bytes();
    let number = &mut bytes[..width];
    let sum = widen(number).wrapping_add(delta);
    narrow(sum, number);
    let sum = widen(number);
    word.store(u64::from_ne_bytes(bytes), Release);
    sum
}

/// A number of 1, 2, 4 or 8 bytes in the machine's order.
pub(crate) fn widen(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        _ => word_of(&bytes[..8.min(bytes.len())]),
    }
}

/// The low bytes of a number, in the machine's order.
pub(crate) fn narrow(number: u64, bytes: &mut [u8]) {
    match bytes.len() {
        1 => bytes.copy_from_slice(&(number as u8).to_ne_bytes()),
        2 => bytes.copy_from_slice(&(number as u16).to_ne_bytes()),
        4 => bytes.copy_from_slice(&(number as u32).to_ne_bytes()),
        _ => bytes.copy_from_slice(&number.to_ne_bytes()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn region(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    #[test]
    fn round_trip_of_every_length() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len as u8).map(|byte| byte ^ 0x5a).collect();
            let words = region(words(len));
            store(&words, &bytes);
            assert!(equal(&words, &bytes));
            let mut back = vec![0; len];
            load(&words, &mut back);
            assert_eq!(back, bytes);
            if len > 0 {
                let mut other = bytes.clone();
                other[len - 1] ^= 1;
                assert!(!equal(&words, &other));
            }
            if len % 8 != 0 {
                let last = words[len / 8].load(Relaxed).to_ne_bytes();
                assert!(last[len % 8..].iter().all(|byte| *byte == 0xff), "padding stays");
            }
        }
    }

    #[test]
    fn stores_at_any_byte() {
        for skip in 0..8 {
            for len in 0..30 {
                let words = region(6);
                let bytes: Vec<u8> = (0..len as u8).collect();
                store_at(&words[..words_of(skip + len)], skip, &bytes);
                let mut all = [0; 48];
                load(&words, &mut all);
                assert_eq!(all[skip..skip + len], bytes);
                assert!(all[..skip].iter().chain(&all[skip + len..]).all(|byte| *byte == 0xff));
            }
        }
    }

    fn words_of(bytes: usize) -> usize {
        super::words(bytes)
    }

    #[test]
    fn add_wraps_at_its_width_and_leaves_the_neighbours() {
        for width in [1usize, 2, 4, 8] {
            let word = AtomicU64::new(u64::MAX);
            assert_eq!(add(&word, 0, width, 2), 1);
            let bytes = word.load(Relaxed).to_ne_bytes();
            assert_eq!(widen(&bytes[..width]), 1);
            assert!(bytes[width..].iter().all(|byte| *byte == 0xff));
        }
    }
}
