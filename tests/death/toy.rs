//! The test of the test: a counted set with a lock and no protection against death, and two that
//! have one. Killing at every instruction must find what is wrong with the first.

use crate::points::{Subject, try_everywhere};
use std::sync::atomic::Ordering::*;
use std::time::Duration;
use usermap_tests::trace::{Shared, pin};

/// What the set does about death.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Care {
    /// Nothing but a lock that survivors break.
    None,
    /// It writes down what it is about to do, but only after it has begun.
    Late,
    /// It writes down first what it is about to do.
    Intent,
}

const LOCK: usize = 0;
const INTENT: usize = 1;
const COUNT: usize = 2;
const MEMBERS: usize = 3;
const NEW: u64 = 1 << 7;

struct Toy {
    words: Shared,
    care: Care,
}

impl Toy {
    fn insert(&self) {
        self.words[LOCK].store(1, SeqCst);
        if self.care == Care::Intent {
            self.words[INTENT].store(NEW, SeqCst);
        }
        self.words[COUNT].fetch_add(1, SeqCst);
        if self.care == Care::Late {
            self.words[INTENT].store(NEW, SeqCst);
        }
        self.words[MEMBERS].fetch_or(NEW, SeqCst);
        self.words[INTENT].store(0, SeqCst);
        self.words[LOCK].store(0, SeqCst);
    }

    /// What whoever comes next does with a dead process's lock.
    fn recover(&self) {
        if self.words[INTENT].load(SeqCst) != 0 {
            // Nothing else changes the set meanwhile, so this may be done again and again.
            let members = self.words[MEMBERS].load(SeqCst);
            self.words[COUNT].store(members.count_ones().into(), SeqCst);
            self.words[INTENT].store(0, SeqCst);
        }
        self.words[LOCK].store(0, SeqCst);
    }
}

impl Subject for Toy {
    fn prepare(&self) {
        self.insert();
    }

    fn reset(&mut self) {
        self.words.iter().for_each(|word| word.store(0, SeqCst));
    }

    fn act(&self) -> u8 {
        self.insert();
        0
    }

    fn killed(&mut self, _: Option<u8>, _: u64) -> Result<Duration, String> {
        self.recover();
        let members = self.words[MEMBERS].load(SeqCst).count_ones();
        let count = self.words[COUNT].load(SeqCst);
        match count == u64::from(members) {
            true => Ok(Duration::ZERO),
            false => Err(format!("{members} members, but the count is {count}")),
        }
    }
}

#[test]
fn a_missing_or_late_intent_is_found() {
    pin();
    for care in [Care::None, Care::Late, Care::Intent] {
        let outcome = match try_everywhere(&mut Toy { words: Shared::new(4), care }) {
            Ok(outcome) => outcome,
            Err(why) => return println!("skipped: {why}"),
        };
        match (care, outcome) {
            (Care::Intent, outcome) => {
                let seen = outcome.expect("a set that survives");
                println!("death: toy: {seen}");
                assert_eq!(seen.points + 1, seen.instructions, "every instruction");
            }
            (_, outcome) => {
                let why = outcome.err().expect("a set that does not survive was not found out");
                println!("death: toy, {care:?}: {why}");
                assert!(why.contains("0 members, but the count is 1"), "{why}");
            }
        }
    }
}
