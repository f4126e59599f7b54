//! The caller's memory: copies that give a [`Fault`] where the kernel would give EFAULT.
//!
//! On x86-64 a copy is a small routine of its own. A signal handler knows its addresses: an access
//! of its that traps is resumed at the routine's other end, which returns 1. So a good address costs
//! nothing but the copy. Words have routines of their own, which give and take them in registers. All
//! other traps go on to whatever handled the signal before. Elsewhere the kernel copies
//! (`process_vm_readv` on this very process).

use usermap::command::Fault;

/// Reads the caller's memory.
///
/// ```
/// use usermap_c::foreign::memory::{read, write};
/// let mut number = 7_u32;
/// let mut bytes = [0; 4];
/// read(&raw const number as u64, &mut bytes).unwrap();
/// assert_eq!(u32::from_ne_bytes(bytes), 7);
/// write(&raw mut number as u64, &[0; 4]).unwrap();
/// assert_eq!(number, 0);
/// assert!(read(8, &mut bytes).is_err());
/// ```
#[inline(always)]
pub fn read(address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    // SAFETY: the target is `bytes`; the source is read by the guarded routine, whatever is there.
    unsafe { copy(bytes.as_mut_ptr(), address as *const u8, bytes.len()) }
}

/// Reads words of the caller's memory, at any address.
///
/// ```
/// let mut words = [0];
/// usermap_c::foreign::memory::read_words(&raw const *&[7_u64, 8] as u64, &mut words).unwrap();
/// assert_eq!(words, [7]);
/// ```
#[inline]
pub fn read_words(address: u64, words: &mut [u64]) -> Result<(), Fault> {
    // SAFETY: as above; words may be any bytes.
    unsafe { copy(words.as_mut_ptr().cast(), address as *const u8, size_of_val(words)) }
}

/// Writes the caller's memory. [`read`] has an example.
///
/// What is at the address is for the caller of the C function to know, as it is for bpf(2): its
/// contract is that this memory is its own, and not that of a Rust value.
#[inline(always)]
pub fn write(address: u64, bytes: &[u8]) -> Result<(), Fault> {
    // SAFETY: the source is `bytes`; the target is what C's caller said may be written.
    unsafe { copy(address as *mut u8, bytes.as_ptr(), bytes.len()) }
}

/// Reads as many bytes as the compiler knows of, in words of 8 and 4. For those who use a map that
/// the table of descriptors has: whoever put it there has [installed](install) the handler, so that
/// nothing needs to look after that here.
#[inline(always)]
pub(super) fn load<const N: usize>(address: u64) -> Result<[u8; N], Fault> {
    const { assert!(N.is_multiple_of(4)) };
    let mut bytes = [0; N];
    let (words, rest) = bytes.as_chunks_mut::<8>();
    let rest_address = address.wrapping_add(size_of_val(words) as u64);
    for (index, word) in words.iter_mut().enumerate() {
        *word = load_8(address.wrapping_add(index as u64 * 8))?;
    }
    if let Some(half) = rest.first_chunk_mut() {
        *half = load_4(rest_address)?;
    }
    Ok(bytes)
}

/// Writes as many bytes as the compiler knows of, as [`write`] does, for those who may [`load`].
#[inline(always)]
pub(super) fn store<const N: usize>(address: u64, bytes: &[u8; N]) -> Result<(), Fault> {
    const { assert!(N.is_multiple_of(4)) };
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        store_8(address.wrapping_add(index as u64 * 8), *word)?;
    }
    match rest.first_chunk() {
        Some(half) => store_4(address.wrapping_add(size_of_val(words) as u64), *half),
        None => Ok(()),
    }
}

#[cfg(target_arch = "x86_64")]
pub use machine::install;
#[cfg(target_arch = "x86_64")]
use machine::{copy, load_4, load_8, store_4, store_8};

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::ffi::c_void;
    use std::sync::OnceLock;
    use usermap::command::Fault;

    unsafe extern "sysv64" {
        /// Copies `length` bytes; gives 0, or 1 if an address was bad.
        fn usermap_c_copy(target: *mut u8, source: *const u8, length: usize) -> u32;
        fn usermap_c_load_4();
        fn usermap_c_load_8();
        fn usermap_c_store_4();
        fn usermap_c_store_8();
        /// The first byte after the part of all these that accesses memory.
        fn usermap_c_copied();
    }

    // Whole words first, then the last word of the copy, which may overlap them; below a word, byte
    // by byte. (With 16 bytes at once the CPU waits for what was written in words just before, as keys
    // and attributes are.) No stack is used, so the handler needs to change the instruction pointer only.
    std::arch::global_asm!(
        ".pushsection .text.usermap_c_copy,\"ax\",@progbits",
        ".globl usermap_c_copy",
        ".hidden usermap_c_copy",
        ".globl usermap_c_copied",
        ".hidden usermap_c_copied",
        "usermap_c_copy:",
        "cmp rdx, 8",
        "jb 4f",
        "cmp rdx, 512",
        "jae 6f",
        "mov r8, [rsi + rdx - 8]",
        "lea r9, [rdi + rdx - 8]",
        "2:",
        "sub rdx, 8",
        "jbe 3f",
        "mov rax, [rsi]",
        "mov [rdi], rax",
        "add rsi, 8",
        "add rdi, 8",
        "jmp 2b",
        "3:",
        "mov [r9], r8",
        "xor eax, eax",
        "ret",
        "4:",
        "test rdx, 4",
        "jz 5f",
        "mov eax, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], eax",
        "mov [rdi + rdx - 4], r8d",
        "xor eax, eax",
        "ret",
        "6:",
        "mov rcx, rdx",
        "rep movsb",
        "xor eax, eax",
        "ret",
        "5:",
        "test edx, edx",
        "jz 8f",
        "7:",
        "mov al, [rsi]",
        "mov [rdi], al",
        "inc rsi",
        "inc rdi",
        "dec edx",
        "jnz 7b",
        "8:",
        "xor eax, eax",
        "ret",
        // Words: the address in rdx, the word in rcx.
        ".globl usermap_c_load_4",
        ".hidden usermap_c_load_4",
        "usermap_c_load_4:",
        "mov ecx, [rdx]",
        "xor eax, eax",
        "ret",
        ".globl usermap_c_load_8",
        ".hidden usermap_c_load_8",
        "usermap_c_load_8:",
        "mov rcx, [rdx]",
        "xor eax, eax",
        "ret",
        ".globl usermap_c_store_4",
        ".hidden usermap_c_store_4",
        "usermap_c_store_4:",
        "mov [rdx], ecx",
        "xor eax, eax",
        "ret",
        ".globl usermap_c_store_8",
        ".hidden usermap_c_store_8",
        "usermap_c_store_8:",
        "mov [rdx], rcx",
        "xor eax, eax",
        "ret",
        "usermap_c_copied:",
        "mov eax, 1",
        "ret",
        ".popsection",
    );

    /// Calls one of the routines for words, which change no other registers.
    macro_rules! word {
        ($routine:ident, $address:expr, $word:expr) => {{
            let (bad, word): (u64, u64);
            // SAFETY: the routine touches the word at this address only, which is the caller's own
            // memory, and comes back if that traps.
            unsafe {
                std::arch::asm!(
                    "call {routine}",
                    routine = sym $routine,
                    in("rdx") $address,
                    inlateout("rcx") $word => word,
                    lateout("rax") bad,
                );
            }
            if bad == 0 { Ok(word) } else { Err(Fault) }
        }};
    }

    #[inline(always)]
    pub(super) fn load_4(address: u64) -> Result<[u8; 4], Fault> {
        word!(usermap_c_load_4, address, 0_u64).map(|word: u64| (word as u32).to_ne_bytes())
    }

    #[inline(always)]
    pub(super) fn load_8(address: u64) -> Result<[u8; 8], Fault> {
        word!(usermap_c_load_8, address, 0_u64).map(u64::to_ne_bytes)
    }

    #[inline(always)]
    pub(super) fn store_4(address: u64, bytes: [u8; 4]) -> Result<(), Fault> {
        word!(usermap_c_store_4, address, u64::from(u32::from_ne_bytes(bytes))).map(|_: u64| ())
    }

    #[inline(always)]
    pub(super) fn store_8(address: u64, bytes: [u8; 8]) -> Result<(), Fault> {
        word!(usermap_c_store_8, address, u64::from_ne_bytes(bytes)).map(|_: u64| ())
    }

    /// # Safety
    ///
    /// One of the two is the caller's own memory, of this length; the other may be anything, but
    /// nothing that Rust has references to.
    #[inline(always)]
    pub(super) unsafe fn copy(
        target: *mut u8,
        source: *const u8,
        length: usize,
    ) -> Result<(), Fault> {
        install();
        // SAFETY: the routine touches these bytes only, and comes back if an access traps.
        match unsafe { usermap_c_copy(target, source, length) } {
            0 => Ok(()),
            _ => Err(Fault),
        }
    }

    const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

    /// What handled the signals before.
    static BEFORE: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

    /// Handles the signals from now on, once a process.
    #[inline(always)]
    pub fn install() {
        BEFORE.get_or_init(|| {
            SIGNALS.map(|signal| {
                // SAFETY: an all-zero sigaction is a valid one. The handler keeps to what may be done
                // in one: it changes the context that it resumes, or calls the one before.
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

    extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let (start, end) =
            (usermap_c_copy as *const () as u64, usermap_c_copied as *const () as u64);
        // SAFETY: the kernel gives a handler with SA_SIGINFO a context that is its own to change.
        let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let at = &mut registers[libc::REG_RIP as usize];
        if (start..end).contains(&(*at as u64)) {
            *at = end as i64;
            return;
        }
        // SAFETY: these are a handler's arguments.
        unsafe { pass_on(signal, info, context) };
    }

    /// Does what would have been done without this handler.
    ///
    /// # Safety
    ///
    /// The arguments are those of a handler with SA_SIGINFO.
    unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        type Full = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void);
        type Plain = extern "C" fn(libc::c_int);
        let index = SIGNALS.iter().position(|known| *known == signal);
        let before = index.and_then(|index| BEFORE.get().map(|before| before[index]));
        let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
        // SAFETY: a former handler gets what the kernel would have given it. Where there was none, the
        // default is put back: the instruction runs into the same fault again; what was sent by
        // somebody is raised again.
        unsafe {
            let sent = (*info).si_code <= 0;
            match (handler, before) {
                (libc::SIG_IGN, _) if sent => {}
                (libc::SIG_DFL | libc::SIG_IGN, _) | (_, None) => {
                    libc::signal(signal, libc::SIG_DFL);
                    if sent {
                        libc::raise(signal);
                    }
                }
                (_, Some(before)) if before.sa_flags & libc::SA_SIGINFO != 0 => {
                    std::mem::transmute::<usize, Full>(handler)(signal, info, context);
                }
                _ => std::mem::transmute::<usize, Plain>(handler)(signal),
            }
        }
    }
}

/// # Safety
///
/// One of the two is the caller's own memory, of this length.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy(target: *mut u8, source: *const u8, length: usize) -> Result<(), Fault> {
    let part =
        |start: *const u8| libc::iovec { iov_base: start.cast_mut().cast(), iov_len: length };
    // SAFETY: the kernel reads and writes what it may, and says how much that was.
    let copied =
        unsafe { libc::process_vm_readv(libc::getpid(), &part(target), 1, &part(source), 1, 0) };
    if copied == length as isize { Ok(()) } else { Err(Fault) }
}

/// Nothing is needed here.
#[cfg(not(target_arch = "x86_64"))]
pub fn install() {}

#[cfg(not(target_arch = "x86_64"))]
fn load_4(address: u64) -> Result<[u8; 4], Fault> {
    let mut bytes = [0; 4];
    read(address, &mut bytes).map(|()| bytes)
}

#[cfg(not(target_arch = "x86_64"))]
fn load_8(address: u64) -> Result<[u8; 8], Fault> {
    let mut bytes = [0; 8];
    read(address, &mut bytes).map(|()| bytes)
}

#[cfg(not(target_arch = "x86_64"))]
fn store_4(address: u64, bytes: [u8; 4]) -> Result<(), Fault> {
    write(address, &bytes)
}

#[cfg(not(target_arch = "x86_64"))]
fn store_8(address: u64, bytes: [u8; 8]) -> Result<(), Fault> {
    write(address, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_sizes() {
        install();
        let bytes: [u8; 20] = std::array::from_fn(|index| index as u8);
        let mut target = [0; 20];
        let (from, to) = (bytes.as_ptr() as u64, target.as_mut_ptr() as u64);
        assert_eq!(load::<4>(from + 1), Ok([1, 2, 3, 4]));
        assert_eq!(load::<8>(from + 3), Ok([3, 4, 5, 6, 7, 8, 9, 10]));
        assert_eq!(load::<20>(from), Ok(bytes));
        assert_eq!(store(to, &bytes), Ok(()));
        assert_eq!(target, bytes);
    }

    #[test]
    fn copies_of_all_sizes() {
        let bytes: [u8; 600] = std::array::from_fn(|index| (index % 251) as u8 + 1);
        for length in (0..100).chain([511, 512, 513, 599]) {
            for from in 0..2 {
                let mut target = [0; 602];
                let copied = read(bytes[from..].as_ptr() as u64, &mut target[2..2 + length]);
                assert_eq!(copied, Ok(()));
                assert_eq!(target[2..2 + length], bytes[from..from + length], "{length} bytes");
                assert_eq!(target[..2], [0; 2]);
                assert!(target[2 + length..].iter().all(|byte| *byte == 0), "{length} bytes");
            }
        }
    }

    #[test]
    fn bad_addresses() {
        install();
        // None, one in the first page, and one that no address can be.
        for address in [0, 8, 1 << 62] {
            assert_eq!(load::<4>(address), Err(Fault));
            assert_eq!(load::<8>(address), Err(Fault));
            assert_eq!(store(address, &[0; 4]), Err(Fault));
            assert_eq!(store(address, &[0; 8]), Err(Fault));
            for length in [1, 4, 8, 16, 40, 600] {
                assert_eq!(read(address, &mut vec![0; length]), Err(Fault));
                assert_eq!(write(address, &vec![0; length]), Err(Fault));
            }
        }
    }
}
