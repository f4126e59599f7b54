//! C programs that use Debian's libbpf, as a shared library and as a static one: in the first, the
//! functions of its names are this library's; in the second, it makes the system calls itself.

use crate::wrapped::{Folder, has, repository};
use std::path::{Path, PathBuf};
use std::process::Command;

const WAYS: [(&str, &[&str]); 2] =
    [("shared", &["-lbpf"]), ("static", &["-l:libbpf.a", "-lelf", "-lz"])];

pub fn compile(folder: &Folder, source: &str, way: (&str, &[&str])) -> PathBuf {
    let program = folder.file(way.0);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload");
    let output = Command::new("cc")
        .args(["-O1", "-g", "-Wall", "-I"])
        .arg(folder.file(""))
        .arg("-o")
        .arg(&program)
        .arg(sources.join(source))
        .args(way.1)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn is_here() -> bool {
    let header = Path::new("/usr/include/bpf/bpf.h");
    if !header.exists() {
        println!("skipped: there is no {}", header.display());
        assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "libbpf-dev is needed");
    }
    header.exists() && has("cc")
}

#[test]
fn maps() {
    if !is_here() {
        return;
    }
    for way in WAYS {
        let folder = Folder::new(&format!("libbpf-maps-{}", way.0));
        let program = compile(&folder, "maps.c", way);
        let output = folder.run(program, &[]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let expected = "walk: 1000 entries\n\
                        batch: 1000 entries, sum 1498500\n\
                        rings: 1 and 2\n\
                        per CPU: every value is back\n\
                        mmap: values are memory\n\
                        ids: it is among all\n\
                        forks: the child's entry is there\n";
        assert_eq!(said, expected, "{}", way.0);
        assert!(output.status.success());
    }
}

#[test]
fn skeletons() {
    if !is_here() || !has("bpftool") {
        return;
    }
    for way in WAYS {
        let folder = Folder::new(&format!("libbpf-skeleton-{}", way.0));
        let object = repository().join("examples/rate_limit/rate_limit.bpf.o");
        let arguments = ["gen", "skeleton", object.to_str().unwrap(), "name", "rate_limit_bpf"];
        let skeleton = Command::new("bpftool").args(arguments).output().unwrap();
        assert!(skeleton.status.success());
        std::fs::write(folder.file("rate_limit.skel.h"), skeleton.stdout).unwrap();
        let program = compile(&folder, "skeleton.c", way);
        let output = folder.run(program, &[]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(said, "skeleton: the bucket counted every packet\n", "{}", way.0);
        assert!(output.status.success());
    }
}
