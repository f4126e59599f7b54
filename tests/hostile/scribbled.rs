//! Somebody else writes anything anywhere into a region while it is used, through the same file:
//! the data is lost, but nobody crashes, hangs or panics.

use crate::exercise::{everything, fill, specs};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use usermap::abi::errno::EPERM;
use usermap::{Access, Map};
use usermap_tests::check::soak;
use usermap_tests::child::{Folder, command, finish};
use usermap_tests::rng::{Rng, seed};

/// Writing to the file is writing to the pages that the map has mapped.
pub fn scribble(file: &File, rng: &mut Rng, skip: u64) {
    let len = file.metadata().expect("its size").len();
    let small: Vec<u64> = (0..16).collect();
    let at = skip + (rng.below(len - skip - 8) & !3);
    match rng.below(8) {
        0..3 => drop(file.write_at(&rng.draw().to_le_bytes(), at)),
        3 => drop(file.write_at(&u64::MAX.to_le_bytes(), at)),
        4 => drop(file.write_at(&rng.pick(&small).to_le_bytes(), at)),
        5 => drop(file.write_at(&(rng.below(1 << 16) as u32).to_le_bytes(), at)),
        6 => {
            // A part of the region elsewhere.
            let mut bytes = vec![0; 64.min((len - at) as usize)];
            let from = skip + (rng.below(len - skip - 8) & !3);
            if let Ok(read) = file.read_at(&mut bytes, from) {
                drop(file.write_at(&bytes[..read], at));
            }
        }
        _ => drop(file.write_at(&vec![rng.draw() as u8; 200.min((len - at) as usize)], at)),
    }
}

/// Two threads do everything, one scribbles.
pub fn child(arguments: &[String]) {
    let [path, milliseconds, skip] = arguments else { panic!("{arguments:?}") };
    let limit = Duration::from_millis(milliseconds.parse().expect("a number"));
    let skip: u64 = skip.parse().expect("a number");
    let map = Map::open(path, Access::ReadWrite).expect("the map");
    let reader = Map::open(path, Access::ReadOnly).expect("the map");
    let file = File::options().read(true).write(true).open(path).expect("the map's file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (i, map) in [&map, &reader].into_iter().enumerate() {
            let done = &done;
            scope.spawn(move || {
                let mut rng = Rng::new(seed() ^ i as u64);
                while !done.load(Ordering::Relaxed) {
                    everything(map, &mut rng, 20);
                }
            });
        }
        let mut rng = Rng::new(!seed());
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
        let limit = Duration::from_secs(15) + Duration::from_millis(each as u64);
        let (end, output) = finish(command("scribbled", &arguments), limit);
        assert!(end.success(), "{end:?}, USERMAP_SEED={}, {spec:?}\n{output}", seed());
        // We have the map open too, and can still use it, close it, and open it or not.
        let mut rng = Rng::new(seed());
        everything(&map, &mut rng, 200);
        drop(map);
        if let Ok(map) = Map::open(&path, Access::ReadWrite) {
            everything(&map, &mut rng, 200);
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
