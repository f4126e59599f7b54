//! Redirects, which a run's outcome tells: no packet is sent here.

use super::arguments::{Called, context, copy, fail};
use crate::context::{
    Kind, Redirect, RedirectKind, TC_ACT_REDIRECT, TC_ACT_SHOT, XDP_ABORTED, XDP_REDIRECT,
};
use crate::run::Run;

/// `BPF_F_INGRESS`
const INGRESS: u64 = 1;
/// Clones that are told of; more cannot be made, as if memory were short.
const CLONES: usize = 1024;
/// `sizeof(struct bpf_redir_neigh)`
const NEIGHBOUR: u64 = 20;

fn record(run: &mut Run<'_>, ifindex: u64, flags: u64, kind: RedirectKind) {
    run.packet.redirect = Some(Redirect { ifindex: ifindex as u32, flags, kind });
}

/// `bpf_redirect(ifindex, flags)`
pub(super) fn device(run: &mut Run<'_>, [ifindex, flags, ..]: [u64; 5]) -> Called {
    let (taken, refused, done) = match run.packet.kind {
        Kind::Xdp => (0, XDP_ABORTED, XDP_REDIRECT),
        _ => (INGRESS, TC_ACT_SHOT, TC_ACT_REDIRECT),
    };
    if flags & !taken != 0 {
        return Ok(refused);
    }
    record(run, ifindex, flags, RedirectKind::Device);
    Ok(done)
}

/// `bpf_redirect_peer(ifindex, flags)`
pub(super) fn peer(run: &mut Run<'_>, [ifindex, flags, ..]: [u64; 5]) -> Called {
    if flags != 0 {
        return Ok(TC_ACT_SHOT);
    }
    record(run, ifindex, flags, RedirectKind::Peer);
    Ok(TC_ACT_REDIRECT)
}

/// `bpf_redirect_neigh(ifindex, parameters, size, flags)`
pub(super) fn neighbour(
    run: &mut Run<'_>,
    [ifindex, parameters, bytes, flags, _]: [u64; 5],
) -> Called {
    let bytes = u64::from(bytes as u32);
    if bytes > 0 {
        // Nobody here resolves it, but it must be the program's.
        copy(run.memory, parameters, bytes.min(NEIGHBOUR) as usize)?;
    }
    if flags != 0 || bytes > 0 && bytes < NEIGHBOUR {
        return Ok(TC_ACT_SHOT);
    }
    record(run, ifindex, flags, RedirectKind::Neighbour);
    Ok(TC_ACT_REDIRECT)
}

/// `bpf_clone_redirect(skb, ifindex, flags)`
pub(super) fn clone(run: &mut Run<'_>, [skb, ifindex, flags, ..]: [u64; 5]) -> Called {
    context(run, "bpf_clone_redirect", skb, Kind::Skb)?;
    if flags & !INGRESS != 0 || ifindex as u32 == 0 {
        return fail(libc::EINVAL);
    }
    if run.packet.clones.len() >= CLONES {
        return fail(libc::ENOMEM);
    }
    let ifindex = ifindex as u32;
    run.packet.clones.push(Redirect { ifindex, flags, kind: RedirectKind::Device });
    Ok(0)
}
