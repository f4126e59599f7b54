//! The hash of a key, and where that puts it.
//!
//! Two functions: folded multiplies with the map's random 128-bit seed, and for `ZERO_SEED` maps
//! the kernel's jhash with the seed 0 (`include/linux/jhash.h`, Bob Jenkins' lookup3), so that
//! such a map has the kernel's buckets and order.
//!
//! The low bits of the hash are the kernel's bucket number, of `roundup_pow_of_two(max_entries)`.
//! It is what batch tokens count and what entries are ordered by. usermap's own buckets are
//! fewer and larger; each holds a run of consecutive kernel buckets.

use super::Geometry;
use crate::mem::bytes::word_of;

/// A key's hash and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash {
    /// All of it.
    pub(crate) whole: u64,
    /// The kernel's bucket.
    pub(crate) kernel_bucket: u32,
    /// usermap's bucket.
    pub(crate) bucket: u32,
    /// What is compared before the key is.
    pub(crate) tag: u8,
}

/// A seed, ready to use: for the short ways, whose every instruction counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    first: u64,
    second: u64,
    factor: u64,
}

impl Seed {
    /// Of a map with a seed; that of another hashes to nothing of use.
    pub(super) fn new(seed: Option<[u64; 2]>) -> Seed {
        let [first, second] = seed.unwrap_or_default();
        Seed { first, second, factor: second ^ ODD }
    }

    /// The hash of a key.
    #[inline(always)]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        fold_hash(key, [self.first, self.second], self.factor)
    }
}

impl Geometry {
    /// Hashes a key.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u8]) -> Hash {
        let whole = match self.seed {
            None => u64::from(jhash(key)).wrapping_mul(0x9e37_79b9_0000_0001),
            Some(seed) => fold_hash(key, seed, seed[1] ^ ODD),
        };
        let kernel_bucket = whole as u32 & self.kernel_mask;
        Hash {
            whole,
            kernel_bucket,
            bucket: self.bucket_of(kernel_bucket),
            tag: (whole >> 56) as u8,
        }
    }

    /// usermap's bucket of a kernel bucket.
    #[inline(always)]
    pub(crate) fn bucket_of(&self, kernel_bucket: u32) -> u32 {
        ((u64::from(kernel_bucket) * self.bucket_scale) >> 32) as u32
    }
}

pub(super) const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A folded multiply a 16 bytes, as in wyhash and foldhash, and another one at the end. Keys up to 8
/// bytes take two as well: of one, keys at equal distances are nearly so too, and with one seed in a
/// hundred fall into few buckets (`spread.rs`).
#[inline(always)]
fn fold_hash(key: &[u8], seed: [u64; 2], factor: u64) -> u64 {
    let len = key.len();
    if len <= 8 {
        return fold(fold(word_of(key) ^ seed[0], factor), factor);
    }
    let mut hash = seed[0] ^ len as u64;
    let mut rest = key;
    while rest.len() > 16 {
        let (chunk, tail) = rest.split_at(16);
        hash = fold(word_of(&chunk[..8]) ^ hash, word_of(&chunk[8..]) ^ seed[1]);
        rest = tail;
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    let hash = fold(word_of(low) ^ hash, word_of(high) ^ seed[1]);
    fold(hash ^ seed[0], factor)
}

const INITIAL: u32 = 0xdead_beef;

/// jhash with the initial value 0; on little-endian machines jhash2, which the kernel takes for
/// keys of whole 32-bit words, is the same.
#[cold]
#[inline(never)]
fn jhash(key: &[u8]) -> u32 {
    let len = key.len() as u32;
    let start = INITIAL.wrapping_add(len);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = key;
    while rest.len() > 12 {
        a = a.wrapping_add(word(rest, 0));
        b = b.wrapping_add(word(rest, 4));
        c = c.wrapping_add(word(rest, 8));
        mix(&mut a, &mut b, &mut c);
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8));
    finish(a, b, c)
}

/// The four bytes from `at` on, little-endian, zeros after the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u32::from_le_bytes(word)
}

fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    let step = |x: &mut u32, y: &mut u32, z: &mut u32, bits: u32| {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(bits);
        *z = z.wrapping_add(*y);
    };
    step(a, b, c, 4);
    step(b, c, a, 6);
    step(c, a, b, 8);
    step(a, b, c, 16);
    step(b, c, a, 19);
    step(c, a, b, 4);
}

fn finish(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    let step = |x: &mut u32, y: u32, bits: u32| {
        *x = (*x ^ y).wrapping_sub(y.rotate_left(bits));
    };
    step(&mut c, b, 14);
    step(&mut a, c, 11);
    step(&mut b, a, 25);
    step(&mut c, b, 16);
    step(&mut a, c, 4);
    step(&mut b, a, 14);
    step(&mut c, b, 24);
    c
}
