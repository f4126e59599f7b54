//! Comparing a byte with twenty others at once.

/// Which of the 20 bytes in three words (8, 8 and the low 4 of the last) are this one, as bits.
#[inline(always)]
pub(crate) fn matching(tags: [u64; 3], tag: u8) -> u64 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    {
        use core::arch::x86_64::*;
        // SAFETY: the instructions are SSE2, which the target has (checked when compiling); they
        // work on registers only.
        unsafe {
            let wanted = _mm_set1_epi8(tag as i8);
            let low = _mm_set_epi64x(tags[1] as i64, tags[0] as i64);
            let high = _mm_set_epi64x(0, tags[2] as i64);
            let low = _mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)) as u64;
            let high = _mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)) as u64;
            low | (high & 0xf) << 16
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    portable(tags, tag)
}

#[cfg_attr(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(test)),
    allow(dead_code)
)]
fn portable(tags: [u64; 3], tag: u8) -> u64 {
    (0..20).fold(0, |found, place| {
        let byte = (tags[place / 8] >> (place % 8 * 8)) as u8;
        found | u64::from(byte == tag) << place
    })
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
            seed & 0x0303_0303_0303_0303
        };
        for tag in 0..4 {
            for _ in 0..100 {
                let tags = [next(), next(), next()];
                assert_eq!(matching(tags, tag), portable(tags, tag));
            }
        }
    }
}
