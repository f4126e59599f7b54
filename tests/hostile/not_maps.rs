//! What is no map at all: other files, other things in the file system, other descriptors.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use usermap::{Access, Error, Map, MapType, Spec, abi::map_flags};
use usermap_tests::check::Watchdog;
use usermap_tests::child::{Folder, command, finish};
use usermap_tests::rng;

/// Opens every path, which must be refused with a message that names it.
pub fn child(paths: &[String]) {
    for path in paths {
        for access in [Access::ReadWrite, Access::ReadOnly, Access::WriteOnly] {
            let error = match Map::open(path, access) {
                Ok(_) => panic!("{path}: opened, {access:?}"),
                Err(error) => error,
            };
            assert!(matches!(error, Error::NotAMap { .. } | Error::Io { .. }), "{path}: {error:?}");
            let text = error.to_string();
            assert!(text.contains(path.as_str()), "{text:?} does not name {path}");
            assert!(error.errno() != 0);
        }
        // It is not for open_or_create to put a map where something else is.
        let spec = Spec::new(MapType::Hash, 4, 8, 4);
        if Path::new(path).exists() {
            assert!(Map::open_or_create(path, &spec).is_err(), "{path}: taken for a map");
            assert!(Map::create_pinned(path, &spec).is_err(), "{path}: replaced");
        }
    }
}

#[test]
fn paths() {
    let folder = Folder::new();
    let mut paths = Vec::new();
    let mut add = |name: &str| {
        let path = folder.path(name);
        paths.push(path.to_str().expect("UTF-8").to_owned());
        path
    };
    for size in [0, 1, 7, 8, 63, 64, 100, 4095, 4096, 4097, 1 << 20] {
        std::fs::write(add(&format!("zeros{size}")), vec![0; size]).expect("a file");
        std::fs::write(add(&format!("noise{size}")), rng::bytes(size as u64, size))
            .expect("a file");
        std::fs::write(add(&format!("ones{size}")), vec![0xff; size]).expect("a file");
    }
    std::fs::write(add("text"), "map 1\n".repeat(2000)).expect("a file");
    let program = std::env::current_exe().expect("this program's file");
    let start = std::fs::read(&program).expect("this program");
    std::fs::write(add("program"), &start[..1 << 16]).expect("a file");
    let huge = File::create(add("huge")).expect("a file");
    huge.set_len(1 << 40).expect("a sparse file");
    std::fs::create_dir(add("folder")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", add("dangling")).expect("a link");
    std::os::unix::fs::symlink("loop", add("loop")).expect("a link");
    std::os::unix::fs::symlink("folder", add("link-to-folder")).expect("a link");
    let fifo = add("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(add("socket")).expect("a socket");
    add("nothing");
    add("nothing/in/it");
    add("text/in/a/file");
    add(&"long".repeat(2000));
    paths.extend(["/dev/null", "/dev/zero", "/dev/full", "/", "/proc/self/mem"].map(str::to_owned));
    let arguments: Vec<&str> = paths.iter().map(String::as_str).collect();
    let (end, output) = finish(command("not-maps", &arguments), Duration::from_secs(20));
    assert!(end.success(), "{end:?}\n{output}");
    // What was there is as it was.
    assert_eq!(std::fs::read(folder.path("zeros100")).expect("the file"), [0; 100]);
    assert_eq!(std::fs::metadata(folder.path("huge")).expect("the file").len(), 1 << 40);
}

/// Paths that cannot be handed to a child.
#[test]
fn impossible_paths() {
    let spec = Spec::new(MapType::Hash, 4, 8, 4);
    for path in ["", "a\0b", "/tmp/a\0b"] {
        for result in [
            Map::open(path, Access::ReadWrite),
            Map::create_pinned(path, &spec),
            Map::open_or_create(path, &spec),
        ] {
            assert!(result.is_err(), "{path:?}");
        }
    }
}

/// Descriptors of all sorts.
pub fn descriptors(_: &[String]) {
    let folder = Folder::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let open = |path: &Path| OwnedFd::from(File::open(path).expect("opened"));
    let memfd = |size: u64| {
        let fd = rustix::fs::memfd_create("memfd", rustix::fs::MemfdFlags::CLOEXEC);
        let file = File::from(fd.expect("a memfd"));
        file.set_len(size).expect("a size");
        OwnedFd::from(file)
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a socket");
    let both = File::options().read(true).write(true).open("/dev/null").expect("opened");
    let bad: Vec<(&str, OwnedFd)> = vec![
        ("an empty file", open(&file("empty", &[]))),
        ("noise", open(&file("noise", &rng::bytes(1, 10_000)))),
        ("a folder", open(&folder.path(""))),
        ("/dev/null", both.into()),
        ("a pipe's end", reader.into()),
        ("a pipe's other end", writer.into()),
        ("a socket", socket.into()),
        ("an empty memfd", memfd(0)),
        ("a memfd of zeros", memfd(1 << 20)),
        ("a huge memfd of zeros", memfd(1 << 40)),
    ];
    for (what, fd) in bad {
        let error = Map::from_fd(fd).err().unwrap_or_else(|| panic!("{what} is a map"));
        assert!(matches!(error, Error::NotAMap { .. } | Error::Io { .. }), "{what}: {error:?}");
    }
    // A map's descriptor with fewer rights gives a handle with fewer, or none.
    let path = folder.path("map");
    let map = Map::create_pinned(&path, &Spec::new(MapType::Hash, 4, 8, 4)).expect("a map");
    map.update(&[1; 4], &[1; 8], 0).expect("room");
    let reader = Map::from_fd(open(&path)).expect("a reader");
    assert_eq!(reader.access(), Access::ReadOnly);
    reader.lookup(&[1; 4], &mut [0; 8], 0).expect("what is there");
    assert_eq!(reader.update(&[1; 4], &[2; 8], 0).expect_err("it may only read").errno(), 1);
    if let Ok(both) = reader.reopen(0) {
        let error = both.update(&[1; 4], &[2; 8], 0).expect_err("the descriptor may only read");
        assert_eq!(error.errno(), 1, "{error}");
    }
    let writer = File::options().write(true).open(&path).expect("opened");
    if let Ok(writer) = Map::from_fd(writer.into()) {
        assert_ne!(writer.access(), Access::ReadOnly);
        let _ = writer.lookup(&[1; 4], &mut [0; 8], 0);
    }
    for flags in [1, 4, 24, 32, u32::MAX, map_flags::RDONLY | 1] {
        assert_eq!(map.reopen(flags).err().map(|error| error.errno()), Some(22), "{flags}");
    }
}

#[test]
fn other_descriptors() {
    let (end, output) = finish(command("descriptors", &[]), Duration::from_secs(20));
    assert!(end.success(), "{end:?}\n{output}");
}

/// A folder that is full of nothing, a disk without room: an error and no half of a map.
#[test]
fn no_room() {
    let _watchdog = Watchdog::new("creating without room", Duration::from_secs(30));
    let folder = Folder::new();
    let spec = Spec::new(MapType::Array, 4, 8, 10);
    for path in [folder.path("absent/map"), "/proc/usermap-map".into(), "/dev/full/map".into()] {
        let error = Map::create_pinned(&path, &spec).expect_err("it cannot be created");
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().expect("UTF-8")), "{error}");
    }
    // A map that is larger than any memory.
    let vast = Spec::new(MapType::Array, 4, 1 << 30, u32::MAX);
    let path = folder.path("vast");
    assert!(Map::create_pinned(&path, &vast).is_err() && Map::create(&vast).is_err());
    assert!(!path.exists(), "half of a map is left");
    assert_eq!(std::fs::read_dir(folder.path("")).expect("the folder").count(), 0);
    let file = File::create(folder.path("file")).expect("a file");
    assert!(Map::from_fd(file.as_fd().try_clone_to_owned().expect("a copy")).is_err());
}
