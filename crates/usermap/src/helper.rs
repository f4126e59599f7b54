//! Which helpers a program may call on which map, as the kernel's verifier has it
//! (`check_map_func_compatibility`, `record_func_map`): known from the specification alone,
//! before anything runs, so that a loader can refuse a program early and say why.

use crate::abi::{errno, map_flags};
use crate::error::{Error, Result};
use crate::spec::Spec;

/// A helper of programs that acts on a map, with the kernel's number.
///
/// ```
/// use usermap::Helper;
/// assert_eq!(Helper::MapPushElem as u32, 87);
/// assert_eq!(Helper::from_name("bpf_map_pop_elem"), Some(Helper::MapPopElem));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Helper {
    /// `bpf_map_lookup_elem`
    MapLookupElem = 1,
    /// `bpf_map_update_elem`
    MapUpdateElem = 2,
    /// `bpf_map_delete_elem`
    MapDeleteElem = 3,
    /// `bpf_map_push_elem`
    MapPushElem = 87,
    /// `bpf_map_pop_elem`
    MapPopElem = 88,
    /// `bpf_map_peek_elem`
    MapPeekElem = 89,
    /// `bpf_for_each_map_elem`
    ForEachMapElem = 164,
    /// `bpf_map_lookup_percpu_elem`
    MapLookupPercpuElem = 195,
}

impl Helper {
    /// Every helper here, in the order of their numbers.
    pub const ALL: [Helper; 8] = [
        Helper::MapLookupElem,
        Helper::MapUpdateElem,
        Helper::MapDeleteElem,
        Helper::MapPushElem,
        Helper::MapPopElem,
        Helper::MapPeekElem,
        Helper::ForEachMapElem,
        Helper::MapLookupPercpuElem,
    ];

    /// The helper with this name.
    pub fn from_name(name: &str) -> Option<Helper> {
        Helper::ALL.into_iter().find(|helper| helper.name() == name)
    }

    /// The name that programs call it by.
    pub const fn name(self) -> &'static str {
        match self {
            Helper::MapLookupElem => "bpf_map_lookup_elem",
            Helper::MapUpdateElem => "bpf_map_update_elem",
            Helper::MapDeleteElem => "bpf_map_delete_elem",
            Helper::MapPushElem => "bpf_map_push_elem",
            Helper::MapPopElem => "bpf_map_pop_elem",
            Helper::MapPeekElem => "bpf_map_peek_elem",
            Helper::ForEachMapElem => "bpf_for_each_map_elem",
            Helper::MapLookupPercpuElem => "bpf_map_lookup_percpu_elem",
        }
    }

    const fn is_of_rings(self) -> bool {
        matches!(self, Helper::MapPushElem | Helper::MapPopElem | Helper::MapPeekElem)
    }

    /// Whether it changes the map; a peek and a walk do not.
    const fn writes(self) -> bool {
        matches!(
            self,
            Helper::MapUpdateElem
                | Helper::MapDeleteElem
                | Helper::MapPushElem
                | Helper::MapPopElem
        )
    }
}

impl Spec {
    /// Whether a program may call the helper on such a map; the errno is what loading it gives.
    ///
    /// ```
    /// use usermap::{Helper, MapType, Spec};
    /// let spec = Spec::new(MapType::Hash, 4, 8, 16).name("flows")?;
    /// assert!(spec.allows(Helper::MapLookupElem).is_ok());
    /// let error = spec.allows(Helper::MapPushElem).unwrap_err();
    /// assert_eq!(error.errno(), 22); // EINVAL
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn allows(&self, helper: Helper) -> Result<()> {
        let kind = self.map_type;
        let refuse = |rule, errno| self.refuse_program(helper.name(), rule, errno);
        if kind.is_ring() && helper == Helper::ForEachMapElem {
            return refuse("queues and stacks cannot be walked", errno::ENOTSUPP);
        }
        if kind.is_ring() && !helper.is_of_rings() {
            return refuse("queues and stacks have no keys", errno::EACCES);
        }
        if helper.writes() && self.has(map_flags::RDONLY_PROG) {
            return refuse("the map is read-only for programs", errno::EACCES);
        }
        if !kind.is_ring() && helper.is_of_rings() {
            return refuse("only queues and stacks are pushed to and popped from", errno::EINVAL);
        }
        if helper == Helper::MapLookupPercpuElem && !kind.is_per_cpu() {
            return refuse("only per-CPU maps have values of other CPUs", errno::EINVAL);
        }
        Ok(())
    }

    /// Whether a program may read through pointers to the map's values.
    ///
    /// ```
    /// use usermap::{MapType, Spec, abi::map_flags};
    /// let spec = Spec::new(MapType::Array, 4, 8, 1).flags(map_flags::WRONLY_PROG);
    /// assert_eq!(spec.allows_load().unwrap_err().errno(), 13); // EACCES
    /// assert!(spec.allows_store().is_ok());
    /// ```
    pub fn allows_load(&self) -> Result<()> {
        match self.has(map_flags::WRONLY_PROG) {
            true => self.refuse_program(
                "load from a value",
                "the map is write-only for programs",
                errno::EACCES,
            ),
            false => Ok(()),
        }
    }

    /// Whether a program may write through pointers to the map's values.
    ///
    /// ```
    /// use usermap::{MapType, Spec, abi::map_flags};
    /// let spec = Spec::new(MapType::Array, 4, 8, 1).flags(map_flags::RDONLY_PROG);
    /// assert_eq!(spec.allows_store().unwrap_err().errno(), 13); // EACCES
    /// assert!(spec.allows_load().is_ok());
    /// ```
    pub fn allows_store(&self) -> Result<()> {
        match self.has(map_flags::RDONLY_PROG) {
            true => self.refuse_program(
                "store to a value",
                "the map is read-only for programs",
                errno::EACCES,
            ),
            false => Ok(()),
        }
    }

    fn refuse_program(
        &self,
        operation: &'static str,
        rule: &'static str,
        errno: i32,
    ) -> Result<()> {
        Err(Error::Program { map: self.name, kind: self.map_type, operation, rule, errno })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::abi::MapType;

    /// The errno of each helper of `Helper::ALL` on a kind.
    fn row(kind: MapType, flags: u32) -> [i32; 8] {
        let spec = Spec::new(kind, if kind.is_ring() { 0 } else { 4 }, 8, 4).flags(flags);
        Helper::ALL.map(|helper| spec.allows(helper).map_or_else(|error| error.errno(), |()| 0))
    }

    #[test]
    fn helpers_by_kind() {
        for kind in [MapType::Hash, MapType::Array] {
            assert_eq!(row(kind, 0), [0, 0, 0, 22, 22, 22, 0, 22], "{kind}");
        }
        for kind in [MapType::PerCpuHash, MapType::PerCpuArray] {
            assert_eq!(row(kind, 0), [0, 0, 0, 22, 22, 22, 0, 0], "{kind}");
        }
        for kind in MapType::ALL.into_iter().filter(|kind| kind.is_ring()) {
            assert_eq!(row(kind, 0), [13, 13, 13, 0, 0, 0, 524, 13], "{kind}");
        }
    }

    #[test]
    fn helpers_on_maps_that_programs_may_only_read() {
        let flags = map_flags::RDONLY_PROG;
        assert_eq!(row(MapType::Hash, flags), [0, 13, 13, 13, 13, 22, 0, 22]);
        assert_eq!(row(MapType::Queue, flags), [13, 13, 13, 13, 13, 0, 524, 13]);
        assert_eq!(row(MapType::Queue, map_flags::WRONLY_PROG), row(MapType::Queue, 0));
    }
}
