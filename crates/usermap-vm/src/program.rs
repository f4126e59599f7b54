//! Programs that can be run: on a context, on many, from any thread.

use crate::context::{Context, Redirect};
use crate::error::{Error, Result};
use crate::load::Shared;
use crate::program_type::ProgramType;
use crate::run::Run;
use crate::sandbox::cage::{CONTEXT, Cage};
use crate::slots::Lease;
use std::sync::Arc;

/// A program of a loaded object. Cheap to clone.
///
/// ```
/// # use usermap_vm::{Object, Options, Xdp};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
/// let loaded = Object::open(path)?.load(&Options::new())?;
/// let program = loaded.program("firewall")?;
/// let other = program.clone();
/// std::thread::spawn(move || other.run(&mut Xdp::new(vec![0; 64]).into())).join().unwrap()?;
/// # Ok::<(), usermap_vm::Error>(())
/// ```
#[derive(Clone)]
pub struct Program {
    shared: Arc<Shared>,
    number: usize,
}

/// What a run gave.
///
/// ```
/// # use usermap_vm::{Object, Options, Xdp};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
/// let loaded = Object::open(path)?.load(&Options::new())?;
/// let outcome = loaded.program("firewall")?.run(&mut Xdp::new(vec![0; 64]).into())?;
/// assert_eq!((outcome.value, outcome.redirect), (2, None)); // XDP_PASS
/// assert!(outcome.instructions > 10);
/// # Ok::<(), usermap_vm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned: its verdict, in the lower 32 bits.
    pub value: u64,
    /// Where the packet goes, if the verdict is to redirect it.
    pub redirect: Option<Redirect>,
    /// Where clones of the packet were sent (`bpf_clone_redirect`).
    pub clones: Vec<Redirect>,
    /// Instructions that were taken off the budget.
    pub instructions: u64,
}

impl Program {
    pub(crate) fn new(shared: Arc<Shared>, number: usize) -> Program {
        Program { shared, number }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Its name.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// assert_eq!(loaded.programs()[0].name(), "firewall");
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.shared.vm.programs[self.number].code.name
    }

    /// Its type, which says what context it takes.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options, ProgramType};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// assert_eq!(loaded.program("firewall")?.program_type(), ProgramType::Xdp);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn program_type(&self) -> ProgramType {
        self.shared.vm.programs[self.number].program_type
    }

    /// Runs it once. The context is then as the program left it.
    ///
    /// # Errors
    ///
    /// The context does not suit the program's type; the program went wrong ([`Error::Fault`]);
    /// no CPU slot became free.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// let program = loaded.program("firewall")?;
    /// let mut context = Context::from(Xdp::new(vec![0; 64]));
    /// assert_eq!(program.run(&mut context)?.value, 2); // XDP_PASS
    /// assert_eq!(context.packet().map(<[u8]>::len), Some(64));
    /// // A context that does not suit it.
    /// assert!(program.run(&mut Context::from(vec![1, 2, 3])).is_err());
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn run(&self, context: &mut Context) -> Result<Outcome> {
        self.runner()?.run(context)
    }

    /// Runs it on many contexts, one after the other, on one CPU slot.
    ///
    /// # Errors
    ///
    /// No CPU slot became free. What goes wrong with a context is in its own outcome.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// let program = loaded.program("firewall")?;
    /// let mut contexts: Vec<Context> = (20..80).map(|size| Xdp::new(vec![0; size]).into()).collect();
    /// for outcome in program.run_batch(&mut contexts)? {
    ///     assert_eq!(outcome?.value, 2); // XDP_PASS
    /// }
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn run_batch(&self, contexts: &mut [Context]) -> Result<Vec<Result<Outcome>>> {
        let mut runner = self.runner()?;
        Ok(contexts.iter_mut().map(|context| runner.run(context)).collect())
    }

    /// Takes a CPU slot for as many runs as are wanted.
    ///
    /// # Errors
    ///
    /// No slot became free, or there is no memory for its stack and packets.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// let program = loaded.program("firewall")?;
    /// let mut runner = program.runner()?;
    /// let mut context = Context::from(Xdp::new(vec![0; 64]));
    /// for _ in 0..1000 {
    ///     runner.run(&mut context)?;
    /// }
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn runner(&self) -> Result<Runner<'_>> {
        self.take(None)
    }

    /// Takes a certain CPU slot; otherwise as [`runner`](Program::runner).
    ///
    /// # Errors
    ///
    /// There is no such slot, or it did not become free.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new().slots(2))?;
    /// let program = loaded.program("firewall")?;
    /// assert_eq!(program.runner_on(1)?.cpu(), 1);
    /// assert!(program.runner_on(2).is_err());
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn runner_on(&self, cpu: u32) -> Result<Runner<'_>> {
        let count = self.shared.slots.count();
        if cpu >= count {
            let rule = format!("there are {count}");
            return Err(Error::Invalid { what: format!("CPU slot {cpu}"), rule });
        }
        self.take(Some(cpu))
    }

    fn take(&self, cpu: Option<u32>) -> Result<Runner<'_>> {
        let shared = &*self.shared;
        let lease = shared.slots.take(&shared.leased(), cpu, || shared.cage())?;
        Ok(Runner { shared, number: self.number, lease })
    }
}

/// A program with a CPU slot and memory of its own; the slot is given back when it is dropped.
///
/// ```
/// # use usermap_vm::{Object, Options};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
/// let loaded = Object::open(path)?.load(&Options::new().slots(2))?;
/// let program = loaded.program("firewall")?;
/// let (first, second) = (program.runner()?, program.runner()?);
/// assert_ne!(first.cpu(), second.cpu());
/// # Ok::<(), usermap_vm::Error>(())
/// ```
pub struct Runner<'p> {
    shared: &'p Shared,
    number: usize,
    lease: Lease<'p>,
}

impl Runner<'_> {
    /// The CPU slot.
    pub fn cpu(&self) -> u32 {
        self.lease.cpu()
    }

    /// Runs the program once; as [`Program::run`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run(&mut self, context: &mut Context) -> Result<Outcome> {
        self.repeat(context, 1)
    }

    /// Runs the program so many times, at least once, as the kernel's `BPF_PROG_TEST_RUN` does
    /// with `repeat`: each run finds the packet and the context as the one before left them. Gives
    /// what the last run gave.
    ///
    /// # Errors
    ///
    /// As [`Program::run`]; the first that goes wrong is the last.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// let verdicts = usermap::PerCpuArray::<u64>::from_map(loaded.map("verdicts")?)?;
    /// let program = loaded.program("firewall")?;
    /// program.runner()?.repeat(&mut Context::from(Xdp::new(vec![0; 64])), 1000)?;
    /// assert_eq!(verdicts.sum(2)?, 1000); // XDP_PASS
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn repeat(&mut self, context: &mut Context, times: u64) -> Result<Outcome> {
        let (shared, number) = (self.shared, self.number);
        let program_type = shared.vm.programs[number].program_type;
        let memory = self.memory()?;
        let packet = context.place(program_type, memory)?;
        let mut run = Run::new(&shared.vm, memory, self.lease.cpu(), packet);
        let given = run.start(number, [CONTEXT, 0, 0, 0, 0], times);
        let value = given.map_err(|trap| shared.vm.fault(trap))?;
        let left = u64::try_from(run.state.budget).unwrap_or_default();
        let packet = run.packet;
        context.collect(memory, &packet)?;
        Ok(Outcome {
            value,
            redirect: packet.redirect.filter(|_| program_type.is_redirect(value)),
            clones: packet.clones,
            instructions: shared.vm.budget.saturating_sub(left),
        })
    }

    fn memory(&self) -> Result<&Cage> {
        self.lease.cage().ok_or_else(|| Error::Invalid {
            what: "the runner".to_owned(),
            rule: "it has lost its memory".to_owned(),
        })
    }
}
