//! Several processes on one map. Programs that know only a file's name, or only a descriptor, are
//! this test binary run again as a child; `child_entry` is where those begin.

mod bulk;
mod create;
mod handles;
mod killed;
mod leases;
mod sandbox;
mod script;
mod together;

use usermap_tests::child;

#[test]
fn child_entry() {
    child::run(&[
        ("create", create::child),
        ("bare-name", handles::bare_name),
        ("from-stdin", handles::from_stdin),
        ("from-socket", handles::from_socket),
        ("by-name", handles::by_name),
        ("without-rights", handles::without_rights),
        ("script", script::child),
        ("bulk", bulk::child),
        ("lease", leases::child),
    ]);
}
