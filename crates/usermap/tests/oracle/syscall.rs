//! Operations that are one system call: the attribute is laid out as in C, and goes through the
//! bpf(2) seam.

use crate::case::{Replay, Shape};
use crate::compare::{hex, outcome, unhex};
use crate::host::BAD_ADDRESS;
use serde_json::{Map as Object, Value, json};
use usermap::abi::{command, errno};
use usermap::command::{Host, Types};
use usermap::{Error, Result};

/// Possible CPUs of the machine of the recording.
pub const CPUS: u32 = 2;

/// Output buffers are filled with this.
const FILL: u8 = 0xAA;

/// Bytes of an attribute, unless the operation says otherwise.
const ATTR_BYTES: usize = 160;

/// An attribute in the caller's memory.
pub struct Attr(Vec<u8>);

impl Attr {
    pub fn new() -> Attr {
        Attr(vec![0; ATTR_BYTES])
    }

    pub fn u32(mut self, offset: usize, field: u32) -> Attr {
        self.0[offset..offset + 4].copy_from_slice(&field.to_le_bytes());
        self
    }

    pub fn u64(mut self, offset: usize, field: u64) -> Attr {
        self.0[offset..offset + 8].copy_from_slice(&field.to_le_bytes());
        self
    }

    fn bytes(mut self, offset: usize, bytes: &[u8]) -> Attr {
        let end = offset + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[offset..end].copy_from_slice(bytes);
        self
    }

    /// Runs the command; gives its answer and what the attribute holds then.
    pub fn call(mut self, replay: &Replay<'_>, number: u32, op: &Value) -> (Result<i32>, Vec<u8>) {
        if let Some(bytes) = op["attr_bytes"].as_u64() {
            self.0.resize(bytes as usize, 0);
        }
        for patch in op["attr_patch"].as_array().into_iter().flatten() {
            let offset = patch[0].as_u64().unwrap_or(0) as usize;
            self = self.bytes(offset, &unhex(patch[1].as_str().unwrap_or_default()));
        }
        let size = op["attr_size"].as_u64().map_or(ATTR_BYTES as u32, |size| size as u32);
        let address = replay.process.buffer(self.0);
        let result = replay.process.bpf(number, address, size);
        (result, replay.process.bytes(address))
    }
}

/// The address that an operand means: a buffer with its bytes, NULL, or a bad one. An operand
/// that is absent or `@out` is a buffer of `length` bytes to be written to, or NULL without a
/// length.
pub fn pointer(replay: &Replay<'_>, operand: Option<&Value>, length: Option<usize>) -> u64 {
    let bytes = match operand {
        Some(Value::String(text)) if text == "@bad" => return BAD_ADDRESS,
        Some(Value::String(text)) if text != "@out" => unhex(text),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(Value::as_str).flat_map(unhex).collect()
        }
        Some(Value::Object(named)) => {
            let name = named.get("fd_of").and_then(Value::as_str).unwrap_or_default();
            let (fd, _) = replay.named(name).unwrap_or_default();
            fd.to_le_bytes().to_vec()
        }
        Some(Value::Null) => return 0,
        _ => match length {
            Some(length) => vec![FILL; length],
            None => return 0,
        },
    };
    replay.process.buffer(bytes)
}

pub fn run(replay: &mut Replay<'_>, op: &Value) -> Value {
    let found = match op["cmd"].as_str().unwrap_or_default() {
        "MAP_CREATE" => create(replay, op),
        "MAP_LOOKUP_ELEM" => lookup(replay, op, command::MAP_LOOKUP_ELEM),
        "MAP_LOOKUP_AND_DELETE_ELEM" => lookup(replay, op, command::MAP_LOOKUP_AND_DELETE_ELEM),
        "MAP_UPDATE_ELEM" => write(replay, op, command::MAP_UPDATE_ELEM),
        "MAP_DELETE_ELEM" => write(replay, op, command::MAP_DELETE_ELEM),
        "MAP_GET_NEXT_KEY" => get_next_key(replay, op),
        "MAP_LOOKUP_BATCH" => read_batch(replay, op, command::MAP_LOOKUP_BATCH),
        "MAP_LOOKUP_AND_DELETE_BATCH" => {
            read_batch(replay, op, command::MAP_LOOKUP_AND_DELETE_BATCH)
        }
        "MAP_UPDATE_BATCH" => write_batch(replay, op, command::MAP_UPDATE_BATCH),
        "MAP_DELETE_BATCH" => write_batch(replay, op, command::MAP_DELETE_BATCH),
        "MAP_FREEZE" => {
            let fd = replay.fd(op).0 as u32;
            outcome(&Attr::new().u32(0, fd).call(replay, command::MAP_FREEZE, op).0)
        }
        "OBJ_GET_INFO_BY_FD" => info(replay, op),
        "GET_FD" => get_fd(replay, op),
        "CLOSE" => close(replay, op),
        other => outcome(&Err::<(), _>(Error::Command {
            command: "the replay",
            rule: "an operation that it does not know",
            errno: 0,
        }))
        .into_iter()
        .chain([("unknown".to_owned(), json!(other))])
        .collect(),
    };
    Value::Object(found)
}

fn create(replay: &mut Replay<'_>, op: &Value) -> Object<String, Value> {
    let map = op.get("map").unwrap_or(&replay.case["map"]);
    let field = |name: &str| map[name].as_u64().unwrap_or(0);
    let mut attr = Attr::new();
    for (offset, name) in [
        (0, "type_id"),
        (4, "key_size"),
        (8, "value_size"),
        (12, "max_entries"),
        (16, "flags"),
        (24, "numa_node"),
    ] {
        attr = attr.u32(offset, field(name) as u32);
    }
    attr = attr.u32(20, field("inner") as u32).u64(64, field("map_extra"));
    if let Some(name) = map["name_hex"].as_str() {
        attr = attr.bytes(28, &unhex(name));
    }
    if let Some(offset) = map["value_lock_off"].as_u64() {
        let types = Types {
            btf_id: 1,
            key: Some((1, 4)),
            value: (5, field("value_size") as u32),
            spin_lock: Some(offset as u32),
            section: false,
        };
        let fd = replay.process.open_types(types);
        attr = attr.u32(48, fd as u32).u32(52, 1).u32(56, 5);
    }
    let shape = Shape::of(map);
    let (result, _) = attr.call(replay, command::MAP_CREATE, op);
    if let Ok(fd) = result {
        let name = op["as"].as_str().unwrap_or("map");
        replay.fds.insert(name.to_owned(), (fd, shape));
    }
    outcome(&result)
}

/// An attribute of the commands on one entry.
fn entry(replay: &Replay<'_>, op: &Value, value: u64) -> Attr {
    let key = pointer(replay, op.get("key"), None);
    let flags = op["flags"].as_u64().unwrap_or(0);
    Attr::new().u32(0, replay.fd(op).0 as u32).u64(8, key).u64(16, value).u64(24, flags)
}

fn lookup(replay: &mut Replay<'_>, op: &Value, number: u32) -> Object<String, Value> {
    let shape = replay.fd(op).1;
    let value = pointer(replay, op.get("value"), Some(shape.value_bytes()));
    let before = replay.process.bytes(value);
    let (result, _) = entry(replay, op, value).call(replay, number, op);
    let mut found = outcome(&result);
    let after = replay.process.bytes(value);
    if result.is_ok() || before != after {
        found.insert("value".into(), json!(hex(&after)));
    }
    found
}

fn write(replay: &mut Replay<'_>, op: &Value, number: u32) -> Object<String, Value> {
    let value = pointer(replay, op.get("value"), None);
    outcome(&entry(replay, op, value).call(replay, number, op).0)
}

fn get_next_key(replay: &mut Replay<'_>, op: &Value) -> Object<String, Value> {
    let shape = replay.fd(op).1;
    let next = pointer(replay, op.get("next_key"), Some(shape.key_size));
    let (result, _) = entry(replay, op, next).call(replay, command::MAP_GET_NEXT_KEY, op);
    let mut found = outcome(&result);
    if result.is_ok() {
        found.insert("next_key".into(), json!(hex(&replay.process.bytes(next))));
    }
    found
}

/// What a batch that reads gave.
pub struct BatchRead {
    pub result: Result<i32>,
    pub count: u32,
    pub pairs: Vec<(String, String)>,
    pub token: Option<Vec<u8>>,
}

impl BatchRead {
    /// Entries come with a success and with the end of the map.
    fn has_pairs(&self) -> bool {
        self.result.as_ref().err().is_none_or(|error| error.errno() == errno::ENOENT)
    }
}

/// A batch that reads; `from` is the address of a token.
pub fn call_batch(replay: &mut Replay<'_>, op: &Value, number: u32, from: u64) -> BatchRead {
    let (fd, shape) = replay.fd(op);
    let asked = op["count"].as_u64().unwrap_or(0);
    let room = op["room"].as_u64().unwrap_or(asked).min(1 << 20) as usize;
    let (key_size, value_bytes) = (shape.key_size, shape.value_bytes());
    let keys = pointer(replay, op.get("keys"), Some(room * key_size));
    let values = pointer(replay, op.get("values"), Some(room * value_bytes));
    let out = pointer(replay, op.get("out_batch"), Some(shape.token_bytes()));
    let attr = Attr::new().u64(0, from).u64(8, out).u64(16, keys).u64(24, values);
    let attr = attr.u32(32, asked as u32).u32(36, fd as u32);
    let attr = attr.u64(40, op["elem_flags"].as_u64().unwrap_or(0));
    let attr = attr.u64(48, op["flags"].as_u64().unwrap_or(0));
    let (result, attr) = attr.call(replay, number, op);
    let count = count_of(&attr);
    let (keys, values) = (replay.process.bytes(keys), replay.process.bytes(values));
    let pairs = keys.chunks(key_size.max(1)).zip(values.chunks(value_bytes.max(1)));
    let pairs = pairs.take(count as usize).map(|(key, value)| (hex(key), hex(value))).collect();
    let token = Some(replay.process.bytes(out)).filter(|token| token.iter().any(|b| *b != FILL));
    replay.last_token.clone_from(&token);
    BatchRead { result, count, pairs, token }
}

fn count_of(attr: &[u8]) -> u32 {
    attr.get(32..36).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes")))
}

fn read_batch(replay: &mut Replay<'_>, op: &Value, number: u32) -> Object<String, Value> {
    let from = match (op["in_batch"].as_str(), &replay.last_token) {
        (Some("@last"), Some(token)) => replay.process.buffer(token.clone()),
        (Some("@last"), None) => 0,
        _ => pointer(replay, op.get("in_batch"), None),
    };
    let mut batch = call_batch(replay, op, number, from);
    let mut found = outcome(&batch.result);
    found.insert("count".into(), json!(batch.count));
    let unordered = op["unordered"] == true;
    if unordered {
        batch.pairs.sort();
    }
    if batch.has_pairs() {
        found.insert("pairs".into(), json!(batch.pairs));
    }
    if let (Some(token), false) = (&batch.token, unordered) {
        found.insert("out_batch".into(), json!(hex(token)));
    }
    found
}

fn write_batch(replay: &mut Replay<'_>, op: &Value, number: u32) -> Object<String, Value> {
    let number_of = |name: &str| op[name].as_u64().unwrap_or(0);
    let operand = |name: &str| pointer(replay, op.get(name), None);
    let attr = Attr::new().u64(0, operand("in_batch"));
    let attr = attr.u64(16, operand("keys")).u64(24, operand("values"));
    let attr = attr.u32(32, number_of("count") as u32).u32(36, replay.fd(op).0 as u32);
    let attr = attr.u64(40, number_of("elem_flags")).u64(48, number_of("flags"));
    let (result, attr) = attr.call(replay, number, op);
    let mut found = outcome(&result);
    found.insert("count".into(), json!(count_of(&attr)));
    found
}

/// Info is asked for in zeros, since bytes past those that the kernel knows must be zero.
fn info(replay: &mut Replay<'_>, op: &Value) -> Object<String, Value> {
    let given = op["info_len"].as_u64().unwrap_or(88) as usize;
    let mut bytes = vec![0; given.max(256)];
    for patch in op["info_patch"].as_array().into_iter().flatten() {
        let patched = unhex(patch[1].as_str().unwrap_or_default());
        let offset = patch[0].as_u64().unwrap_or(0) as usize;
        bytes[offset..offset + patched.len()].copy_from_slice(&patched);
    }
    let info = match op.get("info") {
        Some(operand) => pointer(replay, Some(operand), None),
        None => replay.process.buffer(bytes),
    };
    let attr = Attr::new().u32(0, replay.fd(op).0 as u32).u32(4, given as u32).u64(8, info);
    let (result, attr) = attr.call(replay, command::OBJ_GET_INFO_BY_FD, op);
    let mut found = outcome(&result);
    if result.is_ok() {
        let length = u32::from_le_bytes(attr[4..8].try_into().expect("4 bytes"));
        found.insert("info".into(), decode_info(&replay.process.bytes(info)));
        found.insert("info_len".into(), json!(length));
    }
    found
}

fn decode_info(info: &[u8]) -> Value {
    let u32_at = |at: usize| u32::from_le_bytes(info[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(info[at..at + 8].try_into().expect("8 bytes"));
    let name = info[24..40].split(|byte| *byte == 0).next().unwrap_or_default();
    let name: String = name.iter().map(|byte| char::from(*byte)).collect();
    json!({
        "type": u32_at(0), "id_is_nonzero": u32_at(4) != 0, "key_size": u32_at(8),
        "value_size": u32_at(12), "max_entries": u32_at(16), "map_flags": u32_at(20),
        "name": name, "ifindex": u32_at(40), "btf_vmlinux_value_type_id": u32_at(44),
        "netns_dev": u64_at(48), "netns_ino": u64_at(56), "has_btf": u32_at(64) != 0,
        "btf_key_type_id": u32_at(68), "btf_value_type_id": u32_at(72),
        "map_extra": u64_at(80),
    })
}

/// A second descriptor of a map, by its id.
fn get_fd(replay: &mut Replay<'_>, op: &Value) -> Object<String, Value> {
    let (fd, shape) = replay.fd(op);
    let flags = op["open_flags"].as_u64().unwrap_or(0) as u32;
    let id = replay.process.map(fd).map_or(0, |map| map.info().id);
    let attr = Attr::new().u32(0, id).u32(8, flags);
    let (result, _) = attr.call(replay, command::MAP_GET_FD_BY_ID, op);
    if let (Ok(fd), Some(name)) = (&result, op["as"].as_str()) {
        replay.fds.insert(name.to_owned(), (*fd, shape));
    }
    outcome(&result)
}

fn close(replay: &mut Replay<'_>, op: &Value) -> Object<String, Value> {
    let (fd, _) = replay.fd(op);
    let errno = if replay.process.close(fd) { 0 } else { errno::EBADF };
    let refused = Error::Command { command: "close", rule: "the descriptor is not open", errno };
    outcome(&if errno == 0 { Ok(()) } else { Err(refused) })
}
