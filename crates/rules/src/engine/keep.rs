//! The durable state: which parts have changed, and how they come back.
//!
//! | key | value |
//! |---|---|
//! | `device/<device>` | newest event time, and the host's clock then |
//! | `series/<device>/<metric>` | newest value, and the latest readings' hashes |
//! | `window/<device>/<metric>/<l\|h>/<chunk>` | samples, and what functions have learned; live or history |
//! | `instance/<device>/<rule>` | where the rule stands for the device |
//! | `alarm/<id>` | an alarm that is not normal, as JSON |
//! | `aside/<rule>/<device>` | what operators have put aside, as JSON |
//!
//! All but the last two begin with a byte of their version and are postcard.

use std::collections::BTreeMap;

use fieldline_model::DeviceId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::device::{Device, KeptDevice, KeptInstance, Slot};
use super::{Change, Engine};

const VERSION: u8 = 1;

fn written(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bytes.extend(postcard::to_stdvec(value).ok()?);
    Some(bytes)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, &'static str> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| "it is damaged"),
        Some(_) => Err("it was written by another version"),
        None => Err("it is empty"),
    }
}

/// The chunks of a series: number and bytes.
type Chunks = Vec<(u32, Vec<u8>)>;

/// What an earlier engine has left of a device.
#[derive(Debug, Default)]
pub(super) struct KeptParts {
    device: String,
    pub(super) state: KeptDevice,
    /// The live slot and, where there is one, that of the readings that come late.
    series: BTreeMap<String, (Slot, Option<Slot>)>,
    chunks: BTreeMap<(String, bool), Chunks>,
    pub(super) instances: BTreeMap<String, KeptInstance>,
}

/// What an earlier engine has left.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<String, KeptParts>);

impl Kept {
    pub(super) fn take(&mut self, key: &str, value: &[u8]) -> Result<(), &'static str> {
        let mut parts = key.split('/');
        let (Some(kind), Some(device)) = (parts.next(), parts.next()) else { return Err("it names no part") };
        DeviceId::check(device).map_err(|_| "it names no device")?;
        let kept = self.0.entry(device.to_owned()).or_default();
        kept.device = device.to_owned();
        match (kind, parts.next(), parts.next(), parts.next(), parts.next()) {
            ("device", None, ..) => kept.state = read(value)?,
            ("series", Some(metric), None, ..) => {
                kept.series.insert(metric.to_owned(), slots(value).ok_or("it is damaged")?);
            }
            ("instance", Some(rule), None, ..) => {
                kept.instances.insert(rule.to_owned(), read(value)?);
            }
            ("window", Some(metric), Some(track @ ("l" | "h")), Some(chunk), None) => {
                let chunk = chunk.parse().map_err(|_| "it names no chunk")?;
                let Some((&VERSION, bytes)) = value.split_first() else { return Err("it is damaged") };
                let chunks = kept.chunks.entry((metric.to_owned(), track == "h")).or_default();
                chunks.push((chunk, bytes.to_vec()));
            }
            _ => return Err("it names no part"),
        }
        Ok(())
    }

    /// Everything, once.
    pub(super) fn devices(&mut self) -> Vec<(DeviceId, KeptParts)> {
        let kept = std::mem::take(&mut self.0);
        kept.into_iter().filter_map(|(device, parts)| Some((DeviceId::new(&device).ok()?, parts))).collect()
    }
}

impl KeptParts {
    pub(super) fn metrics(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The keys of a metric that nobody looks at any longer.
    pub(super) fn keys_of(&self, metric: &str) -> Vec<String> {
        let windows = self.chunks.iter().filter(|((of, _), _)| of == metric);
        let windows = windows.flat_map(|((_, late), chunks)| {
            chunks.iter().map(move |(chunk, _)| window_key(&self.device, metric, *late, *chunk))
        });
        std::iter::once(format!("series/{}/{metric}", self.device)).chain(windows).collect()
    }

    /// Puts values and samples back into the series that there are.
    pub(super) fn fill(&self, device: &mut Device) {
        for (metric, (live, history)) in &self.series {
            let Some(number) = device.index.get(metric.as_str()).copied() else { continue };
            let fill = |slot: Option<&mut Slot>, kept: &Slot, late: bool| {
                let Some(slot) = slot else { return };
                let mut filled = kept.clone();
                filled.series = slot.series.take();
                *slot = filled;
                let chunks = self.chunks.get(&(metric.clone(), late));
                if let (Some(series), Some(chunks)) = (&mut slot.series, chunks)
                    && series.restore(chunks).is_err()
                {
                    // Samples that cannot be read are as good as none: a window fills again by itself.
                    series.clear();
                }
            };
            fill(device.live.slots.get_mut(number as usize), live, false);
            if let (Some(track), Some(kept)) = (&mut device.history, history) {
                fill(track.slots.get_mut(number as usize), kept, true);
            }
        }
    }
}

/// A byte of the version, the slots; see [`Slot::write`].
fn slots(bytes: &[u8]) -> Option<(Slot, Option<Slot>)> {
    let Some((&VERSION, bytes)) = bytes.split_first() else { return None };
    let (mut live, mut late) = (Slot::default(), Slot::default());
    let rest = live.read(bytes)?;
    if rest.is_empty() {
        return Some((live, None));
    }
    late.read(rest)?.is_empty().then_some((live, Some(late)))
}

fn window_key(device: &str, metric: &str, late: bool, chunk: u32) -> String {
    format!("window/{device}/{metric}/{}/{chunk}", if late { "h" } else { "l" })
}

impl Device {
    /// The keys of all that is kept of it.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys = vec![format!("device/{}", self.id)];
        keys.extend(self.instances.iter().map(|instance| format!("instance/{}/{}", self.id, instance.rule)));
        keys.extend(self.metrics.iter().map(|metric| format!("series/{}/{}", self.id, metric.name)));
        keys.extend(self.window_keys(false));
        keys.extend(self.window_keys(true));
        keys
    }

    /// The keys of the samples of a track.
    pub(super) fn window_keys(&self, late: bool) -> Vec<String> {
        let track = if late { self.history.as_deref() } else { Some(&self.live) };
        let slots = track.into_iter().flat_map(|track| &track.slots).zip(&self.metrics);
        slots
            .filter_map(|(slot, metric)| Some((slot.series.as_ref()?, metric)))
            .flat_map(|(series, metric)| {
                series
                    .chunks()
                    .into_iter()
                    .map(|chunk| window_key(self.id.as_str(), &metric.name, late, chunk))
            })
            .collect()
    }

    /// What has changed since the last call.
    fn take_changes(&mut self, changes: &mut Vec<Change>) {
        if std::mem::take(&mut self.dirty) {
            changes.push(Change { key: format!("device/{}", self.id), value: written(&self.kept()) });
        }
        for (number, metric) in self.metrics.iter_mut().enumerate() {
            if !std::mem::take(&mut metric.dirty) {
                continue;
            }
            let mut slots = Vec::with_capacity(160);
            slots.push(VERSION);
            for (late, track) in [(false, Some(&mut self.live)), (true, self.history.as_deref_mut())] {
                let Some(slot) = track.and_then(|track| track.slots.get_mut(number)) else { continue };
                slot.write(&mut slots);
                let chunks = slot.series.as_mut().map(|series| series.changes());
                changes.extend(chunks.into_iter().flatten().map(|(chunk, bytes)| Change {
                    key: window_key(self.id.as_str(), &metric.name, late, chunk),
                    value: bytes.map(|bytes| [&[VERSION], bytes.as_slice()].concat()),
                }));
            }
            let key = ["series/", self.id.as_str(), "/", &metric.name].concat();
            changes.push(Change { key, value: Some(slots) });
        }
        for instance in &mut self.instances {
            if std::mem::take(&mut instance.dirty) {
                let key = format!("instance/{}/{}", self.id, instance.rule);
                changes.push(Change { key, value: written(&instance.kept()) });
            }
        }
    }
}

impl Engine {
    /// What has changed since the last call: to be committed together with the effects of the same calls.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.gone.drain(..).map(|key| Change { key, value: None }).collect();
        let mut dirty: Vec<u32> = self.dirty.drain().collect();
        dirty.sort_unstable();
        for number in dirty {
            if let Some(Some(device)) = self.devices.get_mut(number as usize) {
                device.take_changes(&mut changes);
            }
        }
        changes.extend(self.alarms.take_changes());
        changes.extend(self.asides.take_changes());
        changes
    }
}
