//! Programs in C and C++, compiled here against the header and linked with the library, each way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where cargo puts the library for C: beside this test.
fn library() -> PathBuf {
    let own = std::env::current_exe().expect("this program's path");
    own.parent().expect("its folder").to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of this test's own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("usermap-c-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a compiler; gives nothing if there is none, which CI does not let pass.
fn compile(compiler: &str, arguments: &[&str]) -> Option<()> {
    let output = match Command::new(compiler).args(arguments).output() {
        Err(error) if std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none() => {
            eprintln!("skipped: {compiler}: {error}");
            return None;
        }
        output => output.expect("a compiler"),
    };
    assert!(output.status.success(), "{compiler} {arguments:?}\n{}", text(&output));
    Some(())
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pthread"];

/// Which of the library's forms a program is linked with.
#[derive(Clone, Copy)]
enum Way {
    Shared,
    Static,
}

/// Compiles a program, links it with the shared library or the static one, and runs it.
fn run(source: &str, compiler: &str, options: &[&str], way: Way) {
    let folder = Folder::new(&format!("{}-{}", source.replace('.', "-"), options.len()));
    let source = root().join("tests/c").join(source);
    let include = format!("-I{}", root().join("../../include").display());
    let library = library();
    let archive = library.join("libusermap_c.a");
    let shared = library.join("libusermap_c.so");
    let rpath = format!("-Wl,-rpath,{}", library.display());
    let link = match way {
        Way::Shared => vec![shared.to_str().unwrap(), &rpath],
        Way::Static => vec![archive.to_str().unwrap(), "-lgcc_s", "-lm", "-ldl"],
    };
    let program = folder.0.join("program");
    let mut arguments = options.to_vec();
    arguments.extend(WARNINGS);
    arguments.extend([&include, source.to_str().unwrap(), "-o", program.to_str().unwrap()]);
    arguments.extend(link);
    if compile(compiler, &arguments).is_none() {
        return;
    }
    let output = Command::new(&program)
        .arg(&folder.0)
        .env("USERMAP_DIR", &folder.0)
        .output()
        .expect("the program");
    assert!(output.status.success(), "{}: {}", source.display(), text(&output));
    assert_eq!(output.stdout, b"ok\n");
}

#[test]
fn functions_of_libbpf() {
    run("libbpf.c", "cc", &["-std=gnu11"], Way::Shared);
}

#[test]
fn functions_of_libbpf_without_its_header() {
    run("libbpf.c", "cc", &["-std=gnu11", "-DUSERMAP_WITHOUT_LIBBPF"], Way::Static);
}

#[test]
fn functions_of_its_own() {
    run("own.c", "cc", &["-std=gnu11"], Way::Shared);
}

#[test]
fn descriptors() {
    run("descriptors.c", "cc", &["-std=gnu11"], Way::Shared);
}

#[test]
fn values_in_memory() {
    run("mmap.c", "cc", &["-std=gnu11"], Way::Shared);
}

#[test]
fn from_cpp() {
    run("plain.cpp", "c++", &["-std=c++17"], Way::Shared);
}

/// The header alone, by the standards and nothing else.
#[test]
fn header() {
    let header = root().join("../../include/usermap.h");
    let header = header.to_str().expect("a path");
    for (language, standard) in [("c", "-std=c11"), ("c++", "-std=c++17")] {
        for libbpf in ["-DUSERMAP_WITH_LIBBPF", "-DUSERMAP_WITHOUT_LIBBPF"] {
            let mut arguments = vec!["-x", language, standard, libbpf, "-fsyntax-only"];
            arguments.extend(WARNINGS);
            arguments.push(header);
            if compile("cc", &arguments).is_none() {
                return;
            }
        }
    }
}

/// What the header declares is there, and what is there is declared: in `usermap.h`, with libbpf's
/// functions, or in libbpf's headers for those that came after the oldest version supported.
#[test]
fn header_and_library_agree() {
    const LATER: [&str; 2] = ["bpf_map_get_info_by_fd", "bpf_obj_pin_opts"];
    let library = library().join("libusermap_c.so");
    let Ok(nm) = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output() else {
        assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "nm is needed");
        eprintln!("skipped: there is no nm");
        return;
    };
    let own = |name: &&str| {
        ["usermap_", "bpf_map_", "bpf_obj_", "libbpf_"].iter().any(|p| name.starts_with(p))
    };
    let symbols = String::from_utf8(nm.stdout).expect("names");
    let mut exported: Vec<_> =
        symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).filter(own).collect();
    exported.retain(|name| !LATER.contains(name));
    let header = std::fs::read_to_string(root().join("../../include/usermap.h")).expect("header");
    let mut declared: Vec<_> = header
        .lines()
        .filter_map(|line| line.strip_prefix("int64_t ").or_else(|| line.strip_prefix("int ")))
        .filter_map(|line| line.split('(').next())
        .collect();
    exported.sort_unstable();
    declared.sort_unstable();
    assert_eq!(exported, declared);
    assert!(declared.len() > 40);
}
