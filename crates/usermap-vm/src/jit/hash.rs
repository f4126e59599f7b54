//! `bpf_map_lookup_elem` of a hash, in place: what `usermap`'s `kind::hash` says of a lookup, with
//! all that is the map's own as constants. A key that is not in its bucket's places but may be in
//! the bucket's chain, a bucket that changed meanwhile, and one that a dead writer left in the
//! middle of a change go the usual way, by a call.

use super::facts::{Fact, Written};
use super::translate::{Translator, plain};
use crate::run::HashTable;
use crate::sandbox::cage::FRAME;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I32, I64, I128};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};
use usermap::HashLayout;

/// The longest keys that are looked up in place.
const LONGEST: usize = 64;

/// A word of a key: how many bytes of it there are, and all of it, padded with zeros.
#[derive(Clone, Copy)]
struct Word {
    bytes: u8,
    value: Value,
}

impl Translator<'_, '_> {
    /// Looks a key up in place, and sets r0; nothing if it cannot be done: the key is elsewhere than
    /// in the function's own frame, or of an odd length, or the function has made enough of them.
    pub(super) fn look_up_in_hash(&mut self, map: usize, table: &HashTable) -> Option<()> {
        self.hashes = self.hashes.checked_sub(1)?;
        let key = self.key(table.key_size)?;
        let HashTable { layout, start, .. } = *table;
        let hash = self.hash(&key, table.key_size, &layout);
        let kernel_bucket = self.builder.ins().band_imm_s(hash, layout.kernel_buckets as i64 - 1);
        let bucket = self.times(kernel_bucket, layout.buckets as usize);
        let bucket = self.builder.ins().ushr_imm_u(bucket, i64::from(layout.kernel_bits));
        // The bucket's first place among all; the rest is a multiple of it, which is part of the
        // machine's ways to address.
        let places = layout.places as usize;
        let first = self.times(bucket, places);
        let heads = self.builder.ins().iconst(I64, layout.heads as i64);
        let head = match layout.head_bytes % places {
            0 => self.times(first, layout.head_bytes / places),
            _ => self.times(bucket, layout.head_bytes),
        };
        let head = self.builder.ins().iadd(heads, head);

        let [search, compare, next, hit, missing, absent, slowly, done] =
            std::array::from_fn(|_| self.builder.create_block());
        for block in [next, missing, absent, slowly] {
            self.builder.set_cold_block(block);
        }
        let left = self.builder.append_block_param(search, I64);
        let given = self.builder.append_block_param(done, I64);

        let lock = self.builder.ins().atomic_load(I64, plain(), head);
        let same = self.same_tags(hash, head, layout.tags);
        let places = self.builder.ins().band(same, lock);
        // With nothing to be completed, this is what it must still be at the end.
        let lock = self.builder.ins().band_imm_s(lock, !layout.redo as i64);
        // By a block's argument, so that the tags are only used once: they are compared where they are.
        self.builder.ins().jump(search, &[BlockArg::Value(places)]);

        self.builder.switch_to_block(search);
        self.builder.ins().brif(left, compare, &[], missing, &[]);

        self.builder.switch_to_block(compare);
        let place = self.builder.ins().ctz(left);
        let place = self.builder.ins().iadd(first, place);
        let entry = self.times(place, layout.key_stride);
        let differ = match layout.keys_among_values {
            Some(keys) => {
                let at = self.builder.ins().iadd(self.base, entry);
                self.differ(&key, at, start + keys as u64)
            }
            None => {
                let keys = self.builder.ins().iconst(I64, layout.keys as i64);
                let at = self.builder.ins().iadd(keys, entry);
                self.differ(&key, at, 0)
            }
        };
        self.builder.ins().brif(differ, next, &[], hit, &[]);

        self.builder.switch_to_block(next);
        let less = self.builder.ins().iadd_imm_s(left, -1);
        let rest = self.builder.ins().band(left, less);
        self.builder.ins().jump(search, &[BlockArg::Value(rest)]);

        self.builder.switch_to_block(hit);
        let value = match layout.plane {
            0 => entry,
            plane => {
                let value = match layout.value_stride == layout.key_stride {
                    true => entry,
                    false => self.times(place, layout.value_stride),
                };
                let cpu = self.cpu();
                let cpu = self.times(cpu, plane);
                self.builder.ins().iadd(value, cpu)
            }
        };
        let value = self.builder.ins().iadd_imm_s(value, start as i64 + layout.values as i64);
        self.finish((lock, head), slowly, (done, &[BlockArg::Value(value)]));

        self.builder.switch_to_block(missing);
        let link = self.builder.ins().load(I32, plain(), head, layout.link as i32);
        self.builder.ins().brif(link, slowly, &[], absent, &[]);
        let asks = self.jump_for_null();
        let nothing = asks.map(|_| self.builder.create_block());
        self.builder.switch_to_block(absent);
        let null = [BlockArg::Value(self.builder.ins().iconst(I64, 0))];
        let without = nothing.map_or((done, &null[..]), |nothing| (nothing, &[]));
        self.finish((lock, head), slowly, without);

        self.builder.switch_to_block(slowly);
        let value = self.call_look_up(map);
        let found = [BlockArg::Value(value)];
        match nothing {
            Some(nothing) => self.builder.ins().brif(value, done, &found, nothing, &[]),
            None => self.builder.ins().jump(done, &found),
        };
        if let Some((nothing, asks)) = nothing.zip(asks) {
            self.go_on_with_null(nothing, asks);
        }
        self.builder.switch_to_block(done);
        let fact = Fact { found: true, there: asks.is_some(), ..Fact::default() };
        self.set_with(0, given, fact);
        Some(())
    }

    /// The key that r2 leads to, if it is in this function's frame.
    fn key(&mut self, size: usize) -> Option<Vec<Word>> {
        let offset = self.facts.of(2).frame?;
        let within = offset >= -(FRAME as i32) && offset + size as i32 <= 0;
        if !within || size > LONGEST || !matches!(size % 8, 0 | 1 | 2 | 4) {
            return None;
        }
        let word = |at: usize| {
            let (offset, bytes) = (offset + at as i32, (size - at).min(8) as u8);
            Word { bytes, value: self.read_frame(offset, bytes) }
        };
        Some((0..size).step_by(8).map(word).collect())
    }

    /// A number of the frame, as it was stored, or else as it is there.
    pub(super) fn read_frame(&mut self, offset: i32, bytes: u8) -> Value {
        if let Some(written) = self.facts.read(offset, bytes) {
            return self.whole(written);
        }
        let halves = (self.facts.read(offset, 4), self.facts.read(offset + 4, 4));
        if let (8, (Some(low), Some(high))) = (bytes, halves) {
            let (low, high) = (self.whole(low), self.whole(high));
            let high = self.builder.ins().ishl_imm_u(high, 32);
            return self.builder.ins().bor(low, high);
        }
        let stack = self.stack();
        match bytes {
            1 => self.builder.ins().uload8(I64, plain(), stack, offset),
            2 => self.builder.ins().uload16(I64, plain(), stack, offset),
            4 => self.builder.ins().uload32(plain(), stack, offset),
            _ => self.builder.ins().load(I64, plain(), stack, offset),
        }
    }

    /// A number that was stored, in 64 bits.
    fn whole(&mut self, written: Written) -> Value {
        match written.whole {
            Some(whole) => whole,
            None if written.width == 8 => written.value,
            None => self.builder.ins().uextend(I64, written.value),
        }
    }

    /// The hash of a key: a folded multiply for every two words and one more, as
    /// `HashLayout::seed` says.
    fn hash(&mut self, key: &[Word], size: usize, layout: &HashLayout) -> Value {
        let factor = self.builder.ins().iconst(I64, layout.factor as i64);
        let [first, second] = layout.seed.map(|seed| self.builder.ins().iconst(I64, seed as i64));
        if let [word] = key {
            let mixed = self.builder.ins().bxor(first, word.value);
            let mixed = self.fold(factor, mixed);
            return self.fold(factor, mixed);
        }
        let start = layout.seed[0] ^ size as u64;
        let mut hash = self.builder.ins().iconst(I64, start as i64);
        for pair in key.chunks(2) {
            let low = self.builder.ins().bxor(pair[0].value, hash);
            let high = match pair.get(1) {
                Some(word) => self.builder.ins().bxor(second, word.value),
                None => second,
            };
            hash = self.fold(low, high);
        }
        let mixed = self.builder.ins().bxor(first, hash);
        self.fold(factor, mixed)
    }

    /// A folded multiply. A constant comes first, here and where it is mixed in: so it is put into a
    /// register, and not loaded, for which it would wait behind an atomic operation.
    fn fold(&mut self, left: Value, right: Value) -> Value {
        let left = self.builder.ins().uextend(I128, left);
        let right = self.builder.ins().uextend(I128, right);
        let product = self.builder.ins().imul(left, right);
        let (low, high) = self.builder.ins().isplit(product);
        self.builder.ins().bxor(low, high)
    }

    /// A number times a constant.
    pub(super) fn times(&mut self, number: Value, factor: usize) -> Value {
        match factor.is_power_of_two() {
            true => self.builder.ins().ishl_imm_u(number, i64::from(factor.trailing_zeros())),
            false => self.builder.ins().imul_imm_s(number, factor as i64),
        }
    }

    /// Places of a head whose tag is the hash's, as bits.
    fn same_tags(&mut self, hash: Value, head: Value, tags: usize) -> Value {
        let tag = self.builder.ins().ushr_imm_u(hash, 56);
        let tag = self.builder.ins().ireduce(I8, tag);
        let wanted = self.builder.ins().splat(I8X16, tag);
        let tags = self.builder.ins().load(I8X16, plain(), head, tags as i32);
        let same = self.builder.ins().icmp(IntCC::Equal, wanted, tags);
        self.builder.ins().vhigh_bits(I64, same)
    }

    /// Not 0 if the key at a host address is another one.
    fn differ(&mut self, key: &[Word], at: Value, offset: u64) -> Value {
        let (at, offset) = match i32::try_from(offset + LONGEST as u64) {
            Ok(_) => (at, offset as i32),
            Err(_) => {
                let offset = self.builder.ins().iconst(I64, offset as i64);
                (self.builder.ins().iadd(at, offset), 0)
            }
        };
        if let [Word { bytes: 4, value }] = key {
            let there = self.builder.ins().load(I32, plain(), at, offset);
            let value = self.builder.ins().ireduce(I32, *value);
            return self.builder.ins().icmp(IntCC::NotEqual, value, there);
        }
        let mut differ = None;
        for (word, offset) in key.iter().zip((offset..).step_by(8)) {
            let there = match word.bytes {
                1 => self.builder.ins().uload8(I64, plain(), at, offset),
                2 => self.builder.ins().uload16(I64, plain(), at, offset),
                4 => self.builder.ins().uload32(plain(), at, offset),
                _ => self.builder.ins().load(I64, plain(), at, offset),
            };
            let differs = self.builder.ins().bxor(there, word.value);
            differ = Some(match differ {
                Some(others) => self.builder.ins().bor(others, differs),
                None => differs,
            });
        }
        match differ {
            Some(differ) => differ,
            None => self.builder.ins().iconst(I64, 0),
        }
    }

    /// Goes on in a block, with a value, if the bucket's lock word is what it is to be; else goes the
    /// usual way.
    fn finish(
        &mut self,
        (lock, head): (Value, Value),
        slowly: Block,
        (done, value): (Block, &[BlockArg]),
    ) {
        let now = self.builder.ins().atomic_load(I64, plain(), head);
        let changed = self.builder.ins().icmp(IntCC::NotEqual, now, lock);
        self.builder.ins().brif(changed, slowly, &[], done, value);
    }
}
