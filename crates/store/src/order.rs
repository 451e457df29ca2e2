//! Which of two readings of one series and time was accepted last: order numbers of blocks.
//!
//! A store has one counter. A block that goes on where its stream ended advances it by the number of
//! its readings and takes the new value as its order number. A block that leaves a gap behind reserves
//! numbers for the gap first; a block that fills the gap later takes its number from there, by the
//! greatest sequence number that it brings anew. So each sequence number of a stream has one place in
//! the order from the moment on at which it, or one after it, was first seen; a block has the place of
//! the last reading that it brings. See `docs/decisions/0003-order-numbers.md` on why that is right for
//! blocks that overlap, too.

use fieldline_model::{RangeSet, SeqRange};
use serde::{Deserialize, Serialize};

/// The greatest sequence number and the greatest order number that a store takes: they have to fit the
/// integers of SQLite with room for a reservation.
pub const NUMBER_MAX: u64 = 1 << 62;

/// Numbers that are reserved for sequence numbers that have not come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing.
    pub seqs: SeqRange,
    /// The order number before the one of `seqs.first`.
    pub base: u64,
}

impl Gap {
    fn order_of(&self, seq: u64) -> u64 {
        self.base + (seq - self.seqs.first) + 1
    }

    fn part(&self, first: u64, last: u64) -> Option<Self> {
        let base = self.base + first.saturating_sub(self.seqs.first);
        (first <= last).then_some(Self { seqs: SeqRange { first, last }, base })
    }
}

/// What is stored of a stream, and what is reserved for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamOrder {
    /// What is stored.
    pub stored: RangeSet,
    /// Reserved numbers, by sequence number; apart from `stored` and from each other.
    pub gaps: Vec<Gap>,
}

/// What a block is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// All of it is stored.
    Duplicate,
    /// So many of its readings are new, and it has this place in the order.
    New {
        /// The greater one stands.
        order: u64,
        /// How many readings were not stored before.
        count: u64,
    },
    /// The numbers are out of bounds.
    OutOfBounds,
}

impl StreamOrder {
    /// Takes note that `seqs` are stored now; `counter` is the store's.
    pub fn admit(&mut self, seqs: SeqRange, counter: &mut u64) -> Admission {
        let greatest = self.stored.last().unwrap_or(0);
        if seqs.first == 0 || seqs.last > NUMBER_MAX {
            return Admission::OutOfBounds;
        }
        let missing = self.stored.gaps_within(seqs);
        let Some(newest) = missing.last().map(|run| run.last) else { return Admission::Duplicate };
        let count = missing.iter().map(|run| run.count()).sum();
        let order = if newest > greatest {
            // What lies between the greatest number so far and this block counts, too.
            let Some(order) = counter.checked_add(newest - greatest).filter(|order| *order <= NUMBER_MAX)
            else {
                return Admission::OutOfBounds;
            };
            if seqs.first > greatest + 1 {
                let seqs = SeqRange { first: greatest + 1, last: seqs.first - 1 };
                self.gaps.push(Gap { seqs, base: *counter });
            }
            *counter = order;
            order
        } else {
            self.reserved(newest).unwrap_or(*counter)
        };
        self.fill(seqs);
        self.stored.insert(seqs);
        Admission::New { order, count }
    }

    /// The least order number that a block which fills a gap may still get, less one.
    #[cfg(any(test, feature = "sqlite"))]
    pub(crate) fn base_min(&self) -> Option<u64> {
        self.gaps.iter().map(|gap| gap.base).min()
    }

    fn reserved(&self, seq: u64) -> Option<u64> {
        self.gaps.iter().find(|gap| gap.seqs.contains(seq)).map(|gap| gap.order_of(seq))
    }

    fn fill(&mut self, seqs: SeqRange) {
        let from = self.gaps.partition_point(|gap| gap.seqs.last < seqs.first);
        let to = self.gaps.partition_point(|gap| gap.seqs.first <= seqs.last);
        let mut rest = Vec::new();
        for gap in self.gaps.get(from..to).unwrap_or_default() {
            rest.extend(gap.part(gap.seqs.first, gap.seqs.last.min(seqs.first - 1)));
            rest.extend(gap.part(gap.seqs.first.max(seqs.last + 1), gap.seqs.last));
        }
        self.gaps.splice(from..to.max(from), rest);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn admit(stream: &mut StreamOrder, counter: &mut u64, first: u64, last: u64) -> Admission {
        stream.admit(SeqRange { first, last }, counter)
    }

    #[test]
    fn a_late_block_sorts_where_its_gap_was_left() {
        let (mut live, mut other, mut counter) = (StreamOrder::default(), StreamOrder::default(), 0);
        assert_eq!(admit(&mut live, &mut counter, 1, 10), Admission::New { order: 10, count: 10 });
        // 11 to 20 are missing; they are reserved 11 to 20.
        assert_eq!(admit(&mut live, &mut counter, 21, 30), Admission::New { order: 30, count: 10 });
        assert_eq!(admit(&mut other, &mut counter, 1, 5), Admission::New { order: 35, count: 5 });
        assert_eq!(live.base_min(), Some(10));
        assert_eq!(admit(&mut live, &mut counter, 14, 15), Admission::New { order: 15, count: 2 });
        assert_eq!(admit(&mut live, &mut counter, 11, 30), Admission::New { order: 20, count: 8 });
        assert_eq!(admit(&mut live, &mut counter, 11, 30), Admission::Duplicate);
        assert_eq!((live.base_min(), counter), (None, 35));
    }

    #[test]
    fn numbers_that_would_overflow_are_refused_and_change_nothing() {
        let (mut stream, mut counter) = (StreamOrder::default(), NUMBER_MAX - 5);
        for (first, last) in [(0, 3), (1, NUMBER_MAX + 1), (1, 6), (7, 7)] {
            assert_eq!(admit(&mut stream, &mut counter, first, last), Admission::OutOfBounds);
        }
        assert_eq!((&stream, counter), (&StreamOrder::default(), NUMBER_MAX - 5));
        assert!(matches!(admit(&mut stream, &mut counter, 1, 5), Admission::New { .. }));
    }

    proptest! {
        /// Blocks of one stream, cut anyhow, in any order, some twice: whoever applies them by order
        /// number ends with what the gateway accepted last.
        #[test]
        fn the_greatest_order_number_holds_the_newest_reading(
            keys in prop::collection::vec(0u8..6, 1..60),
            cuts in prop::collection::vec((0usize..60, 1usize..25), 1..40),
        ) {
            let newest: BTreeMap<u8, usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
            let (mut stream, mut counter) = (StreamOrder::default(), 0);
            let mut state: BTreeMap<u8, (u64, usize)> = BTreeMap::new();
            let everything = keys.chunks(7).enumerate().map(|(at, part)| (at * 7, part.len()));
            for (start, length) in cuts.into_iter().chain(everything) {
                let start = start.min(keys.len() - 1);
                let end = (start + length).min(keys.len());
                let seqs = SeqRange { first: start as u64 + 1, last: end as u64 };
                let Admission::New { order, .. } = stream.admit(seqs, &mut counter) else { continue };
                for (at, key) in keys.iter().enumerate().take(end).skip(start) {
                    let held = state.entry(*key).or_insert((order, at));
                    if order >= held.0 {
                        *held = (order, at);
                    }
                }
            }
            prop_assert!(stream.gaps.is_empty());
            prop_assert_eq!(counter, keys.len() as u64);
            let held: BTreeMap<u8, usize> = state.into_iter().map(|(key, (_, at))| (key, at)).collect();
            prop_assert_eq!(held, newest);
        }
    }
}
