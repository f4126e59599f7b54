//! Maps' files that were cut short, lengthened, or changed in some places before they are opened.
//!
//! Which bytes are the header and which are entries is not known here. A damaged map is refused,
//! or it opens and each function of it comes back.

use crate::exercise::{everything, fill, specs};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use usermap::{Access, Error, Map};
use usermap_tests::check::soak;
use usermap_tests::child::{End, Folder, command, finish};
use usermap_tests::rng::{Rng, seed};

/// The first bytes of a file are its magic number and version, each of which must be right.
const MAGIC_AND_VERSION: usize = 12;

/// The header is looked for in the first bytes.
const HEADER: usize = 512;

/// Opens and uses a damaged file; whether it opened.
fn open(path: &Path, rng: &mut Rng, operations: u64) -> bool {
    let mut opened = false;
    for access in [Access::ReadOnly, Access::ReadWrite] {
        match Map::open(path, access) {
            Ok(map) => {
                opened = true;
                everything(&map, rng, operations);
            }
            Err(error) => {
                assert!(matches!(error, Error::NotAMap { .. } | Error::Io { .. }), "{error:?}");
                assert!(error.to_string().contains(path.to_str().expect("UTF-8")), "{error}");
            }
        }
    }
    opened
}

/// The bytes that aren't zero, in runs; a map of many pages is mostly zeros.
fn used(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|i| bytes[*i] != 0).collect()
}

pub fn child(arguments: &[String]) {
    let [folder, which, how] = arguments else { panic!("{arguments:?}") };
    let (good, bad) = (Path::new(folder).join("good"), Path::new(folder).join("bad"));
    let spec = &specs()[which.parse::<usize>().expect("a number")];
    let map = Map::create_pinned(&good, spec).expect("a map");
    fill(&map);
    drop(map);
    let bytes = std::fs::read(&good).expect("the map's file");
    let mut rng = Rng::new(seed());
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&bad);
    let file = file.expect("a file");
    file.write_all_at(&bytes, 0).expect("written");
    assert!(open(&bad, &mut rng, 0), "an undamaged copy opens");
    // The parent shows this if we die.
    let trying = |what: String| {
        std::fs::write(Path::new(folder).join("trying"), what).expect("written");
    };
    let restore = || {
        file.set_len(bytes.len() as u64).expect("restored");
        file.write_all_at(&bytes, 0).expect("restored");
    };
    match how.as_str() {
        "truncated" => {
            let len = bytes.len();
            let pages = (0..len).step_by(4096);
            let around = pages.flat_map(|at| [at.wrapping_sub(1), at, at + 1, at + 2048]);
            let mut lengths: Vec<usize> = around.chain(0..512).filter(|at| *at < len).collect();
            lengths.extend([len - 1, len - 8]);
            for length in lengths {
                trying(format!("a file of {length} instead of {len} bytes"));
                restore();
                file.set_len(length as u64).expect("cut");
                assert!(!open(&bad, &mut rng, 50), "{length} instead of {len} bytes");
            }
            for length in [len + 1, len + 4096, len * 2] {
                trying(format!("a file of {length} instead of {len} bytes"));
                restore();
                file.set_len(length as u64).expect("lengthened");
                open(&bad, &mut rng, 50);
            }
        }
        "header" => {
            let mut refused = 0;
            for (at, byte) in bytes.iter().enumerate().take(HEADER) {
                for change in [1, 0xff] {
                    trying(format!("byte {at} changed by {change:#x}"));
                    restore();
                    file.write_all_at(&[byte ^ change], at as u64).expect("changed");
                    let opened = open(&bad, &mut rng, 8);
                    assert!(!opened || at >= MAGIC_AND_VERSION, "byte {at} does not matter");
                    refused += u64::from(!opened);
                }
            }
            // Kind, sizes, limit and flags alone are 20 bytes, and there is a checksum over them.
            assert!(refused >= 2 * 28, "{refused} changes of the header were noticed");
            // Whole words, to what is often a limit.
            for at in (0..bytes.len().min(HEADER)).step_by(4) {
                for word in [0_u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                    trying(format!("word at {at} is {word:#x}"));
                    restore();
                    file.write_all_at(&word.to_le_bytes(), at as u64).expect("changed");
                    open(&bad, &mut rng, 8);
                }
            }
        }
        _ => {
            let used = used(&bytes);
            let started = std::time::Instant::now();
            let limit =
                soak().map_or(Duration::from_millis(300), |soak| soak / specs().len() as u32);
            let mut round = 0;
            while started.elapsed() < limit {
                restore();
                round += 1;
                let mut changes = Vec::new();
                for _ in 0..1 + rng.below(8) {
                    // Where something is, or anywhere.
                    let at = match rng.one_in(4) {
                        true => rng.below(bytes.len() as u64) as usize,
                        false => *rng.pick(&used),
                    };
                    let at = (at & !3).min(bytes.len() - 4);
                    let word = match rng.below(6) {
                        0 => 0,
                        1 => u32::MAX,
                        2 => rng.below(300) as u32,
                        3 => 1 << rng.below(32),
                        4 => rng.draw() as u32,
                        _ => {
                            let from = (*rng.pick(&used) & !3).min(bytes.len() - 4);
                            u32::from_le_bytes(bytes[from..from + 4].try_into().expect("a word"))
                        }
                    };
                    file.write_all_at(&word.to_le_bytes(), at as u64).expect("changed");
                    changes.push((at, word));
                }
                trying(format!("round {round}: words {changes:x?}"));
                open(&bad, &mut rng, 100);
            }
            assert!(round > 3);
        }
    }
}

fn run(how: &str) {
    for which in 0..specs().len() {
        let folder = Folder::new();
        let path = folder.path("");
        let arguments = [path.to_str().expect("UTF-8"), &which.to_string(), how];
        let limit = Duration::from_secs(30) + soak().unwrap_or_default();
        let (end, output) = finish(command("damaged", &arguments), limit);
        let trying = std::fs::read_to_string(folder.path("trying")).unwrap_or_default();
        let spec = &specs()[which];
        let what = if matches!(end, End::Hang) { "hangs" } else { "dies" };
        assert!(
            end.success(),
            "{what} ({end:?}), USERMAP_SEED={}, {trying}, {spec:?}\n{output}",
            seed()
        );
    }
}

#[test]
fn truncated() {
    run("truncated");
}

#[test]
fn changed_headers() {
    run("header");
}

#[test]
fn changed_words() {
    run("words");
}
