//! A death at every step of every operation, without processes.
//!
//! An operation runs as a process of its own on a region: it takes a record, changes the map,
//! gives the record back. It is made to die before each of its stores in turn (`mem::mortal`);
//! then its record is marked as a dead process's. Of the region that is left it is checked that
//!
//! - what lookups and walks see is what was there before, or what the whole operation would have
//!   made of it; and cleaning up changes nothing of that;
//! - cleaned up, nothing is locked, reserved, leaked or miscounted;
//! - a check finds no damage, neither before cleaning up nor after it, and a repair keeps what is
//!   seen;
//! - every operation works at once, with or without cleaning up first, and the map takes as many
//!   entries as it says, and no more.
//!
//! Then other operations, or the cleaning up, run on what is left and die at each of their steps,
//! and so on for as many levels as the test has; states that were met before are not gone into
//! again.

mod array;
mod hash;
mod ring;

use crate::error::Reason;
use crate::map::{Inner, Map};
use crate::mem::mortal::live;
use crate::mem::owner::Writer;
use crate::mem::sync::Ordering::Relaxed;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash as _, Hasher};

/// A kind of map, and what is done to it.
trait Subject {
    type Operation: Copy + Debug;
    /// All that lookups and walks give.
    type Seen: Clone + PartialEq + Debug;

    fn map(&self) -> &Map;
    fn perform(&self, writer: Writer<'_>, operation: Self::Operation) -> Result<(), Reason>;
    /// What the map should look like after that, and what should be returned.
    fn expected(
        &self,
        seen: &Self::Seen,
        operation: Self::Operation,
    ) -> (Self::Seen, Result<(), Reason>);
    fn seen(&self) -> Self::Seen;
    /// That a map in use by nobody is in order.
    fn check_order(&self);
    /// That all operations work and the capacity is whole.
    fn check_use(&self, writer: Writer<'_>, seen: Self::Seen);
}

/// What a process does.
#[derive(Clone, Copy, Debug)]
enum Act<O> {
    /// This.
    Operation(O),
    /// Cleans up after all dead ones.
    CleanUp,
}

/// The words of a region that are not 0.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Image(Vec<(usize, u64)>);

/// A walk over the states that deaths leave behind.
struct Deaths<'s, S> {
    subject: &'s S,
    /// States of this walk, with how many levels were to come.
    met: HashSet<(u64, usize)>,
    /// States that proved fit for use.
    used: HashSet<u64>,
    /// Deaths, and different states that they left.
    count: u64,
    states: u64,
    /// Stores of the operations on the first level.
    steps: Vec<(String, u64)>,
}

impl Image {
    fn of(map: &Map) -> Image {
        let words = map.inner.region.words().iter().map(|word| word.load(Relaxed));
        Image(words.enumerate().filter(|(_, word)| *word != 0).collect())
    }

    fn restore(&self, map: &Map) {
        let mut kept = self.0.iter().copied().peekable();
        for (index, word) in map.inner.region.words().iter().enumerate() {
            let value = kept.next_if(|(at, _)| *at == index).map_or(0, |(_, value)| value);
            if word.load(Relaxed) != value {
                word.store(value, Relaxed);
            }
        }
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

fn clean_up(inner: &Inner) -> Result<(), Reason> {
    for writer in inner.owners().taken() {
        inner.owners().recover(writer, inner)?;
    }
    Ok(())
}

impl<'s, S: Subject> Deaths<'s, S> {
    fn new(subject: &'s S) -> Deaths<'s, S> {
        let (met, used) = (HashSet::new(), HashSet::new());
        Deaths { subject, met, used, count: 0, states: 0, steps: Vec::new() }
    }

    fn inner(&self) -> &'s Inner {
        &self.subject.map().inner
    }

    /// As a process: from taking a record to giving it back.
    fn act(&self, act: Act<S::Operation>) -> Result<(), Reason> {
        let inner = self.inner();
        let Act::Operation(operation) = act else { return clean_up(inner) };
        self.as_writer(|writer| self.subject.perform(writer, operation))
    }

    fn as_writer<T>(&self, run: impl FnOnce(Writer<'_>) -> T) -> T {
        let inner = self.inner();
        let number = inner.owners().claim(inner).unwrap();
        let outcome = run(inner.owners().writer(number).unwrap());
        inner.owners().release(number);
        outcome
    }

    fn expected(&self, seen: &S::Seen, act: Act<S::Operation>) -> (S::Seen, Result<(), Reason>) {
        match act {
            Act::Operation(operation) => self.subject.expected(seen, operation),
            Act::CleanUp => (seen.clone(), Ok(())),
        }
    }

    /// Lets each act of the first level die at each of its steps, from the map as it is; then
    /// those of the next level on what each of the deaths left, and so on.
    fn explore(&mut self, levels: &[&[Act<S::Operation>]]) {
        let (start, seen) = (Image::of(self.subject.map()), self.subject.seen());
        self.met.clear();
        self.steps.clear();
        self.descend(&start, &seen, levels, &mut Vec::new());
        start.restore(self.subject.map());
    }

    fn descend(
        &mut self,
        start: &Image,
        seen: &S::Seen,
        levels: &[&[Act<S::Operation>]],
        story: &mut Vec<(Act<S::Operation>, u64)>,
    ) {
        let Some((acts, deeper)) = levels.split_first() else { return };
        let map = self.subject.map();
        for act in *acts {
            let (whole, outcome) = self.expected(seen, *act);
            for steps in 0.. {
                story.push((*act, steps));
                start.restore(map);
                let lived = live(steps, || self.act(*act));
                if let Some(given) = lived {
                    assert_eq!(given, outcome, "{story:?}");
                    assert_eq!(self.subject.seen(), whole, "{story:?}");
                    self.check(&whole, story);
                    if story.len() == 1 {
                        self.steps.push((format!("{act:?}"), steps));
                    }
                    story.pop();
                    break;
                }
                self.count += 1;
                map.inner.owners().bury();
                let image = Image::of(map);
                if self.met.insert((image.fingerprint(), deeper.len())) {
                    self.states += 1;
                    let now = self.subject.seen();
                    assert!(now == *seen || now == whole, "{story:?}: {now:?}");
                    self.check(&now, story);
                    image.restore(map);
                    self.check_repair(&now, story);
                    image.restore(map);
                    self.check_use(&now, story);
                    self.descend(&image, &now, deeper, story);
                }
                story.pop();
            }
        }
    }

    /// Cleans up, and checks that nothing is left to clean up.
    fn check(&mut self, seen: &S::Seen, story: &[(Act<S::Operation>, u64)]) {
        self.told(story, || {
            let inner = self.inner();
            assert_eq!(self.subject.map().check().unwrap().findings, []);
            assert_eq!(clean_up(inner), Ok(()));
            assert_eq!(self.subject.seen(), *seen, "cleaning up changes nothing visible");
            for writer in inner.owners().taken() {
                assert!(writer.is_free(), "record {}", writer.number);
                assert!(writer.is_idle(), "record {}", writer.number);
            }
            self.subject.check_order();
            let check = self.subject.map().check().unwrap();
            assert!(check.is_clean() && check.still && check.dead_locks == 0, "{check:?}");
        });
        self.check_use(seen, story);
    }

    /// Repairs the map instead of cleaning up.
    fn check_repair(&mut self, seen: &S::Seen, story: &[(Act<S::Operation>, u64)]) {
        self.told(story, || {
            let done = self.subject.map().repair().unwrap();
            assert_eq!(done.dropped, 0);
            assert_eq!(self.subject.seen(), *seen, "a repair changes nothing visible");
            self.subject.check_order();
        });
        self.check_use(seen, story);
    }

    /// Checks that all works from the map as it is.
    fn check_use(&mut self, seen: &S::Seen, story: &[(Act<S::Operation>, u64)]) {
        if !self.used.insert(Image::of(self.subject.map()).fingerprint()) {
            return;
        }
        self.told(story, || {
            self.as_writer(|writer| self.subject.check_use(writer, seen.clone()));
            assert_eq!(clean_up(self.inner()), Ok(()));
            self.subject.check_order();
        });
    }

    /// Says who died where, if a check fails.
    fn told(&self, story: &[(Act<S::Operation>, u64)], check: impl FnOnce()) {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        if let Err(cause) = checked {
            eprintln!("after deaths, each after that many stores: {story:?}");
            std::panic::resume_unwind(cause);
        }
    }

    /// For the test's output.
    fn report(&self, name: &str) {
        println!("{name}: {} deaths, {} different states", self.count, self.states);
        for (act, steps) in &self.steps {
            println!("  {act}: {steps} stores");
        }
    }
}
