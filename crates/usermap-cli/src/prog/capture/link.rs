//! Link types: what a captured packet starts with. Programs get Ethernet frames, so packets of
//! links without them get a header with zero addresses.

use pcap_parser::Linktype;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// `LINKTYPE_RAW` as some systems number it.
const RAW: [i32; 3] = [12, 14, 101];
const IPV4_ONLY: i32 = 228;
const IPV6_ONLY: i32 = 229;
const NULL: i32 = 0;
const LOOP: i32 = 108;
const LINUX_SLL: i32 = 113;
const LINUX_SLL2: i32 = 276;

/// Refuses link types that cannot be made Ethernet of.
pub fn known(link: Linktype) -> Result<(), String> {
    let known = [1, IPV4_ONLY, IPV6_ONLY, NULL, LOOP, LINUX_SLL, LINUX_SLL2];
    match known.contains(&link.0) || RAW.contains(&link.0) {
        true => Ok(()),
        false => Err(format!(
            "packets of link type {} ({link}): only Ethernet, IP without a link's header, and \
             Linux's cooked ones can be run",
            link.0
        )),
    }
}

/// The packet as an Ethernet frame.
pub fn ethernet(link: Linktype, data: &[u8]) -> Result<Vec<u8>, String> {
    known(link)?;
    let short = || "ends within its link's header".to_owned();
    let (protocol, skip) = match link.0 {
        1 => return Ok(data.to_vec()),
        LINUX_SLL => (word(data, 14).ok_or_else(short)?, 16),
        LINUX_SLL2 => (word(data, 0).ok_or_else(short)?, 20),
        // The family, in the order of whoever captured; its numbers differ between systems.
        NULL | LOOP => (by_version(data.get(4..).ok_or_else(short)?), 4),
        IPV4_ONLY => (IPV4, 0),
        IPV6_ONLY => (IPV6, 0),
        _ => (by_version(data), 0),
    };
    let payload = data.get(skip..).ok_or_else(short)?;
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend_from_slice(&[0; 12]);
    frame.extend_from_slice(&protocol.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn by_version(data: &[u8]) -> u16 {
    match data.first().map(|byte| byte >> 4) {
        Some(6) => IPV6,
        _ => IPV4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(link: i32, data: &[u8]) -> Vec<u8> {
        ethernet(Linktype(link), data).unwrap()
    }

    #[test]
    fn headers_are_put_in_place_of_others() {
        let v4 = [0x45, 1, 2];
        let frame = |protocol: [u8; 2], rest: &[u8]| [&[0; 12][..], &protocol, rest].concat();
        assert_eq!(made(1, &v4), v4);
        assert_eq!(made(101, &v4), frame([8, 0], &v4));
        assert_eq!(made(12, &[0x60, 9]), frame([0x86, 0xdd], &[0x60, 9]));
        assert_eq!(made(228, &v4), frame([8, 0], &v4));
        assert_eq!(made(229, &v4), frame([0x86, 0xdd], &v4));
        let cooked = [&[0; 14][..], &[8, 6], &[7]].concat();
        assert_eq!(made(113, &cooked), frame([8, 6], &[7]));
        let cooked = [&[8, 0][..], &[0; 18], &v4].concat();
        assert_eq!(made(276, &cooked), frame([8, 0], &v4));
        assert_eq!(made(0, &[2, 0, 0, 0, 0x60]), frame([0x86, 0xdd], &[0x60]));
    }

    #[test]
    fn others_are_refused() {
        let error = ethernet(Linktype(127), &[]).unwrap_err();
        assert!(error.starts_with("packets of link type 127 ("), "{error}");
        for (link, size) in [(113, 15), (276, 19), (0, 3)] {
            let error = ethernet(Linktype(link), &vec![0; size]).unwrap_err();
            assert_eq!(error, "ends within its link's header");
        }
    }
}
