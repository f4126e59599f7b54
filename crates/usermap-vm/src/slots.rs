//! CPU slots: which run has which. A run has its slot, and the memory that goes with it, alone; so
//! a program's plain increments of this slot's values lose nothing, whichever CPU the thread is on.
//!
//! Runs of one process get theirs here. Maps that other processes may have open are leased from
//! those, too, by a word in the map.

use crate::error::{Error, Result};
use crate::sandbox::cage::Cage;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use usermap::{Map, SlotLease};

/// How long to wait for a slot that others have.
const LONGEST: Duration = Duration::from_secs(10);
/// How long to wait before asking again for what another process has.
const PAUSE: Duration = Duration::from_micros(200);

/// The slots of a process.
pub(crate) struct Slots {
    places: Mutex<Vec<Place>>,
    released: Condvar,
}

/// A slot.
#[derive(Default)]
struct Place {
    taken: bool,
    /// The memory of whoever had it last.
    cage: Option<Cage>,
}

/// A slot that somebody has; given back when dropped.
pub(crate) struct Lease<'s> {
    slots: &'s Slots,
    cpu: u32,
    cage: Option<Cage>,
    /// What was taken in maps, given back before the slot is.
    shared: Vec<SlotLease>,
}

impl Slots {
    /// So many of them.
    pub(crate) fn new(count: u32) -> Slots {
        let places = (0..count).map(|_| Place::default()).collect();
        Slots { places: Mutex::new(places), released: Condvar::new() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.places().len() as u32
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot, any or a certain one, in all of these maps; `make` gives the memory where there is none yet.
    pub(crate) fn take(
        &self,
        shared: &[(&str, &Map)],
        wanted: Option<u32>,
        make: impl Fn() -> Result<Cage>,
    ) -> Result<Lease<'_>> {
        let mut since = None;
        let mut refused = "";
        let mut places = self.places();
        loop {
            let mut others = false;
            for index in order(places.len()) {
                if places[index].taken || wanted.is_some_and(|cpu| cpu as usize != index) {
                    continue;
                }
                match lease_all(shared, index as u32)? {
                    Ok(leases) => {
                        places[index].taken = true;
                        let cage = places[index].cage.take();
                        drop(places);
                        let mut lease =
                            Lease { slots: self, cpu: index as u32, cage, shared: leases };
                        if lease.cage.is_none() {
                            lease.cage = Some(make()?);
                        }
                        return Ok(lease);
                    }
                    Err(map) => (others, refused) = (true, map),
                }
            }
            let since: &mut Instant = since.get_or_insert_with(Instant::now);
            let count = places.len() as u32;
            if since.elapsed() > LONGEST {
                return Err(Error::Busy { map: refused.to_owned(), slots: count });
            }
            let pause = if others { PAUSE } else { LONGEST };
            let waited = self.released.wait_timeout(places, pause);
            places = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The slots, that of the CPU this thread is on first: its values are near.
fn order(count: usize) -> impl Iterator<Item = usize> {
    let here = rustix::thread::sched_getcpu();
    (0..count).map(move |index| (index + here) % count)
}

/// Takes a slot in all maps, or in none: then the name of one that another process has it in.
fn lease_all<'n>(
    shared: &[(&'n str, &Map)],
    cpu: u32,
) -> Result<std::result::Result<Vec<SlotLease>, &'n str>> {
    let mut leases = Vec::with_capacity(shared.len());
    for (name, map) in shared {
        match map.lease(cpu)? {
            Some(lease) => leases.push(lease),
            None => return Ok(Err(name)),
        }
    }
    Ok(Ok(leases))
}

impl Lease<'_> {
    /// The slot's number.
    pub(crate) fn cpu(&self) -> u32 {
        self.cpu
    }

    /// The memory.
    pub(crate) fn cage(&self) -> Option<&Cage> {
        self.cage.as_ref()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.shared.clear();
        let mut places = self.slots.places();
        if let Some(place) = places.get_mut(self.cpu as usize) {
            place.taken = false;
            place.cage = self.cage.take();
        }
        drop(places);
        self.slots.released.notify_one();
    }
}
