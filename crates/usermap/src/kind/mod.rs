//! The storage shapes: hash, array and ring. Per-CPU kinds are these with a value, or a ring, for
//! each CPU slot.

pub(crate) mod array;
pub(crate) mod hash;
pub(crate) mod redo;
pub(crate) mod ring;

/// Sum of sizes in words, or nothing on overflow; the way every geometry adds up its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    words: Option<u64>,
}

/// Words of a page: what separates memory that programs may reach from what they may not.
pub(crate) const PAGE_WORDS: u64 = if cfg!(loom) { 8 } else { 512 };

impl Extent {
    pub(crate) fn from(words: u64) -> Extent {
        Extent { words: Some(words) }
    }

    /// Takes `count` times `each` words; gives where they start.
    pub(crate) fn take(&mut self, count: u64, each: u64) -> usize {
        let start = self.words.unwrap_or(0);
        self.words = count
            .checked_mul(each)
            .and_then(|words| words.checked_add(start))
            // A region's size in bytes must fit an offset of a file.
            .filter(|words| *words < 1 << 59);
        start as usize
    }

    /// Continues on the next page.
    pub(crate) fn page(&mut self) {
        self.words = self.words.map(|words| words.next_multiple_of(PAGE_WORDS));
    }

    /// Words in all, in whole pages; nothing if there are too many.
    pub(crate) fn total(mut self) -> Option<usize> {
        self.page();
        self.words.and_then(|words| usize::try_from(words).ok())
    }
}
