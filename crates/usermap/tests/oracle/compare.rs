//! Expected and found results: how they are written, and when they are the same.

use serde_json::{Map as Object, Value, json};
use usermap::Error;

/// Hex as the oracle writes bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a hex string.
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The bytes of an operand; none if there is no such operand.
pub fn bytes(call: &Value, field: &str) -> Vec<u8> {
    call[field].as_str().map(unhex).unwrap_or_default()
}

/// What a helper returned, a number or a negative errno.
pub fn returned(value: i64) -> Value {
    match i32::try_from(value) {
        Ok(errno) if errno < 0 => json!({"ret": value, "err": errno_name(-errno)}),
        _ => json!({"ret": value}),
    }
}

/// The kernel's name of an errno.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        1 => "EPERM",
        2 => "ENOENT",
        5 => "EIO",
        7 => "E2BIG",
        9 => "EBADF",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        22 => "EINVAL",
        28 => "ENOSPC",
        34 => "ERANGE",
        77 => "EBADFD",
        95 => "EOPNOTSUPP",
        117 => "EUCLEAN",
        524 => "ENOTSUPP",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The result of a system call, without what it gave out.
pub fn outcome<T>(result: &Result<T, Error>) -> Object<String, Value> {
    let object = match result {
        Ok(_) => json!({"ret": 0}),
        Err(error) => {
            let errno = error.errno();
            json!({"ret": -1, "errno": errno, "err": errno_name(errno)})
        }
    };
    object.as_object().cloned().unwrap_or_default()
}

/// Whether the result is what the kernel gave; the text of a verifier is for reading only, and
/// info is compared where the recording has fields.
pub fn same(expected: &Value, found: &Value) -> bool {
    let (Some(expected), Some(found)) = (expected.as_object(), found.as_object()) else {
        return expected == found;
    };
    let fields = |object: &Object<String, Value>| {
        let mut object = object.clone();
        object.remove("verifier");
        object.remove("info");
        object
    };
    fields(expected) == fields(found) && same_info(expected.get("info"), found.get("info"))
}

fn same_info(expected: Option<&Value>, found: Option<&Value>) -> bool {
    match (expected.and_then(Value::as_object), found) {
        (None, None) => true,
        (Some(expected), Some(found)) => {
            expected.iter().all(|(field, value)| found.get(field) == Some(value))
        }
        _ => false,
    }
}
