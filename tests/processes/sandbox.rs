//! A thread to which the kernel refuses membarrier(2), as a sandbox may.

use std::thread;
use usermap::abi::errno::EPERM;
use usermap::{Error, HashMap, Reason};
use usermap_tests::sys;

const MEMBARRIER: libc::c_long = libc::SYS_membarrier;

fn is_refused(done: usermap::Result<()>) -> bool {
    match done {
        Err(error @ Error::Operation { reason: Reason::SoleWriter, .. }) => {
            assert_eq!(error.errno(), EPERM);
            assert!(error.to_string().contains("membarrier"), "{error}");
            true
        }
        other => {
            other.expect("written");
            false
        }
    }
}

#[test]
fn beside_the_sole_writer() {
    let map = HashMap::<u32, u64>::create(8).expect("a map");
    map.insert(&1, &1).expect("the sole writer's");
    thread::scope(|scope| {
        let sandboxed = scope.spawn(|| {
            if !sys::refuse(MEMBARRIER) {
                println!("skipped: no seccomp filters here");
                return;
            }
            assert!(is_refused(map.insert(&1, &2)), "the sole writer may be writing");
            assert_eq!(map.get(&1).expect("read"), Some(1), "nothing was done");
        });
        sandboxed.join().expect("ended");
    });
    for turn in 0..20 {
        thread::scope(|scope| {
            scope.spawn(|| map.insert(&3, &turn).expect("by turns")).join().expect("ended");
        });
        map.insert(&3, &turn).expect("by turns");
    }
    thread::scope(|scope| {
        let sandboxed = scope.spawn(|| {
            assert!(!sys::refuse(MEMBARRIER) || !is_refused(map.insert(&1, &3)), "several write");
        });
        sandboxed.join().expect("ended");
    });
}

/// A thread may set its maps up, shut itself in, and go on alone.
#[test]
fn the_sole_writer_itself() {
    let sandboxed = thread::spawn(|| {
        let map = HashMap::<u32, u64>::create(8).expect("a map");
        map.insert(&1, &1).expect("the sole writer's");
        if !sys::refuse(MEMBARRIER) {
            println!("skipped: no seccomp filters here");
            return;
        }
        map.insert(&1, &2).expect("still the sole writer's");
        map.map().on_cpu(0).expect("a program's view").lookup(&1_u32.to_ne_bytes()).expect("lent");
        assert_eq!(map.inc_and_return(&1, 1).expect("added"), 3);
    });
    sandboxed.join().expect("ended");
}
