//! How an object is loaded.

use crate::run::{HelperCall, OwnHelper, Trace};
use std::collections::HashMap;
use std::sync::Arc;

/// How an object is loaded.
///
/// ```
/// # use usermap_vm::{Object, Options};
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
/// let options = Options::new().interpret(true).budget(10_000).slots(2).only(["inspect"]);
/// let loaded = Object::open(path)?.load(&options)?;
/// assert_eq!(loaded.map("packets")?.spec().cpus, 2);
/// # Ok::<(), usermap_vm::Error>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) interpret: bool,
    pub(crate) budget: u64,
    slots: Option<u32>,
    pub(crate) huge_pages: bool,
    pub(crate) only: Option<Vec<String>>,
    pub(crate) helpers: HashMap<u32, (&'static str, OwnHelper)>,
    pub(crate) trace: Option<Trace>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            interpret: false,
            budget: 1 << 30,
            slots: None,
            huge_pages: false,
            only: None,
            helpers: HashMap::new(),
            trace: None,
        }
    }
}

impl Options {
    /// Machine code, a budget of 2^30 instructions a run, a slot for each possible CPU.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new())?;
    /// assert_eq!(loaded.program("firewall")?.name(), "firewall");
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn new() -> Options {
        Options::default()
    }

    /// Whether programs are interpreted instead of translated to machine code.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let interpreted = Object::open(path)?.load(&Options::new().interpret(true))?;
    /// let outcome = interpreted.program("firewall")?.run(&mut Xdp::new(vec![0; 64]).into())?;
    /// assert_eq!(outcome.value, 2); // XDP_PASS
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn interpret(mut self, interpret: bool) -> Options {
        self.interpret = interpret;
        self
    }

    /// How many instructions a run may take.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new().budget(1000).only(["spin"]))?;
    /// let error = loaded.program("spin")?.run(&mut Context::from(vec![0; 8])).unwrap_err();
    /// assert!(error.to_string().ends_with("the budget of 1000 instructions is spent"), "{error}");
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn budget(mut self, instructions: u64) -> Options {
        self.budget = instructions;
        self
    }

    /// How many runs there may be at once: the CPU slots of the per-CPU maps that are created.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let loaded = Object::open(path)?.load(&Options::new().slots(3))?;
    /// assert_eq!(loaded.map("verdicts")?.spec().cpus, 3);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn slots(mut self, slots: u32) -> Options {
        self.slots = Some(slots);
        self
    }

    /// Whether the maps that are created are to be in pages of 2 MiB, as
    /// [`Spec::huge_pages`](usermap::Spec::huge_pages) says: programs that use much of a large map are faster then, and
    /// loading takes all memory of the maps at once. Maps that are made with `NO_PREALLOC` take
    /// theirs as needed all the same.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/firewall.bpf.o");
    /// let mut object = Object::open(path)?;
    /// object.max_entries("blocked_ports", 100_000)?;
    /// let loaded = object.load(&Options::new().huge_pages(true))?;
    /// let pages = loaded.map("blocked_ports")?.huge_pages();
    /// assert!(pages.wanted);
    /// println!("{} bytes of it", pages.bytes);
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn huge_pages(mut self, wanted: bool) -> Options {
        self.huge_pages = wanted;
        self
    }

    /// Only these programs need to be fit to run; without this, all of the object's.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let object = Object::open(path)?;
    /// assert!(object.load(&Options::new()).is_err()); // `order` calls a helper that there is not
    /// let loaded = object.load(&Options::new().only(["inspect"]))?;
    /// assert!(loaded.program("inspect").is_ok());
    /// let error = loaded.program("order").err().expect("left out");
    /// assert!(error.to_string().contains("left out"), "{error}");
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn only(mut self, programs: impl IntoIterator<Item = impl Into<String>>) -> Options {
        self.only = Some(programs.into_iter().map(Into::into).collect());
        self
    }

    /// A helper of your own, by the number that programs call it by. Numbers that Linux has, or
    /// usermap, are theirs: take one above 0x1_0000.
    ///
    /// ```
    /// # use usermap_vm::{Context, Object, Options};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let prices = [3, 7, 5];
    /// let options = Options::new().helper(0x1_0001, "price_of", move |call| {
    ///     let [article, ..] = call.arguments();
    ///     prices.get(article as usize).copied().unwrap_or(0)
    /// });
    /// let loaded = Object::open(path)?.load(&options)?;
    ///
    /// let order: Vec<u8> = [1_u32, 6, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    /// let mut context = Context::from(order);
    /// loaded.program("order")?.run(&mut context)?;
    /// assert_eq!(context.to_bytes()[8..], 42_u32.to_ne_bytes());
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn helper(
        mut self,
        id: u32,
        name: &'static str,
        function: impl Fn(&mut HelperCall<'_>) -> u64 + Send + Sync + 'static,
    ) -> Options {
        self.helpers.insert(id, (name, Arc::new(function)));
        self
    }

    /// Who gets what programs print with `bpf_printk`.
    ///
    /// ```
    /// # use usermap_vm::{Object, Options, Xdp};
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/objects/tour.bpf.o");
    /// let (lines, printed) = std::sync::mpsc::channel();
    /// let options = Options::new().only(["inspect"]).trace(move |line| {
    ///     let _ = lines.send(line.to_owned());
    /// });
    /// let loaded = Object::open(path)?.load(&options)?;
    /// loaded.program("inspect")?.run(&mut Xdp::new(vec![0; 2000]).into())?;
    /// assert!(printed.recv().unwrap().contains("2000 bytes are too many"));
    /// # Ok::<(), usermap_vm::Error>(())
    /// ```
    pub fn trace(mut self, trace: impl Fn(&str) + Send + Sync + 'static) -> Options {
        self.trace = Some(Arc::new(trace));
        self
    }

    pub(crate) fn slot_count(&self) -> u32 {
        self.slots.unwrap_or_else(usermap::possible_cpus).max(1)
    }
}
