//! The commands on programs, made to the kernel and to usermap: the same answers.
//!
//! No program is attached to anything. Without bpf(2) only usermap's own answers are looked at.

mod arrays;
mod call;
mod examples;
mod infos;
mod loads;
mod runs;

use call::{Answer, Call, Descriptor, Side, kernel};

const PROG_LOAD: u32 = 5;
const TEST_RUN: u32 = 10;
const NEXT_ID: u32 = 11;
const FD_BY_ID: u32 = 13;
const INFO: u32 = 15;
const BTF_LOAD: u32 = 18;
const BIND_MAP: u32 = 35;

const SOCKET_FILTER: u32 = 1;
const KPROBE: u32 = 2;
const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;
const CGROUP_SKB: u32 = 8;
const RAW_TP: u32 = 17;
const SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 16;

type Bytes = [u8; 8];

/// One instruction.
fn op(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Bytes {
    let (o, i) = (offset.to_le_bytes(), imm.to_le_bytes());
    [opcode, dst | src << 4, o[0], o[1], i[0], i[1], i[2], i[3]]
}

const fn exit() -> Bytes {
    [0x95, 0, 0, 0, 0, 0, 0, 0]
}

/// r0 = value; exit
fn returns(value: i32) -> Vec<Bytes> {
    vec![op(0xb7, 0, 0, 0, value), exit()]
}

/// A program of this type, whose loading is the call.
fn load(program_type: u32, instructions: &[Bytes]) -> Call {
    let flags = if program_type == SYSCALL { SLEEPABLE } else { 0 };
    Call::new(PROG_LOAD)
        .u32(0, program_type)
        .u32(4, instructions.len() as u32)
        .memory(8, &instructions.concat())
        .memory(16, b"GPL")
        .u32(44, flags)
}

/// An array, and two instructions that load its address (kind 1) or its value's (kind 2).
fn array(side: Side, kind: u8, dst: u8) -> (Descriptor, Vec<Bytes>) {
    let map = Call::new(0).u32(0, 2).u32(4, 4).u32(8, 8).u32(12, 1).descriptor(side);
    let load = vec![op(0x18, dst, kind, 0, map.number), [0; 8]];
    (map, load)
}

/// What of an answer must be the same: descriptors, times and logs' texts need not be.
fn comparable(answer: Answer, ignored: &[usize]) -> (Result<(), i32>, Vec<u8>, Vec<Vec<u8>>) {
    let mut attr = answer.attr;
    for at in ignored {
        attr[*at..*at + 4].fill(0);
    }
    (answer.result.map(|_| ()), attr, answer.memory)
}

/// What differed, of how many comparisons.
#[derive(Default)]
struct Comparison {
    count: u32,
    differences: Vec<String>,
}

impl Comparison {
    /// Compares what a function gives for both sides.
    fn same(&mut self, what: &str, ignored: &[usize], call: impl Fn(Side) -> Answer) {
        let kernel = comparable(call(Side::Kernel), ignored);
        let usermap = comparable(call(Side::Usermap), ignored);
        self.count += 1;
        if usermap.0 != kernel.0 {
            self.differences
                .push(format!("{what}: usermap {:?}, kernel {:?}", usermap.0, kernel.0));
        } else if let Some(at) = difference(&usermap.1, &kernel.1) {
            self.differences.push(format!("{what}: attribute, {at}"));
        }
        for (number, (usermap, kernel)) in usermap.2.iter().zip(&kernel.2).enumerate() {
            if let Some(at) = difference(usermap, kernel) {
                self.differences.push(format!("{what}: memory {number}, {at}"));
            }
        }
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        println!("{} answers compared with the kernel's", self.count);
        let list = self.differences.join("\n");
        assert!(self.differences.is_empty() || std::thread::panicking(), "\n{list}");
    }
}

/// Where two pieces of memory differ first.
fn difference(usermap: &[u8], kernel: &[u8]) -> Option<String> {
    let length = usermap.len().max(kernel.len());
    let at = (0..length).find(|at| usermap.get(*at) != kernel.get(*at))?;
    let near = |bytes: &[u8]| {
        bytes[(at & !3).min(bytes.len())..].iter().take(8).copied().collect::<Vec<u8>>()
    };
    Some(format!("byte {at}: usermap {:?}, kernel {:?}", near(usermap), near(kernel)))
}

/// A descriptor of a program.
fn program(side: Side, program_type: u32, instructions: &[Bytes]) -> Descriptor {
    load(program_type, instructions).descriptor(side)
}

/// One program, loaded by both.
struct Pair {
    kernel: Descriptor,
    usermap: Descriptor,
}

impl Pair {
    fn new(make: impl Fn(Side) -> Descriptor) -> Pair {
        Pair { kernel: make(Side::Kernel), usermap: make(Side::Usermap) }
    }

    fn of(&self, side: Side) -> u32 {
        let descriptor = if side == Side::Kernel { &self.kernel } else { &self.usermap };
        descriptor.number as u32
    }

    /// Compares the answers to a call that is on the program.
    fn compare(&self, comparison: &mut Comparison, what: &str, call: &Call) {
        const DURATION: usize = 36;
        comparison.same(what, &[0, DURATION], |side| call.clone().u32(0, self.of(side)).make(side));
    }
}

/// The address of a structure of so many bytes, for the info of a program.
fn info(bytes: &[u8]) -> Call {
    Call::new(INFO).u32(4, bytes.len() as u32).memory(8, bytes)
}

/// What of an info must be the same: no ids, no times, nothing of machine code.
fn told(mut answer: Answer) -> Answer {
    if let Some(info) = answer.memory.first_mut().filter(|info| info.len() >= 192) {
        for (from, to) in [(4, 8), (16, 20), (24, 48), (56, 64), (104, 124), (128, 132), (136, 144)]
        {
            info[from..to].fill(0);
        }
        info[152..172].fill(0);
        info[184..192].fill(0);
    }
    answer
}
