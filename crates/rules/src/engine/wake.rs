//! What happens although no reading comes.

use fieldline_model::Timestamp;

use super::Engine;
use super::device::{Device, Instance};
use super::evaluate::Look;
use super::machine::{Phase, Timing};
use super::tell::SETTLED;
use crate::Effect;

/// Late readings that pause for so long are over.
const HISTORY_OVER: i64 = 60_000_000_000;

impl Engine {
    /// The host's clock was set, by so many nanoseconds (negative: back): what is waited for lasts as long as before.
    pub fn clock_was_set(&mut self, by: i64) {
        let shift = |time: &mut i64| *time = time.saturating_add(by);
        for device in self.devices.iter_mut().flatten() {
            shift(&mut device.live.offset);
            shift(&mut device.arrived);
            if let Some(history) = &mut device.history {
                shift(&mut history.offset);
            }
            for instance in &mut device.instances {
                instance.live.told_at.as_mut().map(shift);
                instance.dirty |= instance.live.told_at.is_some();
            }
            device.dirty = true;
        }
        for number in 0..self.devices.len() as u32 {
            if self.devices.get(number as usize).is_some_and(Option::is_some) {
                self.dirty.insert(number);
                self.schedule(number);
            }
        }
    }

    /// Runs a device's timers before this event time.
    pub(super) fn advance(&mut self, number: u32, before: i64, now: i64, effects: &mut Vec<Effect>) {
        while let Some((at, instance)) = self.next_timer(number).filter(|(at, _)| *at < before) {
            self.fire(Look { device: number, instance, at, now, late: false }, effects);
        }
    }

    fn next_timer(&self, number: u32) -> Option<(i64, u32)> {
        let (at, _, instance) = *self.devices.get(number as usize)?.as_ref()?.timers.first()?;
        Some((at, instance))
    }

    fn fire(&mut self, look: Look, effects: &mut Vec<Effect>) {
        if let Some(device) = self.device_at(look.device) {
            device.timers.pop_first();
        }
        let timing = self.timing(look);
        let program = self.instance_at(look).map(|instance| {
            instance.timer = None;
            instance.dirty = true;
            instance.program as usize
        });
        self.dirty.insert(look.device);
        let (Some(timing), Some(program)) = (timing, program.and_then(|number| self.programs.get(number)))
        else {
            return;
        };
        let allowed = self.is_allowed(look, program);
        let Some(instance) = self.instance_at(look) else { return };
        if instance.live.phase.deadline(timing).is_some_and(|deadline| deadline <= look.at) {
            let step = instance.live.phase.elapse(timing, allowed);
            if step.is_none() {
                // It held, and was not allowed: looked at again when the rule comes into force.
                instance.silent_until = look.at;
            }
            self.step(look, step, effects);
            self.retime(look.device, look.instance);
            return;
        }
        instance.silent_until = look.at;
        if instance.edge == Some(look.at) {
            // No reading has come: there is nothing to calculate.
            self.judge(look, effects);
            self.retime(look.device, look.instance);
        } else {
            self.evaluate(look, effects);
        }
    }

    /// An alarm has returned: what it has held back may be raised.
    pub(super) fn release(&mut self, look: Look, effects: &mut Vec<Effect>) {
        let Some(device) = self.devices.get(look.device as usize).and_then(Option::as_ref) else { return };
        let Some(returned) = device.instances.get(look.instance as usize) else { return };
        let waits = |instance: &Instance| {
            let program = self.programs.get(instance.program as usize);
            let depends = program.is_some_and(|program| {
                program.rule.unless_firing.iter().any(|other| **other == *returned.rule)
            });
            depends && instance.live.phase == Phase::Idle
        };
        let instances = (0_u32..).zip(&device.instances);
        let waiting: Vec<u32> =
            instances.filter(|(_, instance)| waits(instance)).map(|(number, _)| number).collect();
        for instance in waiting {
            self.judge(Look { instance, ..look }, effects);
            self.retime(look.device, instance);
        }
    }

    /// When the rule of an instance comes into force, where it is not and the instance waits for nothing else.
    fn edge(&self, number: u32, nth: u32) -> Option<i64> {
        let device = self.devices.get(number as usize)?.as_ref()?;
        let instance = device.instances.get(nth as usize)?;
        let calendar = self.programs.get(instance.program as usize)?.calendar.as_ref()?;
        if instance.live.phase != Phase::Idle {
            return None;
        }
        // Just before the newest reading, which may stand at the edge itself: of what comes out the same after a
        // restart.
        let seen = device.live.newest?.saturating_sub(1).max(instance.silent_until);
        if let Some(edge) = instance.edge.filter(|edge| *edge > seen) {
            return Some(edge);
        }
        let seen = Timestamp::from_nanos(seen);
        let change = if calendar.in_force(seen) { None } else { calendar.next_change(seen) };
        change.map(Timestamp::nanos)
    }

    /// Sets the timer of an instance to its next deadline.
    pub(super) fn retime(&mut self, number: u32, nth: u32) {
        let edge = self.edge(number, nth);
        let next = self.next_deadline(number, nth, edge);
        let Some(device) = self.device_at(number) else { return };
        let Some(instance) = device.instances.get_mut(nth as usize) else { return };
        instance.edge = edge;
        if instance.timer == next {
            return;
        }
        if let Some(before) = instance.timer.take() {
            device.timers.remove(&(before, instance.program, nth));
        }
        instance.timer = next;
        if let Some(next) = next {
            device.timers.insert((next, instance.program, nth));
        }
    }

    pub(super) fn retime_all(&mut self, number: u32) {
        let count = self.device_at(number).map_or(0, |device| device.instances.len());
        for nth in 0..count {
            self.retime(number, nth as u32);
        }
    }

    fn next_deadline(&self, number: u32, nth: u32, edge: Option<i64>) -> Option<i64> {
        let device = self.devices.get(number as usize)?.as_ref()?;
        let instance = device.instances.get(nth as usize)?;
        let program = self.programs.get(instance.program as usize)?;
        if program.disabled.is_some() || instance.errors_in_row >= self.limits.errors_max {
            return None;
        }
        let own = instance.live.phase.deadline(Timing { hold: program.hold, keep: program.keep });
        let silences = program.silences.iter().filter_map(|(input, nanos, again)| {
            let since = self.last_time(device, input)?;
            if *again {
                // An age only grows: it is looked at ever more seldom.
                let looked = instance.silent_until.max(since);
                return Some(looked.saturating_add((*nanos).max(looked.saturating_sub(since) / 8)));
            }
            Some(since.saturating_add(*nanos)).filter(|at| *at > instance.silent_until)
        });
        own.into_iter().chain(edge).chain(silences).min()
    }

    fn last_time(&self, device: &Device, input: &crate::Input) -> Option<i64> {
        let device = match &input.device {
            None => device,
            Some(other) => self.devices.get(*self.index.get(other)? as usize)?.as_ref()?,
        };
        let slot = device.live.slots.get(*device.index.get(input.metric.as_str())? as usize)?;
        slot.value.as_ref().map(|_| slot.time)
    }

    /// Notes when to look after a device next.
    pub(super) fn schedule(&mut self, number: u32) {
        let repeats = self.repeats;
        let Some(device) = self.device_at(number) else { return };
        let nothing = device.timers.is_empty() && !device.owed && device.history.is_none() && !repeats;
        if nothing && device.wake.is_none() {
            return;
        }
        let timer = device.timers.first().map(|(at, ..)| at.saturating_add(device.live.offset));
        let owed = device.owed.then(|| device.arrived.saturating_add(SETTLED));
        let history = device.history.as_ref().map(|late| late.heard().saturating_add(HISTORY_OVER));
        let repeat = if repeats { self.next_repeat(number) } else { None };
        let next = timer.into_iter().chain(owed).chain(history).chain(repeat).min();
        let Some(device) = self.device_at(number) else { return };
        let before = std::mem::replace(&mut device.wake, next);
        if before == next {
            return;
        }
        if let Some(before) = before {
            self.wakes.remove(&(before, number));
        }
        if let Some(next) = next {
            self.wakes.insert((next, number));
        }
    }

    fn next_repeat(&self, number: u32) -> Option<i64> {
        let device = self.devices.get(number as usize)?.as_ref()?;
        let due = device.instances.iter().filter_map(|instance| {
            let every = self.programs.get(instance.program as usize)?.rule.renotify?;
            instance.live.alarm.as_ref()?;
            Some(instance.live.told_at?.saturating_add(super::program::nanos(every).max(1_000_000_000)))
        });
        due.min()
    }

    pub(super) fn run_due(&mut self, now: i64, effects: &mut Vec<Effect>) {
        self.unshelve_due(now, effects);
        while let Some((at, number)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, number));
            let Some(device) = self.device_at(number) else { continue };
            device.wake = None;
            let (offset, owed, instances) = (device.live.offset, device.owed, device.instances.len());
            let heard = device.history.as_ref().map(|late| late.heard());
            // At a deadline, not only after it.
            self.advance(number, now.saturating_sub(offset).saturating_add(1), now, effects);
            if owed {
                self.tell_owed(number, now, effects);
            }
            if self.repeats {
                for instance in 0..instances {
                    let at = now.saturating_sub(offset);
                    let look = Look { device: number, instance: instance as u32, at, now, late: false };
                    let _next = self.repeat(look, effects);
                }
            }
            if heard.is_some_and(|heard| now.saturating_sub(heard) >= HISTORY_OVER) {
                self.close_history(number, now, effects);
            }
            if let Some(device) = self.device_at(number) {
                device.dirty = true;
            }
            self.dirty.insert(number);
            self.schedule(number);
        }
    }

    /// Late readings are over: what they left active ended with them.
    fn close_history(&mut self, number: u32, now: i64, effects: &mut Vec<Effect>) {
        let Some(device) = self.device_at(number) else { return };
        let at = device.history.as_ref().and_then(|track| track.newest).unwrap_or_default();
        let count = device.instances.len();
        for instance in 0..count {
            let look = Look { device: number, instance: instance as u32, at, now, late: true };
            let Some(instance) = self.instance_at(look) else { continue };
            if instance.history.is_some() {
                instance.dirty = true;
                self.give_back(look, effects);
            }
            if let Some(instance) = self.instance_at(look) {
                instance.history = None;
            }
        }
        let Some(device) = self.device_at(number) else { return };
        let keys = device.window_keys(true);
        let forgotten = device.history.take().map_or(0, |track| track.samples());
        for metric in &mut device.metrics {
            metric.dirty = true;
        }
        self.samples = self.samples.saturating_sub(forgotten);
        self.gone.extend(keys);
    }
}
