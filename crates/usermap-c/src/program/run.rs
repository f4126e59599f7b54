//! `BPF_PROG_TEST_RUN`, as `net/bpf/test_run.c` answers it.
//!
//! struct { u32 prog_fd, retval, data_size_in, data_size_out; u64 data_in, data_out; u32 repeat,
//! duration, ctx_size_in, ctx_size_out; u64 ctx_in, ctx_out; u32 flags, cpu, batch_size; }

use super::{Program, of};
use crate::attr::{Attr, set_word, word};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use usermap::Result;
use usermap::abi::errno;
use usermap_vm::{Context, Outcome, ProgramType, Skb, Xdp};

/// `BPF_F_TEST_RUN_ON_CPU`
const ON_CPU: u32 = 1;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`
const LIVE_FRAMES: u32 = 2;
/// `TEST_XDP_MAX_BATCH`
const MOST_LIVE: u32 = 256;
/// `sizeof(struct xdp_md)`
const XDP_MD: usize = 24;
/// `sizeof(struct __sk_buff)`
const SK_BUFF: usize = 192;
/// Where in it `wire_len` is.
const WIRE_LEN: usize = 160;
/// What a page has room for beside the room before a packet, and `struct skb_shared_info`.
const LONGEST_SKB: u32 = 4096 - 64 - 320;
/// `GSO_LEGACY_MAX_SIZE`
const MOST_WIRE: u32 = 65536;
/// Bytes of an Ethernet header.
const ETH_HLEN: u32 = 14;
/// `BPF_XDP_DEVMAP`, `BPF_XDP_CPUMAP`: programs that only those maps run.
const OF_MAPS: [u32; 2] = [33, 35];
/// The largest context of a raw tracepoint: 12 arguments.
const RAW_TP_CONTEXT: u32 = 96;
/// Pages of a packet behind its first (`MAX_SKB_FRAGS`).
const FRAGMENTS: u32 = 17;

/// Where fields of the attribute are.
mod field {
    pub(super) const RETVAL: u64 = 4;
    pub(super) const DATA_SIZE_IN: usize = 8;
    pub(super) const DATA_SIZE_OUT: usize = 12;
    pub(super) const DATA_IN: usize = 16;
    pub(super) const DATA_OUT: usize = 24;
    pub(super) const REPEAT: usize = 32;
    pub(super) const DURATION: usize = 36;
    pub(super) const CTX_SIZE_IN: usize = 40;
    pub(super) const CTX_SIZE_OUT: usize = 44;
    pub(super) const CTX_IN: usize = 48;
    pub(super) const CTX_OUT: usize = 56;
    pub(super) const FLAGS: usize = 64;
    pub(super) const CPU: usize = 68;
    pub(super) const BATCH_SIZE: usize = 72;
}

/// The command.
pub(super) fn run(attr: &Attr) -> Result<i32> {
    for (size, address) in
        [(field::CTX_SIZE_IN, field::CTX_IN), (field::CTX_SIZE_OUT, field::CTX_OUT)]
    {
        if (attr.u32(size) == 0) != (attr.u64(address) == 0) {
            return Err(attr.invalid("a context has an address and a size, or neither"));
        }
    }
    let program = of(attr, attr.u32(0))?;
    match program.program.program_type() {
        ProgramType::Xdp => xdp(attr, &program),
        ProgramType::RawTracepoint => raw_tracepoint(attr, &program),
        ProgramType::Syscall => syscall(attr, &program),
        skb if skb.has_skb() => socket_buffer(attr, &program),
        _ => Err(attr.error("programs of this type have no test run", errno::ENOTSUPP)),
    }
}

/// The context that was given, filled up with zeros; `None` if there is none to take or to give.
fn context(attr: &Attr, size: usize) -> Result<Option<Vec<u8>>> {
    match (attr.u64(field::CTX_IN), attr.u64(field::CTX_OUT)) {
        (0, 0) => Ok(None),
        (0, _) => Ok(Some(vec![0; size])),
        (address, _) => attr.structure(address, size, attr.u32(field::CTX_SIZE_IN)).map(Some),
    }
}

/// The packet that was given: its first part, and then page after page.
fn packet(attr: &Attr, linear: u32) -> Result<Vec<u8>> {
    let size = attr.u32(field::DATA_SIZE_IN);
    let linear = linear.min(size);
    let mut packet = attr.bytes_in(attr.u64(field::DATA_IN), linear as usize)?;
    for _ in 0..FRAGMENTS {
        let at = packet.len() as u64;
        let piece = u64::from(size).saturating_sub(at).min(4096);
        let address = attr.u64(field::DATA_IN).wrapping_add(at);
        packet.extend(attr.bytes_in(address, piece as usize)?);
    }
    match packet.len() as u64 == u64::from(size) {
        true => Ok(packet),
        false => Err(attr.error("the packet has too many pages", libc::ENOMEM)),
    }
}

/// Runs a program as often as asked; gives the average time of a run, too.
fn repeat(attr: &Attr, program: &Arc<Program>, context: &mut Context) -> Result<(Outcome, u32)> {
    let times = attr.u32(field::REPEAT).max(1);
    let program = program.linked(attr)?;
    let mut runner = program.runner().map_err(|error| refusal(attr, &error))?;
    let start = Instant::now();
    let outcome = runner.repeat(context, times.into()).map_err(|error| refusal(attr, &error))?;
    Ok((outcome, average(start.elapsed(), times)))
}

fn average(time: Duration, times: u32) -> u32 {
    u32::try_from(time.as_nanos() / u128::from(times)).unwrap_or(u32::MAX)
}

/// A run that could not begin, or that went wrong.
fn refusal(attr: &Attr, error: &usermap_vm::Error) -> usermap::Error {
    attr.error("the program cannot be run so, or went wrong", error.errno())
}

fn xdp(attr: &Attr, program: &Arc<Program>) -> Result<i32> {
    if OF_MAPS.contains(&program.source.attach_type) {
        return Err(attr.invalid("a program for maps of devices or CPUs"));
    }
    let (flags, batch) = (attr.u32(field::FLAGS), attr.u32(field::BATCH_SIZE));
    if flags == LIVE_FRAMES && batch > MOST_LIVE {
        return Err(attr.error("a batch of more than 256 live frames", errno::E2BIG));
    }
    if flags != 0 || batch != 0 {
        return Err(attr.invalid("live frames, which there are none of here, or a batch of them"));
    }
    let mut context = context(attr, XDP_MD)?;
    let size = attr.u32(field::DATA_SIZE_IN);
    let (mut linear, mut metadata) = (size, 0);
    if let Some(md) = &context {
        let (data, end) = (word(md, 0), word(md, 4));
        if word(md, 8) != 0 || end > size || data > end || data > 216 || data % 4 != 0 {
            return Err(attr.invalid("data and data_end of the xdp_md do not fit the packet"));
        }
        (linear, metadata) = (end, data);
    }
    let linear = linear.min(4096 - (256 - metadata) - 320);
    if size.wrapping_sub(metadata) < ETH_HLEN {
        return Err(attr.invalid("the packet is shorter than an Ethernet header"));
    }
    let mut data = self::packet(attr, linear)?;
    if let Some(md) = &context {
        check_queue(attr, md)?;
    }
    let fragments = data.split_off(linear as usize);
    let packet = data.split_off(metadata as usize);
    let mut xdp = Xdp::new(packet).metadata(data).fragments(fragments);
    if let Some(md) = context.as_deref().filter(|md| word(md, 12) != 0) {
        xdp = xdp.ingress_ifindex(word(md, 12)).rx_queue_index(word(md, 16));
    }
    let mut on = Context::from(xdp);
    let (outcome, duration) = repeat(attr, program, &mut on)?;
    let Context::Xdp(xdp) = on else { return Err(attr.invalid("no packet came back")) };
    let (before, packet) = (xdp.metadata.len() as u32, xdp.packet.len() as u32);
    if let Some(md) = &mut context {
        set_word(md, 0, before);
        set_word(md, 4, before + packet);
    }
    let data = [xdp.metadata, xdp.packet, xdp.fragments].concat();
    finish(attr, &data, outcome.value as u32, duration)?;
    finish_context(attr, context)
}

/// The device and the queue of an `xdp_md` are this machine's (`xdp_convert_md_to_buff`).
fn check_queue(attr: &Attr, md: &[u8]) -> Result<()> {
    let (interface, queue, egress) = (word(md, 12), word(md, 16), word(md, 20));
    if egress != 0 || interface == 0 && queue != 0 {
        return Err(attr.invalid("egress_ifindex, or rx_queue_index without ingress_ifindex"));
    }
    if interface == 0 {
        return Ok(());
    }
    let name = device(attr, interface)?;
    let queues = Path::new("/sys/class/net").join(name).join("queues");
    match queue == 0 || queues.join(format!("rx-{queue}")).exists() {
        true => Ok(()),
        false => Err(attr.invalid("the device has no such queue")),
    }
}

/// The name of a network device.
fn device(attr: &Attr, index: u32) -> Result<String> {
    let devices = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let is_it = |folder: &std::fs::DirEntry| {
        let number = std::fs::read_to_string(folder.path().join("ifindex")).unwrap_or_default();
        number.trim().parse() == Ok(index)
    };
    let found = devices.into_iter().find(is_it).and_then(|it| it.file_name().into_string().ok());
    found.ok_or_else(|| attr.error("there is no network device of this index", libc::ENODEV))
}

fn socket_buffer(attr: &Attr, program: &Arc<Program>) -> Result<i32> {
    if [field::FLAGS, field::CPU, field::BATCH_SIZE].iter().any(|at| attr.u32(*at) != 0) {
        return Err(attr.invalid("flags, cpu or batch_size, which a packet's run does not take"));
    }
    let size = attr.u32(field::DATA_SIZE_IN);
    if size < ETH_HLEN {
        return Err(attr.invalid("the packet is shorter than an Ethernet header"));
    }
    let mut context = context(attr, SK_BUFF)?;
    // data_end, data and data_meta
    if context.as_ref().is_some_and(|buffer| [80, 76, 140].iter().any(|at| word(buffer, *at) != 0))
    {
        return Err(attr.invalid("data, data_end or data_meta of the __sk_buff"));
    }
    if size > LONGEST_SKB {
        return Err(attr.invalid("the packet is longer than a page has room for"));
    }
    let packet = attr.bytes_in(attr.u64(field::DATA_IN), size as usize)?;
    if let Some(buffer) = &context
        && word(buffer, 40) > 1
    {
        device(attr, word(buffer, 40))?;
    }
    let has_link_layer =
        matches!(program.program.program_type(), ProgramType::SchedCls | ProgramType::SchedAct);
    check_header(attr, &packet)?;
    let mut skb = Context::from(Skb::new(packet));
    if let Some(buffer) = &mut context {
        // The packet as the program sees it, which may be without its link layer.
        let seen = if has_link_layer { size } else { size - ETH_HLEN };
        let wire = word(buffer, WIRE_LEN);
        if wire != 0 && !(seen..=MOST_WIRE).contains(&wire) {
            return Err(attr.invalid("wire_len is shorter than the packet, or too long"));
        }
        // Only programs that see all of it may read it.
        set_word(buffer, WIRE_LEN, if has_link_layer { wire } else { 0 });
        skb.set_bytes(buffer).map_err(|_| attr.invalid("a field of the __sk_buff is not taken"))?;
        set_word(buffer, WIRE_LEN, if wire == 0 { seen } else { wire });
    }
    let (outcome, duration) = repeat(attr, program, &mut skb)?;
    if let Some(buffer) = &mut context {
        let after = skb.to_bytes();
        for (from, to) in [(8, 12), (32, 44), (48, 68), (152, 160), (164, 168), (184, 192)] {
            buffer[from..to].copy_from_slice(&after[from..to]);
        }
    }
    let mut data = skb.into_packet().unwrap_or_default();
    if !has_link_layer {
        data[..ETH_HLEN as usize].fill(0);
    }
    finish(attr, &data, outcome.value as u32, duration)?;
    finish_context(attr, context)
}

/// A packet of IP has its header.
fn check_header(attr: &Attr, packet: &[u8]) -> Result<()> {
    let least = match packet.get(12..14) {
        Some([0x08, 0x00]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => ETH_HLEN as usize,
    };
    match packet.len() >= least {
        true => Ok(()),
        false => Err(attr.invalid("the packet is shorter than an IP header")),
    }
}

/// Gives the packet, as far as there is room, and what the run returned (`bpf_test_finish`).
fn finish(attr: &Attr, data: &[u8], value: u32, duration: u32) -> Result<()> {
    let room = attr.u32(field::DATA_SIZE_OUT) as usize;
    let fits = room == 0 || data.len() <= room;
    if attr.u64(field::DATA_OUT) != 0 {
        let given = if fits { data } else { &data[..room] };
        attr.copy_out(attr.u64(field::DATA_OUT), given)?;
    }
    attr.put(field::DATA_SIZE_OUT as u64, data.len() as u32)?;
    attr.put(field::RETVAL, value)?;
    attr.put(field::DURATION as u64, duration)?;
    match fits {
        true => Ok(()),
        false => Err(attr.error("data_size_out is smaller than the packet", errno::ENOSPC)),
    }
}

/// Gives the context, likewise (`bpf_ctx_finish`).
fn finish_context(attr: &Attr, context: Option<Vec<u8>>) -> Result<i32> {
    let address = attr.u64(field::CTX_OUT);
    let Some(context) = context.filter(|_| address != 0) else { return Ok(0) };
    let room = attr.u32(field::CTX_SIZE_OUT) as usize;
    attr.copy_out(address, &context[..context.len().min(room)])?;
    attr.put(field::CTX_SIZE_OUT as u64, context.len() as u32)?;
    match context.len() <= room {
        true => Ok(0),
        false => Err(attr.error("ctx_size_out is smaller than the context", errno::ENOSPC)),
    }
}

/// Whether fields are set that only runs on packets take.
fn has_packet(attr: &Attr) -> bool {
    let longs = [field::DATA_IN, field::DATA_OUT, field::CTX_OUT];
    let words = [field::DURATION, field::REPEAT, field::BATCH_SIZE];
    longs.iter().any(|at| attr.u64(*at) != 0) || words.iter().any(|at| attr.u32(*at) != 0)
}

fn raw_tracepoint(attr: &Attr, program: &Arc<Program>) -> Result<i32> {
    let (size, on_cpu) = (attr.u32(field::CTX_SIZE_IN), attr.u32(field::FLAGS) & ON_CPU != 0);
    let cpu = attr.u32(field::CPU);
    if has_packet(attr) || size > RAW_TP_CONTEXT || !on_cpu && cpu != 0 {
        return Err(attr.invalid("a raw tracepoint takes a context of 96 bytes, flags and a cpu"));
    }
    let context = attr.bytes_in(attr.u64(field::CTX_IN), size as usize)?;
    if on_cpu && cpu >= usermap::possible_cpus() {
        return Err(attr.error("there is no such CPU", libc::ENXIO));
    }
    let program = program.linked(attr)?;
    let runner = match on_cpu {
        true => program.runner_on(cpu),
        false => program.runner(),
    };
    let mut runner = runner.map_err(|error| refusal(attr, &error))?;
    let outcome = runner.run(&mut context.into()).map_err(|error| refusal(attr, &error))?;
    attr.put(field::RETVAL, outcome.value as u32)?;
    Ok(0)
}

fn syscall(attr: &Attr, program: &Arc<Program>) -> Result<i32> {
    let size = attr.u32(field::CTX_SIZE_IN);
    if has_packet(attr) || attr.u32(field::FLAGS) != 0 || size > u16::MAX.into() {
        return Err(attr.invalid("a syscall program takes a context of 65535 bytes and no more"));
    }
    let context = attr.bytes_in(attr.u64(field::CTX_IN), size as usize)?;
    let mut context = Context::from(context);
    let outcome = program.linked(attr)?.run(&mut context).map_err(|error| refusal(attr, &error))?;
    attr.put(field::RETVAL, outcome.value as u32)?;
    attr.copy_out(attr.u64(field::CTX_IN), &context.to_bytes())?;
    Ok(0)
}
