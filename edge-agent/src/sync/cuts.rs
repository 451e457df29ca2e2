//! Where blocks were cut that the store has not acknowledged. Pure.
//!
//! The store, or the rules behind it, may have a block whose acknowledgement was lost. What is sent again is cut
//! as it was before, so that they know all of it or nothing: of a block they know in part they cannot tell which
//! readings are new.

use std::collections::BTreeMap;

use fieldline_model::{RangeSet, SeqRange};

/// Blocks that are remembered at most, several connections' worth; beyond, the first of the oldest lane goes.
const BLOCKS_MAX: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    /// Epoch and first number of each block, and its last.
    blocks: BTreeMap<(u64, u64), u64>,
}

impl Cuts {
    /// A block went out.
    pub(crate) fn note(&mut self, epoch: u64, range: SeqRange) {
        if let Some(before) = self.blocks.insert((epoch, range.first), range.last)
            && before > range.last
        {
            self.blocks.entry((epoch, range.last + 1)).or_insert(before);
        }
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_first();
        }
    }

    /// The store has these.
    pub(crate) fn settle(&mut self, epoch: u64, stored: &RangeSet) {
        for run in stored.runs() {
            let covered = self.blocks.range((epoch, run.first)..=(epoch, run.last));
            let covered: Vec<_> =
                covered.filter(|(_, last)| **last <= run.last).map(|(key, _)| *key).collect();
            for key in covered {
                self.blocks.remove(&key);
            }
        }
    }

    /// As much of a run, from its beginning, as stays within one block or between two.
    pub(crate) fn within(&self, epoch: u64, range: SeqRange) -> SeqRange {
        let next = self.blocks.range((epoch, range.first)..=(epoch, range.last));
        let next = next.map(|((_, first), _)| *first).find(|first| *first > range.first);
        let before_next = next.map_or(range.last, |first| first - 1);
        let last = self.around(epoch, range.first).map_or(before_next, |block| block.last);
        SeqRange::new(range.first, last.min(range.last))
    }

    /// The beginning of the block that a number lies in; else the number.
    pub(crate) fn beginning(&self, epoch: u64, seq: u64) -> u64 {
        self.around(epoch, seq).map_or(seq, |block| block.first)
    }

    fn around(&self, epoch: u64, seq: u64) -> Option<SeqRange> {
        let ((_, first), last) = self.blocks.range((epoch, 0)..=(epoch, seq)).next_back()?;
        (*last >= seq).then(|| SeqRange::new(*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange::new(first, last)
    }

    #[test]
    fn what_goes_out_again_is_cut_as_before() {
        let mut cuts = Cuts::default();
        assert_eq!(cuts.within(1, range(1, 100)), range(1, 100));
        cuts.note(1, range(1, 60));
        cuts.note(1, range(80, 90));
        for (asked, given) in [
            ((1, 200), (1, 60)),
            ((1, 20), (1, 20)),
            ((61, 200), (61, 79)),
            ((80, 200), (80, 90)),
            ((91, 200), (91, 200)),
        ] {
            assert_eq!(cuts.within(1, range(asked.0, asked.1)), range(given.0, given.1), "{asked:?}");
        }
        assert_eq!(cuts.within(2, range(1, 100)), range(1, 100), "another lane");
        assert_eq!((cuts.beginning(1, 30), cuts.beginning(1, 70), cuts.beginning(2, 30)), (1, 70, 30));
        cuts.settle(1, &[range(1, 60)].into_iter().collect());
        assert_eq!(cuts.within(1, range(1, 200)), range(1, 79));
    }

    #[test]
    fn a_block_that_becomes_smaller_keeps_its_end() {
        let mut cuts = Cuts::default();
        cuts.note(1, range(1, 60));
        cuts.note(1, range(1, 40));
        assert_eq!(cuts.within(1, range(1, 200)), range(1, 40));
        assert_eq!(cuts.within(1, range(41, 200)), range(41, 60));
    }

    #[test]
    fn few_are_remembered() {
        let mut cuts = Cuts::default();
        (1..=2 * BLOCKS_MAX as u64).for_each(|seq| cuts.note(1, range(seq, seq)));
        assert_eq!(cuts.blocks.len(), BLOCKS_MAX);
        assert_eq!(cuts.within(1, range(2_000, 3_000)), range(2_000, 2_000));
    }
}
