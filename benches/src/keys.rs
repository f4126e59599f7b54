//! Keys, values, and the order in which the workloads ask for them.
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A key that every implementation takes.
pub trait Key:
    Copy + Eq + Hash + Send + Sync + IntoBytes + FromBytes + Immutable + KnownLayout + 'static
{
    /// Its bytes.
    const SIZE: usize = size_of::<Self>();
}

impl Key for u32 {}

/// A key of 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key16([u64; 2]);

impl Hash for Key16 {
    #[inline(always)]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(self.as_bytes());
    }
}

impl Key for Key16 {}

/// A family of keys: key number `i`, for any `i`.
pub trait Keys: Send + Sync + 'static {
    /// Their type.
    type Key: Key;
    /// The family's name in results.
    const NAME: &'static str;
    /// Key number `i`; different for each `i`.
    fn key(i: u32) -> Self::Key;
}

/// Scattered 32-bit numbers.
pub struct Random4;
impl Keys for Random4 {
    type Key = u32;
    const NAME: &'static str = "random";
    #[inline(always)]
    fn key(i: u32) -> u32 {
        i.wrapping_mul(0x85EB_CA6B) ^ 0x27D4_EB2F
    }
}

/// Scattered 128-bit numbers.
pub struct Random16;
impl Keys for Random16 {
    type Key = Key16;
    const NAME: &'static str = "random";
    #[inline(always)]
    fn key(i: u32) -> Key16 {
        let i = u64::from(i);
        Key16([
            i.wrapping_mul(0xBF58_476D_1CE4_E5B9),
            (i ^ 0xA5A5).wrapping_mul(0x94D0_49BB_1331_11EB),
        ])
    }
}

/// Consecutive IPv4 addresses from 10.0.0.0 on, in network order.
pub struct Ipv4;
impl Keys for Ipv4 {
    type Key = u32;
    const NAME: &'static str = "ipv4";
    #[inline(always)]
    fn key(i: u32) -> u32 {
        0x0A00_0000u32.wrapping_add(i).to_be()
    }
}

/// Connections of consecutive clients to one server: addresses, ports, protocol (13 bytes), padded
/// with zeros to 16.
pub struct FiveTuple;
impl Keys for FiveTuple {
    type Key = Key16;
    const NAME: &'static str = "5tuple";
    #[inline(always)]
    fn key(i: u32) -> Key16 {
        let source = u64::from((0x0A00_0000 + i / 16).to_be());
        let server = u64::from(0xC0A8_0001u32.to_be());
        let ports = u64::from((32768 + (i % 16) as u16).to_be()) | u64::from(443u16.to_be()) << 16;
        Key16([(source | server << 32).to_le(), (ports | 6 << 32).to_le()])
    }
}

/// All words of a value together, as evidence that they were read.
#[inline(always)]
pub fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word))
}

/// A value of peers: words that can be read and added to through a shared reference, as the
/// counters of a concurrent map must be.
pub struct Cells<const W: usize>([AtomicU64; W]);

impl<const W: usize> Cells<W> {
    /// All words `seed`.
    #[inline(always)]
    pub fn new(seed: u64) -> Self {
        Cells(std::array::from_fn(|_| AtomicU64::new(seed)))
    }

    /// Reads every word.
    #[inline(always)]
    pub fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, word| sum.wrapping_add(word.load(Relaxed)))
    }

    /// A copy of every word.
    #[inline(always)]
    pub fn load(&self) -> [u64; W] {
        std::array::from_fn(|i| self.0[i].load(Relaxed))
    }

    /// Replaces every word.
    #[inline(always)]
    pub fn store(&self, value: &[u64; W]) {
        self.0.iter().zip(value).for_each(|(cell, word)| cell.store(*word, Relaxed));
    }

    /// Adds to the first word; its new value.
    #[inline(always)]
    pub fn add(&self, delta: u64) -> u64 {
        self.0[0].fetch_add(delta, Relaxed).wrapping_add(delta)
    }
}

impl<const W: usize> Clone for Cells<W> {
    #[inline(always)]
    fn clone(&self) -> Self {
        Cells(self.load().map(AtomicU64::new))
    }
}

/// A small generator (splitmix64).
pub struct Generator(u64);

impl Generator {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Generator(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Below `n`, evenly.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The numbers of the keys that one thread asks for, in order: 24 bits of it, and above them 8
/// random bits that tell reads from writes in mixed workloads.
pub struct Sequence(Vec<u32>);

/// The part of an element of a [`Sequence`] that is the key's number.
pub const NUMBER: u32 = (1 << 24) - 1;

impl Sequence {
    fn of(entries: usize, mut number: impl FnMut(&mut Generator) -> u64, seed: u64) -> Sequence {
        assert!(entries <= NUMBER as usize, "at most {NUMBER} entries");
        let length = match entries {
            0..=4096 => 1 << 16,
            4097..=200_000 => 1 << 20,
            _ => 1 << 22,
        };
        let mut generator = Generator::new(seed);
        let element = |_| number(&mut generator) as u32 | (generator.next() as u32) << 24;
        Sequence((0..length).map(element).collect())
    }

    /// Every key as likely as another.
    pub fn uniform(entries: usize, seed: u64) -> Sequence {
        Sequence::of(entries, |generator| generator.below(entries as u64), seed)
    }

    /// Zipf with exponent 0.99 (the generator of Gray et al. that YCSB uses); the popular keys are
    /// scattered over the key numbers.
    pub fn zipf(entries: usize, seed: u64) -> Sequence {
        let (n, theta) = (entries as f64, 0.99);
        let zeta: f64 = (1..=entries).map(|i| (i as f64).powf(-theta)).sum();
        let second = 1.0 + 0.5f64.powf(theta);
        let eta = (1.0 - (2.0 / n).powf(1.0 - theta)) / (1.0 - second / zeta);
        let rank = move |generator: &mut Generator| {
            let u = generator.fraction();
            match u * zeta {
                x if x < 1.0 => 0,
                x if x < second => 1,
                _ => (n * (eta * u - eta + 1.0).powf(1.0 / (1.0 - theta))) as u64,
            }
        };
        // 15485863 is a prime that divides no number of entries used here.
        let scatter = move |rank: u64| rank.min(entries as u64 - 1) * 15_485_863 % entries as u64;
        Sequence::of(entries, |generator| scatter(rank(generator)), seed)
    }

    /// Calls `f` with the elements from number `first` on, round and round.
    #[inline(always)]
    pub fn each(&self, first: u64, count: u64, mut f: impl FnMut(u32)) {
        let (mut at, mut left) = (first as usize % self.0.len(), count as usize);
        while left > 0 {
            let end = (at + left).min(self.0.len());
            self.0[at..end].iter().for_each(|element| f(*element));
            left -= end - at;
            at = 0;
        }
    }

    /// The same in pieces of `N` (which divides the sequence's length).
    #[inline(always)]
    pub fn each_piece<const N: usize>(&self, first: u64, count: u64, mut f: impl FnMut(&[u32; N])) {
        let (pieces, _) = self.0.as_chunks::<N>();
        let (mut at, mut left) = (first as usize / N % pieces.len(), count as usize / N);
        while left > 0 {
            let end = (at + left).min(pieces.len());
            pieces[at..end].iter().for_each(&mut f);
            left -= end - at;
            at = 0;
        }
    }
}
