//! What is known of registers and of the stack at a place of a program, so that less is computed
//! there. It holds from one instruction to the next, and on into a block that is entered from one
//! place only.

use cranelift_codegen::ir::Value;

/// What is known of a register.
#[derive(Clone, Copy, Default)]
pub(super) struct Fact {
    /// Its value.
    pub(super) constant: Option<u64>,
    /// How far it is from r10.
    pub(super) frame: Option<i32>,
    /// The host address that it means, `base + (register & mask)`, where that was computed.
    pub(super) located: Option<Value>,
    /// It is what a lookup gave: the address of a map's value, a multiple of 8; or NULL.
    pub(super) found: bool,
}

/// Bytes of the frame that were written, and what with: the lowest one's distance from r10, how
/// many, and the value, of that width.
type Written = (i32, u8, Value);

/// What is known of all.
#[derive(Clone, Default)]
pub(super) struct Facts {
    registers: [Fact; 10],
    written: Vec<Written>,
}

impl Facts {
    /// Of a register; r10 is at no distance from itself.
    pub(super) fn of(&self, register: u8) -> Fact {
        let frame = Fact { frame: Some(0), ..Fact::default() };
        self.registers.get(usize::from(register)).copied().unwrap_or(frame)
    }

    /// Notes what is known of a register now.
    pub(super) fn set(&mut self, register: u8, fact: Fact) {
        if let Some(place) = self.registers.get_mut(usize::from(register)) {
            *place = fact;
        }
    }

    /// Notes a store to the frame.
    pub(super) fn write(&mut self, offset: i32, width: u8, value: Value) {
        self.written.retain(|(other, bytes, _)| {
            *other >= offset + i32::from(width) || other + i32::from(*bytes) <= offset
        });
        self.written.push((offset, width, value));
    }

    /// What was stored at just these bytes.
    pub(super) fn read(&self, offset: i32, width: u8) -> Option<Value> {
        let found = self.written.iter().find(|written| (written.0, written.1) == (offset, width));
        found.map(|(_, _, value)| *value)
    }

    /// Forgets what the frame has: somebody may have written to it.
    pub(super) fn forget_frame(&mut self) {
        self.written.clear();
    }
}
