//! The alarms that are not normal, and what operators do with them (ANSI/ISA-18.2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldline_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Change, Engine, OperateError};
use crate::{Alarm, AlarmEvent, AlarmState, Effect, EffectId, EffectKind, Operation, Shelved, Transition};

/// Alarms that are over and wait for somebody to acknowledge them; beyond, the oldest go. They stay in the history.
const RETURNED_MAX: usize = 10_000;
/// Bytes of what an operator writes.
const COMMENT_BYTES_MAX: usize = 1024;

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
    /// Returned and not acknowledged, in the order in which they returned.
    returned: VecDeque<String>,
    shelved: BTreeSet<(i64, String)>,
    dirty: BTreeSet<String>,
}

impl Alarms {
    pub(super) fn restore(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let entry: Entry = serde_json::from_slice(value).map_err(|_| "it is no alarm")?;
        let id = entry.alarm.id.clone();
        if let Some(shelved) = &entry.alarm.shelved {
            self.shelved.insert((shelved.until.nanos(), id.clone()));
        }
        if entry.alarm.state == AlarmState::ReturnedUnacknowledged {
            self.returned.push_back(id.clone());
        }
        self.entries.insert(id, entry);
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

    pub(super) fn next_unshelved(&self) -> Option<i64> {
        self.shelved.first().map(|(until, _)| *until)
    }

    /// Writes a line of history: the alarm as it is afterwards.
    pub(super) fn record(&mut self, alarm: Alarm, event: impl FnOnce(Alarm) -> AlarmEvent) -> Effect {
        let id = alarm.id.clone();
        let lines = self.entries.get(&id).map_or(0, |entry| entry.lines).saturating_add(1);
        self.shelved.retain(|(_, shelved)| *shelved != id);
        self.returned.retain(|returned| *returned != id);
        self.dirty.insert(id.clone());
        if alarm.state == AlarmState::Normal {
            self.entries.remove(&id);
        } else {
            if let Some(shelved) = &alarm.shelved {
                self.shelved.insert((shelved.until.nanos(), id.clone()));
            }
            if alarm.state == AlarmState::ReturnedUnacknowledged {
                self.returned.push_back(id.clone());
            }
            self.entries.insert(id.clone(), Entry { alarm: alarm.clone(), lines });
        }
        if self.returned.len() > RETURNED_MAX
            && let Some(oldest) = self.returned.pop_front()
        {
            self.shelved.retain(|(_, shelved)| *shelved != oldest);
            self.entries.remove(&oldest);
            self.dirty.insert(oldest);
        }
        let event = event(alarm);
        Effect {
            id: EffectId(format!("{id}/{lines}")),
            rule: event.alarm.rule.clone(),
            device: event.alarm.device.clone(),
            at: event.at,
            kind: EffectKind::Alarm(Box::new(event)),
        }
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        let value = |id: &String| self.entries.get(id).and_then(|entry| serde_json::to_vec(entry).ok());
        dirty.iter().map(|id| Change { key: format!("alarm/{id}"), value: value(id) }).collect()
    }

    /// The alarms that come back into sight.
    fn due(&self, now: i64) -> Vec<String> {
        self.shelved.iter().take_while(|(until, _)| *until <= now).map(|(_, id)| id.clone()).collect()
    }
}

fn cut(text: &str) -> String {
    text.chars()
        .scan(0, |bytes, character| {
            *bytes += character.len_utf8();
            (*bytes <= COMMENT_BYTES_MAX).then_some(character)
        })
        .collect()
}

impl Engine {
    /// Does what an operator wishes.
    ///
    /// # Errors
    /// There is no such alarm, or it is not in a state for that.
    pub fn operate(
        &mut self,
        now: Timestamp,
        id: &str,
        by: &str,
        operation: &Operation,
        effects: &mut Vec<Effect>,
    ) -> Result<Alarm, OperateError> {
        let mut alarm = self.alarms.get(id).cloned().ok_or_else(|| OperateError::Unknown(id.to_owned()))?;
        let state = |text: &str| Err(OperateError::State(format!("{id} {text}")));
        let (transition, comment) = match operation {
            Operation::Acknowledge { comment } => {
                alarm.state = match alarm.state {
                    AlarmState::ActiveUnacknowledged => AlarmState::ActiveAcknowledged,
                    AlarmState::ReturnedUnacknowledged => AlarmState::Normal,
                    AlarmState::ActiveAcknowledged | AlarmState::Normal => {
                        return state("has been acknowledged");
                    }
                };
                (Transition::Acknowledged, comment.clone())
            }
            Operation::Shelve { until, .. } if *until <= now => {
                return state("cannot be shelved until the past");
            }
            Operation::Shelve { until, reason } => {
                alarm.shelved = Some(Shelved { until: *until, by: cut(by), reason: cut(reason) });
                (Transition::Shelved, Some(reason.clone()))
            }
            Operation::Unshelve if alarm.shelved.is_none() => return state("is not shelved"),
            Operation::Unshelve => {
                alarm.shelved = None;
                (Transition::Unshelved, None)
            }
            Operation::Comment { comment } => (Transition::Commented, Some(comment.clone())),
        };
        let event = |alarm| AlarmEvent {
            transition,
            at: now,
            by: Some(cut(by)),
            comment: comment.as_deref().map(cut),
            alarm,
        };
        effects.push(self.alarms.record(alarm.clone(), event));
        Ok(alarm)
    }

    /// Brings alarms back into sight whose time on the shelf is over.
    pub(super) fn unshelve_due(&mut self, now: i64, effects: &mut Vec<Effect>) {
        for id in self.alarms.due(now) {
            let Some(mut alarm) = self.alarms.get(&id).cloned() else { continue };
            let until = alarm.shelved.take().map_or(Timestamp::from_nanos(now), |shelved| shelved.until);
            let event = |alarm| AlarmEvent {
                transition: Transition::Unshelved,
                at: until,
                by: None,
                comment: None,
                alarm,
            };
            effects.push(self.alarms.record(alarm, event));
        }
    }
}
