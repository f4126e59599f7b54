//! mmap(2) of an array's values.

use crate::case::Replay;
use crate::compare::{hex, outcome, unhex};
use serde_json::{Value, json};
use usermap::abi::errno;
use usermap::command::Host;
use usermap::{Error, Mapping, Result};

pub fn map(replay: &mut Replay<'_>, op: &Value) -> Value {
    let result = try_map(replay, op);
    let found = outcome(&result);
    if let (Ok(mapping), Some(name)) = (result, op["as"].as_str()) {
        replay.mappings.insert(name.to_owned(), mapping);
    }
    Value::Object(found)
}

fn try_map(replay: &Replay<'_>, op: &Value) -> Result<Mapping> {
    let prot = op["prot"].as_str().unwrap_or_default();
    let (fd, _) = replay.fd(op);
    if !op["offset"].as_u64().unwrap_or(0).is_multiple_of(4096) {
        // mmap(2) says so before it looks at the descriptor.
        return Err(refuse("an offset inside a page", errno::EINVAL));
    }
    let map = replay.process.map(fd).map_err(|bad| refuse("a descriptor", bad.errno()))?;
    let number = |name: &str| op[name].as_u64().unwrap_or(0);
    let (length, offset) = (number("length") as usize, number("offset"));
    if op["share"] == "private" {
        // A map has no private copies, whatever else is right with the call.
        return map
            .map_values(false, length, offset)
            .and_then(|_| Err(refuse("a private mapping", errno::EINVAL)));
    }
    if prot.contains('x') {
        return Err(refuse("values are not run", errno::EPERM));
    }
    map.map_values(prot.contains('w'), length, offset)
}

fn refuse(rule: &'static str, errno: i32) -> Error {
    Error::Command { command: "mmap", rule, errno }
}

fn name(op: &Value) -> &str {
    op["mm"].as_str().unwrap_or("mm")
}

pub fn unmap(replay: &mut Replay<'_>, op: &Value) -> Value {
    let found = replay.mappings.remove(name(op));
    Value::Object(outcome(&found.ok_or(refuse("no such mapping", errno::EINVAL))))
}

pub fn protect(replay: &mut Replay<'_>, op: &Value) -> Value {
    let writable = op["prot"].as_str().unwrap_or_default().contains('w');
    let mapping = replay.mappings.get_mut(name(op));
    let mapping = mapping.ok_or(refuse("no such mapping", errno::ENOMEM));
    Value::Object(outcome(&mapping.and_then(|mapping| mapping.protect(writable))))
}

pub fn read(replay: &mut Replay<'_>, op: &Value) -> Value {
    let mut bytes = vec![0; op["len"].as_u64().unwrap_or(0) as usize];
    let offset = op["off"].as_u64().unwrap_or(0) as usize;
    let mapping = replay.mappings.get(name(op)).ok_or(refuse("no such mapping", errno::EFAULT));
    match mapping.and_then(|mapping| mapping.load(offset, &mut bytes)) {
        Ok(()) => json!({"bytes": hex(&bytes)}),
        error => Value::Object(outcome(&error)),
    }
}

pub fn write(replay: &mut Replay<'_>, op: &Value) -> Value {
    let bytes = unhex(op["bytes"].as_str().unwrap_or_default());
    let offset = op["off"].as_u64().unwrap_or(0) as usize;
    let mapping = replay.mappings.get(name(op)).ok_or(refuse("no such mapping", errno::EFAULT));
    Value::Object(outcome(&mapping.and_then(|mapping| mapping.store(offset, &bytes))))
}
