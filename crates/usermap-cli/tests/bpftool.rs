//! The same words to bpftool, on the kernel's maps, and to usermap: the same output and exit code.
//!
//! It needs bpftool, root and a mount namespace of its own for a bpf file system; elsewhere it
//! says so and passes. Messages of usermap begin as bpftool's and then say more.

mod common;

use common::Maps;
use common::kernel::{Answer, Namespace, answer};

/// `$B` is the folder of the maps. Hashes have one entry where they are dumped: the order of more
/// is decided by a seed.
const LINES: &str = "\
map create $B/h type hash key 4 value 8 entries 2 name h
map create $B/h type hash key 4 value 8 entries 2 name h
-j map create $B/a type array key 4 value 32 entries 2 name a
map create $B/p type percpu_array key 4 value 8 entries 2 name p
map create $B/ph type percpu_hash key 4 value 20 entries 2 name ph
map create $B/q type queue value 4 entries 2 name q
map create $B/s type stack key 0 value 4 entries 2 name s
map create $B/x type hash key 4 value 8 entries 4
map create $B/x type hash key 4 value 8 entries 0 name x
map create $B/x type bogus key 4 value 8 entries 4 name x
map create $B/x type hash key abc value 8 entries 4 name x
map create $B/x type hash key 4 value 8 entries 4 name a-b
map create $B/x type hash key 4 key 4 value 8
map create $B/x type hash foo 4 foo 4
map create $B/x type hash key
map create
map update pinned $B/h key 1 0 0 0 value 1 2 3 4 5 6 7 8
map update pinned $B/h key 1 0 0 0 value 1 2 3 4 5 6 7 8 noexist
-j map update pinned $B/h key 1 0 0 0 value 1 2 3 4 5 6 7 8 noexist
map dump pinned $B/h
-j map dump pinned $B/h
-p map dump pinned $B/h
map dump name h
map lookup pinned $B/h key 0x1 0 0 00
-j map lookup pinned $B/h key hex 1 0 0 0
map lookup pinned $B/h key 9 0 0 0
-j map lookup pinned $B/h key 9 0 0 0
map lookup pinned $B/h key 1 0 0 0 foo
map lookup pinned $B/h
map getnext pinned $B/h
-j map getnext pinned $B/h
map getnext pinned $B/h key 1 0 0 0
-j map getnext pinned $B/h key 1 0 0 0
map getnext pinned $B/a key 0 0 0 0
map getnext pinned $B/q
-j map update pinned $B/h key hex 02 0 0 0 value hex 0a 0b 0c 0d 0e 0f 10 11
map update pinned $B/h key 3 0 0 0 value 1 2 3 4 5 6 7 8
map update pinned $B/h key 3 0 0 0 value 1 2 3 4 5 6 7 8 exist
map update pinned $B/h key 1 0 0 value 1 2 3 4 5 6 7 8
map update pinned $B/h key 1 0 0 zz value 1 2 3 4 5 6 7 8
map update pinned $B/h key 1 0 0 0
map update pinned $B/h key 1 0 0 0 key 1 0 0 0
map update pinned $B/h value 1 2 3 4 5 6 7 8 value 1
map update pinned $B/h value 1 2 3 4 5 6 7 8 any any
map update pinned $B/h value 1 2 3 4 5 6 7 8 foo
map update pinned $B/h
map delete pinned $B/h key 2 0 0 0
map delete pinned $B/h key 2 0 0 0
-j map delete pinned $B/h key 1 0 0 0
-p map dump pinned $B/h
map dump pinned $B/a
-j map dump pinned $B/a
map update pinned $B/a key 9 0 0 0 value 1
map lookup pinned $B/a key 9 0 0 0
map delete pinned $B/a key 1 0 0 0
map dump pinned $B/q
-j map dump pinned $B/q
map push pinned $B/q value 1 2 3 4
-j map enqueue pinned $B/q value 5 6 7 8
map push pinned $B/q value 1 2 3
map push pinned $B/q value 1 2 3 4 foo
map push pinned $B/q value 1 2 3 4
map push pinned $B/q value 9 9 9 9 exist
map push pinned $B/q
map push pinned $B/q key 1 value 1 2 3 4
map peek pinned $B/q
-j map peek pinned $B/q
map pop pinned $B/q
-j map dequeue pinned $B/q
map pop pinned $B/q
-j map pop pinned $B/q
map peek pinned $B/q
map lookup pinned $B/q
map push pinned $B/s value 1 2 3 4
map push pinned $B/s value 5 6 7 8
map pop pinned $B/s
map freeze pinned $B/a
-j map freeze pinned $B/a
map freeze pinned $B/a
map pin pinned $B/a $B/a2
map pin pinned $B/a $B/a2
-j map pin pinned $B/a $B/a3
map show pinned $B/none
map show id abc
map show id 4294967295
map show id
-j map help
-j map show id 4294967295
batch
batch foo x
batch file a b
batch file /nonexistent
";

/// Where the numbers of CPUs must agree for the outputs to do.
const PER_CPU: &str = "\
map dump pinned $B/p
-j map dump pinned $B/p
map update pinned $B/ph key 1 2 3 4 value 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
map dump pinned $B/ph
-p map dump pinned $B/ph
map lookup pinned $B/ph key 1 2 3 4
-j map lookup pinned $B/ph key 1 2 3 4
";

/// A message without the end of its line, or of its JSON.
fn message(text: &str) -> &str {
    text.trim_end().trim_end_matches("\"}")
}

fn agree(theirs: &Answer, ours: &Answer) -> bool {
    let same = |theirs: &str, ours: &str, error: &str| {
        theirs == ours || theirs.starts_with(error) && ours.starts_with(message(theirs))
    };
    theirs.code == ours.code
        && same(&theirs.out, &ours.out, "{\"error\"")
        // Where bpftool only fails, usermap says why.
        && (theirs.err.is_empty() || same(&theirs.err, &ours.err, "Error: "))
}

#[test]
fn usermap_answers_as_bpftool() {
    let kernel = Maps::new();
    let Some(holder) = Namespace::new(kernel.folder()) else {
        println!("skipped: no bpftool here, or no right to mount a bpf file system");
        return;
    };
    let maps = Maps::new();
    let mut failed = Vec::new();
    for line in LINES.lines().chain(PER_CPU.lines()) {
        let theirs = answer(holder.bpftool(), line, kernel.folder());
        let ours = answer(maps.command(""), line, maps.folder());
        // The two folders have different names, of the same form.
        let named = |text: String| {
            text.replace(&*kernel.folder().to_string_lossy(), "$B")
                .replace(&*maps.folder().to_string_lossy(), "$B")
        };
        let theirs = Answer { out: named(theirs.out), err: named(theirs.err), ..theirs };
        let ours = Answer { out: named(ours.out), err: named(ours.err), ..ours };
        if !agree(&theirs, &ours) {
            failed.push(format!(
                "{line}\n  bpftool {:?} {:?} {:?}\n  usermap {:?} {:?} {:?}",
                theirs.code, theirs.out, theirs.err, ours.code, ours.out, ours.err
            ));
        }
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
}
