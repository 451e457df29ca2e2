//! The configurations of gateways as they were pushed: a history, of which the newest is desired in the
//! named shadow `config` of the gateway.
//!
//! A push is first written to the history, together with a note that it is not desired yet. Where a crash
//! falls before the note is gone, the next start makes it desired. What the shadow refuses is taken out of
//! the history again, so that nothing stands there that was never desired.
//!
//! What lies beside the shadow is retained as long as it is desired: a gateway keeps what it has taken up, and
//! what is brought back is pushed again.

mod http;

use std::fmt;
use std::sync::Arc;

use fieldline_model::{GatewayId, GatewayTopic, ShadowId, ShadowName, ShadowOperation, ThingName};
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_store::{Entries, Entry, EntryChange, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::broker::now;
use crate::shadows;

pub(crate) use http::router;

/// A shadow holds 8 KiB, `reported` included: what is larger lies beside it, as a retained message.
const INLINE_BYTES_MAX: usize = 6 * 1024;
/// As large as a message of AWS IoT.
const DOCUMENT_BYTES_MAX: usize = 120 * 1024;
/// So many pushes are remembered for each gateway.
const HISTORY_MAX: usize = 100;
/// The kind of the entries that say which gateways have their configuration beside the shadow.
const BESIDE: &str = "config-beside";
/// The kind of the entries that say whose newest configuration may not be desired yet.
const PENDING: &str = "config-pending";

/// A configuration that was pushed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    /// From 1, one more with each push to the gateway.
    pub(crate) number: u64,
    /// SHA-256 of the document's canonical JSON (no blanks, keys in order), hexadecimal.
    pub(crate) sha256: String,
    /// When, in milliseconds since the epoch.
    pub(crate) pushed_ms: i64,
    /// The number that this push brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rollback_of: Option<u64>,
    /// The sections of `agent.toml` that it sets.
    pub(crate) document: Value,
}

/// Why a configuration was not pushed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The document is none; what is wrong with it.
    #[error("{0}")]
    Document(String),
    /// There is nothing of that number to go back to.
    #[error("{0}")]
    NoSuchNumber(String),
    /// The history cannot be read or written.
    #[error("the history of configurations cannot be used")]
    Store(#[from] StoreError),
    /// The shadow does not take it.
    #[error("the shadow of the gateway refuses it")]
    Shadow(#[source] fieldline_shadow::Error),
    /// There is no room for a document beside the shadow.
    #[error("the broker retains as much as it may (mqtt.limits.retained_own_bytes_max)")]
    NoRoom,
}

impl Error {
    /// Whether another try would come to the same.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Shadow(error) => error.code() < 500,
            Self::Document(_) | Self::NoRoom => true,
            Self::NoSuchNumber(_) | Self::Store(_) => false,
        }
    }
}

/// The configurations. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    entries: Arc<dyn Entries>,
    shadows: shadows::Service,
    broker: Broker,
    /// One push at a time, so that numbers are given once.
    pushing: Arc<Mutex<()>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    /// The service; configurations that lie beside their shadow are retained again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn open(
        entries: Arc<dyn Entries>,
        shadows: shadows::Service,
        broker: Broker,
    ) -> Result<Self, StoreError> {
        let service = Self { entries, shadows, broker, pushing: Arc::default() };
        // In this order: what is refused now leaves the one before it to be retained.
        service.desire_again().await?;
        service.retain_again().await?;
        Ok(service)
    }

    async fn retain_again(&self) -> Result<(), StoreError> {
        for entry in self.entries.entries(BESIDE).await? {
            let Ok(gateway) = GatewayId::new(&entry.key) else { continue };
            let newest = self.history(&gateway).await?.pop();
            match newest.filter(|newest| newest.sha256 == entry.value) {
                Some(newest) if self.retain(&gateway, &newest) => {}
                Some(_) => tracing::error!(%gateway, "there is no room for a large configuration"),
                None => tracing::warn!(%gateway, sha256 = entry.value, "a large configuration is missing"),
            }
        }
        Ok(())
    }

    async fn desire_again(&self) -> Result<(), StoreError> {
        for entry in self.entries.entries(PENDING).await? {
            let Ok(gateway) = GatewayId::new(&entry.key) else { continue };
            let history = self.history(&gateway).await?;
            let Some((newest, before)) = history.split_last() else { continue };
            let outcome = match self.desire(&gateway, before, newest).await {
                Err(error) if error.is_refusal() => {
                    self.withdraw(&gateway, before, newest, None).await?;
                    Err(error)
                }
                other => other,
            };
            if let Err(error) = outcome {
                tracing::error!(%gateway, error = &error as &dyn std::error::Error, "a push is not desired");
            }
        }
        Ok(())
    }

    /// What was pushed to a gateway, oldest first.
    pub(crate) async fn history(&self, gateway: &GatewayId) -> Result<Vec<Pushed>, StoreError> {
        let entries = self.entries.entries(&kind(gateway)).await?;
        Ok(entries.iter().filter_map(|entry| serde_json::from_str(&entry.value).ok()).collect())
    }

    /// Pushes a document: the history has it, and it is desired, when this returns.
    pub(crate) async fn push(
        &self,
        gateway: &GatewayId,
        document: Value,
        rollback_of: Option<u64>,
    ) -> Result<Pushed, Error> {
        let text = canonical(&document)?;
        let _one_at_a_time = self.pushing.lock().await;
        let history = self.history(gateway).await?;
        let number = history.last().map_or(0, |last| last.number) + 1;
        let sha256 = sha256(text.as_bytes());
        let pushed_ms = now().millis();
        let pushed = Pushed { number, sha256, pushed_ms, rollback_of, document };
        let pending = self.pending(gateway).await?;
        self.write(gateway, &pushed, is_beside(&text)).await?;
        match self.desire(gateway, &history, &pushed).await {
            Err(error) if error.is_refusal() => {
                self.withdraw(gateway, &history, &pushed, pending).await?;
                return Err(error);
            }
            other => other?,
        }
        tracing::info!(%gateway, number, sha256 = pushed.sha256, "configuration pushed");
        Ok(pushed)
    }

    /// What the note says, if there is one: the number of a push that is not desired yet.
    async fn pending(&self, gateway: &GatewayId) -> Result<Option<String>, StoreError> {
        let notes = self.entries.entries(PENDING).await?;
        Ok(notes.into_iter().find(|note| note.key == gateway.as_str()).map(|note| note.value))
    }

    /// Pushes an earlier document again: that of `number`, or the one before the newest.
    pub(crate) async fn roll_back(&self, gateway: &GatewayId, number: Option<u64>) -> Result<Pushed, Error> {
        let history = self.history(gateway).await?;
        let found = match number {
            Some(number) => history.iter().find(|pushed| pushed.number == number),
            None => history.iter().rev().nth(1),
        };
        let Some(found) = found else {
            let wanted = number.map_or("an earlier one".to_owned(), |number| format!("number {number}"));
            let detail = format!("the history of {gateway} has no configuration {wanted} to go back to");
            return Err(Error::NoSuchNumber(detail));
        };
        self.push(gateway, found.document.clone(), Some(found.number)).await
    }

    /// What the shadow says: `{"desired"?, "reported"?, "version"}`; none without a shadow.
    pub(crate) async fn shadow(&self, gateway: &GatewayId) -> Result<Option<Value>, Error> {
        match self.shadows.handle(&shadow(gateway), ShadowOperation::Get, &[]).await {
            Ok(document) => Ok(Some(json!({
                "desired": document["state"]["desired"],
                "reported": document["state"]["reported"],
                "version": document["version"],
            }))),
            Err(refused) if refused.error.code() == 404 => Ok(None),
            Err(refused) => Err(Error::Shadow(refused.error)),
        }
    }

    async fn write(&self, gateway: &GatewayId, pushed: &Pushed, beside: bool) -> Result<(), StoreError> {
        let value = serde_json::to_string(pushed)
            .map_err(|error| StoreError::Rejected { service: "the history", source: Box::new(error) })?;
        let changes = vec![
            EntryChange::Put(Entry { kind: kind(gateway), key: key(pushed.number), value }),
            beside_note(gateway, beside.then_some(pushed)),
            pending_note(gateway, Some(pushed.number.to_string())),
        ];
        self.entries.write_entries(changes).await
    }

    /// Takes a push back that came to nothing: `history` is what was there before it, `pending` what its note
    /// said.
    async fn withdraw(
        &self,
        gateway: &GatewayId,
        history: &[Pushed],
        pushed: &Pushed,
        pending: Option<String>,
    ) -> Result<(), StoreError> {
        let newest = history.last().filter(|newest| is_beside(&newest.document.to_string()));
        let changes = vec![
            EntryChange::Delete { kind: kind(gateway), key: key(pushed.number) },
            beside_note(gateway, newest),
            pending_note(gateway, pending),
        ];
        self.entries.write_entries(changes).await?;
        if newest.is_none_or(|newest| newest.sha256 != pushed.sha256) {
            self.broker.let_go(&topic(gateway, pushed));
        }
        Ok(())
    }

    /// Makes it desired, in one update, and takes the note away that it is not; `history` is what was pushed
    /// before. What nobody needs any more goes with it.
    async fn desire(&self, gateway: &GatewayId, history: &[Pushed], pushed: &Pushed) -> Result<(), Error> {
        let text = canonical(&pushed.document)?;
        let wanted = if is_beside(&text) {
            if !self.retain(gateway, pushed) {
                return Err(Error::NoRoom);
            }
            let topic = topic(gateway, pushed);
            json!({ "config_ref": { "topic": topic, "sha256": pushed.sha256, "bytes": text.len() } })
        } else {
            json!({ "config": pushed.document })
        };
        self.update(gateway, &wanted).await?;
        for old in history.iter().filter(|old| old.sha256 != pushed.sha256) {
            self.broker.let_go(&topic(gateway, old));
        }
        let too_old = history.len().saturating_sub(HISTORY_MAX - 1);
        let forgotten = history.iter().take(too_old);
        let mut changes = vec![pending_note(gateway, None)];
        changes
            .extend(forgotten.map(|old| EntryChange::Delete { kind: kind(gateway), key: key(old.number) }));
        Ok(self.entries.write_entries(changes).await?)
    }

    async fn update(&self, gateway: &GatewayId, wanted: &Value) -> Result<(), Error> {
        loop {
            let (now, version) = match self.shadow(gateway).await? {
                Some(shadow) => (ours(&shadow["desired"]), Some(shadow["version"].clone())),
                None => (json!({}), None),
            };
            let mut request = json!({ "state": { "desired": patch(&now, wanted) } });
            if let Some(version) = version {
                request["version"] = version;
            }
            let request = request.to_string();
            let handled =
                self.shadows.handle(&shadow(gateway), ShadowOperation::Update, request.as_bytes()).await;
            match handled {
                Ok(_) => return Ok(()),
                // Somebody else, most likely the gateway with a report, was faster.
                Err(refused) if refused.error == fieldline_shadow::Error::Conflict => {}
                Err(refused) => return Err(Error::Shadow(refused.error)),
            }
        }
    }

    /// False when there is no room.
    fn retain(&self, gateway: &GatewayId, pushed: &Pushed) -> bool {
        let payload = pushed.document.to_string();
        self.broker.keep(&Message::new(topic(gateway, pushed), payload, QoS::AtLeastOnce).retained())
    }
}

fn kind(gateway: &GatewayId) -> String {
    format!("config/{gateway}")
}

fn key(number: u64) -> String {
    format!("{number:010}")
}

/// Where a document lies that is too large for the shadow.
fn topic(gateway: &GatewayId, pushed: &Pushed) -> String {
    GatewayTopic::Config(gateway.clone(), pushed.sha256.clone()).to_string()
}

/// Says of `pushed` that it lies beside the shadow, or of none.
fn beside_note(gateway: &GatewayId, pushed: Option<&Pushed>) -> EntryChange {
    note(BESIDE, gateway, pushed.map(|pushed| pushed.sha256.clone()))
}

fn pending_note(gateway: &GatewayId, number: Option<String>) -> EntryChange {
    note(PENDING, gateway, number)
}

fn note(kind: &str, gateway: &GatewayId, value: Option<String>) -> EntryChange {
    let (kind, key) = (kind.to_owned(), gateway.to_string());
    match value {
        Some(value) => EntryChange::Put(Entry { kind, key, value }),
        None => EntryChange::Delete { kind, key },
    }
}

fn shadow(gateway: &GatewayId) -> ShadowId {
    let thing = ThingName::new(gateway.as_str()).expect("gateways are things");
    ShadowId { thing, name: ShadowName::new("config").ok() }
}

/// The document as it is hashed and sent: no blanks, keys in order.
fn canonical(document: &Value) -> Result<String, Error> {
    check(document)?;
    let text = document.to_string();
    if text.len() > DOCUMENT_BYTES_MAX {
        let detail = format!("the configuration has {} bytes, {DOCUMENT_BYTES_MAX} at most", text.len());
        return Err(Error::Document(detail));
    }
    Ok(text)
}

/// Whether a document is too large for the shadow itself.
fn is_beside(text: &str) -> bool {
    text.len() > INLINE_BYTES_MAX
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The part of what is desired that a push replaces.
fn ours(desired: &Value) -> Value {
    let part = |key: &str| Some((key.to_owned(), desired.get(key)?.clone()));
    Value::Object(["config", "config_ref"].into_iter().filter_map(part).collect())
}

/// What is in it has to be something that a gateway may be told.
fn check(document: &Value) -> Result<(), Error> {
    const SECTIONS: [&str; 6] = ["broker", "filter", "limits", "map", "rules", "sync"];
    let Value::Object(sections) = document else {
        return Err(Error::Document("a configuration is an object of sections".to_owned()));
    };
    match sections.keys().find(|section| !SECTIONS.contains(&section.as_str())) {
        None => Ok(()),
        Some(section) => {
            let known = SECTIONS.join(", ");
            Err(Error::Document(format!("the section {section} cannot be pushed; those that can: {known}")))
        }
    }
}

/// What turns `old` into `new` by the merge rule of shadows: what is gone is named with null.
fn patch(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let there = new.iter().map(|(key, value)| {
        let before = old.get(key).unwrap_or(&Value::Null);
        (key.clone(), patch(before, value))
    });
    Value::Object(gone.chain(there).collect())
}

#[cfg(test)]
mod tests;
