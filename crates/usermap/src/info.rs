//! What there is to know about a map.

use crate::map::Map;
use crate::spec::Spec;
use std::path::PathBuf;

/// What [`Map::info`] says: what `BPF_OBJ_GET_INFO_BY_FD` has, and usermap's own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The specification, with the CPU slots that the map has.
    pub spec: Spec,
    /// A number that tells it from other maps; never 0.
    pub id: u32,
    /// Whether it is frozen.
    pub frozen: bool,
    /// Entries now ([`Map::len`]).
    pub entries: u64,
    /// Bytes of the region that are backed by memory or disk now.
    pub bytes_used: u64,
    /// Bytes of the whole region.
    pub bytes: u64,
    /// CPU slots; 1 unless the map is per CPU.
    pub cpus: u32,
    /// Whether it has the types of its key and value ([`Map::types`]).
    pub typed: bool,
    /// Its file, if it has a name that this process knows.
    pub path: Option<PathBuf>,
}

impl Map {
    /// What there is to know about the map.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 1024).name("flows")?)?;
    /// let info = map.info();
    /// assert_eq!((info.spec.name.as_str(), info.entries, info.frozen), ("flows", 0, false));
    /// assert!(info.bytes_used < info.bytes); // pages are taken as they are used
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn info(&self) -> Info {
        let region = &self.inner.region;
        Info {
            spec: self.spec().clone(),
            id: self.inner.header.id,
            frozen: self.is_frozen(),
            entries: self.len(),
            bytes_used: region.resident(),
            bytes: region.bytes() as u64,
            cpus: self.cpus(),
            typed: self.inner.header.types.is_some(),
            path: self.path(),
        }
    }
}

/// CPUs that this machine may have (`/sys/devices/system/cpu/possible`): the slots of per-CPU maps
/// whose specification does not say how many.
///
/// ```
/// use usermap::{Map, MapType, Spec};
/// let map = Map::create(&Spec::new(MapType::PerCpuArray, 4, 8, 1))?;
/// assert_eq!(map.spec().cpus, usermap::possible_cpus());
/// # Ok::<(), usermap::Error>(())
/// ```
pub fn possible_cpus() -> u32 {
    crate::mem::process::possible_cpus()
}
