//! Creating, opening and naming maps.

use crate::abi::{errno, map_flags};
use crate::error::{Error, Reason, Result};
use crate::header::{self, Header};
use crate::layout::Layout;
use crate::map::{Access, Inner, Map};
use crate::mem::sync::Ordering::Relaxed;
use crate::mem::{Region, process};
use crate::spec::Spec;
use crate::storage::{self, Size};
use crate::types::MapTypes;
use crate::writers::Writers;
use rustix::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Creation and opening.
impl Map {
    /// A new map in memory behind a descriptor: a nameless file in the
    /// [default folder](crate::default_folder), so that it can be [pinned](Map::pin) there, or
    /// else a memfd.
    ///
    /// # Errors
    ///
    /// The specification breaks a rule ([`Error::Spec`]), or there is no room.
    pub fn create(spec: &Spec) -> Result<Map> {
        if cfg!(any(miri, loom)) {
            return Map::create_anonymous(spec);
        }
        let header = new_header(spec)?;
        let fd = storage::nameless(&header.size())?;
        Map::in_new_file(fd, header, Path::new(""), spec)
    }

    /// A new map without a descriptor, which only forked children share. The cheapest kind.
    ///
    /// # Errors
    ///
    /// As [`create`](Map::create).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create_anonymous(&Spec::new(MapType::Array, 4, 8, 16))?;
    /// assert!(map.as_fd().is_none());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn create_anonymous(spec: &Spec) -> Result<Map> {
        let header = new_header(spec)?;
        let region = Region::anonymous(header.words * 8)?;
        Map::in_new_region(region, header, spec)
    }

    /// A new map in a file of this name (a bare name: in the default folder). The file is there
    /// whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`create`](Map::create), and if something of that name exists.
    ///
    /// ```
    /// use usermap::{Access, Map, MapType, Spec};
    /// # let folder = std::env::temp_dir().join(format!("usermap-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).unwrap();
    /// # let path = folder.join("flows");
    /// let map = Map::create_pinned(&path, &Spec::new(MapType::Hash, 4, 8, 16))?;
    /// map.update(&[1; 4], &[2; 8], 0)?;
    /// drop(map);
    /// let map = Map::open(&path, Access::ReadOnly)?; // this could be another process
    /// assert_eq!(map.len(), 1);
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn create_pinned(path: impl AsRef<Path>, spec: &Spec) -> Result<Map> {
        let path = storage::resolve(path.as_ref())?;
        let header = new_header(spec)?;
        let (fd, hidden) = storage::beside(&path, &header.size())?;
        let map = Map::in_new_file(fd, header, &path, spec);
        let linked = map.and_then(|map| map.link(path).map(|()| map));
        if let Some(hidden) = hidden {
            let _ = std::fs::remove_file(hidden);
        }
        linked
    }

    /// Opens the map of this name, or creates it. Of several processes that do so at once, one
    /// creates and the others open.
    ///
    /// # Errors
    ///
    /// As [`create`](Map::create) and [`open`](Map::open); and [`Error::Differs`] if the map that
    /// is there has another kind, size or flags. A name and types may differ, or be on one side
    /// only: a map that is there keeps its own.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// # let path = std::env::temp_dir().join(format!("usermap-doc-ooc-{}", std::process::id()));
    /// let spec = Spec::new(MapType::Queue, 0, 8, 16);
    /// let first = Map::open_or_create(&path, &spec)?;
    /// first.push(&[1; 8], 0)?;
    /// let second = Map::open_or_create(&path, &spec)?;
    /// assert_eq!(second.len(), 1);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn open_or_create(path: impl AsRef<Path>, spec: &Spec) -> Result<Map> {
        let path = storage::resolve(path.as_ref())?;
        let mut tries = 0;
        loop {
            match Map::open(&path, Access::from_flags(spec.flags)) {
                Err(error) if error.errno() == errno::ENOENT => {}
                Ok(map) => return map.same_as(spec, &path),
                Err(error) => return Err(error),
            }
            match Map::create_pinned(&path, spec) {
                // Created by another process since; or a link that leads nowhere, for ever.
                Err(error) if error.errno() == errno::EEXIST && tries < 100 => tries += 1,
                done => return done,
            }
        }
    }

    fn same_as(self, spec: &Spec, path: &Path) -> Result<Map> {
        let (found, asked) = (self.spec(), resolved(spec));
        let fields = [
            ("map_type", found.map_type as u64, asked.map_type as u64),
            ("key_size", found.key_size.into(), asked.key_size.into()),
            ("value_size", found.value_size.into(), asked.value_size.into()),
            ("max_entries", found.max_entries.into(), asked.max_entries.into()),
            ("map_flags", found.flags.into(), asked.flags.into()),
            ("cpus", found.cpus.into(), asked.cpus.into()),
        ];
        match fields.into_iter().find(|(_, found, asked)| found != asked) {
            None => Ok(self),
            Some((field, found, asked)) => {
                Err(Error::Differs { path: path.to_owned(), field, found, asked })
            }
        }
    }

    /// Opens the map of this name (a bare name: in the default folder).
    ///
    /// # Errors
    ///
    /// There is no such file, it may not be opened like this, or it is [no
    /// map](Error::NotAMap): not a regular file, too short, of another version, or damaged.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Map> {
        let path = storage::resolve(path.as_ref())?;
        let (fd, header) = storage::open(&path, access.writes())?;
        Map::existing(fd, header, access.writes(), access, &path)
    }

    /// The map that a descriptor is: one that was inherited, sent over a socket, or opened. A
    /// descriptor that cannot be written to gives a read-only handle.
    ///
    /// # Errors
    ///
    /// The descriptor is no map.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1))?;
    /// let fd = map.as_fd().unwrap().try_clone_to_owned().unwrap();
    /// let same = Map::from_fd(fd)?;
    /// same.update(&[0; 4], &[9; 8], 0)?;
    /// let mut value = [0; 8];
    /// map.lookup(&[0; 4], &mut value, 0)?;
    /// assert_eq!(value, [9; 8]);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Map> {
        let what = Path::new("descriptor");
        let header = storage::read_header(fd.as_fd(), what)?;
        let writable = storage::is_writable(fd.as_fd())?;
        let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
        Map::existing(fd, header, writable, access, what)
    }

    /// Puts another descriptor of the map's file into the place of its own, which it gives; for
    /// those to whom the number of a descriptor matters. Only the one handle of a map can do that,
    /// since other handles may have lent the descriptor; `None` says that there are others, or
    /// that the map has no descriptor.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// use usermap::{Map, MapType, Spec};
    /// let mut map = Map::create(&Spec::new(MapType::Array, 4, 8, 1))?;
    /// let copy = map.as_fd().unwrap().try_clone_to_owned().unwrap();
    /// let number = copy.as_raw_fd();
    /// map.replace_fd(copy).unwrap();
    /// assert_eq!(map.as_fd().unwrap().as_raw_fd(), number);
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn replace_fd(&mut self, fd: OwnedFd) -> Option<OwnedFd> {
        let own = Arc::get_mut(&mut self.inner)?.region.fd_mut()?;
        Some(std::mem::replace(own, fd))
    }

    fn in_new_file(fd: OwnedFd, header: Header, path: &Path, spec: &Spec) -> Result<Map> {
        let region = Region::map(fd, header.words * 8, true, path)?;
        Map::in_new_region(region, header, spec)
    }

    fn in_new_region(region: Region, header: Header, spec: &Spec) -> Result<Map> {
        if spec.huge_pages {
            let sparse = header.size().sparse;
            let taken = region.take_huge_pages(sparse.start as usize..sparse.end as usize);
            let refused = taken.map_or_else(|error| error.raw_os_error(), |()| 0);
            region.words()[header::REFUSED].store(refused as u64, Relaxed);
        }
        header.write(region.words(), spec.types.as_ref());
        Map::new(region, header, None, true, Access::from_flags(spec.flags))
    }

    fn existing(
        fd: OwnedFd,
        header: Header,
        writable: bool,
        access: Access,
        path: &Path,
    ) -> Result<Map> {
        let possible = header.spec.is_possible() && resolved(&header.spec) == header.spec;
        if !possible {
            return Err(Error::not_a_map(path, "its specification breaks the rules of creation"));
        }
        // Nothing in a file is believed, its size neither: all places follow from the specification.
        if Layout::of(&header).map(|layout| layout.words) != Some(header.words) {
            return Err(Error::not_a_map(path, "its size does not follow from its specification"));
        }
        let region = Region::map(fd, header.words * 8, writable, path)?;
        let map = Map::new(region, header, Some(path), writable, access)?;
        if writable {
            map.inner.settle();
        }
        Ok(map)
    }

    fn new(
        mut region: Region,
        header: Header,
        path: Option<&Path>,
        writable: bool,
        access: Access,
    ) -> Result<Map> {
        static SERIAL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let path =
            path.filter(|path| path.exists()).and_then(|path| std::path::absolute(path).ok());
        let Layout { kind, kind_end, leases, types, .. } = Layout::of(&header)
            .ok_or_else(|| Error::not_a_map(path.clone().unwrap_or_default(), "too large"))?;
        kind.find_in(&mut region);
        let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let writers = Writers::default();
        let path = Mutex::new(path);
        let value_bytes = header.spec.value_bytes(header.spec.cpus) as usize;
        let inner = Inner {
            region,
            header,
            kind,
            kind_end,
            leases,
            types,
            value_bytes,
            writers,
            writable,
            path,
            serial,
        };
        Ok(Map { inner: Arc::new(inner), access })
    }

    /// Another handle with rights by `BPF_F_RDONLY`, `BPF_F_WRONLY` or 0 for both, as
    /// `BPF_MAP_GET_FD_BY_ID` gives one.
    ///
    /// # Errors
    ///
    /// Other flags, both at once, or rights that the file was not opened with.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec, abi::map_flags};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 1))?;
    /// let reader = map.reopen(map_flags::RDONLY)?;
    /// assert_eq!(reader.update(&[0; 4], &[9; 8], 0).unwrap_err().errno(), 1); // EPERM
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn reopen(&self, open_flags: u32) -> Result<Map> {
        let both = map_flags::RDONLY | map_flags::WRONLY;
        if open_flags & !both != 0 || open_flags & both == both {
            let reason = Reason::Flags { flags: open_flags.into() };
            return Err(self.error("get_fd_by_id", reason));
        }
        let access = Access::from_flags(open_flags);
        if access.writes() && !self.inner.writable {
            return Err(self.error("get_fd_by_id", Reason::ReadOnly));
        }
        Ok(Map { inner: self.inner.clone(), access })
    }

    /// Gives the map this name (a bare name: in the default folder), so that it can be opened by
    /// it and outlives its handles. `rm` takes the name away.
    ///
    /// # Errors
    ///
    /// Something of that name exists; or the map has no file that can be linked there: it is
    /// anonymous or a memfd, or the name is on another file system. Such a map is made with
    /// [`create_pinned`](Map::create_pinned).
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Hash, 4, 8, 16))?;
    /// # let name = format!("doc-pin-{}", std::process::id());
    /// map.pin(&name)?;
    /// let path = map.info().path.unwrap();
    /// assert!(path.exists());
    /// std::fs::remove_file(path).unwrap();
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.link(storage::resolve(path.as_ref())?)
    }

    fn link(&self, path: PathBuf) -> Result<()> {
        let Some(fd) = self.as_fd() else {
            let reason = "an anonymous map has no file to name: create it pinned";
            return Err(self.error("pin", Reason::Invalid(reason)));
        };
        storage::link(fd, &path)?;
        let path = std::path::absolute(&path).unwrap_or(path);
        *self.inner.path.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(path);
        Ok(())
    }

    /// Writes all changes to the disk, for maps in a file on one: after it returns they outlive a
    /// power failure. Without it they outlive the processes, and reach the disk in the system's
    /// own time, in no order.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn sync(&self) -> Result<()> {
        self.inner.region.sync().map_err(|error| Error::io("writing the map to disk", "", error))
    }
}

impl Header {
    /// How large the region's file is to be.
    fn size(&self) -> Size<'_> {
        let sparse = Layout::of(self).map_or(0..0, |layout| layout.kind.sparse());
        Size {
            spec: &self.spec,
            bytes: self.words as u64 * 8,
            sparse: sparse.start as u64 * 8..sparse.end as u64 * 8,
            salt: self.id.into(),
        }
    }
}

/// The header of a new map, with all that follows from the specification filled in.
fn new_header(spec: &Spec) -> Result<Header> {
    spec.validate()?;
    let types = spec.types.as_ref().map(MapTypes::summary);
    let spec = resolved(spec);
    storage::check_memory(&spec)?;
    let seed = match spec.has(map_flags::ZERO_SEED) {
        true => [0, 0],
        false => [random(), random()],
    };
    let too_large = Error::Spec {
        map: spec.name,
        field: "max_entries",
        value: spec.max_entries.into(),
        rule: "the map would be larger than a file can be",
        errno: errno::ENOMEM,
    };
    // As the kernel's, from 1 to below INT_MAX: BPF_MAP_GET_NEXT_ID goes no further.
    let id = random() as u32 % (i32::MAX as u32 - 1) + 1;
    let mut header = Header { spec, seed, words: 0, id, types };
    header.words = Layout::of(&header).ok_or(too_large)?.words;
    Ok(header)
}

/// The specification with the number of CPU slots that the map will have, and without the rights
/// of the handle that creates it (`bpf_map_flags_retain_permanent`) and the types, which are in
/// the region.
fn resolved(spec: &Spec) -> Spec {
    let cpus = match (spec.map_type.is_per_cpu(), spec.cpus) {
        (false, _) => 1,
        (true, 0) => process::possible_cpus(),
        (true, cpus) => cpus,
    };
    let flags = spec.flags & !(map_flags::RDONLY | map_flags::WRONLY);
    Spec { types: None, ..spec.clone().cpus(cpus).flags(flags) }
}

fn random() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(std::time::SystemTime::now())
}
