//! Numbers that a map can add to.

use super::Plain;

mod sealed {
    pub trait Sealed {}
}

/// An integer of 1, 2, 4 or 8 bytes: what increments work on. Sums wrap around.
///
/// ```
/// let hits = usermap::Array::<i32>::create(1)?;
/// assert_eq!(hits.inc_and_return(0, -5)?, -5);
/// # Ok::<(), usermap::Error>(())
/// ```
pub trait Number: Plain + Copy + Ord + sealed::Sealed {
    /// As the low bits of a word, for adding.
    #[doc(hidden)]
    fn to_bits(self) -> u64;
    /// Back again.
    #[doc(hidden)]
    fn from_bits(bits: u64) -> Self;
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl sealed::Sealed for $number {}

        impl Number for $number {
            fn to_bits(self) -> u64 {
                self as u64
            }

            fn from_bits(bits: u64) -> Self {
                bits as Self
            }
        }
    )*};
}

number!(u8, u16, u32, u64, i8, i16, i32, i64);

/// The sum of numbers, wrapping around.
pub(super) fn sum<N: Number>(numbers: &[N]) -> N {
    N::from_bits(numbers.iter().fold(0, |sum, number| sum.wrapping_add(number.to_bits())))
}
