//! `BPF_PROG_LOAD`: what is checked, in the kernel's order (`bpf_prog_load`, `bpf_check`).
//!
//! struct { u32 prog_type, insn_cnt; u64 insns, license; u32 log_level, log_size; u64 log_buf; u32
//! kern_version, prog_flags; char prog_name[16]; u32 prog_ifindex, expected_attach_type, prog_btf_fd,
//! func_info_rec_size; u64 func_info; u32 func_info_cnt, line_info_rec_size; u64 line_info; u32
//! line_info_cnt, attach_btf_id, attach_prog_fd, core_relo_cnt; u64 fd_array, core_relos; u32
//! core_relo_rec_size, log_true_size; s32 prog_token_fd; u32 fd_array_cnt; u64 signature; u32
//! signature_size; s32 keyring_id; }

use super::file::{Source, options};
use super::log::Log;
use super::{Program, install, license, records};
use crate::attr::Attr;
use crate::descriptor::{self, Object};
use crate::fd_array::FdArray;
use crate::seam;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use usermap::abi::{command, errno};
use usermap::command::BadFd;
use usermap::{Map, Result};
use usermap_vm::btf::Btf;
use usermap_vm::instruction::{Instruction, opcode, pseudo};
use usermap_vm::{Error, MapReference, ProgramType, Raw, helper_name, rename_maps};

/// Instructions that a program may have (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MOST_INSTRUCTIONS: u32 = 1_000_000;
/// The last type of programs that there is, `BPF_PROG_TYPE_NETFILTER`.
const LAST_TYPE: u32 = 32;

/// `BPF_PSEUDO_MAP_IDX`
const MAP_INDEX: u8 = 5;

/// `prog_flags`
mod flag {
    pub(super) const SLEEPABLE: u32 = 1 << 4;
    pub(super) const TOKEN_FD: u32 = 1 << 16;
    /// Those, the ones that say how the verifier goes about it, and two of XDP programs.
    pub(super) const ALL: u32 = 0xff | TOKEN_FD;
}

/// The command.
pub(super) fn load(attr: &Attr) -> Result<i32> {
    let program_type = check(attr)?;
    let count = attr.u32(4) as usize;
    let bytes = attr.bytes_in(attr.u64(8), count * 8)?;
    let instructions = bytes.as_chunks::<8>().0;
    let instructions = instructions.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect();
    let license = attr.string(attr.u64(16), 127)?;
    if attr.u64(152) != 0 || attr.u32(160) != 0 {
        return Err(attr.error("signatures are not checked here", libc::EOPNOTSUPP));
    }
    if attr.u32(64) != 0 {
        let rule = "programs are bound to no network device here";
        return Err(attr.error(rule, libc::EOPNOTSUPP));
    }
    let program_type =
        program_type.ok_or_else(|| attr.invalid("programs of this type cannot be run here"))?;
    let source = Source {
        program_type: program_type.number(),
        attach_type: attr.u32(68),
        gpl_compatible: license::is_gpl_compatible(&license),
        uid: rustix::process::getuid().as_raw(),
        load_time: boot_time(),
        name: name(attr)?,
        instructions,
        ..Source::default()
    };
    let mut log = Log::new(attr)?;
    let checked = verify(attr, &mut log, source);
    if let (Ok(_), count) = (&checked, count) {
        log.line(&format!(
            "processed {count} insns (limit {MOST_INSTRUCTIONS}) max_states_per_insn 0 total_states 0 \
             peak_states 0 mark_read 0"
        ));
    }
    if checked.is_err() {
        seam::tell(log.text());
    }
    log.finish(attr)?;
    let program = checked?;
    install(command::PROG_LOAD, program)
}

/// What is looked at before the program is; gives its type, if it is one that can be run here.
fn check(attr: &Attr) -> Result<Option<ProgramType>> {
    let (number, count, flags) = (attr.u32(0), attr.u32(4), attr.u32(44));
    if flags & !flag::ALL != 0 {
        return Err(attr.invalid("there are no such prog_flags"));
    }
    if flags & flag::TOKEN_FD != 0 {
        let token = descriptor::get(attr.u32(144) as i32);
        let errno = token.err().map_or(errno::EINVAL, BadFd::errno);
        return Err(attr.error("there are no tokens", errno));
    }
    if count == 0 || count > MOST_INSTRUCTIONS {
        return Err(attr.error("a program has 1 to 1000000 instructions", errno::E2BIG));
    }
    let (attach, target) = (attr.u32(68), (attr.u32(108), attr.u32(112)));
    if target != (0, 0) {
        return Err(attr.invalid("programs are attached to nothing of the kernel's here"));
    }
    let program_type = ProgramType::from_number(number).filter(|_| number <= LAST_TYPE);
    let most = match program_type {
        Some(ProgramType::CgroupSkb) => 1,
        Some(ProgramType::Syscall) => 0,
        _ => u32::MAX,
    };
    match attach <= most {
        true => Ok(program_type),
        false => Err(attr.invalid("programs of this type have no such expected_attach_type")),
    }
}

/// `bpf_obj_name_cpy`
fn name(attr: &Attr) -> Result<[u8; 16]> {
    let mut name: [u8; 16] = attr.array(48);
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let length = name.iter().position(|byte| !known(byte));
    match length.filter(|length| name[*length] == 0) {
        Some(length) => {
            name[length..].fill(0);
            Ok(name)
        }
        None => Err(attr.invalid("a name is of at most 15 letters, digits, _ and .")),
    }
}

/// Nanoseconds since the machine was started.
fn boot_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What the kernel leaves to its verifier.
fn verify(attr: &Attr, log: &mut Log, mut source: Source) -> Result<Program> {
    let mut maps = Maps::default();
    maps.add_all(attr, log)?;
    let flags = attr.u32(44);
    let btf = types(attr)?;
    if let Some((id, bytes, btf)) = &btf {
        (source.btf_id, source.btf) = (*id, bytes.clone());
        source.functions = records::functions(attr, log, btf)?;
    }
    let program_type = ProgramType::from_number(source.program_type).unwrap_or_default();
    let starts = Raw::new(program_type, "", source.instructions.clone()).function_starts();
    if let Some((_, _, btf)) = &btf {
        records::check_starts(attr, log, &records::function_infos(&source.functions), &starts)?;
        source.lines = records::lines(attr, log, btf, &source.instructions, &starts)?;
    }
    if btf.is_some() && attr.u32(116) != 0 {
        log.line("CO-RE relocations are done by the loader here");
        return Err(attr.invalid("CO-RE relocations"));
    }
    source.tag = tag(&source.instructions);
    maps.resolve(attr, log, &mut source.instructions)?;
    let refuse = |log: &mut Log, line: &str| {
        log.line(line);
        Err(attr.invalid("a sleepable program"))
    };
    match (program_type, flags & flag::SLEEPABLE != 0) {
        (ProgramType::Syscall, false) => {
            return refuse(log, "Syscall programs can only be sleepable");
        }
        (ProgramType::Syscall | ProgramType::Kprobe, _) | (_, false) => {}
        _ => {
            return refuse(
                log,
                "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be \
                 sleepable",
            );
        }
    }
    let program = translate(attr, log, &source, &maps)?;
    if maps.arrays.iter().any(|array| !array.is_for(source.program_type)) {
        return Err(attr.invalid("an array of programs of another type"));
    }
    source.maps = maps.all.iter().map(|map| map.info().id).collect();
    let entered = Program::enter(source, maps.all, program);
    entered.map_err(|error| attr.error("making the program's file", error.raw_os_error()))
}

/// The program's types, if it has records that need them: their id, the BTF as bytes, and read.
fn types(attr: &Attr) -> Result<Option<(u32, Vec<u8>, Btf)>> {
    if attr.u32(88) == 0 && attr.u32(104) == 0 {
        return Ok(None);
    }
    match descriptor::get(attr.u32(72) as i32) {
        Ok(Object::Btf(object)) => {
            let btf = object.btf().clone();
            Ok(Some((object.id(), btf.bytes().to_vec(), btf)))
        }
        Err(BadFd::NotOpen) => Err(attr.error("prog_btf_fd is not open", errno::EBADF)),
        _ => Err(attr.invalid("prog_btf_fd is no BTF")),
    }
}

/// The maps of a program, each once, in the order in which they are named.
#[derive(Default)]
struct Maps {
    all: Vec<Map>,
    /// Those of them that hold programs or events.
    arrays: Vec<Arc<FdArray>>,
}

impl Maps {
    /// Adds what is behind a descriptor, if that is a map; gives its id.
    fn add_object(&mut self, object: Object) -> Result<u32, BadFd> {
        match object {
            Object::Map(map) => Ok(self.add(map)),
            Object::Array(array) => {
                self.arrays.push(array.clone());
                Ok(self.add(array.map().clone()))
            }
            _ => Err(BadFd::NotAMap),
        }
    }

    /// Adds a map; gives its id.
    fn add(&mut self, map: Map) -> u32 {
        let id = map.info().id;
        if self.all.iter().all(|known| known.info().id != id) {
            self.all.push(map);
        }
        id
    }

    /// The maps of `fd_array`, if its length was given.
    fn add_all(&mut self, attr: &Attr, log: &mut Log) -> Result<()> {
        for index in 0..u64::from(attr.u32(148)) {
            let fd = descriptor_at(attr, index)?;
            let added = match descriptor::get(fd) {
                Ok(Object::Btf(_)) => continue,
                found => found.and_then(|object| self.add_object(object)),
            };
            if let Err(bad) = added {
                log.line(&format!("fd {fd} is not pointing to valid bpf_map or btf"));
                return Err(attr.error("fd_array has a bad descriptor", bad.errno()));
            }
        }
        Ok(())
    }

    /// Finds the maps that instructions name, which then name them by their ids.
    fn resolve(
        &mut self,
        attr: &Attr,
        log: &mut Log,
        instructions: &mut [Instruction],
    ) -> Result<()> {
        let has_offset = |pair: &[Instruction]| {
            pair[0].is_wide() && matches!(pair[0].src, pseudo::MAP | MAP_INDEX) && pair[1].imm != 0
        };
        if instructions.windows(2).any(has_offset) {
            log.line("unrecognized bpf_ld_imm64 insn");
            return Err(attr.invalid("a map's address has no offset"));
        }
        let renamed = rename_maps(instructions, |reference| {
            let fd = match reference {
                MapReference::Descriptor(fd) => fd,
                MapReference::Index(_) if attr.u64(120) == 0 => {
                    log.line("fd_idx without fd_array is invalid");
                    return Err(attr.error("there is no fd_array", libc::EPROTO).into());
                }
                MapReference::Index(index) => descriptor_at(attr, index as u64)?,
            };
            let id = descriptor::get(fd).and_then(|object| self.add_object(object));
            let id = id.map_err(|bad| {
                log.line(&format!("fd {fd} is not pointing to valid bpf_map"));
                attr.error("an instruction names a bad descriptor", bad.errno())
            })?;
            Ok(id as i32)
        });
        renamed.map_err(|error| refusal(attr, error))
    }
}

/// A descriptor of `fd_array`.
fn descriptor_at(attr: &Attr, index: u64) -> Result<i32> {
    let mut fd = [0; 4];
    attr.copy_in(attr.u64(120).wrapping_add(index.wrapping_mul(4)), &mut fd)?;
    Ok(i32::from_ne_bytes(fd))
}

/// Checks the program and translates it; what is wrong with it is in the log.
fn translate(
    attr: &Attr,
    log: &mut Log,
    source: &Source,
    maps: &Maps,
) -> Result<usermap_vm::Program> {
    let known = |id| maps.all.iter().find(|map| map.info().id == id).cloned();
    let raw = source.raw(known).map_err(|error| refusal(attr, error))?;
    if let Some(helper) = gpl_helper(source) {
        log.line(&format!("call {}#{helper}", helper_name(helper).unwrap_or("unknown")));
        log.line("cannot call GPL-restricted function from non-GPL compatible program");
        return Err(attr.invalid("a helper for GPL-compatible programs only"));
    }
    raw.load(&options()).map_err(|error| {
        log.line(&error.to_string());
        // What loaders look for to tell which helpers there are.
        for helper in helpers(source).filter(|_| matches!(error, Error::Unsupported { .. })) {
            match helper_name(helper) {
                Some(name) if error.to_string().contains(name) => {
                    log.line(&format!("program of this type cannot use helper {name}#{helper}"))
                }
                None => log.line(&format!("invalid func unknown#{helper}")),
                _ => {}
            }
        }
        match error {
            Error::Object { .. } | Error::Refused { .. } if writes_frame_pointer(source) => {
                attr.error("frame pointer is read only", libc::EACCES)
            }
            error => refusal(attr, error),
        }
    })
}

/// Whether an instruction writes to r10.
fn writes_frame_pointer(source: &Source) -> bool {
    let writes = [opcode::LD, opcode::LDX, opcode::ALU, opcode::ALU64];
    let mut all = source.instructions.iter();
    all.any(|one| one.dst == 10 && writes.contains(&one.class()))
}

/// The helpers that a program calls.
fn helpers(source: &Source) -> impl Iterator<Item = u32> {
    let calls = source.instructions.iter().filter(|instruction| instruction.is_helper_call());
    calls.map(|call| call.imm as u32)
}

/// A helper that the program calls and may not, for its license.
fn gpl_helper(source: &Source) -> Option<u32> {
    helpers(source).find(|helper| !source.gpl_compatible && license::is_gpl_only(*helper))
}

/// The kernel has EINVAL for what there is not, too.
fn refusal(attr: &Attr, error: Error) -> usermap::Error {
    match error {
        Error::Map(error) => error,
        Error::Io { .. } | Error::Busy { .. } => attr.error("loading the program", error.errno()),
        Error::Refused { errno, .. } => {
            attr.error("the program was refused; its log says why", errno)
        }
        _ => attr.invalid("the program was refused; its log says why"),
    }
}

/// What tells programs apart that are not the same: of their instructions, without the maps
/// (`bpf_prog_calc_tag`).
fn tag(instructions: &[Instruction]) -> [u8; 8] {
    let mut hash = Sha256::new();
    let mut of_map = false;
    for instruction in instructions {
        let mut instruction = *instruction;
        let second = Instruction { imm: instruction.imm, ..Instruction::default() };
        let is_second = of_map && instruction == second;
        of_map = !of_map
            && instruction.is_wide()
            && matches!(instruction.src, pseudo::MAP | pseudo::MAP_VALUE);
        if of_map || is_second {
            instruction.imm = 0;
        }
        hash.update(instruction.to_bytes());
    }
    let digest = hash.finalize();
    core::array::from_fn(|index| digest[index])
}
