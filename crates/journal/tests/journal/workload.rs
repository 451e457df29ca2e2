//! What the crash tests and the fault tests let a journal do.

use std::time::Duration;

use fieldline_journal::{Config, Error, Journal};
use fieldline_model::{Class, RangeSet, SeqRange};

use crate::oracle::{Dice, Oracle, START_MS, ranges, small};

/// How many calls the workload makes.
pub(crate) const STEPS: i64 = 36;

/// Little space and a short life, so that readings are dropped for want of both.
pub(crate) fn config() -> Config {
    Config { age_max: Some(Duration::from_secs(20)), bytes_max: 8 * 1024, ..small() }
}

/// One call to a journal, which can be made again when it has failed.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Commit { ids: Vec<u64>, with_note: bool, now_ms: i64 },
    Release(Vec<(u64, RangeSet)>),
    Expire { now_ms: i64 },
    SaveCursors,
}

impl Call {
    /// The call of a step. It follows from the step, the dice, and what the journal holds, so that two
    /// runs do the same until something fails.
    pub(crate) fn plan(step: i64, journal: &Journal, oracle: &mut Oracle, dice: &mut Dice) -> Self {
        let now_ms = START_MS + step * 2_000;
        match step % 9 {
            3 => Self::Release(some(journal, dice)),
            5 => Self::Release(oldest(journal)),
            7 => Self::Expire { now_ms },
            8 => Self::SaveCursors,
            _ => Self::Commit { ids: batch(oracle, dice), with_note: step % 2 == 0, now_ms },
        }
    }

    pub(crate) fn make(&self, journal: &Journal, oracle: &mut Oracle) -> Result<(), Error> {
        match self {
            Self::Commit { ids, with_note, now_ms } => oracle.commit(journal, ids, *with_note, *now_ms),
            Self::Release(all) => {
                all.iter().try_for_each(|(epoch, stored)| oracle.release(journal, *epoch, stored))
            }
            Self::Expire { now_ms } => oracle.expire(journal, *now_ms),
            Self::SaveCursors => journal.save_cursors(),
        }
    }
}

/// One to five records in up to three lanes.
fn batch(oracle: &mut Oracle, dice: &mut Dice) -> Vec<u64> {
    (0..=dice.below(5))
        .map(|_| {
            let class = [Class::Live, Class::Live, Class::History, Class::Alarm][dice.below(4) as usize];
            oracle.offer(class, 1 + dice.below(4) as u32, 8 + dice.below(600) as usize)
        })
        .collect()
}

/// Ranges from anywhere, which need not end where records do.
fn some(journal: &Journal, dice: &mut Dice) -> Vec<(u64, RangeSet)> {
    let mut all = Vec::new();
    for lane in journal.lanes() {
        let Some(last) = lane.buffered.last() else { continue };
        let mut stored = RangeSet::new();
        for _ in 0..2 {
            let first = 1 + dice.below(last);
            stored.insert(SeqRange::new(first, (first + dice.below(4)).min(last)));
        }
        all.push((lane.epoch, stored));
    }
    all
}

/// The older half of what waits, so that segments go.
fn oldest(journal: &Journal) -> Vec<(u64, RangeSet)> {
    let mut all = Vec::new();
    for lane in journal.lanes() {
        let half = lane.buffered.count() / 2;
        let first = lane.buffered.runs().first().map_or(1, |run| run.first);
        if half > 0 {
            all.push((lane.epoch, lane.buffered.intersection(&ranges(first, first + half))));
        }
    }
    all
}
