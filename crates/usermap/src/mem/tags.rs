//! Comparing a byte of a hash with the twenty tags of a bucket at once.

/// Which of the tags in three words (8, 8 and the low 4 of the last) are the highest byte of
/// `hash`, as bits 0 to 19. What is in the higher bits means nothing.
#[inline(always)]
pub(crate) fn matching(tags: [u64; 3], hash: u64) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    {
        use core::arch::x86_64::*;
        // SAFETY: the instructions are SSE2, which the target has (checked when compiling); they
        // work on registers only.
        unsafe {
            // Each byte twice; the highest, now a word, four times; and all of that again.
            let wanted = _mm_cvtsi64_si128(hash as i64);
            let wanted = _mm_shufflehi_epi16::<0xff>(_mm_unpacklo_epi8(wanted, wanted));
            let wanted = _mm_shuffle_epi32::<0xff>(wanted);
            let low = _mm_set_epi64x(tags[1] as i64, tags[0] as i64);
            let high = _mm_cvtsi64_si128(tags[2] as i64);
            let low = _mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)) as u32;
            let high = _mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)) as u32;
            low | high << 16
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    portable(tags, hash)
}

/// The same with the bits of words: a byte that is 0 after the exclusive or is the only one whose
/// upper bit stays 0.
#[cfg_attr(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(test)),
    allow(dead_code)
)]
fn portable(tags: [u64; 3], hash: u64) -> u32 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let wanted = (hash >> 56) * 0x0101_0101_0101_0101;
    let eight = |tags: u64| {
        let differ = tags ^ wanted;
        let equal = !(((differ & LOW) + LOW) | differ | LOW);
        // One bit of each byte, moved to the highest byte.
        (equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    (eight(tags[0]) | eight(tags[1]) << 8 | eight(tags[2]) << 16) as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ 0x5a;
            // Few different bytes, so that there are matches.
            let high = (seed >> 4) & 0x0101_0101_0101_0101;
            (seed & 0x0303_0303_0303_0303) | (high * 0x80)
        };
        for tag in [0, 1, 2, 3, 0x80, 0xff] {
            for _ in 0..100 {
                let tags = [next(), next(), next()];
                let simple = (0..20).fold(0, |found, place| {
                    let byte = (tags[place / 8] >> (place % 8 * 8)) as u8;
                    found | u32::from(byte == tag) << place
                });
                let hash = u64::from(tag) << 56 | next() >> 8;
                assert_eq!(matching(tags, hash) & 0xf_ffff, simple);
                assert_eq!(portable(tags, hash) & 0xf_ffff, simple);
            }
        }
    }
}
