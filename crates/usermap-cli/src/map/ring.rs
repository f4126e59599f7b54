//! pop, dequeue and drain: taking values out of queues and stacks (and entries out of hashes).

use super::element::{required, shown};
use super::operands::{Takes, expect_end, parse};
use crate::failure::{Failure, Result, code};
use crate::output::entries::{Entries, Shape, Slots};
use crate::output::plain;
use crate::output::typed::Typed;
use crate::progress;
use crate::session::Session;
use crate::words::Words;
use std::cell::Cell;
use usermap::Access;
use usermap::abi::{cpu_flags, errno};

/// `pop` and `dequeue`.
pub fn pop(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadWrite)?;
    let operands = parse(words, &target, Takes { key: true, cpu: true, ..Takes::default() })?;
    let map = &target.map;
    let ring = map.spec().map_type.is_ring();
    let mut shape = Shape::of(map);
    let mut value = vec![0; map.value_bytes()];
    let result = if ring {
        if let Some(cpu) = operands.cpu {
            shape.slots = Slots::Only(cpu);
        }
        map.pop(&mut value, operands.cpu.map_or(0, cpu_flags))
    } else if operands.cpu.is_some() {
        return Err(Failure::new("pop takes all slots of an entry: cpu is not taken")
            .of_map(&target.label()));
    } else {
        map.lookup_and_delete(&operands.key, &mut value, 0)
    };
    if let Err(error) = result {
        if error.errno() != errno::ENOENT {
            return Err(Failure::on("pop failed", &error, &shown("key", &operands.key)));
        }
        if session.out.is_json() {
            session.out.json().null()?;
        } else if ring {
            // On stdout, as bpftool does.
            session.out.text("Error: empty map\n")?;
        } else {
            session.out.text(&format!("key:\n{}\n\nNot found\n", plain::hex(&operands.key)))?;
        }
        return Err(Failure::Answered(code(&error)));
    }
    let typed = Typed::of(session, &target)?;
    let mut entries = Entries::new(session, shape, typed)?;
    entries.entry(&mut session.out, &operands.key, &value)?;
    Ok(entries.end_single(&mut session.out)?)
}

/// `drain`: slot by slot, as many values as there are when it comes to the slot, so that it ends
/// even if others push all the time. It pops one by one instead of calling `Map::drain`, because
/// it must stop taking values when they can no longer be written out.
pub fn drain(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadWrite)?;
    expect_end(words)?;
    let map = &target.map;
    let kind = map.spec().map_type;
    if !kind.is_ring() {
        return Err(Failure::new(format!(
            "a {kind} map is not drained but cleared: only queues and stacks have an order"
        ))
        .of_map(&target.label()));
    }
    let typed = Typed::of(session, &target)?;
    let mut shape = Shape::of(map);
    let mut value = vec![0; map.value_bytes()];
    let total = map.len();
    let quiet = session.out.terminal;
    let popped = Cell::new(0u64);
    let left = || map.len();
    progress::during(
        "draining",
        total,
        quiet,
        || total.saturating_sub(left()),
        || {
            session.out.is_json().then(|| session.out.json().array()).transpose()?;
            for cpu in 0..map.cpus() {
                let (flags, length) = if kind.is_per_cpu() {
                    shape.slots = Slots::Only(cpu);
                    let length = map
                        .len_on(cpu)
                        .map_err(|error| Failure::operation("drain failed", &error))?;
                    (cpu_flags(cpu), length)
                } else {
                    (0, total)
                };
                if length == 0 {
                    continue;
                }
                let mut entries = Entries::new(session, shape, typed.clone())?;
                for _ in 0..length {
                    match map.pop(&mut value, flags) {
                        Ok(()) => entries.entry(&mut session.out, &[], &value)?,
                        // Someone else was faster.
                        Err(error) if error.errno() == errno::ENOENT => break,
                        Err(error) => return Err(Failure::operation("pop failed", &error)),
                    }
                    popped.set(popped.get() + 1);
                }
                entries.end_single(&mut session.out)?;
            }
            if session.out.is_json() {
                return Ok(session.out.json().end()?);
            }
            Ok(session.out.text(&format!("Drained {}\n", plain::elements(popped.get())))?)
        },
    )
}
