//! What several targets need.

use usermap_vm::{Error, FaultKind};

/// A fault as both engines know it: machine code knows where an access ended up only.
pub fn plain(error: Error) -> (usize, String) {
    let Error::Fault(fault) = error else { panic!("no fault: {error}") };
    let kind = match fault.kind {
        FaultKind::Memory { write, .. } => format!("memory, {write}"),
        FaultKind::Misaligned { .. } => "misaligned".to_owned(),
        kind => kind.to_string(),
    };
    (fault.instruction, kind)
}

macro_rules! objects {
    ($($path:literal)*) => { &[$(include_bytes!(concat!("../../", $path))),*] };
}

/// Objects that clang built. Their order is part of what inputs mean: add at the end.
pub const OBJECTS: &[&[u8]] = objects! {
    "examples/flow_stats/flow_stats.bpf.o"
    "examples/rate_limit/rate_limit.bpf.o"
    "examples/sampler/sampler.bpf.o"
    "examples/top_talkers/top_talkers.bpf.o"
    "examples/exercise/atomics.bpf.o"
    "examples/exercise/checksums.bpf.o"
    "examples/exercise/contexts.bpf.o"
    "examples/exercise/events.bpf.o"
    "examples/exercise/functions.bpf.o"
    "examples/exercise/globals.bpf.o"
    "examples/exercise/loops.bpf.o"
    "examples/exercise/maps.bpf.o"
    "examples/exercise/own.bpf.o"
    "examples/exercise/percpu.bpf.o"
    "examples/exercise/skb.bpf.o"
    "examples/exercise/strings.bpf.o"
    "examples/exercise/tail_calls.bpf.o"
    "examples/exercise/xdp.bpf.o"
};
