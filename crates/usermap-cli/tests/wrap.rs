//! `usermap wrap`: how it starts what it is given. What programs then find is `usermap-c`'s to test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder with something in the library's place: the loader says that it is none, and goes on.
struct Fixture(PathBuf);

impl Fixture {
    fn new(name: &str) -> Fixture {
        let folder = std::env::temp_dir().join(format!("usermap-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libusermap.so"), "no library").unwrap();
        Fixture(folder)
    }

    fn wrap(&self, arguments: &[&str]) -> Output {
        self.command(arguments).env("USERMAP_LIB", self.0.join("libusermap.so")).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usermap"));
        command.arg("wrap").args(arguments).env_remove("LD_PRELOAD").env_remove("USERMAP_LIB");
        command
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sets_the_environment_and_becomes_the_command() {
    let fixture = Fixture::new("wrap-environment");
    let library = fixture.0.join("libusermap.so");
    let script = "echo $LD_PRELOAD,$USERMAP_WRAP,$1; exit 7";
    let output = fixture.wrap(&["sh", "-c", script, "sh", "--json"]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let expected = format!("{},1,--json\n", library.display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    let mut command = fixture.command(&["--passthrough", "--", "sh", "-c", script]);
    command.env("USERMAP_LIB", &library).env("LD_PRELOAD", "/nothing.so");
    let expected = format!("{}:/nothing.so,passthrough,\n", library.display());
    assert_eq!(String::from_utf8_lossy(&command.output().unwrap().stdout), expected);
}

#[test]
fn says_what_is_wrong() {
    let fixture = Fixture::new("wrap-refused");
    for (arguments, code, text) in [
        (&[][..], 255, "Error: wrap needs a command to run"),
        (&["--passthrough"], 255, "Error: wrap needs a command to run"),
        (&["no-such-command"], 127, "Error: no-such-command: No such file or directory"),
        (&["/"], 126, "Error: /: Permission denied"),
    ] {
        let output = fixture.wrap(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).starts_with(text), "{arguments:?}: {}", said(&output));
    }
    let output = fixture.command(&["true"]).env("USERMAP_LIB", "/nothing.so").output().unwrap();
    assert_eq!(said(&output), "Error: USERMAP_LIB is /nothing.so, which is no file\n");

    let lonely = fixture.0.join("usermap");
    fs::copy(env!("CARGO_BIN_EXE_usermap"), &lonely).unwrap();
    let elsewhere = Fixture::new("wrap-elsewhere");
    fs::remove_file(fixture.0.join("libusermap.so")).unwrap();
    let mut command = Command::new(&lonely);
    // Cargo's own would lead to the library that it has built.
    command.args(["wrap", "true"]).env_remove("USERMAP_LIB").env_remove("LD_LIBRARY_PATH");
    let text = said(&command.output().unwrap());
    assert!(text.contains("libusermap.so is not in "), "{text}");
    assert!(text.contains("USERMAP_LIB can say where it is"), "{text}");
    let found = command.env("LD_LIBRARY_PATH", format!("/nowhere:{}", elsewhere.0.display()));
    assert!(found.status().unwrap().success());
}

#[test]
fn refuses_what_nothing_can_be_preloaded_into() {
    let fixture = Fixture::new("wrap-static");
    // The head of a program without a loader: no program headers at all.
    let mut program = [0; 64];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let path = fixture.0.join("static");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = fixture.wrap(&[path.to_str().unwrap()]);
    assert!(said(&output).contains("linked statically"), "{}", said(&output));
}
