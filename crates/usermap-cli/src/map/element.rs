//! lookup, peek, update, push, enqueue, getnext, delete: one entry by its key, or the next of a
//! queue or stack.

use super::operands::{AFTER_MAP, Takes, parse};
use crate::failure::{Failure, Result, code};
use crate::output::entries::{Entries, Shape, Slots};
use crate::output::plain::hex;
use crate::output::typed::Typed;
use crate::session::Session;
use crate::target::{Target, open};
use crate::words::Words;
use usermap::Access;
use usermap::abi::{cpu_flags, errno};

/// Opens MAP; without any word the usage is shown.
pub fn required(session: &Session, words: &mut Words<'_>, access: Access) -> Result<Target> {
    if words.is_empty() {
        let command = session.command;
        return Err(Failure::Usage(
            format!("'{command}' needs at least 1 arguments, 0 found"),
            command,
        ));
    }
    open(words, access, AFTER_MAP)
}

/// What a failed call was called with: `key 01 00 00 00`.
pub fn shown(name: &str, bytes: &[u8]) -> String {
    match bytes {
        [] => String::new(),
        bytes => format!("{name} {}", hex(bytes).replace('\n', "  ")),
    }
}

/// `lookup` and `peek`, which are one command in bpftool too.
pub fn lookup(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadOnly)?;
    let operands = parse(words, &target, Takes { key: true, cpu: true, ..Takes::default() })?;
    let map = &target.map;
    let mut shape = Shape::of(map);
    let mut value = vec![0; map.value_bytes()];
    let result = if map.spec().map_type.is_ring() {
        if let Some(cpu) = operands.cpu {
            shape.slots = Slots::Only(cpu);
        }
        map.peek(&mut value, operands.cpu.map_or(0, cpu_flags))
    } else {
        if let Some(cpu) = operands.cpu {
            let Slots::All(cpus) = shape.slots else { return Err(no_slots(&target)) };
            if cpu >= cpus {
                return Err(no_slot(&target, cpu, cpus));
            }
        }
        map.lookup(&operands.key, &mut value, 0)
    };
    if let Err(error) = result {
        if error.errno() != errno::ENOENT {
            return Err(Failure::on("lookup failed", &error, &shown("key", &operands.key)));
        }
        if session.out.is_json() {
            session.out.json().null()?;
        } else {
            session.out.text(&format!("key:\n{}\n\nNot found\n", hex(&operands.key)))?;
        }
        return Err(Failure::Answered(code(&error)));
    }
    if let (Some(cpu), Slots::All(_)) = (operands.cpu, shape.slots) {
        // Lookup gives all slots; one was asked for.
        value.drain(..cpu as usize * shape.step());
        value.truncate(shape.value_size);
        shape.slots = Slots::Only(cpu);
    }
    let typed = Typed::of(session, &target)?;
    let mut entries = Entries::new(session, shape, typed)?;
    entries.entry(&mut session.out, &operands.key, &value)?;
    Ok(entries.end_single(&mut session.out)?)
}

/// The refusal of `cpu N` for a map without slots.
pub fn no_slots(target: &Target) -> Failure {
    let kind = target.map.spec().map_type;
    Failure::new(format!("a {kind} map has no CPU slots: cpu is not taken")).of_map(&target.label())
}

fn no_slot(target: &Target, cpu: u32, cpus: u32) -> Failure {
    Failure::new(format!("there is no cpu {cpu}, only {cpus} slots")).of_map(&target.label())
}

/// `update`, `push` and `enqueue`, which are one command in bpftool too.
pub fn update(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadWrite)?;
    let map = &target.map;
    let ring = map.spec().map_type.is_ring();
    let takes = Takes { key: true, value: true, flags: true, cpu: ring, ..Takes::default() };
    let operands = parse(words, &target, takes)?;
    let result = if ring {
        map.push(&operands.value, operands.flags | operands.cpu.map_or(0, cpu_flags))
    } else {
        map.update(&operands.key, &operands.value, operands.flags)
    };
    result.map_err(|error| {
        let what = if ring { shown("value", &operands.value) } else { shown("key", &operands.key) };
        Failure::on("update failed", &error, &what)
    })?;
    Ok(session.out.done()?)
}

/// `getnext`.
pub fn getnext(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadOnly)?;
    let takes = Takes { key: true, key_optional: true, ..Takes::default() };
    let operands = parse(words, &target, takes)?;
    let key = operands.has_key.then_some(operands.key.as_slice());
    let mut next = vec![0; Shape::of(&target.map).key_size];
    target.map.get_next_key(key, &mut next).map_err(|error| {
        Failure::on("can't get next key", &error, &shown("key", key.unwrap_or_default()))
    })?;
    if session.out.is_json() {
        let json = session.out.json();
        json.object()?;
        json.name("key")?;
        match key {
            Some(key) => json.bytes(key)?,
            None => json.null()?,
        }
        json.name("next_key")?;
        json.bytes(&next)?;
        return Ok(json.end()?);
    }
    let before = match key {
        Some(key) => format!("\n{}", hex(key)),
        None => " None".to_owned(),
    };
    Ok(session.out.text(&format!("key:{before}\nnext key:\n{}\n", hex(&next)))?)
}

/// `delete`.
pub fn delete(session: &mut Session, words: &mut Words<'_>) -> Result {
    let target = required(session, words, Access::ReadWrite)?;
    let operands = parse(words, &target, Takes { key: true, ..Takes::default() })?;
    target
        .map
        .delete(&operands.key)
        .map_err(|error| Failure::on("delete failed", &error, &shown("key", &operands.key)))?;
    Ok(session.out.done()?)
}
