//! The ways to a map: its file's name, a bare name, a descriptor that is inherited or sent, a
//! fork; read-only ones, and those that the file's permissions refuse.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use usermap::abi::{BPF_ANY, errno::*, map_flags};
use usermap::{Access, Map, MapType, Reason, Spec};
use usermap_tests::child::{Folder, command, command_of, finish};
use usermap_tests::sys;

const LIMIT: Duration = Duration::from_secs(20);

fn spec() -> Spec {
    Spec::new(MapType::Hash, 4, 8, 16).name("handles").expect("a name")
}

fn put(map: &Map, key: u8, value: u8) {
    map.update(&[key; 4], &[value; 8], BPF_ANY).expect("room");
}

fn get(map: &Map, key: u8) -> Option<u8> {
    let mut value = [0; 8];
    map.lookup(&[key; 4], &mut value, 0).ok().map(|()| value[0])
}

fn run(command: Command) {
    let (end, output) = finish(command, LIMIT);
    assert!(end.success(), "{end:?}\n{output}");
}

/// What every child does with a map that has key 1: sees it, and adds key 2.
fn meet(map: &Map) {
    assert_eq!(map.spec().name.as_str(), "handles");
    assert_eq!(get(map, 1), Some(11));
    put(map, 2, 22);
}

pub fn by_name(arguments: &[String]) {
    meet(&Map::open(&arguments[0], Access::ReadWrite).expect("the map"));
}

#[test]
fn two_programs_that_know_the_name() {
    for folder in [Folder::new(), Folder::on_disk()] {
        let path = folder.path("map");
        let map = Map::create_pinned(&path, &spec()).expect("a map");
        put(&map, 1, 11);
        run(command("by-name", &[path.to_str().expect("UTF-8")]));
        assert_eq!(get(&map, 2), Some(22));
        // It outlives its handles, and a name that is removed does not end it.
        drop(map);
        let map = Map::open(&path, Access::ReadWrite).expect("it is still there");
        assert_eq!(get(&map, 2), Some(22));
        map.sync().expect("synced");
        std::fs::remove_file(&path).expect("unpinned");
        put(&map, 3, 33);
        assert_eq!((get(&map, 2), get(&map, 3)), (Some(22), Some(33)));
        let error = Map::open(&path, Access::ReadWrite).expect_err("the name is gone");
        assert_eq!(error.errno(), ENOENT);
    }
}

pub fn bare_name(_: &[String]) {
    meet(&Map::open("handles", Access::ReadWrite).expect("the map"));
}

#[test]
fn bare_names_are_in_the_folder() {
    let folder = Folder::new();
    let map = Map::create_pinned(folder.path("handles"), &spec()).expect("a map");
    put(&map, 1, 11);
    let mut command = command("bare-name", &[]);
    command.env("USERMAP_DIR", folder.path(""));
    run(command);
    assert_eq!(get(&map, 2), Some(22));
}

/// A map that was made without a name can be given one.
#[test]
fn pinned_later() {
    let folder = Folder::new();
    let (path, taken) = (folder.path("map"), folder.path("taken"));
    let map = Map::create(&spec()).expect("a map");
    put(&map, 1, 11);
    std::fs::write(&taken, "something else").expect("a file");
    assert_eq!(map.pin(&taken).expect_err("the name is taken").errno(), EEXIST);
    assert_eq!(std::fs::read(&taken).expect("the file"), b"something else");
    map.pin(&path).expect("pinned");
    run(command("by-name", &[path.to_str().expect("UTF-8")]));
    assert_eq!(get(&map, 2), Some(22));
    assert_eq!(map.pin(&path).expect_err("the name is taken").errno(), EEXIST);
}

fn descriptor(map: &Map) -> OwnedFd {
    map.as_fd().expect("a descriptor").try_clone_to_owned().expect("a copy of it")
}

pub fn from_stdin(_: &[String]) {
    let fd = std::io::stdin().as_fd().try_clone_to_owned().expect("a copy of it");
    meet(&Map::from_fd(fd).expect("a map"));
}

#[test]
fn an_inherited_descriptor() {
    let map = Map::create(&spec()).expect("a map");
    put(&map, 1, 11);
    // Made from the descriptor alone, and alive after the first handle is gone.
    let other = Map::from_fd(descriptor(&map)).expect("a map");
    let mut command = command("from-stdin", &[]);
    command.stdin(Stdio::from(descriptor(&map)));
    drop(map);
    run(command);
    assert_eq!(get(&other, 2), Some(22));
}

pub fn from_socket(arguments: &[String]) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let socket = UnixStream::connect(&arguments[0]).expect("the parent's socket");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(&socket, &mut parts, &mut buffer, RecvFlags::empty()).expect("a message");
    let fd = buffer.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    meet(&Map::from_fd(fd.expect("a descriptor")).expect("a map"));
}

#[test]
fn a_descriptor_sent_over_a_socket() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let folder = Folder::new();
    let path = folder.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let map = Map::create(&spec()).expect("a map");
    put(&map, 1, 11);
    let sender = std::thread::spawn({
        let map = map.clone();
        move || {
            let (socket, _) = listener.accept().expect("the child");
            let fds = [map.as_fd().expect("a descriptor")];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut buffer = SendAncillaryBuffer::new(&mut space);
            assert!(buffer.push(SendAncillaryMessage::ScmRights(&fds)));
            let parts = [std::io::IoSlice::new(b"m")];
            sendmsg(&socket, &parts, &mut buffer, SendFlags::empty()).expect("sent");
        }
    });
    run(command("from-socket", &[path.to_str().expect("UTF-8")]));
    sender.join().expect("no panic");
    assert_eq!(get(&map, 2), Some(22));
}

/// A forked child has the map without doing anything, also one that has no descriptor.
#[test]
fn fork() {
    let maps = [Map::create_anonymous(&spec()), Map::create(&spec())];
    for map in maps.map(|map| map.expect("a map")) {
        put(&map, 1, 11);
        let code = sys::fork(|| {
            let seen = get(&map, 1) == Some(11);
            let added = (0..1000).all(|_| map.inc(&[9; 4], 1, BPF_ANY).is_ok());
            put(&map, 2, 22);
            u8::from(!seen || !added)
        });
        assert_eq!(code, 0);
        map.inc(&[9; 4], 0, BPF_ANY).expect("it is there");
        let count = map.inc_and_return(&[9; 4], 1, BPF_ANY).expect("it is there");
        assert_eq!((get(&map, 2), count), (Some(22), 1001));
    }
}

/// Handles that may only read or only write, as bpf(2) has them, by the file's name.
#[test]
fn limited_access() {
    let folder = Folder::new();
    let path = folder.path("map");
    let map = Map::create_pinned(&path, &spec()).expect("a map");
    put(&map, 1, 11);
    let reader = Map::open(&path, Access::ReadOnly).expect("a reader");
    assert_eq!(reader.access(), Access::ReadOnly);
    let refused = [
        reader.update(&[1; 4], &[0; 8], BPF_ANY),
        reader.delete(&[1; 4]),
        reader.lookup_and_delete(&[1; 4], &mut [0; 8], 0),
        reader.inc(&[1; 4], 1, BPF_ANY),
        reader.freeze(),
        reader.clear().map(drop),
        reader.retain(|_, _| false).map(drop),
        reader.delete_range(&[0; 4], &[255; 4]).map(drop),
        reader.update_range(&[0; 4], &[255; 4], &[0; 8]).map(drop),
    ];
    for result in refused {
        let error = result.expect_err("it may only read");
        assert_eq!((error.errno(), error.reason()), (EPERM, Some(Reason::ReadOnly)), "{error}");
    }
    put(&map, 1, 12);
    assert_eq!((get(&reader, 1), reader.len()), (Some(12), 1));
    let writer = Map::open(&path, Access::WriteOnly).expect("a writer");
    put(&writer, 2, 22);
    let refused = [
        writer.lookup(&[1; 4], &mut [0; 8], 0),
        writer.get_next_key(None, &mut [0; 4]),
        writer.for_each(|_, _| true).map(drop),
    ];
    for result in refused {
        assert_eq!(result.expect_err("it may only write").errno(), EPERM);
    }
    assert_eq!(get(&map, 2), Some(22));
    // From a read-only handle there is no way to a writing one that the file would refuse.
    let again = map.reopen(map_flags::RDONLY).expect("another handle");
    assert_eq!(again.access(), Access::ReadOnly);
}

/// A child of another user, who has the right to read two of the files, and to write neither.
pub fn without_rights(arguments: &[String]) {
    let [secret, readable, busy_path] = arguments else { panic!("{arguments:?}") };
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let error = Map::open(secret, access).expect_err("no permission");
        assert_eq!(error.errno(), EACCES, "{error}");
        assert!(error.to_string().contains(secret), "{error}");
    }
    let error = Map::open(readable, Access::ReadWrite).expect_err("no permission to write");
    assert_eq!(error.errno(), EACCES, "{error}");
    let map = Map::open(readable, Access::ReadOnly).expect("permission to read");
    assert_eq!((get(&map, 1), map.len()), (Some(11), 1));
    assert_eq!(map.update(&[1; 4], &[0; 8], BPF_ANY).expect_err("read-only").errno(), EPERM);
    // Reading goes on while the owner writes.
    let busy = Map::open(busy_path, Access::ReadOnly).expect("permission to read");
    let (mut last, mut changes) = (0, 0);
    let started = std::time::Instant::now();
    while changes < 100 && started.elapsed() < LIMIT / 2 {
        let now = get(&busy, 1).expect("it is always there");
        changes += u32::from(now != last);
        last = now;
    }
    assert_eq!(changes, 100, "what the owner writes is seen");
    let error = Map::create_pinned(format!("{secret}.new"), &spec()).expect_err("no permission");
    assert_eq!(error.errno(), EACCES, "{error}");
}

#[test]
fn permissions() {
    use std::os::unix::process::CommandExt;
    let folder = Folder::new();
    let names = ["secret", "readable", "busy"];
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.path(name)).collect();
    let maps: Vec<Map> =
        paths.iter().map(|path| Map::create_pinned(path, &spec()).expect("a map")).collect();
    for (map, path) in maps.iter().zip(&paths) {
        put(map, 1, 11);
        let mode = std::fs::metadata(path).expect("the file").mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "a new map is its owner's alone, not {mode:o}");
    }
    for (path, mode) in paths.iter().zip([0o000, 0o444, 0o644]) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("changed");
    }
    // Programs cannot be run from every tmpfs.
    let programs = Folder::on_disk();
    let mut program = std::env::current_exe().expect("this program's file");
    let arguments: Vec<&str> = paths.iter().map(|path| path.to_str().expect("UTF-8")).collect();
    let is_root = std::fs::metadata(folder.path("")).expect("the folder").uid() == 0;
    if is_root {
        // Nobody may not be able to look into the build's folder.
        let copy = programs.path("program");
        std::fs::copy(&program, &copy).expect("a copy of this program");
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("changed");
        program = copy;
    }
    let mut command = command_of(&program, "without-rights", &arguments);
    command.current_dir("/");
    if is_root {
        command.uid(65534).gid(65534);
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut i = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                i = i % 200 + 1;
                put(&maps[2], 1, i);
            }
        });
        let child =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| finish(command, LIMIT)));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let (end, output) = child.expect("the child started");
        assert!(end.success(), "{end:?}\n{output}");
    });
    if !is_root {
        let error = Map::open(&paths[0], Access::ReadWrite).expect_err("no permission");
        assert_eq!(error.errno(), EACCES, "{error}");
    }
}

/// The folder for bare names is this user's alone.
#[test]
fn the_default_folder() {
    let folder = usermap::default_folder().expect("a folder");
    assert!(folder.is_absolute());
    if std::env::var_os("USERMAP_DIR").is_none() {
        let mode = std::fs::metadata(&folder).expect("it was made").mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
    }
}
