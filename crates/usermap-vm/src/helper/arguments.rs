//! What all helpers do with their arguments and results.

use crate::context::{Kind, Packet};
use crate::error::FaultKind;
use crate::run::{Run, Stop, wrong};
use crate::sandbox::cage::Cage;

/// What a helper gives: r0, or the program's end.
pub(super) type Called = Result<u64, Stop>;

/// Copying fewer takes nothing from the budget.
pub(crate) const FEW_BYTES: usize = 64;
/// The most bytes that a helper copies at once.
pub(super) const MOST: u64 = 64 << 10;

/// A negative error number, as r0.
pub(super) fn errno(number: i32) -> u64 {
    -i64::from(number) as u64
}

/// The same as what a helper gives.
pub(super) fn fail(number: i32) -> Called {
    Ok(errno(number))
}

/// A map's answer as r0.
pub(crate) fn outcome(answer: usermap::Result<()>) -> u64 {
    answer.map_or_else(|error| errno(error.errno()), |()| 0)
}

/// Calls `then` with a copy of the program's bytes: of small ones without taking memory for them.
#[inline(always)]
pub(crate) fn with_bytes<T>(
    memory: &Cage,
    address: u64,
    size: usize,
    then: impl FnOnce(&[u8]) -> T,
) -> Result<T, Stop> {
    match size {
        4 => Ok(then(&(memory.load(address, 4)? as u32).to_ne_bytes())),
        8 => Ok(then(&memory.load(address, 8)?.to_ne_bytes())),
        0..=64 => with_array::<64, T>(memory, address, size, then),
        65..=512 => with_array::<512, T>(memory, address, size, then),
        _ => Ok(then(&copy(memory, address, size)?)),
    }
}

#[inline(always)]
fn with_array<const N: usize, T>(
    memory: &Cage,
    address: u64,
    size: usize,
    then: impl FnOnce(&[u8]) -> T,
) -> Result<T, Stop> {
    let mut array = [0; N];
    let bytes = array.get_mut(..size).unwrap_or_default();
    memory.read(address, bytes)?;
    Ok(then(bytes))
}

/// A copy of the program's bytes. They are looked for before memory is taken for them, so that it
/// is never more than the program itself has.
pub(super) fn copy(memory: &Cage, address: u64, size: usize) -> Result<Vec<u8>, Stop> {
    memory.check(address, size as u64, false)?;
    let mut bytes = vec![0; size];
    memory.read(address, &mut bytes)?;
    Ok(bytes)
}

/// Room for `size` bytes that are to be written to the program's memory, once it is known that
/// they can be.
pub(super) fn room(memory: &Cage, address: u64, size: usize) -> Result<Vec<u8>, Stop> {
    if size > 0 {
        memory.check(address, size as u64, true)?;
    }
    Ok(vec![0; size])
}

/// Writes zeros, where nothing else can be written.
pub(super) fn clear(memory: &Cage, address: u64, size: u64) -> Result<(), Stop> {
    const ZEROS: [u8; 512] = [0; 512];
    if size > 0 {
        memory.check(address, size, true)?;
    }
    let mut done = 0;
    while done < size {
        let part = (size - done).min(ZEROS.len() as u64);
        memory.write(address + done, &ZEROS[..part as usize])?;
        done += part;
    }
    Ok(())
}

/// The program's bytes up to a NUL, which is left out; nothing if there is none within `most`.
pub(super) fn text(memory: &Cage, address: u64, most: u64) -> Result<Option<Vec<u8>>, Stop> {
    let mut text = Vec::new();
    while (text.len() as u64) < most.min(MOST) {
        match memory.load(address.wrapping_add(text.len() as u64), 1)? as u8 {
            0 => return Ok(Some(text)),
            byte => text.push(byte),
        }
    }
    Ok(None)
}

/// Takes from the budget what a helper does over and over.
pub(super) fn spend(run: &mut Run<'_>, steps: u64) -> Result<(), Stop> {
    let steps = i64::try_from(steps).unwrap_or(i64::MAX);
    run.state.budget = run.state.budget.saturating_sub(steps);
    match run.state.budget < 0 {
        true => Err(FaultKind::Budget { limit: run.vm.budget }.into()),
        false => Ok(()),
    }
}

/// Takes from the budget what copying so many bytes costs: nothing for a few.
pub(super) fn spend_on_bytes(run: &mut Run<'_>, bytes: u64) -> Result<(), Stop> {
    spend(run, bytes >> 6)
}

/// Takes from the budget what copying a map's value costs: nothing for one of few bytes, where the
/// budget is not even known.
pub(super) fn spend_on_value(run: &mut Run<'_>, bytes: usize) -> Result<(), Stop> {
    match bytes < FEW_BYTES {
        true => Ok(()),
        false => spend_on_bytes(run, bytes as u64),
    }
}

/// A size given in a register, of which the kernel takes no more than `MOST` here.
pub(super) fn size(name: &'static str, size: u64) -> Result<usize, Stop> {
    // The upper half is not the program's to mean anything by: sizes are 32 bits wide.
    let size = u64::from(size as u32);
    match size <= MOST {
        true => Ok(size as usize),
        false => Err(wrong(name, format!("{size} bytes are more than {MOST}")).into()),
    }
}

/// Refuses a call whose context is not the program's own, of the kind that the helper is for.
pub(super) fn context(
    run: &Run<'_>,
    name: &'static str,
    argument: u64,
    kind: Kind,
) -> Result<(), Stop> {
    if run.packet.kind != kind {
        return Err(wrong(name, "the context has no such packet".to_owned()).into());
    }
    match argument == Packet::context() {
        true => Ok(()),
        false => Err(wrong(name, format!("{argument:#x} is not the context")).into()),
    }
}
