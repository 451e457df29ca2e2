//! One reading, and what it means to the instances that look at it.

use std::collections::HashMap;

use fieldline_model::{DeviceId, Quality, Reading, ReadingRef, Timestamp, ValueRef};

use super::Engine;
use super::device::Device;
use super::machine::{Found, Phase, Step, Timing};
use super::program::{Program, Then, nanos};
use crate::condition::{Condition, EvaluationError, Outcome, Resolve};
use crate::spec::READ_MAX;
use crate::{Effect, EffectId, EffectKind, FeatureSpec, Input};

/// One evaluation of so many of a rule is measured.
const MEASURED: u64 = 64;

/// By so much a metric may be behind others of its device without being late, in nanoseconds: 5 s. A device's
/// metrics need not come in the order of their times.
const MOMENT: i64 = 5_000_000_000;

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
        let ahead = nanos(self.limits.ahead_within);
        let Some(device) = self.devices.get_mut(number as usize).and_then(Option::as_mut) else { return };
        let Some(slot) = device.live.slots.get_mut(metric as usize) else { return };
        let mut time = reading.time.nanos();
        if slot.is_known(time, reading.value) {
            return;
        }
        if now >= Timestamp::CLOCK_IS_SET.nanos() && time > now.saturating_add(ahead) {
            // The device's clock is wrong, or was for once: else all that comes after it would be late.
            time = now.max(device.live.newest.unwrap_or(now));
        }
        let reading = ReadingRef { time: Timestamp::from_nanos(time), ..reading };
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
        self.keep((number, metric), false, (at, reading.value));
        self.look_at_all((number, metric), (at, now), effects);
        let others = self.others(number, reading.metric);
        self.look_at_others(number, &others, (at, now), effects);
        if self.device_at(number).is_some_and(|device| device.owed) {
            self.tell_owed(number, now, effects);
        }
    }

    /// A reading behind the newest of its device: for rules that allow for that it belongs to the present, for
    /// the others to history. A moment is allowed to the newest of its metric in any case.
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
        let mut others = self.others(number, reading.metric);
        let Self { devices, programs, .. } = self;
        let Some(device) = devices.get_mut(number as usize).and_then(Option::as_mut) else { return };
        let Some(known) = device.metrics.get(metric as usize) else { return };
        let behind = newest.saturating_sub(at);
        let is_newest = device.live.slots.get(metric as usize).is_some_and(|slot| slot.is_newest(at));
        let moment = if is_newest { MOMENT } else { 0 };
        let is_late = |program: u32| {
            programs.get(program as usize).is_none_or(|program| program.lateness.max(moment) < behind)
        };
        others.retain(|program| !is_late(*program));
        let touches = known
            .touches
            .iter()
            .filter_map(|touch| Some((*touch, is_late(device.instances.get(*touch as usize)?.program))));
        let touches: Vec<(u32, bool)> = touches.collect();
        let present = !others.is_empty() || touches.iter().any(|(_, late)| !late);
        let history = touches.iter().any(|(_, late)| *late);
        let mut in_order = false;
        if history {
            device.open_history(limit);
            if let Some(track) = &mut device.history {
                in_order = track.newest.is_none_or(|before| before <= at);
                if in_order {
                    track.newest = Some(at);
                }
                track.offset = now.saturating_sub(track.newest.unwrap_or(at));
            }
        }
        for (late, _) in [(false, present), (true, history)].into_iter().filter(|(_, kept)| *kept) {
            self.keep((number, metric), late, (at, reading.value));
        }
        for (instance, late) in touches.into_iter().filter(|(_, late)| in_order || !late) {
            let at = if late { at } else { newest };
            self.evaluate(Look { device: number, instance, at, now, late }, effects);
        }
        self.look_at_others(number, &others, (at, now), effects);
    }

    /// Keeps a value, and its sample where there is a past. Where all windows together have as many as they may,
    /// this one gives its oldest up, so that none grows.
    fn keep(&mut self, (number, metric): (u32, u32), late: bool, (at, value): (i64, ValueRef<'_>)) {
        let Self { devices, limits, samples, crowding, .. } = self;
        let Some(device) = devices.get_mut(number as usize).and_then(Option::as_mut) else { return };
        let track = if late { device.history.as_deref_mut() } else { Some(&mut device.live) };
        let Some(slot) = track.and_then(|track| track.slots.get_mut(metric as usize)) else { return };
        let before = slot.samples();
        slot.take(at, value);
        if *samples >= limits.samples_max
            && slot.samples() > before
            && let Some(series) = &mut slot.series
        {
            series.shed();
            crowding.samples = crowding.samples.saturating_add(1);
        }
        *samples = samples.saturating_add(slot.samples()).saturating_sub(before);
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

    /// Rules that name this metric of this device.
    fn others(&self, number: u32, metric: &str) -> Vec<u32> {
        if self.by_other.is_empty() {
            return Vec::new();
        }
        let device = self.devices.get(number as usize).and_then(Option::as_ref);
        let rules = device.and_then(|device| self.by_other.get(&(device.id.clone(), metric.into())));
        rules.cloned().unwrap_or_default()
    }

    /// Instances that rules which name this device have of others.
    fn look_at_others(
        &mut self,
        number: u32,
        rules: &[u32],
        (at, now): (i64, i64),
        effects: &mut Vec<Effect>,
    ) {
        for rule in rules.iter().copied() {
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
        if self.judge(look, effects)
            && (look.late || self.derive(look, effects))
            && let Some(instance) = self.instance_at(look)
        {
            instance.errors_in_row = 0;
        }
        self.retime(look.device, look.instance);
    }

    /// Asks the conditions, and does what comes of them; whether they had an answer.
    pub(super) fn judge(&mut self, look: Look, effects: &mut Vec<Effect>) -> bool {
        if look.late {
            self.elapse_late(look, effects);
        }
        let Some((found, timing)) = self.find(look) else { return false };
        let Some(instance) = self.instance_at(look) else { return false };
        let machine = instance.machine(look.late);
        let before = machine.phase;
        let step = machine.phase.observe(look.at, found, timing);
        if machine.phase != before {
            instance.dirty = true;
            self.dirty.insert(look.device);
        }
        self.step(look, step, effects);
        true
    }

    pub(super) fn step(&mut self, look: Look, step: Option<Step>, effects: &mut Vec<Effect>) {
        match step {
            Some(Step::Raise(at)) => self.raise(Look { at, ..look }, effects),
            Some(Step::Return(at)) => {
                self.give_back(Look { at, ..look }, effects);
                if self.dependent && !look.late {
                    self.release(Look { at, ..look }, effects);
                }
            }
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
        let (number, errors) = (instance.program as usize, instance.errors_in_row);
        let Self { programs, devices, index, limits, stopwatch, .. } = self;
        let program = programs.get_mut(number)?;
        if program.disabled.is_some() || errors >= limits.errors_max {
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
                self.fail(look, &error);
                return None;
            }
        };
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
        let features = features(devices, index, condition.features(), look).unwrap_or_default();
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
        let features = features(devices, index, template.features(), look).unwrap_or_default();
        let values = Values { devices, index, look, inputs: template.inputs(), features: &features };
        template.render(words, &values)
    }

    /// Metrics that the rule makes; whether all of them could be made.
    fn derive(&mut self, look: Look, effects: &mut Vec<Effect>) -> bool {
        let Some(number) = self.instance_at(look).map(|instance| instance.program as usize) else {
            return true;
        };
        let Self { programs, devices, index, .. } = self;
        let Some(program) = programs.get_mut(number) else { return true };
        if !program.then.iter().any(|then| matches!(then, Then::Derive { .. })) {
            return true;
        }
        let id = devices.get(look.device as usize).and_then(Option::as_ref).map(|device| device.id.clone());
        let Some(id) = id else { return true };
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
        if let Some(error) = &failure {
            self.fail(look, error);
        }
        failure.is_none()
    }

    /// Counts an error. Too many in a row disable the rule for this device, and for all when it is disabled for
    /// each: one device that sends nonsense takes the rule from no other.
    fn fail(&mut self, look: Look, error: &EvaluationError) {
        let errors_max = self.limits.errors_max;
        let Some(instance) = self.instance_at(look) else { return };
        instance.errors_in_row = instance.errors_in_row.saturating_add(1);
        let (number, disabled) = (instance.program as usize, instance.errors_in_row >= errors_max);
        let Some(program) = self.programs.get_mut(number) else { return };
        program.errors += 1;
        if disabled {
            program.instances_disabled += 1;
            if program.instances_disabled >= program.instances {
                program.disabled = Some(format!("{errors_max} errors in a row, the last: {error}"));
            }
        }
    }
}

fn ask(
    devices: &mut [Option<Device>],
    index: &HashMap<DeviceId, u32>,
    condition: &Condition,
    look: Look,
) -> Result<Outcome, EvaluationError> {
    let features = features(devices, index, condition.features(), look)?;
    condition.evaluate(&Values { devices, index, look, inputs: condition.inputs(), features: &features })
}

/// The values of functions of the past; allocates nothing where there are none. What they read through is bounded
/// as the steps of the evaluation are.
fn features(
    devices: &mut [Option<Device>],
    index: &HashMap<DeviceId, u32>,
    specs: &[FeatureSpec],
    look: Look,
) -> Result<Vec<Option<f64>>, EvaluationError> {
    let at = Timestamp::from_nanos(look.at);
    let mut read = 0_usize;
    let value = |spec| {
        let Some((series, number)) = series_of(devices, index, spec, look) else { return Ok(None) };
        read = read.saturating_add(series.reads(number, at));
        if read > READ_MAX {
            return Err(EvaluationError::Limit("samples of windows"));
        }
        Ok(series.value(number, at))
    };
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
