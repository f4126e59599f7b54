//! Somebody else writes anything anywhere into a region while it is used, through the same file:
//! the data is lost, but nobody crashes, hangs or panics.

use crate::exercise::{everything, fill, specs};
use crate::programs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use usermap::abi::errno::EPERM;
use usermap::{Access, Check, Map};
use usermap_tests::check::soak;
use usermap_tests::child::{Folder, command, finish};
use usermap_tests::rng::{Rng, seed};

/// Bytes where what is written matters most: the words that are counted and hinted, the first
/// records of the table of writers, and the start of a kind's own part (docs/design.md).
const CRAFTED: [(u64, u64); 3] = [(512, 272), (4096, 256), (69_632, 2048)];

/// Writing to the file is writing to the pages that the map has mapped.
pub fn scribble(file: &File, rng: &mut Rng, skip: u64) {
    let len = file.metadata().expect("its size").len();
    let anywhere = |rng: &mut Rng| skip + (rng.below(len - skip - 8) & !3);
    let at = match rng.one_in(2) {
        true => anywhere(rng),
        false => {
            let (start, bytes) = *rng.pick(&CRAFTED);
            (start + (rng.below(bytes) & !7)).clamp(skip, len - 8)
        }
    };
    let word = |word: u64| drop(file.write_at(&word.to_le_bytes(), at));
    match rng.below(12) {
        0..3 => word(rng.draw()),
        3 => word(u64::MAX),
        4 => word(rng.below(16)),
        5 => drop(file.write_at(&(rng.below(1 << 16) as u32).to_le_bytes(), at)),
        6 => {
            // A part of the region elsewhere.
            let mut bytes = vec![0; 64.min((len - at) as usize)];
            let from = anywhere(rng);
            if let Ok(read) = file.read_at(&mut bytes, from) {
                drop(file.write_at(&bytes[..read], at));
            }
        }
        7 => drop(file.write_at(&vec![rng.draw() as u8; 200.min((len - at) as usize)], at)),
        // One bit.
        8 => {
            let mut bytes = [0; 8];
            if file.read_at(&mut bytes, at).is_ok() {
                word(u64::from_le_bytes(bytes) ^ 1 << rng.below(64));
            }
        }
        // A lock of one of the first writers, with any version, redo and places.
        9 => word(rng.below(4) << 52 | rng.draw() >> 12),
        // A linked node and a head, with links that lead to the first nodes.
        10 => word((8 + rng.below(4)) << 38 | rng.below(256) << 32 | rng.below(200)),
        // An operation of a writer, on one of the first locks; or a redo's target.
        _ => word(rng.below(16) << 60 | rng.below(1 << 20) << 32 | rng.below(20)),
    }
}

/// Two threads do everything, one runs programs, one scribbles; there are two such processes at once.
pub fn child(arguments: &[String]) {
    let [path, milliseconds, skip] = arguments else { panic!("{arguments:?}") };
    let limit = Duration::from_millis(milliseconds.parse().expect("a number"));
    let skip: u64 = skip.parse().expect("a number");
    let map = Map::open(path, Access::ReadWrite).expect("the map");
    let reader = Map::open(path, Access::ReadOnly).expect("the map");
    let file = File::options().read(true).write(true).open(path).expect("the map's file");
    let programs = programs::programs(&map);
    // Both have it open before either writes into it.
    std::fs::write(format!("{path}.{}", std::process::id()), []).expect("a file");
    let folder = Path::new(path).parent().expect("a folder");
    while std::fs::read_dir(folder).expect("the folder").count() < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(seed() ^ u64::from(std::process::id()) << 16);
            while !done.load(Ordering::Relaxed) {
                programs::run(&programs, &mut rng, 2);
            }
        });
        for (i, map) in [&map, &reader].into_iter().enumerate() {
            let done = &done;
            scope.spawn(move || {
                let mut rng = Rng::new(seed() ^ u64::from(std::process::id()) << 8 ^ i as u64);
                while !done.load(Ordering::Relaxed) {
                    everything(map, &mut rng, 2);
                    let check = map.check().expect("a handle that may read");
                    assert!(check.findings.len() <= Check::LISTED);
                }
            });
        }
        let mut rng = Rng::new(!seed() ^ u64::from(std::process::id()));
        let started = Instant::now();
        while started.elapsed() < limit {
            for _ in 0..rng.below(40) {
                scribble(&file, &mut rng, skip);
            }
            if rng.one_in(2) {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// `skip` bytes at the beginning are spared.
fn run(skip: u64) {
    let each = soak().map_or(200, |soak| soak.as_millis() / specs().len() as u128);
    for spec in specs() {
        let folder = Folder::new();
        let path = folder.path("map");
        let map = Map::create_pinned(&path, &spec).expect("a map");
        fill(&map);
        let arguments = [path.to_str().expect("UTF-8"), &each.to_string(), &skip.to_string()];
        // Locks that somebody seems to hold cost a second each.
        let limit = Duration::from_secs(60) + Duration::from_millis(each as u64);
        std::thread::scope(|scope| {
            let one = || finish(command("scribbled", &arguments), limit);
            for child in [scope.spawn(one), scope.spawn(one)] {
                let (end, output) = child.join().expect("a child's end");
                assert!(end.success(), "{end:?}, USERMAP_SEED={}, {spec:?}\n{output}", seed());
            }
        });
        // We have the map open too, and can still use it, close it, and open it or not.
        let mut rng = Rng::new(seed());
        everything(&map, &mut rng, 30);
        drop(map);
        if let Ok(map) = Map::open(&path, Access::ReadWrite) {
            everything(&map, &mut rng, 30);
        }
    }
}

#[test]
fn everywhere() {
    run(0);
}

/// A header that stays as it is gets readers further.
#[test]
fn behind_the_header() {
    run(4096);
}

/// A memfd cannot be made smaller under its users' feet. It is what a map is in where there is no
/// folder for maps; a file's size is its owner's to change.
pub fn shrunk(_: &[String]) {
    for spec in specs() {
        let map = Map::create(&spec).expect("a map");
        fill(&map);
        let fd = map.as_fd().expect("a descriptor").try_clone_to_owned().expect("a copy of it");
        let file = File::from(fd);
        for len in [0, 1, 4096] {
            let error = file.set_len(len).expect_err("its size is sealed");
            assert_eq!(error.raw_os_error(), Some(EPERM), "{error}");
        }
        everything(&map, &mut Rng::new(seed()), 200);
    }
}

#[test]
fn a_descriptors_size_is_sealed() {
    let (end, output) = {
        let mut command = command("shrunk", &[]);
        command.env("USERMAP_DIR", "/dev/null/none");
        finish(command, Duration::from_secs(20))
    };
    assert!(end.success(), "{end:?}\n{output}");
}
