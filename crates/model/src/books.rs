use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Class, RangeSet, Reason};

/// What a gateway says of its own readings; published on the books topic and kept by the ledger.
///
/// `accepted` is counted where devices are acknowledged and where window aggregates are made, the
/// rest where each reading ends up, so [`Books::balance`] compares two independent counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// Readings acknowledged to devices, plus aggregates that the filter made of them.
    pub accepted: u64,
    /// Readings that a filter left out or took into an aggregate.
    pub filtered: u64,
    /// Readings set aside before they got a sequence number, by reason.
    pub quarantined: BTreeMap<Reason, u64>,
    /// The lanes of the journal, by epoch.
    pub lanes: Vec<LaneBooks>,
}

/// One lane of a gateway's journal, as the gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LaneBooks {
    /// The lane's stream.
    pub epoch: u64,
    /// The lane's class.
    pub class: Class,
    /// The greatest sequence number given out so far; 0 if none.
    pub last_seq: u64,
    /// What waits for the store's acknowledgement.
    pub buffered: RangeSet,
    /// What the store has acknowledged, as far as the gateway knows.
    pub stored: RangeSet,
    /// What a policy dropped, by the policy's name.
    pub dropped: BTreeMap<String, RangeSet>,
    /// Records found damaged on disk.
    pub damaged: RangeSet,
}

impl Books {
    /// Readings set aside at the gateway, all reasons together, without damaged records.
    pub fn quarantined_count(&self) -> u64 {
        self.quarantined.values().sum()
    }

    /// `accepted − (filtered + buffered + stored + dropped + quarantined)`: 0 when the books balance.
    pub fn balance(&self) -> i128 {
        let lanes: u64 = self.lanes.iter().map(LaneBooks::accounted).sum();
        i128::from(self.accepted)
            - i128::from(self.filtered)
            - i128::from(self.quarantined_count())
            - i128::from(lanes)
    }
}

impl LaneBooks {
    /// Sequence numbers of which the gateway knows where they are. They are counted once each, also
    /// where a reading was both dropped here and stored there.
    pub fn accounted(&self) -> u64 {
        let mut known = self.buffered.clone();
        known.insert_all(&self.stored);
        known.insert_all(&self.damaged);
        for ranges in self.dropped.values() {
            known.insert_all(ranges);
        }
        known.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeqRange;

    #[test]
    fn the_books_balance_when_every_reading_is_somewhere() {
        let ranges = |first, last| RangeSet::from(vec![SeqRange::new(first, last)]);
        let mut books = Books {
            accepted: 150,
            filtered: 40,
            quarantined: BTreeMap::from([(Reason::TooOld, 10)]),
            lanes: vec![LaneBooks {
                epoch: 7,
                class: Class::Live,
                last_seq: 100,
                buffered: ranges(81, 100),
                stored: ranges(21, 80),
                dropped: BTreeMap::from([("drop-oldest".to_owned(), ranges(1, 19))]),
                damaged: ranges(20, 20),
            }],
        };
        assert_eq!(books.balance(), 0);
        books.lanes[0].buffered = ranges(82, 100);
        assert_eq!(books.balance(), 1);
    }
}
