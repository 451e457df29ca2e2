//! Device shadows as AWS IoT serves them, by MQTT and by HTTP: requests in, replies and messages out.
//!
//! An update is durable before anyone hears of it; requests are done in the order in which they came.

mod desk;
mod http;
mod things;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::{ShadowId, ShadowName, ShadowOperation, ShadowPart, ShadowTopic, ThingName};
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_shadow::{Error, Plain, Update};
use fieldline_store::{Outcome, Shadows, StoreError};
use serde_json::Value;

use crate::broker::now;

pub(crate) use desk::{Request, ShadowDesk, run};
pub(crate) use http::router;

/// The shadows, and who is told of their changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) store: Arc<dyn Shadows>,
    pub(crate) broker: Broker,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

/// A request that was refused, and the token that it came with.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: Error,
    pub(crate) client_token: Option<String>,
}

impl Service {
    /// Does what is asked and gives the reply. What others are to hear of an update is published before.
    pub(crate) async fn handle(
        &self,
        shadow: &ShadowId,
        operation: ShadowOperation,
        payload: &[u8],
    ) -> Result<Value, Refused> {
        let outcome = match operation {
            ShadowOperation::Get => self.get(shadow, payload).await,
            ShadowOperation::Update => self.update(shadow, payload).await,
            ShadowOperation::Delete => self.delete(shadow, payload).await,
        };
        outcome.map_err(|error| Refused { error, client_token: Update::token_of(payload) })
    }

    async fn get(&self, shadow: &ShadowId, payload: &[u8]) -> Result<Value, Error> {
        let request = Plain::parse(payload)?;
        let stored = self.store.shadow(shadow).await.map_err(|error| failed(shadow, &error))?;
        let found = stored.shadow(&shadow.to_string())?;
        Ok(found.document(now_s(), request.client_token.as_deref()))
    }

    pub(crate) async fn update(&self, shadow: &ShadowId, payload: &[u8]) -> Result<Value, Error> {
        let update = Update::parse(payload)?;
        let applied = settled(shadow, self.store.update_shadow(shadow, update, now_s()).await)?;
        let topic = |part| ShadowTopic { shadow: shadow.clone(), operation: ShadowOperation::Update, part };
        if let Some(delta) = &applied.delta {
            self.publish(&topic(ShadowPart::Delta), delta);
        }
        self.publish(&topic(ShadowPart::Documents), &applied.documents);
        Ok(applied.accepted)
    }

    /// What a delete says beside its token does not matter, so that anything may stand there.
    async fn delete(&self, shadow: &ShadowId, payload: &[u8]) -> Result<Value, Error> {
        let token = Update::token_of(payload);
        settled(shadow, self.store.delete_shadow(shadow, token, now_s()).await)
    }

    /// A page of names of a thing's named shadows, and whether there are more.
    pub(crate) async fn named(
        &self,
        thing: &ThingName,
        after: Option<&ShadowName>,
        limit: usize,
    ) -> Result<(Vec<ShadowName>, bool), StoreError> {
        let mut names = self.store.named_shadows(thing, after, limit.saturating_add(1)).await?;
        let more = names.len() > limit;
        names.truncate(limit);
        Ok((names, more))
    }

    fn publish(&self, topic: &ShadowTopic, document: &Value) {
        let payload = Bytes::from(document.to_string());
        self.broker.publish(&Message::new(topic.to_string(), payload, QoS::AtLeastOnce));
    }
}

fn settled<T>(shadow: &ShadowId, outcome: Result<Outcome<T>, StoreError>) -> Result<T, Error> {
    outcome.unwrap_or_else(|error| Err(failed(shadow, &error)))
}

fn failed(shadow: &ShadowId, error: &StoreError) -> Error {
    tracing::error!(%shadow, error = error as &dyn std::error::Error, "a shadow could not be read or changed");
    Error::Internal
}

/// Seconds since the epoch, as shadows count.
pub(crate) fn now_s() -> i64 {
    now().nanos().div_euclid(1_000_000_000)
}
