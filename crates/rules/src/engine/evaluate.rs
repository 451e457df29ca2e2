//! One reading, and what it means to the instances that look at it.

use std::collections::HashMap;

use fieldline_model::{DeviceId, Quality, Reading, ReadingRef, Timestamp, ValueRef};

use super::device::Device;
use super::machine::{Found, Phase, Step, Timing};
use super::program::{Program, Then};
use super::{Engine, Limits};
use crate::condition::{Condition, EvaluationError, Outcome, Resolve};
use crate::{Effect, EffectId, EffectKind, FeatureSpec, Input};

/// One evaluation of so many of a rule is measured.
const MEASURED: u64 = 64;

/// An instance, and when and how it is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) device: u32,
    pub(super) instance: u32,
    /// Event time.
    pub(super) at: i64,
    /// The host's clock.
    pub(super) now: i64,
    /// By the readings that come late.
    pub(super) late: bool,
}

/// Where conditions find their values.
pub(super) struct Values<'a> {
    devices: &'a [Option<Device>],
    index: &'a HashMap<DeviceId, u32>,
    look: Look,
    inputs: &'a [Input],
    features: &'a [Option<f64>],
}

impl Resolve for Values<'_> {
    fn value(&self, input: usize) -> Option<ValueRef<'_>> {
        let input = self.inputs.get(input)?;
        let (number, late) = match &input.device {
            None => (self.look.device, self.look.late),
            Some(device) => (*self.index.get(device)?, false),
        };
        let device = self.devices.get(number as usize)?.as_ref()?;
        let metric = *device.index.get(input.metric.as_str())?;
        let track = if late { device.history.as_deref()? } else { &device.live };
        track.slots.get(metric as usize)?.value.as_ref().map(fieldline_model::Value::as_ref)
    }

    fn feature(&self, feature: usize) -> Option<f64> {
        *self.features.get(feature)?
    }
}

impl Engine {
    pub(super) fn take_reading(
        &mut self,
        now: i64,
        (number, metric): (u32, u32),
        reading: ReadingRef<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(device) = self.devices.get_mut(number as usize).and_then(Option::as_mut) else { return };
        let Some(slot) = device.live.slots.get_mut(metric as usize) else { return };
        let time = reading.time.nanos();
        if slot.is_known(time, reading.value) {
            return;
        }
        device.used = true;
        device.arrived = now;
        if let Some(metric) = device.metrics.get_mut(metric as usize) {
            metric.dirty = true;
        }
        if !std::mem::replace(&mut device.dirty, true) {
            self.dirty.insert(number);
        }
        match device.live.newest {
            Some(newest) if time < newest => self.take_late(now, (number, metric), reading, newest, effects),
            _ => self.take_newest(now, (number, metric), reading, effects),
        }
    }

    fn take_newest(
        &mut self,
        now: i64,
        (number, metric): (u32, u32),
        reading: ReadingRef<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let at = reading.time.nanos();
        self.advance(number, at, now, effects);
        let Some(device) = self.device_at(number) else { return };
        device.live.newest = Some(at);
        device.live.offset = now.saturating_sub(at);
        if let Some(slot) = device.live.slots.get_mut(metric as usize) {
            slot.take(at, reading.value);
        }
        self.look_at_all((number, metric), (at, now), effects);
        self.look_at_others(number, reading.metric, (at, now), effects);
        if self.device_at(number).is_some_and(|device| device.owed) {
            self.tell_owed(number, now, effects);
        }
    }

    /// A reading behind the newest of its device: for rules that allow for that it belongs to the present, for
    /// the others to history.
    fn take_late(
        &mut self,
        now: i64,
        (number, metric): (u32, u32),
        reading: ReadingRef<'_>,
        newest: i64,
        effects: &mut Vec<Effect>,
    ) {
        let at = reading.time.nanos();
        let limit = self.limits.window_samples_max;
        let Self { devices, programs, .. } = self;
        let Some(device) = devices.get_mut(number as usize).and_then(Option::as_mut) else { return };
        let Some(known) = device.metrics.get(metric as usize) else { return };
        let behind = newest.saturating_sub(at);
        let touches = known.touches.iter().filter_map(|touch| {
            let program = device.instances.get(*touch as usize)?.program;
            Some((*touch, programs.get(program as usize)?.lateness < behind))
        });
        let touches: Vec<(u32, bool)> = touches.collect();
        let present = touches.iter().any(|(_, late)| !late);
        let history = touches.iter().any(|(_, late)| *late);
        if present && let Some(slot) = device.live.slots.get_mut(metric as usize) {
            slot.take(at, reading.value);
        }
        let mut in_order = false;
        if history {
            device.open_history(limit);
            if let Some(track) = &mut device.history {
                in_order = track.newest.is_none_or(|before| before <= at);
                if in_order {
                    track.newest = Some(at);
                    track.offset = now.saturating_sub(at);
                }
                if let Some(slot) = track.slots.get_mut(metric as usize) {
                    slot.take(at, reading.value);
                }
            }
        }
        for (instance, late) in touches.into_iter().filter(|(_, late)| in_order || !late) {
            let at = if late { at } else { newest };
            self.evaluate(Look { device: number, instance, at, now, late }, effects);
        }
    }

    /// Every instance that looks at a metric.
    fn look_at_all(
        &mut self,
        (number, metric): (u32, u32),
        (at, now): (i64, i64),
        effects: &mut Vec<Effect>,
    ) {
        let metric = metric as usize;
        let lent = self.device_at(number).and_then(|device| device.metrics.get_mut(metric));
        // Taken out and put back, so that nothing is allocated for a reading.
        let touches = lent.map(|metric| std::mem::take(&mut metric.touches)).unwrap_or_default();
        for instance in touches.iter().copied() {
            self.evaluate(Look { device: number, instance, at, now, late: false }, effects);
        }
        if let Some(metric) = self.device_at(number).and_then(|device| device.metrics.get_mut(metric)) {
            metric.touches = touches;
        }
    }

    /// Instances of other devices that name this metric of this one.
    fn look_at_others(
        &mut self,
        number: u32,
        metric: &str,
        (at, now): (i64, i64),
        effects: &mut Vec<Effect>,
    ) {
        if self.by_other.is_empty() {
            return;
        }
        let Some(id) = self.device_at(number).map(|device| device.id.clone()) else { return };
        let rules = self.by_other.get(&(id, metric.into())).cloned().unwrap_or_default();
        for rule in rules {
            let members = self.programs.get(rule as usize).map(|program| program.members.clone());
            for member in members.into_iter().flatten().filter(|member| *member != number) {
                let Some(device) = self.device_at(member) else { continue };
                let at = device.live.newest.unwrap_or(at).max(at);
                let found = device.instances.iter().position(|instance| instance.program == rule);
                let Some(instance) = found.map(|instance| instance as u32) else { continue };
                self.evaluate(Look { device: member, instance, at, now, late: false }, effects);
                self.schedule(member);
            }
        }
    }

    pub(super) fn evaluate(&mut self, look: Look, effects: &mut Vec<Effect>) {
        if look.late {
            self.elapse_late(look, effects);
        }
        let Some((found, timing)) = self.find(look) else { return };
        let Some(instance) = self.instance_at(look) else { return };
        let machine = instance.machine(look.late);
        let before = machine.phase;
        let step = machine.phase.observe(look.at, found, timing);
        if machine.phase != before {
            instance.dirty = true;
            self.dirty.insert(look.device);
        }
        self.step(look, step, effects);
        if !look.late {
            self.derive(look, effects);
        }
        self.retime(look.device, look.instance);
    }

    pub(super) fn step(&mut self, look: Look, step: Option<Step>, effects: &mut Vec<Effect>) {
        match step {
            Some(Step::Raise(at)) => self.raise(Look { at, ..look }, effects),
            Some(Step::Return(at)) => self.give_back(Look { at, ..look }, effects),
            None => {}
        }
    }

    pub(super) fn instance_at(&mut self, look: Look) -> Option<&mut super::device::Instance> {
        self.device_at(look.device)?.instances.get_mut(look.instance as usize)
    }

    /// A deadline among the late readings has passed.
    fn elapse_late(&mut self, look: Look, effects: &mut Vec<Effect>) {
        let Some(timing) = self.timing(look) else { return };
        let Some(instance) = self.instance_at(look) else { return };
        let phase = &mut instance.machine(true).phase;
        if phase.deadline(timing).is_some_and(|deadline| deadline < look.at) {
            let step = phase.elapse(timing, true);
            instance.dirty = true;
            self.dirty.insert(look.device);
            self.step(look, step, effects);
        }
    }

    pub(super) fn timing(&mut self, look: Look) -> Option<Timing> {
        let program = self.instance_at(look)?.program;
        let program = self.programs.get(program as usize)?;
        Some(Timing { hold: program.hold, keep: program.keep })
    }

    /// Whether the rule may raise an alarm at this time.
    pub(super) fn is_allowed(&self, look: Look, program: &Program) -> bool {
        let in_force = program
            .calendar
            .as_ref()
            .is_none_or(|calendar| calendar.in_force(Timestamp::from_nanos(look.at)));
        let device = self.devices.get(look.device as usize).and_then(Option::as_ref);
        in_force && device.is_none_or(|device| !self.is_blocked(device, program))
    }

    /// Asks the conditions; none where the rule is disabled.
    fn find(&mut self, look: Look) -> Option<(Found, Timing)> {
        let instance = self.instance_at(look)?;
        let active = matches!(instance.machine(look.late).phase, Phase::Active { .. });
        let number = instance.program as usize;
        let Self { programs, devices, index, limits, stopwatch, .. } = self;
        let program = programs.get_mut(number)?;
        if program.disabled.is_some() {
            return None;
        }
        let measured = stopwatch.filter(|_| program.evaluations % MEASURED == 0).map(|now| (now, now()));
        program.evaluations += 1;
        let mut ask = |condition: &Condition| {
            ask(devices, index, condition, look).map(|outcome| match outcome {
                Outcome::Value(value) => Some(value == fieldline_model::Value::Boolean(true)),
                Outcome::Unknown => None,
            })
        };
        let holds = ask(&program.when);
        let ends = match (&program.clear, &holds) {
            (Some(clear), Ok(_)) if active => ask(clear),
            (None, Ok(holds)) => Ok(holds.map(|holds| !holds)),
            _ => Ok(None),
        };
        if let Some((now, began)) = measured {
            program.nanos += now().saturating_sub(began) * MEASURED;
        }
        let (holds, ends) = match (holds, ends) {
            (Ok(holds), Ok(ends)) => (holds, ends),
            (Err(error), _) | (_, Err(error)) => {
                fail(program, limits, &error);
                return None;
            }
        };
        program.errors_in_row = 0;
        let timing = Timing { hold: program.hold, keep: program.keep };
        let program = self.programs.get(number)?;
        let allowed = active || self.is_allowed(look, program);
        Some((Found { holds, ends, allowed }, timing))
    }

    /// The values that a condition was asked with, and why its detectors score as they do.
    pub(super) fn explain(&mut self, look: Look) -> Vec<(String, String)> {
        let Some(program) = self.instance_at(look).map(|instance| instance.program as usize) else {
            return Vec::new();
        };
        let Self { programs, devices, index, .. } = self;
        let Some(program) = programs.get(program) else { return Vec::new() };
        let condition = &program.when;
        let features = features(devices, index, condition.features(), look);
        let values = Values { devices, index, look, inputs: condition.inputs(), features: &features };
        let mut explained = condition.explain(&values);
        for spec in condition.features() {
            let why = series_of(devices, index, spec, look)
                .and_then(|(series, number)| series.explain(number, Timestamp::from_nanos(look.at)));
            explained.extend(why.map(|why| (format!("why {}", spec.function.name()), why)));
        }
        explained
    }

    /// Fills a template in with the values of now.
    pub(super) fn render(
        &mut self,
        look: Look,
        template: &crate::Template,
        words: &crate::TemplateWords<'_>,
    ) -> String {
        let Self { devices, index, .. } = self;
        let features = features(devices, index, template.features(), look);
        let values = Values { devices, index, look, inputs: template.inputs(), features: &features };
        template.render(words, &values)
    }

    /// Metrics that the rule makes.
    fn derive(&mut self, look: Look, effects: &mut Vec<Effect>) {
        let Some(number) = self.instance_at(look).map(|instance| instance.program as usize) else { return };
        let Self { programs, devices, index, limits, .. } = self;
        let Some(program) = programs.get_mut(number) else { return };
        if !program.then.iter().any(|then| matches!(then, Then::Derive { .. })) {
            return;
        }
        let id = devices.get(look.device as usize).and_then(Option::as_ref).map(|device| device.id.clone());
        let Some(id) = id else { return };
        let mut failure = None;
        for then in &program.then {
            let Then::Derive { metric, value } = then else { continue };
            match ask(devices, index, value, look) {
                Ok(Outcome::Value(value)) => {
                    let time = Timestamp::from_nanos(look.at);
                    let reading = Reading {
                        device: id.clone(),
                        metric: metric.clone(),
                        time,
                        value,
                        quality: Quality::Good,
                    };
                    effects.push(Effect {
                        id: EffectId(format!("{}/{id}/{metric}/{}", program.rule.name, look.at)),
                        rule: program.rule.name.clone(),
                        device: id.clone(),
                        at: time,
                        kind: EffectKind::Derived(reading),
                    });
                }
                Ok(Outcome::Unknown) => {}
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            fail(program, limits, &error);
        }
    }
}

/// Counts an error; too many in a row disable the rule alone.
fn fail(program: &mut Program, limits: &Limits, error: &EvaluationError) {
    program.errors += 1;
    program.errors_in_row += 1;
    if program.errors_in_row >= limits.errors_max {
        program.disabled = Some(format!("{} errors in a row, the last: {error}", program.errors_in_row));
    }
}

fn ask(
    devices: &mut [Option<Device>],
    index: &HashMap<DeviceId, u32>,
    condition: &Condition,
    look: Look,
) -> Result<Outcome, EvaluationError> {
    let features = features(devices, index, condition.features(), look);
    condition.evaluate(&Values { devices, index, look, inputs: condition.inputs(), features: &features })
}

/// The values of functions of the past; allocates nothing where there are none.
fn features(
    devices: &mut [Option<Device>],
    index: &HashMap<DeviceId, u32>,
    specs: &[FeatureSpec],
    look: Look,
) -> Vec<Option<f64>> {
    let at = Timestamp::from_nanos(look.at);
    let value =
        |spec| series_of(devices, index, spec, look).and_then(|(series, number)| series.value(number, at));
    specs.iter().map(value).collect()
}

fn series_of<'a>(
    devices: &'a mut [Option<Device>],
    index: &HashMap<DeviceId, u32>,
    spec: &FeatureSpec,
    look: Look,
) -> Option<(&'a mut crate::feature::Series, usize)> {
    let (number, late) = match &spec.input.device {
        None => (look.device, look.late),
        Some(device) => (*index.get(device)?, false),
    };
    let device = devices.get_mut(number as usize)?.as_mut()?;
    let metric = *device.index.get(spec.input.metric.as_str())? as usize;
    let number = device.metrics.get(metric)?.specs.iter().position(|known| known == spec)?;
    let track = if late { device.history.as_deref_mut()? } else { &mut device.live };
    Some((track.slots.get_mut(metric)?.series.as_deref_mut()?, number))
}
