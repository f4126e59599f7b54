//! Objects by id, of several processes: who creates, opens and closes at once, and who dies.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use usermap::abi::errno;
use usermap::command::Host;
use usermap::{Map, MapType, Spec};
use usermap_c::host::Process;
use usermap_c::registry::{self, Kind};

/// Another process: the test binary again, which does what it is told line by line.
struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(folder: &PathBuf) -> Other {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_entry", "--nocapture", "--test-threads=1", "-q"])
            .env("USERMAP_TEST_CHILD", "1")
            .env("USERMAP_DIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Other { child, input, output }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
        let mut answer = String::new();
        loop {
            answer.clear();
            assert_ne!(self.output.read_line(&mut answer).unwrap(), 0, "it ended at {line:?}");
            // The harness of tests says something, too.
            if let Some(answer) = answer.strip_prefix("answer ") {
                return answer.trim().to_owned();
            }
        }
    }

    fn ids(&mut self) -> Vec<u32> {
        self.ask("list").split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    fn id(&mut self, line: &str) -> u32 {
        self.ask(line).parse().unwrap()
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn spec() -> Spec {
    Spec::new(MapType::Hash, 4, 8, 4)
}

fn list() -> Vec<u32> {
    let mut ids = vec![];
    while let Some(id) = Process.next_id(ids.last().copied().unwrap_or(0)) {
        ids.push(id);
    }
    ids
}

/// A map by its id; the errno if there is none.
fn open(id: u32) -> Result<Map, i32> {
    Process.map_by_id(id).ok_or(errno::ENOENT)
}

#[test]
fn child_entry() {
    if std::env::var_os("USERMAP_TEST_CHILD").is_none() {
        return;
    }
    let mut maps: Vec<Map> = vec![];
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let id = |index: usize| words[index].parse::<u32>().unwrap();
        let answer = match words[0] {
            "create" => {
                maps.push(Process.create(&spec(), None).unwrap());
                maps.last().unwrap().info().id.to_string()
            }
            "open" => match open(id(1)) {
                Ok(map) => {
                    maps.push(map);
                    "0".to_owned()
                }
                Err(errno) => errno.to_string(),
            },
            "close" => {
                maps.retain(|map| map.info().id != id(1));
                String::new()
            }
            "pin" => {
                let map = maps.iter().find(|map| map.info().id == id(1)).unwrap();
                Process.pin(map, words[2].as_ref()).unwrap();
                String::new()
            }
            // By descriptors, as C does it: how many entries are left of so many maps.
            "by_descriptor" => {
                let made: Vec<i32> = (0..id(1))
                    .map(|_| Process.install(Process.create(&spec(), None).unwrap()).unwrap())
                    .collect();
                let copy = duplicate_of(made[0]);
                assert!(usermap_c::descriptor::map(copy).is_ok());
                for fd in made {
                    assert_eq!(usermap_c::foreign::interpose_close::close(fd), 0);
                }
                let left = entries();
                assert_eq!(usermap_c::foreign::interpose_close::close(copy), 0);
                format!("{left} {}", entries())
            }
            "entries" => entries().to_string(),
            "next" => match Process.next_id(id(1)) {
                Some(id) => id.to_string(),
                None => "none".to_owned(),
            },
            "list" => list().iter().map(|id| id.to_string() + " ").collect(),
            // As many as there is time for, until the end.
            "churn" => loop {
                let made: Vec<Map> =
                    (0..4).map(|_| Process.create(&spec(), None).unwrap()).collect();
                for id in list() {
                    if let Ok(map) = open(id) {
                        assert_eq!(map.info().id, id);
                        map.update(&id.to_ne_bytes(), &[7; 8], 0).unwrap_or_default();
                        maps.push(map);
                    }
                }
                for map in &made {
                    assert!(open(map.info().id).is_ok(), "one that this process has open");
                }
                maps.clear();
            },
            other => panic!("{other}"),
        };
        println!("answer {answer}");
    }
}

/// The files in the folder of maps by their ids, those of dead maps included.
fn entries() -> usize {
    let folder = usermap::default_folder().unwrap().join(".objects/map");
    std::fs::read_dir(folder).unwrap().count()
}

fn duplicate_of(fd: i32) -> i32 {
    use usermap_c::foreign::number::{duplicate, give};
    give(duplicate(fd, 3).unwrap())
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("usermap-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn maps_are_found_by_their_ids_while_somebody_has_them() {
    let folder = folder("ids");
    let (mut one, mut other) = (Other::start(&folder), Other::start(&folder));
    let mut made: Vec<u32> = (0..5).map(|_| one.id("create")).collect();
    made.sort_unstable();
    assert_eq!(other.ids(), made, "in increasing order");
    assert_eq!(other.ask(&format!("open {}", made[2])), "0");
    one.ask(&format!("close {}", made[0]));
    one.ask(&format!("close {}", made[2]));
    assert_eq!(other.ask(&format!("open {}", made[0])), errno::ENOENT.to_string());
    assert_eq!(one.ids(), made[1..], "what another process has open is there");
    one.kill();
    assert_eq!(other.ids(), [made[2]], "what a dead process had is gone");
    assert_eq!(other.ask(&format!("open {}", made[4])), errno::ENOENT.to_string());
    other.ask(&format!("close {}", made[2]));
    assert!(other.ids().is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_closed_last_is_gone_at_once() {
    let folder = folder("closed");
    let mut one = Other::start(&folder);
    assert_eq!(one.ask("by_descriptor 5"), "1 0");
    one.kill();
    std::fs::remove_dir_all(folder).unwrap();
}

/// Of what nobody has any more, but did not close where that is seen, the memory comes back as well.
#[test]
fn what_others_left_goes_as_new_maps_come() {
    let folder = folder("left");
    let (mut one, mut other) = (Other::start(&folder), Other::start(&folder));
    one.id("create");
    (0..3).for_each(|_| _ = other.id("create"));
    other.kill();
    assert_eq!(one.id("entries"), 4);
    (0..64).for_each(|_| _ = one.id("create"));
    assert_eq!(one.id("entries"), 68);
    one.id("create");
    assert_eq!(one.id("entries"), 66, "all that are left are its own");
    one.kill();
    std::fs::remove_dir_all(folder).unwrap();
}

/// A walk goes on where it was, whatever comes and goes meanwhile.
#[test]
fn walks_over_ids() {
    let folder = folder("walks");
    let (mut one, mut other) = (Other::start(&folder), Other::start(&folder));
    let mut made: Vec<u32> = (0..6).map(|_| one.id("create")).collect();
    made.sort_unstable();
    let next = |other: &mut Other, id: u32| other.ask(&format!("next {id}"));
    assert_eq!(next(&mut other, 0), made[0].to_string());
    assert_eq!(next(&mut other, made[0]), made[1].to_string());
    one.ask(&format!("close {}", made[2]));
    assert_eq!(next(&mut other, made[1]), made[3].to_string());
    assert_eq!(next(&mut other, made[1]), made[3].to_string(), "once more");
    assert_eq!(next(&mut other, made[4] - 1), made[4].to_string(), "from where nobody was");
    assert_eq!(next(&mut other, made[4]), made[5].to_string());
    assert_eq!(next(&mut other, made[5]), "none");
    let new = one.id("create");
    assert_eq!(next(&mut other, new - 1), new.to_string());
    drop((one, other));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn pins_keep_maps_until_they_are_removed() {
    let folder = folder("pins");
    let (mut one, mut other) = (Other::start(&folder), Other::start(&folder));
    let id = one.id("create");
    let pin = folder.join("pin");
    one.ask(&format!("pin {id} {}", pin.display()));
    one.kill();
    assert_eq!(other.ids(), [id]);
    assert_eq!(other.ask(&format!("open {id}")), "0");
    std::fs::remove_file(&pin).unwrap();
    assert_eq!(other.ids(), [id], "it is open");
    other.ask(&format!("close {id}"));
    assert!(other.ids().is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn processes_that_are_killed_at_any_moment_leave_nothing() {
    let folder = folder("churn");
    let mut witness = Other::start(&folder);
    let kept = witness.id("create");
    for round in 0..8 {
        let mut others: Vec<Other> = (0..3).map(|_| Other::start(&folder)).collect();
        for other in &mut others {
            writeln!(other.input, "churn").unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(20 + 7 * round));
        for other in &mut others {
            assert!(other.child.try_wait().unwrap().is_none(), "it works until it is killed");
        }
        others.into_iter().for_each(Other::kill);
        assert_eq!(witness.ids(), [kept]);
    }
    witness.kill();
    assert!(Other::start(&folder).ids().is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_id_belongs_to_one_object() {
    let (one, other) = (registry::new_file().unwrap(), registry::new_file().unwrap());
    let id = 1_000_000 + std::process::id();
    let enter = |file: &rustix::fd::OwnedFd| {
        use rustix::fd::AsFd;
        registry::enter(Kind::Program, id, file.as_fd())
    };
    assert_eq!(enter(&one), Ok(()));
    assert_eq!(enter(&one), Ok(()), "again");
    assert_eq!(enter(&other), Err(rustix::io::Errno::EXIST));
    drop(one);
    // A child that another test has just started has all descriptors until it executes.
    let start = std::time::Instant::now();
    while enter(&other) == Err(rustix::io::Errno::EXIST) && start.elapsed().as_secs() < 60 {
        std::thread::yield_now();
    }
    assert_eq!(enter(&other), Ok(()), "the first one's end freed the id");
    assert!(registry::is_alive(Kind::Program, id));
}
