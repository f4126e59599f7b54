//! Installing the library for C, and the command that preloads it (`usermap wrap`). Cargo builds
//! the library as libusermap_c; here it gets its name, the name that programs ask the loader for
//! (soname), and a file for pkg-config.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What Rust's standard library needs of the system, for those who link statically.
const PRIVATE_LIBRARIES: &str = "-lgcc_eh -lpthread -lm -ldl -lrt -lutil";

pub struct Options {
    prefix: PathBuf,
    libdir: PathBuf,
    destdir: PathBuf,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let (mut prefix, mut libdir, mut destdir) = (None, "lib".to_owned(), String::new());
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let value = value.or_else(|| arguments.next());
            let value = value.ok_or_else(|| format!("{name} needs a folder"))?;
            match name.as_str() {
                "--prefix" => prefix = Some(value),
                "--libdir" => libdir = value,
                "--destdir" => destdir = value,
                _ => return Err(format!("install has no option {name}\n{}", crate::USAGE)),
            }
        }
        let prefix = prefix.ok_or_else(|| format!("install needs --prefix\n{}", crate::USAGE))?;
        let prefix = std::path::absolute(prefix).map_err(|error| error.to_string())?;
        Ok(Options { libdir: prefix.join(libdir), prefix, destdir: destdir.into() })
    }

    pub fn install(&self) -> Result<(), String> {
        let built = build()?;
        let root = root();
        let [lib, include, bin] =
            [&self.libdir, &self.prefix.join("include"), &self.prefix.join("bin")]
                .map(|folder| self.place(folder));
        let pkgconfig = lib.join("pkgconfig");
        for folder in [&lib, &include, &bin, &pkgconfig] {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let full = format!("libusermap.so.{VERSION}");
        for (from, to) in [("libusermap_c.so", full.as_str()), ("libusermap_c.a", "libusermap.a")] {
            copy(&built.join(from), &lib.join(to))?;
            run(Command::new("strip").arg("--strip-debug").arg(lib.join(to)))?;
        }
        hide_interposed(&lib.join(&full), &lib.join("libusermap.a"))?;
        link(&full, &lib.join(soname()))?;
        link(&soname(), &lib.join("libusermap.so"))?;
        for header in ["usermap.h", "usermap_helpers.h"] {
            copy(&root.join("include").join(header), &include.join(header))?;
        }
        let command = bin.join("usermap");
        copy(&built.join("usermap"), &command)?;
        run(Command::new("strip").arg(&command))?;
        let file = pkgconfig.join("usermap.pc");
        fs::write(&file, self.pkg_config())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        println!("{}\n{}", command.display(), file.display());
        Ok(())
    }

    /// Where a folder is while it is installed to.
    fn place(&self, folder: &Path) -> PathBuf {
        match self.destdir.as_os_str().is_empty() {
            true => folder.to_owned(),
            false => self.destdir.join(folder.strip_prefix("/").unwrap_or(folder)),
        }
    }

    fn pkg_config(&self) -> String {
        format!(
            "prefix={}\n\
             libdir={}\n\
             includedir=${{prefix}}/include\n\
             \n\
             Name: usermap\n\
             Description: eBPF maps for user space, by the names of libbpf\n\
             Version: {VERSION}\n\
             Cflags: -I${{includedir}}\n\
             Libs: -L${{libdir}} -lusermap\n\
             Libs.private: {PRIVATE_LIBRARIES}\n",
            self.prefix.display(),
            self.libdir.display(),
        )
    }
}

/// The name that programs are linked with. Before 1.0 every minor version may break others.
fn soname() -> String {
    let mut numbers = VERSION.split('.');
    match (numbers.next(), numbers.next()) {
        (Some("0"), Some(minor)) => format!("libusermap.so.0.{minor}"),
        (Some(major), _) => format!("libusermap.so.{major}"),
        _ => "libusermap.so".to_owned(),
    }
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Builds the library and the command; gives the folder where cargo puts them.
fn build() -> Result<PathBuf, String> {
    let target = root().join("target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from);
    let cargo = |what: &str, arguments: &[&str], more: &[&str]| {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
            .current_dir(root())
            .args(arguments)
            .args(["--locked", "--release", "--target-dir"])
            .arg(&target)
            .args(more)
            .status()
            .map_err(|error| format!("cargo: {error}"))?;
        status.success().then_some(()).ok_or_else(|| format!("{what} was not built"))
    };
    let library = ["rustc", "--package", "usermap-c", "--lib", "--crate-type", "cdylib,staticlib"];
    let soname = format!("link-arg=-Wl,-soname,{}", soname());
    cargo("the library", &library, &["--", "-C", &soname])?;
    cargo("the command", &["build", "--package", "usermap-cli"], &[])?;
    Ok(target.join("release"))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    // A program may be using the file that is there: that one stays whole.
    let _ = fs::remove_file(to);
    let failed = |error| format!("{} to {}: {error}", from.display(), to.display());
    fs::copy(from, to).map_err(failed)?;
    let is_data = to.extension().is_some_and(|extension| extension == "h" || extension == "a");
    let mode = if is_data { 0o644 } else { 0o755 };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn link(to: &str, at: &Path) -> Result<(), String> {
    let _ = fs::remove_file(at);
    symlink(to, at).map_err(|error| format!("{}: {error}", at.display()))
}

/// What the shared library exports besides functions of maps: the C library's functions on
/// descriptors and memory, which it does itself.
const OWN: [&str; 11] = [
    "close",
    "close_range",
    "closefrom",
    "dup2",
    "dup3",
    "fclose",
    "mmap",
    "mmap64",
    "mremap",
    "munmap",
    "syscall",
];

/// Hides the other functions of the C library's that the shared library stands in front of: they
/// are for preloading, and need the C library behind them, which a static program does not have.
fn hide_interposed(shared: &Path, archive: &Path) -> Result<(), String> {
    let exported = run(Command::new("nm").args(["--dynamic", "--defined-only"]).arg(shared))?;
    let interposed = exported
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .filter(|name| !["bpf_", "usermap_", "libbpf_"].iter().any(|own| name.starts_with(own)))
        .filter(|name| !OWN.contains(name));
    let mut objcopy = Command::new("objcopy");
    for name in interposed {
        objcopy.arg(format!("--localize-symbol={name}"));
    }
    run(objcopy.arg(archive)).map(|_| ())
}

/// Runs one of the programs that come with the linker; gives its output.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
