//! Where the parts of a region are: the header's page and the table of writers, the kind's own,
//! then what only some maps have.
//!
//! ```text
//! the kind's own parts, in whole pages   (`kind`; what programs may reach ends with them)
//! leases   per-CPU kinds only: 8 words a slot, the first: who has it (`lease`)
//! types    maps with types only: BTF as it is in a file, padded with zeros (`types`)
//! ```
//!
//! All places follow from the specification and the length of the types.

use crate::header::Header;
use crate::kind::Extent;
use crate::lease;
use crate::map::Kind;
use crate::mem::bytes;
use core::ops::Range;

/// The parts of a region, in words.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    /// The word after the kind's own parts.
    pub(crate) kind_end: usize,
    pub(crate) leases: Range<usize>,
    pub(crate) types: Range<usize>,
    /// All of it.
    pub(crate) words: usize,
}

impl Layout {
    /// The layout that follows from a header; nothing if it is larger than a file can be.
    pub(crate) fn of(header: &Header) -> Option<Layout> {
        let (kind, kind_end) = Kind::of(header)?;
        let spec = &header.spec;
        let slots = if spec.map_type.is_per_cpu() { spec.cpus } else { 0 };
        let type_words = header.types.map_or(0, |types| bytes::words(types.bytes as usize));
        let mut extent = Extent::from(kind_end as u64);
        let leases = extent.take(slots.into(), lease::WORDS as u64);
        extent.page();
        let types = extent.take(type_words as u64, 1);
        Some(Layout {
            kind,
            kind_end,
            leases: leases..leases + slots as usize * lease::WORDS,
            types: types..types + type_words,
            words: extent.total()?,
        })
    }
}
