//! Tasks of this repository that cargo has no command for: `cargo xtask install --prefix FOLDER`.

mod install;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask install --prefix FOLDER [--libdir FOLDER] [--destdir FOLDER]

Builds the library for C and the command in release mode and installs them:
    PREFIX/bin/usermap               the command; it finds the library for `usermap wrap`
    PREFIX/lib/libusermap.so, .a     the library, with the links of its version
    PREFIX/include/usermap.h         for C and C++
    PREFIX/include/usermap_helpers.h for eBPF programs
    PREFIX/lib/pkgconfig/usermap.pc  for pkg-config

    --libdir   where the library goes, in PREFIX unless it begins with / (lib)
    --destdir  a folder that is put before all paths, for those who make packages";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("install") => install::Options::parse(arguments).and_then(|options| options.install()),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
