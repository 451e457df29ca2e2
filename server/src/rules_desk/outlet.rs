//! Where what the rules want is taken: the alarm book, targets, commands, shadows, the own stream.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fieldline_model::{CommandName, DeviceId, ExecutionId, Reading, ShadowId, ThingName, Timestamp};
use fieldline_rules::{Effect, EffectId, EffectKind};
use rules::{DeliveryError, Outlet};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::book::{AlarmBook, BookError};
use super::courier::Couriers;
use crate::commands_desk::{self, CommandDesk, Order};
use crate::{shadows, trace_id};

/// How long a command of a rule waits for its device, in milliseconds.
const COMMAND_TIMEOUT_MS: i64 = 60_000;

/// The outlet of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(super) book: AlarmBook,
    pub(super) couriers: Couriers,
    pub(super) commands: CommandDesk,
    pub(super) shadows: shadows::Service,
    pub(super) derived: Gathered,
}

impl Router {
    pub(crate) fn new(
        book: AlarmBook,
        couriers: Couriers,
        commands: CommandDesk,
        shadows: shadows::Service,
    ) -> Self {
        Self { book, couriers, commands, shadows, derived: Gathered::default() }
    }
}

/// Readings that were calculated, to be stored together before anything more is committed.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered(Arc<Mutex<Vec<Reading>>>);

impl Gathered {
    pub(super) fn take(&self) -> Vec<Reading> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, reading: Reading) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
    }
}

#[async_trait]
impl Outlet for Router {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        match &effect.kind {
            EffectKind::Alarm(event) => {
                let written = self.book.line(&effect.id.0, (**event).clone()).await;
                written.map_err(|error| match error {
                    BookError::Store(_) => DeliveryError::Later(error.into()),
                    BookError::Json(_) | BookError::Operate(_) => DeliveryError::Never(error.into()),
                })
            }
            EffectKind::Notify(notification) => self.couriers.deliver(&notification.target, effect).await,
            EffectKind::Command { device, command, payload } => {
                self.command(effect, device, command, payload).await
            }
            EffectKind::Desired { device, state } => self.desired(device, state).await,
            EffectKind::Derived(reading) => {
                self.derived.push(reading.clone());
                Ok(())
            }
        }
    }
}

impl Router {
    async fn command(
        &self,
        effect: &Effect,
        device: &DeviceId,
        command: &str,
        payload: &Value,
    ) -> Result<(), DeliveryError> {
        let never = |error: fieldline_model::IdError| DeliveryError::Never(error.into());
        let order = Order {
            thing: ThingName::new(device.as_str()).map_err(never)?,
            command: CommandName::new(command).map_err(never)?,
            parameters: Some(payload.clone()).filter(|payload| !payload.is_null()),
            timeout_ms: COMMAND_TIMEOUT_MS,
            id: Some(execution_id(&effect.id, effect.at)),
        };
        match self.commands.create(order).await {
            Ok(_execution) => Ok(()),
            Err(error @ commands_desk::Refused::Unavailable) => Err(DeliveryError::Later(error.into())),
            Err(error) => Err(DeliveryError::Never(error.into())),
        }
    }

    async fn desired(
        &self,
        device: &DeviceId,
        state: &serde_json::Map<String, Value>,
    ) -> Result<(), DeliveryError> {
        let thing = ThingName::new(device.as_str()).map_err(|error| DeliveryError::Never(error.into()))?;
        let request = json!({ "state": { "desired": state } }).to_string();
        match self.shadows.update(&ShadowId { thing, name: None }, request.as_bytes()).await {
            Ok(_told) => Ok(()),
            Err(error @ fieldline_shadow::Error::Internal) => Err(DeliveryError::Later(error.into())),
            Err(error) => Err(DeliveryError::Never(error.into())),
        }
    }
}

/// A UUID of version 8 (RFC 9562, section 5.8) that sorts by event time: the same effect has the same one.
fn execution_id(id: &EffectId, at: Timestamp) -> ExecutionId {
    let digest = Sha256::digest(id.0.as_bytes());
    let random = digest.iter().take(16).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let ms = u128::from(at.millis().max(0).unsigned_abs() & 0xffff_ffff_ffff);
    let low = random & ((1 << 62) - 1);
    let middle = (random >> 64) & 0xfff;
    let bits = (ms << 80) | (0x8 << 76) | (middle << 64) | (0x2 << 62) | low;
    ExecutionId::new(&trace_id::hyphenated(bits)).expect("a UUID is an execution's id")
}
