//! What comes of a step: lines of alarm history, messages, commands.

use fieldline_model::Timestamp;

use super::Engine;
use super::aside::pair;
use super::evaluate::Look;
use super::program::{Then, nanos};
use crate::{
    Alarm, AlarmEvent, AlarmState, Effect, EffectId, EffectKind, Mark, Notification, Severity, TemplateWords,
    Transition,
};

/// A device that has been silent for so long has said all that it had to say of the past.
pub(super) const SETTLED: i64 = 10_000_000_000;

/// A message about an alarm.
struct Message<'a> {
    event: &'a AlarmEvent,
    mark: Mark,
    /// Told again, for the so many'th time.
    repeated: Option<u32>,
}

fn line(transition: Transition, at: i64) -> impl FnOnce(Alarm) -> AlarmEvent {
    move |alarm| AlarmEvent { transition, at: Timestamp::from_nanos(at), by: None, comment: None, alarm }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

impl Engine {
    /// The alarm is raised at this event time.
    pub(super) fn raise(&mut self, look: Look, effects: &mut Vec<Effect>) {
        let values = self.explain(look);
        let live_within = nanos(self.limits.live_within);
        let Some(device) = self.devices.get_mut(look.device as usize).and_then(Option::as_mut) else {
            return;
        };
        let id = device.id.clone();
        let Some(instance) = device.instances.get_mut(look.instance as usize) else { return };
        let Some(program) = self.programs.get(instance.program as usize) else { return };
        instance.dirty = true;
        if look.late && (instance.was_active(look.at) || instance.live.alarm.is_some()) {
            // It is known already from the readings that came in time.
            return;
        }
        let millisecond = look.at.div_euclid(1_000_000);
        let machine = instance.machine(look.late);
        let nth =
            if machine.last_raise.0 == millisecond { machine.last_raise.1.saturating_add(1) } else { 0 };
        machine.last_raise = (millisecond, nth);
        let mut name = format!("{}/{id}/{millisecond}", program.rule.name);
        name.push_str(if look.late { "h" } else { "" });
        if nth > 0 {
            name.push_str(&format!("-{nth}"));
        }
        let news = !look.late && look.now.saturating_sub(look.at) <= live_within;
        machine.alarm = Some(name.clone());
        machine.told_at = None;
        machine.told = 0;
        let aside = self.asides.get(&pair(&program.rule.name, id.as_str()));
        let alarm = Alarm {
            id: name,
            rule: program.rule.name.clone(),
            device: id,
            severity: program.rule.severity,
            state: AlarmState::ActiveUnacknowledged,
            raised_at: Timestamp::from_nanos(look.at),
            returned_at: None,
            mark: if news { Mark::Live } else { Mark::Historical },
            values,
            shelved: aside
                .and_then(|aside| aside.shelved.clone())
                .filter(|shelved| shelved.until.nanos() > look.now),
            suppressed: aside.is_some_and(|aside| aside.suppressed.is_some()),
        };
        let history_too = program.rule.notify_history;
        let effect = self.alarms.record(alarm, line(Transition::Raised, look.at));
        let event = event_of(&effect);
        effects.push(effect);
        let Some(event) = event else { return };
        if news {
            self.act(look, &event, effects);
            self.notify(look, &Message { event: &event, mark: Mark::Live, repeated: None }, effects);
            return;
        }
        if history_too {
            self.notify(look, &Message { event: &event, mark: Mark::Historical, repeated: None }, effects);
        }
        if !look.late {
            self.owe(look);
        }
    }

    fn owe(&mut self, look: Look) {
        if let Some(instance) = self.instance_at(look) {
            instance.live.owed = true;
        }
        if let Some(device) = self.device_at(look.device) {
            device.owed = true;
        }
    }

    /// The alarm returns at this event time.
    pub(super) fn give_back(&mut self, look: Look, effects: &mut Vec<Effect>) {
        let Some(instance) = self.instance_at(look) else { return };
        instance.dirty = true;
        let machine = instance.machine(look.late);
        machine.owed = false;
        let told = machine.told_at.take().is_some();
        let Some(id) = machine.alarm.take() else { return };
        let raised = self.alarms.get(&id).map(|alarm| alarm.raised_at.nanos());
        if let (Some(from), Some(instance), false) = (raised, self.instance_at(look), look.late) {
            instance.remember(from, look.at);
        }
        if let Some(event) = self.return_alarm(&id, Timestamp::from_nanos(look.at), effects)
            && told
        {
            let mark = event.alarm.mark;
            self.notify(look, &Message { event: &event, mark, repeated: None }, effects);
        }
    }

    /// Writes that an alarm has returned.
    pub(super) fn return_alarm(
        &mut self,
        id: &str,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Option<AlarmEvent> {
        let mut alarm = self.alarms.get(id)?.clone();
        alarm.returned_at = Some(at.max(alarm.raised_at));
        alarm.state = match alarm.state {
            AlarmState::ActiveAcknowledged => AlarmState::Normal,
            AlarmState::ActiveUnacknowledged => AlarmState::ReturnedUnacknowledged,
            AlarmState::Normal | AlarmState::ReturnedUnacknowledged => return None,
        };
        let at = alarm.returned_at.unwrap_or(at).nanos();
        let effect = self.alarms.record(alarm, line(Transition::Returned, at));
        let event = event_of(&effect);
        effects.push(effect);
        event
    }

    /// Commands and desired states.
    fn act(&mut self, look: Look, event: &AlarmEvent, effects: &mut Vec<Effect>) {
        let Some(program) = self.instance_at(look).map(|instance| instance.program as usize) else { return };
        let Some(program) = self.programs.get(program) else { return };
        for (number, then) in program.then.iter().enumerate() {
            let kind = match then {
                Then::Command { device, command, payload } => EffectKind::Command {
                    device: device.clone().unwrap_or_else(|| event.alarm.device.clone()),
                    command: command.clone(),
                    payload: payload.clone(),
                },
                Then::Desired { device, state } => EffectKind::Desired {
                    device: device.clone().unwrap_or_else(|| event.alarm.device.clone()),
                    state: state.clone(),
                },
                Then::Notify { .. } | Then::Derive { .. } => continue,
            };
            effects.push(effect(event, &format!("action/{number}"), kind));
        }
    }

    fn notify(&mut self, look: Look, message: &Message<'_>, effects: &mut Vec<Effect>) {
        let event = message.event;
        if event.alarm.shelved.is_some() || event.alarm.suppressed {
            return;
        }
        let Some(program) = self.instance_at(look).map(|instance| instance.program as usize) else { return };
        let Some(program) = self.programs.get_mut(program) else { return };
        // Lent, so that the templates can be filled in with what else the engine knows.
        let then = std::mem::take(&mut program.then);
        let number = self.instance_at(look).map(|instance| instance.program as usize).unwrap_or_default();
        let time = event.at.to_string();
        let state = match event.transition {
            Transition::Returned => "returned",
            _ => "active",
        };
        let words = TemplateWords {
            device: event.alarm.device.as_str(),
            rule: &event.alarm.rule,
            severity: severity(event.alarm.severity),
            state,
            time: &time,
        };
        for (nth, action) in then.iter().enumerate() {
            let Then::Notify { target, message: template } = action else { continue };
            let text = match template {
                Some(template) => self.render(look, template, &words),
                None => sentence(event, state),
            };
            let notification = Notification {
                target: target.clone(),
                message: text,
                severity: event.alarm.severity,
                mark: message.mark,
                event: event.clone(),
                repeated: message.repeated.is_some(),
            };
            let what = match message.repeated {
                Some(times) => format!("repeated/{nth}/{times}"),
                None => format!("{state}/{nth}"),
            };
            effects.push(effect(event, &what, EffectKind::Notify(Box::new(notification))));
        }
        if let Some(program) = self.programs.get_mut(number) {
            program.then = then;
        }
        if event.transition != Transition::Returned
            && let Some(instance) = self.instance_at(look)
        {
            let machine = instance.machine(look.late);
            machine.told_at = Some(look.now);
            machine.told = machine.told.saturating_add(1);
            machine.owed = false;
            instance.dirty = true;
            self.dirty.insert(look.device);
        }
    }

    /// Marks and tells of alarms that lasted when their device had caught up.
    pub(super) fn tell_owed(&mut self, number: u32, now: i64, effects: &mut Vec<Effect>) {
        let live_within = nanos(self.limits.live_within);
        let Some(device) = self.device_at(number) else { return };
        let newest = device.live.newest.unwrap_or_default();
        let caught_up =
            now.saturating_sub(newest) <= live_within || now.saturating_sub(device.arrived) >= SETTLED;
        if !caught_up {
            return;
        }
        device.owed = false;
        let owed = device.instances.iter().enumerate().filter(|(_, instance)| instance.live.owed);
        let owed: Vec<(u32, Option<String>)> =
            owed.map(|(nth, instance)| (nth as u32, instance.live.alarm.clone())).collect();
        for (instance, alarm) in owed {
            let look = Look { device: number, instance, at: newest, now, late: false };
            let mut told = false;
            if let Some(instance) = self.instance_at(look) {
                told = instance.live.told > 0;
                instance.live.owed = false;
                instance.dirty = true;
            }
            let Some(mut alarm) = alarm.and_then(|id| self.alarms.get(&id).cloned()) else { continue };
            let at = alarm.raised_at.nanos();
            if alarm.mark == Mark::Historical {
                alarm.mark = Mark::Late;
                effects.push(self.alarms.record(alarm.clone(), line(Transition::Overdue, newest.max(at))));
            }
            if told {
                continue;
            }
            let event = line(Transition::Raised, at)(alarm);
            self.notify(look, &Message { event: &event, mark: Mark::Late, repeated: None }, effects);
        }
        self.dirty.insert(number);
        if let Some(device) = self.device_at(number) {
            device.dirty = true;
        }
    }

    /// Tells again of an alarm that is still active; when next, by the host's clock.
    pub(super) fn repeat(&mut self, look: Look, effects: &mut Vec<Effect>) -> Option<i64> {
        let instance = self.instance_at(look)?;
        let (told_at, times) = (instance.live.told_at?, instance.live.told);
        let (alarm, program) = (instance.live.alarm.clone()?, instance.program as usize);
        let every = nanos(self.programs.get(program)?.rule.renotify?).max(1_000_000_000);
        let due = told_at.saturating_add(every);
        if due > look.now {
            return Some(due);
        }
        let alarm = self.alarms.get(&alarm)?.clone();
        if alarm.state == AlarmState::ActiveUnacknowledged {
            let event = line(Transition::Raised, alarm.raised_at.nanos())(alarm);
            self.notify(look, &Message { event: &event, mark: Mark::Live, repeated: Some(times) }, effects);
        }
        // Shelved or acknowledged: looked at again after as long.
        if let Some(instance) = self.instance_at(look) {
            instance.live.told_at = Some(look.now);
            instance.dirty = true;
        }
        Some(look.now.saturating_add(every))
    }
}

fn event_of(effect: &Effect) -> Option<AlarmEvent> {
    match &effect.kind {
        EffectKind::Alarm(event) => Some(event.as_ref().clone()),
        _ => None,
    }
}

fn effect(event: &AlarmEvent, what: &str, kind: EffectKind) -> Effect {
    Effect {
        id: EffectId(format!("{}/{what}", event.alarm.id)),
        rule: event.alarm.rule.clone(),
        device: event.alarm.device.clone(),
        at: event.at,
        kind,
    }
}

/// What is said where the rule says nothing.
fn sentence(event: &AlarmEvent, state: &str) -> String {
    let alarm = &event.alarm;
    let values: Vec<String> = alarm.values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let because = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
    format!("{} is {state} at {} since {}{because}", alarm.rule, alarm.device, alarm.raised_at)
}
