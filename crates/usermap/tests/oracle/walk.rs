//! Operations that are many system calls: walks, dumps, drains.

use crate::case::Replay;
use crate::compare::{errno_name, hex};
use crate::syscall::{Attr, call_batch, pointer};
use serde_json::{Value, json};
use usermap::abi::command;

/// More calls than any recorded map has entries: a walk without an end fails its case.
const LIMIT: usize = 1 << 20;

pub fn walk(replay: &mut Replay<'_>, op: &Value) -> Value {
    let (mut keys, end) = keys_of(replay, op);
    if op["ordered"] != true {
        keys.sort();
    }
    let keys: Vec<_> = keys.iter().map(|key| hex(key)).collect();
    json!({"keys": keys, "end": end})
}

pub fn dump(replay: &mut Replay<'_>, op: &Value) -> Value {
    let (mut keys, _) = keys_of(replay, op);
    if op["ordered"] != true {
        keys.sort();
    }
    let pairs: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let text = hex(&key);
            let key = replay.process.buffer(key);
            let value = take(replay, op, command::MAP_LOOKUP_ELEM, key).unwrap_or_else(|end| end);
            (text, value)
        })
        .collect();
    json!({"pairs": pairs})
}

pub fn drain(replay: &mut Replay<'_>, op: &Value) -> Value {
    let mut values = Vec::new();
    let end = loop {
        match take(replay, op, command::MAP_LOOKUP_AND_DELETE_ELEM, 0) {
            Ok(value) if values.len() < LIMIT => values.push(value),
            Ok(_) => break "no end".to_owned(),
            Err(end) => break end,
        }
    };
    json!({"values": values, "end": end})
}

pub fn walk_batch(replay: &mut Replay<'_>, op: &Value) -> Value {
    let number = match op["delete"] == true {
        true => command::MAP_LOOKUP_AND_DELETE_BATCH,
        false => command::MAP_LOOKUP_BATCH,
    };
    let (mut pairs, mut counts, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    let mut from = 0;
    let end = loop {
        let batch = call_batch(replay, op, number, from);
        counts.push(batch.count);
        let ends = batch.result.as_ref().err().map(usermap::Error::errno);
        if ends.is_none_or(|errno| errno == usermap::abi::errno::ENOENT) {
            pairs.extend(batch.pairs);
        }
        if let Some(errno) = ends {
            break errno_name(errno);
        }
        let token = batch.token.unwrap_or_default();
        tokens.push(hex(&token));
        from = replay.process.buffer(token);
        if counts.len() > LIMIT {
            break "no end".to_owned();
        }
    };
    if op["ordered"] == true {
        return json!({"pairs": pairs, "end": end, "counts": counts, "tokens": tokens});
    }
    pairs.sort();
    json!({"pairs": pairs, "end": end})
}

/// Keys by MAP_GET_NEXT_KEY, and the name of the error at the end.
fn keys_of(replay: &mut Replay<'_>, op: &Value) -> (Vec<Vec<u8>>, String) {
    let (fd, shape) = replay.fd(op);
    let (mut keys, mut key) = (Vec::new(), 0);
    while keys.len() < LIMIT {
        let next = pointer(replay, None, Some(shape.key_size));
        let attr = Attr::new().u32(0, fd as u32).u64(8, key).u64(16, next);
        let (result, _) = attr.call(replay, command::MAP_GET_NEXT_KEY, &Value::Null);
        if let Err(error) = result {
            return (keys, errno_name(error.errno()));
        }
        keys.push(replay.process.bytes(next));
        key = next;
    }
    (keys, "no end".to_owned())
}

/// One value, or the name of the error.
fn take(replay: &Replay<'_>, op: &Value, number: u32, key: u64) -> Result<String, String> {
    let (fd, shape) = replay.fd(op);
    let value = pointer(replay, None, Some(shape.value_bytes()));
    let attr = Attr::new().u32(0, fd as u32).u64(8, key).u64(16, value);
    match attr.call(replay, number, &Value::Null).0 {
        Ok(_) => Ok(hex(&replay.process.bytes(value))),
        Err(error) => Err(errno_name(error.errno())),
    }
}
