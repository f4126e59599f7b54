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
    /// It is no larger than this.
    pub(super) most: Option<u64>,
    /// It is at least so far from r10, and at most so much farther.
    pub(super) span: Option<(i32, u64)>,
    /// The host address that it means, `base + (register & mask)`, where that was computed.
    pub(super) located: Option<Value>,
    /// It is what a lookup gave: the address of a map's value, a multiple of 8; or NULL.
    pub(super) found: bool,
    /// It is not NULL.
    pub(super) there: bool,
    /// What of an array that was.
    pub(super) element: Option<Element>,
}

/// An element of an array, if there is one at its index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) index: Value,
    /// How many the array has.
    pub(super) entries: u32,
    /// Where it is if it is there.
    pub(super) address: Value,
}

/// Bytes of the frame that were written.
#[derive(Clone, Copy)]
pub(super) struct Written {
    /// The lowest one's distance from r10.
    pub(super) offset: i32,
    /// How many they are.
    pub(super) width: u8,
    /// What they were written with, of that width.
    pub(super) value: Value,
    /// The same in 64 bits, if that is known.
    pub(super) whole: Option<Value>,
    /// It is no larger than this.
    pub(super) most: u64,
}

impl Fact {
    /// Of a number that is no larger than this.
    pub(super) fn at_most(most: Option<u64>) -> Fact {
        Fact { most, ..Fact::default() }
    }

    /// How far from r10 it is, and at most so much farther, if it is some way from there.
    pub(super) fn frame_place(&self) -> Option<(i32, u64)> {
        self.frame.map(|frame| (frame, 0)).or(self.span)
    }
}

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

    /// Notes that an element that a register has is there, in all registers.
    pub(super) fn note_there(&mut self, register: u8) {
        let element = self.of(register).element;
        for fact in self.registers.iter_mut().filter(|_| element.is_some()) {
            fact.there |= fact.element == element;
        }
    }

    /// Notes a store to the frame.
    pub(super) fn write(&mut self, written: Written) {
        let end = |written: &Written| written.offset + i32::from(written.width);
        self.written.retain(|other| other.offset >= end(&written) || end(other) <= written.offset);
        self.written.push(written);
    }

    /// What was stored at just these bytes.
    pub(super) fn read(&self, offset: i32, width: u8) -> Option<Written> {
        let same = |written: &&Written| (written.offset, written.width) == (offset, width);
        self.written.iter().find(same).copied()
    }

    /// Forgets what the frame has: somebody may have written to it.
    pub(super) fn forget_frame(&mut self) {
        self.written.clear();
    }
}
