//! Push and pop for callers that have values as bytes: common lengths get code of their own, the same as
//! in typed maps, others loops. In functions of their own, because that is much.

use super::Rings;
use crate::error::Reason;
use crate::mem::owner::Writer;

/// The longest values whose pops leave the caller's bytes alone if they fail.
const SHORT: usize = 256;

impl Rings<'_> {
    /// [`push`](Rings::push)
    #[inline(never)]
    pub(crate) fn push_sized(
        &self,
        writer: Writer<'_>,
        ring: u32,
        value: &[u8],
        replace: bool,
    ) -> Result<(), Reason> {
        match value.len() {
            4 => self.push(writer, ring, &value[..4], replace),
            8 => self.push(writer, ring, &value[..8], replace),
            16 => self.push(writer, ring, &value[..16], replace),
            24 => self.push(writer, ring, &value[..24], replace),
            32 => self.push(writer, ring, &value[..32], replace),
            64 => self.push(writer, ring, &value[..64], replace),
            _ => self.push(writer, ring, value, replace),
        }
    }

    /// [`pop`](Rings::pop)
    #[inline(never)]
    pub(crate) fn pop_sized<'w>(
        &self,
        writer: impl FnOnce() -> Result<Writer<'w>, Reason>,
        ring: u32,
        value: &mut [u8],
    ) -> Result<(), Reason> {
        match value.len() {
            4 => self.pop_whole::<4>(writer, ring, value),
            8 => self.pop_whole::<8>(writer, ring, value),
            16 => self.pop_whole::<16>(writer, ring, value),
            24 => self.pop_whole::<24>(writer, ring, value),
            32 => self.pop_whole::<32>(writer, ring, value),
            64 => self.pop_whole::<64>(writer, ring, value),
            0..=SHORT => self.pop_whole::<SHORT>(writer, ring, value),
            _ => self.pop(writer, ring, value),
        }
    }

    /// Pops a value of up to `N` bytes. A pop of a queue copies before it knows that nobody else was
    /// faster: the caller's bytes stay as they are if in the end there is nothing.
    #[inline(always)]
    fn pop_whole<'w, const N: usize>(
        &self,
        writer: impl FnOnce() -> Result<Writer<'w>, Reason>,
        ring: u32,
        value: &mut [u8],
    ) -> Result<(), Reason> {
        let mut copy = [0; N];
        let copy = &mut copy[..value.len().min(N)];
        self.pop(writer, ring, copy)?;
        value.copy_from_slice(copy);
        Ok(())
    }
}
