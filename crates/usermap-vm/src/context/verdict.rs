//! What the numbers mean that programs return.

use crate::program_type::ProgramType;

/// Of `xdp` programs (`enum xdp_action`), by number.
const XDP: [&str; 5] = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"];
/// Of tc programs, by number from -1 on.
const TC: [&str; 10] = [
    "TC_ACT_UNSPEC",
    "TC_ACT_OK",
    "TC_ACT_RECLASSIFY",
    "TC_ACT_SHOT",
    "TC_ACT_PIPE",
    "TC_ACT_STOLEN",
    "TC_ACT_QUEUED",
    "TC_ACT_REPEAT",
    "TC_ACT_REDIRECT",
    "TC_ACT_TRAP",
];
/// Of `cgroup_skb` programs (`enum sk_action`).
const CGROUP: [&str; 2] = ["SK_DROP", "SK_PASS"];

/// `XDP_REDIRECT`
pub(crate) const XDP_REDIRECT: u64 = 4;
/// `XDP_ABORTED`
pub(crate) const XDP_ABORTED: u64 = 0;
/// `TC_ACT_SHOT`
pub(crate) const TC_ACT_SHOT: u64 = 2;
/// `TC_ACT_REDIRECT`
pub(crate) const TC_ACT_REDIRECT: u64 = 7;

impl ProgramType {
    /// What a returned value (r0, of which the lower 32 bits count) is called; nothing where
    /// values have no names.
    ///
    /// ```
    /// use usermap_vm::ProgramType;
    /// assert_eq!(ProgramType::Xdp.verdict_name(2), Some("XDP_PASS"));
    /// assert_eq!(ProgramType::SchedCls.verdict_name(-1_i64 as u64), Some("TC_ACT_UNSPEC"));
    /// assert_eq!(ProgramType::Xdp.verdict_name(77), None);
    /// ```
    pub fn verdict_name(self, value: u64) -> Option<&'static str> {
        let value = value as i32;
        let name = |names: &'static [&'static str], first: i32| {
            let index = usize::try_from(value.checked_sub(first)?).ok()?;
            names.get(index).copied()
        };
        match self {
            ProgramType::Xdp => name(&XDP, 0),
            ProgramType::SchedCls | ProgramType::SchedAct => name(&TC, -1),
            ProgramType::CgroupSkb => name(&CGROUP, 0),
            _ => None,
        }
    }

    /// Whether a packet goes on after a program that returned this: up the stack, or out of a
    /// device.
    ///
    /// ```
    /// use usermap_vm::ProgramType;
    /// assert!(ProgramType::Xdp.lets_pass(3)); // XDP_TX
    /// assert!(!ProgramType::SchedCls.lets_pass(2)); // TC_ACT_SHOT
    /// assert!(!ProgramType::SocketFilter.lets_pass(0)); // 0 bytes of it
    /// ```
    pub fn lets_pass(self, value: u64) -> bool {
        match self {
            ProgramType::Xdp => (2..=4).contains(&(value as u32)),
            // Dropped, kept or queued by the program, or trapped to somebody else.
            ProgramType::SchedCls | ProgramType::SchedAct => !matches!(value as i32, 2 | 4 | 5 | 8),
            ProgramType::CgroupSkb => value & 1 == 1,
            ProgramType::SocketFilter => value as u32 != 0,
            _ => true,
        }
    }

    /// Whether the value sends the packet to where a helper said.
    pub(crate) fn is_redirect(self, value: u64) -> bool {
        match self {
            ProgramType::Xdp => u64::from(value as u32) == XDP_REDIRECT,
            ProgramType::SchedCls | ProgramType::SchedAct => {
                u64::from(value as u32) == TC_ACT_REDIRECT
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(ProgramType::SchedAct.verdict_name(TC_ACT_SHOT), Some("TC_ACT_SHOT"));
        assert_eq!(ProgramType::SchedAct.verdict_name(TC_ACT_REDIRECT), Some("TC_ACT_REDIRECT"));
        assert_eq!(ProgramType::SchedCls.verdict_name(0xffff_ffff), Some("TC_ACT_UNSPEC"));
        assert_eq!(ProgramType::SchedCls.verdict_name(i32::MIN as u64), None);
        assert_eq!(ProgramType::Xdp.verdict_name(XDP_ABORTED), Some("XDP_ABORTED"));
        assert_eq!(ProgramType::Xdp.verdict_name(XDP_REDIRECT), Some("XDP_REDIRECT"));
        assert_eq!(ProgramType::CgroupSkb.verdict_name(1), Some("SK_PASS"));
        assert_eq!(ProgramType::SocketFilter.verdict_name(1), None);
        assert!(ProgramType::Xdp.is_redirect(4) && !ProgramType::SocketFilter.is_redirect(4));
    }
}
