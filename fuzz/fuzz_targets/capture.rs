//! Captures from anybody, as `usermap prog run --pcap` reads them. The reader is part of the
//! command, which is no library: its source is taken in here.
#![no_main]
#![allow(dead_code, unused_imports)]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

#[path = "../../crates/usermap-cli/src/prog/capture/mod.rs"]
mod capture;

mod failure {
    pub fn without_number(error: &std::io::Error) -> String {
        error.to_string()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let name = c"capture";
    let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::File::from(file.try_clone().expect("a memfd")).write_all(bytes).expect("written");
    let Ok(mut capture) = capture::Capture::open(Path::new(&path), &Arc::default()) else {
        return;
    };
    let mut packets = 0_u32;
    while let Ok(Some(packet)) = capture.next() {
        assert!(packet.bytes.len() <= 1 << 20, "{} bytes", packet.bytes.len());
        packets += 1;
        if packets == 10_000 {
            return;
        }
    }
});
