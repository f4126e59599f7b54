//! Kills a process after the 1st, 2nd, 3rd … instruction of an operation, until the operation is
//! over before that, each time a new process, and has the survivor look at what is left.

use std::fmt::{Display, Formatter};
use std::time::Duration;
use usermap_tests::check::{Verdict, soak};
use usermap_tests::rng::{Rng, seed};
use usermap_tests::trace::{Tracee, Way};

/// What is killed, and what must hold then.
pub trait Subject {
    /// In the survivor, before there is a child: makes what cannot be used twice.
    fn renew(&mut self) {}

    /// In the child, before it is traced: what shall not count as the operation's instructions.
    fn prepare(&self);

    /// In the survivor, while the child stands before the operation.
    fn reset(&mut self);

    /// The operation, in the child; gives its errno.
    fn act(&self) -> u8;

    /// In the survivor, while the child stands in the middle of the operation.
    fn stopped(&mut self) -> Verdict {
        Ok(())
    }

    /// In the survivor, after the child's death. `finished` is the operation's errno if it was over. What
    /// can be looked at in several orders is looked at in the order that `turn` names. Gives what
    /// the longest operation cost.
    fn killed(&mut self, finished: Option<u8>, turn: u64) -> Result<Duration, String>;

    /// How many orders there are.
    fn turns(&self) -> u64 {
        1
    }
}

/// What an operation's kills showed.
#[derive(Default)]
pub struct Seen {
    /// Instructions of the operation.
    pub instructions: u64,
    /// Instructions after which it was killed.
    pub points: u64,
    /// Whether those are not all.
    pub sampled: bool,
    /// Kills.
    pub kills: u64,
    /// Stops of all children on their ways.
    pub stops: u64,
    /// The longest operation of the survivor's.
    pub longest: Duration,
}

impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Seen { instructions, points, sampled, kills, stops, longest } = self;
        write!(f, "{points:5} kill points ")?;
        if *sampled {
            write!(f, "of about {instructions} ")?;
        }
        write!(
            f,
            "({kills} kills, {stops} stops); the survivor's longest call took {} µs",
            longest.as_micros()
        )
    }
}

/// Of an operation with more instructions than this, a test that does not soak takes only some.
const ALL: u64 = 1500;
/// And about so many, spread evenly.
const SOME: u64 = 200;
/// How often one of its places is looked for. Close to its end, where another one is over, none is found.
const TRIES: u64 = 8;

/// How long an operation of the survivor's may take, whatever the dead process held.
const LIMIT: Duration = Duration::from_millis(100);

/// Kills it everywhere. Gives why nothing can be traced here, if that is so.
///
/// # Panics
///
/// If the survivor complains.
pub fn kill_everywhere(name: &str, subject: &mut impl Subject) -> Result<Seen, String> {
    match try_everywhere(subject)? {
        Ok(seen) => Ok(seen),
        Err(why) => panic!("{name}, {why} (USERMAP_SEED={})", seed()),
    }
}

/// The same, with what the survivor complains of as the inner error.
pub fn try_everywhere(subject: &mut impl Subject) -> Result<Result<Seen, String>, String> {
    let mut whole = start(subject)?;
    let way = whole.walk();
    whole.kill(false);
    if let Err(why) = subject.killed(whole.finished(), 0) {
        return Ok(Err(format!("killed after all of it: {why}")));
    }
    let seen = Seen { instructions: way.instructions(), stops: whole.stops(), ..Seen::default() };
    let mut hunt = Hunt { subject, way, seen, rng: Rng::new(seed()) };
    let first_turn = hunt.rng.draw();
    let mut window = 0;
    // Until it is over before it is killed: a few instructions more or less from run to run.
    loop {
        let n = hunt.way.instructions();
        let stride = if soak().is_some() || n <= ALL { 1 } else { n / SOME };
        hunt.seen.sampled |= stride > 1;
        hunt.seen.instructions = hunt.seen.instructions.max(n);
        if window + 1 >= n {
            return Ok(Ok(hunt.seen));
        }
        let turns = if soak().is_some() && n <= ALL { hunt.subject.turns() } else { 1 };
        let kills = hunt.seen.kills;
        for turn in 0..turns {
            let (after, child) = hunt.bring(window, stride)?;
            let Some(mut child) = child else {
                if after + 1 >= hunt.way.instructions() {
                    return Ok(Ok(hunt.seen));
                }
                // A shorter way than usual.
                continue;
            };
            let verdict = hunt.subject.stopped();
            child.kill(hunt.seen.kills % 2 == 1);
            let turn = (first_turn.wrapping_add(after) + turn) % hunt.subject.turns();
            match verdict.and_then(|()| hunt.subject.killed(None, turn)) {
                Ok(longest) if longest <= LIMIT => {
                    hunt.seen.longest = hunt.seen.longest.max(longest)
                }
                verdict => {
                    let slow = |time| format!("an operation took {time:?}, longer than {LIMIT:?}");
                    let why = verdict.map_or_else(|why| why, slow);
                    let place = format!("killed after instruction {after} of {n}, turn {turn}");
                    return Ok(Err(format!("{place}: {why}")));
                }
            }
            hunt.seen.kills += 1;
        }
        hunt.seen.points += u64::from(hunt.seen.kills > kills);
        window += stride;
    }
}

/// An operation, the way that it took last, and what was seen of it.
struct Hunt<'s, S> {
    subject: &'s mut S,
    way: Way,
    seen: Seen,
    rng: Rng,
}

impl<S: Subject> Hunt<'_, S> {
    /// A child that stands behind an instruction: behind `window` others, and one of the next `stride`.
    /// None if the operation was over before that. And which instruction it is.
    fn bring(&mut self, window: u64, stride: u64) -> Result<(u64, Option<Tracee>), String> {
        // The ways of long operations differ, by where memory is found for them, say. Another way to
        // about the same place is as good.
        let any = self.way.instructions() > ALL;
        let mut after = window + 1;
        for _ in 0..if any { TRIES } else { 1 } {
            after = window + 1 + self.rng.below(stride);
            let mut child = start(self.subject)?;
            let there = child.follow(&self.way, after);
            self.seen.stops += child.stops();
            if there || any && !child.is_over() {
                return Ok((after, Some(child)));
            }
        }
        if any {
            return Ok((after, None));
        }
        let mut whole = start(self.subject)?;
        self.way = whole.walk();
        self.seen.stops += whole.stops();
        drop(whole);
        let mut child = start(self.subject)?;
        if !child.follow(&self.way, after) {
            self.seen.stops += child.stops();
            drop(child);
            child = start(self.subject)?;
            child.step(after);
        }
        self.seen.stops += child.stops();
        Ok((after, (!child.is_over()).then_some(child)))
    }
}

fn start(subject: &mut impl Subject) -> Result<Tracee, String> {
    subject.renew();
    let child = Tracee::start(|| subject.prepare(), || subject.act())?;
    subject.reset();
    Ok(child)
}
