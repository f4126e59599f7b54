//! Objects that clang and rustc built, read as programs, maps and variables; their C is in `objects`.

mod aya;
mod btf;
mod clang;
mod content;
mod hostile;
mod options;
mod refused;

use std::path::PathBuf;
use usermap_vm::{Code, Object};

/// Where the objects and their sources are.
fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/objects")
}

/// The bytes of a built object.
fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(name)).unwrap()
}

/// A built object.
fn object(name: &str) -> Object {
    Object::from_bytes(&bytes(name), name).unwrap()
}

/// A program of an object.
fn program<'o>(object: &'o Object, name: &str) -> &'o Code {
    object.programs().iter().find(|program| program.name == name).unwrap()
}

/// The number of a map.
fn map(object: &Object, name: &str) -> usize {
    object.maps().iter().position(|map| map.name == name).unwrap()
}

/// The names of a program's functions.
fn functions(code: &Code) -> Vec<&str> {
    code.functions.iter().map(|function| function.name.as_str()).collect()
}
