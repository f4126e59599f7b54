//! Makes a program of an operation's calls.
//!
//! It gets memory in which it leaves, for each call, whether it was made, what it returned, and the
//! bytes that it gave. Keys and values are on the stack, or in that memory if they are larger.
//! r6 has the memory's address all the time; the uppermost words of the stack have the pointers
//! that are kept, and r7 is for one call.

use crate::assembler::{Assembler, FRAME, Forward, Register};
use crate::case::Shape;
use crate::compare::{bytes, unhex};
use serde_json::Value;
use usermap_vm::instruction::Instruction;

const MEMORY: Register = 6;

/// Bytes of the stack that pointers are kept in.
const KEPT_BYTES: i16 = 128;
/// Bytes of the stack.
const STACK_BYTES: i16 = 512;

/// Words before the bytes that a call gives: whether it was made, what it returned, how often its
/// callback was called, where that is to write.
const HEAD_BYTES: usize = 32;

/// A program, the memory that it is to be run on, and where its answers are.
pub struct Generated {
    pub instructions: Vec<Instruction>,
    pub memory: Vec<u8>,
    pub answers: Vec<usize>,
}

/// What a call left in the memory.
pub struct Answer<'m> {
    pub made: bool,
    pub returned: u64,
    pub calls: u64,
    pub bytes: &'m [u8],
}

impl<'m> Answer<'m> {
    pub fn of(memory: &'m [u8], at: usize) -> Answer<'m> {
        let word = |index: usize| {
            let bytes = &memory[at + index * 8..][..8];
            u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
        };
        let bytes = &memory[at + HEAD_BYTES..];
        Answer { made: word(0) != 0, returned: word(1), calls: word(2), bytes }
    }
}

/// Bytes from one visit's key to the next one's, and to its value.
pub fn visit_bytes(shape: Shape) -> (usize, usize) {
    let key = shape.key_size.next_multiple_of(8);
    (key + shape.value_size.next_multiple_of(8), key)
}

/// Makes the program, for a map with that many entries.
pub fn generate(calls: &[Value], shape: Shape, max_entries: u32) -> Result<Generated, String> {
    let mut generator = Generator { shape, max_entries, ..Generator::default() };
    generator.assembler.add(MEMORY, 1, 0);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(generator.call(call)?);
    }
    for end in std::mem::take(&mut generator.ends) {
        generator.assembler.here(end);
    }
    generator.assembler.exit(0);
    for (function, call) in std::mem::take(&mut generator.callbacks) {
        generator.assembler.here(function);
        generator.callback(&call);
    }
    let Generator { assembler, memory, .. } = generator;
    Ok(Generated { instructions: assembler.finish(), memory, answers })
}

#[derive(Default)]
struct Generator {
    assembler: Assembler,
    shape: Shape,
    max_entries: u32,
    memory: Vec<u8>,
    /// The names of the pointers that are kept.
    kept: Vec<String>,
    /// Jumps to the end.
    ends: Vec<Forward>,
    callbacks: Vec<(Forward, Value)>,
    /// Bytes of the stack in use for the operands of a call.
    stack: i16,
}

impl Generator {
    /// Memory of zeros; where it is.
    fn reserve(&mut self, length: usize) -> usize {
        let at = self.memory.len();
        self.memory.resize(at + length.next_multiple_of(8), 0);
        at
    }

    /// Puts an operand where the program can point to it, and its address into a register.
    fn operand(&mut self, register: Register, bytes: &[u8]) {
        let length = bytes.len().next_multiple_of(8);
        if length > (STACK_BYTES - KEPT_BYTES - self.stack) as usize {
            let at = self.reserve(length);
            self.memory[at..at + bytes.len()].copy_from_slice(bytes);
            self.assembler.add(register, MEMORY, at as i32);
            return;
        }
        let offset = self.stack - STACK_BYTES;
        self.stack += length as i16;
        self.assembler.write(FRAME, offset, bytes);
        self.assembler.add(register, FRAME, i32::from(offset));
    }

    /// One call; where its answer is.
    fn call(&mut self, call: &Value) -> Result<usize, String> {
        self.stack = 0;
        let name = call["fn"].as_str().unwrap_or_default();
        let number = |field: &str| call[field].as_u64().unwrap_or(0);
        let at = self.reserve(HEAD_BYTES + self.given_by(call));
        let key = bytes(call, "key");
        match name {
            "map_lookup_elem" => {
                self.operand(2, &key);
                self.lookup(call, at, 1);
            }
            "map_lookup_percpu_elem" => {
                self.operand(2, &key);
                self.assembler.number(3, number("cpu"));
                self.lookup(call, at, 195);
            }
            "map_update_elem" => {
                self.operand(2, &key);
                self.operand(3, &bytes(call, "value"));
                self.assembler.number(4, number("flags"));
                self.helper(at, 2);
            }
            "map_delete_elem" => {
                self.operand(2, &key);
                self.helper(at, 3);
            }
            "map_push_elem" => {
                self.operand(2, &bytes(call, "value"));
                self.assembler.number(3, number("flags"));
                self.helper(at, 87);
            }
            "map_pop_elem" => self.take(call, at, 88),
            "map_peek_elem" => self.take(call, at, 89),
            "for_each_map_elem" => self.for_each(call, at),
            "ringbuf_output" => {
                let data = bytes(call, "data");
                self.operand(2, &data);
                self.assembler.number(3, data.len() as u64);
                self.assembler.number(4, number("flags"));
                self.helper(at, 130);
            }
            "ringbuf_query" => {
                self.assembler.number(2, number("flags"));
                self.helper(at, 134);
            }
            "read" => {
                self.pointer(call)?;
                self.give(at, number("off") as i32, call);
                self.made(at);
            }
            "write" => {
                self.pointer(call)?;
                self.assembler.write(7, number("off") as i16, &bytes(call, "bytes"));
                self.made(at);
            }
            other => return Err(format!("no program is made for {other}")),
        }
        Ok(at)
    }

    /// Notes that a call was made; r8 has its answer's address then.
    fn made(&mut self, at: usize) {
        self.assembler.add(8, MEMORY, at as i32);
        self.assembler.store_number(8, 0, 1);
    }

    /// Calls a helper of the map with the arguments in r2 to r5, and notes what it returns.
    fn helper(&mut self, at: usize, id: u32) {
        self.assembler.map(1);
        self.assembler.call(id);
        self.made(at);
        self.assembler.store(8, 8, 0);
    }

    /// How many bytes a call gives.
    fn given_by(&self, call: &Value) -> usize {
        let number = |field: &str| call[field].as_u64().map(|number| number as usize);
        let value_size = self.shape.value_size;
        match call["fn"].as_str().unwrap_or_default() {
            "map_lookup_elem" | "map_lookup_percpu_elem" => number("read").unwrap_or(value_size),
            "map_pop_elem" | "map_peek_elem" => before(call, value_size).len(),
            "for_each_map_elem" => visit_bytes(self.shape).0 * self.max_entries as usize,
            "read" => number("len").unwrap_or(0),
            _ => 0,
        }
    }

    /// Copies what a call gives from where r7 leads, and some further, to behind the answer's head.
    fn give(&mut self, at: usize, offset: i32, call: &Value) {
        self.assembler.add(3, 7, offset);
        self.assembler.add(4, MEMORY, (at + HEAD_BYTES) as i32);
        self.assembler.copy(self.given_by(call));
    }

    /// What follows a lookup: reading, storing or adding, keeping the pointer.
    fn lookup(&mut self, call: &Value, at: usize, id: u32) {
        self.helper(at, id);
        self.assembler.add(7, 0, 0);
        let null = self.assembler.jump_if(7, 0);
        let offset = call["read_off"].as_u64().unwrap_or(0);
        self.give(at, offset as i32, call);
        if let Some(store) = call["store"].as_str() {
            self.assembler.write(7, offset as i16, &unhex(store));
        }
        if let Some(delta) = call["atomic_add"].as_i64() {
            self.assembler.number(5, delta as u64);
            self.assembler.atomic_add(7, 0, 5);
        }
        match call["keep"].as_str() {
            Some(name) => {
                self.kept.push(name.to_owned());
                self.assembler.store(FRAME, slot(self.kept.len()), 7);
                let found = self.assembler.jump();
                self.assembler.here(null);
                let end = self.assembler.jump();
                self.ends.push(end);
                self.assembler.here(found);
            }
            None => self.assembler.here(null),
        }
    }

    /// A pop or a peek, and what the buffer has afterwards.
    fn take(&mut self, call: &Value, at: usize, id: u32) {
        self.operand(7, &before(call, self.shape.value_size));
        self.assembler.add(2, 7, 0);
        self.helper(at, id);
        self.give(at, 0, call);
    }

    /// A kept pointer, into r7.
    fn pointer(&mut self, call: &Value) -> Result<(), String> {
        let kept = self.kept.iter().rposition(|name| call["ptr"] == name.as_str());
        let Some(kept) = kept else { return Err(format!("{} was not kept", call["ptr"])) };
        self.assembler.load(7, FRAME, slot(kept + 1));
        Ok(())
    }

    fn for_each(&mut self, call: &Value, at: usize) {
        self.assembler.add(3, MEMORY, at as i32);
        self.assembler.add(4, 3, HEAD_BYTES as i32);
        self.assembler.store(3, 24, 4);
        let function = self.assembler.function(2);
        self.assembler.number(4, call["flags"].as_u64().unwrap_or(0));
        self.helper(at, 164);
        self.callbacks.push((function, call.clone()));
    }

    /// The function that a walk calls with the map, a key, a value and the answer's address.
    fn callback(&mut self, call: &Value) {
        let (visit, value_at) = visit_bytes(self.shape);
        let Shape { key_size, value_size, .. } = self.shape;
        let assembler = &mut self.assembler;
        for argument in 1..=4 {
            assembler.add(argument + 5, argument, 0);
        }
        assembler.load(1, 9, 16);
        assembler.add(1, 1, 1);
        assembler.store(9, 16, 1);
        assembler.add(3, 7, 0);
        assembler.load(4, 9, 24);
        assembler.copy(key_size);
        assembler.add(3, 8, 0);
        assembler.load(4, 9, 24);
        assembler.add(4, 4, value_at as i32);
        assembler.copy(value_size);
        assembler.load(4, 9, 24);
        assembler.add(4, 4, visit as i32);
        assembler.store(9, 24, 4);
        if let Some(store) = call["store"].as_str() {
            assembler.write(8, 0, &unhex(store));
        }
        if call["delete"] == true {
            assembler.add(1, 6, 0);
            assembler.add(2, 7, 0);
            assembler.call(3);
        }
        let Some(stop_after) = call["stop_after"].as_u64() else { return assembler.exit(0) };
        assembler.load(1, 9, 16);
        let stop = assembler.jump_if(1, stop_after as i32);
        assembler.exit(0);
        assembler.here(stop);
        assembler.exit(1);
    }
}

/// What a buffer has before a pop or peek.
fn before(call: &Value, value_size: usize) -> Vec<u8> {
    call["value"].as_str().map_or_else(|| vec![0xAA; value_size], unhex)
}

/// Where on the stack a pointer is kept.
fn slot(number: usize) -> i16 {
    let slot = number as i16 * 8;
    assert!(slot <= KEPT_BYTES, "no room to keep {number} pointers");
    -slot
}
