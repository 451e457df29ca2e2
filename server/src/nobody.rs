//! A broker to which nobody connects, for tests of what publishes on it.

use std::sync::Arc;

use fieldline_mqtt::{
    Application, Broker, BrokerConfig, ClientInfo, ConnectRequest, Message, Receipt, Refusal,
};

struct Nobody;

impl Application for Nobody {
    fn authenticate(&self, _: &ConnectRequest<'_>) -> Result<(), Refusal> {
        Err(Refusal::Unavailable)
    }
    fn authorize_publish(&self, _: &ClientInfo, _: &str) -> bool {
        false
    }
    fn authorize_subscribe(&self, _: &ClientInfo, _: &str) -> bool {
        false
    }
    fn publish(&self, _: &ClientInfo, _: Message, _: Receipt) {}
}

/// The broker, with limits as they are by default.
pub(crate) fn broker() -> Broker {
    broker_with(BrokerConfig::default())
}

/// The broker.
pub(crate) fn broker_with(config: BrokerConfig) -> Broker {
    Broker::new(config, Arc::new(Nobody))
}
