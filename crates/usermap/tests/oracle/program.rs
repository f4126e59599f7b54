//! A program's calls, all in one run on one CPU.

use crate::case::{Replay, Shape};
use crate::compare::{bytes, errno_name, hex, outcome, returned, unhex};
use crate::verifier;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use usermap::command::Host;
use usermap::{Error, Program, Result, ValuePointer, abi::errno};

pub fn run(replay: &mut Replay<'_>, op: &Value) -> Value {
    let (fd, shape) = replay.fd(op);
    let Ok(map) = replay.process.map(fd) else {
        return json!({"load_errno": errno::EBADF, "err": "EBADF"});
    };
    let calls = op["calls"].as_array().map_or(&[][..], Vec::as_slice);
    if let Err(error) = calls.iter().try_for_each(|call| verifier::check(map.spec(), call)) {
        return json!({"load_errno": error.errno(), "err": errno_name(error.errno())});
    }
    let cpu = op["cpu"].as_u64().unwrap_or(0) as u32;
    let program = match map.on_cpu(cpu) {
        Ok(program) => program,
        error => return Value::Object(outcome(&error.map(|_| ()))),
    };
    let mut run = Run { program, shape, kept: BTreeMap::new(), ended: false };
    let rets: Vec<_> = calls.iter().map(|call| run.call(call)).collect();
    json!({"load_errno": 0, "rets": rets})
}

/// A running program.
struct Run<'a> {
    program: Program<'a>,
    shape: Shape,
    /// Pointers by name.
    kept: BTreeMap<String, ValuePointer>,
    ended: bool,
}

impl Run<'_> {
    fn call(&mut self, call: &Value) -> Value {
        if self.ended {
            return json!({"not_run": true});
        }
        let key = bytes(call, "key");
        let flags = call["flags"].as_u64().unwrap_or(0);
        let program = &self.program;
        match call["fn"].as_str().unwrap_or_default() {
            "map_lookup_elem" => self.found(call, self.program.lookup(&key)),
            "map_lookup_percpu_elem" => {
                // The helper's argument is 32 bits wide.
                let cpu = call["cpu"].as_u64().unwrap_or(0) as u32;
                self.found(call, self.program.lookup_percpu(&key, cpu))
            }
            "map_update_elem" => ret(program.update(&key, &bytes(call, "value"), flags)),
            "map_delete_elem" => ret(program.delete(&key)),
            "map_push_elem" => ret(program.push(&bytes(call, "value"), flags)),
            "map_pop_elem" => self.taken(call, |value| program.pop(value)),
            "map_peek_elem" => self.taken(call, |value| program.peek(value)),
            "for_each_map_elem" => self.for_each(call, flags),
            "read" => self.read(call),
            "write" => self.write(call),
            other => json!({"unknown": other}),
        }
    }

    /// What follows a lookup: reading, storing or adding, keeping the pointer.
    fn found(&mut self, call: &Value, pointer: Result<Option<ValuePointer>>) -> Value {
        let pointer = match pointer {
            Ok(Some(pointer)) => pointer,
            Ok(None) => {
                self.ended = call.get("keep").is_some();
                return json!({"found": false});
            }
            error => return Value::Object(outcome(&error.map(|_| ()))),
        };
        let offset = call["read_off"].as_u64().unwrap_or(0) as usize;
        let length = call["read"].as_u64().map_or(self.shape.value_size, |length| length as usize);
        let mut value = vec![0; length];
        let mut result = match value.is_empty() {
            true => Ok(()),
            false => self.program.load(pointer, offset, &mut value),
        };
        if let (Ok(()), Some(store)) = (&result, call["store"].as_str()) {
            result = self.program.store(pointer, offset, &unhex(store));
        }
        if let (Ok(()), Some(delta)) = (&result, call["atomic_add"].as_i64()) {
            result = self.program.fetch_add(pointer, 0, delta as u64).map(|_| ());
        }
        if let Some(name) = call["keep"].as_str() {
            self.kept.insert(name.to_owned(), pointer);
        }
        match result {
            Ok(()) => json!({"found": true, "value": hex(&value)}),
            error => Value::Object(outcome(&error)),
        }
    }

    fn taken(&self, call: &Value, take: impl FnOnce(&mut [u8]) -> Result<()>) -> Value {
        let mut value = match call["value"].as_str() {
            Some(before) => unhex(before),
            None => vec![0xAA; self.shape.value_size],
        };
        let mut found = ret(take(&mut value));
        found["value"] = json!(hex(&value));
        found
    }

    fn for_each(&self, call: &Value, flags: u64) -> Value {
        let (mut calls, mut visits) = (0_u64, Vec::new());
        let stop_after = call["stop_after"].as_u64();
        let store = call["store"].as_str().map(unhex);
        let result = self.program.for_each(flags, |key, pointer| {
            calls += 1;
            let mut value = vec![0; self.shape.value_size];
            let loaded = self.program.load(pointer, 0, &mut value);
            visits.push((hex(key), loaded.map_or_else(|e| e.to_string(), |()| hex(&value))));
            if let Some(store) = &store
                && let Err(error) = self.program.store(pointer, 0, store)
            {
                visits.push((hex(key), error.to_string()));
            }
            if call["delete"] == true {
                // An array's element cannot be deleted; the program does not look.
                let _ = self.program.delete(key);
            }
            stop_after != Some(calls)
        });
        let mut found = match result {
            Ok(visited) => json!({"ret": visited}),
            Err(error) => ret(Err(error)),
        };
        found["calls"] = json!(calls);
        if call["unordered"] == true {
            visits.sort();
        }
        if call["any_one"] != true {
            found["visits"] = json!(visits);
        }
        found
    }

    fn read(&self, call: &Value) -> Value {
        let mut value = vec![0; call["len"].as_u64().unwrap_or(0) as usize];
        match self.at(call, |pointer, offset| self.program.load(pointer, offset, &mut value)) {
            Ok(()) => json!({"bytes": hex(&value)}),
            error => Value::Object(outcome(&error)),
        }
    }

    fn write(&self, call: &Value) -> Value {
        let value = bytes(call, "bytes");
        match self.at(call, |pointer, offset| self.program.store(pointer, offset, &value)) {
            Ok(()) => json!({}),
            error => Value::Object(outcome(&error)),
        }
    }

    fn at(
        &self,
        call: &Value,
        access: impl FnOnce(ValuePointer, usize) -> Result<()>,
    ) -> Result<()> {
        let offset = call["off"].as_u64().unwrap_or(0) as usize;
        let pointer = call["ptr"].as_str().and_then(|name| self.kept.get(name));
        let rule = "a pointer that was not kept";
        let unknown = Error::Command { command: "program", rule, errno: errno::EFAULT };
        access(*pointer.ok_or(unknown)?, offset)
    }
}

/// A helper's result: 0 or the negative errno.
fn ret(result: Result<()>) -> Value {
    returned(result.map_or_else(|error| -i64::from(error.errno()), |()| 0))
}
