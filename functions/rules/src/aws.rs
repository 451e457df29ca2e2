//! Rules on AWS: the adapters of `fieldline-aws` behind the ports, and where each effect goes.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fieldline_aws::{
    AlarmHistory, AlarmMessage, AlarmSender, Claim, Deliveries, IotMessages, IotShadows, RuleChange,
    RuleCommit, RuleState, RuleTable, ShadowUpdate,
};
use fieldline_model::{
    CommandPart, CommandTopic, DeviceId, ExecutionId, GatewayId, ShadowId, ThingName, Timestamp,
};
use fieldline_rules::{AlarmEvent, Change, Effect, EffectKind};
use fieldline_store::StoreError;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{CommitError, DeliveryError, Outlet, PortError, StateStore};

/// How long a command of a rule waits for its device, in milliseconds.
const COMMAND_TIMEOUT_MS: i64 = 60_000;

/// The state of a gateway's rules in DynamoDB.
#[derive(Debug)]
pub struct DynamoState {
    state: RuleState,
    wake: Mutex<Option<Timestamp>>,
}

impl DynamoState {
    /// The state in this partition.
    pub fn new(table: RuleTable) -> Self {
        Self { state: RuleState::new(table), wake: Mutex::default() }
    }

    /// Whether nobody else has committed since it was loaded.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn is_current(&self) -> Result<bool, StoreError> {
        self.state.is_current().await
    }
}

#[async_trait]
impl StateStore for DynamoState {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError> {
        Ok(self.state.load().await?)
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let changes: Vec<RuleChange> = changes.into_iter().map(|change| (change.key, change.value)).collect();
        let wake = *self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        match self.state.commit(changes, wake).await {
            Ok(RuleCommit::Done) => Ok(()),
            Ok(RuleCommit::Conflict) => Err(CommitError::Conflict),
            Err(error) => Err(CommitError::Unavailable(error.into())),
        }
    }

    fn wake(&self, at: Option<Timestamp>) {
        // What is due at once is due since ever, to a table that sorts by time.
        let at = at.map(|at| at.max(Timestamp::EPOCH));
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// Where effects go, whichever gateway they are of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// What was delivered.
    pub deliveries: Deliveries,
    /// Lines of alarm history.
    pub history: AlarmHistory,
    /// The topic of alarms and notifications.
    pub sender: AlarmSender,
    /// To devices.
    pub messages: IotMessages,
    /// Of devices.
    pub shadows: IotShadows,
    /// The time.
    pub clock: fn() -> Timestamp,
}

/// The outlet of one gateway.
#[derive(Debug, Clone)]
pub struct CloudOutlet {
    outlets: Arc<Outlets>,
    gateway: GatewayId,
}

impl CloudOutlet {
    /// Takes the effects of this gateway.
    pub fn new(outlets: Arc<Outlets>, gateway: GatewayId) -> Self {
        Self { outlets, gateway }
    }
}

#[async_trait]
impl Outlet for CloudOutlet {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        if let EffectKind::Derived(_) = effect.kind {
            // Other rules have seen it. Blocks come of gateways alone, so that it is stored nowhere.
            return Ok(());
        }
        let deliveries = &self.outlets.deliveries;
        let id = effect.id.0.as_str();
        match deliveries.claim(&self.gateway, id, (self.outlets.clock)()).await.map_err(later)? {
            Claim::Done => return Ok(()),
            Claim::Held => return Err(DeliveryError::Later("another invocation is at it".into())),
            Claim::Ours => {}
        }
        self.take(effect).await?;
        deliveries.done(&self.gateway, id).await.map_err(later)
    }
}

impl CloudOutlet {
    async fn take(&self, effect: &Effect) -> Result<(), DeliveryError> {
        match &effect.kind {
            EffectKind::Alarm(event) => self.alarm(effect, event).await,
            EffectKind::Notify(notification) => {
                let mut attributes = self.attributes("notification", effect, &notification.event);
                attributes.push(("target", notification.target.clone()));
                self.publish(effect, "io.fieldline.notification".to_owned(), json!(notification), attributes)
                    .await
            }
            EffectKind::Command { device, command, payload } => {
                self.command(effect, device, command, payload).await
            }
            EffectKind::Desired { device, state } => self.desired(device, state).await,
            EffectKind::Derived(_) => Ok(()),
        }
    }

    async fn alarm(&self, effect: &Effect, event: &AlarmEvent) -> Result<(), DeliveryError> {
        let data = json!(event);
        let (outlets, now) = (&self.outlets, (self.outlets.clock)());
        let line = data.to_string();
        outlets.history.write(&self.gateway, &effect.id.0, event.at, &line, now).await.map_err(failed)?;
        let kind = format!("io.fieldline.alarm.{}", word(&event.transition));
        self.publish(effect, kind, data, self.attributes("alarm", effect, event)).await
    }

    /// A CloudEvent 1.0 in JSON (structured mode).
    async fn publish(
        &self,
        effect: &Effect,
        kind: String,
        data: Value,
        attributes: Vec<(&'static str, String)>,
    ) -> Result<(), DeliveryError> {
        let body = json!({
            "specversion": "1.0",
            "id": effect.id,
            "source": format!("/fieldline/{}", self.gateway),
            "type": kind,
            "subject": format!("{}/{}", effect.device, effect.rule),
            "time": effect.at,
            "datacontenttype": "application/json",
            "data": data,
        });
        let (id, group) = (effect.id.0.as_str(), self.gateway.as_str());
        let message = AlarmMessage { id, group, body: body.to_string(), attributes };
        self.outlets.sender.publish(message).await.map_err(failed)
    }

    /// What subscriptions filter by.
    fn attributes(&self, kind: &str, effect: &Effect, event: &AlarmEvent) -> Vec<(&'static str, String)> {
        vec![
            ("kind", kind.to_owned()),
            ("gateway", self.gateway.to_string()),
            ("device", effect.device.to_string()),
            ("rule", effect.rule.clone()),
            ("severity", word(&event.alarm.severity)),
            ("mark", word(&event.alarm.mark)),
            ("transition", word(&event.transition)),
        ]
    }

    async fn command(
        &self,
        effect: &Effect,
        device: &DeviceId,
        command: &str,
        payload: &Value,
    ) -> Result<(), DeliveryError> {
        let execution = execution_id(&effect.id.0).map_err(|error| DeliveryError::Never(error.into()))?;
        let topic = CommandTopic { thing: thing(device)?, execution, part: CommandPart::Request };
        let expires = (self.outlets.clock)().millis().saturating_add(COMMAND_TIMEOUT_MS);
        let mut request = json!({ "command": command, "expires": expires });
        if !payload.is_null() {
            request["parameters"] = payload.clone();
        }
        let request = request.to_string().into_bytes();
        self.outlets.messages.publish(&topic.to_string(), request).await.map_err(failed)
    }

    async fn desired(&self, device: &DeviceId, state: &Map<String, Value>) -> Result<(), DeliveryError> {
        let shadow = ShadowId { thing: thing(device)?, name: None };
        let request = json!({ "state": { "desired": state } }).to_string().into_bytes();
        match self.outlets.shadows.update(&shadow, request).await.map_err(failed)? {
            ShadowUpdate::Done => Ok(()),
            ShadowUpdate::Conflict => Err(DeliveryError::Later("the shadow was changed meanwhile".into())),
            ShadowUpdate::TooLarge => Err(DeliveryError::Never("the shadow would be too large".into())),
        }
    }
}

fn thing(device: &DeviceId) -> Result<ThingName, DeliveryError> {
    ThingName::new(device.as_str()).map_err(|error| DeliveryError::Never(error.into()))
}

/// The same effect has the same one.
fn execution_id(effect: &str) -> Result<ExecutionId, fieldline_model::IdError> {
    let digest = Sha256::digest(effect.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    ExecutionId::new(&hex)
}

/// The word that stands for it in JSON.
fn word(value: &impl serde::Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

/// Codes of refusals that are about what was sent.
const OF_THE_EFFECT: [&str; 8] = [
    "InvalidParameter",
    "ParameterValueInvalid",
    "ValidationException",
    "InvalidRequestException",
    "RequestEntityTooLargeException",
    "ResourceNotFoundException",
    "UnsupportedDocumentEncodingException",
    "MethodNotAllowedException",
];

fn later(error: StoreError) -> DeliveryError {
    DeliveryError::Later(error.into())
}

/// Only what is wrong with the effect itself is given up: permissions, keys and quotas are put right by people, and
/// no alarm is lost meanwhile.
fn failed(error: StoreError) -> DeliveryError {
    let is_its_own = |source: &dyn std::error::Error| {
        let said = source.to_string();
        OF_THE_EFFECT.iter().any(|code| said.starts_with(code))
    };
    match &error {
        StoreError::Rejected { source, .. } if is_its_own(source.as_ref()) => {
            DeliveryError::Never(error.into())
        }
        _ => DeliveryError::Later(error.into()),
    }
}
