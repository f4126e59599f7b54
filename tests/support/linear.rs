//! A checker of histories for linearizability: is there an order of the operations, in agreement
//! with their real times, in which a sequential object would have given the same results?
//!
//! The algorithm is Wing and Gong's search with Lowe's memory of what was tried already: a set of
//! operations together with the state they led to. An object made of independent parts (a map's
//! keys) is checked part by part, which is as strong and far cheaper.

use crate::history::Event;
use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What an object does when one operation follows another.
pub trait Object {
    /// Its state.
    type State: Clone + Eq + Hash + Debug;
    /// What can be asked of it.
    type Operation: Debug;
    /// What it answers.
    type Answer: Debug;

    /// The state after the operation gave this answer in this state; `None` if it cannot have.
    fn step(
        &self,
        state: &Self::State,
        operation: &Self::Operation,
        answer: &Self::Answer,
    ) -> Option<Self::State>;
}

/// One end of an operation in the list of what happened, in the order of time.
struct Entry {
    operation: usize,
    is_call: bool,
    previous: usize,
    next: usize,
}

/// The list's head; the entry after the last is the same.
const HEAD: usize = 0;

struct List(Vec<Entry>);

impl List {
    fn new<O, A>(events: &[Event<O, A>]) -> (List, Vec<usize>) {
        let mut ends: Vec<(u64, usize, bool)> = Vec::new();
        for (i, event) in events.iter().enumerate() {
            assert!(event.called < event.returned, "an operation ends after it has begun");
            ends.push((event.called, i, true));
            ends.push((event.returned, i, false));
        }
        ends.sort_unstable();
        let mut entries = vec![Entry { operation: 0, is_call: false, previous: HEAD, next: HEAD }];
        let mut returns = vec![0; events.len()];
        for (_, operation, is_call) in ends {
            let at = entries.len();
            if !is_call {
                returns[operation] = at;
            }
            let last = at - 1;
            entries[last].next = at;
            entries.push(Entry { operation, is_call, previous: last, next: HEAD });
        }
        (List(entries), returns)
    }

    fn remove(&mut self, at: usize) {
        let Entry { previous, next, .. } = self.0[at];
        self.0[previous].next = next;
        if next != HEAD {
            self.0[next].previous = previous;
        }
    }

    fn restore(&mut self, at: usize) {
        let Entry { previous, next, .. } = self.0[at];
        self.0[previous].next = at;
        if next != HEAD {
            self.0[next].previous = at;
        }
    }
}

/// Whether this history (at most 128 operations) is linearizable; if not, the history as text.
pub fn check<T: Object>(
    object: &T,
    initial: T::State,
    events: &[Event<T::Operation, T::Answer>],
) -> Result<(), String> {
    assert!(events.len() <= 128, "histories are short");
    let (mut list, returns) = List::new(events);
    let mut state = initial;
    let mut done: u128 = 0;
    let mut longest = 0;
    let mut tried = HashSet::new();
    let mut taken: Vec<(usize, T::State)> = Vec::new();
    let mut at = list.0[HEAD].next;
    while list.0[HEAD].next != HEAD {
        let Entry { operation, is_call, next, .. } = list.0[at];
        if is_call {
            let event = &events[operation];
            let after = object.step(&state, &event.operation, &event.answer);
            let fresh = after.filter(|after| tried.insert((done | 1 << operation, after.clone())));
            let Some(after) = fresh else {
                at = next;
                continue;
            };
            taken.push((at, std::mem::replace(&mut state, after)));
            done |= 1 << operation;
            longest = longest.max(taken.len());
            list.remove(at);
            list.remove(returns[operation]);
            at = list.0[HEAD].next;
        } else {
            // An operation returns here that no order has placed yet: the last choice was wrong.
            let Some((last, before)) = taken.pop() else {
                return Err(report(events, longest));
            };
            let operation = list.0[last].operation;
            state = before;
            done &= !(1 << operation);
            list.restore(returns[operation]);
            list.restore(last);
            at = list.0[last].next;
        }
    }
    Ok(())
}

fn report<O: Debug, A: Debug>(events: &[Event<O, A>], longest: usize) -> String {
    let mut order: Vec<_> = events.iter().collect();
    order.sort_by_key(|event| event.called);
    let mut text =
        format!("not linearizable: at most {longest} of {} operations fit\n", events.len());
    for Event { thread, called, returned, operation, answer } in order {
        text +=
            &format!("  thread {thread} {called:>6}..{returned:<6} {operation:?} -> {answer:?}\n");
    }
    text
}
