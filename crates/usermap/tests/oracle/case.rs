//! One case: its map, what is done before, the operation, what is looked at afterwards.

use crate::compare::same;
use crate::host::Process;
use crate::{mapping, syscall, walk};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use usermap::{MapType, Mapping};

pub enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The sizes of the map behind a descriptor.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    pub type_id: u32,
    pub key_size: usize,
    pub value_size: usize,
}

impl Shape {
    pub fn of(map: &Value) -> Shape {
        let field = |name: &str| map[name].as_u64().unwrap_or(0);
        Shape {
            type_id: field("type_id") as u32,
            key_size: field("key_size") as usize,
            value_size: field("value_size") as usize,
        }
    }

    /// Bytes of a value in system calls.
    pub fn value_bytes(&self) -> usize {
        match MapType::from_id(self.type_id) {
            Some(MapType::PerCpuHash | MapType::PerCpuArray) => {
                self.value_size.next_multiple_of(8) * syscall::CPUS as usize
            }
            _ => self.value_size,
        }
    }

    /// Bytes of a batch's token.
    pub fn token_bytes(&self) -> usize {
        match MapType::from_id(self.type_id) {
            Some(kind) if kind.is_hash() => 4,
            _ => self.key_size,
        }
    }
}

/// How programs are run: what stands for the operation `PROG`.
pub type Programs<'a> = &'a dyn Fn(&mut Replay<'_>, &Value) -> Value;

/// A case that is being replayed.
pub struct Replay<'a> {
    pub process: Process,
    pub case: &'a Value,
    /// Descriptors by name.
    pub fds: BTreeMap<String, (i32, Shape)>,
    pub mappings: BTreeMap<String, Mapping>,
    /// The token of the batch before.
    pub last_token: Option<Vec<u8>>,
    programs: Programs<'a>,
}

pub fn replay(case: &Value, programs: Programs<'_>) -> Verdict {
    if let Some(reason) = reason_to_skip(case) {
        return Verdict::Skipped(reason);
    }
    let mut replay = Replay {
        process: Process::new(),
        case,
        fds: BTreeMap::new(),
        mappings: BTreeMap::new(),
        last_token: None,
        programs,
    };
    let other = replay.process.open_other();
    replay.fds.insert("@notmap".into(), (other, Shape::of(&case["map"])));
    match replay.run() {
        Ok(()) => Verdict::Passed,
        Err(_) if depends(case, "memory") => {
            Verdict::Skipped("depends on how much memory the machine has".into())
        }
        Err(why) => Verdict::Failed(why),
    }
}

impl Replay<'_> {
    fn run(&mut self) -> Result<(), String> {
        let is_before = |operation: &&Value| operation["when"] == "before";
        let setup = operations(self.case, "setup");
        for operation in setup.iter().filter(is_before) {
            self.check("setup", operation, operation.get("expect"))?;
        }
        let operation = &self.case["op"];
        if operation["cmd"] != "MAP_CREATE" {
            let create = json!({"cmd": "MAP_CREATE", "as": "map"});
            self.check("the map", &create, Some(&json!({"ret": 0})))?;
        }
        for operation in setup.iter().filter(|operation| !is_before(operation)) {
            self.check("setup", operation, operation.get("expect"))?;
        }
        self.check("op", operation, self.case.get("expect"))?;
        for operation in operations(self.case, "after") {
            self.check("after", operation, operation.get("expect"))?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        part: &str,
        operation: &Value,
        expected: Option<&Value>,
    ) -> Result<(), String> {
        let found = self.operate(operation);
        match expected {
            Some(expected) if !same(expected, &found) => {
                Err(format!("{part} {operation}: expected {}, found {found}", without(expected)))
            }
            _ => Ok(()),
        }
    }

    fn operate(&mut self, operation: &Value) -> Value {
        match operation["cmd"].as_str().unwrap_or_default() {
            "MMAP" => mapping::map(self, operation),
            "MUNMAP" => mapping::unmap(self, operation),
            "MPROTECT" => mapping::protect(self, operation),
            "MM_READ" => mapping::read(self, operation),
            "MM_WRITE" => mapping::write(self, operation),
            "WALK" => walk::walk(self, operation),
            "DUMP" => walk::dump(self, operation),
            "DRAIN" => walk::drain(self, operation),
            "WALK_BATCH" => walk::walk_batch(self, operation),
            "PROG" => (self.programs)(self, operation),
            _ => syscall::run(self, operation),
        }
    }

    /// The descriptor that an operation names, and the shape of its map.
    pub fn fd(&self, operation: &Value) -> (i32, Shape) {
        let name = operation["fd"].as_str().unwrap_or("map");
        self.named(name).unwrap_or((-1, Shape::of(&self.case["map"])))
    }

    pub fn named(&self, name: &str) -> Option<(i32, Shape)> {
        self.fds.get(name).copied()
    }
}

fn operations<'a>(case: &'a Value, part: &str) -> &'a [Value] {
    case[part].as_array().map_or(&[], Vec::as_slice)
}

/// An expectation without what is not compared.
fn without(expected: &Value) -> Value {
    let mut expected = expected.clone();
    if let Some(fields) = expected.as_object_mut() {
        fields.remove("verifier");
    }
    expected
}

pub fn depends(case: &Value, mark: &str) -> bool {
    case["depends"].as_array().is_some_and(|marks| marks.iter().any(|found| found == mark))
}

/// Why a case says nothing about usermap here.
fn reason_to_skip(case: &Value) -> Option<String> {
    let created = ["setup", "after"].into_iter().flat_map(|part| operations(case, part));
    let maps = created.chain([&case["op"]]).map(|operation| &operation["map"]);
    for map in maps.chain([&case["map"]]).filter(|map| map.is_object()) {
        let kind = map["type"].as_str().unwrap_or("UNSPEC");
        if kind != "UNSPEC" && MapType::from_id(Shape::of(map).type_id).is_none() {
            return Some(format!("another kind of map, {kind}"));
        }
    }
    if depends(case, "numa") && !has_one_node() {
        return Some("recorded on a machine with one NUMA node".into());
    }
    let all = ["setup", "after"].into_iter().flat_map(|part| operations(case, part));
    for operation in all.chain([&case["op"]]) {
        let command = operation["cmd"].as_str().unwrap_or_default();
        if command == "POLL" || command.starts_with("RING_") {
            return Some(format!("{command} is for ring buffers"));
        }
    }
    None
}

fn has_one_node() -> bool {
    let online = std::fs::read_to_string("/sys/devices/system/node/online");
    online.is_ok_and(|online| online.trim() == "0")
}
