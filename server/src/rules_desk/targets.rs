//! `[targets.*]` of `fieldline.toml`, made ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::GatewayId;
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_rules::{Effect, EffectKind};
use rules::DeliveryError;
use serde_json::json;

use super::courier::Target;
use crate::config::TargetSettings;

/// The targets, by name.
pub(crate) fn targets(
    settings: &BTreeMap<String, TargetSettings>,
    broker: &Broker,
    own: &GatewayId,
) -> BTreeMap<String, Arc<dyn Target>> {
    let target = |settings: &TargetSettings| match settings {
        TargetSettings::Mqtt { topic } => {
            Arc::new(Mqtt { broker: broker.clone(), topic: topic.clone(), own: own.clone() })
                as Arc<dyn Target>
        }
    };
    settings.iter().map(|(name, settings)| (name.clone(), target(settings))).collect()
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
    /// A CloudEvent 1.0 in JSON (structured mode), with the notification as its data.
    async fn tell(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let EffectKind::Notify(notification) = &effect.kind else {
            return Err(DeliveryError::Never("it is no notification".into()));
        };
        let event = json!({
            "specversion": "1.0",
            "id": effect.id,
            "source": format!("/fieldline/{}", self.own),
            "type": "io.fieldline.notification",
            "subject": format!("{}/{}", effect.device, effect.rule),
            "time": effect.at,
            "datacontenttype": "application/json",
            "data": notification,
        });
        let payload = Bytes::from(event.to_string());
        self.broker.publish(&Message::new(self.topic.clone(), payload, QoS::AtLeastOnce));
        Ok(())
    }
}
