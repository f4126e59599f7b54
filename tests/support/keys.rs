//! Keys that are hard on a hash map, and the kernel's own hash function to find them with.

use crate::rng::Rng;

fn mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    [a, b, c]
}

/// Bob Jenkins' hash as the kernel computes it for a key with the seed 0. Its two forms, over bytes
/// and over words, give the same number on a little-endian machine.
pub fn jhash(key: &[u8]) -> u32 {
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(word)
    };
    let mut state = [0xdead_beef_u32.wrapping_add(key.len() as u32); 3];
    let mut rest = key;
    while rest.len() > 12 {
        for (part, bytes) in state.iter_mut().zip(rest.chunks(4)) {
            *part = part.wrapping_add(word(bytes));
        }
        state = mix(state);
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return state[2];
    }
    for (part, bytes) in state.iter_mut().zip(rest.chunks(4)) {
        *part = part.wrapping_add(word(bytes));
    }
    let [mut a, mut b, mut c] = state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// Families of `count` different keys of `size` bytes; those that fit.
pub fn adversarial(size: usize, count: usize, buckets: u32) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let number = |i: u64, reversed: bool| {
        let mut key = vec![0; size];
        let n = size.min(8);
        key[..n].copy_from_slice(&i.to_le_bytes()[..n]);
        if reversed {
            key.reverse();
        }
        key
    };
    let fits = |bits: u32| bits >= 64 || (count as u64) <= 1 << bits;
    let mut families = Vec::new();
    let bits = size as u32 * 8;
    if fits(bits) {
        let some = 0..count as u64;
        families.push((
            "consecutive, low byte first",
            some.clone().map(|i| number(i, false)).collect(),
        ));
        families.push(("consecutive, low byte last", some.map(|i| number(i, true)).collect()));
    }
    if bits > 12 && fits(bits - 12) {
        let some = 0..count as u64;
        families.push(("equal low bits", some.map(|i| number(i << 12, false)).collect()));
    }
    if bits >= 32 {
        let mut chosen = Vec::new();
        let mut i = 0;
        while chosen.len() < count && i < 4_000_000 {
            let key = number(i, false);
            if jhash(&key) & (buckets - 1) == 0 {
                chosen.push(key);
            }
            i += 1;
        }
        if chosen.len() == count {
            families.push(("all in the kernel's first bucket", chosen));
        }
        let mut rng = Rng::new(size as u64);
        let mut random = std::collections::BTreeSet::from([vec![0; size], vec![0xff; size]]);
        while random.len() < count {
            let mut key = vec![0; size];
            rng.fill(&mut key);
            random.insert(key);
        }
        families.push(("random", random.into_iter().take(count).collect()));
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_what_they_say() {
        for size in [1, 3, 4, 5, 8, 13, 16, 64] {
            for (name, keys) in adversarial(size, 100, 64) {
                let different: std::collections::BTreeSet<_> = keys.iter().collect();
                assert_eq!(different.len(), 100, "{name} of {size}");
                assert!(keys.iter().all(|key| key.len() == size));
            }
        }
    }
}
