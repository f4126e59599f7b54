//! Text of instructions, as the kernel's verifier and `bpftool prog dump xlated` write it.

use crate::blocks;
use crate::code::{Code, Line};
use crate::helper_names;
use crate::instruction::{Instruction, opcode, pseudo};
use std::fmt::Write;

/// An instruction's text, and what goes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'c> {
    /// The instruction's number.
    pub instruction: usize,
    /// The name of the function that starts here, if one does.
    pub function: Option<&'c str>,
    /// The source line that starts here, if one does.
    pub line: Option<&'c Line>,
    /// The instruction, such as `(b7) r0 = 0`.
    pub text: String,
}

/// All of a program's instructions as text, one at a time; a 64-bit load is one.
///
/// `map_names` has the names of the object's maps; `helper_name` gives those of helpers that the
/// kernel does not have.
pub fn entries<'c, 'n>(
    code: &'c Code,
    map_names: &'c [&'c str],
    helper_name: impl Fn(u32) -> Option<&'n str> + 'c,
) -> impl Iterator<Item = Entry<'c>> + 'c {
    let mut lines = code.lines.iter().peekable();
    let mut functions = code.functions.iter().peekable();
    blocks::Steps::of(code).map(move |(number, _)| {
        let mut line = None;
        while let Some(next) = lines.next_if(|line| line.instruction <= number) {
            line = Some(next).filter(|line| line.instruction == number);
        }
        let mut function = None;
        while let Some(next) = functions.next_if(|function| function.start <= number) {
            function = Some(next.name.as_str());
        }
        let text = instruction(code, number, map_names, &helper_name);
        Entry { instruction: number, function, line, text }
    })
}

/// A program as text: functions, source lines, instructions.
///
/// ```
/// use usermap_vm::{Code, Function, disassemble, instruction::Instruction};
/// let code = Code {
///     instructions: vec![
///         Instruction::from_bytes([0xb7, 0, 0, 0, 2, 0, 0, 0]),
///         Instruction::from_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]),
///     ],
///     functions: vec![Function { name: "pass".into(), start: 0 }],
///     ..Code::default()
/// };
/// let text = disassemble::disassemble(&code, &[], |_| None);
/// assert_eq!(text, "pass:\n   0: (b7) r0 = 2\n   1: (95) exit\n");
/// ```
pub fn disassemble<'n>(
    code: &Code,
    map_names: &[&str],
    helper_name: impl Fn(u32) -> Option<&'n str>,
) -> String {
    let mut text = String::new();
    for entry in entries(code, map_names, helper_name) {
        // Writing to a string cannot fail.
        if let Some(name) = entry.function {
            let _ = writeln!(text, "{name}:");
        }
        if let Some(line) = entry.line.filter(|line| !line.text.is_empty()) {
            let _ = writeln!(text, "; {}", line.text);
        }
        let _ = writeln!(text, "{:4}: {}", entry.instruction, entry.text);
    }
    text
}

/// An instruction of a program as text, such as `(b7) r0 = 0`; of a number that is none,
/// `(none)`.
pub fn instruction<'n>(
    code: &Code,
    number: usize,
    map_names: &[&str],
    helper_name: impl Fn(u32) -> Option<&'n str>,
) -> String {
    let Some(instruction) = code.instructions.get(number) else { return "(none)".to_owned() };
    let text = match instruction.class() {
        opcode::ALU | opcode::ALU64 => arithmetic(instruction),
        opcode::JMP | opcode::JMP32 => match instruction.opcode & opcode::OPERATION {
            opcode::CALL => call(code, number, instruction, helper_name),
            _ => jump(instruction),
        },
        opcode::LDX => load(instruction),
        opcode::ST | opcode::STX => store(instruction),
        _ => wide(code, number, instruction, map_names),
    };
    let code = instruction.opcode;
    text.map_or_else(|| format!("BUG_{code:02x}"), |text| format!("({code:02x}) {text}"))
}

fn is_register(instruction: &Instruction) -> bool {
    instruction.opcode & opcode::X != 0
}

fn arithmetic(instruction: &Instruction) -> Option<String> {
    let Instruction { dst, src, offset, imm, .. } = *instruction;
    let wide = instruction.class() == opcode::ALU64;
    let letter = if wide { 'r' } else { 'w' };
    let operation = instruction.opcode & opcode::OPERATION;
    let symbol = match operation {
        opcode::END if wide => return Some(format!("r{dst} = bswap{imm} r{dst}")),
        opcode::END => {
            let order = if is_register(instruction) { "be" } else { "le" };
            return Some(format!("r{dst} = {order}{imm} r{dst}"));
        }
        opcode::NEG => return Some(format!("{letter}{dst} = -{letter}{dst}")),
        opcode::DIV if offset == 1 => "s/=",
        opcode::MOD if offset == 1 => "s%=",
        _ => arithmetic_symbol(operation)?,
    };
    let from = match offset {
        _ if operation != opcode::MOV => "",
        8 => "(s8)",
        16 => "(s16)",
        32 => "(s32)",
        _ => "",
    };
    Some(match is_register(instruction) {
        true => format!("{letter}{dst} {symbol} {from}{letter}{src}"),
        false => format!("{letter}{dst} {symbol} {imm}"),
    })
}

fn arithmetic_symbol(operation: u8) -> Option<&'static str> {
    Some(match operation {
        opcode::ADD => "+=",
        opcode::SUB => "-=",
        opcode::MUL => "*=",
        opcode::DIV => "/=",
        opcode::OR => "|=",
        opcode::AND => "&=",
        opcode::LSH => "<<=",
        opcode::RSH => ">>=",
        opcode::MOD => "%=",
        opcode::XOR => "^=",
        opcode::MOV => "=",
        opcode::ARSH => "s>>=",
        _ => return None,
    })
}

fn call<'n>(
    code: &Code,
    number: usize,
    instruction: &Instruction,
    helper_name: impl Fn(u32) -> Option<&'n str>,
) -> Option<String> {
    let id = instruction.imm;
    if is_register(instruction) {
        return Some(format!("callx r{}", instruction.dst));
    }
    Some(match instruction.src {
        pseudo::CALL => match function_at(code, blocks::relative(number, id.into())) {
            Some(name) => format!("call pc{id:+}#{name}"),
            None => format!("call pc{id:+}"),
        },
        2 => format!("call kernel-function#{id}"),
        _ => {
            let name = helper_name(id as u32).or_else(|| helper_names::name(id as u32));
            match name {
                Some(name) => format!("call {name}#{id}"),
                None => format!("call unknown#{id}"),
            }
        }
    })
}

fn function_at(code: &Code, start: Option<usize>) -> Option<&str> {
    let found = code.functions.binary_search_by_key(&start?, |function| function.start).ok()?;
    Some(code.functions[found].name.as_str()).filter(|name| !name.is_empty())
}

fn jump(instruction: &Instruction) -> Option<String> {
    let Instruction { dst, src, offset, imm, .. } = *instruction;
    let wide = instruction.class() == opcode::JMP;
    let letter = if wide { 'r' } else { 'w' };
    let symbol = match instruction.opcode & opcode::OPERATION {
        opcode::EXIT => return Some("exit".to_owned()),
        opcode::JA if is_register(instruction) => return Some(format!("gotox r{dst}")),
        opcode::JA if wide => return Some(format!("goto pc{offset:+}")),
        opcode::JA => return Some(format!("gotol pc{imm:+}")),
        0xe0 => return Some(format!("may_goto pc{offset:+}")),
        opcode::JEQ => "==",
        opcode::JGT => ">",
        opcode::JLT => "<",
        opcode::JGE => ">=",
        opcode::JLE => "<=",
        opcode::JSET => "&",
        opcode::JNE => "!=",
        opcode::JSGT => "s>",
        opcode::JSLT => "s<",
        opcode::JSGE => "s>=",
        opcode::JSLE => "s<=",
        _ => return None,
    };
    Some(match is_register(instruction) {
        true => format!("if {letter}{dst} {symbol} {letter}{src} goto pc{offset:+}"),
        false => format!("if {letter}{dst} {symbol} {imm:#x} goto pc{offset:+}"),
    })
}

/// The type of what is in memory: `u` or `s`, and its bits.
fn memory(instruction: &Instruction, sign: char, base: u8) -> String {
    let bits = instruction.width() * 8;
    format!("*({sign}{bits} *)(r{base} {:+})", instruction.offset)
}

/// The same for what takes an address.
fn address(instruction: &Instruction, base: u8) -> String {
    memory(instruction, 'u', base).split_off(1)
}

fn load(instruction: &Instruction) -> Option<String> {
    let sign = match instruction.opcode & opcode::MODE {
        opcode::MEM => 'u',
        opcode::MEMSX => 's',
        _ => return None,
    };
    Some(format!("r{} = {}", instruction.dst, memory(instruction, sign, instruction.src)))
}

fn store(instruction: &Instruction) -> Option<String> {
    let Instruction { dst, src, imm, .. } = *instruction;
    let at = memory(instruction, 'u', dst);
    match (instruction.class(), instruction.opcode & opcode::MODE) {
        (opcode::ST, opcode::MEM) => Some(format!("{at} = {imm}")),
        (opcode::ST, opcode::ATOMIC) => Some("nospec".to_owned()),
        (opcode::STX, opcode::MEM) => Some(format!("{at} = r{src}")),
        (opcode::STX, opcode::ATOMIC) => atomic(instruction),
        _ => None,
    }
}

fn atomic(instruction: &Instruction) -> Option<String> {
    let Instruction { dst, src, imm, .. } = *instruction;
    let at = address(instruction, dst);
    let wide = if instruction.width() == 8 { "64" } else { "" };
    let operation = (imm & !opcode::FETCH) as u8;
    Some(match imm {
        opcode::LOAD_ACQ => format!("r{dst} = load_acquire({})", address(instruction, src)),
        opcode::STORE_REL => format!("store_release({at}, r{src})"),
        opcode::XCHG => format!("r{src} = atomic{wide}_xchg({at}, r{src})"),
        opcode::CMPXCHG => format!("r0 = atomic{wide}_cmpxchg({at}, r0, r{src})"),
        _ if imm & !0xff != 0 => return None,
        _ if imm & opcode::FETCH == 0 => {
            format!("lock *{at} {} r{src}", arithmetic_symbol(operation)?)
        }
        _ => {
            let name = match operation {
                opcode::ADD => "add",
                opcode::OR => "or",
                opcode::AND => "and",
                opcode::XOR => "xor",
                _ => return None,
            };
            format!("r{src} = atomic{wide}_fetch_{name}({at}, r{src})")
        }
    })
}

fn wide(
    code: &Code,
    number: usize,
    instruction: &Instruction,
    map_names: &[&str],
) -> Option<String> {
    let Instruction { dst, src, imm, .. } = *instruction;
    let bits = instruction.width() * 8;
    match instruction.opcode & opcode::MODE {
        opcode::ABS => return Some(format!("r0 = *(u{bits} *)skb[{imm}]")),
        opcode::IND => return Some(format!("r0 = *(u{bits} *)skb[r{src} + {imm}]")),
        _ if !instruction.is_wide() => return None,
        _ => {}
    }
    let high = code.instructions.get(number + 1).map_or(0, |second| second.imm as u32);
    let map = || {
        let name = usize::try_from(imm).ok().and_then(|index| map_names.get(index));
        name.map_or_else(|| format!("map[{imm}]"), |name| format!("map[name:{name}]"))
    };
    Some(match src {
        pseudo::MAP => format!("r{dst} = {}", map()),
        pseudo::MAP_VALUE => format!("r{dst} = {}[0]+{high}", map()),
        pseudo::FUNCTION => match function_at(code, blocks::relative(number, imm.into())) {
            Some(name) => format!("r{dst} = subprog[{imm:+}]#{name}"),
            None => format!("r{dst} = subprog[{imm:+}]"),
        },
        _ => format!("r{dst} = {:#x}", u64::from(high) << 32 | u64::from(imm as u32)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Function;

    fn line(instruction: usize, text: &str) -> Line {
        Line { instruction, file: "a.c".into(), line: 1, column: 1, text: text.into() }
    }

    #[test]
    fn functions_lines_maps_and_helpers() {
        let instructions = [
            [0x18, 0x11, 0, 0, 0, 0, 0, 0],
            [0; 8],
            [0x18, 0x22, 0, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 8, 0, 0, 0],
            [0x85, 0, 0, 0, 1, 0, 0, 0],
            [0x85, 0, 0, 0, 1, 0, 0x4d, 0x55],
            [0x85, 0x10, 0, 0, 1, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
            [0x18, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [0, 0, 0, 0, 1, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        let function = |name: &str, start| Function { name: name.into(), start };
        let code = Code {
            instructions: instructions.map(Instruction::from_bytes).to_vec(),
            functions: vec![function("count", 0), function("wide", 8)],
            lines: vec![line(0, "int count() {"), line(4, "find();"), line(8, "return 1;")],
            ..Code::default()
        };
        let name = |id| (id == 0x554d_0001).then_some("bpf_map_inc");
        let expected = "\
count:
; int count() {
   0: (18) r1 = map[name:flows]
   2: (18) r2 = map[1][0]+8
; find();
   4: (85) call bpf_map_lookup_elem#1
   5: (85) call bpf_map_inc#1431109633
   6: (85) call pc+1#wide
   7: (95) exit
wide:
; return 1;
   8: (18) r0 = 0x1ffffffff
  10: (95) exit
";
        assert_eq!(disassemble(&code, &["flows"], name), expected);
    }

    #[test]
    fn every_opcode_has_text_and_nothing_panics() {
        for opcode in 0..=u8::MAX {
            for bytes in [[0; 7], [0xff; 7], [0x21, 0, 0x80, 0, 0, 0, 0x80]] {
                let [a, b, c, d, e, f, g] = bytes;
                let odd = Instruction::from_bytes([opcode, a, b, c, d, e, f, g]);
                let code = Code { instructions: vec![odd], ..Code::default() };
                let text = instruction(&code, 0, &[], |_| None);
                let known = text.starts_with(&format!("({opcode:02x}) "));
                assert!(known || text == format!("BUG_{opcode:02x}"), "{text}");
            }
        }
    }
}
