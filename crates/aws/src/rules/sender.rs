//! Alarms to an SNS topic, commands to AWS IoT.

use std::time::Duration;

use aws_sdk_iotdataplane::config::timeout::TimeoutConfig;
use aws_sdk_iotdataplane::primitives::Blob;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use fieldline_store::StoreError;
use sha2::{Digest, Sha256};

use crate::{Aws, failure};

const SERVICE: &str = "SNS";
/// An attempt is answered, or it has failed.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Then the call is given up.
const PATIENCE: Duration = Duration::from_secs(8);

/// A message for the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmMessage<'a> {
    /// The same message has the same one.
    pub id: &'a str,
    /// Messages of one group keep their order, where the topic is a FIFO topic.
    pub group: &'a str,
    /// What it says.
    pub body: String,
    /// What subscriptions filter by: names and texts that are not empty.
    pub attributes: Vec<(&'static str, String)>,
}

/// Publishes to an SNS topic. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AlarmSender {
    client: Client,
    arn: String,
}

impl AlarmSender {
    /// `arn` names a topic, standard or FIFO; a FIFO topic drops what comes again within five minutes.
    pub fn new(aws: &Aws, arn: impl Into<String>) -> Self {
        Self { client: Client::new(aws.config()), arn: arn.into() }
    }

    /// Publishes.
    ///
    /// # Errors
    /// It may or may not have been published.
    pub async fn publish(&self, message: AlarmMessage<'_>) -> Result<(), StoreError> {
        let mut call = self.client.publish().topic_arn(&self.arn).message(message.body);
        for (name, value) in message.attributes {
            let built = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let rejected = |error| StoreError::Rejected { service: SERVICE, source: Box::new(error) };
            call = call.message_attributes(name, built.map_err(rejected)?);
        }
        if self.arn.ends_with(".fifo") {
            call = call.message_group_id(hex(message.group)).message_deduplication_id(hex(message.id));
        }
        let sent = call.send().await;
        sent.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }
}

/// SHA-256 as 64 hexadecimal digits: fits SNS's 128 characters whatever it is made of.
fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Publishes messages to devices. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IotMessages {
    client: aws_sdk_iotdataplane::Client,
}

impl IotMessages {
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
        Self { client: aws_sdk_iotdataplane::Client::from_conf(config.build()) }
    }

    /// Publishes with QoS 1.
    ///
    /// # Errors
    /// It may or may not have been published.
    pub async fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), StoreError> {
        let call = self.client.publish().topic(topic).qos(1).payload(Blob::new(payload));
        let sent = call.send().await;
        sent.map(drop).map_err(|error| failure("AWS IoT", error.into_service_error()))
    }
}
