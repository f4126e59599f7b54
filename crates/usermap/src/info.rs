//! What there is to know about a map.

use crate::abi::errno;
use crate::header;
use crate::map::Map;
use crate::mem::huge;
use crate::mem::sync::acquire;
use crate::spec::Spec;
use std::path::PathBuf;

const HUGE: u64 = huge::HUGE as u64;

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
    /// Bytes of the whole region, of which memory is behind [`Map::bytes_used`] only.
    pub bytes: u64,
    /// CPU slots; 1 unless the map is per CPU.
    pub cpus: u32,
    /// Whether it has the types of its key and value ([`Map::types`]).
    pub typed: bool,
    /// Its file, if it has a name that this process knows.
    pub path: Option<PathBuf>,
}

impl Map {
    /// What there is to know about the map, in constant time.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 1024).name("flows")?)?;
    /// let info = map.info();
    /// assert_eq!((info.spec.name.as_str(), info.entries, info.frozen), ("flows", 0, false));
    /// assert!(map.bytes_used() < info.bytes); // pages are taken as they are used
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn info(&self) -> Info {
        Info {
            spec: self.spec().clone(),
            id: self.inner.header.id,
            frozen: self.is_frozen(),
            entries: self.len(),
            bytes: self.inner.region.bytes() as u64,
            cpus: self.cpus(),
            typed: self.inner.header.types.is_some(),
            path: self.path(),
        }
    }

    /// Bytes of the region that are backed by memory or disk now. In constant time, but for an
    /// anonymous map the system is asked about each of its pages.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1 << 20))?;
    /// assert!(map.bytes_used() < map.info().bytes);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn bytes_used(&self) -> u64 {
        self.inner.region.resident()
    }

    /// How much of the map is in pages of 2 MiB now, as [`Spec::huge_pages`] asks for them. It reads
    /// what the system says of all the process's mappings, so it takes a while.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1 << 20).huge_pages(true))?;
    /// let pages = map.huge_pages();
    /// assert_eq!(pages.why_not().is_none(), pages.bytes == pages.possible);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn huge_pages(&self) -> HugePages {
        let region = &self.inner.region;
        let refused = acquire(&region.words()[header::REFUSED]) as i32;
        HugePages {
            bytes: region.huge(),
            possible: region.bytes() as u64 / HUGE * HUGE,
            wanted: self.spec().huge_pages,
            refused: (refused != 0).then_some(refused),
        }
    }
}

/// What [`Map::huge_pages`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePages {
    /// Bytes that are in pages of 2 MiB now.
    pub bytes: u64,
    /// Bytes that could be: those of the whole region, but for the last part of 2 MiB.
    pub possible: u64,
    /// Whether the map was created to have them.
    pub wanted: bool,
    /// The errno with which the system refused them when the map was created, if it did.
    pub refused: Option<i32>,
}

impl HugePages {
    /// Why there are fewer than there could be, in words; nothing if there are not.
    pub fn why_not(&self) -> Option<String> {
        if self.bytes >= self.possible && self.possible > 0 {
            return None;
        }
        Some(match self.refused {
            _ if self.possible == 0 => "the map is smaller than one".into(),
            _ if !self.wanted => "they were not asked for".into(),
            Some(errno::EINVAL) => "no such pages for this file, or before Linux 6.1".into(),
            Some(errno::ENOMEM) => "there was no such page left".into(),
            Some(refused) => std::io::Error::from_raw_os_error(refused).to_string(),
            None => "those not used are left out, or the system took some back".into(),
        })
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
