//! Contexts: what programs get, and the packet behind it.

/// Where a packet is in the cage while a program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Its first byte.
    pub(crate) data: u64,
    /// Behind its last byte.
    pub(crate) end: u64,
    /// The first byte of its metadata, which is before it.
    pub(crate) meta: u64,
}
