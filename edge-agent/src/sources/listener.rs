//! The MQTT listener: devices publish here and are acknowledged when their readings are on disk.

use std::sync::Arc;

use fieldline_mqtt::{Application, ClientInfo, ConnectRequest, Message, Receipt, Refusal, Routing};

use super::reader::{Heard, Reader};
use crate::intake::completion::Completion;

/// The agent as the application behind its own broker.
#[derive(Debug)]
pub(crate) struct Listener {
    reader: Arc<Reader>,
}

impl Listener {
    pub(crate) fn new(reader: Arc<Reader>) -> Self {
        Self { reader }
    }
}

impl Application for Listener {
    /// On loopback anyone is a device; beyond it the TLS layer has checked the certificate already.
    fn authenticate(&self, _connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// With a certificate, a device speaks for itself only; `$` topics are the agent's own.
    fn authorize_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        let own = |identity: &fieldline_mqtt::Identity| match topic.strip_prefix("telemetry/") {
            Some(rest) => identity.common_name.as_deref() == rest.split('/').next(),
            None => true,
        };
        !topic.starts_with('$') && client.identity.as_deref().is_none_or(own)
    }

    fn authorize_subscribe(&self, _client: &ClientInfo, filter: &str) -> bool {
        !filter.starts_with('$')
    }

    /// Telemetry goes to the journal; anything else is between the devices.
    fn publish(&self, _client: &ClientInfo, message: Message, receipt: Receipt) {
        if !self.reader.is_telemetry(&message.topic) {
            return receipt.accept(Routing::Route);
        }
        let heard = self.reader.hear(&message.topic, &message.payload, |readable| {
            if readable { Completion::Device(receipt) } else { Completion::DeviceRefused(receipt) }
        });
        debug_assert_eq!(heard, Heard::Telemetry);
    }

    fn publish_done(&self, _client: &ClientInfo) {
        self.reader.burst_ended();
    }
}
