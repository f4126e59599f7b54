//! `cargo bench`: see README.md beside it.
fn main() -> std::process::ExitCode {
    usermap_benches::main()
}
