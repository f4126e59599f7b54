//! The batch commands: the caller's memory as sink and source.

use super::attr::Attr;
use super::{Fault, Host, map_of};
use crate::batch::{self, Count, Request, Sink, Source};
use crate::error::{Reason, Result};
use crate::map::Map;

// struct { u64 in_batch, out_batch, keys, values; u32 count, map_fd; u64 elem_flags, flags; }
const IN_BATCH: usize = 0;
const OUT_BATCH: usize = 8;
const KEYS: usize = 16;
const VALUES: usize = 24;
const COUNT: usize = 32;
const FD: usize = 36;
const ELEM_FLAGS: usize = 40;
const FLAGS: usize = 48;
const END: usize = 56;

/// `BPF_MAP_LOOKUP_BATCH`
pub(super) fn lookup<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    let (map, request) = start(host, attr)?;
    batch::read(&map, false, &request, &mut User::new(host, attr, &map)).map(|()| 0)
}

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`
pub(super) fn lookup_and_delete<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    let (map, request) = start(host, attr)?;
    batch::read(&map, true, &request, &mut User::new(host, attr, &map)).map(|()| 0)
}

/// `BPF_MAP_UPDATE_BATCH`
pub(super) fn update<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    let (map, request) = start(host, attr)?;
    batch::update(&map, &request, &mut User::new(host, attr, &map)).map(|()| 0)
}

/// `BPF_MAP_DELETE_BATCH`
pub(super) fn delete<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<i32> {
    let (map, request) = start(host, attr)?;
    batch::delete(&map, &request, &mut User::new(host, attr, &map)).map(|()| 0)
}

fn start<H: Host + ?Sized>(host: &H, attr: &Attr) -> Result<(Map, Request)> {
    attr.ends_at(END)?;
    let map = map_of(host, attr, attr.u32(FD))?;
    let (elem_flags, flags) = (attr.u64(ELEM_FLAGS), attr.u64(FLAGS));
    Ok((map, Request { count: attr.u32(COUNT), elem_flags, flags }))
}

/// The caller's memory, as the attribute points into it.
struct User<'a, H: ?Sized> {
    host: &'a H,
    attr: &'a Attr,
    key_size: u64,
    value_bytes: u64,
}

impl<'a, H: Host + ?Sized> User<'a, H> {
    fn new(host: &'a H, attr: &'a Attr, map: &Map) -> User<'a, H> {
        let key_size = u64::from(map.spec().key_size);
        User { host, attr, key_size, value_bytes: map.value_bytes() as u64 }
    }

    /// Where entry number `at` is.
    fn key_address(&self, at: u32) -> u64 {
        self.attr.u64(KEYS).wrapping_add(u64::from(at).wrapping_mul(self.key_size))
    }

    fn value_address(&self, at: u32) -> u64 {
        self.attr.u64(VALUES).wrapping_add(u64::from(at).wrapping_mul(self.value_bytes))
    }
}

fn reason(Fault: Fault) -> Reason {
    Reason::Fault
}

impl<H: Host + ?Sized> Count for User<'_, H> {
    fn set_count(&mut self, count: u32) -> Result<(), Reason> {
        self.attr.put(self.host, COUNT as u64, count).map_err(reason)
    }
}

impl<H: Host + ?Sized> Sink for User<'_, H> {
    fn token(&mut self) -> Result<Option<u32>, Reason> {
        let address = self.attr.u64(IN_BATCH);
        if address == 0 {
            return Ok(None);
        }
        let mut token = [0; 4];
        self.host.read(address, &mut token).map_err(reason)?;
        Ok(Some(u32::from_ne_bytes(token)))
    }

    fn set_token(&mut self, token: u32) -> Result<(), Reason> {
        self.host.write(self.attr.u64(OUT_BATCH), &token.to_ne_bytes()).map_err(reason)
    }

    fn put(&mut self, at: u32, keys: &[u8], values: &[u8]) -> Result<(), Reason> {
        self.host.write(self.key_address(at), keys).map_err(reason)?;
        self.host.write(self.value_address(at), values).map_err(reason)
    }
}

impl<H: Host + ?Sized> Source for User<'_, H> {
    fn get(&mut self, at: u32, key: &mut [u8], value: &mut [u8]) -> Result<(), Reason> {
        self.host.read(self.key_address(at), key).map_err(reason)?;
        match value.is_empty() {
            true => Ok(()),
            false => self.host.read(self.value_address(at), value).map_err(reason),
        }
    }
}
