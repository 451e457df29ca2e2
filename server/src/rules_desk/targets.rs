//! `[targets.*]` of `fieldline.toml`, made ready.

mod mail;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::GatewayId;
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_notify::{Email, Outside, Undelivered, Webhook};
use fieldline_rules::{Effect, EffectKind, Notification};
use rules::DeliveryError;
use serde_json::json;

use super::courier::Target;
use crate::config::TargetSettings;

/// The targets, by name.
///
/// # Errors
/// A file with a secret cannot be used, or the machine has no certificate authorities.
pub(crate) fn targets(
    settings: &BTreeMap<String, TargetSettings>,
    broker: &Broker,
    own: &GatewayId,
) -> anyhow::Result<BTreeMap<String, Arc<dyn Target>>> {
    let target = |settings: &TargetSettings| -> anyhow::Result<Arc<dyn Target>> {
        let own = own.clone();
        Ok(match settings {
            TargetSettings::Mqtt { topic } => {
                Arc::new(Mqtt { broker: broker.clone(), topic: topic.clone(), own })
            }
            TargetSettings::Webhook(settings) => {
                Arc::new(Posted { webhook: Webhook::new(settings.ready()?, Outside::default())?, own })
            }
            TargetSettings::Email(settings) => {
                Arc::new(Mailed(Email::new(settings.ready()?, Outside::default())?))
            }
        })
    };
    let named = |(name, settings): (&String, &TargetSettings)| {
        Ok((name.clone(), target(settings).with_context(|| format!("targets.{name}"))?))
    };
    settings.iter().map(named).collect()
}

/// What is to be told.
fn notification(effect: &Effect) -> Result<&Notification, DeliveryError> {
    match &effect.kind {
        EffectKind::Notify(notification) => Ok(notification),
        _ => Err(DeliveryError::Never("it is no notification".into())),
    }
}

/// A CloudEvent 1.0 in JSON (structured mode), with the notification as its data.
fn cloud_event(effect: &Effect, own: &GatewayId) -> Result<Bytes, DeliveryError> {
    let event = json!({
        "specversion": "1.0",
        "id": effect.id,
        "source": format!("/fieldline/{own}"),
        "type": "io.fieldline.notification",
        "subject": format!("{}/{}", effect.device, effect.rule),
        "time": effect.at,
        "datacontenttype": "application/json",
        "data": notification(effect)?,
    });
    Ok(Bytes::from(event.to_string()))
}

fn delivery(undelivered: Undelivered) -> DeliveryError {
    match undelivered {
        Undelivered::Later(cause) => DeliveryError::Later(cause),
        Undelivered::Never(cause) => DeliveryError::Never(cause),
    }
}

/// A topic on this server's own broker.
struct Mqtt {
    broker: Broker,
    topic: String,
    own: GatewayId,
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mqtt {}", self.topic)
    }
}

#[async_trait]
impl Target for Mqtt {
    async fn tell(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let payload = cloud_event(effect, &self.own)?;
        self.broker.publish(&Message::new(self.topic.clone(), payload, QoS::AtLeastOnce));
        Ok(())
    }
}

/// A URL.
struct Posted {
    webhook: Webhook,
    own: GatewayId,
}

impl std::fmt::Debug for Posted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.webhook.fmt(f)
    }
}

#[async_trait]
impl Target for Posted {
    async fn tell(&self, effect: &Effect) -> Result<(), DeliveryError> {
        self.webhook.send(&effect.id.0, cloud_event(effect, &self.own)?).await.map_err(delivery)
    }
}

/// People.
struct Mailed(Email);

impl std::fmt::Debug for Mailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl Target for Mailed {
    async fn tell(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let notification = notification(effect)?;
        let (subject, text) = (mail::subject(notification), mail::text(effect, notification));
        self.0.send(&effect.id.0, &subject, &text).await.map_err(delivery)
    }
}
