//! Where maps are in the memory of programs: each map's values have a place there, the same in
//! every cage.

use crate::error::{Error, Result};
use crate::run::{ArrayLayout, HashTable, LoadedMap, Storage, Table};
use crate::sandbox::cage::{Cage, HUGE, LARGEST, MAPS, PAGE, SMALLEST};
use usermap::Map;
use usermap::abi::map_flags;

/// The places that are given out.
pub(crate) struct Places {
    next: u64,
}

impl Default for Places {
    fn default() -> Places {
        Places { next: MAPS }
    }
}

impl Places {
    /// Finds a place for a map.
    pub(crate) fn put(&mut self, name: &str, storage: Storage) -> Result<LoadedMap> {
        let mut start = 0;
        let mut table = None;
        if let Storage::Map(map) = &storage
            && let Some(memory) = map.value_memory()?
        {
            start = self.next;
            if memory.length >= HUGE {
                // As far from a multiple as in the file: so it can be mapped in large pages.
                start += memory.start.wrapping_sub(start) % HUGE;
            }
            self.next = (start + memory.length).next_multiple_of(PAGE) + PAGE;
            table = table_of(map, start)?;
        }
        Ok(LoadedMap { name: name.into(), storage, start, table })
    }

    /// Bits of the addresses of programs that have all these maps.
    pub(crate) fn bits(&self) -> Result<u32> {
        let next = self.next;
        let bits = (u64::BITS - next.leading_zeros()).max(SMALLEST);
        if bits > LARGEST {
            let rule = format!("they need {next} bytes of addresses, and there are 2^{LARGEST}");
            return Err(Error::Invalid { what: "the object's maps".to_owned(), rule });
        }
        Ok(bits)
    }
}

/// How machine code finds a map's values.
fn table_of(map: &Map, start: u64) -> Result<Option<Table>> {
    let key_size = map.spec().key_size as usize;
    let hash = map.hash_layout().map(|layout| Table::Hash(HashTable { layout, key_size, start }));
    Ok(layout(map, start)?.map(Table::Array).or(hash))
}

/// Where an array's values are, asked from the map itself.
fn layout(map: &Map, start: u64) -> Result<Option<ArrayLayout>> {
    let spec = map.spec();
    if !spec.map_type.is_array() {
        return Ok(None);
    }
    let place = |cpu: u32, index: u32| -> Result<u64> {
        let value = map.on_cpu(cpu)?.lookup(&index.to_ne_bytes())?;
        Ok(value.map_or(0, |value| value.offset() as u64))
    };
    let first = place(0, 0)?;
    let stride = place(0, 1)?.saturating_sub(first);
    let plane = match spec.map_type.is_per_cpu() && spec.cpus > 1 {
        true => place(1, 0)? - first,
        false => 0,
    };
    Ok(Some(ArrayLayout { start: start + first, max_entries: spec.max_entries, stride, plane }))
}

/// The memory of a runner of programs: with all maps in it.
pub(crate) fn cage(object: &str, maps: &[LoadedMap], bits: u32) -> Result<Cage> {
    let failed = |error: rustix::io::Errno| Error::Io {
        action: "mapping the memory of",
        path: object.into(),
        error: error.into(),
    };
    let mut cage = Cage::new(bits).map_err(failed)?;
    for map in maps {
        let Storage::Map(open) = &map.storage else { continue };
        let Some(memory) = open.value_memory()? else { continue };
        let writable = open.spec().flags & map_flags::RDONLY_PROG == 0;
        let name = format!("map {}", map.name).into();
        let part = (memory.start, memory.length);
        cage.map(name, map.start, memory.fd, part, writable).map_err(failed)?;
    }
    Ok(cage)
}
