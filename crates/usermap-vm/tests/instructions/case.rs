//! A case: a program, its memory before, and r0 and the memory after.

use usermap_vm::bare::{Engine, Options};
use usermap_vm::instruction::Instruction;

pub struct Case {
    pub name: String,
    pub instructions: Vec<Instruction>,
    pub memory: Vec<u8>,
    pub expected: u64,
    /// The memory after it, where the case is about that.
    pub after: Option<Vec<u8>>,
}

impl Case {
    pub fn new(name: impl Into<String>, instructions: Vec<Instruction>, expected: u64) -> Case {
        Case { name: name.into(), instructions, memory: Vec::new(), expected, after: None }
    }

    /// The memory that it gets.
    pub fn on(mut self, memory: &[u8]) -> Case {
        self.memory = memory.to_vec();
        self
    }

    /// What the memory is to be after it.
    pub fn leaves(mut self, memory: &[u8]) -> Case {
        self.after = Some(memory.to_vec());
        self
    }

    /// What is wrong with it, if something is.
    pub fn failure(&self, engine: Engine) -> Option<String> {
        let mut memory = self.memory.clone();
        let program = match Options::new().engine(engine).load(self.instructions.clone()) {
            Ok(program) => program,
            Err(error) => return Some(format!("{}: {error}", self.name)),
        };
        let value = match program.run(&mut memory) {
            Ok(value) => value,
            Err(error) => return Some(format!("{}: {error}", self.name)),
        };
        if value != self.expected {
            return Some(format!("{}: {value:#x}, not {:#x}", self.name, self.expected));
        }
        let after = self.after.as_ref().filter(|after| **after != memory)?;
        Some(format!("{}: left {memory:02x?}, not {after:02x?}", self.name))
    }
}
