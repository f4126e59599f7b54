//! What is no change of an entry, killed after each of its instructions: freezing, leases of CPU slots, and
//! making maps with a name, also at each of its system calls.

use crate::points::{Subject, kill_everywhere};
use crate::subject::code;
use std::time::Duration;
use usermap::abi::{BPF_ANY, errno::EPERM};
use usermap::{Access, Map, MapType, SlotLease, Spec};
use usermap_tests::check::{Watchdog, costs, equal};
use usermap_tests::child::Folder;
use usermap_tests::trace::{Tracee, pin};

fn spec() -> Spec {
    Spec::new(MapType::Hash, 4, 8, 8)
}

fn run(name: &str, subject: &mut impl Subject) {
    let _watchdog = Watchdog::new(name, Duration::from_secs(300));
    pin();
    match kill_everywhere(name, subject) {
        Ok(seen) => println!("death: {name:<52} {seen}"),
        Err(why) => println!("skipped: {why}"),
    }
}

/// A map that works, with nothing in it before and after.
fn works(map: &Map) -> Result<(), String> {
    for key in 0..8_u32 {
        equal("update", code(map.update(&key.to_le_bytes(), &[1; 8], BPF_ANY)), 0)?;
    }
    equal("len", map.len(), 8)?;
    equal("clear", map.clear().ok(), Some(8))
}

struct Freeze(Map);

impl Subject for Freeze {
    fn renew(&mut self) {
        self.0 = Map::create(&spec()).expect("a map");
    }

    fn prepare(&self) {
        self.0.inc(&[0; 4], 1, BPF_ANY).expect("room");
    }

    fn reset(&mut self) {}

    fn act(&self) -> u8 {
        code(self.0.freeze())
    }

    fn killed(&mut self, finished: Option<u8>, _: u64) -> Result<Duration, String> {
        let map = &self.0;
        let survive = || {
            equal("what was there", map.lookup(&[0; 4], &mut [0; 8], 0).is_ok(), true)?;
            if finished.is_some() || map.is_frozen() {
                equal("frozen", map.is_frozen(), true)?;
                equal(
                    "update of a frozen map",
                    code(map.update(&[0; 4], &[0; 8], BPF_ANY)),
                    EPERM as u8,
                )?;
            } else {
                equal("delete", code(map.delete(&[0; 4])), 0)?;
                works(map)?;
                equal("freeze", code(map.freeze()), 0)?;
            }
            Ok(())
        };
        let (outcome, took) = costs(survive);
        outcome.map(|()| took)
    }
}

#[test]
fn freeze() {
    run("freeze", &mut Freeze(Map::create(&spec()).expect("a map")));
}

/// Leases slot 1, or gives it back.
struct Lease {
    map: Map,
    gives_back: bool,
}

thread_local! {
    /// In a child.
    static HELD: std::cell::RefCell<Option<SlotLease>> = const { std::cell::RefCell::new(None) };
}

impl Lease {
    fn take(&self) -> u8 {
        let lease = self.map.lease(1).expect("a slot");
        let taken = lease.is_some();
        HELD.set(lease);
        u8::from(!taken)
    }
}

impl Subject for Lease {
    fn prepare(&self) {
        self.take();
        if !self.gives_back {
            HELD.set(None);
        }
    }

    fn reset(&mut self) {}

    fn act(&self) -> u8 {
        if self.gives_back {
            HELD.set(None);
            return 0;
        }
        self.take()
    }

    fn killed(&mut self, finished: Option<u8>, _: u64) -> Result<Duration, String> {
        equal("the operation", finished.unwrap_or(0), 0)?;
        let (lease, took) = costs(|| self.map.lease(1));
        let lease = lease.map_err(|error| error.to_string())?;
        equal("the dead process's slot is leased", lease.is_some(), true)?;
        equal("leased twice", self.map.lease(1).is_ok_and(|lease| lease.is_some()), false)?;
        Ok(took)
    }
}

#[test]
fn leases() {
    let spec = Spec::new(MapType::PerCpuArray, 4, 8, 4).cpus(2);
    for (name, gives_back) in [("lease of a CPU slot", false), ("end of a lease", true)] {
        run(name, &mut Lease { map: Map::create(&spec).expect("a map"), gives_back });
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Making {
    Create,
    OpenOrCreate,
    OpenWhatIsThere,
    Pin,
}

struct Named {
    making: Making,
    folder: Folder,
    /// To be pinned.
    nameless: Option<Map>,
}

impl Named {
    fn path(&self) -> std::path::PathBuf {
        self.folder.path("map")
    }

    fn new_nameless(&mut self) {
        if self.making == Making::Pin {
            // Made with a name, since a nameless map can be on another file system.
            let path = self.folder.path("other");
            self.nameless = Some(Map::create_pinned(&path, &spec()).expect("a map"));
        }
    }
}

impl Subject for Named {
    fn prepare(&self) {}

    fn reset(&mut self) {
        let _ = std::fs::remove_file(self.path());
        if self.making == Making::OpenWhatIsThere {
            let map = Map::create_pinned(self.path(), &spec()).expect("a map");
            map.update(&[9; 4], &[9; 8], BPF_ANY).expect("room");
        }
    }

    fn act(&self) -> u8 {
        match self.making {
            Making::Create => code(Map::create_pinned(self.path(), &spec()).map(drop)),
            Making::Pin => code(self.nameless.as_ref().expect("a map").pin(self.path())),
            _ => code(Map::open_or_create(self.path(), &spec()).map(drop)),
        }
    }

    fn killed(&mut self, finished: Option<u8>, _: u64) -> Result<Duration, String> {
        equal("the operation", finished.unwrap_or(0), 0)?;
        let path = self.path();
        let was_there = path.exists();
        equal("there is a map of that name", was_there || finished.is_none(), true)?;
        if was_there {
            let map = Map::open(&path, Access::ReadWrite).map_err(|error| error.to_string())?;
            equal("its spec", map.spec() == Map::create(&spec()).expect("a map").spec(), true)?;
        }
        let (map, took) = costs(|| Map::open_or_create(&path, &spec()));
        let map = map.map_err(|error| error.to_string())?;
        if self.making == Making::OpenWhatIsThere {
            equal("delete of what was there", code(map.delete(&[9; 4])), 0)?;
        }
        works(&map)?;
        let left = std::fs::read_dir(self.folder.path("")).expect("the folder").count();
        equal("files", left, 1 + usize::from(self.making == Making::Pin))?;
        std::fs::remove_file(&path).expect("removed");
        Ok(took)
    }
}

/// At each system call, before and after it, too: between those nothing outside of the process changes.
fn at_each_call(name: &str, subject: &mut Named) {
    for calls in 1.. {
        let child = Tracee::start(|| subject.prepare(), || subject.act());
        let Ok(mut child) = child else { return };
        subject.reset();
        for _ in 0..calls {
            child.step_to_call();
        }
        let finished = child.finished();
        child.kill(false);
        if let Err(why) = subject.killed(finished, 0) {
            panic!("{name}, killed at its {calls}th stop at a system call: {why}");
        }
        if finished.is_some() {
            return println!("death: {name:<52} {:5} kill points at system calls", calls - 1);
        }
    }
}

#[test]
fn making_maps() {
    for (name, making) in [
        ("create_pinned", Making::Create),
        ("open_or_create of a new map", Making::OpenOrCreate),
        ("open_or_create of a map that is there", Making::OpenWhatIsThere),
        ("pin", Making::Pin),
    ] {
        let mut subject = Named { making, folder: Folder::new(), nameless: None };
        subject.new_nameless();
        run(name, &mut subject);
        at_each_call(name, &mut subject);
    }
}
