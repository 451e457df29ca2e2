//! The alarms that are not normal (ANSI/ISA-18.2).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Change;
use crate::{Alarm, AlarmEvent, AlarmState, Effect, EffectId, EffectKind, Transition};

/// Alarms that are over and wait for somebody to acknowledge them; beyond, the oldest go. They stay in the history.
const RETURNED_MAX: usize = 10_000;

/// An alarm, and how many lines of history it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    alarm: Alarm,
    lines: u32,
}

/// All alarms that are not normal.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    entries: BTreeMap<String, Entry>,
    /// Returned and not acknowledged, by event time at which they did.
    returned: BTreeSet<(i64, String)>,
    dirty: BTreeSet<String>,
}

impl Alarms {
    pub(super) fn restore(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let entry: Entry = serde_json::from_slice(value).map_err(|_| "it is no alarm")?;
        self.returned.extend(returned(&entry.alarm));
        self.entries.insert(entry.alarm.id.clone(), entry);
        Ok(())
    }

    pub(super) fn get(&self, id: &str) -> Option<&Alarm> {
        self.entries.get(id).map(|entry| &entry.alarm)
    }

    pub(super) fn list(&self) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> = self.entries.values().map(|entry| entry.alarm.clone()).collect();
        alarms.sort_by(|a, b| (b.raised_at, &b.id).cmp(&(a.raised_at, &a.id)));
        alarms
    }

    /// The ids of the alarms of a rule and a device, the newest last.
    pub(super) fn of_pair(&self, pair: &str) -> Vec<String> {
        let from = format!("{pair}/");
        let all = self.entries.range(from.clone()..).map(|(id, _)| id);
        all.take_while(|id| id.starts_with(&from)).cloned().collect()
    }

    /// Writes a line of history: the alarm as it is afterwards.
    pub(super) fn record(&mut self, alarm: Alarm, event: impl FnOnce(Alarm) -> AlarmEvent) -> Effect {
        let id = alarm.id.clone();
        let lines = self.entries.get(&id).map_or(0, |entry| entry.lines);
        let event = event(alarm.clone());
        // What a backlog leaves depends on when it came: the other lines are called the same all the same.
        let (name, lines) = match event.transition {
            Transition::Overdue => (format!("{id}/overdue"), lines),
            _ => (format!("{id}/{}", lines.saturating_add(1)), lines.saturating_add(1)),
        };
        self.put(alarm, lines);
        Effect {
            id: EffectId(name),
            rule: event.alarm.rule.clone(),
            device: event.alarm.device.clone(),
            at: event.at,
            kind: EffectKind::Alarm(Box::new(event)),
        }
    }

    fn put(&mut self, alarm: Alarm, lines: u32) {
        let id = alarm.id.clone();
        if let Some(place) = self.entries.remove(&id).and_then(|before| returned(&before.alarm)) {
            self.returned.remove(&place);
        }
        self.dirty.insert(id.clone());
        if alarm.state != AlarmState::Normal {
            self.returned.extend(returned(&alarm));
            self.entries.insert(id, Entry { alarm, lines });
        }
        if self.returned.len() > RETURNED_MAX
            && let Some((_, oldest)) = self.returned.pop_first()
        {
            self.entries.remove(&oldest);
            self.dirty.insert(oldest);
        }
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        let value = |id: &String| self.entries.get(id).and_then(|entry| serde_json::to_vec(entry).ok());
        dirty.iter().map(|id| Change { key: format!("alarm/{id}"), value: value(id) }).collect()
    }
}

/// The place among those that have returned, where it has.
fn returned(alarm: &Alarm) -> Option<(i64, String)> {
    let at = alarm.returned_at.unwrap_or(alarm.raised_at).nanos();
    (alarm.state == AlarmState::ReturnedUnacknowledged).then(|| (at, alarm.id.clone()))
}
