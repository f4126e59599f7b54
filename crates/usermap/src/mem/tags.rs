//! Comparing a byte of a hash with the sixteen tags of a bucket at once.

use super::buckets::{Head, TAGS};
use super::sync::{AtomicU64, Ordering::Relaxed};
use core::num::NonZero;

/// Some of a bucket's places, as bits 0 to 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places(u32);

impl Places {
    /// Those that are occupied, too, in a lock word.
    #[inline(always)]
    pub(crate) fn among(self, word: u64) -> Places {
        Places(self.0 & word as u32)
    }

    /// The lowest.
    #[inline(always)]
    pub(crate) fn first(self) -> Option<u32> {
        // Of sixteen bits: so the compiler knows that there is such a place.
        Some(NonZero::new(self.0 as u16)?.trailing_zeros())
    }

    /// All but the lowest.
    #[inline(always)]
    pub(crate) fn rest(self) -> Places {
        Places(self.0 & self.0.wrapping_sub(1))
    }
}

/// The places whose tag is the highest byte of `hash`.
#[inline(always)]
pub(crate) fn matching(head: &Head, hash: u64) -> Places {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom))))]
    {
        use core::arch::asm;
        use core::arch::x86_64::*;
        let same: u32;
        // SAFETY: the instructions are SSE2, which the target has (checked when compiling). The one
        // that reads memory reads the head's last sixteen bytes. Others may write them meanwhile, as
        // to any atomic: each byte is one that was there, as after two relaxed loads, of which no
        // optimisation is told that they read the same again. The last gives a bit for each.
        unsafe {
            // Each byte twice; the highest, now a word, four times; and all of that again.
            let wanted = _mm_cvtsi64_si128(hash as i64);
            let wanted = _mm_shufflehi_epi16::<0xff>(_mm_unpacklo_epi8(wanted, wanted));
            let wanted = _mm_shuffle_epi32::<0xff>(wanted);
            asm!(
                "movdqu {found}, xmmword ptr [{head} + {tags}]",
                "pcmpeqb {found}, {wanted}",
                "pmovmskb {same:e}, {found}",
                head = in(reg) head,
                tags = const TAGS * 8,
                wanted = in(xmm_reg) wanted,
                found = out(xmm_reg) _,
                same = lateout(reg) same,
                options(readonly, nostack, preserves_flags),
            );
            // Else it is asked again whether any of the lower sixteen is set.
            core::hint::assert_unchecked(same <= 0xffff);
        }
        Places(same)
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom)))))]
    portable(head, hash)
}

/// The same with the bits of words: a byte that is 0 after the exclusive or is the only one whose
/// upper bit stays 0.
#[cfg_attr(
    all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom)), not(test)),
    allow(dead_code)
)]
fn portable(head: &Head, hash: u64) -> Places {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let wanted = (hash >> 56) * 0x0101_0101_0101_0101;
    let eight = |tags: &AtomicU64| {
        let differ = tags.load(Relaxed).to_le() ^ wanted;
        let equal = !(((differ & LOW) + LOW) | differ | LOW);
        // One bit of each byte, moved to the highest byte.
        (equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    Places((eight(&head[TAGS]) | eight(&head[TAGS + 1]) << 8) as u32)
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
                let tags = [next(), next()];
                let simple = (0..16).fold(0, |found, place| {
                    let byte = (tags[place / 8] >> (place % 8 * 8)) as u8;
                    found | u32::from(byte == tag) << place
                });
                let hash = u64::from(tag) << 56 | next() >> 8;
                let head = [next(), next(), tags[0], tags[1]].map(AtomicU64::new);
                assert_eq!(matching(&head, hash), Places(simple));
                assert_eq!(portable(&head, hash), Places(simple));
                assert_eq!(Places(simple).first(), (0..16).find(|place| simple >> place & 1 == 1));
                assert_eq!(Places(simple).rest().0.count_ones(), simple.count_ones().max(1) - 1);
            }
        }
    }
}
