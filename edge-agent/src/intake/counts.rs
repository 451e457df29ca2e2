//! The running counts behind the books, and the note that makes them durable with each commit.

use std::collections::BTreeMap;

use fieldline_filter::{Filtered, OpenWindow, WindowRule};
use fieldline_model::{Class, Reason};
use serde::{Deserialize, Serialize};

/// Why a reading was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeftOut {
    /// See [`Filtered::Deadband`].
    Deadband,
    /// See [`Filtered::Period`].
    Period,
    /// See [`Filtered::Window`].
    Window,
    /// A mapping says to leave the metric out.
    Ignored,
}

impl LeftOut {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadband => "deadband",
            Self::Period => "period",
            Self::Window => "window",
            Self::Ignored => "ignored",
        }
    }
}

impl From<Filtered> for LeftOut {
    fn from(filtered: Filtered) -> Self {
        match filtered {
            Filtered::Deadband => Self::Deadband,
            Filtered::Period => Self::Period,
            Filtered::Window => Self::Window,
        }
    }
}

/// What became of every reading since this gateway's data folder came into being.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Acknowledged to a device, or made by a window or a rule.
    pub accepted: u64,
    /// Left out, by reason.
    pub filtered: BTreeMap<LeftOut, u64>,
    /// Set aside before getting a sequence number, by reason.
    pub quarantined: BTreeMap<Reason, u64>,
    /// Given a sequence number, by class.
    pub sequenced: BTreeMap<Class, u64>,
}

impl Counts {
    pub(crate) fn left_out(&mut self, reason: LeftOut) {
        self.accepted += 1;
        *self.filtered.entry(reason).or_default() += 1;
    }

    pub(crate) fn set_aside(&mut self, reason: Reason) {
        self.accepted += 1;
        *self.quarantined.entry(reason).or_default() += 1;
    }

    pub(crate) fn sequence(&mut self, class: Class) {
        self.accepted += 1;
        *self.sequenced.entry(class).or_default() += 1;
    }

    /// Adds what rules have made.
    pub(crate) fn add_made(&mut self, made: &BTreeMap<Class, u64>) {
        for (class, count) in made {
            self.accepted += count;
            *self.sequenced.entry(*class).or_default() += count;
        }
    }

    /// Readings left out, all reasons together.
    pub fn filtered_count(&self) -> u64 {
        self.filtered.values().sum()
    }
}

/// What a journal commit carries besides its readings: the counts after it, what was durable before
/// it, and the windows that hold acknowledged readings not yet sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) counts: Counts,
    pub(crate) settled: BTreeMap<Class, u64>,
    pub(crate) windows: Vec<KeptWindow>,
}

/// An open window with what is needed to close it under any later configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptWindow {
    pub(crate) device: String,
    pub(crate) metric: String,
    pub(crate) rule: WindowRule,
    pub(crate) window: OpenWindow,
}

impl Note {
    /// Brings the counts into line with what a journal recovered, per class.
    ///
    /// A power cut leaves any part of the last, unacknowledged commit behind: its readings count as
    /// accepted if they are there and do not if they are not. Readings that an earlier commit had
    /// made durable and that are gone nevertheless are damage, and are counted as such.
    pub(crate) fn recover(&mut self, recovered: &BTreeMap<Class, u64>) {
        for class in Class::ALL {
            let found = recovered.get(&class).copied().unwrap_or(0);
            let settled = self.settled.get(&class).copied().unwrap_or(0);
            let promised = self.counts.sequenced.get(&class).copied().unwrap_or(0);
            if found < settled {
                *self.counts.quarantined.entry(Reason::Damaged).or_default() += settled - found;
            }
            let counted = found.max(settled);
            self.counts.accepted = (self.counts.accepted + counted).saturating_sub(promised);
            if found > 0 || promised > 0 {
                self.counts.sequenced.insert(class, found);
                self.settled.insert(class, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(accepted: u64, promised: u64, settled: u64) -> Note {
        let mut note = Note::default();
        note.counts.accepted = accepted;
        note.counts.sequenced.insert(Class::Live, promised);
        note.settled.insert(Class::Live, settled);
        note
    }

    fn balance(note: &Note) -> i64 {
        let counts = &note.counts;
        let parts = counts.filtered_count()
            + counts.quarantined.values().sum::<u64>()
            + counts.sequenced.values().sum::<u64>();
        counts.accepted as i64 - parts as i64
    }

    #[test]
    fn an_unacknowledged_commit_counts_as_far_as_it_is_there() {
        for found in [80, 90, 100, 120] {
            let mut note = note(100, 100, 80);
            note.recover(&BTreeMap::from([(Class::Live, found)]));
            assert_eq!((note.counts.accepted, balance(&note)), (found, 0));
        }
    }

    #[test]
    fn a_settled_reading_that_is_gone_is_damage() {
        let mut note = note(100, 100, 80);
        note.recover(&BTreeMap::from([(Class::Live, 70)]));
        assert_eq!(note.counts.quarantined.get(&Reason::Damaged), Some(&10));
        assert_eq!((note.counts.accepted, balance(&note)), (80, 0));
    }

    #[test]
    fn a_note_reads_back() {
        let mut note = note(5, 3, 2);
        note.counts.filtered.insert(LeftOut::Deadband, 2);
        let json = serde_json::to_vec(&note).unwrap();
        assert_eq!(serde_json::from_slice::<Note>(&json).unwrap(), note);
    }
}
