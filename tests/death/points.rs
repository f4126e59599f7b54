//! Kills a process after the 1st, 2nd, 3rd … instruction of an operation, until the operation is
//! over before that, each time a new process, and has the survivor look at what is left.

use std::fmt::{Display, Formatter};
use std::time::Duration;
use usermap_tests::check::{Verdict, soak};
use usermap_tests::rng::{Rng, seed};
use usermap_tests::trace::Tracee;

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
    /// can be looked at in several orders is looked at in the order that `turn` names. Gives how
    /// long the longest operation took.
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
    /// The longest operation of the survivor's.
    pub longest: Duration,
}

impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Seen { instructions, points, sampled, kills, longest } = self;
        write!(f, "{points:5} kill points ")?;
        if *sampled {
            write!(f, "of about {instructions} ")?;
        }
        write!(f, "({kills} kills); the survivor's longest call took {} µs", longest.as_micros())
    }
}

/// Of an operation with more instructions than this, a test that does not soak takes only some.
const ALL: u64 = 1500;
/// And about so many, spread evenly.
const SOME: u64 = 200;
/// Of one with more than this, whose kills take many stops each,
const LONG: u64 = 4000;
/// about so many.
const FEW: u64 = 12;

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
    let mut seen = Seen::default();
    let mut whole = start(subject)?;
    let mut way = whole.walk();
    seen.instructions = way.instructions();
    whole.kill(false);
    if let Err(why) = subject.killed(whole.finished(), 0) {
        return Ok(Err(format!("killed after all of it: {why}")));
    }
    let mut rng = Rng::new(seed());
    let first_turn = rng.draw();
    let mut window = 0;
    // Until it is over before it is killed: a few instructions more or less from run to run.
    loop {
        let n = way.instructions();
        let stride = match n {
            _ if soak().is_some() || n <= ALL => 1,
            _ if n <= LONG => n / SOME,
            _ => n / FEW,
        };
        seen.sampled |= stride > 1;
        seen.instructions = seen.instructions.max(n);
        let after = window + 1 + rng.below(stride);
        window += stride;
        if stride > 1 && after >= n {
            return Ok(Ok(seen));
        }
        let turns = if soak().is_some() { subject.turns() } else { 1 };
        for turn in 0..turns {
            let mut child = start(subject)?;
            // Where only some places are taken, another way to one of them is as good.
            let there = child.follow(&way, after) || stride > 1 && !child.is_over();
            if !there {
                drop(child);
                let mut whole = start(subject)?;
                way = whole.walk();
                drop(whole);
                child = start(subject)?;
                if !child.follow(&way, after) {
                    drop(child);
                    child = start(subject)?;
                    child.step(after);
                }
            }
            if child.is_over() {
                if after + 1 >= way.instructions() {
                    return Ok(Ok(seen));
                }
                // A shorter way than usual.
                continue;
            }
            let verdict = subject.stopped();
            child.kill(seen.kills % 2 == 1);
            let turn = (first_turn.wrapping_add(after) + turn) % subject.turns();
            match verdict.and_then(|()| subject.killed(None, turn)) {
                Ok(longest) => seen.longest = seen.longest.max(longest),
                Err(why) => {
                    let place = format!("killed after instruction {after} of {n}, turn {turn}");
                    return Ok(Err(format!("{place}: {why}")));
                }
            }
            seen.kills += 1;
        }
        seen.points += 1;
    }
}

fn start(subject: &mut impl Subject) -> Result<Tracee, String> {
    subject.renew();
    let child = Tracee::start(|| subject.prepare(), || subject.act())?;
    subject.reset();
    Ok(child)
}
