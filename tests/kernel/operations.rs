//! Random operations, and how each is carried out on the kernel and on usermap: both give an
//! answer of the same type, in which everything that a caller can see is written down.

use proptest::prelude::*;
use std::fmt;
use usermap::{Map, MapType, abi::map_flags};
use usermap_tests::rng;
use usermap_tests::sys::{Batch, KernelMap, Status};

/// Which handle of the map is used: the one it was created with, or one that was reopened.
#[derive(Clone, Copy, Debug)]
pub enum Handle {
    Main,
    Both,
    ReadOnly,
    WriteOnly,
}

/// Which token a batch goes on from.
#[derive(Clone, Copy, Debug)]
pub enum Token {
    First,
    Last,
    Number(u32),
}

#[derive(Clone, Debug)]
pub enum Operation {
    Lookup { key: u8, flags: u64 },
    Update { key: u8, value: u64, flags: u64 },
    Delete { key: u8 },
    LookupAndDelete { key: u8, flags: u64 },
    NextKey { key: Option<u8> },
    Walk,
    LookupBatch { token: Token, count: u32, delete: bool, elem_flags: u64, flags: u64 },
    WriteBatch { keys: Vec<u8>, value: Option<u64>, elem_flags: u64, flags: u64 },
    Freeze,
    Info,
}

/// An operation and the handle it is done with.
pub type Step = (Handle, Operation);

/// What a caller sees of an operation.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    errno: i32,
    number: u64,
    bytes: Vec<Vec<u8>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {} number {}", self.errno, self.number)?;
        for bytes in &self.bytes {
            write!(f, " ")?;
            for byte in bytes.iter().take(64) {
                write!(f, "{byte:02x}")?;
            }
            if bytes.len() > 64 {
                write!(f, "… ({} bytes)", bytes.len())?;
            }
        }
        Ok(())
    }
}

impl Answer {
    fn new(status: Status, bytes: Vec<Vec<u8>>) -> Answer {
        Answer { errno: status.err().unwrap_or(0), number: 0, bytes }
    }

    /// Whether the kernel had no memory, which says nothing about usermap.
    pub fn is_out_of_memory(&self) -> bool {
        self.errno == usermap::abi::errno::ENOMEM
    }
}

/// The functions that both have.
trait Side {
    fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status;
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Status;
    fn delete(&self, key: &[u8]) -> Status;
    fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status;
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Status;
    fn freeze(&self) -> Status;
    fn info(&self) -> Vec<u64>;
    fn lookup_batch(
        &self,
        token: Option<&[u8]>,
        token_bytes: usize,
        count: u32,
        delete: bool,
        flags: [u64; 2],
    ) -> Batch;
    fn write_batch(&self, keys: &[u8], values: Option<&[u8]>, count: u32, flags: [u64; 2])
    -> Batch;
}

impl Side for KernelMap {
    fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        self.lookup(key, value, flags)
    }
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Status {
        self.update(key, value, flags)
    }
    fn delete(&self, key: &[u8]) -> Status {
        self.delete(key)
    }
    fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        self.lookup_and_delete(key, value, flags)
    }
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Status {
        self.next_key(key, next)
    }
    fn freeze(&self) -> Status {
        self.freeze()
    }
    fn info(&self) -> Vec<u64> {
        let info = self.info().expect("info of a good descriptor");
        let spec = info.spec;
        let numbers = [spec.map_type, spec.key_size, spec.value_size, spec.max_entries, spec.flags];
        let mut info: Vec<u64> = numbers.map(u64::from).to_vec();
        info.push(spec.map_extra);
        info.extend(spec.name.map(u64::from));
        info
    }
    fn lookup_batch(
        &self,
        token: Option<&[u8]>,
        token_bytes: usize,
        count: u32,
        delete: bool,
        [elem_flags, flags]: [u64; 2],
    ) -> Batch {
        assert_eq!(token_bytes, self.token_bytes());
        self.lookup_batch(token, count, delete, elem_flags, flags)
    }
    fn write_batch(
        &self,
        keys: &[u8],
        values: Option<&[u8]>,
        count: u32,
        [elem_flags, flags]: [u64; 2],
    ) -> Batch {
        self.write_batch(keys, values, count, elem_flags, flags)
    }
}

fn status(result: usermap::Result<()>) -> Status {
    result.map_err(|error| error.errno())
}

impl Side for Map {
    fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        status(self.lookup(key, value, flags))
    }
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Status {
        status(self.update(key, value, flags))
    }
    fn delete(&self, key: &[u8]) -> Status {
        status(self.delete(key))
    }
    fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Status {
        status(self.lookup_and_delete(key, value, flags))
    }
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Status {
        status(self.get_next_key(key, next))
    }
    fn freeze(&self) -> Status {
        status(self.freeze())
    }
    fn info(&self) -> Vec<u64> {
        let info = self.info();
        let spec = info.spec;
        let kind = spec.map_type as u32;
        let numbers = [kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags];
        let mut info: Vec<u64> = numbers.map(u64::from).to_vec();
        info.push(spec.map_extra);
        info.extend(spec.name.bytes().map(u64::from));
        info
    }
    fn lookup_batch(
        &self,
        token: Option<&[u8]>,
        token_bytes: usize,
        count: u32,
        delete: bool,
        [elem_flags, flags]: [u64; 2],
    ) -> Batch {
        use usermap_tests::adapter::batch;
        batch::lookup(self, token, token_bytes, count, delete, elem_flags, flags)
    }
    fn write_batch(
        &self,
        keys: &[u8],
        values: Option<&[u8]>,
        count: u32,
        [elem_flags, flags]: [u64; 2],
    ) -> Batch {
        usermap_tests::adapter::batch::write(self, keys, values, count, elem_flags, flags)
    }
}

/// What both sides need to know of the map.
#[derive(Clone, Debug)]
pub struct Shape {
    pub kind: MapType,
    pub key_size: usize,
    pub value_bytes: usize,
    pub token_bytes: usize,
    pub flags: u32,
}

impl Shape {
    /// Whether the order of entries is the same on both sides.
    fn ordered(&self) -> bool {
        !self.kind.is_hash() || self.flags & map_flags::ZERO_SEED != 0
    }

    fn key(&self, number: u8) -> Vec<u8> {
        match self.kind {
            // The last few are far past the end.
            _ if self.kind.is_array() && number >= 28 => vec![0xff; 4],
            _ if self.kind.is_array() => u32::from(number).to_le_bytes().to_vec(),
            _ if number < 4 => vec![number; self.key_size],
            _ => rng::bytes(u64::from(number), self.key_size),
        }
    }
}

/// Carries out an operation on the kernel's map.
pub fn on_kernel(
    map: &KernelMap,
    shape: &Shape,
    last: &mut Vec<u8>,
    operation: &Operation,
) -> Option<Answer> {
    carry_out(map, shape, last, operation)
}

/// Carries out an operation on usermap's map.
pub fn on_usermap(
    map: &Map,
    shape: &Shape,
    last: &mut Vec<u8>,
    operation: &Operation,
) -> Option<Answer> {
    carry_out(map, shape, last, operation)
}

/// All pairs, by keys and lookups; for queues and stacks by taking everything out.
pub fn dump_kernel(map: &KernelMap, shape: &Shape) -> Answer {
    dump(map, shape)
}

/// The same of usermap's.
pub fn dump_usermap(map: &Map, shape: &Shape) -> Answer {
    dump(map, shape)
}

/// `None` if the answer depends on an order that usermap does not promise.
fn carry_out<S: Side>(
    side: &S,
    shape: &Shape,
    last: &mut Vec<u8>,
    operation: &Operation,
) -> Option<Answer> {
    let mut value = vec![0xAA; shape.value_bytes];
    let mut next = vec![0xAA; shape.key_size];
    Some(match operation {
        Operation::Lookup { key, flags } => {
            let status = side.lookup(&shape.key(*key), &mut value, *flags);
            Answer::new(status, vec![value])
        }
        Operation::Update { key, value: seed, flags } => {
            rng::Rng::new(*seed).fill(&mut value);
            Answer::new(side.update(&shape.key(*key), &value, *flags), vec![])
        }
        Operation::Delete { key } => Answer::new(side.delete(&shape.key(*key)), vec![]),
        Operation::LookupAndDelete { key, flags } => {
            let status = side.lookup_and_delete(&shape.key(*key), &mut value, *flags);
            Answer::new(status, vec![value])
        }
        Operation::NextKey { key } => {
            let key = key.map(|key| shape.key(key));
            let status = side.next_key(key.as_deref(), &mut next);
            if !shape.ordered() && key.is_some() {
                return None;
            }
            Answer::new(status, if shape.ordered() { vec![next] } else { vec![] })
        }
        Operation::Walk => walk(side, shape),
        Operation::LookupBatch { token, count, delete, elem_flags, flags } => {
            // In an unknown order only a batch with room for everything is certain.
            let (token, count) = match shape.ordered() {
                true => (*token, *count),
                false => (Token::First, 64),
            };
            let number = |n: u32| {
                let mut token = vec![0; shape.token_bytes];
                token[..4].copy_from_slice(&n.to_le_bytes());
                token
            };
            let token = match token {
                Token::First => None,
                Token::Last => Some(last.clone()).filter(|last| !last.is_empty()),
                Token::Number(n) => Some(number(n)),
            };
            let flags = [*elem_flags, *flags];
            let batch =
                side.lookup_batch(token.as_deref(), shape.token_bytes, count, *delete, flags);
            let Batch { errno, count, token, mut keys, mut values } = batch;
            last.clone_from(&token);
            keys.truncate(count as usize * shape.key_size);
            values.truncate(count as usize * shape.value_bytes);
            let bytes = match shape.ordered() {
                true => vec![keys, values, token],
                false => {
                    let keys = keys.chunks(shape.key_size.max(1));
                    let values = values.chunks(shape.value_bytes);
                    let mut pairs: Vec<_> =
                        keys.zip(values).map(|(key, value)| [key, value].concat()).collect();
                    pairs.sort();
                    pairs
                }
            };
            Answer { errno, number: count.into(), bytes }
        }
        Operation::WriteBatch { keys, value, elem_flags, flags } => {
            let count = keys.len() as u32;
            let keys: Vec<u8> = keys.iter().flat_map(|key| shape.key(*key)).collect();
            let values = value.map(|seed| rng::bytes(seed, shape.value_bytes * count as usize));
            let batch = side.write_batch(&keys, values.as_deref(), count, [*elem_flags, *flags]);
            Answer { errno: batch.errno, number: batch.count.into(), bytes: vec![] }
        }
        Operation::Freeze => Answer::new(side.freeze(), vec![]),
        Operation::Info => {
            let info = side.info();
            Answer::new(Ok(()), info.iter().map(|number| number.to_le_bytes().to_vec()).collect())
        }
    })
}

fn walk<S: Side>(side: &S, shape: &Shape) -> Answer {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut next = vec![0xAA; shape.key_size];
    let mut status = Ok(());
    while keys.len() < 1000 && status.is_ok() {
        status = side.next_key(keys.last().map(Vec::as_slice), &mut next);
        if status.is_ok() {
            keys.push(next.clone());
        }
    }
    let number = keys.len() as u64;
    if !shape.ordered() {
        keys.sort();
    }
    Answer { number, ..Answer::new(status, keys) }
}

fn dump<S: Side>(side: &S, shape: &Shape) -> Answer {
    let mut value = vec![0xAA; shape.value_bytes];
    if shape.kind.is_ring() {
        let mut values = Vec::new();
        let mut status = Ok(());
        while status.is_ok() && values.len() < 1000 {
            // A frozen one can only be looked at.
            let peeked = side.lookup(&[], &mut value, 0);
            values.push(value.clone());
            status = side.lookup_and_delete(&[], &mut value, 0);
            values.push(value.clone());
            assert!(peeked.is_ok() || status.is_err());
        }
        return Answer::new(status, values);
    }
    let mut answer = walk(side, shape);
    for key in std::mem::take(&mut answer.bytes) {
        value.fill(0xAA);
        let status = side.lookup(&key, &mut value, 0);
        let errno = status.err().unwrap_or(0).to_le_bytes();
        answer.bytes.push([key.as_slice(), &errno, &value].concat());
    }
    answer
}

fn flags() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => Just(0_u64),
        6 => 0_u64..5,
        1 => prop_oneof![5_u64..9, Just(16), Just(1 << 32), Just(1 << 32 | 8), Just(u64::MAX)],
    ]
}

fn rarely() -> impl Strategy<Value = u64> {
    prop_oneof![12 => Just(0_u64), 1 => prop_oneof![Just(1_u64), Just(2), Just(4), Just(8)]]
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        3 => Just(Token::First),
        4 => Just(Token::Last),
        1 => (0_u32..40).prop_map(Token::Number),
        1 => Just(Token::Number(u32::MAX)),
    ]
}

/// One random step.
pub fn step() -> impl Strategy<Value = Step> {
    let key = 0_u8..32;
    let lookup = (key.clone(), rarely()).prop_map(|(key, flags)| Operation::Lookup { key, flags });
    let update = (key.clone(), any::<u64>(), flags())
        .prop_map(|(key, value, flags)| Operation::Update { key, value, flags });
    let take =
        (key.clone(), rarely()).prop_map(|(key, flags)| Operation::LookupAndDelete { key, flags });
    let next = prop::option::of(key.clone()).prop_map(|key| Operation::NextKey { key });
    let batch = (token(), 0_u32..12, any::<bool>(), rarely(), rarely()).prop_map(
        |(token, count, delete, elem_flags, flags)| Operation::LookupBatch {
            token,
            count,
            delete,
            elem_flags,
            flags,
        },
    );
    let keys = prop::collection::vec(key.clone(), 0..10);
    let write = (keys, prop::option::of(any::<u64>()), rarely(), rarely()).prop_map(
        |(keys, value, elem_flags, flags)| Operation::WriteBatch { keys, value, elem_flags, flags },
    );
    let batches = 3;
    let operation = prop_oneof![
        20 => lookup,
        40 => update,
        12 => key.prop_map(|key| Operation::Delete { key }),
        10 => take,
        10 => next,
        3 => Just(Operation::Walk),
        batches * 3 => batch,
        batches * 2 => write,
        1 => Just(Operation::Info),
    ];
    let operation = prop_oneof![300 => operation, 1 => Just(Operation::Freeze)];
    let handle = prop_oneof![
        30 => Just(Handle::Main),
        2 => Just(Handle::Both),
        1 => Just(Handle::ReadOnly),
        1 => Just(Handle::WriteOnly),
    ];
    (handle, operation)
}
