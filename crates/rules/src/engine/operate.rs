//! What operators do with alarms (ANSI/ISA-18.2).

use fieldline_model::{DeviceId, Timestamp};

use super::aside::{pair, parts};
use super::{Engine, OperateError};
use crate::{
    Alarm, AlarmEvent, AlarmState, Aside, Effect, Mark, Operation, Severity, Shelved, Suppressed, Transition,
};

/// Bytes of what an operator writes.
const COMMENT_BYTES_MAX: usize = 1024;

/// What is written down of an operation.
struct Remark {
    transition: Transition,
    at: Timestamp,
    by: Option<String>,
    comment: Option<String>,
}

impl Remark {
    fn event(&self, alarm: Alarm) -> AlarmEvent {
        let (by, comment) = (self.by.clone(), self.comment.clone());
        AlarmEvent { transition: self.transition, at: self.at, by, comment, alarm }
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

fn refused<T>(id: &str, text: &str) -> Result<T, OperateError> {
    Err(OperateError::State(format!("{id} {text}")))
}

impl Engine {
    /// Does what an operator wishes with the alarm of this id. What is put aside, or is no longer, is its rule for
    /// its device: for that `<rule>/<device>` does where there is no alarm.
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
        let (state, transition, comment) = match operation {
            Operation::Acknowledge { comment } => {
                let alarm = self.alarms.get(id).ok_or_else(|| OperateError::Unknown(id.to_owned()))?;
                let state = match alarm.state {
                    AlarmState::ActiveUnacknowledged => AlarmState::ActiveAcknowledged,
                    AlarmState::ReturnedUnacknowledged => AlarmState::Normal,
                    AlarmState::ActiveAcknowledged | AlarmState::Normal => {
                        return refused(id, "has been acknowledged");
                    }
                };
                (Some(state), Transition::Acknowledged, comment.as_deref())
            }
            Operation::Comment { comment } => (None, Transition::Commented, Some(comment.as_str())),
            Operation::Shelve { .. }
            | Operation::Unshelve
            | Operation::Suppress { .. }
            | Operation::Unsuppress => return self.put_aside(now, id, by, operation, effects),
        };
        let mut alarm = self.alarms.get(id).cloned().ok_or_else(|| OperateError::Unknown(id.to_owned()))?;
        alarm.state = state.unwrap_or(alarm.state);
        let remark = Remark { transition, at: now, by: Some(cut(by)), comment: comment.map(cut) };
        effects.push(self.alarms.record(alarm.clone(), |alarm| remark.event(alarm)));
        Ok(alarm)
    }

    fn put_aside(
        &mut self,
        now: Timestamp,
        id: &str,
        by: &str,
        operation: &Operation,
        effects: &mut Vec<Effect>,
    ) -> Result<Alarm, OperateError> {
        let mut aside = self.aside_of(id).ok_or_else(|| OperateError::Unknown(id.to_owned()))?;
        let (transition, comment) = match operation {
            Operation::Shelve { until, .. } if *until <= now => {
                return refused(id, "cannot be shelved until the past");
            }
            Operation::Shelve { until, reason } => {
                aside.shelved = Some(Shelved { until: *until, by: cut(by), reason: cut(reason) });
                (Transition::Shelved, Some(cut(reason)))
            }
            Operation::Suppress { .. } if aside.suppressed.is_some() => {
                return refused(id, "is out of service already");
            }
            Operation::Suppress { reason } => {
                aside.suppressed = Some(Suppressed { since: now, by: cut(by), reason: cut(reason) });
                (Transition::Suppressed, Some(cut(reason)))
            }
            Operation::Unsuppress if aside.suppressed.take().is_none() => {
                return refused(id, "is not out of service");
            }
            Operation::Unsuppress => (Transition::Unsuppressed, None),
            _ if aside.shelved.take().is_none() => return refused(id, "is not shelved"),
            _ => (Transition::Unshelved, None),
        };
        if self.asides.put(aside.clone()).is_err() {
            return refused(id, "cannot be put aside: too much is already");
        }
        let remark = Remark { transition, at: now, by: Some(cut(by)), comment };
        let marked = self.mark_aside(&aside, &remark, effects);
        let named = marked.iter().find(|alarm| alarm.id == id).or(marked.last()).cloned();
        Ok(named.unwrap_or_else(|| {
            // There is none: the history has a line of its own.
            let alarm = self.no_alarm(now, aside);
            effects.push(self.alarms.record(alarm.clone(), |alarm| remark.event(alarm)));
            alarm
        }))
    }

    /// What is put aside of the rule and the device that this names; none where they are unknown.
    fn aside_of(&self, id: &str) -> Option<Aside> {
        let (rule, device) = parts(id)?;
        if let Some(aside) = self.asides.get(&pair(rule, device)) {
            return Some(aside.clone());
        }
        let device = DeviceId::new(device).ok()?;
        let known = || {
            let number = *self.index.get(&device)?;
            let device = self.devices.get(number as usize)?.as_ref()?;
            device.instances.iter().find(|instance| *instance.rule == *rule)
        };
        if self.alarms.get(id).is_none() && (id != pair(rule, device.as_str()) || known().is_none()) {
            return None;
        }
        Some(Aside { rule: rule.to_owned(), device, shelved: None, suppressed: None })
    }

    /// Shows on the alarms what is put aside; all of them afterwards.
    fn mark_aside(&mut self, aside: &Aside, remark: &Remark, effects: &mut Vec<Effect>) -> Vec<Alarm> {
        let mut marked = Vec::new();
        for id in self.alarms.of_pair(&pair(&aside.rule, aside.device.as_str())) {
            let Some(mut alarm) = self.alarms.get(&id).cloned() else { continue };
            alarm.shelved = aside.shelved.clone();
            alarm.suppressed = aside.suppressed.is_some();
            effects.push(self.alarms.record(alarm.clone(), |alarm| remark.event(alarm)));
            marked.push(alarm);
        }
        if aside.shelved.is_none() && aside.suppressed.is_none() {
            self.owe_untold(aside);
        }
        marked
    }

    /// An alarm that was raised while nobody was to be told is told of when it is in sight again.
    fn owe_untold(&mut self, aside: &Aside) {
        let Some(number) = self.index.get(&aside.device).copied() else { return };
        let Some(device) = self.devices.get_mut(number as usize).and_then(Option::as_mut) else { return };
        for instance in device.instances.iter_mut().filter(|instance| *instance.rule == *aside.rule) {
            let alarm = instance.live.alarm.as_ref().and_then(|id| self.alarms.get(id));
            let open = alarm.is_some_and(|alarm| alarm.state == AlarmState::ActiveUnacknowledged);
            if open && instance.live.told == 0 {
                instance.live.owed = true;
                instance.dirty = true;
                device.owed = true;
            }
        }
        self.dirty.insert(number);
        self.schedule(number);
    }

    /// What stands in the history where something is put aside without an alarm.
    fn no_alarm(&self, now: Timestamp, aside: Aside) -> Alarm {
        let program = self.programs.iter().find(|program| program.rule.name == aside.rule);
        Alarm {
            id: format!("{}/{}/{}s", aside.rule, aside.device, now.millis()),
            severity: program.map_or(Severity::Info, |program| program.rule.severity),
            suppressed: aside.suppressed.is_some(),
            rule: aside.rule,
            device: aside.device,
            state: AlarmState::Normal,
            raised_at: now,
            returned_at: None,
            mark: Mark::Live,
            values: Vec::new(),
            shelved: aside.shelved,
        }
    }

    /// What operators have put aside, by rule and device.
    pub fn aside(&self) -> Vec<Aside> {
        self.asides.list()
    }

    /// Brings back into sight what was shelved until now.
    pub(super) fn unshelve_due(&mut self, now: i64, effects: &mut Vec<Effect>) {
        for mut aside in self.asides.due(now) {
            let until = aside.shelved.take().map_or(Timestamp::from_nanos(now), |shelved| shelved.until);
            // It has a place, so it is not refused for want of one.
            let _place = self.asides.put(aside.clone());
            let remark = Remark { transition: Transition::Unshelved, at: until, by: None, comment: None };
            self.mark_aside(&aside, &remark, effects);
        }
    }

    /// Alarms that were shelved when only the alarm itself knew.
    pub(super) fn adopt_shelved(&mut self) {
        for alarm in self.alarms.list().into_iter().filter(|alarm| alarm.shelved.is_some()) {
            if self.asides.get(&pair(&alarm.rule, alarm.device.as_str())).is_none() {
                let (rule, device, shelved) = (alarm.rule, alarm.device, alarm.shelved);
                // Beyond the bound an alarm is in sight at its next raise.
                let _place = self.asides.put(Aside { rule, device, shelved, suppressed: None });
            }
        }
    }
}
