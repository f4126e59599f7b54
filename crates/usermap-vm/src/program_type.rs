//! What kinds of programs there are, and which section names mean which (libbpf's `section_defs`).

use std::fmt;

/// The type of a program: which context it gets, and which helpers it may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProgramType {
    /// `xdp`: gets an `xdp_md`.
    Xdp,
    /// `tc`, `classifier`, `tcx/…`: gets a `__sk_buff`.
    SchedCls,
    /// `action`: gets a `__sk_buff`.
    SchedAct,
    /// `socket`: gets a `__sk_buff`.
    SocketFilter,
    /// `cgroup_skb/…`: gets a `__sk_buff`.
    CgroupSkb,
    /// `syscall`: gets the bytes that it is given.
    Syscall,
    /// `raw_tp`, `raw_tracepoint`: gets the arguments, 8 bytes each.
    RawTracepoint,
    /// `tp/…`, `tracepoint/…`: gets the bytes of the event.
    Tracepoint,
    /// `kprobe/…`, `kretprobe/…`, `uprobe/…`: gets a `pt_regs`.
    #[default]
    Kprobe,
}

/// Sections by what they start with; those that end in `/` or `.` are prefixes of longer names.
const SECTIONS: &[(&str, ProgramType)] = &[
    ("xdp", ProgramType::Xdp),
    ("tc", ProgramType::SchedCls),
    ("tcx", ProgramType::SchedCls),
    ("classifier", ProgramType::SchedCls),
    ("netkit", ProgramType::SchedCls),
    ("action", ProgramType::SchedAct),
    ("socket", ProgramType::SocketFilter),
    ("cgroup_skb", ProgramType::CgroupSkb),
    ("cgroup/skb", ProgramType::CgroupSkb),
    ("syscall", ProgramType::Syscall),
    ("raw_tp", ProgramType::RawTracepoint),
    ("raw_tracepoint", ProgramType::RawTracepoint),
    ("tp", ProgramType::Tracepoint),
    ("tracepoint", ProgramType::Tracepoint),
    ("kprobe", ProgramType::Kprobe),
    ("kretprobe", ProgramType::Kprobe),
    ("ksyscall", ProgramType::Kprobe),
    ("kretsyscall", ProgramType::Kprobe),
    ("uprobe", ProgramType::Kprobe),
    ("uretprobe", ProgramType::Kprobe),
];

impl ProgramType {
    /// The type that a section's name means, if it is one that can be run here.
    ///
    /// ```
    /// use usermap_vm::ProgramType;
    /// assert_eq!(ProgramType::from_section("tc/ingress"), Some(ProgramType::SchedCls));
    /// assert_eq!(ProgramType::from_section("xdp.frags"), Some(ProgramType::Xdp));
    /// assert_eq!(ProgramType::from_section("lsm/file_open"), None);
    /// ```
    pub fn from_section(section: &str) -> Option<ProgramType> {
        let known = SECTIONS.iter().find(|(name, _)| {
            let rest = section.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.', '+']))
        });
        known.map(|(_, program_type)| *program_type)
    }

    /// All of them, with their numbers in `enum bpf_prog_type`.
    const NUMBERS: [(ProgramType, u32); 9] = [
        (ProgramType::SocketFilter, 1),
        (ProgramType::Kprobe, 2),
        (ProgramType::SchedCls, 3),
        (ProgramType::SchedAct, 4),
        (ProgramType::Tracepoint, 5),
        (ProgramType::Xdp, 6),
        (ProgramType::CgroupSkb, 8),
        (ProgramType::RawTracepoint, 17),
        (ProgramType::Syscall, 31),
    ];

    /// The type with a number of `enum bpf_prog_type`, if it is one that can be run here.
    ///
    /// ```
    /// use usermap_vm::ProgramType;
    /// assert_eq!(ProgramType::from_number(6), Some(ProgramType::Xdp));
    /// assert_eq!(ProgramType::from_number(29), None); // BPF_PROG_TYPE_LSM
    /// ```
    pub fn from_number(number: u32) -> Option<ProgramType> {
        let known = ProgramType::NUMBERS.iter().find(|(_, known)| *known == number);
        known.map(|(program_type, _)| *program_type)
    }

    /// Its number in `enum bpf_prog_type`.
    ///
    /// ```
    /// assert_eq!(usermap_vm::ProgramType::Syscall.number(), 31);
    /// ```
    pub fn number(self) -> u32 {
        let known = ProgramType::NUMBERS.iter().find(|(known, _)| *known == self);
        known.map_or(0, |(_, number)| *number)
    }

    /// The name, as bpftool has it.
    pub const fn name(self) -> &'static str {
        match self {
            ProgramType::Xdp => "xdp",
            ProgramType::SchedCls => "sched_cls",
            ProgramType::SchedAct => "sched_act",
            ProgramType::SocketFilter => "socket_filter",
            ProgramType::CgroupSkb => "cgroup_skb",
            ProgramType::Syscall => "syscall",
            ProgramType::RawTracepoint => "raw_tracepoint",
            ProgramType::Tracepoint => "tracepoint",
            ProgramType::Kprobe => "kprobe",
        }
    }

    /// Whether its context is a `__sk_buff`.
    pub const fn has_skb(self) -> bool {
        use ProgramType::*;
        matches!(self, SchedCls | SchedAct | SocketFilter | CgroupSkb)
    }
}

impl fmt::Display for ProgramType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
