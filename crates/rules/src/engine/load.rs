//! Rules put in force, and the instances that come of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fieldline_model::{DeviceId, Timestamp};

use super::device::{Device, Instance, KeptInstance, push};
use super::machine::Phase;
use super::program::Program;
use super::{Engine, Loaded};
use crate::{Documents, Effect};

/// The states of instances by rule, while rules are replaced.
type States = BTreeMap<String, KeptInstance>;

impl Engine {
    /// Puts rules in force; see [`Engine::load`].
    pub(super) fn replace_rules(
        &mut self,
        now: i64,
        documents: &Documents,
        effects: &mut Vec<Effect>,
    ) -> Loaded {
        let loaded = self.compile(documents);
        let states: Vec<(u32, States)> =
            self.devices().map(|number| (number, self.disband(number))).collect();
        for (number, states) in states {
            self.reinstate(number, states, effects);
        }
        for (id, kept) in self.kept.devices() {
            // What is kept has its room.
            let number = self.index.get(&id).copied().unwrap_or_else(|| self.insert(&id));
            let limit = self.limits.window_samples_max;
            if let Some(device) = self.device_at(number) {
                device.restore(kept.state, limit);
            }
            for metric in kept.metrics() {
                if self.is_looked_at(&id, metric) || self.is_named(&id, metric) {
                    self.metric(number, metric);
                } else {
                    self.gone.extend(kept.keys_of(metric));
                }
            }
            if let Some(device) = self.device_at(number) {
                kept.fill(device);
                let samples = device.samples();
                self.samples += samples;
            }
            self.reinstate(number, kept.instances, effects);
        }
        self.adopt_shelved();
        self.unshelve_due(now, effects);
        loaded
    }

    fn devices(&self) -> impl Iterator<Item = u32> + use<> {
        let there = self.devices.iter().enumerate().filter(|(_, device)| device.is_some());
        there.map(|(number, _)| number as u32).collect::<Vec<_>>().into_iter()
    }

    pub(super) fn device_at(&mut self, number: u32) -> Option<&mut Device> {
        self.devices.get_mut(number as usize)?.as_mut()
    }

    fn is_named(&self, device: &DeviceId, metric: &str) -> bool {
        !self.by_other.is_empty() && self.by_other.contains_key(&(device.clone(), Arc::from(metric)))
    }

    fn compile(&mut self, documents: &Documents) -> Loaded {
        let mut loaded = Loaded::default();
        let mut names = BTreeSet::new();
        let before = std::mem::take(&mut self.programs);
        for rule in documents.rules.iter().filter(|rule| rule.runs == self.host) {
            let refused = if !names.insert(&rule.name) {
                Err("another rule has this name".to_owned())
            } else if self.programs.len() >= self.limits.rules_max {
                Err(format!("there are more than {} rules", self.limits.rules_max))
            } else {
                Program::compile(rule).map(|program| self.programs.push(program))
            };
            match refused {
                Ok(()) => loaded.rules.push(rule.name.clone()),
                Err(reason) => loaded.refused.push((rule.name.clone(), reason)),
            }
        }
        self.programs.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        for program in &mut self.programs {
            // What is unchanged goes on counting; one that was disabled gets another chance.
            let same = before.iter().find(|before| before.name == program.name);
            if let Some(same) = same.filter(|same| same.fingerprint == program.fingerprint) {
                (program.evaluations, program.errors) = (same.evaluations, same.errors);
                program.nanos = same.nanos;
            }
        }
        self.dependent = self.programs.iter().any(|program| !program.rule.unless_firing.is_empty());
        self.repeats = self.programs.iter().any(|program| program.rule.renotify.is_some());
        self.by_metric.clear();
        self.by_other.clear();
        for (number, program) in self.programs.iter().enumerate() {
            for input in &program.inputs {
                let metric: Arc<str> = input.metric.as_str().into();
                let rules = match &input.device {
                    None => self.by_metric.entry(metric).or_default(),
                    Some(device) => self.by_other.entry((device.clone(), metric)).or_default(),
                };
                rules.push(number as u32);
            }
        }
        loaded
    }

    /// Takes the instances of a device away; their states by the names of their rules.
    fn disband(&mut self, number: u32) -> States {
        let Some(Some(device)) = self.devices.get_mut(number as usize) else { return States::new() };
        self.instances = self.instances.saturating_sub(device.instances.len());
        device.timers.clear();
        for metric in &mut device.metrics {
            metric.touches.clear();
        }
        let instances = std::mem::take(&mut device.instances);
        instances.into_iter().map(|instance| (instance.rule.to_string(), instance.kept())).collect()
    }

    /// Gives a device its instances again, and ends the alarms of rules that are gone or different.
    fn reinstate(&mut self, number: u32, states: States, effects: &mut Vec<Effect>) {
        let Some(device) = self.device_at(number) else { return };
        device.dirty = true;
        let id = device.id.clone();
        let metrics: Vec<Arc<str>> = device.metrics.iter().map(|metric| Arc::clone(&metric.name)).collect();
        for metric in metrics {
            self.connect(number, &metric);
        }
        for (rule, state) in states {
            let program = self.programs.iter().position(|program| program.rule.name == rule);
            let same = program.filter(|program| {
                self.programs.get(*program).is_some_and(|program| *program.fingerprint == *state.fingerprint)
            });
            let device = self.devices.get_mut(number as usize).and_then(Option::as_mut);
            let instance = device.and_then(|device| {
                device.instances.iter_mut().find(|instance| same == Some(instance.program as usize))
            });
            match instance {
                Some(instance) => {
                    instance.restore(state);
                    instance.dirty = true;
                }
                None => {
                    // Gone, until there is something new to keep.
                    self.gone.push(format!("instance/{id}/{rule}"));
                    let at = self.device_at(number).and_then(|device| device.live.newest).unwrap_or_default();
                    for alarm in state.alarms() {
                        self.return_alarm(alarm, Timestamp::from_nanos(at), effects);
                    }
                }
            }
        }
        let owed = self.device_at(number).map(|device| {
            device.owed = device.instances.iter().any(|instance| instance.live.owed);
        });
        self.dirty.extend(owed.map(|()| number));
        self.retime_all(number);
        self.schedule(number);
    }

    /// Gives a device the instances of the rules that are about it, after its groups have changed.
    pub(super) fn assign(&mut self, device: &DeviceId, effects: &mut Vec<Effect>) {
        let Some(number) = self.index.get(device).copied() else { return };
        self.leave(number);
        let states = self.disband(number);
        self.reinstate(number, states, effects);
    }

    /// The rules count the instances of a device no longer.
    fn leave(&mut self, number: u32) {
        let Self { devices, programs, limits, .. } = self;
        let Some(Some(device)) = devices.get(number as usize) else { return };
        for instance in &device.instances {
            let Some(program) = programs.get_mut(instance.program as usize) else { continue };
            program.instances = program.instances.saturating_sub(1);
            program.members.remove(&number);
            if instance.errors_in_row >= limits.errors_max {
                program.instances_disabled = program.instances_disabled.saturating_sub(1);
            }
        }
    }

    /// The number of a device, made where it is new; none where there is no room.
    pub(super) fn device(&mut self, id: &DeviceId) -> Option<u32> {
        if let Some(number) = self.index.get(id) {
            return Some(*number);
        }
        if self.index.len() >= self.limits.devices_max && !self.forget_one() {
            self.crowding.devices = self.crowding.devices.saturating_add(1);
            return None;
        }
        Some(self.insert(id))
    }

    fn insert(&mut self, id: &DeviceId) -> u32 {
        let device = Some(Device::new(id.clone()));
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.devices.get_mut(number as usize) {
                    *place = device;
                }
                number
            }
            None => {
                self.devices.push(device);
                (self.devices.len() - 1) as u32
            }
        };
        self.index.insert(id.clone(), number);
        self.dirty.insert(number);
        number
    }

    /// The number of a device's metric, made where it is new with the instances that look at it.
    pub(super) fn metric(&mut self, number: u32, metric: &str) -> u32 {
        let Some(device) = self.device_at(number) else { return 0 };
        if let Some(known) = device.index.get(metric) {
            return *known;
        }
        let made = device.metric(metric);
        self.connect(number, &Arc::from(metric));
        made
    }

    /// Makes what rules want of this metric: instances, and functions of its past.
    fn connect(&mut self, number: u32, metric: &Arc<str>) {
        let Some(Some(device)) = self.devices.get_mut(number as usize) else { return };
        let groups = self.groups.get(&device.id).map_or(&[][..], Vec::as_slice);
        let Some(place) = device.index.get(metric).copied() else { return };
        let mut wanted: Vec<u32> = Vec::new();
        for rule in self.by_metric.get(metric).into_iter().flatten() {
            let program = self.programs.get(*rule as usize);
            if program.is_some_and(|program| program.is_about(device.id.as_str(), groups)) {
                wanted.push(*rule);
            }
        }
        let limit = self.limits.window_samples_max;
        for rule in &wanted {
            let Some(program) = self.programs.get_mut(*rule as usize) else { continue };
            let known = device.instances.iter().position(|instance| instance.program == *rule);
            let instance = match known {
                Some(instance) => instance,
                None if self.instances >= self.limits.instances_max => {
                    self.crowding.instances = self.crowding.instances.saturating_add(1);
                    continue;
                }
                None => {
                    self.instances += 1;
                    program.instances += 1;
                    if program.inputs.iter().any(|input| input.device.is_some()) {
                        program.members.insert(number);
                    }
                    push(&mut device.instances, Instance::new(*rule, &program.name, &program.fingerprint));
                    device.instances.len() - 1
                }
            };
            if let Some(metric) = device.metrics.get_mut(place as usize)
                && !metric.touches.contains(&(instance as u32))
            {
                metric.touches.push(instance as u32);
            }
            let own = program.all_features().filter(|spec| spec.input.device.is_none());
            for spec in own.filter(|spec| spec.input.metric.as_str() == &**metric) {
                let _number = device.require(place, spec, limit);
            }
        }
        // The order of rules, whichever instance was there first.
        let Device { metrics, instances, .. } = &mut *device;
        if let Some(metric) = metrics.get_mut(place as usize) {
            metric
                .touches
                .sort_by_key(|touch| instances.get(*touch as usize).map(|instance| instance.program));
        }
        // Functions that rules about other devices ask of this one.
        let others = if self.by_other.is_empty() { &[][..] } else { self.programs.as_slice() };
        let id = device.id.clone();
        for program in others {
            let named = program.all_features().filter(|spec| spec.input.device.as_ref() == Some(&id));
            for spec in named.filter(|spec| spec.input.metric.as_str() == &**metric) {
                let _number = device.require(place, spec, limit);
            }
        }
    }

    /// Makes room: the first device that has not been heard since the search came by last, and of which nobody
    /// waits for anything. Where there is none, as many devices are turned away before the next search as it has
    /// looked at: in the mean it costs nothing.
    fn forget_one(&mut self) -> bool {
        if self.crowded > 0 {
            self.crowded -= 1;
            return false;
        }
        for _ in 0..2 * self.devices.len() {
            self.hand = (self.hand + 1) % self.devices.len().max(1);
            let Some(Some(device)) = self.devices.get_mut(self.hand) else { continue };
            if !std::mem::take(&mut device.used) && device.is_idle() {
                self.forget(self.hand as u32);
                return true;
            }
        }
        self.crowded = self.devices.len();
        false
    }

    fn forget(&mut self, number: u32) {
        self.leave(number);
        let Some(device) = self.devices.get_mut(number as usize).and_then(Option::take) else { return };
        self.instances = self.instances.saturating_sub(device.instances.len());
        self.samples = self.samples.saturating_sub(device.samples());
        if let Some(wake) = device.wake {
            self.wakes.remove(&(wake, number));
        }
        self.index.remove(&device.id);
        self.dirty.remove(&number);
        self.gone.extend(device.keys());
        self.free.push(number);
    }

    /// Whether a rule that this one depends on has an active alarm of the device.
    pub(super) fn is_blocked(&self, device: &Device, program: &Program) -> bool {
        let others = &program.rule.unless_firing;
        !others.is_empty()
            && device.instances.iter().any(|instance| {
                matches!(instance.live.phase, Phase::Active { .. })
                    && others.iter().any(|other| **other == *instance.rule)
            })
    }
}
