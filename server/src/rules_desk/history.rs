//! The alarm history: what happened to alarms, bounded by age and number.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use fieldline_model::{DeviceId, GatewayId, Timestamp};
use fieldline_rules::AlarmEvent;
use fieldline_store::{Entry, EntryChange};
use serde::{Deserialize, Serialize};

/// The kind of the entries.
pub(super) const KIND: &str = "alarm-history";
const NANOS_PER_DAY: i64 = 86_400_000_000_000;
/// Lines that are let go of in one write at most, so that a write stays small.
const FORGOTTEN_MAX: usize = 256;

/// A line: what happened, where it comes from, and its name. The same event has the same name however often
/// it comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The id of the effect, or the digest of what the gateway has told.
    pub(crate) id: String,
    /// The gateway that has evaluated the rule; none: this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<GatewayId>,
    /// When it was written down.
    pub(crate) kept: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub(crate) event: AlarmEvent,
}

impl Line {
    /// Sorts by event time.
    fn key(&self) -> String {
        // Shifted, so that times before 1970 sort before the others.
        let millis = self.event.at.millis().wrapping_sub(i64::MIN).cast_unsigned();
        format!("{millis:020}/{}/{}", self.event.alarm.id, self.id)
    }
}

/// Which lines are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistoryQuery {
    pub(crate) device: Option<DeviceId>,
    /// Only of this alarm.
    pub(crate) alarm: Option<String>,
    /// Inclusive.
    pub(crate) from: Option<Timestamp>,
    /// Exclusive.
    pub(crate) to: Option<Timestamp>,
    /// Where the page before has ended.
    pub(crate) next: Option<String>,
    pub(crate) limit: usize,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lines_max: usize,
    pub(crate) days_max: u32,
}

/// The lines, in memory and, by what the calls give out, in the store.
#[derive(Debug)]
pub(super) struct History {
    lines: BTreeMap<String, Arc<Line>>,
    bounds: Bounds,
}

impl History {
    /// The lines of an earlier run.
    pub(super) fn new(entries: Vec<Entry>, bounds: Bounds) -> Self {
        let read = |entry: Entry| match serde_json::from_str(&entry.value) {
            Ok(line) => Some((entry.key, Arc::new(line))),
            Err(error) => {
                tracing::warn!(key = entry.key, %error, "a line of the alarm history cannot be read");
                None
            }
        };
        Self { lines: entries.into_iter().filter_map(read).collect(), bounds }
    }

    /// Whether the line is there already.
    pub(super) fn has(&self, line: &Line) -> bool {
        self.lines.contains_key(&line.key())
    }

    /// What has to be written for a line to be there, and for those to be gone that are too many.
    pub(super) fn changes(&self, line: &Line) -> Result<Vec<EntryChange>, serde_json::Error> {
        let mut changes = vec![EntryChange::Put(Entry {
            kind: KIND.to_owned(),
            key: line.key(),
            value: serde_json::to_string(line)?,
        })];
        let excess = (self.lines.len() + usize::from(!self.has(line))).saturating_sub(self.bounds.lines_max);
        changes.extend(self.lines.keys().take(excess.min(FORGOTTEN_MAX)).map(|key| gone(key)));
        Ok(changes)
    }

    /// What has to be written for those to be gone that were kept long enough.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<EntryChange> {
        let days = NANOS_PER_DAY.saturating_mul(i64::from(self.bounds.days_max));
        let oldest = now.saturating_add_nanos(-days);
        let expired = self.lines.iter().filter(|(_, line)| line.kept < oldest);
        expired.take(FORGOTTEN_MAX).map(|(key, _)| gone(key)).collect()
    }

    /// What [`History::changes`] gave out is durable.
    pub(super) fn apply(&mut self, line: Line, changes: &[EntryChange]) {
        self.lines.insert(line.key(), Arc::new(line));
        self.forget(changes);
    }

    /// What is gone by these changes is gone here too.
    pub(super) fn forget(&mut self, changes: &[EntryChange]) {
        for change in changes {
            if let EntryChange::Delete { kind, key } = change
                && kind == KIND
            {
                self.lines.remove(key);
            }
        }
    }

    /// The newest first, and where the next page begins.
    pub(super) fn page(&self, query: &HistoryQuery) -> (Vec<Arc<Line>>, Option<String>) {
        let end = query.next.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for (_, line) in self.lines.range::<str, _>((Bound::Unbounded, end)).rev() {
            if query.from.is_some_and(|from| line.event.at < from) {
                break;
            }
            let fits = query.to.is_none_or(|to| line.event.at < to)
                && query.device.as_ref().is_none_or(|device| line.event.alarm.device == *device)
                && query.alarm.as_ref().is_none_or(|alarm| line.event.alarm.id == *alarm);
            if !fits {
                continue;
            }
            if found.len() == query.limit {
                let last: Option<&Arc<Line>> = found.last();
                return (found.clone(), last.map(|line| line.key()));
            }
            found.push(Arc::clone(line));
        }
        (found, None)
    }
}

fn gone(key: &str) -> EntryChange {
    EntryChange::Delete { kind: KIND.to_owned(), key: key.to_owned() }
}

#[cfg(test)]
mod tests {
    use fieldline_rules::{Alarm, AlarmState, Mark, Severity, Transition};

    use super::*;

    fn line(device: &str, at_ms: i64, kept: Timestamp) -> Line {
        let at = Timestamp::from_millis(at_ms).unwrap();
        let alarm = Alarm {
            id: format!("hot/{device}/{at_ms}"),
            rule: "hot".to_owned(),
            device: DeviceId::new(device).unwrap(),
            severity: Severity::Warning,
            state: AlarmState::ActiveUnacknowledged,
            raised_at: at,
            returned_at: None,
            mark: Mark::Live,
            values: Vec::new(),
            shelved: None,
            suppressed: false,
        };
        let event = AlarmEvent { transition: Transition::Raised, at, by: None, comment: None, alarm };
        Line { id: format!("{at_ms}"), gateway: None, kept, event }
    }

    fn history(lines_max: usize) -> History {
        History::new(Vec::new(), Bounds { lines_max, days_max: 1 })
    }

    fn add(history: &mut History, line: Line) -> Vec<EntryChange> {
        let changes = history.changes(&line).unwrap();
        history.apply(line, &changes);
        changes
    }

    #[test]
    fn the_newest_come_first_page_by_page_also_from_before_1970() {
        let mut history = history(100);
        for at_ms in [5, -1000, 3, 0, 4] {
            add(&mut history, line(if at_ms == 3 { "b" } else { "a" }, at_ms, Timestamp::EPOCH));
        }
        let mut query = HistoryQuery { limit: 2, device: DeviceId::new("a").ok(), ..HistoryQuery::default() };
        let mut found = Vec::new();
        loop {
            let (lines, next) = history.page(&query);
            found.extend(lines.iter().map(|line| line.event.at.millis()));
            match next {
                Some(next) => query.next = Some(next),
                None => break,
            }
        }
        assert_eq!(found, [5, 4, 0, -1000]);
        let from = Timestamp::from_millis(0).ok();
        let to = Timestamp::from_millis(5).ok();
        let (lines, next) = history.page(&HistoryQuery { from, to, limit: 9, ..HistoryQuery::default() });
        let found: Vec<i64> = lines.iter().map(|line| line.event.at.millis()).collect();
        assert_eq!((found, next), (vec![4, 3, 0], None));
    }

    #[test]
    fn too_many_and_too_old_lines_go_and_the_entries_with_them() {
        let mut history = history(3);
        let mut kept = BTreeMap::new();
        let mut write = |changes: Vec<EntryChange>| {
            for change in changes {
                match change {
                    EntryChange::Put(entry) => kept.insert(entry.key.clone(), entry),
                    EntryChange::Delete { key, .. } => kept.remove(&key),
                };
            }
            kept.clone()
        };
        for at_ms in 0..5 {
            write(add(&mut history, line("a", at_ms, Timestamp::from_nanos(at_ms * NANOS_PER_DAY))));
        }
        // Again: nothing more.
        write(add(&mut history, line("a", 4, Timestamp::from_nanos(4 * NANOS_PER_DAY))));
        assert_eq!(history.lines.len(), 3);
        let expired = history.expired(Timestamp::from_nanos(4 * NANOS_PER_DAY + 1));
        history.forget(&expired);
        let kept = write(expired);
        let again = History::new(kept.into_values().collect(), history.bounds);
        assert_eq!(again.lines, history.lines);
        assert_eq!(again.lines.values().map(|line| line.event.at.millis()).collect::<Vec<_>>(), [4]);
    }
}
