//! Which licenses are GPL-compatible, and which helpers are for such programs only
//! (`license_is_gpl_compatible`, `gpl_only` of helpers).

const COMPATIBLE: [&[u8]; 6] = [
    b"GPL",
    b"GPL v2",
    b"GPL and additional rights",
    b"Dual BSD/GPL",
    b"Dual MIT/GPL",
    b"Dual MPL/GPL",
];

/// Helpers by number: reading of other memory, printing, events.
const GPL_ONLY: [u32; 10] = [4, 6, 25, 45, 112, 113, 114, 115, 165, 177];

/// Whether a program with this license may call all helpers.
pub(super) fn is_gpl_compatible(license: &[u8]) -> bool {
    COMPATIBLE.contains(&license)
}

/// Whether a helper is for GPL-compatible programs only.
pub(super) fn is_gpl_only(helper: u32) -> bool {
    GPL_ONLY.contains(&helper)
}
