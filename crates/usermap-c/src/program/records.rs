//! What comes with a program about its functions and source lines: `struct bpf_func_info` and
//! `struct bpf_line_info`, checked as the kernel does it (`check_btf_info`).

use super::log::Log;
use crate::attr::{Attr, word};
use usermap::Result;
use usermap::abi::errno;
use usermap_vm::btf::{Btf, FunctionInfo, Kind, LineInfo};
use usermap_vm::instruction::Instruction;

/// `sizeof(struct bpf_func_info)`
pub(super) const FUNCTION_BYTES: usize = 8;
/// `sizeof(struct bpf_line_info)`
pub(super) const LINE_BYTES: usize = 16;
/// The longest record.
const LONGEST: u32 = 252;

/// Records of one kind, where the attribute has them: their length, and where that is.
struct Table {
    name: &'static str,
    size_at: usize,
    size: u32,
    address: u64,
    count: u32,
}

impl Table {
    /// All records, each cut down to the known bytes.
    fn read(&self, attr: &Attr, log: &mut Log, known: usize) -> Result<Vec<u8>> {
        if !(known as u32..=LONGEST).contains(&self.size) || !self.size.is_multiple_of(4) {
            log.line(&format!("invalid {} rec size {}", self.name, self.size));
            return Err(attr.invalid("records of a size that there cannot be"));
        }
        let mut all = Vec::new();
        for number in 0..u64::from(self.count) {
            let address = self.address.wrapping_add(number * u64::from(self.size));
            match attr.structure(address, known, self.size) {
                Ok(record) => all.extend(record),
                Err(error) => {
                    if error.errno() == errno::E2BIG {
                        log.line(&format!("nonzero tailing record in {}", self.name));
                        attr.put(self.size_at as u64, known as u32)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(all)
    }
}

/// The records of functions, as bytes; there may be none.
pub(super) fn functions(attr: &Attr, log: &mut Log, btf: &Btf) -> Result<Vec<u8>> {
    let (size, address, count) = (attr.u32(76), attr.u64(80), attr.u32(88));
    if count == 0 {
        return Ok(Vec::new());
    }
    let table = Table { name: "func info", size_at: 76, size, address, count };
    let bytes = table.read(attr, log, FUNCTION_BYTES)?;
    let mut before = None;
    for info in function_infos(&bytes) {
        let problem = match before {
            None if info.offset != 0 => {
                format!("nonzero insn_off {} for the first func info record", info.offset)
            }
            Some(before) if info.offset <= before => format!(
                "same or smaller insn offset ({}) than previous func info record ({before})",
                info.offset
            ),
            _ if !matches!(btf.kind(info.type_id), Some(Kind::Function { .. })) => {
                format!("invalid type id {} in func info", info.type_id)
            }
            _ => {
                before = Some(info.offset);
                continue;
            }
        };
        log.line(&problem);
        return Err(attr.invalid("records of functions make no sense"));
    }
    Ok(bytes)
}

/// Whether records of functions agree with where the program's functions start.
pub(super) fn check_starts(
    attr: &Attr,
    log: &mut Log,
    infos: &[FunctionInfo],
    starts: &[usize],
) -> Result<()> {
    if infos.is_empty() {
        return Ok(());
    }
    let problem = if infos.len() != starts.len() {
        "number of funcs in func_info doesn't match number of subprogs"
    } else if infos.iter().zip(starts).any(|(info, start)| info.offset as usize != *start) {
        "func_info BTF section doesn't match subprog layout in BPF program"
    } else {
        return Ok(());
    };
    log.line(problem);
    Err(attr.invalid("records of functions do not fit the program"))
}

/// The records of source lines, as bytes; there may be none.
pub(super) fn lines(
    attr: &Attr,
    log: &mut Log,
    btf: &Btf,
    instructions: &[Instruction],
    starts: &[usize],
) -> Result<Vec<u8>> {
    let (size, address, count) = (attr.u32(92), attr.u64(96), attr.u32(104));
    if count == 0 {
        return Ok(Vec::new());
    }
    if count > i32::MAX as u32 / LINE_BYTES as u32 {
        return Err(attr.invalid("too many lines"));
    }
    let table = Table { name: "line_info", size_at: 92, size, address, count };
    let bytes = table.read(attr, log, LINE_BYTES)?;
    let infos = line_infos(&bytes);
    let mut refuse = |problem: String| {
        log.line(&problem);
        Err(attr.invalid("records of lines make no sense"))
    };
    let mut before = None;
    let mut starts = starts.iter().enumerate().peekable();
    for (number, info) in infos.iter().enumerate() {
        let at = info.offset as usize;
        if before.is_some_and(|before| info.offset <= before) || at >= instructions.len() {
            return refuse(format!(
                "Invalid line_info[{number}].insn_off:{at} (prev_offset:{} prog->len:{})",
                before.unwrap_or(0),
                instructions.len()
            ));
        }
        if instructions[at].opcode == 0 {
            return refuse(format!("Invalid insn code at line_info[{number}].insn_off"));
        }
        if [info.text, info.file].iter().any(|offset| !btf.has_string(*offset)) {
            return refuse(format!("Invalid line_info[{number}].line_off or .file_name_off"));
        }
        match starts.peek() {
            Some((_, start)) if **start == at => _ = starts.next(),
            Some((function, start)) if **start < at => {
                return refuse(format!("missing bpf_line_info for func#{function}"));
            }
            _ => {}
        }
        before = Some(info.offset);
    }
    match starts.next() {
        Some((function, _)) => refuse(format!("missing bpf_line_info for func#{function}")),
        None => Ok(bytes),
    }
}

/// Records of functions from their bytes.
pub(super) fn function_infos(bytes: &[u8]) -> Vec<FunctionInfo> {
    let records = bytes.chunks_exact(FUNCTION_BYTES);
    records.map(|one| FunctionInfo { offset: word(one, 0), type_id: word(one, 4) }).collect()
}

/// Records of lines from their bytes.
pub(super) fn line_infos(bytes: &[u8]) -> Vec<LineInfo> {
    let records = bytes.chunks_exact(LINE_BYTES);
    let line = |one: &[u8]| LineInfo {
        offset: word(one, 0),
        file: word(one, 4),
        text: word(one, 8),
        line: word(one, 12) >> 10,
        column: word(one, 12) & 0x3ff,
    };
    records.map(line).collect()
}
