//! A function's instructions in Cranelift's terms.

use super::compile;
use super::facts::{Fact, Facts};
use crate::blocks::{Steps, length, target};
use crate::code::Code;
use crate::instruction::{Instruction, MAY_GOTO, opcode, pseudo};
use crate::run::{LoadedMap, function_handle, map_handle};
use crate::sandbox::cage::STACK_TOP;
use crate::sandbox::native::offsets;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, Function, InstBuilder, MemFlagsData, Signature, SourceLoc, UserFuncName, Value,
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
    /// Which helpers are the embedding application's.
    pub(super) own: &'p dyn Fn(u32) -> bool,
}

/// Lookups in hashes that a function makes in place. Each is some seventy instructions, which take
/// time to translate; a function with more of them goes the rest by a call.
const MOST_HASHES: u32 = 8;

/// With more jumps back than this in a function, none of them is looked at closely.
const MOST_LOOPS: usize = 1000;

/// A function in the middle of its translation.
pub(super) struct Translator<'t, 'p> {
    pub(super) program: &'t Program<'p>,
    pub(super) function: std::ops::Range<usize>,
    pub(super) builder: FunctionBuilder<'t>,
    pub(super) blocks: Vec<Option<Block>>,
    /// Where jumps back to an instruction lead to, by that instruction: the budget is asked there,
    /// before they get to its block.
    landings: Vec<Option<Block>>,
    /// r0 to r9.
    pub(super) registers: [Variable; 10],
    /// Instructions left, where a block is led to from several places.
    budget: Variable,
    /// How often the function still gets past a `may_goto`.
    may_go: Variable,
    /// What was left some instructions ago, and how many since.
    left: (Value, i64),
    pub(super) run: Value,
    /// r10.
    pub(super) frame: Value,
    pub(super) base: Value,
    /// `base + frame`.
    pub(super) stack: Value,
    /// What is known at the instruction that is being translated.
    pub(super) facts: Facts,
    /// Jumps back: where they lead to, and where they are.
    loops: Vec<(usize, usize)>,
    /// How often blocks are led to, by the function's instructions.
    entries: Vec<u32>,
    /// What is known at the start of a block that is led to from one place, once that is translated.
    facts_at: Vec<Option<(Facts, (Value, i64))>>,
    /// Lookups in hashes that may still be made in place.
    pub(super) hashes: u32,
    /// The instruction that is being translated.
    pub(super) at: usize,
}

/// Memory flags of what can fault: nothing is known of it.
pub(super) fn plain() -> MemFlagsData {
    MemFlagsData::new()
}

/// Memory flags of the run's state, which is always there.
pub(super) fn state() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// The signature of every function: (run, frame, r1 to r4), and r0. All of them fit into registers;
/// r5 is in the run's state.
pub(super) fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([AbiParam::new(I64); 6]);
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
    into.signature = signature();
    into.name = UserFuncName::user(0, number as u32);
    let mut builder = FunctionBuilder::new(into, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let parameters = builder.block_params(entry).to_vec();
    let (run, frame) = (parameters[0], parameters[1]);
    let registers: [Variable; 10] = std::array::from_fn(|_| builder.declare_var(I64));
    let zero = builder.ins().iconst(I64, 0);
    let fifth = builder.ins().load(I64, state(), run, offsets::FIFTH);
    for (register, variable) in registers.iter().enumerate() {
        let given = match register {
            1..=4 => parameters[register + 1],
            5 => fifth,
            _ => zero,
        };
        builder.def_var(*variable, given);
    }
    let [budget, may_go] = std::array::from_fn(|_| builder.declare_var(I64));
    let times = builder.ins().iconst(I64, MAY_GOTO as i64);
    builder.def_var(may_go, times);
    let base = builder.ins().load(I64, state(), run, offsets::BASE);
    let left = builder.ins().load(I64, state(), run, offsets::BUDGET);
    let stack = builder.ins().iadd(base, frame);
    let function = program.code.range(number);
    let blocks = function
        .clone()
        .map(|at| (program.costs[at] > 0).then(|| builder.create_block()))
        .collect();
    let loops = loops(program.code, function.clone());
    let mut landings = vec![None; function.len()];
    let mut backwards = vec![0_u32; function.len()];
    for (target, at) in &loops {
        // A single one that is conditional is the loop's only branch if it asks by itself.
        let index = *target - function.start;
        backwards[index] += 1;
        if backwards[index] > 1 || program.code.instructions[*at].is_goto() {
            landings[index].get_or_insert_with(|| builder.create_block());
        }
    }
    let translator = Translator {
        loops,
        landings,
        entries: entries(program.code, function.clone()),
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
        run,
        frame,
        base,
        stack,
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
        if at > self.at && self.entries.get(index) == Some(&1) {
            self.facts_at[index] = Some((self.facts.clone(), self.left));
        } else {
            let left = self.left();
            self.builder.def_var(self.budget, left);
        }
    }

    /// Goes on in a block, and takes its instructions off the budget.
    fn begin(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        let known = self.facts_at.get_mut(self.at - self.function.start);
        (self.facts, self.left) = match known.and_then(Option::take) {
            Some(known) => known,
            None => (Facts::default(), (self.builder.use_var(self.budget), 0)),
        };
        self.left.1 += i64::from(self.program.costs[self.at]);
    }

    /// What is left of the budget.
    fn left(&mut self) -> Value {
        match self.left {
            (left, 0) => left,
            (left, spent) => {
                let spent = self.builder.ins().iconst(I64, spent);
                self.builder.ins().isub(left, spent)
            }
        }
    }

    /// Traps if the budget has not that many instructions left. A function's start asks so for its
    /// first block, which jumps back may lead to as well, after they have asked themselves.
    fn check_budget_for(&mut self, count: u32) {
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
            None => self.frame,
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

    /// A jump, a call or an exit.
    fn jump(&mut self, instruction: Instruction) -> bool {
        let operation = instruction.opcode & opcode::OPERATION;
        match operation {
            opcode::CALL if instruction.src == pseudo::CALL => self.call_local(instruction),
            opcode::CALL => return self.call_helper(instruction.imm as u32),
            opcode::EXIT => {
                let value = self.get(0);
                self.leave(value);
            }
            _ => {
                let distance = instruction.jump().unwrap_or_default();
                let target = (self.at as i64 + 1 + distance) as usize;
                let condition = match operation {
                    opcode::JA => None,
                    opcode::JCOND => Some(self.may_go()),
                    _ => Some(self.condition(instruction)),
                };
                self.jump_to(target, condition);
            }
        }
        true
    }

    /// Jumps to an instruction, if a condition holds.
    fn jump_to(&mut self, target: usize, condition: Option<Value>) {
        let landing = self.landings.get(target.wrapping_sub(self.function.start));
        let landing = landing.copied().flatten();
        let to = match landing.filter(|_| target <= self.at) {
            Some(landing) => landing,
            None => self.block(target),
        };
        if target <= self.at && landing.is_none() {
            self.check_budget(target, condition);
        }
        let Some(condition) = condition else {
            self.lead_to(target);
            self.builder.ins().jump(to, &[]);
            return;
        };
        let next = self.block(self.at + 1);
        if !self.leaves_a_loop(target) {
            self.lead_to(target);
            self.lead_to(self.at + 1);
            self.builder.ins().brif(condition, to, &[], next, &[]);
            return;
        }
        // What is to be done on the way out of a loop is kept out of the loop.
        let out = self.builder.create_block();
        self.builder.set_cold_block(out);
        self.lead_to(self.at + 1);
        self.builder.ins().brif(condition, out, &[], next, &[]);
        self.builder.switch_to_block(out);
        self.lead_to(target);
        self.builder.ins().jump(to, &[]);
    }

    /// Whether a jump from here leads forwards past a jump back over it.
    fn leaves_a_loop(&self, target: usize) -> bool {
        let few = self.loops.len() <= MOST_LOOPS;
        few && self.loops.iter().any(|(top, end)| (*top..*end).contains(&self.at) && target > *end)
    }

    /// Traps if the budget is spent and a jump back is taken. The budget is asked first, so that
    /// the jump itself is the loop's only other branch. The fault is of where the jump leads to.
    fn check_budget(&mut self, target: usize, condition: Option<Value>) {
        let left = self.left();
        self.left = (left, 0);
        self.builder.set_srcloc(SourceLoc::new(target as u32));
        let spent = self.builder.ins().icmp_imm_s(IntCC::SignedLessThan, left, 0);
        if let Some(condition) = condition {
            let (poor, rich) = (self.builder.create_block(), self.builder.create_block());
            self.builder.set_cold_block(poor);
            self.builder.ins().brif(spent, poor, &[], rich, &[]);
            self.builder.switch_to_block(poor);
            self.builder.ins().trapnz(condition, compile::BUDGET);
            self.builder.ins().jump(rich, &[]);
            self.builder.switch_to_block(rich);
        } else {
            self.builder.ins().trapnz(spent, compile::BUDGET);
        }
        self.builder.set_srcloc(SourceLoc::new(self.at as u32));
    }

    /// Where jumps back to an instruction land, if they do not ask themselves: traps if the budget is spent.
    fn land(&mut self, block: Block) {
        let Some(landing) = self.landings[self.at - self.function.start] else { return };
        self.builder.switch_to_block(landing);
        self.left = (self.builder.use_var(self.budget), 0);
        self.check_budget_for(0);
        self.builder.ins().jump(block, &[]);
    }

    /// Whether a `may_goto` jumps: when the function has met enough of them. Else it is one more.
    fn may_go(&mut self) -> Value {
        let left = self.builder.use_var(self.may_go);
        let more = self.builder.ins().icmp_imm_s(IntCC::NotEqual, left, 0);
        let one = self.builder.ins().uextend(I64, more);
        let less = self.builder.ins().isub(left, one);
        self.builder.def_var(self.may_go, less);
        self.builder.ins().icmp_imm_s(IntCC::Equal, left, 0)
    }

    /// Whether a conditional jump is taken.
    fn condition(&mut self, instruction: Instruction) -> Value {
        let narrow = instruction.class() == opcode::JMP32;
        let left = self.get(instruction.dst);
        let right = match instruction.opcode & opcode::X {
            // Cranelift's constants are zero-extended.
            0 if narrow => self.builder.ins().iconst(I32, i64::from(instruction.imm as u32)),
            0 => self.builder.ins().iconst(I64, i64::from(instruction.imm)),
            _ => {
                let right = self.get(instruction.src);
                if narrow { self.builder.ins().ireduce(I32, right) } else { right }
            }
        };
        let left = if narrow { self.builder.ins().ireduce(I32, left) } else { left };
        let comparison = match instruction.opcode & opcode::OPERATION {
            opcode::JEQ => IntCC::Equal,
            opcode::JGT => IntCC::UnsignedGreaterThan,
            opcode::JGE => IntCC::UnsignedGreaterThanOrEqual,
            opcode::JSGT => IntCC::SignedGreaterThan,
            opcode::JSGE => IntCC::SignedGreaterThanOrEqual,
            opcode::JLT => IntCC::UnsignedLessThan,
            opcode::JLE => IntCC::UnsignedLessThanOrEqual,
            opcode::JSLT => IntCC::SignedLessThan,
            opcode::JSLE => IntCC::SignedLessThanOrEqual,
            opcode::JSET => {
                let both = self.builder.ins().band(left, right);
                return self.builder.ins().icmp_imm_s(IntCC::NotEqual, both, 0);
            }
            _ => IntCC::NotEqual,
        };
        self.builder.ins().icmp(comparison, left, right)
    }

    /// Returns from the function.
    pub(super) fn leave(&mut self, value: Value) {
        self.store_budget();
        self.builder.ins().return_(&[value]);
    }

    /// Notes the budget in the run, where others go on with it.
    pub(super) fn store_budget(&mut self) {
        let left = self.left();
        self.builder.ins().store(state(), left, self.run, offsets::BUDGET);
    }

    /// Takes the budget up again.
    pub(super) fn load_budget(&mut self) {
        let left = self.builder.ins().load(I64, state(), self.run, offsets::BUDGET);
        self.left = (left, 0);
    }
}

/// The stack's top is a constant, so that frames can be told from it.
pub(super) const LOWEST_FRAME: u64 =
    STACK_TOP - crate::sandbox::cage::FRAME * (crate::sandbox::cage::FRAMES - 1);
