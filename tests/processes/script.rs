//! Children that run a script (`usermap_tests::script`) until they are killed, and say how far they are.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use usermap::{Access, Map, Spec};
use usermap_tests::child::{command, has_parent, wait};
use usermap_tests::script::{Script, apply, flags_of, tagged};

/// A child says how far it is each time it has done so many operations.
pub const STRIDE: u64 = 16;
/// Different operations of one child on a map with keys: following them takes the parent as long, which
/// may get less of the CPU.
const DIFFERENT: u64 = 100_000;

/// The script of a child.
pub fn script(spec: &Spec, id: u32, seed: u64) -> Script {
    let script = Script::new(spec, id, seed);
    if spec.map_type.is_ring() { script } else { script.repeating_after(DIFFERENT) }
}

/// How many of a child's operations are to be followed: all but most of those that are the same.
pub fn followed(spec: &Spec, done: u64) -> u64 {
    if spec.map_type.is_ring() { done } else { done.min(DIFFERENT + 1) }
}

/// Runs a script, pushes or pops until it is killed.
pub fn child(arguments: &[String]) {
    let [path, journal, mode, id, seed] = arguments else { panic!("{arguments:?}") };
    let map = Map::open(path, Access::ReadWrite).expect("the map");
    let journal = File::options().write(true).open(journal).expect("the journal");
    let (id, seed): (u32, u64) = (id.parse().expect("a number"), seed.parse().expect("a number"));
    let mut value = vec![0; map.value_bytes()];
    let mut script = script(map.spec(), id, seed);
    let mut done = 0_u64;
    while has_parent() {
        for _ in 0..STRIDE {
            match mode.as_str() {
                "script" => apply(&map, &script.next(), &mut value),
                "push" => {
                    tagged(&mut value, id, seed + done);
                    while map.push(&value, flags_of(&map, id)).is_err() && has_parent() {
                        std::thread::yield_now();
                    }
                }
                _ => {
                    while map.pop(&mut value, flags_of(&map, id)).is_err() && has_parent() {
                        std::thread::yield_now();
                    }
                }
            }
            done += 1;
        }
        journal.write_all_at(&done.to_le_bytes(), 0).expect("written");
    }
}

/// A child that runs a script, with its journal.
pub struct Player {
    process: Child,
    journal: File,
}

impl Player {
    /// Starts one and waits until it works.
    pub fn start(map: &Path, journal: &Path, mode: &str, id: u32, seed: u64) -> Player {
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(journal)
            .expect("a journal");
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (map, journal, id, seed) = (text(map), text(journal), id.to_string(), seed.to_string());
        let process = command("script", &[&map, &journal, mode, &id, &seed])
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        let mut player = Player { process, journal: file };
        // Producers and consumers wait for one another and for the parent.
        while mode == "script" && player.done() == 0 {
            let ended = player.process.try_wait().expect("waiting for a child");
            assert!(ended.is_none(), "the child ended by itself: {ended:?}");
            std::hint::spin_loop();
        }
        player
    }

    /// How many operations it says it has done.
    pub fn done(&self) -> u64 {
        let mut bytes = [0; 8];
        match self.journal.read_at(&mut bytes, 0) {
            Ok(8) => u64::from_le_bytes(bytes),
            _ => 0,
        }
    }

    /// Kills it wherever it is.
    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        wait(&mut self.process, Duration::from_secs(10));
    }

    /// Fails unless it goes on with its work.
    pub fn carries_on(&self) {
        let (before, started) = (self.done(), Instant::now());
        while self.done() < before + 2 * STRIDE {
            assert!(started.elapsed() < Duration::from_secs(60), "a survivor stands still");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
