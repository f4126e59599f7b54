//! What the suites share: the real kernel behind a safe wrapper, adversarial keys, a checker of
//! histories for linearizability, deterministic randomness, and child processes.
//!
//! | variable | effect |
//! | --- | --- |
//! | `USERMAP_SEED=n` | another seed than the fixed one; a failing test prints the one it used |
//! | `USERMAP_SOAK=seconds` | each timed test runs that long, each random one tries new seeds that long |
//! | `USERMAP_KILLS=n` | `death::random` kills so many processes |
//! | `USERMAP_OPERATION=text` | `death::every` takes only operations with this in their name |
//! | `USERMAP_REQUIRE_KERNEL=1` | the comparison with the kernel fails where bpf(2) is not allowed |

pub mod adapter;
pub mod check;
pub mod child;
pub mod history;
pub mod keys;
pub mod linear;
pub mod rng;
pub mod script;
pub mod sys;
pub mod trace;

/// All entries of a map, by key; of a queue or stack all values, which are then taken out.
pub fn everything(map: &usermap::Map) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut value = vec![0; map.value_bytes()];
    if map.spec().map_type.is_ring() {
        while map.pop(&mut value, 0).is_ok() {
            entries.push((Vec::new(), value.clone()));
        }
        return entries;
    }
    let mut last: Option<Vec<u8>> = None;
    let mut next = vec![0; map.spec().key_size as usize];
    while map.get_next_key(last.as_deref(), &mut next).is_ok() {
        if map.lookup(&next, &mut value, 0).is_ok() {
            entries.push((next.clone(), value.clone()));
        }
        last = Some(next.clone());
    }
    entries.sort();
    entries
}
