//! What instructions do: small programs, each with the result that RFC 9669 says, run by every
//! engine, by the real kernel where there is one to ask, and random ones, which must do no harm.

mod assembler;
mod atomics;
mod bpf;
mod calls;
mod case;
mod jumps;
mod kernel;
mod memory;
mod operations;
mod random;

use case::Case;
use usermap_vm::bare::Engine;

/// All cases.
fn all() -> Vec<Case> {
    let mut cases = operations::cases();
    cases.extend(jumps::cases());
    cases.extend(memory::cases());
    cases.extend(atomics::cases());
    cases.extend(calls::cases());
    cases
}

#[test]
fn every_engine_agrees_with_the_standard() {
    let cases = all();
    assert!(cases.len() > 250, "{} cases", cases.len());
    for engine in Engine::all() {
        let failures: Vec<String> = cases.iter().filter_map(|case| case.failure(*engine)).collect();
        let count = failures.len();
        assert!(failures.is_empty(), "{engine:?}: {count} failed:\n{}", failures.join("\n"));
    }
}

#[test]
fn every_opcode_is_in_some_case() {
    let cases = all();
    let instructions = cases.iter().flat_map(|case| &case.instructions);
    let seen: std::collections::BTreeSet<u8> = instructions.map(|each| each.opcode).collect();
    let missing: Vec<u8> = assembler::opcodes().filter(|opcode| !seen.contains(opcode)).collect();
    assert!(missing.is_empty(), "{missing:02x?}");
}
