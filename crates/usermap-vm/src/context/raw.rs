//! Contexts given as bytes: of `syscall`, tracepoint and kprobe programs.

use super::misplaced;
use super::packet::{Kind, Packet};
use crate::error::{Error, FaultKind, Result};
use crate::program_type::ProgramType;
use crate::sandbox::cage::{CONTEXT, CONTEXT_BYTES, Cage};

/// How much is zeroed behind a short context: more than any `pt_regs` or event's fields have, so
/// that what a program reads there does not depend on earlier runs.
const CLEARED: usize = 512;

pub(super) fn place(bytes: &[u8], program_type: ProgramType, cage: &Cage) -> Result<Packet> {
    if bytes.len() as u64 > CONTEXT_BYTES {
        return Err(Error::Invalid {
            what: format!("a context of {} bytes", bytes.len()),
            rule: format!("at most {CONTEXT_BYTES} bytes"),
        });
    }
    let kind = match program_type {
        ProgramType::Syscall => Kind::Writable,
        _ => Kind::ReadOnly,
    };
    let zeros = [0; CLEARED];
    let rest = zeros.get(bytes.len()..).unwrap_or_default();
    cage.write(CONTEXT, bytes)
        .and_then(|()| cage.write(CONTEXT + bytes.len() as u64, rest))
        .map_err(misplaced)?;
    Ok(Packet::of(kind))
}

pub(super) fn collect(
    bytes: &mut [u8],
    cage: &Cage,
    packet: &Packet,
) -> std::result::Result<(), FaultKind> {
    match packet.kind {
        Kind::Writable => cage.read(CONTEXT, bytes),
        _ => Ok(()),
    }
}
