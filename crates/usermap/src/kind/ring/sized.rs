//! Push and pop for callers that have values as bytes: common lengths get code of their own, the same as
//! in typed maps, others loops. In functions of their own, because that is much.

use super::Rings;
use crate::error::Reason;
use crate::mem::owner::Writer;

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
            4 => self.pop(writer, ring, &mut value[..4]),
            8 => self.pop(writer, ring, &mut value[..8]),
            16 => self.pop(writer, ring, &mut value[..16]),
            24 => self.pop(writer, ring, &mut value[..24]),
            32 => self.pop(writer, ring, &mut value[..32]),
            64 => self.pop(writer, ring, &mut value[..64]),
            _ => self.pop(writer, ring, value),
        }
    }
}
