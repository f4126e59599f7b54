//! `Queue<T>`, `Stack<T>`, and those of each CPU slot.

use super::{Plain, checked, common};
use crate::abi::MapType;
use crate::error::{Reason, Result};
use crate::map::Map;
use crate::spec::Spec;
use core::marker::PhantomData;
use std::fmt;
use std::path::Path;

#[inline(always)]
fn push<T: Plain>(map: &Map, lifo: bool, ring: u32, value: &T, replace: bool) -> Result<()> {
    let pushed = map.push_typed(lifo, ring, value.as_bytes(), replace);
    pushed.map_err(|reason| map.error("push", reason))
}

#[inline(always)]
fn pop<T: Plain>(map: &Map, lifo: bool, ring: u32) -> Result<Option<T>> {
    let mut value = T::new_zeroed();
    match map.pop_typed(lifo, ring, value.as_mut_bytes()) {
        Ok(()) => Ok(Some(value)),
        Err(Reason::NotFound) => Ok(None),
        Err(reason) => Err(map.error("pop", reason)),
    }
}

#[inline(always)]
fn peek<T: Plain>(map: &Map, lifo: bool, ring: u32) -> Result<Option<T>> {
    let mut value = T::new_zeroed();
    match map.peek_typed(lifo, ring, value.as_mut_bytes()) {
        Ok(()) => Ok(Some(value)),
        Err(Reason::NotFound) => Ok(None),
        Err(reason) => Err(map.error("peek", reason)),
    }
}

macro_rules! ring {
    ($(#[$documentation:meta])* $name:ident, $kind:expr, $own:expr) => {
        $(#[$documentation])*
        pub struct $name<T> {
            map: Map,
            types: PhantomData<fn() -> T>,
        }

        common!($name<T>, $kind, 0, size_of::<T>());

        impl<T: Plain> $name<T> {
            /// Adds a value.
            ///
            /// # Errors
            ///
            /// E2BIG if it is full, EPERM, EBUSY.
            #[inline]
            pub fn push(&self, value: &T) -> Result<()> {
                push(&self.map, $kind.is_lifo(), $own(&self.map), value, false)
            }

            /// Adds a value; on a full one the oldest makes room (`BPF_EXIST`).
            ///
            /// # Errors
            ///
            /// EPERM, EBUSY.
            #[inline]
            pub fn push_replacing(&self, value: &T) -> Result<()> {
                push(&self.map, $kind.is_lifo(), $own(&self.map), value, true)
            }

            /// Removes the next value; `None` if there is none.
            ///
            /// # Errors
            ///
            /// EPERM, EBUSY.
            #[inline]
            pub fn pop(&self) -> Result<Option<T>> {
                pop(&self.map, $kind.is_lifo(), $own(&self.map))
            }

            /// Copies the next value, without waiting for anybody; `None` if there is none.
            ///
            /// # Errors
            ///
            /// EPERM.
            #[inline]
            pub fn peek(&self) -> Result<Option<T>> {
                peek(&self.map, $kind.is_lifo(), $own(&self.map))
            }
        }
    };
}

ring!(
    /// A queue of `max_entries` at most: first in, first out.
    ///
    /// ```
    /// use usermap::Queue;
    /// let jobs = Queue::<u32>::create(2)?;
    /// jobs.push(&1)?;
    /// jobs.push(&2)?;
    /// jobs.push_replacing(&3)?;
    /// assert_eq!(jobs.peek()?, Some(2));
    /// assert_eq!((jobs.pop()?, jobs.pop()?, jobs.pop()?), (Some(2), Some(3), None));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    Queue,
    MapType::Queue,
    |_| 0
);
ring!(
    /// A stack of `max_entries` at most: last in, first out.
    ///
    /// ```
    /// use usermap::Stack;
    /// let free = Stack::<u32>::create(2)?;
    /// free.push(&1)?;
    /// free.push(&2)?;
    /// assert_eq!((free.pop()?, free.pop()?, free.pop()?), (Some(2), Some(1), None));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    Stack,
    MapType::Stack,
    |_| 0
);
ring!(
    /// A queue of `max_entries` at most for each CPU slot. [`push`](PerCpuQueue::push) and its like
    /// act on the slot of the CPU that the caller runs on.
    ///
    /// ```
    /// use usermap::PerCpuQueue;
    /// let events = PerCpuQueue::<u32>::create(8)?;
    /// events.push_on(0, &1)?;
    /// assert_eq!((events.len_on(0)?, events.pop_on(0)?), (1, Some(1)));
    /// # Ok::<(), usermap::Error>(())
    /// ```
    PerCpuQueue,
    MapType::PerCpuQueue,
    Map::own_slot
);
ring!(
    /// A stack of `max_entries` at most for each CPU slot. [`push`](PerCpuStack::push) and its like
    /// act on the slot of the CPU that the caller runs on.
    ///
    /// ```
    /// use usermap::PerCpuStack;
    /// let free = PerCpuStack::<u32>::create(8)?;
    /// free.push_on(0, &1)?;
    /// let mut all = Vec::new();
    /// free.drain(|cpu, value| all.push((cpu, value)))?;
    /// assert_eq!(all, [(0, 1)]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    PerCpuStack,
    MapType::PerCpuStack,
    Map::own_slot
);

macro_rules! per_cpu_ring {
    ($name:ident, $kind:expr) => {
        impl<T: Plain> $name<T> {
            /// Adds a value to one CPU slot.
            ///
            /// # Errors
            ///
            /// ERANGE if there is no such slot; as [`push`](Self::push).
            #[inline]
            pub fn push_on(&self, cpu: u32, value: &T) -> Result<()> {
                let slot = self.map.slot(cpu).map_err(|reason| self.map.error("push", reason))?;
                push(&self.map, $kind.is_lifo(), slot, value, false)
            }

            /// Removes the next value of one CPU slot.
            ///
            /// # Errors
            ///
            /// ERANGE if there is no such slot; as [`pop`](Self::pop).
            #[inline]
            pub fn pop_on(&self, cpu: u32) -> Result<Option<T>> {
                let slot = self.map.slot(cpu).map_err(|reason| self.map.error("pop", reason))?;
                pop(&self.map, $kind.is_lifo(), slot)
            }

            /// Copies the next value of one CPU slot.
            ///
            /// # Errors
            ///
            /// ERANGE if there is no such slot; as [`peek`](Self::peek).
            #[inline]
            pub fn peek_on(&self, cpu: u32) -> Result<Option<T>> {
                let slot = self.map.slot(cpu).map_err(|reason| self.map.error("peek", reason))?;
                peek(&self.map, $kind.is_lifo(), slot)
            }

            /// Values in one CPU slot.
            ///
            /// # Errors
            ///
            /// ERANGE if there is no such slot.
            pub fn len_on(&self, cpu: u32) -> Result<u64> {
                self.map.len_on(cpu)
            }

            /// Pops what all slots hold, as [`Map::drain`]; `take` gets slot and value.
            ///
            /// # Errors
            ///
            /// As [`Map::drain`].
            pub fn drain(&self, mut take: impl FnMut(u32, T)) -> Result<u64> {
                self.map.drain(|cpu, value| {
                    // The size was checked when this was made.
                    if let Ok(value) = T::read_from_bytes(value) {
                        take(cpu, value);
                    }
                })
            }
        }
    };
}

per_cpu_ring!(PerCpuQueue, MapType::PerCpuQueue);
per_cpu_ring!(PerCpuStack, MapType::PerCpuStack);
