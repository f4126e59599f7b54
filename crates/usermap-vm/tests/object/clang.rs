//! The same sources, built now for each CPU version; and what libbpf makes of the built objects.

use crate::{directory, functions, object};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use usermap_vm::Object;

/// Runs a tool; `None` if there is none, which is an error only where all tools are required.
fn run(command: &mut Command) -> Option<std::process::Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("USERMAP_REQUIRE_KERNEL").is_some() => {
            panic!("{command:?}: {error}")
        }
        Err(error) => {
            eprintln!("skipped: {command:?}: {error}");
            None
        }
    }
}

fn clang() -> Option<&'static str> {
    let mut names = ["clang-19", "clang"].into_iter();
    let found = names.find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        run(&mut Command::new("clang"));
    }
    found
}

/// A directory that is gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("usermap-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn build(clang: &str, source: &Path, to: &Path, options: &[&str]) -> Object {
    let mut command = Command::new(clang);
    command.args(["-O2", "-target", "bpf", "-c", "-o"]).arg(to).arg(source).args(options);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Object::open(to).unwrap()
}

/// Maps and variables depend on no CPU version.
#[test]
fn objects_for_all_cpu_versions_are_the_same() {
    let Some(clang) = clang() else { return };
    let scratch = Scratch::new("cpu");
    for name in ["everything", "functions", "nested", "refused", "relocated", "same_place"] {
        let source = directory().join(format!("{name}.bpf.c"));
        let built = object(&format!("{name}.bpf.o"));
        for version in ["v1", "v2", "v3", "v4"] {
            let to = scratch.0.join(format!("{name}.{version}.o"));
            let now = build(clang, &source, &to, &["-g", &format!("-mcpu={version}")]);
            assert_eq!(now.maps().len(), built.maps().len(), "{name} {version}");
            for (now, built) in now.maps().iter().zip(built.maps()) {
                // Ids of types depend on their order.
                let now = usermap_vm::MapDefinition {
                    key_type: built.key_type,
                    value_type: built.value_type,
                    ..now.clone()
                };
                assert_eq!(&now, built, "{name} {version}");
            }
            let of = |object: &Object| -> Vec<Vec<String>> {
                let all = object.programs().iter();
                all.map(|code| functions(code).into_iter().map(str::to_owned).collect()).collect()
            };
            assert_eq!(of(&now), of(&built), "{name} {version}");
            assert_eq!(now.obstacles().len(), built.obstacles().len(), "{name} {version}");
        }
    }
}

/// Without `-g` there are neither types nor lines; maps of types then cannot be had.
#[test]
fn objects_without_types_say_how_to_get_them() {
    let Some(clang) = clang() else { return };
    let scratch = Scratch::new("no-types");
    let source = directory().join("relocated.bpf.c");
    let to = scratch.0.join("relocated.o");
    let mut command = Command::new(clang);
    command.args(["-O2", "-target", "bpf", "-c", "-o"]).arg(&to).arg(&source);
    // CO-RE needs types already when it is compiled; then there is no such object.
    if command.output().unwrap().status.success() {
        let error = Object::open(&to).unwrap_err().to_string();
        assert!(error.ends_with("section .maps: needs BTF; build with clang -g"), "{error}");
    }
}

/// libbpf says which functions it appends to which program, and how many instructions each has.
#[test]
fn libbpf_appends_the_same_functions() {
    for name in ["functions.bpf.o", "relocated.bpf.o"] {
        let mut command = Command::new("bpftool");
        command.args(["-d", "gen", "skeleton", "-L"]).arg(directory().join(name));
        let Some(output) = run(&mut command) else { return };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut theirs: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in said.lines().filter(|line| line.contains("insns from sub-prog")) {
            let quoted: Vec<&str> = line.split('\'').collect();
            let words: Vec<&str> = quoted[2].split(' ').collect();
            let count = words.iter().find_map(|word| word.parse().ok()).unwrap();
            theirs.insert((quoted[1].to_owned(), quoted[3].to_owned()), count);
        }
        let object = object(name);
        for ((program, function), count) in &theirs {
            let code = crate::program(&object, program);
            let index = code.functions.iter().position(|one| one.name == *function).unwrap();
            assert_eq!(code.range(index).len(), *count, "{name}: {program}: {function}");
        }
        let ours: usize = object.programs().iter().map(|code| code.functions.len() - 1).sum();
        assert_eq!(theirs.len(), ours, "{name}: {said}");
    }
}

/// libbpf reads what is stored with a map, and prints the same types.
#[test]
fn libbpf_reads_subsets_of_types() {
    let scratch = Scratch::new("subset");
    let object = object("everything.bpf.o");
    let types = object.maps().iter().flat_map(|map| [map.key_type, map.value_type]);
    let types: Vec<u32> = types.flatten().collect();
    let (bytes, ids) = object.btf().unwrap().subset(&types);
    let to = scratch.0.join("subset.btf");
    std::fs::write(&to, &bytes).unwrap();
    let Some(output) = run(Command::new("bpftool").args(["btf", "dump", "file"]).arg(&to)) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("[{}] STRUCT 'flow_key' size=36 vlen=6", ids[0])), "{said}");
    assert!(said.contains("'high' type_id=") && said.contains("bitfield_size=5"), "{said}");
    assert!(said.contains("'HUGE' val=81985529216486895"), "{said}");
    assert!(said.contains("FWD 'flow' fwd_kind=struct"), "{said}");
}

/// Programs that call a helper on a map that it is not for.
const WRONG_MAPS: &str = r#"
#include "prelude.h"

static void *(*const bpf_map_lookup_percpu_elem)(void *, const void *, __u32) = (void *)195;

#define MAP(NAME, TYPE)                     \
    struct {                                \
        __uint(type, BPF_MAP_TYPE_##TYPE);  \
        __uint(max_entries, 4);             \
        __type(key, __u32);                 \
        __type(value, __u64);               \
    } NAME SEC(".maps")

MAP(a_connection_table, HASH);
MAP(limits, ARRAY);
MAP(calls, PROG_ARRAY);
struct {
    __uint(type, 23);
    __uint(max_entries, 4);
    __uint(value_size, 8);
} recent SEC(".maps");

SEC("xdp") int pushes(struct xdp_md *context)
{
    __u64 value = 1;
    return bpf_map_push_elem(&a_connection_table, &value, 0);
}

SEC("xdp") int looks_up(struct xdp_md *context)
{
    __u32 key = context->ingress_ifindex;
    __u64 *value = key > 3 ? bpf_map_lookup_elem(&recent, &key) : 0;
    return value ? *value : 0;
}

SEC("xdp") int of_a_cpu(struct xdp_md *context)
{
    __u32 key = 0;
    return bpf_map_lookup_percpu_elem(&limits, &key, 0) != 0;
}

SEC("xdp") int jumps(struct xdp_md *context)
{
    bpf_tail_call(context, &limits, 0);
    return 1;
}

SEC("xdp") int reads_programs(struct xdp_md *context)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&calls, &key) != 0;
}
"#;

#[test]
fn helpers_on_wrong_maps_are_refused_by_the_maps_names() {
    let Some(clang) = clang() else { return };
    let scratch = Scratch::new("wrong-maps");
    let source = scratch.0.join("wrong.bpf.c");
    std::fs::write(&source, WRONG_MAPS).unwrap();
    for version in ["v1", "v2", "v3", "v4"] {
        let to = scratch.0.join(format!("wrong.{version}.o"));
        let include = format!("-I{}", directory().display());
        let object = build(clang, &source, &to, &["-g", &include, &format!("-mcpu={version}")]);
        for (program, helper, said) in [
            (
                "pushes",
                "bpf_map_push_elem",
                "map a_connection_table: only queues and stacks are pushed to and popped from",
            ),
            ("looks_up", "bpf_map_lookup_elem", "map recent: queues and stacks have no keys"),
            (
                "of_a_cpu",
                "bpf_map_lookup_percpu_elem",
                "map limits: only per-CPU maps have values of other CPUs",
            ),
            ("jumps", "bpf_tail_call", "map limits: only a PROG_ARRAY has programs to call"),
            (
                "reads_programs",
                "bpf_map_lookup_elem",
                "map calls: a PROG_ARRAY's programs can only be called",
            ),
        ] {
            let options = usermap_vm::Options::new().only([program]);
            let error = object.load(&options).err().expect(program).to_string();
            assert!(error.contains(&format!("program {program}, ")), "{version}: {error}");
            assert!(error.contains(helper) && error.contains(said), "{version}: {error}");
            assert!(error.contains("wrong.bpf.c:"), "{version}: {error}");
        }
    }
}
