//! The kernel's side: an object that bpftool has loaded and pinned, and nothing is attached to.

use crate::input::Input;
use crate::side::{Answer, Maps};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use usermap_tests::sys::{KernelMap, KernelProgram, refusal};

const BPFFS: &str = "/sys/fs/bpf";

fn bpftool() -> Option<&'static str> {
    let known = ["bpftool", "/usr/sbin/bpftool"];
    known.into_iter().find(|name| Command::new(name).arg("version").output().is_ok())
}

/// Whether to run; if not, a line says why.
pub fn allowed() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let why = match refusal() {
            Some(why) => format!("bpf(2) is not allowed here ({why})"),
            None if bpftool().is_none() => "there is no bpftool".to_owned(),
            None => match std::fs::create_dir(folder()) {
                Ok(()) => return true,
                Err(error) => format!("no folder can be made in {BPFFS}: {error}"),
            },
        };
        let line = format!("kernel comparison of programs skipped: {why}");
        assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "{line}");
        eprintln!("{line}");
        false
    })
}

/// Where this process pins what it loads.
fn folder() -> PathBuf {
    Path::new(BPFFS).join(format!("usermap-test-{}", std::process::id()))
}

/// Keeps this thread where it is, so that the kernel and usermap count on the same CPU's slot.
pub fn stay_on_this_cpu() {
    let mut set = rustix::thread::CpuSet::new();
    set.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &set).expect("to stay where it is");
}

/// An object in the kernel.
pub struct Kernel {
    programs: BTreeMap<String, KernelProgram>,
    maps: BTreeMap<String, KernelMap>,
}

impl Kernel {
    /// Loads it.
    pub fn load(name: &str, bytes: &[u8], programs: &[String]) -> Kernel {
        let file = std::env::temp_dir().join(format!("{}-{name}", std::process::id()));
        std::fs::write(&file, bytes).expect("room for a copy");
        let pins = folder().join(name.replace('.', "_"));
        let (program_pins, map_pins) = (pins.join("programs"), pins.join("maps"));
        std::fs::create_dir_all(&map_pins).expect("a folder for maps");
        let mut load = Command::new(bpftool().expect("bpftool"));
        load.args(["prog", "loadall"]).arg(&file).arg(&program_pins);
        let output = load.arg("pinmaps").arg(&map_pins).output().expect("bpftool");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the kernel refuses {name}: {said}");
        let programs = programs.iter().map(|program| {
            let pinned = KernelProgram::pinned(&program_pins.join(program));
            (program.clone(), pinned.unwrap_or_else(|errno| panic!("{program}: errno {errno}")))
        });
        let programs = programs.collect();
        let maps = std::fs::read_dir(&map_pins).expect("pinned maps").map(|entry| {
            let path = entry.expect("a pin").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, KernelMap::pinned(&path).expect("a map"))
        });
        let maps = maps.collect();
        std::fs::remove_dir_all(&pins).expect("to unpin it all");
        std::fs::remove_file(&file).expect("to remove the copy");
        Kernel { programs, maps }
    }

    /// Whether the kernel runs programs of this one's type without attaching them.
    pub fn can_run(&self, program: &str) -> bool {
        self.programs[program].can_run()
    }

    /// Runs a program.
    pub fn run(&self, program: &str, input: &Input) -> Option<Answer> {
        let kernel = &self.programs[program];
        if !kernel.can_run() {
            return None;
        }
        let (value, mut packet) = match kernel.takes_packets() {
            // A `__sk_buff` of zeros is not quite the same as none: it has a `wire_len`.
            true if kernel.takes_skb() => kernel.run(&input.packet, &[0; 192]),
            true => kernel.run(&input.packet, &[]),
            false => kernel.run(&[], &input.bytes),
        }
        .unwrap_or_else(|errno| panic!("{program}: errno {errno} on {input:?}"));
        if kernel.hides_link_layer() {
            // The kernel gives zeros for the header that the program did not see; usermap keeps it.
            packet[..14].copy_from_slice(&input.packet[..14]);
        }
        Some(Answer { value, packet, instructions: 0 })
    }

    /// Everything in its maps. bpftool pins sections' data under names of its own.
    pub fn maps(&self) -> Maps {
        let name = |pin: &str| {
            let section = pin.find("_data").or(pin.find("_bss"));
            match section {
                Some(at) if !pin.contains("rodata") => pin[at..].replacen('_', ".", 2),
                _ => pin.to_owned(),
            }
        };
        self.maps.iter().map(|(pin, map)| (name(pin), map.everything())).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // The last one's: fails as long as others are there.
        let _ = std::fs::remove_dir(folder());
    }
}
