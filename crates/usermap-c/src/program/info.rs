//! `BPF_OBJ_GET_INFO_BY_FD` of a program: struct { u32 bpf_fd, info_len; u64 info; }, which is the
//! address of a `struct bpf_prog_info`.

use super::records::{FUNCTION_BYTES, LINE_BYTES};
use super::{Program, of};
use crate::attr::{Attr, set_word, word};
use std::fmt::Write;
use usermap::Result;

/// `sizeof(struct bpf_prog_info)` in Linux 6.18.
const BYTES: usize = 232;
/// `jited_line_info_rec_size`
const JITED_LINE_BYTES: u32 = 8;

/// `BPF_TAG_SIZE`
const TAG_BYTES: usize = 8;

/// Where fields of the structure are.
mod field {
    pub(super) const TAG: usize = 8;
    pub(super) const XLATED_PROG_LEN: usize = 20;
    pub(super) const XLATED_PROG_INSNS: usize = 32;
    pub(super) const LOAD_TIME: usize = 40;
    pub(super) const CREATED_BY_UID: usize = 48;
    pub(super) const NR_MAP_IDS: usize = 52;
    pub(super) const MAP_IDS: usize = 56;
    pub(super) const NAME: usize = 64;
    pub(super) const GPL_COMPATIBLE: usize = 84;
    pub(super) const BTF_ID: usize = 128;
    pub(super) const FUNC_INFO_REC_SIZE: usize = 132;
    pub(super) const FUNC_INFO: usize = 136;
    pub(super) const NR_FUNC_INFO: usize = 144;
    pub(super) const NR_LINE_INFO: usize = 148;
    pub(super) const LINE_INFO: usize = 152;
    pub(super) const NR_JITED_LINE_INFO: usize = 168;
    pub(super) const LINE_INFO_REC_SIZE: usize = 172;
    pub(super) const JITED_LINE_INFO_REC_SIZE: usize = 176;
    pub(super) const NR_PROG_TAGS: usize = 180;
    pub(super) const PROG_TAGS: usize = 184;
    pub(super) const VERIFIED_INSNS: usize = 216;
}

/// The command.
pub(super) fn info(attr: &Attr) -> Result<i32> {
    let program = of(attr, attr.u32(0))?;
    let (given, address) = (attr.u32(4), attr.u64(8));
    let asked = attr.structure(address, BYTES, given)?;
    let mut info = plain(&program);
    lists(attr, &program, &asked, &mut info)?;
    let told = BYTES.min(given as usize);
    attr.copy_out(address, &info[..told])?;
    attr.put(4, told as u32)?;
    Ok(0)
}

impl Program {
    /// How many instructions it has, a 64-bit load counted once.
    fn instructions(&self) -> u32 {
        let halves = self.source.instructions.iter().filter(|one| one.opcode == 0);
        (self.source.instructions.len() - halves.count()) as u32
    }

    /// What /proc tells of a program's descriptor (`bpf_prog_show_fdinfo`).
    pub(crate) fn describe(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "prog_type:\t{}\nprog_jited:\t0", self.source.program_type)?;
        write!(text, "prog_tag:\t")?;
        self.source.tag.iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
        let pages = (self.source.instructions.len() * 8).next_multiple_of(4096);
        write!(
            text,
            "\nmemlock:\t{pages}\nprog_id:\t{}\nrun_time_ns:\t0\nrun_cnt:\t0\n\
             recursion_misses:\t0\nverified_insns:\t{}\n",
            self.id,
            self.instructions()
        )
    }
}

/// What is told of a program without being asked.
fn plain(program: &Program) -> Vec<u8> {
    let source = &program.source;
    let mut info = vec![0; BYTES];
    let instructions = source.instructions.len();
    for (at, number) in [
        (0, source.program_type),
        (4, program.id),
        (field::CREATED_BY_UID, source.uid),
        (field::GPL_COMPATIBLE, source.gpl_compatible.into()),
        (field::XLATED_PROG_LEN, instructions as u32 * 8),
        (field::BTF_ID, source.btf_id),
        (field::FUNC_INFO_REC_SIZE, FUNCTION_BYTES as u32),
        (field::LINE_INFO_REC_SIZE, LINE_BYTES as u32),
        (field::JITED_LINE_INFO_REC_SIZE, JITED_LINE_BYTES),
        (field::VERIFIED_INSNS, program.instructions()),
    ] {
        set_word(&mut info, at, number);
    }
    info[field::TAG..field::TAG + 8].copy_from_slice(&source.tag);
    info[field::NAME..field::NAME + 16].copy_from_slice(&source.name);
    info[field::LOAD_TIME..field::LOAD_TIME + 8].copy_from_slice(&source.load_time.to_ne_bytes());
    info
}

/// What the caller gives room for, as many as it has room for; all are counted.
fn lists(attr: &Attr, program: &Program, asked: &[u8], info: &mut [u8]) -> Result<()> {
    let source = &program.source;
    let address = |at: usize| u64::from(word(asked, at)) | u64::from(word(asked, at + 4)) << 32;
    // The caller keeps its addresses.
    let fields = [
        field::XLATED_PROG_INSNS,
        field::MAP_IDS,
        field::FUNC_INFO,
        field::LINE_INFO,
        field::PROG_TAGS,
    ];
    for at in fields {
        info[at..at + 8].copy_from_slice(&asked[at..at + 8]);
    }
    let ids: Vec<u32> = program.maps().iter().map(|map| map.info().id).collect();
    set_word(info, field::NR_MAP_IDS, ids.len() as u32);
    let room = (word(asked, field::NR_MAP_IDS) as usize).min(ids.len());
    let ids: Vec<u8> = ids[..room].iter().flat_map(|id| id.to_ne_bytes()).collect();
    attr.copy_out(address(field::MAP_IDS), &ids)?;
    for (count, size, known) in [
        (field::NR_FUNC_INFO, field::FUNC_INFO_REC_SIZE, FUNCTION_BYTES as u32),
        (field::NR_LINE_INFO, field::LINE_INFO_REC_SIZE, LINE_BYTES as u32),
        (field::NR_JITED_LINE_INFO, field::JITED_LINE_INFO_REC_SIZE, JITED_LINE_BYTES),
    ] {
        let size = word(asked, size);
        if (word(asked, count) != 0 || size != 0) && size != known {
            return Err(attr.invalid("records have another size"));
        }
    }
    let bytes: Vec<u8> = source.instructions.iter().flat_map(|one| one.to_bytes()).collect();
    let room = (word(asked, field::XLATED_PROG_LEN) as usize).min(bytes.len());
    attr.copy_out(address(field::XLATED_PROG_INSNS), &bytes[..room])?;
    for (count, at, size, records) in [
        (field::NR_FUNC_INFO, field::FUNC_INFO, FUNCTION_BYTES, &source.functions),
        (field::NR_LINE_INFO, field::LINE_INFO, LINE_BYTES, &source.lines),
    ] {
        set_word(info, count, (records.len() / size) as u32);
        let room = (word(asked, count) as usize).saturating_mul(size).min(records.len());
        attr.copy_out(address(at), &records[..room])?;
    }
    // Functions have no tags of their own.
    let tags = source.tag.repeat((source.functions.len() / FUNCTION_BYTES).max(1));
    set_word(info, field::NR_PROG_TAGS, (tags.len() / TAG_BYTES) as u32);
    let room = (word(asked, field::NR_PROG_TAGS) as usize).saturating_mul(TAG_BYTES);
    attr.copy_out(address(field::PROG_TAGS), &tags[..room.min(tags.len())])?;
    Ok(())
}
