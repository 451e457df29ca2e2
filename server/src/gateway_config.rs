//! The configurations of gateways as they were pushed: a history, of which the newest is desired in the
//! named shadow `config` of the gateway.
//!
//! A push is first written to the history, together with a note that it is not desired yet. Where a crash
//! falls before the note is gone, the next start makes it desired.

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
        service.retain_again().await?;
        service.desire_again().await?;
        Ok(service)
    }

    async fn retain_again(&self) -> Result<(), StoreError> {
        for entry in self.entries.entries(BESIDE).await? {
            let Ok(gateway) = GatewayId::new(&entry.key) else { continue };
            let newest = self.history(&gateway).await?.pop();
            match newest.filter(|newest| newest.sha256 == entry.value) {
                Some(newest) => self.retain(&gateway, &newest),
                None => tracing::warn!(%gateway, sha256 = entry.value, "a large configuration is missing"),
            }
        }
        Ok(())
    }

    async fn desire_again(&self) -> Result<(), StoreError> {
        for entry in self.entries.entries(PENDING).await? {
            let Ok(gateway) = GatewayId::new(&entry.key) else { continue };
            let Some(newest) = self.history(&gateway).await?.pop() else { continue };
            if let Err(error) = self.desire(&gateway, &newest).await {
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
        self.write(gateway, &history, &pushed, is_beside(&text)).await?;
        if is_beside(&text) {
            self.retain(gateway, &pushed);
        }
        self.desire(gateway, &pushed).await?;
        tracing::info!(%gateway, number, sha256 = pushed.sha256, "configuration pushed");
        Ok(pushed)
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

    async fn write(
        &self,
        gateway: &GatewayId,
        history: &[Pushed],
        pushed: &Pushed,
        beside: bool,
    ) -> Result<(), StoreError> {
        let key = |number: u64| format!("{number:010}");
        let value = serde_json::to_string(pushed)
            .map_err(|error| StoreError::Rejected { service: "the history", source: Box::new(error) })?;
        let mut changes =
            vec![EntryChange::Put(Entry { kind: kind(gateway), key: key(pushed.number), value })];
        let too_old = history.len().saturating_sub(HISTORY_MAX - 1);
        changes.extend(
            history
                .iter()
                .take(too_old)
                .map(|old| EntryChange::Delete { kind: kind(gateway), key: key(old.number) }),
        );
        let (kind, key) = (BESIDE.to_owned(), gateway.to_string());
        changes.push(match beside {
            true => EntryChange::Put(Entry { kind, key, value: pushed.sha256.clone() }),
            false => EntryChange::Delete { kind, key },
        });
        let (kind, key, value) = (PENDING.to_owned(), gateway.to_string(), pushed.number.to_string());
        changes.push(EntryChange::Put(Entry { kind, key, value }));
        self.entries.write_entries(changes).await
    }

    /// Makes it desired, in one update, and takes the note away that it is not.
    async fn desire(&self, gateway: &GatewayId, pushed: &Pushed) -> Result<(), Error> {
        let text = canonical(&pushed.document)?;
        let wanted = if is_beside(&text) {
            let topic = GatewayTopic::Config(gateway.clone(), pushed.sha256.clone()).to_string();
            json!({ "config_ref": { "topic": topic, "sha256": pushed.sha256, "bytes": text.len() } })
        } else {
            json!({ "config": pushed.document })
        };
        self.update(gateway, &wanted).await?;
        let settled = EntryChange::Delete { kind: PENDING.to_owned(), key: gateway.to_string() };
        Ok(self.entries.write_entries(vec![settled]).await?)
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

    fn retain(&self, gateway: &GatewayId, pushed: &Pushed) {
        let topic = GatewayTopic::Config(gateway.clone(), pushed.sha256.clone()).to_string();
        let payload = pushed.document.to_string();
        self.broker.publish(&Message::new(topic, payload, QoS::AtLeastOnce).retained());
    }
}

fn kind(gateway: &GatewayId) -> String {
    format!("config/{gateway}")
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
