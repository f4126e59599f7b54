//! What the kernel's verifier refuses, known before a program runs.

use serde_json::Value;
use usermap::{Error, Helper, Result, Spec, abi::errno};

/// What a verifier finds in a call before anything runs: the helper and the accesses that the
/// map's kind and flags allow.
pub fn check(spec: &Spec, call: &Value) -> Result<()> {
    let name = call["fn"].as_str().unwrap_or_default();
    if matches!(name, "read" | "write") {
        return if name == "read" { spec.allows_load() } else { spec.allows_store() };
    }
    let unknown = Error::Command {
        command: "program",
        rule: "a helper for other kinds of map",
        errno: errno::EINVAL,
    };
    let helper = Helper::from_name(&format!("bpf_{name}")).ok_or(unknown)?;
    spec.allows(helper)?;
    let looks_up = matches!(helper, Helper::MapLookupElem | Helper::MapLookupPercpuElem);
    let reads = looks_up && call["read"].as_u64() != Some(0) || helper == Helper::ForEachMapElem;
    let adds = call.get("atomic_add").is_some();
    if reads || adds {
        spec.allows_load()?;
    }
    if call.get("store").is_some() || adds {
        spec.allows_store()?;
    }
    Ok(())
}
