//! That the checker finds what it is there to find: histories written by hand, and those of a toy
//! map whose operations can be interrupted between reading and writing.

use std::collections::BTreeMap;
use usermap_tests::history::Event;
use usermap_tests::linear::{Object, check};
use usermap_tests::rng::Rng;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Read,
    Write(u64),
    Inc,
    Take,
}

/// A number that may be absent.
struct Register;

impl Object for Register {
    type State = Option<u64>;
    type Operation = Operation;
    type Answer = Option<u64>;

    fn step(
        &self,
        state: &Option<u64>,
        operation: &Operation,
        answer: &Option<u64>,
    ) -> Option<Option<u64>> {
        let (expected, after) = match *operation {
            Operation::Read => (*state, *state),
            Operation::Write(value) => (None, Some(value)),
            Operation::Inc => (Some(state.unwrap_or(0) + 1), Some(state.unwrap_or(0) + 1)),
            Operation::Take => (*state, None),
        };
        (*answer == expected).then_some(after)
    }
}

type History = Vec<Event<Operation, Option<u64>>>;

fn history(rows: &[(u64, u64, Operation, Option<u64>)]) -> History {
    let event = |(thread, &(called, returned, operation, answer))| Event {
        thread,
        called,
        returned,
        operation,
        answer,
    };
    rows.iter().enumerate().map(event).collect()
}

#[test]
fn by_hand() {
    use Operation::*;
    let good: &[&[_]] = &[
        &[],
        // A read beside a write may see either.
        &[(0, 9, Write(1), None), (1, 2, Read, None), (3, 4, Read, Some(1))],
        // Two increments at once, in the order of their answers, not of their calls.
        &[(0, 5, Inc, Some(2)), (1, 4, Inc, Some(1)), (6, 7, Read, Some(2))],
        // The order of three writes that the reads need is not that of their calls.
        &[
            (0, 10, Write(1), None),
            (1, 11, Write(2), None),
            (2, 12, Write(3), None),
            (13, 14, Read, Some(1)),
        ],
    ];
    for rows in good {
        check(&Register, None, &history(rows)).expect("it is linearizable");
    }
    let bad: &[&[_]] = &[
        // A stale read: the write had returned.
        &[(0, 1, Write(1), None), (2, 3, Write(2), None), (4, 5, Read, Some(1))],
        // New, then old again.
        &[(0, 9, Write(1), None), (1, 2, Read, Some(1)), (3, 4, Read, None)],
        // A lost increment.
        &[(0, 5, Inc, Some(1)), (1, 4, Inc, Some(1))],
        // One entry given to two.
        &[(0, 1, Write(7), None), (2, 9, Take, Some(7)), (3, 8, Take, Some(7))],
        // A value from nowhere, and from the future.
        &[(0, 1, Read, Some(3))],
        &[(0, 1, Read, Some(3)), (2, 3, Write(3), None)],
    ];
    for rows in bad {
        check(&Register, None, &history(rows)).expect_err("it is not linearizable");
    }
}

/// What a toy does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// An increment reads, then writes.
    Increment,
    /// A take looks, then removes.
    Take,
    /// A read gives what was there before the last write.
    StaleRead,
}

/// Runs virtual threads on a register, one step of one of them at a time, in an order that the
/// seed decides; so the history is the same every time.
fn simulate(bug: Bug, seed: u64) -> History {
    let mut rng = Rng::new(seed);
    let (mut value, mut before) = (None, None);
    let mut events = History::new();
    let mut pending: BTreeMap<usize, (u64, Operation, Option<Option<u64>>)> = BTreeMap::new();
    for clock in 0..60 {
        let thread = rng.below(3) as usize;
        let Some((called, operation, answer)) = pending.get_mut(&thread) else {
            let value = 100 + clock;
            let all = [Operation::Read, Operation::Write(value), Operation::Inc, Operation::Take];
            pending.insert(thread, (clock, *rng.pick(&all), None));
            continue;
        };
        if let Some(answer) = *answer {
            // The last step of an operation with a bug.
            match operation {
                Operation::Inc => value = answer,
                _ => value = None,
            }
            let (called, operation, thread) = (*called, *operation, thread);
            events.push(Event { thread, called, returned: clock, operation, answer });
            pending.remove(&thread);
            continue;
        }
        let old = value;
        let (result, is_last) = match *operation {
            Operation::Read if bug == Bug::StaleRead && rng.one_in(4) => (before, true),
            Operation::Read => (value, true),
            Operation::Write(new) => {
                value = Some(new);
                (None, true)
            }
            Operation::Inc => {
                let sum = Some(value.unwrap_or(0) + 1);
                if bug != Bug::Increment {
                    value = sum;
                }
                (sum, bug != Bug::Increment)
            }
            Operation::Take => {
                if bug != Bug::Take {
                    value = None;
                }
                (old, bug != Bug::Take)
            }
        };
        if value != old {
            before = old;
        }
        if is_last {
            let (called, operation, answer) = (*called, *operation, result);
            events.push(Event { thread, called, returned: clock, operation, answer });
            pending.remove(&thread);
        } else {
            *answer = Some(result);
        }
    }
    // Operations that never returned have changed nothing that others were told of, except for
    // the first half of one with a bug, which has written nothing.
    events
}

#[test]
fn a_toy_with_bugs() {
    for seed in 0..200 {
        check(&Register, None, &simulate(Bug::None, seed)).expect("without a bug");
    }
    for bug in [Bug::Increment, Bug::Take, Bug::StaleRead] {
        let found = (0..200).filter(|seed| check(&Register, None, &simulate(bug, *seed)).is_err());
        let found = found.count();
        assert!(found > 50, "{bug:?} was found in {found} of 200 histories");
    }
}
