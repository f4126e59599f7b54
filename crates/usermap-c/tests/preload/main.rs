//! Programs that nobody here wrote, unmodified and without any rights, on usermap by LD_PRELOAD:
//! Debian's bpftool, and C programs with Debian's libbpf.
//!
//! Run as root, the programs are run as an ordinary user without capabilities. Where a tool is not
//! installed a test says that it was skipped, unless `USERMAP_REQUIRE_KERNEL` is set.

mod bpftool;
mod libbpf;
mod passthrough;
mod programs;
mod wrapped;
