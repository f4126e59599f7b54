//! What is true of a hash map that nobody is writing to, for tests.

use super::Hash;
use super::bucket::{FREE, LINK, LINKED, OCCUPIED, STATE, bit_of, tag_in_node};
use crate::kind::redo::REDO;
use crate::mem::owner::holder;
use crate::mem::sync::Ordering::*;
use std::collections::BTreeSet;

impl Hash<'_> {
    /// Panics unless all locks are free, every node is either free or in one chain, whose filter has
    /// its tag, and the count is the number of entries.
    pub(crate) fn check_order(&self) {
        let (mut linked, mut entries) = (BTreeSet::new(), 0);
        for bucket in 0..self.geometry.buckets {
            let word = self.head(bucket)[0].load(Acquire);
            assert_eq!(holder(word), 0, "bucket {bucket} is locked");
            assert_eq!(word & REDO, 0, "bucket {bucket} is being redone");
            entries += (word & OCCUPIED).count_ones();
            let (link, mut filter) = (self.head(bucket)[LINK].load(Acquire), 0);
            let stopped = self.chain(bucket, |_, number, node| {
                assert_eq!(node & STATE, LINKED, "node {number} is in a chain");
                assert!(linked.insert(number), "node {number} is in two chains");
                filter |= bit_of(tag_in_node(node));
                None::<()>
            });
            assert_eq!(stopped, Ok(None));
            assert_eq!(link & filter, filter, "the filter of bucket {bucket} lacks a tag");
            assert!(filter != 0 || link == 0, "the filter of bucket {bucket} has no chain");
        }
        for number in 1..=self.geometry.nodes {
            if !linked.contains(&number) {
                let word = self.node(number).map(|node| node.load(Acquire));
                assert_eq!(word, Ok(FREE), "node {number} is lost");
            }
        }
        assert_eq!(self.count().get(), entries + linked.len() as u32, "the count");
    }
}
