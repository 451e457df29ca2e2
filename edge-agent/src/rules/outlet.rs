//! Where effects go on the gateway.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use ::rules::{DeliveryError, Outlet};
use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{Class, Reading, ThingName, Timestamp};
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_rules::{Effect, EffectId};
use tokio::sync::oneshot;

use super::desk::lock;
use super::local::{self, COMMAND_LASTS_MS, Local};
use crate::clock;
use crate::things::Things;

/// Carries effects out on this gateway. Nothing here waits.
#[derive(Debug, Default)]
pub(crate) struct LocalOutlet {
    /// None where no device can connect.
    broker: Option<Broker>,
    things: Option<Arc<Things>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Readings that rules make; none while they could not be made durable before the effects are let go of.
    made: Option<Vec<(Class, Reading)>>,
    /// Commands that are too old to be sent.
    stale: HashSet<EffectId>,
    /// When a command was first sent to nobody.
    unheard: HashMap<EffectId, Timestamp>,
    /// Desired states that are on their way to the disk.
    desired: HashMap<EffectId, oneshot::Receiver<bool>>,
}

impl LocalOutlet {
    pub(crate) fn new(broker: Option<Broker>, things: Option<Arc<Things>>) -> Self {
        Self { broker, things, inner: Mutex::default() }
    }

    /// These are not sent any more.
    pub(super) fn forget_commands(&self, stale: &[EffectId]) {
        lock(&self.inner).stale = stale.iter().cloned().collect();
    }

    /// From now on readings are taken, until [`LocalOutlet::take`].
    pub(super) fn gather(&self) {
        lock(&self.inner).made = Some(Vec::new());
    }

    /// The readings that rules have made meanwhile.
    pub(super) fn take(&self) -> Vec<(Class, Reading)> {
        lock(&self.inner).made.take().unwrap_or_default()
    }

    fn keep(&self, readings: Vec<(Class, Reading)>) -> Result<(), DeliveryError> {
        match &mut lock(&self.inner).made {
            Some(made) => made.extend(readings),
            None => return later("it is written with the next readings"),
        }
        Ok(())
    }

    /// A device that is not connected may come back until the command is over.
    fn request(&self, effect: &Effect, topic: &str, payload: Vec<u8>) -> Result<(), DeliveryError> {
        if lock(&self.inner).stale.remove(&effect.id) {
            return never("the gateway was off for longer than the command lasts");
        }
        let Some(broker) = &self.broker else { return never("no device can connect (mqtt.listen is off)") };
        let message = Message::new(topic.to_owned(), Bytes::from(payload), QoS::AtLeastOnce);
        let heard = broker.publish(&message) > 0;
        let mut inner = lock(&self.inner);
        if heard {
            inner.unheard.remove(&effect.id);
            return Ok(());
        }
        let now = clock::now();
        let since = *inner.unheard.entry(effect.id.clone()).or_insert(now);
        if now.millis() - since.millis() < COMMAND_LASTS_MS {
            return later("no device listens to the command");
        }
        inner.unheard.remove(&effect.id);
        never("no device has listened to the command")
    }

    /// The shadows' thread writes it down; until it has, the effect stays.
    fn desire(&self, effect: &Effect, thing: ThingName, request: Vec<u8>) -> Result<(), DeliveryError> {
        let Some(things) = &self.things else { return never("the shadows of devices are off") };
        let mut inner = lock(&self.inner);
        if let Some(mut written) = inner.desired.remove(&effect.id) {
            match written.try_recv() {
                Ok(true) => return Ok(()),
                Err(oneshot::error::TryRecvError::Empty) => {
                    inner.desired.insert(effect.id.clone(), written);
                    return later("the shadow is being written");
                }
                Ok(false) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        match things.desire(thing, request.into()) {
            Some(written) => {
                inner.desired.insert(effect.id.clone(), written);
                later("the shadow is being written")
            }
            None => later("too much waits for the shadows"),
        }
    }
}

#[async_trait]
impl Outlet for LocalOutlet {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        match local::of(effect, clock::now()).map_err(|error| DeliveryError::Never(error.into()))? {
            Local::Request(topic, payload) => self.request(effect, &topic.to_string(), payload),
            Local::Keep(readings) => self.keep(readings),
            Local::Desired(thing, request) => self.desire(effect, thing, request),
            Local::Nothing => Ok(()),
        }
    }
}

fn later(reason: &'static str) -> Result<(), DeliveryError> {
    Err(DeliveryError::Later(reason.into()))
}

fn never(reason: &'static str) -> Result<(), DeliveryError> {
    Err(DeliveryError::Never(reason.into()))
}
