//! A function's instructions in Cranelift's terms.

use super::compile;
use super::facts::{Fact, Facts};
use super::jump::goes_back_else;
use crate::blocks::{Steps, length, target};
use crate::code::Code;
use crate::instruction::{Instruction, MAY_GOTO, opcode, pseudo};
use crate::run::{LoadedMap, function_handle, map_handle};
use crate::sandbox::cage::{self, STACK_TOP};
use crate::sandbox::native::offsets;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, Block, Function, InstBuilder, MemFlagsData, Signature, SourceLoc, StackSlot,
    StackSlotData, StackSlotKind, UserFuncName, Value,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

/// What is translated, and what it needs.
pub(super) struct Program<'p> {
    pub(super) code: &'p Code,
    pub(super) maps: &'p [LoadedMap],
    /// Of basic blocks, by their first instruction.
    pub(super) costs: &'p [u32],
    /// Bits of an address that count.
    pub(super) mask: u64,
    /// Of functions: how many of r1 to r5 they read.
    pub(super) arguments: &'p [usize],
    /// Which helpers are the embedding application's.
    pub(super) own: &'p dyn Fn(u32) -> bool,
}

/// Lookups in hashes that a function makes in place. Each is some seventy instructions, which take
/// time to translate; a function with more of them goes the rest by a call.
const MOST_HASHES: u32 = 8;

/// A function in the middle of its translation.
pub(super) struct Translator<'t, 'p> {
    pub(super) program: &'t Program<'p>,
    pub(super) function: std::ops::Range<usize>,
    pub(super) builder: FunctionBuilder<'t>,
    pub(super) blocks: Vec<Option<Block>>,
    /// Where jumps back to an instruction lead to, by that instruction: the budget is asked there,
    /// before they get to its block.
    pub(super) landings: Vec<Option<Block>>,
    /// r0 to r9.
    pub(super) registers: [Variable; 10],
    /// Instructions left, where a block is led to from several places.
    pub(super) budget: Variable,
    /// How often the function still gets past a `may_goto`.
    pub(super) may_go: Variable,
    /// What was left some instructions ago, and how many since.
    pub(super) left: (Value, i64),
    kept: Kept,
    pub(super) base: Value,
    /// What is known at the instruction that is being translated.
    pub(super) facts: Facts,
    /// Jumps back: where they lead to, and where they are.
    pub(super) loops: Vec<(usize, usize)>,
    /// How often blocks are led to, by the function's instructions.
    pub(super) entries: Vec<u32>,
    /// What is known at the start of a block that is led to from one place, once that is translated.
    pub(super) facts_at: Vec<Option<(Facts, (Value, i64))>>,
    /// Lookups in hashes that may still be made in place.
    pub(super) hashes: u32,
    /// The instruction that is being translated.
    pub(super) at: usize,
}

/// Where a function has its run, its frame, and the host's address of that. A call leaves few
/// registers, which are better used for what the program has.
#[derive(Clone, Copy)]
enum Kept {
    /// In one that calls nothing.
    InRegisters { run: Value, frame: Value, stack: Value },
    /// The run as `cage::RUN` says, and the frame's address on the host's stack; `here` is it where it
    /// was read last.
    InMemory { slot: StackSlot, here: Option<Value> },
}

/// Memory flags of what can fault: nothing is known of it.
pub(super) fn plain() -> MemFlagsData {
    MemFlagsData::new()
}

/// Memory flags of the run's state, which is always there.
pub(super) fn state() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// The signature of a function: (run, frame, base, r1 and so on), and r0. r4 and r5 are on the host's
/// stack. Who enters machine code gives five; what a function has too few parameters for is not read.
pub(super) fn signature(arguments: usize) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend((0..3 + arguments).map(|_| AbiParam::new(I64)));
    signature.returns.push(AbiParam::new(I64));
    signature
}

/// Translates a function into `into`.
pub(super) fn function(
    program: &Program<'_>,
    number: usize,
    machine: &dyn TargetIsa,
    into: &mut Function,
    context: &mut FunctionBuilderContext,
) {
    into.signature = signature(program.arguments[number]);
    into.name = UserFuncName::user(0, number as u32);
    let mut builder = FunctionBuilder::new(into, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let parameters = builder.block_params(entry).to_vec();
    let [run, frame, base] = [0, 1, 2].map(|index| parameters[index]);
    let registers: [Variable; 10] = std::array::from_fn(|_| builder.declare_var(I64));
    let zero = builder.ins().iconst(I64, 0);
    for (register, variable) in registers.iter().enumerate() {
        let given = match register {
            1..=5 => parameters.get(register + 2).copied().unwrap_or(zero),
            _ => zero,
        };
        builder.def_var(*variable, given);
    }
    let [budget, may_go] = std::array::from_fn(|_| builder.declare_var(I64));
    let times = builder.ins().iconst(I64, MAY_GOTO as i64);
    builder.def_var(may_go, times);
    let left = builder.ins().load(I64, state(), run, offsets::BUDGET);
    let function = program.code.range(number);
    let calls =
        Steps::between(program.code, function.start, function.end).any(|(_, instruction)| {
            instruction.is_packet_load() || instruction.opcode == opcode::JMP | opcode::CALL
        });
    let stack = builder.ins().iadd(base, frame);
    let kept = if calls {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3);
        let slot = builder.create_sized_stack_slot(slot);
        builder.ins().stack_store(I64, stack, slot, 0);
        Kept::InMemory { slot, here: None }
    } else {
        Kept::InRegisters { run, frame, stack }
    };
    let blocks = function
        .clone()
        .map(|at| (program.costs[at] > 0).then(|| builder.create_block()))
        .collect();
    let loops = loops(program.code, function.clone());
    let mut landings = vec![None; function.len()];
    let mut backwards = vec![0_u32; function.len()];
    let entries = entries(program.code, function.clone());
    for (target, at) in &loops {
        // A single one that is conditional, or made so, is the loop's only branch if it asks by itself.
        let index = *target - function.start;
        backwards[index] += 1;
        let conditional = !program.code.instructions[*at].is_goto()
            || *at > function.start
                && goes_back_else(program.code, &entries, function.start, at - 1).is_some();
        if backwards[index] > 1 || !conditional {
            landings[index].get_or_insert_with(|| builder.create_block());
        }
    }
    let translator = Translator {
        loops,
        landings,
        entries,
        facts_at: vec![None; function.len()],
        facts: Facts::default(),
        program,
        function,
        builder,
        blocks,
        registers,
        budget,
        may_go,
        left: (left, 0),
        kept,
        base,
        hashes: MOST_HASHES,
        at: 0,
    };
    translator.translate(machine);
}

/// A function's jumps back: where they lead to, and where they are.
fn loops(code: &Code, function: std::ops::Range<usize>) -> Vec<(usize, usize)> {
    let steps = Steps::between(code, function.start, function.end);
    let jumps = steps.filter_map(|(at, instruction)| Some((target(at, instruction)?, at)));
    jumps.filter(|(target, at)| target <= at).collect()
}

/// How often each of a function's instructions is led to: by a jump, by the one before it, and the
/// first by calls.
fn entries(code: &Code, function: std::ops::Range<usize>) -> Vec<u32> {
    let mut entries = vec![0; function.len()];
    let mut enter = |at: usize| {
        if let Some(count) = entries.get_mut(at.wrapping_sub(function.start)) {
            *count += 1;
        }
    };
    enter(function.start);
    for (number, instruction) in Steps::between(code, function.start, function.end) {
        if let Some(target) = target(number, instruction) {
            enter(target);
        }
        if !instruction.is_goto() && instruction.opcode != opcode::JMP | opcode::EXIT {
            enter(number + length(instruction));
        }
    }
    entries
}

impl Translator<'_, '_> {
    fn translate(mut self, machine: &dyn TargetIsa) {
        let start = self.function.start;
        self.at = start;
        self.builder.set_srcloc(SourceLoc::new(start as u32));
        self.check_budget_for(self.program.costs[start]);
        let first = self.block(start);
        let left = self.left();
        self.builder.def_var(self.budget, left);
        self.builder.ins().jump(first, &[]);
        let mut filled = true;
        while self.at < self.function.end {
            let instruction = self.program.code.instructions[self.at];
            self.builder.set_srcloc(SourceLoc::new(self.at as u32));
            if let Some(block) = self.blocks[self.at - start] {
                if !filled {
                    self.lead_to(self.at);
                    self.builder.ins().jump(block, &[]);
                }
                self.land(block);
                self.begin(block);
            }
            filled = self.instruction(instruction);
            self.at += if instruction.is_wide() { 2 } else { 1 };
        }
        if !filled {
            // The validator lets no function end so.
            self.builder.ins().trap(compile::STOPPED);
        }
        self.builder.seal_all_blocks();
        self.builder.finalize(machine.frontend_config());
    }

    /// The block that starts at an instruction.
    pub(super) fn block(&mut self, at: usize) -> Block {
        let index = at.wrapping_sub(self.function.start);
        match self.blocks.get(index).copied().flatten() {
            Some(block) => block,
            // The validator lets no jump lead there.
            None => self.builder.create_block(),
        }
    }

    /// Notes what is known at the start of a block that follows, if it is only led to from here.
    pub(super) fn lead_to(&mut self, at: usize) {
        let index = at.wrapping_sub(self.function.start);
        if self.is_only_way_to(at) {
            self.facts_at[index] = Some((self.facts.clone(), self.left));
        } else {
            let left = self.left();
            self.builder.def_var(self.budget, left);
        }
    }

    /// Whether the block of an instruction that follows is only led to from here.
    pub(super) fn is_only_way_to(&self, at: usize) -> bool {
        at > self.at && self.entries.get(at.wrapping_sub(self.function.start)) == Some(&1)
    }

    /// Goes on in a block, and takes its instructions off the budget.
    fn begin(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.forget_stack();
        let known = self.facts_at.get_mut(self.at - self.function.start);
        (self.facts, self.left) = match known.and_then(Option::take) {
            Some(known) => known,
            None => (Facts::default(), (self.builder.use_var(self.budget), 0)),
        };
        self.left.1 += i64::from(self.program.costs[self.at]);
        for register in 0..self.registers.len() as u8 {
            let fact = self.facts.of(register);
            if let Some(element) = fact.element.filter(|_| fact.there) {
                self.set_with(register, element.address, Fact { element: None, ..fact });
            }
        }
    }

    /// What is left of the budget.
    pub(super) fn left(&mut self) -> Value {
        match self.left {
            (left, 0) => left,
            (left, spent) => {
                let spent = self.builder.ins().iconst(I64, spent);
                self.builder.ins().isub(left, spent)
            }
        }
    }

    /// The same, and from now on counted from that.
    pub(super) fn take_off(&mut self) -> Value {
        let left = self.left();
        self.left = (left, 0);
        left
    }

    /// Traps if the budget has not that many instructions left. A function's start asks so for its
    /// first block, which jumps back may lead to as well, after they have asked themselves.
    pub(super) fn check_budget_for(&mut self, count: u32) {
        let left = self.left();
        let count = i64::from(count);
        let spent = self.builder.ins().icmp_imm_s(IntCC::SignedLessThan, left, count);
        self.builder.ins().trapnz(spent, compile::BUDGET);
    }

    /// Translates one instruction; says whether it ended the block.
    fn instruction(&mut self, instruction: Instruction) -> bool {
        match instruction.class() {
            opcode::ALU | opcode::ALU64 => self.compute(instruction),
            opcode::LDX | opcode::ST | opcode::STX => self.access(instruction),
            opcode::LD if instruction.is_packet_load() => self.load_packet(instruction),
            opcode::LD => self.load_wide(instruction),
            _ => return self.jump(instruction),
        }
        false
    }

    /// A register's value.
    pub(super) fn get(&mut self, register: u8) -> Value {
        match self.registers.get(usize::from(register)) {
            Some(variable) => self.builder.use_var(*variable),
            None => self.frame(),
        }
    }

    /// Sets a register.
    pub(super) fn set(&mut self, register: u8, value: Value) {
        let index = usize::from(register);
        if let Some(variable) = self.registers.get(index) {
            self.builder.def_var(*variable, value);
            self.facts.set(register, Fact::default());
        }
    }

    /// Sets a register of which something is known.
    pub(super) fn set_with(&mut self, register: u8, value: Value, fact: Fact) {
        self.set(register, value);
        self.facts.set(register, fact);
    }

    /// Sets a register to a constant, and remembers it.
    pub(super) fn set_known(&mut self, register: u8, value: u64) {
        let constant = self.builder.ins().iconst(I64, value as i64);
        let fact = Fact { constant: Some(value), most: Some(value), ..Fact::default() };
        self.set_with(register, constant, fact);
    }

    /// A 64-bit load of an immediate, a map, a value's address or a function.
    fn load_wide(&mut self, instruction: Instruction) {
        let second = self.program.code.instructions.get(self.at + 1).copied().unwrap_or_default();
        let (low, high) = (instruction.imm as u32, second.imm as u32);
        let value = match instruction.src {
            pseudo::MAP => map_handle(low as usize),
            pseudo::MAP_VALUE => {
                let map = self.program.maps.get(low as usize);
                map.map_or(0, |map| map.start) + u64::from(high)
            }
            pseudo::FUNCTION => {
                let target = self.at as i64 + 1 + i64::from(instruction.imm);
                let code = self.program.code;
                function_handle(code.function_at(target).unwrap_or(code.functions.len()))
            }
            _ => u64::from(high) << 32 | u64::from(low),
        };
        self.set_known(instruction.dst, value);
    }

    /// Returns from the function.
    pub(super) fn leave(&mut self, value: Value) {
        self.store_budget();
        self.builder.ins().return_(&[value]);
    }

    /// The run: in a register where no call makes them few.
    pub(super) fn run(&mut self) -> Value {
        match self.kept {
            Kept::InRegisters { run, .. } => run,
            Kept::InMemory { .. } => self.builder.ins().load(I64, state(), self.base, cage::RUN),
        }
    }

    /// r10.
    pub(super) fn frame(&mut self) -> Value {
        match self.kept {
            Kept::InRegisters { frame, .. } => frame,
            Kept::InMemory { .. } => {
                let stack = self.stack();
                self.builder.ins().isub(stack, self.base)
            }
        }
    }

    /// `base + frame`, for what is done in the instruction's own block.
    pub(super) fn stack(&mut self) -> Value {
        match &mut self.kept {
            Kept::InRegisters { stack, .. } => *stack,
            Kept::InMemory { slot, here } => {
                let builder = &mut self.builder;
                *here.get_or_insert_with(|| builder.ins().stack_load(I64, I64, *slot, 0))
            }
        }
    }

    /// The frame's address is read again: in another block, and behind a call.
    pub(super) fn forget_stack(&mut self) {
        if let Kept::InMemory { here, .. } = &mut self.kept {
            *here = None;
        }
    }

    /// The run's CPU slot.
    pub(super) fn cpu(&mut self) -> Value {
        self.builder.ins().load(I64, state(), self.base, cage::CPU)
    }

    /// Notes the budget in the run, where others go on with it.
    pub(super) fn store_budget(&mut self) {
        let (left, run) = (self.left(), self.run());
        self.builder.ins().store(state(), left, run, offsets::BUDGET);
    }

    /// Takes the budget up again.
    pub(super) fn load_budget(&mut self) {
        let run = self.run();
        let left = self.builder.ins().load(I64, state(), run, offsets::BUDGET);
        self.left = (left, 0);
    }
}

/// The stack's top is a constant, so that frames can be told from it.
pub(super) const LOWEST_FRAME: u64 =
    STACK_TOP - crate::sandbox::cage::FRAME * (crate::sandbox::cage::FRAMES - 1);
