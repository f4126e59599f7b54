//! Calls: of functions of the program, and of helpers, of which array lookups are made in place.

use super::compile;
use super::facts::{Element, Fact};
use super::translate::{LOWEST_FRAME, Translator, plain, signature};
use crate::helper::FEW_BYTES;
use crate::instruction::{Instruction, opcode};
use crate::machine::NOT_THERE;
use crate::run::{ArrayLayout, DELETE, LOOKUP, Storage, TAIL_CALL, Table, UPDATE, map_number};
use crate::sandbox::cage::FRAME;
use crate::sandbox::native::{self, offsets};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, InstBuilder, Signature, UserExternalName, Value,
};
use cranelift_codegen::isa::CallConv;
use usermap::abi::helper as own;

/// Helpers that take nothing from the budget and run nothing that does: those of maps' single
/// elements, and those that only give a number. All others find the budget in the run.
const FREE: [u32; 8] = [LOOKUP, DELETE, 5, 7, 8, 195, own::MAP_INC, own::MAP_INC_AND_RETURN];

/// Helpers that copy a value, and take from the budget for that if it is not one of few bytes.
const OF_VALUES: [u32; 5] = [UPDATE, 87, 88, 89, own::MAP_LOOKUP_AND_DELETE_ELEM];

impl Translator<'_, '_> {
    /// A call of a function of the program, in the next frame.
    pub(super) fn call_local(&mut self, instruction: Instruction) {
        let target = self.at as i64 + 1 + i64::from(instruction.imm);
        // The validator lets no call lead elsewhere.
        let number = self.program.code.function_at(target).unwrap_or_default() as u32;
        let lowest = self.builder.ins().iconst(I64, LOWEST_FRAME as i64);
        let count = self.program.arguments[number as usize];
        let frame = self.frame();
        let too_deep = self.builder.ins().icmp(IntCC::UnsignedLessThanOrEqual, frame, lowest);
        self.builder.ins().trapnz(too_deep, compile::CALL_DEPTH);
        let frame = self.builder.ins().iadd_imm_s(frame, -(FRAME as i64));
        self.store_budget();
        let name = UserExternalName { namespace: 0, index: number };
        let name = self.builder.func.declare_imported_user_function(name);
        let signature = self.builder.import_signature(signature(count));
        let callee = self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        let mut arguments = vec![self.run(), frame, self.base];
        arguments.extend((1..=count as u8).map(|register| self.get(register)));
        let call = self.builder.ins().call(callee, &arguments);
        let value = self.builder.inst_results(call)[0];
        self.set(0, value);
        self.facts.forget_frame();
        self.load_budget();
        self.lead_to(self.at + 1);
        let next = self.block(self.at + 1);
        self.builder.ins().jump(next, &[]);
    }

    /// A call of a helper; says whether it ended the block, which none does.
    pub(super) fn call_helper(&mut self, id: u32) -> bool {
        let number = self.facts.of(1).constant.and_then(map_number);
        if let Some(map) = number
            && self.call_on_map(id, map)
        {
            return false;
        }
        let free = FREE.contains(&id)
            || OF_VALUES.contains(&id) && number.is_some_and(|map| self.has_few_bytes(map));
        let counted = !free;
        if counted {
            self.store_budget();
        }
        let (run, frame) = (self.run(), self.frame());
        self.builder.ins().store(plain(), frame, run, offsets::FRAME);
        let mut arguments = vec![run];
        arguments.extend((1..=5).map(|register| self.get(register)));
        arguments.push(self.builder.ins().iconst(I64, i64::from(id)));
        let value = self.call_shim(native::call_helper as *const (), &arguments);
        if counted {
            self.load_budget();
        }
        if id == TAIL_CALL {
            self.leave_after_tail_call(value);
        }
        self.facts.forget_frame();
        self.set(0, value);
        false
    }

    /// Whether copying a value of a map takes nothing from the budget.
    fn has_few_bytes(&self, map: usize) -> bool {
        let map = self.program.maps.get(map).map(|map| &map.storage);
        matches!(map, Some(Storage::Map(map)) if (map.spec().value_size as usize) < FEW_BYTES)
    }

    /// A call of a helper on a map that is known, if it is one that is done the short way.
    fn call_on_map(&mut self, id: u32, map: usize) -> bool {
        let there = self.program.maps.get(map).map(|map| &map.storage);
        if (self.program.own)(id) || !matches!(there, Some(Storage::Map(_))) {
            return false;
        }
        let (shim, arguments) = match id {
            LOOKUP => {
                self.look_up(map);
                return true;
            }
            UPDATE if self.has_few_bytes(map) => (native::update as *const (), 2..=4),
            DELETE => (native::delete as *const (), 2..=2),
            _ => return false,
        };
        let map = self.builder.ins().iconst(I64, map as i64);
        let mut given = vec![self.run(), map];
        given.extend(arguments.map(|register| self.get(register)));
        let value = self.call_shim(shim, &given);
        self.set(0, value);
        true
    }

    /// Calls a function of the host that takes numbers and gives one, and may refuse to go on.
    fn call_shim(&mut self, shim: *const (), arguments: &[Value]) -> Value {
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.extend(arguments.iter().map(|_| AbiParam::new(I64)));
        signature.returns.push(AbiParam::new(I64));
        let signature = self.builder.import_signature(signature);
        let shim = self.builder.ins().iconst(I64, shim as i64);
        let call = self.builder.ins().call_indirect(signature, shim, arguments);
        let value = self.builder.inst_results(call)[0];
        self.forget_stack();
        let run = self.run();
        let stopped = self.builder.ins().load(I64, plain(), run, offsets::STOPPED);
        self.builder.ins().trapnz(stopped, compile::STOPPED);
        value
    }

    /// A legacy load from a packet; one that is not within it ends the function.
    pub(super) fn load_packet(&mut self, instruction: Instruction) {
        let skb = self.get(6);
        let mut offset = self.builder.ins().iconst(I64, i64::from(instruction.imm));
        if instruction.opcode & opcode::MODE == opcode::IND {
            let from = self.get(instruction.src);
            offset = self.builder.ins().iadd(from, offset);
        }
        let width = self.builder.ins().iconst(I64, i64::from(instruction.width()));
        let arguments = [self.run(), skb, offset, width];
        let value = self.call_shim(native::load_packet as *const (), &arguments);
        let (missing, there) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(missing);
        let not_there = self.builder.ins().iconst(I64, NOT_THERE as i64);
        let is_missing = self.builder.ins().icmp(IntCC::Equal, value, not_there);
        self.builder.ins().brif(is_missing, missing, &[], there, &[]);
        self.builder.switch_to_block(missing);
        let zero = self.builder.ins().iconst(I64, 0);
        self.leave(zero);
        self.builder.switch_to_block(there);
        self.set_with(0, value, Fact::at_most(Some(u32::MAX.into())));
    }

    /// A tail call that was made is the end of the function.
    fn leave_after_tail_call(&mut self, value: Value) {
        let (made, not_made) = (self.builder.create_block(), self.builder.create_block());
        let run = self.run();
        let called = self.builder.ins().load(I64, plain(), run, offsets::TAIL_CALLED);
        self.builder.ins().brif(called, made, &[], not_made, &[]);
        self.builder.switch_to_block(made);
        let zero = self.builder.ins().iconst(I64, 0);
        self.builder.ins().store(plain(), zero, run, offsets::TAIL_CALLED);
        self.leave(value);
        self.builder.switch_to_block(not_made);
    }

    /// `bpf_map_lookup_elem` of a map that is known: in place where that can be.
    fn look_up(&mut self, map: usize) {
        let maps = self.program.maps;
        let made = match maps.get(map).and_then(|map| map.table.as_ref()) {
            Some(Table::Array(layout)) => return self.look_up_in_array(*layout),
            Some(Table::Hash(table)) => self.look_up_in_hash(map, table),
            None => None,
        };
        if made.is_none() {
            let value = self.call_look_up(map);
            self.set_with(0, value, Fact { found: true, ..Fact::default() });
        }
    }

    /// The same by a call.
    pub(super) fn call_look_up(&mut self, map: usize) -> Value {
        let map = self.builder.ins().iconst(I64, map as i64);
        let key = match self.facts.of(2).frame {
            // So that r2 is not kept for what is rarely done.
            Some(offset) => {
                self.forget_stack();
                let frame = self.frame();
                self.builder.ins().iadd_imm_s(frame, i64::from(offset))
            }
            None => self.get(2),
        };
        let arguments = [self.run(), map, key];
        self.call_shim(native::look_up as *const (), &arguments)
    }

    /// `bpf_map_lookup_elem` of an array, as the kernel's JIT has it too.
    fn look_up_in_array(&mut self, layout: ArrayLayout) {
        let mut most = None;
        let index = match self.facts.of(2).frame {
            Some(offset) if (-(FRAME as i32)..=-4).contains(&offset) => {
                most = self.facts.read(offset, 4).map(|written| written.most);
                self.read_frame(offset, 4)
            }
            _ => {
                let key = self.get(2);
                let at = self.mask(key);
                self.builder.ins().uload32(plain(), at, 0)
            }
        };
        let offset = self.times(index, layout.stride as usize);
        let mut address = self.builder.ins().iadd_imm_s(offset, layout.start as i64);
        if layout.plane != 0 {
            let cpu = self.cpu();
            let plane = self.times(cpu, layout.plane as usize);
            address = self.builder.ins().iadd(address, plane);
        }
        let found = Fact { found: true, ..Fact::default() };
        if most.is_some_and(|most| most < layout.max_entries.into()) {
            return self.set_with(0, address, Fact { there: true, ..found });
        }
        let element = Element { index, entries: layout.max_entries, address };
        let inside = self.is_inside(element, true);
        let null = self.builder.ins().iconst(I64, 0);
        let value = self.builder.ins().select(inside, address, null);
        self.set_with(0, value, Fact { element: Some(element), ..found });
    }
}
