//! A program's calls, all in one run on one CPU: as eBPF.

use crate::case::{Replay, Shape};
use crate::compare::{errno_name, hex, outcome, returned};
use crate::generate::{Answer, Generated, generate, visit_bytes};
use crate::verifier;
use serde_json::{Value, json};
use usermap::command::Host;
use usermap::{Helper, Map, abi::errno};
use usermap_vm::bare::{Engine, Options, Program};

/// What errors call the map of a case.
const NAME: &str = "replayed";

pub fn run(engine: Engine, replay: &mut Replay<'_>, op: &Value) -> Value {
    let (fd, shape) = replay.fd(op);
    let Ok(map) = replay.process.map(fd) else {
        return json!({"load_errno": errno::EBADF, "err": "EBADF"});
    };
    let cpu = op["cpu"].as_u64().unwrap_or(0) as u32;
    if let error @ Err(_) = map.on_cpu(cpu) {
        return Value::Object(outcome(&error));
    }
    let calls = op["calls"].as_array().map_or(&[][..], Vec::as_slice);
    let generated = match generate(calls, shape, map.spec().max_entries) {
        Ok(generated) => generated,
        Err(why) => return json!({"not_generated": why}),
    };
    let Generated { instructions, mut memory, answers } = generated;
    let mut options = Options::new();
    let loaded = options.engine(engine).cpu(cpu).map(NAME, map.clone()).load(instructions);
    if let Some(refused) = refusal(&map, calls, &loaded) {
        return refused;
    }
    let program = match loaded {
        Ok(program) => program,
        Err(error) => return json!({"refused": error.to_string()}),
    };
    if let Err(error) = program.run(&mut memory) {
        return json!({"fault": error.to_string()});
    }
    let answers = answers.iter().map(|at| Answer::of(&memory, *at));
    let rets: Vec<_> =
        calls.iter().zip(answers).map(|(call, answer)| told(call, shape, &answer)).collect();
    json!({"load_errno": 0, "rets": rets})
}

/// What the kernel's verifier says of a program that it refuses. Where that is because of a helper,
/// usermap-vm must refuse it too, and name the map, or the helper that there is not.
fn refusal(
    map: &Map,
    calls: &[Value],
    loaded: &Result<Program, usermap_vm::Error>,
) -> Option<Value> {
    let spec = map.spec();
    let error = calls.iter().find_map(|call| verifier::check(spec, call).err())?;
    let mut reasons = calls.iter().filter_map(|call| match call["fn"].as_str() {
        None | Some("read" | "write") => None,
        Some(name) => match Helper::from_name(&format!("bpf_{name}")) {
            Some(helper) if spec.allows(helper).is_ok() => None,
            Some(_) => Some(format!(": map {NAME}: ")),
            None => Some(format!("helper bpf_{name} ")),
        },
    });
    Some(match (reasons.next(), loaded) {
        (Some(reason), Err(error)) if !error.to_string().contains(&reason) => {
            json!({"refused": error.to_string()})
        }
        (Some(reason), Ok(_)) => json!({"loaded, though": reason}),
        _ => json!({"load_errno": error.errno(), "err": errno_name(error.errno())}),
    })
}

/// What a call gave, as the oracle tells it.
fn told(call: &Value, shape: Shape, answer: &Answer<'_>) -> Value {
    if !answer.made {
        return json!({"not_run": true});
    }
    let given = |length: usize| hex(&answer.bytes[..length]);
    let value_size = shape.value_size;
    match call["fn"].as_str().unwrap_or_default() {
        "map_lookup_elem" | "map_lookup_percpu_elem" if answer.returned == 0 => {
            json!({"found": false})
        }
        "map_lookup_elem" | "map_lookup_percpu_elem" => {
            let length = call["read"].as_u64().map_or(value_size, |length| length as usize);
            json!({"found": true, "value": given(length)})
        }
        "map_pop_elem" | "map_peek_elem" => {
            let length = call["value"].as_str().map_or(value_size, |value| value.len() / 2);
            let mut found = returned(answer.returned as i64);
            found["value"] = json!(given(length));
            found
        }
        "for_each_map_elem" => walked(call, shape, answer),
        "read" => json!({"bytes": given(call["len"].as_u64().unwrap_or(0) as usize)}),
        "write" => json!({}),
        _ => returned(answer.returned as i64),
    }
}

fn walked(call: &Value, shape: Shape, answer: &Answer<'_>) -> Value {
    let (visit, value_at) = visit_bytes(shape);
    let visits = answer.bytes.chunks_exact(visit).take(answer.calls as usize);
    let mut visits: Vec<_> = visits
        .map(|visit| (hex(&visit[..shape.key_size]), hex(&visit[value_at..][..shape.value_size])))
        .collect();
    let mut found = returned(answer.returned as i64);
    found["calls"] = json!(answer.calls);
    if call["unordered"] == true {
        visits.sort();
    }
    if call["any_one"] != true {
        found["visits"] = json!(visits);
    }
    found
}
