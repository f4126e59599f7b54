//! The typed maps against std's collections; what they share with the untyped map is tested there.

use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use usermap::{Map, MapType, Spec};
use usermap_tests::adapter::typed::{Keyed, Ring};
use usermap_tests::check::{self, Verdict, equal};
use usermap_tests::rng::Rng;

fn text<T>(result: usermap::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn keyed(kind: MapType, steps: &[(u8, u64, u8)]) -> Verdict {
    let size = if kind.is_array() { 4 } else { 8 };
    let spec = Spec::new(kind, size, 8, 16);
    let spec = if kind.is_per_cpu() { spec.cpus(3) } else { spec };
    let untyped = text(Map::create_anonymous(&spec))?;
    let slots = untyped.cpus() as usize;
    let map = text(Keyed::of(untyped))?;
    let mut model = BTreeMap::new();
    if kind.is_array() {
        model.extend((0..16).map(|i| (i, vec![0; slots])));
    }
    for (i, (what, seed, key)) in steps.iter().enumerate() {
        let key = u64::from(*key);
        let mut rng = Rng::new(*seed);
        let values: Vec<u64> = (0..slots).map(|_| rng.draw()).collect();
        match what {
            0 => equal("get", text(map.get(key))?, model.get(&key).cloned())?,
            1 => {
                let room = model.contains_key(&key) || !kind.is_array() && model.len() < 16;
                equal("insert", map.insert(key, &values).is_ok(), room)?;
                if room {
                    model.insert(key, values);
                }
            }
            _ => {
                if let Some(got) = map.remove(key) {
                    equal("remove", text(got)?, model.remove(&key))?;
                }
            }
        }
        equal(&format!("len after step {i}"), map.len(), model.len() as u64)?;
    }
    Ok(())
}

fn ring(kind: MapType, steps: &[(u8, u64, u8)]) -> Verdict {
    let spec = Spec::new(kind, 0, 8, 4);
    let spec = if kind.is_per_cpu() { spec.cpus(3) } else { spec };
    let untyped = text(Map::create_anonymous(&spec))?;
    let slots = untyped.cpus();
    let map = text(Ring::of(untyped))?;
    let mut model = vec![VecDeque::new(); slots as usize];
    let first = |ring: &VecDeque<u64>| {
        if kind.is_lifo() { ring.back().copied() } else { ring.front().copied() }
    };
    for (what, value, cpu) in steps {
        let cpu = u32::from(*cpu) % slots;
        let slot = &mut model[cpu as usize];
        match what {
            0 => equal("peek", text(map.peek(cpu))?, first(slot))?,
            1 => {
                equal("push", map.push(cpu, *value).is_ok(), slot.len() < 4)?;
                if slot.len() < 4 {
                    slot.push_back(*value);
                }
            }
            _ => {
                equal("pop", text(map.pop(cpu))?, first(slot))?;
                if kind.is_lifo() {
                    slot.pop_back()
                } else {
                    slot.pop_front()
                };
            }
        }
    }
    Ok(())
}

#[test]
fn every_kind() {
    for kind in MapType::ALL {
        let steps = prop::collection::vec((0_u8..3, any::<u64>(), 0_u8..20), 1..80);
        check::random(300, steps, |steps| match kind.is_ring() {
            true => ring(kind, &steps),
            false => keyed(kind, &steps),
        });
    }
}
