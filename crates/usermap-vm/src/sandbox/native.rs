//! Machine code: its memory, the way in, and the way out when it faults.
//!
//! [`enter`] notes the stack pointer in an anchor and calls the code. If the code then accesses what
//! is not mapped in its cage, or reaches a trap, the signal's handler looks whether it happened
//! within the code of the innermost anchor of its thread. If so it notes where, and resumes at
//! `enter`'s end, with that stack pointer; else it goes on to whatever handled the signal before.
//! Only frames of machine code are dropped in this way: a helper that calls back into machine code
//! does so with an anchor of its own, and hands the fault on as an error.

use crate::run::Run;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

/// Executable memory with a program's functions.
#[derive(Debug)]
pub(crate) struct Executable {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is never written to once it is made.
unsafe impl Send for Executable {}
// SAFETY: as above.
unsafe impl Sync for Executable {}

impl Executable {
    /// Memory with this code.
    pub(crate) fn new(code: &[u8]) -> rustix::io::Result<Executable> {
        let length = code.len().max(1).next_multiple_of(4096);
        // SAFETY: a new mapping at an address that the kernel chooses aliases nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        let start = NonNull::new(start.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        let executable = Executable { start, length };
        // SAFETY: the mapping has room for `code`, and nobody else knows of it yet. It is made
        // executable when it is not writable any more.
        unsafe {
            ptr::copy_nonoverlapping(code.as_ptr(), start.as_ptr(), code.len());
            rustix::mm::mprotect(
                start.as_ptr().cast(),
                length,
                MprotectFlags::READ | MprotectFlags::EXEC,
            )?;
        }
        Ok(executable)
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nobody runs in it: runs borrow it.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Where machine code was left for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Byte of the code that the fault happened at.
    pub(crate) offset: usize,
    /// For an access to memory: the address, as the host sees it.
    pub(crate) address: Option<usize>,
    /// Whether that was a store.
    pub(crate) write: bool,
}

/// A call into machine code that has not returned.
#[repr(C)]
struct Anchor {
    /// Written by `enter`, at the start of this.
    stack: usize,
    start: usize,
    length: usize,
    exit: Option<Exit>,
    outer: *mut Anchor,
}

thread_local! {
    static INNERMOST: Cell<*mut Anchor> = const { Cell::new(ptr::null_mut()) };
}

unsafe extern "sysv64" {
    /// Calls `code(run, frame, base, arguments...)` so many times, at least once, each time with a
    /// run that has not begun; gives what the last call returns, or anything if it was left by way
    /// of `usermap_vm_leave`.
    fn usermap_vm_enter(
        anchor: *mut c_void,
        code: *const u8,
        run: *mut c_void,
        frame: u64,
        arguments: *const [u64; 5],
        times: u64,
    ) -> u64;
    /// The place in `usermap_vm_enter` where the handler resumes.
    fn usermap_vm_leave();
}

// All registers that a function must keep are saved first; the stack pointer after that is what
// the anchor gets, and 8 bytes below it are at a multiple of 16. The last two arguments are put on
// the stack once: no call changes them. Between two calls only the budget is to be filled up, unless
// a helper has changed more. Runs of short programs wait for jumps, so it jumps back only after some.
std::arch::global_asm!(
    ".pushsection .text.usermap_vm_enter,\"ax\",@progbits",
    ".globl usermap_vm_enter",
    ".hidden usermap_vm_enter",
    ".globl usermap_vm_leave",
    ".hidden usermap_vm_leave",
    "usermap_vm_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi], rsp",
    "sub rsp, 8",
    "push qword ptr [r8 + 32]",
    "push qword ptr [r8 + 24]",
    "mov rbx, rsi",
    "mov r12, rdx",
    "mov r13, rcx",
    "mov r14, r8",
    "mov r15, r9",
    "jmp 3f",
    "2:",
    ".rept 8",
    "cmp qword ptr [r12 + {used}], 0",
    "jne 4f",
    "mov rax, [r12 + {full}]",
    "mov [r12 + {budget}], rax",
    "3:",
    "mov rdi, r12",
    "mov rsi, r13",
    "mov rdx, [r12 + {base}]",
    "mov rcx, [r14]",
    "mov r8, [r14 + 8]",
    "mov r9, [r14 + 16]",
    "call rbx",
    "dec r15",
    "jle 5f",
    ".endr",
    "jmp 2b",
    "4:",
    "mov rdi, r12",
    "call {again}",
    "jmp 3b",
    "5:",
    "add rsp, 24",
    "usermap_vm_leave:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".popsection",
    used = const offsets::USED,
    full = const offsets::FULL,
    budget = const offsets::BUDGET,
    base = const offsets::BASE,
    again = sym again,
);

/// Ends a run, and makes it one that has not begun.
extern "sysv64" fn again(run: *mut Run<'_>) {
    // SAFETY: as in `call_helper`.
    let run = unsafe { &mut *run };
    run.again();
}

/// Calls the function at a byte of the code, with the machine's calling convention and the
/// arguments (run, frame, base, r1 to r5): so many times, at least once, each time as a new run. Gives
/// what the last call gave.
pub(crate) fn enter(
    code: &Executable,
    offset: usize,
    run: &mut Run<'_>,
    frame: u64,
    arguments: &[u64; 5],
    times: u64,
) -> Result<u64, Exit> {
    assert!(offset < code.length);
    install();
    let mut anchor = Anchor {
        stack: 0,
        start: code.start.as_ptr() as usize,
        length: code.length,
        exit: None,
        outer: INNERMOST.get(),
    };
    let at: *mut Anchor = &raw mut anchor;
    INNERMOST.set(at);
    let (memory, cpu) = (run.memory, run.cpu);
    let run = ptr::from_mut(run);
    memory.note_run(run as usize, cpu);
    // SAFETY: `offset` is the start of a function that the translator made, which keeps to the
    // calling convention, accesses memory only in the run's cage, in `Run::state`, at the run that
    // its cage notes, which is this one until another call of this function, and (to read)
    // in the maps of the run, and gives `run` to helpers only. `run` is borrowed for the whole
    // call, the anchor outlives it, and the handler resumes within it, where all registers are
    // restored from the anchor's stack.
    let value = unsafe {
        let function = code.start.as_ptr().add(offset);
        usermap_vm_enter(at.cast(), function, run.cast(), frame, arguments, times)
    };
    // SAFETY: the handler may have written it behind the compiler's back, through `at`.
    let exit = unsafe { ptr::read_volatile(&raw const (*at).exit) };
    INNERMOST.set(anchor.outer);
    exit.map_or(Ok(value), Err)
}

const SIGNALS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// What handled the signals before.
static BEFORE: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

/// Handles the signals from now on, once a process.
fn install() {
    BEFORE.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: an all-zero sigaction is a valid one, and the handler keeps to what may be
            // done in one: it reads its thread's own anchors and changes the context it resumes.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                let mut before: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &action, &mut before);
                before
            }
        })
    });
}

/// The handler.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let anchor = INNERMOST.get();
    // SAFETY: the kernel gives a handler with SA_SIGINFO these two. The anchor is null or lives:
    // `enter` takes it off the list before it returns.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as usize;
        if !anchor.is_null() && at.wrapping_sub((*anchor).start) < (*anchor).length {
            let memory = signal == libc::SIGSEGV || signal == libc::SIGBUS;
            (*anchor).exit = Some(Exit {
                offset: at - (*anchor).start,
                address: memory.then(|| (*info).si_addr() as usize),
                // Bit 1 of a page fault's error code: a store.
                write: registers[libc::REG_ERR as usize] & 2 != 0,
            });
            registers[libc::REG_RSP as usize] = (*anchor).stack as i64;
            registers[libc::REG_RIP as usize] = usermap_vm_leave as *const () as i64;
            return;
        }
        pass_on(signal, info, context);
    }
}

/// Does what would have been done without this handler.
///
/// # Safety
///
/// The arguments are those of a handler with SA_SIGINFO.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|known| *known == signal);
    let before = BEFORE.get().and_then(|before| before.get(index?));
    // SAFETY: the former handler gets what the kernel would have given it. Where there was none,
    // the default action is put back, and returning runs into the same fault again.
    unsafe {
        match before {
            Some(before)
                if before.sa_sigaction != libc::SIG_DFL && before.sa_sigaction != libc::SIG_IGN =>
            {
                if before.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(before.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(libc::c_int) =
                        std::mem::transmute(before.sa_sigaction);
                    handler(signal);
                }
            }
            Some(before) if before.sa_sigaction == libc::SIG_IGN && (*info).si_code <= 0 => {}
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                if (*info).si_code <= 0 {
                    // Sent by somebody: there is no instruction that would fault again.
                    libc::raise(signal);
                }
            }
        }
    }
}

/// Where machine code finds what it needs of a run.
pub(crate) mod offsets {
    use crate::run::{Run, State};
    use std::mem::offset_of;

    /// Bytes from the start of a run.
    pub(crate) const BASE: i32 = (offset_of!(Run<'static>, state) + offset_of!(State, base)) as i32;
    pub(crate) const BUDGET: i32 =
        (offset_of!(Run<'static>, state) + offset_of!(State, budget)) as i32;
    pub(crate) const FRAME: i32 =
        (offset_of!(Run<'static>, state) + offset_of!(State, frame)) as i32;
    pub(crate) const STOPPED: i32 =
        (offset_of!(Run<'static>, state) + offset_of!(State, stopped)) as i32;
    pub(crate) const TAIL_CALLED: i32 =
        (offset_of!(Run<'static>, state) + offset_of!(State, tail_called)) as i32;
    pub(crate) const ADDRESS: i32 =
        (offset_of!(Run<'static>, state) + offset_of!(State, address)) as i32;
    pub(crate) const FULL: i32 = (offset_of!(Run<'static>, state) + offset_of!(State, full)) as i32;
    pub(crate) const USED: i32 = (offset_of!(Run<'static>, state) + offset_of!(State, used)) as i32;
}

/// What machine code calls: a helper by its number.
pub(crate) extern "sysv64" fn call_helper(
    run: *mut Run<'_>,
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    id: u64,
) -> u64 {
    // SAFETY: machine code hands on the run that `enter` was given, which is borrowed for as long
    // and not used by anybody else meanwhile.
    let run = unsafe { &mut *run };
    run.call_from_machine(id as u32, [r1, r2, r3, r4, r5])
}

/// What machine code calls: `bpf_map_lookup_elem` of a map that it knows by its number.
pub(crate) extern "sysv64" fn look_up(run: *mut Run<'_>, map: u64, key: u64) -> u64 {
    // SAFETY: as in `call_helper`.
    let run = unsafe { &mut *run };
    run.look_up_from_machine(map as usize, key)
}

/// The same of `bpf_map_update_elem`.
pub(crate) extern "sysv64" fn update(
    run: *mut Run<'_>,
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
) -> u64 {
    // SAFETY: as in `call_helper`.
    let run = unsafe { &mut *run };
    run.update_from_machine(map as usize, [key, value, flags])
}

/// The same of `bpf_map_delete_elem`.
pub(crate) extern "sysv64" fn delete(run: *mut Run<'_>, map: u64, key: u64) -> u64 {
    // SAFETY: as in `call_helper`.
    let run = unsafe { &mut *run };
    run.delete_from_machine(map as usize, key)
}

/// The same of a legacy load from a packet.
pub(crate) extern "sysv64" fn load_packet(
    run: *mut Run<'_>,
    skb: u64,
    offset: u64,
    width: u64,
) -> u64 {
    // SAFETY: as in `call_helper`.
    let run = unsafe { &mut *run };
    run.load_packet_from_machine(skb, offset as i32, width as u8)
}
