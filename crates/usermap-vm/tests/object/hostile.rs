//! Objects that are cut off, or changed at random: an error or another object, but never a panic,
//! a hang, or memory without end.

use crate::bytes;
use usermap_vm::Object;
use usermap_vm::btf::Btf;

const OBJECTS: [&str; 8] = [
    "everything.bpf.o",
    "functions.bpf.o",
    "relocated.bpf.o",
    "refused.bpf.o",
    "nested.bpf.o",
    "plain.bpf.o",
    "rust.bpf.o",
    "same_place.bpf.o",
];

/// A generator of numbers that are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 8) as usize % limit
    }
}

/// Reads an object and uses all of it.
fn read(bytes: &[u8]) -> bool {
    let Ok(mut object) = Object::from_bytes(bytes, "hostile") else { return false };
    let all = object.programs().iter().map(|code| code.instructions.len()).sum::<usize>();
    assert!(all <= 4 << 20);
    for code in object.programs() {
        let _ = object.check(&code.name);
        assert!(code.functions.iter().all(|one| one.start <= code.instructions.len()));
        let _ = code.line(0);
    }
    for map in object.maps().to_vec() {
        let types = object.btf().zip(map.value_type);
        if let Some((btf, id)) = types {
            let bytes =
                map.initial.unwrap_or_else(|| vec![0x5a; map.value_size.min(4096) as usize]);
            let _ = btf.format(id, &bytes).to_string();
        }
    }
    for global in object.globals().to_vec() {
        let _ = object.set_global_text(&global.name, "1");
    }
    for one in object.externs().to_vec() {
        let _ = object.set_kconfig(&one.name, "y");
    }
    if let Some(btf) = object.btf() {
        types(btf);
    }
    true
}

/// Uses all types.
fn types(btf: &Btf) {
    let bytes = [0x41; 64];
    for (id, _) in btf.types().take(4096) {
        let _ = (btf.describe(id), btf.size_of(id), btf.align_of(id));
        let _ = btf.format(id, &bytes).to_string();
    }
    let all: Vec<u32> = (0..btf.len() as u32 + 2).collect();
    let (bytes, ids) = btf.subset(&all);
    assert_eq!(ids.len(), all.len());
    Btf::parse(&bytes).unwrap();
}

#[test]
fn objects_cut_off_anywhere() {
    for name in OBJECTS {
        let whole = bytes(name);
        assert!(read(&whole), "{name}");
        // The section headers are at the end: nothing less is an object.
        for length in 0..whole.len() {
            assert!(!read(&whole[..length]), "{name} of {length} bytes");
        }
    }
}

#[test]
fn objects_with_random_bytes() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let rounds = if cfg!(miri) { 2 } else { 2000 };
    let mut read_anyway = 0;
    for name in OBJECTS {
        let whole = bytes(name);
        for _ in 0..rounds {
            let mut bytes = whole.clone();
            for _ in 0..1 + random.below(8) {
                let at = random.below(bytes.len());
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ 1 << random.below(8),
                    _ => random.next() as u8,
                };
            }
            read_anyway += usize::from(read(&bytes));
        }
    }
    assert!(read_anyway > 100, "only {read_anyway} were read");
}

#[test]
fn types_with_random_bytes() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let object = Object::from_bytes(&bytes("everything.bpf.o"), "x").unwrap();
    let whole = object.btf().unwrap().bytes();
    for length in 0..whole.len() {
        assert!(Btf::parse(&whole[..length]).is_err());
    }
    for _ in 0..2000 {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + random.below(6) {
            // Behind the header, which would only end it all early.
            let at = 24 + random.below(bytes.len() - 24);
            bytes[at] = random.next() as u8;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            types(&btf);
        }
    }
}

/// A blob of types: their words, and strings.
fn blob(words: &[u32], strings: &[u8]) -> Vec<u8> {
    let types = words.len() as u32 * 4;
    let header = [0x0001_eb9f, 24, 0, types, types, strings.len() as u32];
    let words = header.iter().chain(words).flat_map(|word| word.to_le_bytes());
    words.chain(strings.iter().copied()).collect()
}

#[test]
fn types_in_circles_and_huge_ones() {
    let kind = |kind: u32, count: u32| kind << 24 | count;
    // 1: typedef of 2; 2: const of 1; 3: array of 2^32-1 of 4; 4: array of 2^32-1 of 3;
    // 5: struct of itself; 6: struct of 65535-fold nothing.
    let words = [
        [0, kind(8, 0), 2].to_vec(),
        [0, kind(10, 0), 1].to_vec(),
        [0, kind(3, 0), 0, 4, 4, u32::MAX].to_vec(),
        [0, kind(3, 0), 0, 3, 3, u32::MAX].to_vec(),
        [0, kind(4, 3), 8, 0, 5, 0, 0, 5, 0, 0, 5, 0].to_vec(),
        [0, kind(4, 0), 0].to_vec(),
        [0, kind(3, 0), 0, 6, 6, u32::MAX].to_vec(),
    ];
    let btf = Btf::parse(&blob(&words.concat(), b"\0")).unwrap();
    types(&btf);
    assert_eq!(btf.size_of(1), None);
    assert_eq!(btf.size_of(3), None);
    assert_eq!(btf.resolve(1), 0);
    // Eight levels of unions, each of which shows the next a hundred times.
    let mut words = vec![0, kind(1, 0), 4, 32];
    for level in 1..9 {
        words.extend([0, kind(5, 100), 4]);
        for _ in 0..100 {
            words.extend([0, level, 0]);
        }
    }
    let btf = Btf::parse(&blob(&words, b"\0")).unwrap();
    types(&btf);
}
