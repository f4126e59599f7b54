//! Queues where positions begin anew, and rings whose words others have written to.

use super::Rings;
use super::queue::{FILLED, HEAD, ROOM, TAIL};
use crate::abi::{BPF_EXIST, errno};
use crate::map::{Map, View};
use crate::mem::lanes::Control;
use crate::mem::sync::Ordering::Relaxed;
use crate::{MapType, Spec};
use std::collections::VecDeque;

fn ring(kind: MapType, max: u32) -> Map {
    Map::create_anonymous(&Spec::new(kind, 0, 8, max)).unwrap()
}

fn rings(map: &Map) -> Rings<'_> {
    match map.inner.view() {
        View::Rings(rings) => rings,
        _ => unreachable!("it is a ring"),
    }
}

fn control(map: &Map) -> &Control {
    rings(map).control(0).unwrap()
}

/// Some number, from one before.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
}

/// The first position of the last lap.
fn last_lap(max: u32) -> u64 {
    (1 << 52) - (u64::from(max) + 1).next_power_of_two()
}

#[test]
fn queues_work_where_positions_begin_anew() {
    let mut random = 99;
    for (max, place) in
        [1, 2, 3, 4, 7, 8].into_iter().flat_map(|max| (0..=max).map(move |p| (max, p)))
    {
        let queue = ring(MapType::Queue, max);
        for word in [TAIL, ROOM, HEAD, FILLED] {
            control(&queue)[word].store(last_lap(max) + u64::from(place), Relaxed);
        }
        let (mut model, mut value) = (VecDeque::new(), [0; 8]);
        for number in 0..600_u64 {
            let full = model.len() == max as usize;
            match next(&mut random) % 5 {
                0 | 1 => {
                    let pushed = queue.push(&number.to_ne_bytes(), 0).map_err(|e| e.errno());
                    assert_eq!(pushed, if full { Err(errno::E2BIG) } else { Ok(()) });
                    model.extend((!full).then_some(number));
                }
                2 => {
                    queue.push(&number.to_ne_bytes(), BPF_EXIST).unwrap();
                    if full {
                        model.pop_front();
                    }
                    model.push_back(number);
                }
                step => {
                    let expected =
                        if step == 3 { model.pop_front() } else { model.front().copied() };
                    let given = match step {
                        3 => queue.pop(&mut value, 0),
                        _ => queue.peek(&mut value, 0),
                    };
                    let given = given.map(|()| u64::from_ne_bytes(value));
                    assert_eq!(given.map_err(|e| e.errno()), expected.ok_or(errno::ENOENT));
                }
            }
            assert_eq!(queue.len(), model.len() as u64);
            assert_eq!(queue.check().unwrap().findings, [], "{max} {place}");
        }
    }
}

/// A pop that read where the tail was, and notes it after positions have begun anew.
#[test]
fn a_note_of_long_ago_is_not_believed() {
    let (queue, mut value) = (ring(MapType::Queue, 3), [0; 8]);
    for word in [TAIL, ROOM, HEAD, FILLED] {
        control(&queue)[word].store(last_lap(3) + 2, Relaxed);
    }
    queue.push(&[1; 8], 0).unwrap();
    let noted = control(&queue)[TAIL].load(Relaxed);
    queue.pop(&mut value, 0).unwrap();
    for _ in 0..4 {
        queue.push(&[2; 8], 0).unwrap();
        queue.pop(&mut value, 0).unwrap();
    }
    control(&queue)[FILLED].store(noted, Relaxed);
    assert!(queue.pop(&mut value, 0).unwrap_err().is_not_found());
}

#[test]
fn a_full_ring_says_so_whoever_has_its_lock() {
    for kind in [MapType::Queue, MapType::Stack] {
        let map = ring(kind, 2);
        (0..2).for_each(|_| map.push(&[1; 8], 0).unwrap());
        let other = map.inner.owners().claim(&*map.inner).unwrap();
        let lock = &control(&map)[0];
        lock.store(lock.load(Relaxed) | u64::from(other) << 52, Relaxed);
        assert_eq!(map.push(&[2; 8], 0).unwrap_err().errno(), errno::E2BIG);
    }
}

/// No word makes anything panic or hang.
#[test]
fn any_words() {
    let mut random = 0x1234_5678;
    for (kind, max) in [MapType::Queue, MapType::Stack]
        .into_iter()
        .flat_map(|kind| [1, 2, 3, 4, 7, 8].map(|max| (kind, max)))
    {
        let (map, mask) = (ring(kind, max), (u64::from(max) + 1).next_power_of_two() - 1);
        for _ in 0..500 {
            let word = [0, 1, 8, 9][next(&mut random) as usize % 4];
            let limits = [
                0,
                u64::MAX,
                1 << 63,
                1 << 52,
                mask,
                max.into(),
                last_lap(max),
                next(&mut random) << 11,
            ];
            let mut value = limits[next(&mut random) as usize % 8]
                .wrapping_add(next(&mut random) % 5)
                .wrapping_sub(2);
            // Whoever seems to have the lock is waited for.
            if word == 0 {
                value &= (1 << 52) - 1;
            }
            control(&map)[word].store(value, Relaxed);
            let mut value = [0; 8];
            let _ = map.push(&value, 0);
            let _ = map.push(&value, BPF_EXIST);
            let _ = map.pop(&mut value, 0);
            let _ = map.peek(&mut value, 0);
            let _ = (map.len(), map.check(), map.drain(|_, _| {}));
        }
    }
}
