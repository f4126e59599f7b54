//! Rights: what a handle may not do it cannot do, whatever is called; and whom a file's modes keep
//! out.

use crate::exercise::{everything, fill, specs};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use usermap::abi::errno::{EACCES, EPERM};
use usermap::abi::{BPF_ANY, map_flags};
use usermap::{Access, Error, Map};
use usermap_tests::adapter::batch;
use usermap_tests::child::Folder;
use usermap_tests::rng::{Rng, seed};
use usermap_tests::sys::fork;

/// All functions and more, a few thousand times: not a byte of the file changes.
#[test]
fn read_only_handles_write_nothing() {
    let mut rng = Rng::new(seed());
    for spec in specs() {
        let folder = Folder::new();
        let path = folder.path("map");
        let map = Map::create_pinned(&path, &spec).expect("a map");
        fill(&map);
        let before = std::fs::read(&path).expect("the map's file");
        let opened = Map::open(&path, Access::ReadOnly).expect("the map");
        everything(&opened, &mut rng, 3000);
        assert_eq!(opened.repair().expect_err("it may not write").errno(), EPERM);
        assert_eq!(opened.freeze().expect_err("it may not write").errno(), EPERM);
        assert_eq!(opened.reopen(0).map(drop).expect_err("no more rights").errno(), EPERM);
        drop(opened);
        assert!(std::fs::read(&path).expect("the map's file") == before, "{spec:?}");
        // A handle on a writable region that may only read: programs are not bound by it, all else is.
        let reader = map.reopen(map_flags::RDONLY).expect("fewer rights");
        let key = &vec![0; spec.key_size as usize][..];
        let value = vec![1; map.value_bytes()];
        let refused = [
            reader.update(key, &value, BPF_ANY),
            reader.delete(key),
            reader.inc(key, 1, BPF_ANY),
            reader.push(&value, BPF_ANY),
            reader.clear().map(drop),
            reader.retain(|_, _| false).map(drop),
            reader.update_range(key, key, &value).map(drop),
            reader.delete_range(key, key).map(drop),
            reader.freeze(),
            reader.repair().map(drop),
        ];
        for (number, outcome) in refused.into_iter().enumerate() {
            outcome.err().unwrap_or_else(|| panic!("function {number}, {spec:?}"));
        }
        let batches = [
            batch::write(&reader, key, Some(&value), 1, 0, 0).errno,
            batch::write(&reader, key, None, 1, 0, 0).errno,
        ];
        assert!(batches.iter().all(|errno| *errno != 0), "{batches:?}");
        assert!(std::fs::read(&path).expect("the map's file") == before, "{spec:?}");
    }
}

/// What gives a key or a value is refused to a handle that may only write.
#[test]
fn write_only_handles_read_nothing() {
    for spec in specs() {
        let map = Map::create(&spec).expect("a map");
        fill(&map);
        let writer = map.reopen(map_flags::WRONLY).expect("fewer rights");
        let key = &vec![0; spec.key_size as usize][..];
        let secret = vec![7; map.value_bytes()];
        let mut seen = vec![0; map.value_bytes()];
        let mut next = vec![0; spec.key_size as usize];
        let mut met = 0;
        let mut meet = |_: &[u8], _: &[u8]| {
            met += 1;
            true
        };
        let refused = [
            writer.lookup(key, &mut seen, 0),
            writer.lookup_and_delete(key, &mut seen, 0),
            writer.peek(&mut seen, 0),
            writer.pop(&mut seen, 0),
            writer.get_next_key(None, &mut next),
            writer.inc_and_return(key, 0, BPF_ANY).map(drop),
            writer.for_each(&mut meet).map(drop),
            writer.lookup_range(key, &[0xff; 13], &mut meet).map(drop),
            writer.drain(|_, _| ()).map(drop),
            writer.retain(|_, _| true).map(drop),
            writer.check().map(drop),
        ];
        for (number, outcome) in refused.into_iter().enumerate() {
            outcome.err().unwrap_or_else(|| panic!("function {number}, {spec:?}"));
        }
        let found = batch::lookup(&writer, None, 4, 4, false, 0, 0);
        assert!(found.errno != 0 && found.values.iter().all(|byte| *byte == 0xAA), "{spec:?}");
        assert!(met == 0 && seen != secret, "{spec:?}");
        assert!(next.iter().all(|byte| *byte == 0), "{spec:?}");
    }
}

/// What a user without rights gets.
fn errno_as_nobody(path: &Path, access: Access) -> i32 {
    fork(|| {
        let (gid, uid) = (Gid::from_raw(65534), Uid::from_raw(65534));
        rustix::thread::set_thread_groups(&[]).expect("rights to give up rights");
        set_thread_res_gid(gid, gid, gid).expect("rights to give up rights");
        set_thread_res_uid(uid, uid, uid).expect("rights to give up rights");
        match Map::open(path, access) {
            Ok(map) => {
                let mut value = vec![0; map.value_bytes()];
                let _ = map.lookup(&[0; 4], &mut value, 0);
                0
            }
            Err(error) => {
                assert!(matches!(error, Error::Io { .. }), "{error:?}");
                error.errno() as u8
            }
        }
    })
}

#[test]
fn modes_keep_other_users_out() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root can become another user");
        assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "root is required");
        return;
    }
    let folder = Folder::new();
    let path = folder.path("map");
    let spec = usermap::Spec::new(usermap::MapType::Hash, 4, 8, 4);
    let map = Map::create_pinned(&path, &spec).expect("a map");
    map.update(&[0; 4], &[1; 8], 0).expect("room");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode();
    let set = |path: &Path, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("our own file");
    };
    assert_eq!(mode(&path) & 0o777, 0o600, "nobody else's unless its owner says so");
    for (file, folder_mode, reads, writes) in [
        (0o600, 0o755, EACCES, EACCES),
        (0o644, 0o755, 0, EACCES),
        (0o666, 0o755, 0, 0),
        (0o666, 0o700, EACCES, EACCES),
    ] {
        set(&path, file);
        set(&folder.path(""), folder_mode);
        assert_eq!(errno_as_nobody(&path, Access::ReadOnly), reads, "{file:o}, {folder_mode:o}");
        assert_eq!(errno_as_nobody(&path, Access::ReadWrite), writes, "{file:o}, {folder_mode:o}");
        assert_eq!(errno_as_nobody(&path, Access::WriteOnly), writes, "{file:o}, {folder_mode:o}");
    }
}
