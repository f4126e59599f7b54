//! What machine code calls: helpers, and those of maps' single elements the short way.

use crate::helper;
use crate::run::map_handle;
use crate::run::{DELETE, LOOKUP, LoadedMap, NO_TAIL_CALL, Run, Storage, TAIL_CALL, UPDATE};
use std::panic::{AssertUnwindSafe, catch_unwind};
use usermap::Program;

/// What a load from a packet gives that is not within it; numbers have 32 bits at most.
pub(crate) const NOT_THERE: u64 = u64::MAX;

impl<'r> Run<'r> {
    /// Calls a helper from machine code, which looks into the state afterwards. It has no frames
    /// that could be unwound: a panic is kept until it is left.
    pub(crate) fn call_from_machine(&mut self, id: u32, arguments: [u64; 5]) -> u64 {
        self.state.used = 1;
        let called = catch_unwind(AssertUnwindSafe(|| match id {
            TAIL_CALL => self.tail_call(arguments).map(|called| {
                self.state.tail_called = u64::from(called.is_some());
                called.unwrap_or(NO_TAIL_CALL)
            }),
            _ => self.call_helper(id, arguments),
        }));
        let given = called.unwrap_or_else(|panic| {
            self.panic = Some(panic);
            self.state.stopped = 1;
            Ok(0)
        });
        given.unwrap_or_else(|stop| {
            self.stop = Some(stop);
            self.state.stopped = 1;
            0
        })
    }

    /// The map with this number, as the program on this slot sees it.
    #[inline(always)]
    fn known(&self, map: usize) -> Option<(&'r LoadedMap, &'r usermap::Map, Program<'r>)> {
        let loaded = self.vm.maps.get(map)?;
        let Storage::Map(open) = &loaded.storage else { return None };
        Some((loaded, open, open.on_cpu(self.cpu).ok()?))
    }

    /// `bpf_map_lookup_elem` of the map with this number: what is done most, the short way. Other
    /// sizes of keys, and what goes wrong, take the usual one.
    #[inline]
    pub(crate) fn look_up_from_machine(&mut self, map: usize, key: u64) -> u64 {
        if let Some((loaded, open, program)) = self.known(map)
            && let Some(Ok(found)) =
                self.with_key(open.spec().key_size, key, |key| program.lookup(key))
        {
            return found.map_or(0, |value| self.address(loaded, value));
        }
        self.call_from_machine(LOOKUP, [map_handle(map), key, 0, 0, 0])
    }

    /// `bpf_map_update_elem` in the same way.
    #[inline]
    pub(crate) fn update_from_machine(&mut self, map: usize, [key, value, flags]: [u64; 3]) -> u64 {
        if let Some((_, open, program)) = self.known(map) {
            let spec = open.spec();
            let updated = self.with_key(spec.key_size, key, |key| {
                helper::with_bytes(self.memory, value, spec.value_size as usize, |value| {
                    helper::outcome(program.update(key, value, flags))
                })
            });
            if let Some(Ok(given)) = updated {
                return given;
            }
        }
        self.call_from_machine(UPDATE, [map_handle(map), key, value, flags, 0])
    }

    /// `bpf_map_delete_elem` in the same way.
    #[inline]
    pub(crate) fn delete_from_machine(&mut self, map: usize, key: u64) -> u64 {
        if let Some((_, open, program)) = self.known(map)
            && let Some(given) =
                self.with_key(open.spec().key_size, key, |key| helper::outcome(program.delete(key)))
        {
            return given;
        }
        self.call_from_machine(DELETE, [map_handle(map), key, 0, 0, 0])
    }

    /// A legacy load from a packet: the number, or [`NOT_THERE`].
    pub(crate) fn load_packet_from_machine(&mut self, skb: u64, offset: i32, width: u8) -> u64 {
        match helper::load_packet(self, skb, offset, width) {
            Ok(value) => value.unwrap_or(NOT_THERE),
            Err(kind) => {
                self.stop = Some(kind.into());
                self.state.stopped = 1;
                0
            }
        }
    }

    /// Calls `then` with a copy of a key, if it is of a usual size and the program's to read.
    #[inline(always)]
    fn with_key<T>(&self, size: u32, key: u64, then: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let part = |at, size| self.memory.load(key.wrapping_add(at), size).ok();
        match size {
            4 => Some(then(&(part(0, 4)? as u32).to_le_bytes())),
            8 => Some(then(&part(0, 8)?.to_le_bytes())),
            16 => {
                let key = u128::from(part(8, 8)?) << 64 | u128::from(part(0, 8)?);
                Some(then(&key.to_le_bytes()))
            }
            _ => None,
        }
    }
}
