//! The same programs in the real kernel: its results, its text of instructions, and what it
//! refuses for the program's shape.

use crate::assembler::*;
use crate::bpf;
use crate::case::Case;
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use usermap_vm::bare::Options;
use usermap_vm::instruction::Instruction;
use usermap_vm::{Code, Error, disassemble};

/// Whether there is a kernel that takes programs.
fn kernel() -> bool {
    match bpf::load(&[mov_imm(0, 0), exit()], false) {
        Ok(_) => true,
        Err(refused) => {
            let line = format!("skipped: bpf(2) loads no programs here ({})", refused.error);
            assert!(std::env::var_os("USERMAP_REQUIRE_KERNEL").is_none(), "{line}");
            eprintln!("{line}");
            false
        }
    }
}

/// How many instructions there are before the case's own.
const BEFORE: usize = 6;

/// A case as a function of a program whose context is the memory, and after it 8 bytes for r0.
fn wrapped(case: &Case) -> Vec<Instruction> {
    let length = case.memory.len() as i32;
    let address = if length == 0 { mov_imm(1, 0) } else { mov(1, 6) };
    let result = store(DW, 6, place(case) as i16, 0);
    let main = [mov(6, 1), mov_imm(2, length), address, call_local(2), result, exit()];
    let mut program = main.to_vec();
    // r0 of a program is to be a number that is known to be one.
    program[BEFORE - 1] = mov_imm(0, 0);
    program.push(exit());
    program[3] = call_local(3);
    program.extend(&case.instructions);
    program
}

/// Where r0 is put: at a multiple of 8.
fn place(case: &Case) -> usize {
    case.memory.len().next_multiple_of(8)
}

#[test]
fn the_kernel_has_the_same_results() {
    if !kernel() {
        return;
    }
    let (mut same, mut refused) = (0, BTreeMap::<String, usize>::new());
    for case in crate::all() {
        let program = match bpf::load(&wrapped(&case), false) {
            Ok(program) => program,
            Err(refusal) => {
                *refused.entry(reason(&refusal.log)).or_default() += 1;
                continue;
            }
        };
        let mut context = case.memory.clone();
        context.resize(place(&case) + 8, 0);
        program.run(&mut context).unwrap();
        let (memory, value) = context.split_at(place(&case));
        let value = u64::from_le_bytes(value.try_into().unwrap());
        assert_eq!(value, case.expected, "{}", case.name);
        let expected = case.after.as_ref().unwrap_or(&case.memory);
        assert_eq!(&memory[..case.memory.len()], expected, "{}", case.name);
        same += 1;
    }
    println!("{same} results are the kernel's; it refused {refused:?}");
    assert!(same > 1000, "only {same}; refused: {refused:?}");
}

/// What the verifier said in the end, without what it has of numbers.
fn reason(log: &str) -> String {
    let mut lines = log.lines().rev().filter(|line| !line.starts_with("processed "));
    let line = lines.next().unwrap_or("nothing");
    line.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

#[test]
fn the_kernel_writes_the_same_text() {
    if !kernel() {
        return;
    }
    let mut compared = BTreeMap::<u8, usize>::new();
    for case in crate::all() {
        let instructions = wrapped(&case);
        let log = match bpf::load(&instructions, true) {
            Ok(loaded) => loaded.log,
            Err(refused) => refused.log,
        };
        let code = Code { instructions, ..Code::default() };
        for (number, expected) in log.lines().filter_map(listed) {
            let text = disassemble::instruction(&code, number, &[], |_| None);
            assert_eq!(text, expected, "instruction {number} of {}", case.name);
            *compared.entry(code.instructions[number].opcode).or_default() += 1;
        }
    }
    let missing: Vec<u8> = opcodes().filter(|opcode| !compared.contains_key(opcode)).collect();
    assert!(missing.is_empty(), "{missing:02x?}");
}

/// The instruction of a line of the verifier's, such as `3: (b7) r0 = 0   ; R0_w=0`.
fn listed(line: &str) -> Option<(usize, &str)> {
    let (number, rest) = line.split_once(": ")?;
    let text = rest.split("  ; ").next()?.trim_end();
    text.starts_with('(').then_some((number.parse().ok()?, text))
}

/// What the kernel says of programs whose shape is wrong.
const SHAPES: &[&str] = &[
    "reserved field",
    "invalid may_goto",
    "invalid BPF_",
    "unknown opcode",
    "unknown alu",
    "invalid opcode",
    "out of range",
    "is invalid",
    "frame pointer is read only",
    "invalid atomic operand",
    "atomic instruction size",
    "invalid bpf_ld_imm64",
    "unrecognized bpf_ld_imm64",
    "invalid src register in",
    "last insn is not an exit or jmp",
    "insn jumps into middle of ldimm64",
    "jump into the middle",
    "invalid destination",
];

/// What is only refused for immediates that the standard allows.
const BEYOND: &[&str] = &["div by zero", "invalid shift"];

#[test]
fn the_kernel_refuses_the_same_shapes() {
    if !kernel() {
        return;
    }
    let mut random = Random(0x5eed_1234_abcd_0001);
    let (mut taken, mut shapes, mut others) = (0, 0, 0);
    for _ in 0..6000 {
        let program = odd(&mut random);
        let ours = Options::new().load(program.clone());
        let text = || format!("{program:02x?}");
        match bpf::load(&program, false) {
            Ok(_) => {
                let fine = matches!(&ours, Ok(_) | Err(Error::Unsupported { .. }));
                assert!(fine, "{}: the kernel takes {}", ours.err().unwrap(), text());
                taken += 1;
            }
            Err(refused) if BEYOND.iter().any(|known| refused.log.contains(known)) => {}
            Err(refused) if SHAPES.iter().any(|known| refused.log.contains(known)) => {
                assert!(ours.is_err(), "{} of {}", refused.log, text());
                shapes += 1;
            }
            Err(_) => others += 1,
        }
    }
    println!("the kernel took {taken}, refused {shapes} for their shape and {others} otherwise");
    assert!(taken > 100 && shapes > 1000);
}

/// A call of a helper on a map, in the way in which it is called.
fn call_on(map: i32, helper: u32) -> Vec<Instruction> {
    let key_or_value = [mov(2, 10), op_imm(Bits::All, ADD, 2, -8)];
    let third = match helper {
        2 => vec![mov(3, 10), op_imm(Bits::All, ADD, 3, -16)],
        _ => vec![mov_imm(3, 0)],
    };
    [
        vec![store_imm(DW, 10, -8, 0), store_imm(DW, 10, -16, 0)],
        vec![raw(0x18, 1, 1, 0, map), raw(0, 0, 0, 0, 0)],
        key_or_value.to_vec(),
        third,
        vec![mov_imm(4, 0), raw(0x85, 0, 0, 0, helper as i32), mov_imm(0, 0), exit()],
    ]
    .concat()
}

#[test]
fn the_kernel_has_the_same_errno_for_helpers_on_wrong_maps() {
    if !kernel() {
        return;
    }
    let (mut taken, mut refused) = (0, BTreeMap::<i32, usize>::new());
    let mut differ = Vec::new();
    for kind in [1, 2, 5, 6, 22, 23] {
        let key_size = if kind > 20 { 0 } else { 4 };
        for flags in [0, 1 << 7, 1 << 8] {
            let theirs = bpf::map([kind, key_size, 8, 4, flags]).expect("a map");
            let kind = usermap::MapType::from_id(kind).expect("a kind");
            let spec = usermap::Spec::new(kind, key_size, 8, 4).flags(flags);
            let ours = usermap::Map::create(&spec).expect("a map");
            for helper in [1, 2, 3, 87, 88, 89, 195] {
                let kernels = bpf::load(&call_on(theirs.as_raw_fd(), helper), false);
                let kernels = kernels.err().map(|refused| refused.error.raw_os_error().unwrap());
                let mut options = Options::new();
                let error = options.map("map", ours.clone()).load(call_on(0, helper)).err();
                let errno = error.as_ref().map(Error::errno);
                if errno != kernels {
                    differ.push(format!(
                        "helper {helper}, {kind}, {flags:#x}: {kernels:?}, {error:?}"
                    ));
                }
                match kernels {
                    Some(errno) => *refused.entry(errno).or_default() += 1,
                    None => taken += 1,
                }
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    println!("the kernel took {taken}, and refused {refused:?}");
    assert!(taken > 20 && refused.len() > 1);
}

/// Random numbers, always the same.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A program that is fine but for one instruction, which may have anything.
fn odd(random: &mut Random) -> Vec<Instruction> {
    let mut program: Vec<_> = (0..10).map(|register| mov_imm(register, 1)).collect();
    program.push(store_imm(DW, 10, -8, 1));
    let opcodes: Vec<u8> = opcodes().collect();
    let opcode = match random.below(4) {
        0 => random.next() as u8,
        _ => random.one_of(&opcodes),
    };
    let pointer = random.below(2) == 0;
    let mut register = || match random.below(12) {
        0 => random.below(16) as u8,
        1 | 2 => 0,
        _ if pointer => 10,
        _ => random.below(10) as u8,
    };
    let (dst, src) = (register(), register());
    let offset = random.one_of(&[0, 0, 0, 1, 2, -8, -8, 8, 16, 32, 30]);
    let imm = random.one_of(&[0, 0, 1, 7, 16, 64, -1, 0x41, 0xe1, 0xf1, 0x100, 0x110]);
    // Of most, what must be zero is.
    let src = if random.below(2) == 0 { src } else { 0 };
    let imm = if random.below(3) > 0 { imm } else { 0 };
    program.push(raw(opcode, dst, src, offset, imm));
    if opcode == 0x18 && random.below(4) > 0 {
        program.push(raw(0, 0, 0, random.one_of(&[0, 0, 0, 1]), random.one_of(&[0, 5])));
    }
    if random.below(10) > 0 {
        program.extend([mov_imm(0, 0), mov_imm(0, 0), mov_imm(0, 0), exit()]);
    }
    program
}
