//! Devices that publish become things by themselves, or must be things before they publish.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use fieldline_model::{DeviceId, GatewayId};
use fieldline_registry::{AttributePayload, Change, Checked, CreateThing, Fresh, Registry};
use fieldline_store::ReceivedBlock;
use fieldline_wire::Rows;
use tokio::sync::{mpsc, watch};

use super::{Keeper, RegistryHandle};
use crate::config::Devices;
use crate::stop;

/// The attribute that names the gateway by which a device was first seen.
pub(crate) const GATEWAY: &str = "gateway";
/// Devices that wait to be registered at most; what is beyond is seen again with its next block.
const WAITING_MAX: usize = 1_024;
/// Devices that are registered in one commit at most.
const BATCH_MAX: usize = 256;

/// A device that was seen and is no thing yet.
#[derive(Debug)]
pub(crate) struct Sighting {
    device: DeviceId,
    gateway: GatewayId,
}

/// Where devices are seen. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sightings {
    registry: RegistryHandle,
    devices: Devices,
    line: mpsc::Sender<Sighting>,
    /// Those that are in the line or being registered.
    waiting: Arc<Mutex<HashSet<DeviceId>>>,
}

impl Sightings {
    /// The entrance, and the line for [`run`].
    pub(crate) fn new(registry: RegistryHandle, devices: Devices) -> (Self, mpsc::Receiver<Sighting>) {
        let (line, sightings) = mpsc::channel(WAITING_MAX);
        (Self { registry, devices, line, waiting: Arc::default() }, sightings)
    }

    /// The devices of a block that is stored. One look-up for each that is a thing already; waits for nothing.
    pub(crate) fn of_block(&self, block: &ReceivedBlock) {
        if self.devices == Devices::Known {
            return;
        }
        let columns = &block.block.columns;
        let strangers: Vec<&DeviceId> = self.registry.read(|registry| {
            let mut last: Option<&DeviceId> = None;
            let fresh = columns.iter().map(|column| &column.device).filter(|device| {
                last.replace(device) != Some(device) && !registry.has_thing(device.as_str())
            });
            fresh.collect()
        });
        for device in strangers {
            self.see(device, &block.block.stream.gateway);
        }
    }

    fn see(&self, device: &DeviceId, gateway: &GatewayId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains(device) {
            return;
        }
        let sighting = Sighting { device: device.clone(), gateway: gateway.clone() };
        if self.line.try_send(sighting).is_ok() {
            waiting.insert(device.clone());
        }
    }

    /// Whether readings that come without a gateway are taken: where only known devices may publish, none
    /// may be of another one.
    pub(crate) fn admit(&self, rows: &Rows) -> bool {
        if self.devices == Devices::Open {
            return true;
        }
        self.registry.read(|registry| {
            let mut last = "";
            rows.iter().all(|reading| {
                let known = reading.device == last || registry.has_thing(reading.device);
                last = reading.device;
                known
            })
        })
    }

    fn settled(&self, batch: &[Sighting]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for sighting in batch {
            waiting.remove(&sighting.device);
        }
    }
}

/// Registers what is seen, until `stopping`. A device that was not registered is seen again with its next
/// block.
pub(crate) async fn run(
    mut line: mpsc::Receiver<Sighting>,
    sightings: Sightings,
    keeper: Keeper,
    mut stopping: watch::Receiver<bool>,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = line.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return },
            () = stop::told(&mut stopping) => return,
        }
        let devices: Vec<CreateThing> = batch.iter().map(request).collect();
        if keeper.change(move |registry, fresh| register(devices, registry, fresh)).await.is_err() {
            tracing::warn!(count = batch.len(), "devices were not registered");
        }
        sightings.settled(&batch);
        batch.clear();
    }
}

fn request(sighting: &Sighting) -> CreateThing {
    let gateway = (GATEWAY.to_owned(), sighting.gateway.to_string());
    CreateThing {
        name: sighting.device.to_string(),
        type_name: None,
        attributes: AttributePayload { attributes: Some([gateway].into()), merge: false },
    }
}

/// Those that are no things yet. Each is there once: the line has no device twice.
fn register(devices: Vec<CreateThing>, registry: &Registry, fresh: Fresh) -> Checked<()> {
    let mut changes: Vec<Change> = Vec::new();
    for (index, device) in devices.into_iter().enumerate() {
        if !registry.has_thing(&device.name) {
            let random = fresh.random.wrapping_add((index as u128) << 64);
            changes.extend(registry.create_thing(device, Fresh { random, ..fresh })?.1);
        }
    }
    Ok(((), changes))
}
