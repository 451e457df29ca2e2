//! Blocks on their way to `storage`, by an SNS FIFO topic.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fieldline_model::{StreamId, Timestamp};
use fieldline_store::StoreError;
use sha2::{Digest, Sha256};

use crate::{Aws, failure};

const SERVICE: &str = "SNS";

/// Publishes blocks: one message group for each stream, so that they are delivered in its order; the
/// block's hash for deduplication, so that a resend within five minutes is one message. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlockTopic {
    client: Client,
    arn: String,
}

impl BlockTopic {
    /// `arn` names an SNS FIFO topic.
    pub fn new(aws: &Aws, arn: impl Into<String>) -> Self {
        Self { client: Client::new(aws.config()), arn: arn.into() }
    }

    /// Publishes an encoded block.
    ///
    /// # Errors
    /// It may or may not have been published; publishing it again is harmless.
    pub async fn publish(
        &self,
        stream: &StreamId,
        encoded: &Bytes,
        received: Timestamp,
    ) -> Result<(), StoreError> {
        let attribute = |kind: &str, value: String| {
            let built = MessageAttributeValue::builder().data_type(kind).string_value(value).build();
            built.map_err(|error| StoreError::Rejected { service: SERVICE, source: Box::new(error) })
        };
        let call = self.client.publish().topic_arn(&self.arn);
        let call = call.message(BASE64.encode(encoded)).message_group_id(hex(stream.to_string().as_bytes()));
        let call = call.message_deduplication_id(hex(encoded));
        let call = call.message_attributes("gateway", attribute("String", stream.gateway.to_string())?);
        let call = call.message_attributes("received", attribute("Number", received.millis().to_string())?);
        let sent = call.send().await;
        sent.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }
}

/// SHA-256 as 64 hexadecimal digits: fits SNS's 128 characters whatever it is made of.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
