//! Acknowledgements to gateways over AWS IoT Core.

use std::time::Duration;

use aws_sdk_iotdataplane::Client;
use aws_sdk_iotdataplane::config::timeout::TimeoutConfig;
use aws_sdk_iotdataplane::primitives::Blob;
use fieldline_model::{AckMessage, GatewayId, GatewayTopic};
use fieldline_store::StoreError;

use crate::{Aws, failure};

/// An attempt is answered, or it has failed.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Then the acknowledgement is given up. It can be: the gateway sends the readings again and is told
/// then. What may not be is that a batch whose blocks are stored comes again, and in the end among the dead
/// letters, since the function's time ran out over it.
const PATIENCE: Duration = Duration::from_secs(8);

/// Publishes on `fieldline/<gateway>/ack`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IotAcks {
    client: Client,
}

impl IotAcks {
    /// `endpoint` is the URL of the account's data plane, `https://…-ats.iot.<region>.amazonaws.com`.
    pub fn new(aws: &Aws, endpoint: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PATIENCE)
            .build();
        let config = aws_sdk_iotdataplane::config::Builder::from(aws.config())
            .endpoint_url(endpoint)
            .timeout_config(timeouts);
        Self { client: Client::from_conf(config.build()) }
    }

    /// Publishes with QoS 1.
    ///
    /// # Errors
    /// It was not published; the gateway sends the readings again and is told then.
    pub async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), StoreError> {
        let payload = serde_json::to_vec(ack)
            .map_err(|error| StoreError::Rejected { service: "AWS IoT", source: Box::new(error) })?;
        let topic = GatewayTopic::Ack(gateway.clone()).to_string();
        let call = self.client.publish().topic(topic).qos(1).payload(Blob::new(payload));
        let sent = call.send().await;
        sent.map(drop).map_err(|error| failure("AWS IoT", error.into_service_error()))
    }
}
