//! Child processes: the test binary runs itself again, and the test `child_entry` in it
//! does what the parent asks for. Also temporary folders.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const ROLE: &str = "USERMAP_TEST_ROLE";
const ARGUMENTS: &str = "USERMAP_TEST_ARGUMENTS";

/// What a child can be asked to do; the arguments are the parent's.
pub type Role = (&'static str, fn(&[String]));

/// Does what the parent asked for; call it from a test named `child_entry`. Without a
/// parent it does nothing.
pub fn run(roles: &[Role]) {
    let Ok(role) = std::env::var(ROLE) else { return };
    let arguments = std::env::var(ARGUMENTS).unwrap_or_default();
    let arguments: Vec<String> = arguments.split('\n').map(str::to_owned).collect();
    let (_, act) = roles.iter().find(|(name, _)| *name == role).expect("a role of this binary");
    // A thread that panics ends the process, whoever waits for it.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        std::process::exit(101);
    }));
    act(&arguments);
}

/// Whether the parent of this child still lives: a child that works until it is killed must not
/// outlive who would kill it.
pub fn has_parent() -> bool {
    static PARENT: OnceLock<Option<rustix::process::Pid>> = OnceLock::new();
    let now = rustix::process::getppid();
    *PARENT.get_or_init(|| now) == now
}

/// The command that runs a role in a process of its own.
pub fn command(role: &str, arguments: &[&str]) -> Command {
    command_of(&std::env::current_exe().expect("this program's file"), role, arguments)
}

/// The same with a copy of this program.
pub fn command_of(program: &Path, role: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", "child_entry", "--nocapture", "--test-threads=1", "-q"])
        .env(ROLE, role)
        .env(ARGUMENTS, arguments.join("\n"));
    command
}

/// How a child ended.
#[derive(Debug)]
pub enum End {
    /// By itself, or by a signal.
    Exit(ExitStatus),
    /// It was still running when its time was over, and was killed.
    Hang,
}

impl End {
    /// Whether it did all it was asked for.
    pub fn success(&self) -> bool {
        matches!(self, End::Exit(status) if status.success())
    }
}

/// Waits for a child, at most so long.
pub fn wait(child: &mut Child, limit: Duration) -> End {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("waiting for a child") {
            return End::Exit(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("killing a child");
            child.wait().expect("waiting for a killed child");
            return End::Hang;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Runs a command to its end, at most so long; gives what it printed to both streams too.
pub fn finish(mut command: Command, limit: Duration) -> (End, String) {
    let folder = Folder::new();
    let path = folder.path("output");
    let file = std::fs::File::create(&path).expect("a file for a child's output");
    command.stdout(file.try_clone().expect("a descriptor")).stderr(file);
    let mut tries = 0;
    let mut child = loop {
        match command.spawn() {
            Ok(child) => break child,
            // A child that another thread forks right now has the file of a program that we have
            // just written open for a moment.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && tries < 200 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("starting a child: {error}"),
        }
    };
    let end = wait(&mut child, limit);
    (end, String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned())
}

/// A temporary folder, on a tmpfs if there is one; gone when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one that everybody may look into.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Folder {
        Folder::under(Path::new("/dev/shm"))
    }

    /// A new one on a disk (or wherever temporary files are).
    pub fn on_disk() -> Folder {
        Folder::under(&std::env::temp_dir())
    }

    fn under(base: &Path) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let temporary = std::env::temp_dir();
        let base = if base.is_dir() { base } else { &temporary };
        let path = loop {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("usermap-test-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => break path,
                // Left behind by a process that was killed and had our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => panic!("{}: {error}", path.display()),
            }
        };
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("permissions of a new folder");
        Folder(path)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
