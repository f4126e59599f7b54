//! The programs that a program comes to by tail calls: what its arrays of programs have when a run
//! begins, and what theirs have.
//!
//! All of them are loaded as one, so that a run has the maps of all. What was loaded last is kept for as
//! long as the arrays stay the same. A run does not see what is changed in them meanwhile.

use super::Program;
use super::file::options;
use crate::attr::Attr;
use crate::fd_array;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use usermap::{Map, Result};
use usermap_vm::{Group, Holds};

/// A program with those that it can call.
pub(super) struct Linked {
    calls: Calls,
    program: usermap_vm::Program,
}

/// Ids of arrays, indices, and ids of programs.
type Calls = Vec<(u32, u32, u32)>;

/// All that a program comes to.
#[derive(Default)]
struct Reach {
    /// By their ids; the first is the program itself.
    programs: Vec<Arc<Program>>,
    arrays: BTreeMap<u32, Map>,
    calls: Calls,
}

impl Program {
    /// What runs the program, with those that it can call.
    pub(super) fn linked(self: &Arc<Program>, attr: &Attr) -> Result<usermap_vm::Program> {
        let reach = Reach::of(self.clone());
        if reach.calls.is_empty() {
            return Ok(self.program.clone());
        }
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linked) = linked.as_ref().filter(|linked| linked.calls == reach.calls) {
            return Ok(linked.program.clone());
        }
        let program = reach.link().map_err(|error| {
            attr.error("the programs that it calls cannot be loaded", error.errno())
        })?;
        *linked = Some(Linked { calls: reach.calls, program: program.clone() });
        Ok(program)
    }
}

impl Reach {
    fn of(first: Arc<Program>) -> Reach {
        let mut reach = Reach { programs: vec![first], ..Reach::default() };
        let mut looked_at = 0;
        while let Some(program) = reach.programs.get(looked_at).cloned() {
            looked_at += 1;
            for array in program.maps() {
                if fd_array::holds(&array) == Some(Holds::Programs) {
                    reach.add(array);
                }
            }
        }
        reach
    }

    /// Adds what an array has.
    fn add(&mut self, array: Map) {
        let number = array.info().id;
        if self.arrays.contains_key(&number) {
            return;
        }
        for (index, id) in fd_array::ids(&array) {
            if self.programs.iter().all(|program| program.id != id) {
                let Some(program) = super::by_number(id) else { continue };
                // Anybody may have written the id.
                if program.type_number() != self.programs[0].type_number() {
                    continue;
                }
                self.programs.push(program);
            }
            self.calls.push((number, index, id));
        }
        self.arrays.insert(number, array);
    }

    fn link(&self) -> usermap_vm::Result<usermap_vm::Program> {
        let raw = |program: &Arc<Program>| {
            let maps = program.maps();
            program.source.raw(|id| maps.iter().find(|map| map.info().id == id).cloned())
        };
        let raws: Vec<_> = self.programs.iter().map(raw).collect::<usermap_vm::Result<_>>()?;
        let group = Group::load(&raws, &options())?;
        for (array, index, id) in &self.calls {
            let program = self.programs.iter().position(|program| program.id == *id);
            if let (Some(array), Some(program)) = (self.arrays.get(array), program) {
                group.set_tail_call(array, *index, program)?;
            }
        }
        Ok(group.first())
    }
}
