use serde::{Deserialize, Serialize};

/// An unbroken run of sequence numbers, both ends included; in JSON `[first, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct SeqRange {
    /// The first number.
    pub first: u64,
    /// The last number, never below `first`.
    pub last: u64,
}

impl SeqRange {
    /// The run from `first` to `last`; where they are swapped they are put in order.
    pub fn new(first: u64, last: u64) -> Self {
        Self { first: first.min(last), last: first.max(last) }
    }

    /// How many numbers it holds; saturates for the one range that holds 2⁶⁴ of them.
    pub fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether `seq` lies in it.
    pub fn contains(self, seq: u64) -> bool {
        self.first <= seq && seq <= self.last
    }

    /// Whether the two share a number.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl From<(u64, u64)> for SeqRange {
    fn from((first, last): (u64, u64)) -> Self {
        Self::new(first, last)
    }
}

impl From<SeqRange> for (u64, u64) {
    fn from(range: SeqRange) -> Self {
        (range.first, range.last)
    }
}

impl std::fmt::Display for SeqRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}–{}", self.first, self.last)
        }
    }
}

/// A set of sequence numbers, kept as sorted runs that neither touch nor overlap.
///
/// In JSON a list of `[first, last]`. Inserting costs `O(log n)` to find plus the runs it joins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<SeqRange>", into = "Vec<SeqRange>")]
pub struct RangeSet {
    runs: Vec<SeqRange>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.count()))
    }

    /// The runs, ascending.
    pub fn runs(&self) -> &[SeqRange] {
        &self.runs
    }

    /// The greatest number in it.
    pub fn last(&self) -> Option<u64> {
        self.runs.last().map(|run| run.last)
    }

    /// Whether `seq` is in it.
    pub fn contains(&self, seq: u64) -> bool {
        self.run_at_or_after(seq).is_some_and(|run| run.contains(seq))
    }

    /// Whether all of `range` is in it.
    pub fn covers(&self, range: SeqRange) -> bool {
        self.run_at_or_after(range.first)
            .is_some_and(|run| run.first <= range.first && range.last <= run.last)
    }

    /// Puts a run in.
    pub fn insert(&mut self, range: SeqRange) {
        let from = self.runs.partition_point(|run| run.last.saturating_add(1) < range.first);
        let to = self.runs.partition_point(|run| run.first <= range.last.saturating_add(1));
        if from >= to {
            self.runs.insert(from, range);
            return;
        }
        let first = range.first.min(self.runs.get(from).map_or(range.first, |run| run.first));
        let last = range.last.max(self.runs.get(to - 1).map_or(range.last, |run| run.last));
        self.runs.splice(from..to, [SeqRange { first, last }]);
    }

    /// Takes a run out.
    pub fn remove(&mut self, range: SeqRange) {
        let from = self.runs.partition_point(|run| run.last < range.first);
        let to = self.runs.partition_point(|run| run.first <= range.last);
        if from >= to {
            return;
        }
        let mut rest = Vec::with_capacity(2);
        if let Some(run) = self.runs.get(from).filter(|run| run.first < range.first) {
            rest.push(SeqRange { first: run.first, last: range.first - 1 });
        }
        if let Some(run) = self.runs.get(to - 1).filter(|run| run.last > range.last) {
            rest.push(SeqRange { first: range.last + 1, last: run.last });
        }
        self.runs.splice(from..to, rest);
    }

    /// The runs of `within` that are not in the set, ascending.
    pub fn gaps_within(&self, within: SeqRange) -> Vec<SeqRange> {
        let mut gaps = Vec::new();
        let mut next = within.first;
        let from = self.runs.partition_point(|run| run.last < within.first);
        for run in self.runs.iter().skip(from).take_while(|run| run.first <= within.last) {
            if run.first > next {
                gaps.push(SeqRange { first: next, last: run.first - 1 });
            }
            match run.last.checked_add(1) {
                Some(after) => next = after,
                None => return gaps,
            }
        }
        if next <= within.last {
            gaps.push(SeqRange { first: next, last: within.last });
        }
        gaps
    }

    /// Puts all of `other` in.
    pub fn insert_all(&mut self, other: &RangeSet) {
        for run in &other.runs {
            self.insert(*run);
        }
    }

    /// The numbers in both.
    pub fn intersection(&self, other: &RangeSet) -> RangeSet {
        let mut both = RangeSet::new();
        for run in &other.runs {
            let from = self.runs.partition_point(|mine| mine.last < run.first);
            for mine in self.runs.iter().skip(from).take_while(|mine| mine.first <= run.last) {
                both.insert(SeqRange { first: mine.first.max(run.first), last: mine.last.min(run.last) });
            }
        }
        both
    }

    fn run_at_or_after(&self, seq: u64) -> Option<&SeqRange> {
        self.runs.get(self.runs.partition_point(|run| run.last < seq))
    }
}

impl FromIterator<SeqRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = SeqRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl From<Vec<SeqRange>> for RangeSet {
    fn from(ranges: Vec<SeqRange>) -> Self {
        ranges.into_iter().collect()
    }
}

impl From<RangeSet> for Vec<SeqRange> {
    fn from(set: RangeSet) -> Self {
        set.runs
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_set_is_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..60),
            window in (0u64..70, 0u64..20),
        ) {
            let mut ours = RangeSet::new();
            let mut model = BTreeSet::new();
            for (insert, first, length) in steps {
                let range = SeqRange::new(first, first + length);
                if insert {
                    ours.insert(range);
                    model.extend(range.first..=range.last);
                } else {
                    ours.remove(range);
                    model.retain(|seq| !range.contains(*seq));
                }
            }
            prop_assert_eq!(ours.count(), model.len() as u64);
            for seq in 0..100 {
                prop_assert_eq!(ours.contains(seq), model.contains(&seq));
            }
            for pair in ours.runs().windows(2) {
                prop_assert!(pair[0].last + 1 < pair[1].first, "runs touch: {:?}", pair);
            }
            let window = SeqRange::new(window.0, window.0 + window.1);
            let missing: Vec<u64> = ours.gaps_within(window).iter().flat_map(|gap| gap.first..=gap.last).collect();
            let expected: Vec<u64> = (window.first..=window.last).filter(|seq| !model.contains(seq)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(ours.covers(window), (window.first..=window.last).all(|seq| model.contains(&seq)));
            let windowed: RangeSet = [window].into_iter().collect();
            prop_assert_eq!(
                ours.intersection(&windowed).count(),
                model.iter().filter(|seq| window.contains(**seq)).count() as u64
            );
        }
    }

    #[test]
    fn the_ends_of_the_number_line_do_not_overflow() {
        let mut set: RangeSet =
            [SeqRange::new(0, 5), SeqRange::new(u64::MAX - 1, u64::MAX)].into_iter().collect();
        assert_eq!(set.gaps_within(SeqRange::new(0, u64::MAX)), vec![SeqRange::new(6, u64::MAX - 2)]);
        set.insert(SeqRange::new(0, u64::MAX));
        assert_eq!(set.runs(), &[SeqRange::new(0, u64::MAX)]);
        set.remove(SeqRange::new(0, u64::MAX));
        assert!(set.is_empty());
    }

    #[test]
    fn json_is_a_list_of_pairs() {
        let set: RangeSet = [SeqRange::new(1, 3), SeqRange::new(9, 9)].into_iter().collect();
        assert_eq!(serde_json::to_string(&set).unwrap(), "[[1,3],[9,9]]");
        assert_eq!(serde_json::from_str::<RangeSet>("[[9,9],[1,2],[3,3]]").unwrap(), set);
    }
}
