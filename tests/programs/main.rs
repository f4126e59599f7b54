//! The objects of `examples/` on packets of a capture and on random ones: both engines of
//! usermap-vm against each other, and against the running kernel by `BPF_PROG_TEST_RUN`. Verdicts,
//! packets as the programs left them, and in the end everything in all maps must be equal.
//!
//! The kernel's part needs bpf(2), bpftool, which loads the objects, and a mounted bpffs; nothing
//! is attached to anything.

mod input;
mod kernel;
mod options;
mod side;
mod together;

use input::{Input, inputs};
use side::{Answer, Maps, Usermap};
use std::path::{Path, PathBuf};

/// The objects that the kernel does not take: usermap's own helpers and kinds, and maps that
/// libbpf no longer reads. And one that tells the kernel's configuration.
const NOT_FOR_THE_KERNEL: [&str; 4] =
    ["top_talkers.bpf.o", "own.bpf.o", "legacy.bpf.o", "kconfig.bpf.o"];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// All objects, with the time replaced by a count of packets where they can do that.
fn objects() -> Vec<(String, Vec<u8>)> {
    let mut objects = Vec::new();
    for folder in std::fs::read_dir(examples()).expect("the examples") {
        let Ok(files) = std::fs::read_dir(folder.expect("a folder").path()) else { continue };
        for file in files {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.ends_with(".bpf.o") {
                let bytes = std::fs::read(&path).expect("an object");
                objects.push((name, input::without_time(bytes)));
            }
        }
    }
    objects.sort();
    assert!(objects.len() > 20, "too few objects: were the examples moved?");
    objects
}

/// What both did with an input.
fn compare<'n>(
    object: &str,
    names: (&str, &str),
    one: impl Fn(&str, &Input) -> Option<Answer>,
    other: impl Fn(&str, &Input) -> Option<Answer>,
    programs: impl Iterator<Item = &'n str> + Clone,
    inputs: &[Input],
) -> usize {
    let mut compared = 0;
    for (number, input) in inputs.iter().enumerate() {
        for program in programs.clone() {
            let answers = (one(program, input), other(program, input));
            let (Some(left), Some(right)) = &answers else { continue };
            compared += 1;
            assert!(
                left == right,
                "{object}, program {program}, input {number}:\n{}: {left:?}\n{}: {right:?}\n{input:?}",
                names.0,
                names.1,
            );
        }
    }
    compared
}

fn compare_maps(object: &str, names: (&str, &str), one: &Maps, other: &Maps) {
    for (map, entries) in one {
        let Some(others) = other.get(map) else { continue };
        let differ: Vec<_> =
            entries.iter().zip(others).filter(|(one, other)| one != other).collect();
        assert!(
            entries == others,
            "{object}, map {map}: {} entries by {}, {} by {}; these differ: {differ:?}",
            entries.len(),
            names.0,
            others.len(),
            names.1,
        );
    }
}

/// What children of these tests do.
#[test]
fn child_entry() {
    usermap_tests::child::run(&[("count", together::count_here), ("hold", together::hold)]);
}

#[test]
fn both_engines_agree() {
    kernel::stay_on_this_cpu();
    let mut compared = 0;
    for (name, bytes) in objects() {
        let machine = Usermap::load(&name, &bytes, false);
        let interpreter = Usermap::load(&name, &bytes, true);
        let names = ("the JIT", "the interpreter");
        let programs = machine.programs();
        let programs = programs.iter().map(String::as_str);
        compared += compare(
            &name,
            names,
            |program, input| machine.run(program, input),
            |program, input| interpreter.run(program, input),
            programs,
            &inputs(&name),
        );
        compare_maps(&name, names, &machine.maps(), &interpreter.maps());
    }
    println!("{compared} runs compared");
    assert!(compared > 10_000);
}

#[test]
fn the_kernel_agrees() {
    if !kernel::allowed() {
        return;
    }
    kernel::stay_on_this_cpu();
    let mut compared = 0;
    for (name, bytes) in objects() {
        if NOT_FOR_THE_KERNEL.contains(&name.as_str()) {
            continue;
        }
        let ours = Usermap::load(&name, &bytes, false);
        let kernel = kernel::Kernel::load(&name, &bytes, &ours.programs());
        let programs = ours.programs();
        let programs = programs.iter().map(String::as_str);
        let names = ("usermap", "the kernel");
        compared += compare(
            &name,
            names,
            |program, input| {
                let answer = kernel.can_run(program).then(|| ours.run(program, input)).flatten()?;
                Some(Answer { instructions: 0, ..answer })
            },
            |program, input| kernel.run(program, input),
            programs,
            &inputs(&name),
        );
        compare_maps(&name, names, &ours.maps(), &kernel.maps());
    }
    println!("{compared} runs compared with the kernel");
    assert!(compared > 10_000);
}
