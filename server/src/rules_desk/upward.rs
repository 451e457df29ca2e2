//! Alarms that gateways have raised by their own rules. They come as readings of class `alarm`: metric
//! `alarm.<rule>`, the event as JSON.
//!
//! The gateway says whether the condition holds; what operators do with such an alarm is kept here, since
//! the gateway may be out of reach.

use std::collections::BTreeMap;

use fieldline_model::{Class, GatewayId, Timestamp};
use fieldline_rules::{Alarm, AlarmEvent, AlarmState, OperateError, Operation, Shelved, Transition};
use fieldline_store::{Entry, EntryChange, ReceivedBlock};
use fieldline_wire::Values;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::history::Line;

/// The kind of the entries: alarms of gateways that are not normal.
pub(super) const KIND: &str = "alarm-edge";
/// How the metric begins.
const METRIC: &str = "alarm.";
/// Alarms of all gateways that are not normal; what is beyond is only in the history.
const ALARMS_MAX: usize = 10_000;

/// An alarm of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EdgeAlarm {
    /// Whose rule it is.
    pub(crate) gateway: GatewayId,
    /// Event time of the gateway's newest word of it.
    pub(crate) told_at: Timestamp,
    /// An operator here has taken note.
    pub(crate) acknowledged: bool,
    /// How it stands.
    pub(crate) alarm: Alarm,
}

/// The alarms of gateways.
#[derive(Debug, Default)]
pub(super) struct EdgeAlarms {
    alarms: BTreeMap<String, EdgeAlarm>,
}

/// The alarm events of a block, in its order.
pub(super) fn events(block: &ReceivedBlock) -> Vec<Line> {
    if block.block.class != Class::Alarm {
        return Vec::new();
    }
    let columns = block.block.columns.iter().filter(|column| column.metric.as_str().starts_with(METRIC));
    let mut lines = Vec::new();
    for column in columns {
        let Values::Text(texts) = &column.values else { continue };
        for text in texts {
            match serde_json::from_str::<AlarmEvent>(text) {
                Ok(event) if event.alarm.device == column.device => lines.push(Line {
                    id: digest(&block.block.stream.gateway, text),
                    gateway: Some(block.block.stream.gateway.clone()),
                    kept: block.received,
                    event,
                }),
                Ok(_) => tracing::warn!(device = %column.device, "an alarm event is about another device"),
                Err(error) => {
                    tracing::warn!(device = %column.device, %error, "an alarm event cannot be read")
                }
            }
        }
    }
    lines.sort_by_key(|line| line.event.at);
    lines
}

fn digest(gateway: &GatewayId, text: &str) -> String {
    let digest = Sha256::new().chain_update(gateway.as_str()).chain_update([0]).chain_update(text).finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What becomes of one alarm: none, it is normal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    id: String,
    next: Option<EdgeAlarm>,
}

impl Step {
    /// What has to be written.
    pub(super) fn change(&self) -> Result<EntryChange, serde_json::Error> {
        let (kind, key) = (KIND.to_owned(), self.id.clone());
        Ok(match &self.next {
            Some(next) => EntryChange::Put(Entry { kind, key, value: serde_json::to_string(next)? }),
            None => EntryChange::Delete { kind, key },
        })
    }
}

impl EdgeAlarms {
    /// The alarms of an earlier run.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let read = |entry: Entry| match serde_json::from_str(&entry.value) {
            Ok(alarm) => Some((entry.key, alarm)),
            Err(error) => {
                tracing::warn!(key = entry.key, %error, "an alarm of a gateway cannot be read");
                None
            }
        };
        Self { alarms: entries.into_iter().filter_map(read).collect() }
    }

    /// Those that are not normal, by id. Shelves that are over are left out.
    pub(super) fn all(&self, now: Timestamp) -> Vec<EdgeAlarm> {
        let mut all: Vec<EdgeAlarm> = self.alarms.values().cloned().collect();
        for edge in &mut all {
            edge.alarm.shelved = edge.alarm.shelved.take().filter(|shelved| shelved.until > now);
        }
        all
    }

    /// What a gateway's word makes of an alarm; none where a newer one is known. `line` is then marked with
    /// what operators have done here.
    pub(super) fn told(&self, line: &mut Line) -> Option<Step> {
        let (gateway, event) = (line.gateway.clone()?, &mut line.event);
        let known = self.alarms.get(&event.alarm.id);
        if known.is_some_and(|known| event.at < known.told_at)
            || (known.is_none() && self.alarms.len() >= ALARMS_MAX)
        {
            return None;
        }
        let acknowledged = known.is_some_and(|known| known.acknowledged);
        event.alarm.shelved = event.alarm.shelved.take().or_else(|| known?.alarm.shelved.clone());
        event.alarm.suppressed |= known.is_some_and(|known| known.alarm.suppressed);
        if acknowledged {
            event.alarm.state = acknowledge(event.alarm.state);
        }
        let told_at = event.at;
        let next = EdgeAlarm { gateway, told_at, acknowledged, alarm: event.alarm.clone() };
        Some(step(next))
    }

    /// What an operator's wish makes of an alarm, and the line that says so.
    pub(super) fn operate(
        &self,
        now: Timestamp,
        id: &str,
        by: &str,
        operation: &Operation,
    ) -> Result<(Step, Line), OperateError> {
        let known = self.alarms.get(id).ok_or_else(|| OperateError::Unknown(id.to_owned()))?;
        let mut next = known.clone();
        let (transition, comment) = match operation {
            Operation::Acknowledge { comment } => {
                if acknowledge(next.alarm.state) == next.alarm.state {
                    return Err(OperateError::State(format!("the alarm {id:?} is acknowledged already")));
                }
                next.acknowledged = true;
                next.alarm.state = acknowledge(next.alarm.state);
                (Transition::Acknowledged, comment.clone())
            }
            Operation::Shelve { until, reason } => {
                let shelved = Shelved { until: *until, by: by.to_owned(), reason: reason.clone() };
                next.alarm.shelved = Some(shelved);
                (Transition::Shelved, Some(reason.clone()))
            }
            Operation::Unshelve => {
                if next.alarm.shelved.take().is_none_or(|shelved| shelved.until <= now) {
                    return Err(OperateError::State(format!("the alarm {id:?} is not shelved")));
                }
                (Transition::Unshelved, None)
            }
            Operation::Suppress { .. } if next.alarm.suppressed => {
                return Err(OperateError::State(format!("the alarm {id:?} is out of service already")));
            }
            Operation::Suppress { reason } => {
                next.alarm.suppressed = true;
                (Transition::Suppressed, Some(reason.clone()))
            }
            Operation::Unsuppress if !next.alarm.suppressed => {
                return Err(OperateError::State(format!("the alarm {id:?} is not out of service")));
            }
            Operation::Unsuppress => {
                next.alarm.suppressed = false;
                (Transition::Unsuppressed, None)
            }
            Operation::Comment { comment } => (Transition::Commented, Some(comment.clone())),
        };
        let event =
            AlarmEvent { transition, at: now, by: Some(by.to_owned()), comment, alarm: next.alarm.clone() };
        let said = serde_json::to_string(&event).unwrap_or_default();
        let line =
            Line { id: digest(&next.gateway, &said), gateway: Some(next.gateway.clone()), kept: now, event };
        Ok((step(next), line))
    }

    /// The step is durable.
    pub(super) fn apply(&mut self, step: Step) {
        match step.next {
            Some(next) => self.alarms.insert(step.id, next),
            None => self.alarms.remove(&step.id),
        };
    }
}

fn step(next: EdgeAlarm) -> Step {
    let id = next.alarm.id.clone();
    Step { id, next: Some(next).filter(|next| next.alarm.state != AlarmState::Normal) }
}

fn acknowledge(state: AlarmState) -> AlarmState {
    match state {
        AlarmState::ActiveUnacknowledged => AlarmState::ActiveAcknowledged,
        AlarmState::ReturnedUnacknowledged => AlarmState::Normal,
        other => other,
    }
}
